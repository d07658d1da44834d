"""Copying a version to another store: the same bytes, verified before the first one is written."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import zstandard

from dagferry_builder.copying import copy
from dagferry_builder.verify import verify_version
from dagferry_schemas import compression, layout
from dagferry_schemas.errors import Conflict, Corrupt, Unknown
from dagferry_schemas.trust import Policy
from dagferry_storage import published
from dagferry_storage.local import LocalStore

from .repositories import Clone
from .test_publish import BUNDLE, Desk

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    clone = Clone(tmp_path / "clone")
    clone.commit({"dags/a.py": b"a = 1\n", "dags/b/c.py": b"c = 1\n"})
    (tmp_path / "store").mkdir()
    return Desk(clone, LocalStore(tmp_path / "store"), tmp_path / "store")


@pytest.fixture
def target(tmp_path: Path) -> Desk:
    (tmp_path / "target").mkdir()
    return Desk(Clone(tmp_path / "other"), LocalStore(tmp_path / "target"), tmp_path / "target")


def test_every_object_of_the_version_is_copied_byte_by_byte(desk: Desk, target: Desk) -> None:
    name = desk.publish().published.version.version
    assert copy(desk.store, target.store, BUNDLE, name).created
    assert target.objects() == desk.objects()
    assert all(check.ok for check in verify_version(target.store, BUNDLE, name, Policy.UNSIGNED))


def test_the_same_again_writes_nothing(desk: Desk, target: Desk) -> None:
    one = desk.publish().published
    copy(desk.store, target.store, BUNDLE, one.version.commit[:10])
    before = target.objects()
    assert not copy(desk.store, target.store, BUNDLE, one.version.version).created
    assert target.objects() == before


def test_content_that_the_target_has_in_another_encoding_is_adopted(desk: Desk, target: Desk) -> None:
    version = desk.publish().published.version
    key = layout.tarball(BUNDLE, version.content.tree)
    with desk.store.stream(key) as chunks:
        plain = compression.decompress(b"".join(chunks), "tarball", limit=10**6)
    target.store.create(key, zstandard.ZstdCompressor(level=19).compress(plain))
    copied = copy(desk.store, target.store, BUNDLE, version.version).published.version
    assert copied.identity == version.identity
    assert copied.content.tarball != version.content.tarball
    assert all(check.ok for check in verify_version(target.store, BUNDLE, version.version, Policy.UNSIGNED))


def nothing_of_a_spoiled_version_is_copied(desk: Desk, target: Desk) -> None:
    version = desk.publish().published.version
    path = desk.folder / layout.tarball(BUNDLE, version.content.tree)
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(Corrupt):
        copy(desk.store, target.store, BUNDLE, version.version)
    assert target.objects() == {}


def test_nothing_of_a_spoiled_version_is_copied(desk: Desk, target: Desk) -> None:
    nothing_of_a_spoiled_version_is_copied(desk, target)


def test_another_version_under_the_name_is_not_overwritten(desk: Desk, target: Desk) -> None:
    name = desk.publish().published.version.version
    same_commit = Desk(desk.clone, target.store, target.folder)
    same_commit.publish("")
    before = target.objects()
    with pytest.raises(Conflict, match="other content"):
        copy(desk.store, target.store, BUNDLE, name)
    assert target.objects() == before


def test_a_version_that_is_not_there_is_unknown(desk: Desk, target: Desk) -> None:
    with pytest.raises(Unknown):
        copy(desk.store, target.store, BUNDLE, "v9.9.9-0-g000000000000")


def test_a_dry_run_writes_nothing(desk: Desk, target: Desk) -> None:
    name = desk.publish().published.version.version
    assert copy(desk.store, target.store, BUNDLE, name, dry_run=True).created
    assert target.objects() == {}
    assert published.names(target.store, BUNDLE) == []
