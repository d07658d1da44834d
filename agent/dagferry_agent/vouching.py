"""What a status says of trust: whether signatures are demanded, whose vouch for what is live, and until when."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Final

from dagferry_schemas.endpoint import EXPIRED, EXPIRES_SOON, NOT_VERIFYING
from dagferry_schemas.errors import DagferryError
from dagferry_schemas.names import moment

if TYPE_CHECKING:
    from dagferry_schemas.endpoint import AgentStatus
    from dagferry_schemas.trust import TrustedRecord
    from dagferry_storage.keyring_folder import KeyringFolder

SOON: Final = timedelta(days=3)
"""How long before a record expires the alarm begins."""


def vouched(status: AgentStatus, folder: KeyringFolder, record: TrustedRecord | None, now: str) -> AgentStatus:
    """``status`` with what it says of trust; ``record`` is the newest that was accepted. Never raises."""
    if not folder.verifies:
        return replace(status, verifying=False, alarms=(NOT_VERIFYING,))
    try:
        keyring = folder.policy(now).keyring
    except DagferryError:  # what is wrong with it is the last error of a pull
        keyring = None
    names = {key.public.key_id: key.name for key in keyring.keys} if keyring is not None else {}
    signers = tuple(names.get(one, one) for one in status.signed_by)
    expires = record.record.expires if record is not None else None
    return replace(status, verifying=True, signed_by=signers, expires=expires, alarms=_alarms(expires, now))


def _alarms(expires: str | None, now: str) -> tuple[str, ...]:
    if expires is None:
        return ()
    if moment(expires) <= moment(now):
        return (EXPIRED,)
    soon = datetime.strptime(now[:19], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=timezone.utc) + SOON
    return (EXPIRES_SOON,) if moment(expires) <= moment(soon.strftime("%Y-%m-%dT%H:%M:%SZ")) else ()
