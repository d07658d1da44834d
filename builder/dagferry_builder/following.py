"""Following a channel's log: each record once, in order, from a position that is remembered.

1. The log is the truth and loses nothing, so whoever follows it misses nothing: not what happened while they were away,
   and not what a command could not tell before it died.
2. A look is one conditional read of the head. What lies between the position and the head is read from the log, and
   its chain is checked, from the record at the position on.
3. A head that went back, or a log that is another one than before, is refused (`Corrupt`): somebody wrote to the store.
   An epoch that is higher than the position's is believed, as agents do: what is told then are its records.
4. The position moves after a record was told, never before: after a crash one may be told twice, under the same id.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from dagferry_schemas import fields as reading
from dagferry_schemas import layout, trust
from dagferry_schemas.errors import Conflict, Corrupt, Malformed
from dagferry_schemas.names import NAME, digest_of
from dagferry_schemas.version import check_format
from dagferry_storage import disk
from dagferry_storage.store import Missing

from . import history

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from dagferry_schemas.record import Record
    from dagferry_storage.store import Store, Stored

FORMAT: Final = 1
MAX_STATE: Final = 4096


@dataclass(frozen=True)
class Position:
    """The record that was told last."""

    epoch: int
    generation: int
    sha256: str


class News(NamedTuple):
    """A record, the one before it (None for the first), its stored bytes, and the position after it."""

    record: Record
    before: Record | None
    stored: bytes
    position: Position


class Follower:
    """Follows one channel from ``position`` on; None stands for its very beginning.

    ``policy`` gives what is demanded of a head's signatures now.
    """

    def __init__(
        self,
        store: Store,
        bundle: str,
        channel: str,
        policy: Callable[[], trust.Policy],
        position: Position | None = None,
    ) -> None:
        self._store = store
        self._bundle = bundle
        self._channel = channel
        self._policy = policy
        self._token: str | None = None
        self.position = position
        """What was told last: whoever tells moves it, after each record."""

    def skip(self) -> None:
        """Go to the newest record: what comes after it is news. Raises as `look`."""
        stored = self._changed()
        if stored is not None:
            self.position = position_of(self._accept(stored).record, stored.body)

    def look(self) -> list[News]:
        """The records since ``position``, oldest first; none if there are none. One request if nothing is new.

        Raises `Corrupt`, `Untrusted`, `Malformed`, and `DeliveryFailed` where the store cannot be asked.
        """
        stored = self._changed()
        if stored is None:
            return []
        news = self._since(self._accept(stored))
        self._token = stored.token  # last: what could not be read is asked for again
        return news

    def _changed(self) -> Stored | None:
        """The head as it is stored, if it is another one than at the last look."""
        key = layout.head(self._bundle, self._channel)
        try:
            if self._token is None:
                return self._store.read(key, limit=layout.MAX_DOCUMENT)
            return self._store.read_if_changed(key, self._token, limit=layout.MAX_DOCUMENT)
        except Missing:
            if self.position is None:
                return None
            raise self._other_log("it has no record any more", "lost_head") from None

    def _accept(self, stored: Stored) -> trust.TrustedRecord:
        """The head as it is believed; one that has expired still says what was live."""
        return trust.accept_record(
            stored.body, bundle=self._bundle, channel=self._channel, policy=self._policy(), floor=None, keeps=False
        )

    def _since(self, head: trust.TrustedRecord) -> list[News]:
        at = self.position
        if at is None:
            return _news(None, self._kept(head, 1))
        found = (head.record.epoch, head.record.generation)
        if found < (at.epoch, at.generation):
            raise self._other_log(f"it went back from generation {at.generation} to {found[1]}", "went_back")
        kept = self._kept(head, at.generation)
        if position_of(*kept[0]) == at:
            return _news(kept[0][0], kept[1:])
        if head.record.epoch == at.epoch:
            raise self._other_log(f"generation {at.generation} is another one than before", "forked_log")
        every = self._kept(head, 1)
        old = [one for one in every if one[0].epoch <= at.epoch]
        return _news(old[-1][0] if old else None, every[len(old) :])

    def _kept(self, head: trust.TrustedRecord, first: int) -> list[history.Kept]:
        return history.since(self._store, self._bundle, self._channel, head, first)

    def _other_log(self, problem: str, code: str) -> Corrupt:
        return Corrupt(
            f"channel {self._channel!r} in {self._store.url}: {problem}; nothing was told",
            "find out who writes to the store, and see `dagferry recover`. To go on from what is there now, remove the "
            "state file",
            code=code,
        )


def _news(before: Record | None, kept: Sequence[history.Kept]) -> list[News]:
    found = []
    for record, stored in kept:
        found.append(News(record, before, stored, position_of(record, stored)))
        before = record
    return found


def position_of(record: Record, stored: bytes) -> Position:
    """The position after a record with these stored bytes."""
    return Position(record.epoch, record.generation, digest_of(stored))


def _read_position(fields: reading.Fields) -> Position:
    return Position(fields.integer("epoch"), fields.integer("generation", least=1), fields.digest("sha256"))


class StateFile:
    """Where a follower remembers how far it has told one webhook (``key``) of a channel."""

    def __init__(self, path: Path, bundle: str, channel: str, key: str) -> None:
        self._path = path
        self._belongs = {"bundle": bundle, "channel": channel, "webhook": key}

    def exists(self) -> bool:
        """Whether anything is remembered."""
        with disk.doing(f"reading {self._path}"):
            return self._path.exists()

    def read(self) -> Position | None:
        """The position; None for the very beginning. Raises `Malformed`, `Conflict` if it is of another channel or
        webhook, `MachineFault`.
        """
        with disk.doing(f"reading {self._path}"):
            raw = self._path.read_bytes()
        try:
            fields = reading.load(raw, str(self._path), limit=MAX_STATE)
            check_format(fields, FORMAT)
            belongs = {"bundle": fields.text("bundle", NAME), "channel": fields.text("channel", NAME)}
            belongs["webhook"] = fields.text("webhook")
            position = _read_position(fields.child("told")) if fields.has("told") else None
        except Malformed as error:
            raise Malformed(
                error.message, "remove that file, and what happens from then on is told", code="bad_state"
            ) from None
        if belongs != self._belongs:
            raise Conflict(
                f"{self._path} is the state of another webhook, or of channel {belongs['channel']!r} of bundle "
                f"{belongs['bundle']!r}; nothing was told",
                "give each webhook and channel a state file of its own",
                code="other_state",
            )
        return position

    def write(self, position: Position | None) -> None:
        """Remember ``position``: old or new after a crash at any moment. Raises `MachineFault`."""
        told = asdict(position) if position is not None else None
        with disk.doing(f"writing {self._path}"):
            disk.write_whole(self._path, reading.dump({"format": FORMAT, **self._belongs, "told": told}))
