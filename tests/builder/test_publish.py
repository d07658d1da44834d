"""Publishing: once, in an order that readers can rely on, and over nothing that is there already."""

from __future__ import annotations

import io
import json
import tempfile
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import zstandard

from dagferry_builder import catalog
from dagferry_builder.build import Artifact, build
from dagferry_builder.config import Bundle
from dagferry_builder.fitness import init_store
from dagferry_builder.git import Repository
from dagferry_builder.provenance import Voucher
from dagferry_builder.publish import Publication, publish
from dagferry_builder.selection import Selection
from dagferry_builder.signing import Signing
from dagferry_builder.verify import verify_version
from dagferry_schemas import compression, layout
from dagferry_schemas.errors import BadData, Conflict, Corrupt, DeliveryFailed
from dagferry_schemas.names import digest_of
from dagferry_schemas.statement import Origin
from dagferry_schemas.trust import Policy
from dagferry_storage import published
from dagferry_storage.local import LocalStore
from dagferry_storage.metered import MeteredStore
from tests.schemas.holders import Holder, keyring_of

from .repositories import Clone

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

NOW = "2026-11-22T10:00:00Z"
BUNDLE = "dags"


@dataclass
class Desk:
    """A clone, a store, and what a build of HEAD gives."""

    clone: Clone
    store: LocalStore
    folder: Path

    def build(self, root: str = "dags") -> tuple[Artifact, BinaryIO]:
        spool = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the test's process)
        bundle = Bundle(BUNDLE, Selection.below(root))
        return build(Repository(self.clone.folder), bundle, "HEAD", spool), spool

    def publish(self, root: str = "dags") -> Publication:
        artifact, spool = self.build(root)
        with spool:
            return publish(self.store, artifact.offer(NOW), spool)

    def objects(self) -> dict[str, bytes]:
        return {
            str(path.relative_to(self.folder)): path.read_bytes()
            for path in self.folder.rglob("*")
            if path.is_file() and not path.name.startswith(".")
        }


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    clone = Clone(tmp_path / "clone")
    clone.commit({"dags/a.py": b"a = 1\n", "dags/b/c.py": b"c = 1\n", "other/a.py": b"a = 2\n"})
    clone.git("tag", "v1.0.0")
    (tmp_path / "store").mkdir()
    return Desk(clone, LocalStore(tmp_path / "store"), tmp_path / "store")


def test_a_version_is_published_with_all_that_it_names(desk: Desk) -> None:
    publication = desk.publish()
    version = publication.published.version
    assert publication.created
    assert set(desk.objects()) == {
        layout.tarball(BUNDLE, version.content.tree),
        layout.files(BUNDLE, version.content.tree),
        layout.version(BUNDLE, version.version),
        layout.report(BUNDLE, version.version),
    }
    assert all(check.ok for check in verify_version(desk.store, BUNDLE, version.version, Policy.UNSIGNED))


class Ordered(MeteredStore):
    """Notes the order of the writes."""

    def __init__(self, store: LocalStore) -> None:
        super().__init__(store)
        self.written: list[str] = []

    def create(self, key: str, body: bytes | BinaryIO) -> str:
        token = super().create(key, body)
        self.written.append(key.rpartition("/")[2])
        return token


def test_content_is_written_before_the_version_and_the_report_last(desk: Desk) -> None:
    store = Ordered(desk.store)
    artifact, spool = desk.build()
    with spool:
        publish(store, artifact.offer(NOW), spool)
    name = artifact.version.version
    assert sorted(store.written[:2]) == ["dags.tar.zst", "files.zst"]
    assert store.written[2:] == [f"{name}.json", f"{name}.report.json"]


class Failing(MeteredStore):
    """Cannot take objects of one name."""

    def __init__(self, store: LocalStore, name: str) -> None:
        super().__init__(store)
        self._name = name

    def create(self, key: str, body: bytes | BinaryIO) -> str:
        if key.endswith("/" + self._name):
            raise DeliveryFailed(f"{key}: the store is gone", "try again")
        return super().create(key, body)


@pytest.mark.parametrize(("lost", "kept"), [("dags.tar.zst", "files.zst"), ("files.zst", "dags.tar.zst")])
def test_no_version_is_written_unless_both_of_its_objects_are(desk: Desk, lost: str, kept: str) -> None:
    artifact, spool = desk.build()
    with spool, pytest.raises(DeliveryFailed, match=lost):
        publish(Failing(desk.store, lost), artifact.offer(NOW), spool)
    assert [key.rpartition("/")[2] for key in desk.objects()] == [kept]
    assert desk.publish().created, "and what is there is adopted"


class Together(MeteredStore):
    """Takes tarball and file list only while the other one is on its way."""

    def __init__(self, store: LocalStore) -> None:
        super().__init__(store)
        self._both = threading.Barrier(2, timeout=20)

    def create(self, key: str, body: bytes | BinaryIO) -> str:
        if "/trees/" in key:
            self._both.wait()
        return super().create(key, body)


def test_tarball_and_file_list_go_up_side_by_side(desk: Desk) -> None:
    artifact, spool = desk.build()
    with spool:
        assert publish(Together(desk.store), artifact.offer(NOW), spool).created


def test_the_same_again_writes_nothing(desk: Desk) -> None:
    first = desk.publish()
    before = desk.objects()
    again = desk.publish()
    assert (again.created, again.published) == (False, first.published)
    assert desk.objects() == before


def test_another_selection_under_the_same_version_is_a_conflict(desk: Desk) -> None:
    desk.publish()
    before = desk.objects()
    with pytest.raises(Conflict, match="tree") as caught:
        desk.publish("other")
    assert caught.value.code == "version_exists"
    assert desk.objects() == before


def test_two_commits_with_one_tree_share_its_objects(desk: Desk) -> None:
    first = desk.publish()
    desk.clone.commit({"README": b"nothing that Airflow reads\n"})
    second = desk.publish()
    assert second.created
    assert second.published.version.content == first.published.version.content


def test_content_in_another_encoding_is_adopted_after_its_plain_bytes_were_compared(desk: Desk) -> None:
    artifact, spool = desk.build()
    with spool:
        spool.seek(0)
        plain = b"".join(compression.plain_chunks(spool, "tarball"))
    tree = artifact.version.content.tree
    theirs = zstandard.ZstdCompressor(level=19).compress(plain)
    listed = zstandard.ZstdCompressor(level=19, write_checksum=True).compress(
        compression.decompress(artifact.packed.tree.files.stored, "list", limit=10**6)
    )
    desk.store.create(layout.tarball(BUNDLE, tree), theirs)
    desk.store.create(layout.files(BUNDLE, tree), listed)
    content = desk.publish().published.version.content
    assert (content.tarball.sha256, content.tarball.size) == (digest_of(theirs), len(theirs))
    assert (content.files.sha256, content.files.size) == (digest_of(listed), len(listed))


def refuses_spoiled_content(desk: Desk, key: str, stored: bytes) -> None:
    desk.store.create(key, stored)
    with pytest.raises(Corrupt) as caught:
        desk.publish()
    assert caught.value.code == "spoiled_content"
    assert published.names(desk.store, BUNDLE) == [], "no version may name spoiled content"


@pytest.mark.parametrize("what", ["tarball", "files"])
@pytest.mark.parametrize(
    "stored", [b"", b"rubbish", compression.compress(b"other plain bytes")], ids=["empty", "rubbish", "other"]
)
def test_other_content_under_the_trees_name_is_never_adopted(desk: Desk, what: str, stored: bytes) -> None:
    artifact, spool = desk.build()
    spool.close()
    name = layout.tarball if what == "tarball" else layout.files
    refuses_spoiled_content(desk, name(BUNDLE, artifact.version.content.tree), stored)


class Weary(MeteredStore):
    """Fails at the report, as a store would that has just gone away."""

    def create(self, key: str, body: bytes | BinaryIO) -> str:
        if key.endswith(".report.json"):
            raise DeliveryFailed("gone")
        return super().create(key, body)


def test_a_report_that_cannot_be_stored_does_not_stop_the_version(desk: Desk) -> None:
    artifact, spool = desk.build()
    with spool:
        assert publish(Weary(desk.store), artifact.offer(NOW), spool).created
    assert catalog.report(desk.store, BUNDLE, artifact.version.version) is None


def test_a_dry_run_writes_nothing(desk: Desk) -> None:
    artifact, spool = desk.build()
    with spool:
        assert publish(desk.store, artifact.offer(NOW), spool, dry_run=True).created
    assert desk.objects() == {}


def test_the_stores_verdict_is_left_for_those_who_may_only_read(desk: Desk) -> None:
    assert not catalog.check_store(desk.store, BUNDLE)
    assert all(check.ok for check in init_store(desk.store, BUNDLE, NOW, "0011", time.time))
    assert catalog.check_store(desk.store, BUNDLE)
    assert set(desk.objects()) == {layout.store_json(BUNDLE)}


class Careless(LocalStore):
    """A store that accepts conditions and ignores them, as some servers do."""

    def replace(self, key: str, body: bytes, token: str) -> str:
        return super().replace(key, body, self.read(key, limit=len(body) + 10**6).token)


def test_a_store_that_breaks_its_promises_is_refused_by_name(desk: Desk) -> None:
    init_store(Careless(desk.folder), BUNDLE, NOW, "0012", time.time)
    with pytest.raises(BadData, match="compare_and_swap") as caught:
        catalog.check_store(desk.store, BUNDLE)
    assert caught.value.code == "unfit_store"


def test_a_newer_store_is_left_alone(desk: Desk) -> None:
    desk.store.create(layout.store_json(BUNDLE), b'{"format": 2}')
    with pytest.raises(BadData) as caught:
        catalog.check_store(desk.store, BUNDLE)
    assert caught.value.code == "newer_format"


def test_the_files_position_does_not_matter(desk: Desk) -> None:
    artifact, spool = desk.build()
    with spool:
        spool.seek(0, io.SEEK_END)
        publish(desk.store, artifact.offer(NOW), spool)
    assert all(check.ok for check in verify_version(desk.store, BUNDLE, artifact.version.version, Policy.UNSIGNED))


@pytest.mark.planted
def test_planted_adoption_without_a_look_is_caught(desk: Desk) -> None:
    artifact, spool = desk.build()
    spool.close()
    key = layout.tarball(BUNDLE, artifact.version.content.tree)

    class Believing(Desk):
        def publish(self, root: str = "dags") -> Publication:
            """Planted: what is there already is taken for ours."""
            made, other = self.build(root)
            other.close()
            self.store.create(layout.version(BUNDLE, made.version.version), made.version.to_bytes())
            return Publication(published.read(self.store, BUNDLE, made.version.version), True)

    with pytest.raises(pytest.fail.Exception):
        refuses_spoiled_content(Believing(desk.clone, desk.store, desk.folder), key, b"rubbish")


class Squatted(LocalStore):
    """Somebody is first with each version's document: the same one, but for the pin of its tarball."""

    def create(self, key: str, body: bytes | BinaryIO) -> str:
        if isinstance(body, bytes) and layout.version_of(key) is not None:
            document = json.loads(body)
            document["tarball"]["sha256"] = "sha256:" + "a" * 64
            super().create(key, json.dumps(document).encode())
        return super().create(key, body)


def test_document_that_somebody_else_stored_meanwhile_is_vouched_for_only_if_its_pins_are_ours(desk: Desk) -> None:
    holder = Holder("ci")
    policy = Policy.require(keyring_of([holder]), NOW)
    voucher = Voucher(Signing(policy, holder.sign), Origin(None, "urn:test", "0", NOW, NOW))
    artifact, spool = desk.build()
    with spool, pytest.raises(Corrupt) as refused:
        publish(Squatted(desk.folder), artifact.offer(NOW), spool, voucher=voucher)
    assert refused.value.code == "spoiled_content"
    assert not [name for name in desk.objects() if name.endswith("statement.json")]
