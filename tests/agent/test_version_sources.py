"""Versions from a store and from an agent beside: what may be used, what it costs, and that it is what it must be."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from dagferry_agent.root import Root
from dagferry_agent.state import State
from dagferry_agent.version_folders import VersionFolders
from dagferry_agent.version_sources import AgentFirst, Found, FromAgent, FromStore, Source
from dagferry_schemas import layout
from dagferry_schemas.errors import Conflict, DagferryError, DeliveryFailed, Unknown, Usage
from dagferry_schemas.trust import Floor
from dagferry_storage.keyring_folder import KeyringFolder
from dagferry_storage.local import LocalStore
from dagferry_storage.metered import MeteredStore
from tests.schemas.holders import Holder, requirements

from .shelf import BUNDLE, CHANNEL
from .test_delivery import EXECUTABLE, ONE, TWO, Pod

if TYPE_CHECKING:
    from pathlib import Path

CI = Holder("ci")
OPS = Holder("ops")
EMPTY = State(BUNDLE, CHANNEL)


class Scene:
    """A store with v1 and v2, where v2 is live, an agent that had both, and folders for versions."""

    def __init__(self, folder: Path, signer: Holder | None = None) -> None:
        self.pod = Pod(folder / "pod", signer=signer)
        for version, files in (("v1", ONE), ("v2", TWO)):
            self.pod.shelf.ship(version, files, EXECUTABLE)
            self.pod.delivery.pull()
        self.keyring = KeyringFolder(self.pod.keyring if signer else None)
        self.meter = MeteredStore(LocalStore(self.pod.store_folder))
        self.store = FromStore(self.pod.settings, self.meter, self.keyring)
        self.agent = FromAgent(self.pod.settings, Root(self.pod.root), self.keyring)
        self.folders = VersionFolders(folder / "versions", folder / "beside")

    def make(self, found: Found) -> Path:
        self.folders.add(found.wanted.version, found.wanted.tree, found.fill)
        return self.folders.path(found.wanted.version)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


@pytest.fixture
def signed(tmp_path: Path) -> Scene:
    return Scene(tmp_path, CI)


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def code(source: Source, version: str) -> str:
    with pytest.raises(DagferryError) as caught:
        source.named(version)
    return caught.value.code


@pytest.mark.parametrize("where", ["store", "agent", "both"])
def test_a_version_becomes_a_folder_of_its_own_files(scene: Scene, where: str) -> None:
    both = AgentFirst(scene.agent, scene.store)
    sources: dict[str, Source] = {"store": scene.store, "agent": scene.agent, "both": both}
    source = sources[where]
    for version, files in (("v1", ONE), ("v2", TWO)):
        folder = scene.make(source.named(version))
        assert content(folder) == files
        assert (folder / "run.sh").stat().st_mode & 0o777 == 0o755
        assert (folder / "dag_a.py").stat().st_mode & 0o777 == 0o644
        assert all(path.stat().st_nlink == 1 for path in folder.rglob("*") if path.is_file())
    assert source.latest(EMPTY, keeps=False).wanted.version == "v2"


def test_what_the_store_is_asked(scene: Scene) -> None:
    first = scene.store.latest(EMPTY, keeps=False)
    assert (scene.meter.requests, first.wanted.generation) == (1, 2)
    scene.make(first)
    assert scene.meter.requests == 3
    bytes_before = scene.meter.bytes_fetched
    again = scene.store.latest(replace(EMPTY, floor=first.floor), keeps=True)
    assert (again.wanted, scene.meter.requests) == (first.wanted, 4)
    assert scene.meter.bytes_fetched == bytes_before, "nothing new costs one request without a body"
    scene.make(scene.store.named("v1"))
    assert scene.meter.requests == 7


def test_an_agent_beside_needs_no_store(scene: Scene) -> None:
    both = AgentFirst(scene.agent, scene.store)
    for version in ("v1", "v2"):
        scene.make(both.named(version))
    assert both.latest(EMPTY, keeps=False).wanted.version == "v2"
    assert scene.meter.requests == 0


def test_what_the_agent_has_no_more_comes_from_the_store(scene: Scene) -> None:
    for number in range(3, 7):
        scene.pod.shelf.ship(f"v{number}", {"dag.py": b"%d" % number})
        scene.pod.clock.now += 10 * 3600
        scene.pod.delivery.pull()
    with pytest.raises(Unknown, match="agent's"):
        scene.agent.named("v1")
    folder = scene.make(AgentFirst(scene.agent, scene.store).named("v1"))
    assert content(folder) == ONE
    assert scene.meter.requests == 3


@pytest.mark.parametrize("damage", ["other bytes", "gone", "a link", "a pipe"])
def test_a_damaged_release_is_not_copied(scene: Scene, tmp_path: Path, damage: str) -> None:
    path = scene.pod.root / "current" / "team" / "helper.py"
    path.unlink()
    if damage == "other bytes":
        path.write_bytes(b"h = 2\n")
    elif damage == "a link":
        (tmp_path / "elsewhere.py").write_bytes(b"h = 1\n")
        path.symlink_to(tmp_path / "elsewhere.py")
    elif damage == "a pipe":
        os.mkfifo(path)
    with pytest.raises(DagferryError) as caught:
        scene.make(scene.agent.named("v2"))
    assert caught.value.code == "corrupt"
    assert not scene.folders.has("v2")
    assert content(scene.make(AgentFirst(scene.agent, scene.store).named("v2"))) == TWO


def test_what_nobody_published_is_unknown(scene: Scene) -> None:
    assert code(scene.store, "v9") == "unknown_version"
    assert code(scene.agent, "v9") == "unknown_version"
    assert code(AgentFirst(scene.agent, scene.store), "v9") == "unknown_version"
    with pytest.raises(Usage):
        scene.store.named("../../etc")


def test_the_channel_never_goes_back(scene: Scene) -> None:
    floor = Floor(1, 5, "sha256:" + 64 * "0")
    with pytest.raises(DagferryError) as caught:
        scene.store.latest(replace(EMPTY, floor=floor), keeps=True)
    assert caught.value.code == "went_back"


def test_an_agent_of_another_channel_or_none_is_no_source(scene: Scene, tmp_path: Path) -> None:
    other = FromAgent(replace(scene.pod.settings, channel="staging"), Root(scene.pod.root), scene.keyring)
    with pytest.raises(Conflict, match="channel 'prod'"):
        other.latest(EMPTY, keeps=False)
    nobody = FromAgent(scene.pod.settings, Root(tmp_path / "nothing"), scene.keyring)
    with pytest.raises(DeliveryFailed) as caught:
        nobody.latest(EMPTY, keeps=False)
    assert caught.value.code == "not_yet"


# --- trust


@pytest.mark.parametrize("where", ["store", "agent"])
def test_signed_versions_are_believed(signed: Scene, where: str) -> None:
    source: Source = signed.store if where == "store" else signed.agent
    assert source.named("v1").wanted.signers == (CI.public.key_id,)
    assert source.latest(EMPTY, keeps=False).wanted.signers == (CI.public.key_id,)
    assert content(signed.make(source.named("v1"))) == ONE


def test_a_version_without_a_statement_is_refused(signed: Scene) -> None:
    (signed.pod.store_folder / layout.statement(BUNDLE, "v1")).unlink()
    assert code(signed.store, "v1") == "unsigned"
    assert signed.agent.named("v1").wanted.version == "v1", "the agent believed the record"


def test_a_key_that_was_taken_away_counts_nowhere(signed: Scene) -> None:
    (signed.pod.keyring / "ops.json").write_bytes(OPS.entry())
    (signed.pod.keyring / "ci.json").unlink()
    assert code(signed.store, "v1") == "bad_signature"
    assert code(signed.agent, "v1") == "unsigned"
    assert code(AgentFirst(signed.agent, signed.store), "v1") == "bad_signature"
    for source in (signed.store, signed.agent):
        with pytest.raises(DagferryError):
            source.latest(EMPTY, keeps=True)


def test_as_many_keys_are_needed_as_the_keyring_says(signed: Scene) -> None:
    (signed.pod.keyring / "requirements.json").write_bytes(requirements({"publishers": 2, "promoters": 2}))
    assert code(signed.store, "v1") == "bad_signature"
    assert code(signed.agent, "v1") == "unsigned"


def test_an_empty_keyring_believes_nobody(signed: Scene) -> None:
    (signed.pod.keyring / "ci.json").unlink()
    assert code(signed.store, "v1") == "no_keyring"
    assert code(signed.agent, "v1") == "no_keyring"


def test_content_that_was_changed_in_the_store_never_becomes_a_folder(scene: Scene) -> None:
    found = scene.store.named("v2")
    tarball = scene.pod.store_folder / layout.tarball(BUNDLE, found.wanted.tree)
    body = bytearray(tarball.read_bytes())
    body[len(body) // 2] ^= 1
    tarball.chmod(0o644)
    tarball.write_bytes(bytes(body))
    with pytest.raises(DagferryError) as caught:
        scene.make(found)
    assert caught.value.code == "wrong_digest"
    assert not scene.folders.has("v2")
    assert content(scene.make(scene.store.named("v1"))) == ONE
