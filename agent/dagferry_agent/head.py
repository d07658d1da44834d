"""The channel's head, read again and again, in full or as "unchanged", and each time judged by the trust rules."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from dagferry_schemas import layout, trust
from dagferry_schemas.errors import Untrusted
from dagferry_storage import fetch
from dagferry_storage.store import Missing

if TYPE_CHECKING:
    from dagferry_schemas.trust import Floor, TrustedRecord
    from dagferry_storage.metered import MeteredStore

    from .settings import Settings

log = logging.getLogger(__name__)


class ChannelHead:
    """What the channel of ``settings`` says. To be used by one thread at a time."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._seen: tuple[TrustedRecord, str] | None = None  # the last accepted head, and its token
        self._asked: tuple[bytes, trust.Policy, Floor | None, bool] | None = None  # of what it was accepted, if again
        self._forked: Floor | None = None  # the floor at which another history was seen

    @property
    def accepted(self) -> TrustedRecord | None:
        """The record that was accepted last."""
        return self._seen[0] if self._seen is not None else None

    def read(self, meter: MeteredStore, policy: trust.Policy, floor: Floor | None, *, keeps: bool) -> TrustedRecord:
        """The newest record, as ``policy`` demands it and above ``floor``; ``keeps``: whether a release is live.

        Raises `BadData`, `DeliveryFailed`.
        """
        bundle, channel = self._settings.bundle, self._settings.channel
        stored, token = self._newest(meter)
        asked = (stored, policy, floor, keeps)
        if self._seen is not None and asked == self._asked:
            return self._seen[0]
        self._asked = None
        try:
            trusted = trust.accept_record(
                stored,
                bundle=bundle,
                channel=channel,
                policy=policy,
                floor=floor,
                keeps=keeps,
                forked=floor is not None and floor == self._forked,
            )
        except Untrusted as error:
            if error.code == "equivocation":
                self._forked = floor
            raise
        if trusted.expired:
            log.warning("the record of generation %d expired at %s", trusted.record.generation, trusted.record.expires)
        self._seen = (trusted, token)
        if policy.keyring is None:  # then neither the clock nor a key decides
            self._asked = asked
        return trusted

    def _newest(self, meter: MeteredStore) -> tuple[bytes, str]:
        """The head's bytes and its token; only a change of them is read."""
        bundle, channel = self._settings.bundle, self._settings.channel
        if self._seen is not None:
            seen, token = self._seen
            try:
                newer = meter.read_if_changed(layout.head(bundle, channel), token, limit=layout.MAX_DOCUMENT)
                return (newer.body, newer.token) if newer else (seen.stored, token)
            except Missing:  # it was removed: what there is to say is said of a channel without a record
                pass
        head = fetch.head(meter, bundle, channel)
        return head.body, head.token

    def forget(self) -> None:
        """Read all of it the next time."""
        self._seen = None
