from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

import pytest

from dagferry_schemas.errors import Forbidden
from dagferry_storage.local import LocalStore
from dagferry_storage.probe import Check, probe

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dagferry_storage.store import Stored

NAMES = ["create", "create_only", "compare_and_swap", "conditional_read", "list"]


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
    assert failed(probe(store, "team/", "n1")) == []
    assert failed(probe(store, "", "n1")) == []
    assert list(store.names("team/")) == ["team/other"]
    assert list(store.names("probe/")) == []


def test_the_same_nonce_gives_the_same_checks(root: Path) -> None:
    assert probe(LocalStore(root), "team/", "n1") == probe(LocalStore(root), "team/", "n1")


def test_an_error_ends_the_probe_and_is_told(root: Path) -> None:
    class ReadOnly(LocalStore):
        def create(self, key: str, body: bytes | BinaryIO) -> str:
            raise Forbidden("this identity may not create")

        def delete(self, key: str) -> None:
            raise Forbidden("nor delete")

    checks = probe(ReadOnly(root), "team/", "n1")
    assert failed(checks) == NAMES
    assert [check.detail for check in checks] == ["this identity may not create", *["not tried"] * 4]


def test_a_nonce_that_was_used_is_told(root: Path) -> None:
    store = LocalStore(root)
    store.create("team/probe/n1", b"x")
    checks = probe(store, "team/", "n1")
    assert failed(checks) == NAMES
    assert "exists already" in checks[0].detail


def test_a_store_whose_objects_cannot_be_deleted_still_passes(root: Path) -> None:
    class Locked(LocalStore):
        def delete(self, key: str) -> None:
            raise Forbidden("objects are kept for a year")

    assert failed(probe(Locked(root), "team/", "n1")) == []
    assert sorted(Locked(root).names("team/")) == ["team/probe/n1", "team/probe/n1-late"]


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
        (RefusesAllReplaces, ["compare_and_swap", "conditional_read", "list"]),
        (AlwaysUnchanged, ["conditional_read"]),
        (AlwaysChanged, ["conditional_read"]),
        (ListsNothing, ["list"]),
    ],
)
def test_each_broken_promise_is_found_by_its_check(root: Path, broken: type[LocalStore], expected: list[str]) -> None:
    assert failed(probe(broken(root), "team/", "n1")) == expected
