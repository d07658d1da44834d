from __future__ import annotations

import time
from typing import TYPE_CHECKING, BinaryIO

import pytest

from dagferry_schemas.errors import Forbidden
from dagferry_storage.local import LocalStore
from dagferry_storage.probe import MOST_APART, PROMISES, Check, Failed, compare_clocks, probe

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dagferry_storage.store import Stored

NAMES = [*PROMISES, "clock"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


def failed(checks: tuple[Check, ...]) -> list[str]:
    assert [check.name for check in checks] == NAMES
    assert all(check.detail for check in checks)
    return [check.name for check in checks if not check.ok]


def test_a_good_store_passes_and_nothing_stays(root: Path) -> None:
    store = LocalStore(root)
    store.create("team/other", b"x")
    assert failed(probe(store, "team/", "n1", time.time)) == []
    assert failed(probe(store, "", "n1", time.time)) == []
    assert list(store.names("team/")) == ["team/other"]
    assert list(store.names("probe/")) == []


def test_the_same_nonce_gives_the_same_checks(root: Path) -> None:
    assert probe(LocalStore(root), "team/", "n1", time.time) == probe(LocalStore(root), "team/", "n1", time.time)


def test_an_error_ends_the_probe_and_is_told(root: Path) -> None:
    class ReadOnly(LocalStore):
        def create(self, key: str, body: bytes | BinaryIO) -> str:
            raise Forbidden("this identity may not create")

        def delete(self, key: str) -> None:
            raise Forbidden("nor delete")

    checks = probe(ReadOnly(root), "team/", "n1", time.time)
    assert failed(checks) == NAMES
    assert [check.detail for check in checks] == ["this identity may not create", *["not tried"] * 5]


def test_a_nonce_that_was_used_is_told(root: Path) -> None:
    store = LocalStore(root)
    store.create("team/probe/n1", b"x")
    checks = probe(store, "team/", "n1", time.time)
    assert failed(checks) == NAMES
    assert "exists already" in checks[0].detail


def test_a_store_whose_objects_cannot_be_deleted_still_passes(root: Path) -> None:
    class Locked(LocalStore):
        def delete(self, key: str) -> None:
            raise Forbidden("objects are kept for a year")

    assert failed(probe(Locked(root), "team/", "n1", time.time)) == []
    assert sorted(Locked(root).names("team/")) == ["team/probe/n1", "team/probe/n1-clock", "team/probe/n1-late"]


class ForgetsBytes(LocalStore):
    def create(self, key: str, body: bytes | BinaryIO) -> str:
        return super().create(key, b"")


class RefusesAllReplaces(LocalStore):
    def replace(self, key: str, body: bytes, token: str) -> str:
        return super().replace(key, body, "another token")


class AlwaysUnchanged(LocalStore):
    def read_if_changed(self, key: str, token: str, *, limit: int) -> Stored | None:
        return None


class AlwaysChanged(LocalStore):
    def read_if_changed(self, key: str, token: str, *, limit: int) -> Stored | None:
        return self.read(key, limit=limit)


class ListsNothing(LocalStore):
    def names(self, prefix: str) -> Iterator[str]:
        return iter(())


@pytest.mark.parametrize(
    ("broken", "expected"),
    [
        (ForgetsBytes, ["create", "create_only"]),
        (RefusesAllReplaces, ["compare_and_swap", "conditional_read", "list", "clock"]),
        (AlwaysUnchanged, ["conditional_read"]),
        (AlwaysChanged, ["conditional_read"]),
        (ListsNothing, ["list"]),
    ],
)
def test_each_broken_promise_is_found_by_its_check(root: Path, broken: type[LocalStore], expected: list[str]) -> None:
    assert failed(probe(broken(root), "team/", "n1", time.time)) == expected


@pytest.mark.parametrize("stored", [1000.0, 999.1, 1000.9, 1003.0, 1002.5])
def test_clocks_agree_where_the_fraction_of_a_second_may_be_left_out(stored: float) -> None:
    assert "agree" in compare_clocks(1000.0, stored, 1003.0)


@pytest.mark.parametrize(
    ("stored", "said"),
    [
        (1003.0 + MOST_APART, f"{MOST_APART} s behind"),
        (999.0 - MOST_APART, f"{MOST_APART} s ahead of"),
        (1005.0, "2 s behind"),
        (995.0, "4 s ahead of"),
    ],
)
def test_clocks_may_be_a_minute_apart(stored: float, said: str) -> None:
    assert said in compare_clocks(1000.0, stored, 1003.0)


@pytest.mark.parametrize(
    ("stored", "said"),
    [(1004.0 + MOST_APART, "61 s behind"), (998.0 - MOST_APART, "61 s ahead of"), (0.0, "999 s ahead")],
)
def test_clocks_further_apart_are_told_with_the_side(stored: float, said: str) -> None:
    with pytest.raises(Failed, match=said):
        compare_clocks(1000.0, stored, 1003.0)


@pytest.mark.parametrize(("ahead", "side"), [(3600, "ahead of"), (-3600, "behind")])
def test_a_clock_that_is_off_fails_its_own_check(root: Path, ahead: float, side: str) -> None:
    checks = probe(LocalStore(root), "team/", "n1", lambda: time.time() + ahead)
    assert failed(checks) == ["clock"]
    assert side in checks[-1].detail
    assert list(LocalStore(root).names("team/")) == []
