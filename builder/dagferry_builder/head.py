"""The head of a channel: how it is read, and how a record takes its place.

1. The head is the channel. It changes by compare-and-swap only, the first time by create-only.
2. Before head n is replaced, ``log/<n>`` holds its bytes; so the log is complete up to n-1, and a writer that dies
   anywhere leaves the old head or the new one.
3. A record is signed with the keys at hand, and has to be one that would be believed here; where the head before it is
   signed, one without a signature is refused: it would stop every agent that has a keyring.
4. After a refused, failed or unanswered write the writer reads again before it decides: its own nonce in the head, or
   in the log at its generation, means that it had won.
5. A head whose successor is in the log was put back by somebody: only `recover` goes on from there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dagferry_schemas import layout, trust
from dagferry_schemas.dsse import Envelope
from dagferry_schemas.errors import Conflict, Corrupt, DeliveryFailed, Usage
from dagferry_schemas.record import seal
from dagferry_storage.store import Exists, Missing, Superseded

from .signing import UNSIGNED

if TYPE_CHECKING:
    from dagferry_schemas.record import Record
    from dagferry_storage.store import Store

    from .signing import Signing


@dataclass(frozen=True)
class Head:
    """The head of a channel as it was read: the record, and the token for replacing exactly it."""

    trusted: trust.TrustedRecord
    token: str

    @property
    def record(self) -> Record:
        """The record."""
        return self.trusted.record

    @property
    def is_signed(self) -> bool:
        """Whether anybody has signed it."""
        return _is_signed(self.trusted.stored)


class Lost(Conflict):
    """Another writer was first."""

    code = "lost_race"


class Heads:
    """The heads that one channel has, one after the other."""

    def __init__(self, store: Store, bundle: str, channel: str, signing: Signing = UNSIGNED) -> None:
        self._store = store
        self._signing = signing
        self._bundle = bundle
        self._channel = channel
        self._key = layout.head(bundle, channel)

    def read(self, policy: trust.Policy | None = None) -> Head | None:
        """The newest record as ``policy`` believes it (else: as all commands do), or None.

        Raises `Malformed`, `Untrusted`.
        """
        try:
            stored = self._store.read(self._key, limit=layout.MAX_DOCUMENT)
        except Missing:
            return None
        adopted = self._signing.adopts and not _is_signed(stored.body)
        policy = trust.Policy.UNSIGNED if adopted else policy or self._signing.policy
        return Head(self._accept(stored.body, policy), stored.token)

    def _accept(self, stored: bytes, policy: trust.Policy) -> trust.TrustedRecord:
        """A record as it is believed here; one that has expired still says what was live."""
        return trust.accept_record(
            stored,
            bundle=self._bundle,
            channel=self._channel,
            policy=policy,
            floor=None,
            keeps=False,
        )

    def sealed(self, head: Head | None, record: Record) -> bytes:
        """The bytes of ``record``, signed, as it would follow ``head``; nothing is written.

        Raises `Usage` without a key on a signed channel, and `Untrusted` if it would not be believed here.
        """
        if head is not None and head.is_signed and not self._signing.signs:
            raise Usage(
                f"channel {self._channel!r} is signed, and no key is at hand: agents would refuse this record",
                "give --signer",
                code="no_signer",
            )
        stored = seal(record, self._signing.sign)
        self._accept(stored, self._signing.policy)
        return stored

    def succeed(self, head: Head | None, record: Record, *, went_back: bool = False) -> None:
        """Put ``record`` in the place of ``head``. Raises `Lost`, `Corrupt`, or why it is not known whether it was.

        ``went_back``: the head is known to be older than the log. Raises as `sealed`, too.
        """
        stored = self.sealed(head, record)
        try:
            if head is None:
                self._store.create(self._key, stored)
            else:
                self._keep(head)
                if not went_back:
                    self._check_newest(head)
                self._store.replace(self._key, stored, head.token)
        except (Exists, Superseded):
            self._settle(record, None)
        except DeliveryFailed as error:
            self._settle(record, error)

    def _keep(self, head: Head) -> None:
        """Make sure that the log holds the bytes of the head that is about to be replaced."""
        key = layout.log(self._bundle, self._channel, head.record.generation)
        try:
            self._store.create(key, head.trusted.stored)
        except Exists:
            self._check_kept(key, head)
        except DeliveryFailed as error:
            try:
                self._check_kept(key, head)
            except Missing:
                raise error from None

    def _check_newest(self, head: Head) -> None:
        """Refuse to go on from a head that has been replaced before: an older one was put back. Raises `Corrupt`."""
        key = layout.log(self._bundle, self._channel, head.record.generation + 1)
        try:
            self._store.read(key, limit=layout.MAX_DOCUMENT)
        except Missing:
            return
        now = self.read()
        if now is not None and now.token == head.token:  # else another change came first, as the write will find
            raise Corrupt(
                f"channel {self._channel!r}: {key} in {self._store.url} is newer than the head, generation "
                f"{head.record.generation}; nothing was changed",
                f"the head was put back, by a backup or by somebody: dagferry recover --channel {self._channel}",
                code="went_back",
            )

    def _check_kept(self, key: str, head: Head) -> None:
        if self._store.read(key, limit=layout.MAX_DOCUMENT).body != head.trusted.stored:
            raise Corrupt(
                f"{key} in {self._store.url} holds another record than the head of that generation",
                "somebody wrote to the log; nothing was changed. Find out who, before anything else is promoted",
                code="forked_log",
            )

    def _settle(self, record: Record, error: DeliveryFailed | None) -> None:
        """Find out whether our write took place; return if it did, raise if it did not."""
        found = self.read()
        if found is not None and self._is_ours(found, record):
            return
        if error is not None:
            raise error
        raise self._lost(found, record)

    def _is_ours(self, found: Head, record: Record) -> bool:
        if found.record.generation == record.generation:
            return found.record.nonce == record.nonce
        if found.record.generation < record.generation:
            return False
        key = layout.log(self._bundle, self._channel, record.generation)
        logged = self._store.read(key, limit=layout.MAX_DOCUMENT).body
        theirs = trust.read_record(logged, bundle=self._bundle, channel=self._channel, policy=trust.Policy.UNSIGNED)
        return theirs.nonce == record.nonce

    def _lost(self, found: Head | None, record: Record) -> Lost:
        who = "nobody that can be seen"
        if found is not None:
            won = found.record
            who = f"generation {won.generation} is {won.live.version} ({won.action} by {won.actor})"
        return Lost(
            f"channel {self._channel!r}: another change came first: {who}; {record.action} of {record.live.version} "
            "was not done",
            f"look at `dagferry log --channel {self._channel}` and decide again",
        )


def _is_signed(stored: bytes) -> bool:
    return bool(Envelope.from_bytes(stored, "head", limit=layout.MAX_DOCUMENT).signatures)
