"""What a status says of trust: whether signatures are demanded, whose vouch for what is live, and until when."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Final

from dagferry_schemas.endpoint import EXPIRED, EXPIRES_SOON, KEYS_END_SOON, NOT_VERIFYING
from dagferry_schemas.errors import DagferryError
from dagferry_schemas.names import moment
from dagferry_schemas.trust import Policy, still_vouch

if TYPE_CHECKING:
    from dagferry_schemas.endpoint import AgentStatus
    from dagferry_schemas.keyring import Keyring
    from dagferry_schemas.trust import TrustedRecord
    from dagferry_storage.keyring_folder import KeyringFolder

SOON: Final = timedelta(days=3)
"""How long before a record expires, or its keys do, the alarm begins."""


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
    soon = datetime.strptime(now[:19], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=timezone.utc) + SOON
    alarms = _expiry(expires, now, soon.strftime("%Y-%m-%dT%H:%M:%SZ"))
    if keyring is not None:
        asked = replace(status, signed_by=record.key_ids) if record is not None else status
        alarms += _end(asked, keyring, now, soon.strftime("%Y-%m-%dT%H:%M:%SZ"))
    return replace(status, verifying=True, signed_by=signers, expires=expires, alarms=alarms)


def _expiry(expires: str | None, now: str, soon: str) -> tuple[str, ...]:
    if expires is None:
        return ()
    if moment(expires) <= moment(now):
        return (EXPIRED,)
    return (EXPIRES_SOON,) if moment(expires) <= moment(soon) else ()


def _end(status: AgentStatus, keyring: Keyring, now: str, soon: str) -> tuple[str, ...]:
    """The alarm while the keys are still enough; when they no longer are, the next pull says so."""

    def enough(time: str) -> bool:
        policy = Policy.require(keyring, time)
        return still_vouch(status.signed_by, bundle=status.bundle, channel=status.channel, policy=policy)

    return (KEYS_END_SOON,) if enough(now) and not enough(soon) else ()
