"""What must hold of a channel whatever its writers did; ordinary functions, so that planted bugs can be tried on them.

These are asserts outside test modules: ``conftest`` registers this module, so that a failing one says what it saw.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from dagferry_schemas import layout
from dagferry_schemas.names import digest_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dagferry_storage.store import Store

BUNDLE, CHANNEL = "etl", "prod"


@dataclass(frozen=True)
class Ended:
    """How one writer ended: the exit code that its command would have, and what it said."""

    version: str
    code: int
    message: str = ""
    generation: int | None = None


def stored_records(store: Store) -> list[tuple[bytes, dict[str, Any]]]:
    """The channel's records as they are stored, oldest first, read without any code of the builder."""
    head = store.read(layout.head(BUNDLE, CHANNEL), limit=layout.MAX_DOCUMENT).body
    last = payload(head)["generation"]
    logged = [
        store.read(layout.log(BUNDLE, CHANNEL, generation), limit=layout.MAX_DOCUMENT).body
        for generation in range(1, last)
    ]
    return [(stored, payload(stored)) for stored in (*logged, head)]


def payload(stored: bytes) -> dict[str, Any]:
    """The record in an envelope."""
    found = json.loads(base64.b64decode(json.loads(stored)["payload"]))
    assert isinstance(found, dict)
    return found


def check_log(store: Store) -> list[dict[str, Any]]:
    """The log has no gap, nothing beyond the head, and every record names the one before; the records."""
    last = payload(store.read(layout.head(BUNDLE, CHANNEL), limit=layout.MAX_DOCUMENT).body)["generation"]
    logged = {key.rpartition("/")[2] for key in store.names(f"{BUNDLE}/channels/{CHANNEL}/log/")}
    assert {f"{number}.json" for number in range(1, last)} <= logged
    # The log may already hold the head itself: the writer of its successor died, or is about to replace it.
    assert logged <= {f"{number}.json" for number in range(1, last + 1)}
    found = stored_records(store)
    records = [record for _, record in found]
    assert [record["generation"] for record in records] == list(range(1, len(found) + 1))
    assert records[0]["previous"] is None
    for (stored, before), (_, record) in pairwise(found):
        assert record["previous"] == {"generation": before["generation"], "sha256": digest_of(stored)}
    assert len({record["nonce"] for record in records}) == len(records)
    return records


def check_winners(records: Sequence[Mapping[str, Any]], ended: Sequence[Ended], *, before: int = 0) -> None:
    """Every success is one generation of its own, and every generation after ``before`` is one success."""
    won = {(one.generation, one.version) for one in ended if one.code == 0}
    assert len(won) == len([one for one in ended if one.code == 0])
    assert won == {(record["generation"], record["live"]["version"]) for record in records[before:]}


def check_losers(records: Sequence[Mapping[str, Any]], ended: Sequence[Ended]) -> None:
    """Every other writer ended with 3, and was told a generation that took place and its version."""
    for one in ended:
        if one.code == 0:
            continue
        assert one.code == 3, one
        told = [f"generation {record['generation']}" in one.message for record in records]
        named = [record["live"]["version"] in one.message for record in records]
        assert any(both == (True, True) for both in zip(told, named, strict=True)), one


def check_forward(records: Sequence[Mapping[str, Any]], order: Sequence[str]) -> None:
    """The channel went forward only, in the order of the commits."""
    places = [order.index(record["live"]["version"]) for record in records]
    assert places == sorted(set(places))
