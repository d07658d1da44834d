"""A channel's past: its records in order, and the stack that promotions push to and rollbacks pop from.

The history is a stack: promote pushes; rollback pops, ``--to`` down to the version that it names; hold, resume and
refresh do not touch it. The stack is not stored: it is what the log says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from dagferry_schemas import layout, trust
from dagferry_schemas.errors import Corrupt
from dagferry_schemas.names import digest_of
from dagferry_storage.published import side_by_side
from dagferry_storage.store import Missing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dagferry_schemas.record import Live, Record
    from dagferry_storage.store import Store

Kept: TypeAlias = "tuple[Record, bytes]"
"""A record, and its stored bytes."""
WINDOW: Final = 256
"""Records of a log that are asked for before the first of them has to be there."""


def read(
    store: Store, bundle: str, channel: str, head: trust.TrustedRecord, *, most: int | None = None
) -> list[Record]:
    """The channel's records up to ``head``, oldest first. Takes and raises what `kept` does."""
    return [one for one, _ in kept(store, bundle, channel, head, most=most)]


def kept(store: Store, bundle: str, channel: str, head: trust.TrustedRecord, *, most: int | None = None) -> list[Kept]:
    """The channel's records up to ``head`` with their stored bytes, oldest first (the newest ``most`` of them).

    Their chain is checked: raises `Corrupt` where a record is gone or is not the one that its successor names.
    """
    first = 1 if most is None else max(1, head.record.generation - most + 1)
    return since(store, bundle, channel, head, first)


def since(store: Store, bundle: str, channel: str, head: trust.TrustedRecord, first: int) -> list[Kept]:
    """As `kept`, from the generation ``first`` on; the head alone, if that is not older."""
    bytes_of = [*_all_logged(store, bundle, channel, range(first, head.record.generation)), head.stored]
    # Whoever believes the head believes what it names by its digest: keys may have changed since.
    records = [trust.read_record(one, bundle=bundle, channel=channel, policy=trust.Policy.UNSIGNED) for one in bytes_of]
    for older, stored_older, newer in zip(records, bytes_of, records[1:], strict=False):
        _check_link(older, stored_older, newer)
    return list(zip(records, bytes_of, strict=True))


def newest(
    store: Store, bundle: str, channel: str, head: trust.TrustedRecord | None, policy: trust.Policy
) -> tuple[Record, bytes] | None:
    """The newest record that the store has of the channel, and its bytes: the head, or one of the log beyond it.

    The log goes beyond the head where the head was lost, or put back alone. Its records from the head on are checked as
    one chain; without a head, each names the one before. The newest has to be one that ``policy`` believes: whatever
    went before it, it vouches for. Raises `Corrupt`, `Untrusted`.
    """
    last, first = last_logged(store, bundle, channel), head.record.generation if head is not None else 1
    if last < first:
        return (head.record, head.stored) if head is not None else None
    stored = _all_logged(store, bundle, channel, range(first, last + 1))
    if head is not None and stored[0] != head.stored:
        raise Corrupt(
            f"{layout.log(bundle, channel, first)} in {store.url} holds another record than the head",
            "two histories exist: find out who wrote either before anything is promoted. If the log is the true one, "
            f"remove {layout.head(bundle, channel)}, and `dagferry recover --channel {channel}` goes on from it",
            code="forked_log",
        )
    records = [trust.read_record(one, bundle=bundle, channel=channel, policy=trust.Policy.UNSIGNED) for one in stored]
    for older, stored_older, newer in zip(records, stored, records[1:], strict=False):
        _check_link(older, stored_older, newer)
    return trust.read_record(stored[-1], bundle=bundle, channel=channel, policy=policy), stored[-1]


def last_logged(store: Store, bundle: str, channel: str) -> int:
    """The newest generation in the channel's log, 0 if that is empty. One listing."""
    keys = store.names(layout.logs(bundle, channel))
    return max((found for key in keys if (found := layout.generation_of(key))), default=0)


def _all_logged(store: Store, bundle: str, channel: str, generations: range) -> list[bytes]:
    """The logged records of ``generations``; not more at a time than `WINDOW`, whatever generation a head claims."""
    found: list[bytes] = []
    for start in range(generations.start, generations.stop, WINDOW):
        window = range(start, min(start + WINDOW, generations.stop))
        found += side_by_side(lambda generation: _logged(store, bundle, channel, generation), window)
    return found


def _logged(store: Store, bundle: str, channel: str, generation: int) -> bytes:
    key = layout.log(bundle, channel, generation)
    try:
        return store.read(key, limit=layout.MAX_DOCUMENT).body
    except Missing:
        raise Corrupt(
            f"{key} is not in {store.url}, although the channel has gone past it",
            "somebody removed it; the head still says what is live",
            code="broken_log",
        ) from None


def _check_link(older: Record, stored: bytes, newer: Record) -> None:
    previous = newer.previous
    if previous is None or (previous.generation, previous.sha256) != (older.generation, digest_of(stored)):
        raise Corrupt(
            f"channel {newer.channel!r}: generation {newer.generation} does not follow the logged {older.generation}",
            "the log was changed afterwards; the head still says what is live",
            code="broken_log",
        )


def stack(records: Sequence[Record]) -> list[Live]:
    """The stack after ``records`` (oldest first, from generation 1); what is live is its last."""
    live: list[Live] = []
    for record in records:
        if record.action == "promote":
            live.append(record.live)
        elif record.action == "rollback":
            while live and live[-1].version != record.live.version:
                live.pop()
            if not live:  # a writer of another release knew more than this log shows
                live.append(record.live)
    return live


def held_by_rollback(records: Sequence[Record]) -> bool:
    """Whether a rollback set the hold that the channel is on (a later `hold` may have given another reason)."""
    for record in reversed(records):
        if record.hold is None:
            return False
        if record.action == "rollback":
            return True
    return False
