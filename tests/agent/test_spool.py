"""Events that wait on the disk: in order, within bounds, and there after any end of the process."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from dagferry_agent.spool import MARK, Spool

if TYPE_CHECKING:
    from pathlib import Path


def dropped(count: int) -> bytes:
    return json.dumps({"id": f"dropped-{count}", "data": {"count": count}}).encode()


def spool(folder: Path, **bounds: Any) -> Spool:  # noqa: ANN401
    return Spool(folder, dropped, **bounds)


def event(number: int, size: int = 0) -> bytes:
    return json.dumps({"id": str(number), "pad": "x" * size}).encode()


def taken(one: Spool) -> list[str]:
    """What a webhook takes now, until there is no more."""
    found = []
    while (entry := one.oldest(0)) is not None:
        found.append(json.loads(entry.body)["id"])
        one.taken(entry)
    return found


def test_events_are_told_in_their_order_by_whoever_opens_it(tmp_path: Path) -> None:
    first = spool(tmp_path)
    for number in range(12):
        first.add(event(number))
    (tmp_path / ".0000000000000013.json.cut-off").write_bytes(b'{"id"')
    again = spool(tmp_path)
    assert len(again) == 12
    again.add(event(12))
    assert taken(again) == [str(number) for number in range(13)]
    assert list(tmp_path.iterdir()) == []


def test_what_was_not_taken_comes_again(tmp_path: Path) -> None:
    one = spool(tmp_path)
    one.add(event(1))
    assert one.oldest(0) == one.oldest(0)
    assert taken(spool(tmp_path)) == ["1"]


def test_beyond_the_bound_the_oldest_go_and_that_is_told_first(tmp_path: Path) -> None:
    one = spool(tmp_path, most=3)
    assert [one.add(event(number)) for number in range(5)] == [0, 0, 0, 1, 1]
    assert taken(spool(tmp_path, most=3)) == ["dropped-2", "2", "3", "4"]


def test_bytes_have_a_bound_too(tmp_path: Path) -> None:
    one = spool(tmp_path, most_bytes=1000)
    for number in range(10):
        one.add(event(number, size=200))
    assert sum(path.stat().st_size for path in tmp_path.iterdir() if path.name != MARK) <= 1000
    assert taken(one)[-1] == "9"


def test_what_is_dropped_while_that_is_told_is_told_as_well(tmp_path: Path) -> None:
    one = spool(tmp_path, most=1)
    one.add(event(1))
    one.add(event(2))
    under_way = one.oldest(0)
    assert under_way is not None
    assert under_way.name == MARK
    one.add(event(3))
    one.taken(under_way)
    assert taken(one) == ["dropped-2", "3"]


def test_an_event_that_was_dropped_while_it_was_told_takes_no_other_with_it(tmp_path: Path) -> None:
    one = spool(tmp_path, most=1)
    one.add(event(1))
    under_way = one.oldest(0)
    assert under_way is not None
    one.add(event(2))
    one.taken(under_way)
    assert taken(one) == ["dropped-1", "2"]


def test_a_file_that_somebody_removed_stops_nobody(tmp_path: Path) -> None:
    one = spool(tmp_path)
    one.add(event(1))
    one.add(event(2))
    min(tmp_path.iterdir()).unlink()
    assert taken(one) == ["2"]


def test_a_mark_that_is_not_whole_still_says_that_some_were_dropped(tmp_path: Path) -> None:
    one = spool(tmp_path, most=1)
    one.add(event(1))
    (tmp_path / MARK).write_bytes(b"")
    again = spool(tmp_path, most=1)
    again.add(event(2))
    assert taken(again) == ["dropped-2", "2"]
