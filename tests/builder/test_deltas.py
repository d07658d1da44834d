"""Deltas that a promotion makes: named in its record, there before it, right in both directions, and never needed."""

from __future__ import annotations

import hashlib
import io
import tempfile
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dagferry_builder import deltas
from dagferry_builder.channel import Channel
from dagferry_builder.verify import verify_channel
from dagferry_schemas import layout, trust
from dagferry_schemas.errors import Corrupt, Forbidden
from dagferry_schemas.record import way
from dagferry_schemas.tree_index import TreeIndex
from dagferry_storage import fetch, published
from dagferry_storage.local import LocalStore
from tests.agent.shelf import BUNDLE, TIME, Shelf

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dagferry_builder.channel import Change
    from dagferry_schemas.record import Live, Record
    from dagferry_storage.store import Store

    Files = Mapping[str, bytes]


def content(word: str) -> bytes:
    """Bytes that cannot be compressed: a delta beside them is small."""
    return b"".join(hashlib.sha256(f"{word}{number}".encode()).digest() for number in range(100))


ONE = {"dag_a.py": content("a"), "team/dag_b.py": content("b"), "team/helper.py": content("h")}
TWO = {**ONE, "dag_a.py": content("a") + b"a = 2\n"}
THREE = {"dag_a.py": content("a") + b"a = 2\n", "team/dag_b.py": content("b"), "new.py": b"n = 3\n"}
FOUR = {**THREE, "new.py": b"n = 4\n"}


@dataclass
class Desk:
    """A store with versions, and a channel."""

    folder: Path
    trees: dict[str, tuple[Live, Files]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.store: Store = LocalStore(self.folder)
        self.shelf = Shelf(self.store)

    def channel(self, store: Store | None = None, *, dry_run: bool = False) -> Channel:
        return Channel(store or self.store, BUNDLE, "prod", actor="test", clock=lambda: TIME, dry_run=dry_run)

    def promote(self, version: str, files: Files, store: Store | None = None, *, dry_run: bool = False) -> Change:
        live = self.shelf.publish(version, files)
        self.trees[live.content.tree] = (live, files)
        chosen = published.read(self.store, BUNDLE, version)
        return self.channel(store, dry_run=dry_run).promote(chosen, allow_older=True)

    def applied(self, record: Record, from_tree: str) -> Files:
        """What an agent comes to that has ``from_tree``."""
        files = dict(self.trees[from_tree][1])
        index = TreeIndex.of(fetch.files(self.store, BUNDLE, self.trees[from_tree][0].content).tree.files)
        entries = way(record.deltas, from_tree, record.live.content.tree)
        assert entries, "no way leads there"
        for entry in entries:
            verified = trust.accept_delta(fetch.delta(self.store, BUNDLE, entry), entry, index)
            there = files
            fresh = dict(verified.delta.contents(index, lambda file, there=there: there[file.path]))  # type: ignore[misc]
            files = {path: body for path, body in files.items() if verified.delta.changes.get(path, 1) is not None}
            files |= {file.path: body for file, body in fresh.items()}
            index = verified.after
        return files


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path / "store")


def test_a_promotion_names_the_way_there_and_the_way_back(desk: Desk) -> None:
    first = desk.promote("v1", ONE).record
    assert first.deltas == ()
    second = desk.promote("v2", TWO).record
    one, two = first.live.content.tree, second.live.content.tree
    assert [(entry.from_tree, entry.to_tree) for entry in second.deltas] == [(one, two), (two, one)]
    assert desk.applied(second, one) == TWO
    assert all(entry.pin.size < 400 for entry in second.deltas)


def test_a_record_carries_the_ways_of_two_promotions_before(desk: Desk) -> None:
    records = [desk.promote(f"v{number}", files).record for number, files in enumerate((ONE, TWO, THREE, FOUR))]
    trees = [record.live.content.tree for record in records]
    assert len(records[-1].deltas) == 4
    for tree in trees[:-1]:
        assert desk.applied(records[-1], tree) == FOUR
    fifth = desk.promote("v5", ONE | {"more.py": b"m"}).record
    assert len(fifth.deltas) == 4, "and no more than that"
    assert way(fifth.deltas, trees[0], fifth.live.content.tree) == ()


def test_a_rollback_makes_nothing_and_names_the_way_back(desk: Desk) -> None:
    for number, files in enumerate((ONE, TWO)):
        desk.promote(f"v{number}", files)
    before = sorted(desk.folder.rglob("*.zst"))
    back = desk.channel().rollback().record
    assert sorted(desk.folder.rglob("*.zst")) == before
    two = desk.channel().records()[1].live.content.tree
    assert desk.applied(back, two) == ONE
    assert desk.channel().resume().record.deltas == back.deltas, "what is live stays"


def test_what_is_rolled_back_over_several_versions_has_no_way(desk: Desk) -> None:
    for number, files in enumerate((ONE, TWO, THREE)):
        desk.promote(f"v{number}", files)
    assert desk.channel().rollback(to="v0").record.deltas == ()


def test_another_version_of_one_tree_keeps_the_ways(desk: Desk) -> None:
    desk.promote("v1", ONE)
    second = desk.promote("v2", TWO).record
    assert desk.promote("v3", TWO).record.deltas == second.deltas


def test_what_is_not_much_smaller_than_the_whole_is_none(desk: Desk) -> None:
    desk.promote("v1", ONE)
    assert desk.promote("v2", {path: content("other") for path in ONE}).record.deltas == ()


def test_a_dry_run_makes_none(desk: Desk) -> None:
    desk.promote("v1", ONE)
    assert desk.promote("v2", TWO, dry_run=True).record.deltas == ()
    assert not list(desk.folder.rglob("deltas"))


class NoRight(LocalStore):
    """A store whose identity may not create deltas."""

    def create(self, key: str, body: Any) -> str:  # noqa: ANN401
        if "/deltas/" in key:
            raise Forbidden(f"{key}: you may not", "ask for the right")
        return super().create(key, body)


def test_a_promotion_without_the_right_goes_on_and_says_so(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    desk.promote("v1", ONE)
    change = desk.promote("v2", TWO, NoRight(desk.folder))
    assert (change.changed, change.record.deltas) == (True, ())
    assert "no delta was made, agents fetch the whole" in caplog.text


def test_a_delta_that_is_there_needs_no_right(desk: Desk) -> None:
    desk.promote("v1", ONE)
    second = desk.promote("v2", TWO).record
    desk.promote("v3", ONE)
    assert desk.promote("v4", TWO, NoRight(desk.folder)).record.deltas[:2] == second.deltas


def test_a_release_that_is_damaged_in_the_store_does_not_stop_the_next(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    first = desk.promote("v1", ONE).record
    (desk.folder / layout.tarball(BUNDLE, first.live.content.tree)).unlink()
    assert desk.promote("v2", TWO).changed
    assert "no delta was made" in caplog.text


class Watched(LocalStore):
    """Tells the order in which objects are written."""

    written: list[str]

    def create(self, key: str, body: Any) -> str:  # noqa: ANN401
        token = super().create(key, body)
        self.written.append(key.split("/")[1])
        return token

    def replace(self, key: str, body: bytes, token: str) -> str:
        fresh = super().replace(key, body, token)
        self.written.append("head")
        return fresh


def test_a_delta_is_there_before_a_record_names_it(desk: Desk) -> None:
    desk.promote("v1", ONE)
    store = Watched(desk.folder)
    store.written = []
    desk.promote("v2", TWO, store)
    assert store.written == ["deltas", "deltas", "channels", "head"], "the record before goes into the log"


def test_a_delta_that_is_there_already_is_used(desk: Desk) -> None:
    desk.promote("v1", ONE)
    second = desk.promote("v2", TWO).record
    desk.promote("v3", ONE)
    assert desk.promote("v4", TWO).record.deltas[0] == second.deltas[0]


def test_verify_looks_at_the_deltas(desk: Desk) -> None:
    desk.promote("v1", ONE)
    record = desk.promote("v2", TWO).record
    checks = [check for check in verify_channel(desk.store, BUNDLE, desk.channel()) if check.name == "delta"]
    assert [check.ok for check in checks] == [True, True]
    (desk.folder / layout.delta(BUNDLE, record.deltas[1].pin.sha256)).unlink()
    checks = [check for check in verify_channel(desk.store, BUNDLE, desk.channel()) if check.name == "delta"]
    assert [check.ok for check in checks] == [True, False]


def test_two_promotions_at_once_leave_ways_from_what_was_live(tmp_path: Path) -> None:
    """A promotion that lost the race makes its delta anew, from what is live then."""
    desk = Desk(tmp_path / "store")
    desk.promote("v1", ONE)
    three = desk.shelf.publish("v3", THREE, parents=3)
    desk.trees[three.content.tree] = (three, THREE)

    class Racing(LocalStore):
        raced = False

        def replace(self, key: str, body: bytes, token: str) -> str:
            if not self.raced:
                self.raced = True
                desk.promote("v2", TWO)
            return super().replace(key, body, token)

    chosen = published.read(desk.store, BUNDLE, "v3")
    record = desk.channel(Racing(desk.folder)).promote(chosen).record
    two = next(tree for tree, (live, _) in desk.trees.items() if live.version == "v2")
    assert desk.applied(record, two) == THREE


def test_nothing_is_left_in_the_folder_for_temporary_files(desk: Desk, tmp_path: Path) -> None:
    before = sorted(Path(tempfile.gettempdir()).glob("tmp*"))
    desk.promote("v1", ONE)
    desk.promote("v2", TWO)
    assert sorted(Path(tempfile.gettempdir()).glob("tmp*")) == before


class Streamed(LocalStore):
    """Notes what is streamed; the first stream ends only after so many have begun."""

    def __init__(self, folder: Path, parties: int) -> None:
        super().__init__(folder)
        self.keys: list[str] = []
        self._barrier = threading.Barrier(parties, timeout=20)

    @contextmanager
    def stream(self, key: str) -> Iterator[Iterator[bytes]]:
        self.keys.append(key)
        self._barrier.wait()
        with super().stream(key) as chunks:
            yield chunks


def test_both_trees_are_read_side_by_side_and_each_once(desk: Desk) -> None:
    desk.promote("v1", ONE)
    store = Streamed(desk.folder, parties=2)
    record = desk.promote("v2", TWO, store).record
    assert desk.applied(record, record.deltas[0].from_tree) == TWO
    assert sorted(store.keys) == sorted(layout.tarball(BUNDLE, tree) for tree in desk.trees)


def test_what_was_built_here_is_not_fetched_and_makes_the_same_deltas(desk: Desk) -> None:
    desk.promote("v1", ONE)
    record = desk.promote("v2", TWO).record
    one, two = (desk.trees[tree][0].content for tree in (record.deltas[0].from_tree, record.live.content.tree))
    before = desk.channel().records()[0]
    store = Streamed(desk.folder, parties=1)
    with (desk.folder / layout.tarball(BUNDLE, two.tree)).open("rb") as file:
        built = deltas.Built(two, fetch.files(desk.store, BUNDLE, two), file)
        assert deltas.promoted(store, BUNDLE, before, two, built=built) == record.deltas
    assert store.keys == [layout.tarball(BUNDLE, one.tree)]


def test_what_was_built_here_is_verified_as_what_is_fetched(desk: Desk) -> None:
    desk.promote("v1", ONE)
    record = desk.promote("v2", TWO).record
    two, before = record.live.content, desk.channel().records()[0]
    built = deltas.Built(two, fetch.files(desk.store, BUNDLE, two), io.BytesIO(b"something else"))
    with pytest.raises(Corrupt):
        deltas.promoted(desk.store, BUNDLE, before, two, built=built)


def test_the_transfer_of_what_is_live_is_shown(desk: Desk) -> None:
    first = desk.promote("v1", ONE).record.live
    asked: list[tuple[str, int]] = []

    def shown(store: Store, what: str, size: int) -> Store:
        asked.append((what, size))
        return store

    desk.shelf.publish("v2", TWO)
    channel = Channel(desk.store, BUNDLE, "prod", actor="test", clock=lambda: TIME, shown=shown)
    assert channel.promote(published.read(desk.store, BUNDLE, "v2"), allow_older=True).record.deltas
    assert asked == [(f"{BUNDLE} v1", first.content.tarball.size)]
