"""What a pull does to a pod's disk, over a real local store and a real folder.

With ``DAGFERRY_TEST_SIGNED`` set, everything is signed, and the agent has a keyring.
"""

from __future__ import annotations

import os
import shutil
import stat
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from dagferry_agent.delivery import Delivery
from dagferry_agent.retention import expired
from dagferry_agent.root import PREPARED, Root
from dagferry_agent.settings import Settings
from dagferry_agent.state import Served, State
from dagferry_schemas import compression, layout
from dagferry_schemas.dsse import nobody
from dagferry_schemas.errors import Corrupt, DagferryError, DeliveryFailed, MachineFault, Malformed, Unknown, Untrusted
from dagferry_schemas.names import short_tree
from dagferry_storage.local import LocalStore
from tests.schemas.holders import Holder

from .shelf import BUNDLE, CHANNEL, Shelf

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from dagferry_schemas.endpoint import PullReply
    from dagferry_schemas.record import Record

ONE = {"dag_a.py": b"a = 1\n", "dag_b.py": b"b = 1\n", "team/helper.py": b"h = 1\n", "run.sh": b"#!/bin/sh\n"}
TWO = {**ONE, "dag_a.py": b"a = 2\n"}
EXECUTABLE = frozenset({"run.sh"})


class Clock:
    """The present, moved by hand. Seconds since 1970."""

    def __init__(self) -> None:
        self.now = 1_790_000_000.25

    def __call__(self) -> float:
        return self.now


DELTAS = os.environ.get("DAGFERRY_TEST_DELTAS", "")
"""Whether records name deltas: not, or "linked" (what they edit is made when it is needed), or "prepared" (before)."""


class Preparing(Delivery):
    """A delivery that has time between two pulls."""

    def pull(self) -> PullReply:
        reply = super().pull()
        while self.prepare_next(60.0):
            pass
        return reply


SIGNER = Holder("ci") if os.environ.get("DAGFERRY_TEST_SIGNED") else None


class Pod:
    """A store, a root and a delivery between them.

    With a ``signer`` all is signed, and has to be; with ``deltas`` what changes comes by them (`DELTAS`).
    """

    def __init__(
        self,
        folder: Path,
        make_root: Callable[[Path], Root] = Root,
        *,
        signer: Holder | None = SIGNER,
        deltas: str = DELTAS,
    ) -> None:
        self.store_folder = folder / "store"
        self.store_folder.mkdir(parents=True)
        self.shelf = Shelf(LocalStore(self.store_folder), signer.sign if signer else nobody, deltas=bool(deltas))
        self._kind = Preparing if deltas == "prepared" else Delivery
        self.root = folder / "root"
        self.clock = Clock()
        self.settings = Settings(str(self.store_folder), BUNDLE, CHANNEL, self.root, "agent-1", keep_releases=2)
        if signer is not None:
            self.keyring = folder / "keyring"
            self.keyring.mkdir()
            (self.keyring / f"{signer.name}.json").write_bytes(signer.entry())
            self.settings = replace(self.settings, keyring=self.keyring)
        self._make_root = make_root
        self.delivery = self.restart()

    def restart(self, **changes: object) -> Delivery:
        """A new agent process on the same root, as far as memory goes."""
        settings = replace(self.settings, **changes)  # type: ignore[arg-type]
        self.delivery = self._kind(settings, LocalStore(self.store_folder), self._make_root(self.root), self.clock)
        self.delivery.prepare()
        return self.delivery

    def live(self) -> dict[str, bytes]:
        """What Airflow would read."""
        top = self.root / "current"
        return {str(path.relative_to(top)): path.read_bytes() for path in top.rglob("*") if path.is_file()}

    def left(self) -> list[str]:
        """What is in the staging folder, but for what is prepared."""
        return [path.name for path in (self.root / "staging").iterdir() if not path.name.startswith(PREPARED)]

    def inode(self, path: str) -> int:
        return (self.root / "current" / path).stat().st_ino

    def mtime(self, path: str) -> int:
        return (self.root / "current" / path).stat().st_mtime_ns


@pytest.fixture
def pod(tmp_path: Path) -> Pod:
    return Pod(tmp_path)


def test_first_pull_brings_the_whole_tree(pod: Pod) -> None:
    pod.shelf.ship("v1", ONE, EXECUTABLE)
    reply = pod.delivery.pull()
    assert pod.live() == ONE
    assert (reply.version, reply.generation, reply.previous, reply.changed) == ("v1", 1, None, True)
    assert (reply.files_written, reply.files_linked, reply.requests) == (4, 0, 3)
    assert pod.delivery.ready()


def test_the_link_is_relative_and_files_are_read_only(pod: Pod) -> None:
    shutil.rmtree(pod.root)
    old = os.umask(0o077)
    try:
        pod.restart()
        record = pod.shelf.ship("v1", ONE, EXECUTABLE)
        pod.delivery.pull()
    finally:
        os.umask(old)
    assert str((pod.root / "current").readlink()) == f"releases/{short_tree(record.live.content.tree)}"
    shared = {name: stat.S_IMODE((pod.root / name).stat().st_mode) for name in (".", "releases")}
    assert shared == {".": 0o755, "releases": 0o755}, "Airflow may run as another user"
    modes = {
        name: stat.S_IMODE((pod.root / "current" / name).stat().st_mode) for name in ("dag_a.py", "run.sh", "team", ".")
    }
    assert modes == {"dag_a.py": 0o444, "run.sh": 0o555, "team": 0o755, ".": 0o755}


def test_unchanged_files_are_links_that_keep_their_mtime_and_changed_ones_are_fresh(pod: Pod) -> None:
    pod.shelf.ship("v1", ONE)
    pod.delivery.pull()
    inodes, mtimes = {path: pod.inode(path) for path in ONE}, {path: pod.mtime(path) for path in ONE}
    folder = pod.mtime(".")
    pod.shelf.ship("v2", TWO)
    reply = pod.delivery.pull()
    assert (reply.files_written, reply.files_linked, reply.previous) == (1, 3, "v1")
    same = {path for path in ONE if pod.inode(path) == inodes[path]}
    assert same == {"dag_b.py", "team/helper.py", "run.sh"}
    assert all(pod.mtime(path) == mtimes[path] for path in same)
    assert pod.mtime("dag_a.py") // 10**9 > mtimes["dag_a.py"] // 10**9, "a .pyc is trusted by mtime in whole seconds"
    assert pod.mtime(".") // 10**6 > folder // 10**6, "no folder mtime is used twice"


def test_only_the_x_bit_changed(pod: Pod) -> None:
    pod.shelf.ship("v1", ONE)
    pod.delivery.pull()
    pod.shelf.ship("v2", ONE, EXECUTABLE)
    assert pod.delivery.pull().files_written == 1
    assert os.access(pod.root / "current" / "run.sh", os.X_OK)


def an_edited_file_never_spreads(pod: Pod) -> None:
    pod.shelf.ship("v1", ONE)
    pod.delivery.pull()
    edited = pod.root / "current" / "dag_b.py"
    edited.chmod(0o644)
    edited.write_bytes(b"b = 9\n")  # the same size, in place
    pod.shelf.ship("v2", TWO)
    assert pod.delivery.pull().files_linked == 2
    assert pod.live() == TWO


def test_an_edited_file_never_spreads(pod: Pod) -> None:
    an_edited_file_never_spreads(pod)


def test_nothing_new_costs_one_request_and_changes_nothing(pod: Pod) -> None:
    pod.shelf.ship("v1", ONE)
    pod.delivery.pull()
    before = pod.inode("dag_a.py")
    reply = pod.delivery.pull()
    assert (reply.changed, reply.requests, reply.bytes_fetched) == (False, 1, 0)
    assert pod.inode("dag_a.py") == before


def test_the_same_tree_under_another_version_does_not_switch(pod: Pod) -> None:
    pod.shelf.ship("v1", ONE)
    pod.delivery.pull()
    pod.shelf.ship("v1.0.1", ONE)
    reply = pod.delivery.pull()
    assert (reply.changed, reply.version, reply.generation, reply.previous) == (False, "v1.0.1", 2, "v1")
    assert pod.delivery.status().version == "v1.0.1"


def test_a_kept_release_is_activated_without_download_and_its_changed_files_are_fresh(pod: Pod) -> None:
    first = pod.shelf.ship("v1", ONE)
    pod.delivery.pull()
    pod.shelf.ship("v2", TWO)
    pod.delivery.pull()
    live_mtime, linked = pod.mtime("dag_a.py"), pod.mtime("dag_b.py")
    pod.shelf.promote(first.live, "rollback")
    reply = pod.delivery.pull()
    assert (reply.requests, reply.changed, reply.files_written) == (1, True, 1)
    assert pod.live() == ONE
    assert pod.mtime("dag_a.py") // 10**9 > live_mtime // 10**9, "Airflow has to notice the way back"
    assert pod.mtime("dag_b.py") == linked
    pod.shelf.promote(first.live, "rollback")
    pod.restart()
    assert pod.delivery.verify() == ()


def test_a_spoiled_dormant_release_is_fetched_anew(pod: Pod) -> None:
    first = pod.shelf.ship("v1", ONE)
    pod.delivery.pull()
    spoiled = (pod.root / "current" / "dag_a.py").resolve()
    pod.shelf.ship("v2", TWO)
    pod.delivery.pull()
    spoiled.chmod(0o644)
    spoiled.write_bytes(b"a = 7\n")
    pod.shelf.promote(first.live, "rollback")
    assert pod.delivery.pull().requests == (2 if DELTAS else 3)
    assert pod.live() == ONE


def test_kill_between_floor_and_link_finishes_the_switch(pod: Pod) -> None:
    pod.shelf.ship("v1", ONE)
    pod.delivery.pull()
    old = str((pod.root / "current").readlink())
    pod.shelf.ship("v2", TWO)
    pod.delivery.pull()
    # What a kill after the floor and before the link leaves behind:
    (pod.root / "current").unlink()
    (pod.root / "current").symlink_to(old)
    reply = pod.restart().pull()
    assert (reply.changed, reply.generation) == (True, 2)
    assert pod.live() == TWO


def test_what_a_crash_left_in_staging_is_removed_at_start(pod: Pod) -> None:
    rubbish = pod.root / "staging" / "0123456789abcdef.77"
    (rubbish / "deep").mkdir(parents=True)
    (rubbish / "deep" / "half.py").write_bytes(b"im")
    pod.restart()
    assert pod.left() == []


def test_an_older_generation_is_refused_and_the_release_stays(pod: Pod) -> None:
    first = pod.shelf.ship("v1", ONE)
    pod.shelf.ship("v2", TWO)
    pod.delivery.pull()
    pod.shelf.put(first)
    for delivery in (pod.delivery, pod.restart()):
        with pytest.raises(Untrusted) as caught:
            delivery.pull()
        assert caught.value.code == "went_back"
        assert pod.live() == TWO
    assert (pod.delivery.status().last_error or {})["code"] == "went_back"


def test_a_successor_of_another_history_raises_the_alarm(pod: Pod) -> None:
    record = pod.shelf.ship("v1", ONE)
    pod.delivery.pull()
    pod.shelf.put(record.succeed(head=b"another record of generation 1", nonce="n2"))
    with pytest.raises(Untrusted) as caught:
        pod.delivery.pull()
    assert caught.value.code == "equivocation"


def forked(pod: Pod) -> tuple[Record, Record, bytes]:
    """A pod at generation 1 that has seen another history: the true record, the other one's next, and its bytes."""
    record = pod.shelf.ship("v1", ONE)
    pod.delivery.pull()
    other = record.succeed(head=b"another record of generation 1", nonce="n2")
    pod.shelf.put(other)
    with pytest.raises(Untrusted):
        pod.delivery.pull()
    return record, other, pod.shelf.seal(other)


def test_another_history_is_not_believed_once_it_has_run_ahead(pod: Pod) -> None:
    _, other, stored = forked(pod)
    third = other.succeed(head=stored, nonce="n3")
    fourth = third.succeed(head=pod.shelf.seal(third), nonce="n4")
    for record in (third, fourth):
        pod.shelf.put(record)
        with pytest.raises(Untrusted) as caught:
            pod.delivery.pull()
        assert caught.value.code == "equivocation"
        assert "recover" in caught.value.hint
    assert (pod.delivery.status().last_error or {})["code"] == "equivocation"


def test_the_history_that_was_seen_first_goes_on(pod: Pod) -> None:
    record, _, _ = forked(pod)
    pod.shelf.put(record)
    assert not pod.delivery.pull().changed
    second = record.succeed(head=pod.shelf.seal(record), nonce="n2", live=pod.shelf.publish("v2", TWO))
    pod.shelf.put(second)
    assert pod.delivery.pull().version == "v2"
    third = second.succeed(head=pod.shelf.seal(second), nonce="n3")
    fourth = third.succeed(head=pod.shelf.seal(third), nonce="n4")
    pod.shelf.put(fourth)
    assert pod.delivery.pull().generation == 4, "the alarm is over"


def test_a_new_epoch_ends_the_alarm(pod: Pod) -> None:
    _, other, stored = forked(pod)
    third = other.succeed(head=stored, nonce="n3", live=pod.shelf.publish("v2", TWO))
    pod.shelf.put(replace(third, epoch=2, action="recover"))
    assert pod.delivery.pull().version == "v2"


def test_two_histories_of_one_generation_raise_the_alarm(pod: Pod) -> None:
    record = pod.shelf.ship("v1", ONE)
    pod.delivery.pull()
    pod.shelf.put(replace(record, nonce="other"))
    with pytest.raises(Untrusted) as caught:
        pod.delivery.pull()
    assert caught.value.code == "equivocation"


def test_an_unknown_critical_field_keeps_the_release(pod: Pod) -> None:
    pod.shelf.ship("v1", ONE)
    pod.delivery.pull()
    live = pod.shelf.publish("v2", TWO)
    pod.shelf.put(
        pod.shelf.record.succeed(
            head=pod.shelf.seal(pod.shelf.record), live=live, nonce="n2", critical=("quorum",), extra={"quorum": 3}
        )
    )
    with pytest.raises(Untrusted) as caught:
        pod.delivery.pull()
    assert caught.value.code == "unknown_critical"
    assert pod.live() == ONE


def _spoil(pod: Pod, key: str, change: Callable[[bytes], bytes]) -> None:
    path = pod.store_folder / key
    path.write_bytes(change(path.read_bytes()))


SPOILINGS: Mapping[str, Callable[[bytes], bytes]] = {
    "flipped": lambda body: body[:-1] + bytes([body[-1] ^ 1]),
    "truncated": lambda body: body[: len(body) // 2],
    "emptied": lambda body: b"",
    "longer": lambda body: body + b"\0",
}


@pytest.mark.parametrize("how", SPOILINGS)
@pytest.mark.parametrize("what", ["tarball", "files", "head"])
def test_a_spoiled_object_changes_nothing(pod: Pod, what: str, how: str) -> None:
    pod.shelf.ship("v1", ONE)
    pod.delivery.pull()
    record = pod.shelf.ship("v2", TWO)
    tree = record.live.content.tree
    key = {
        "tarball": layout.tarball(BUNDLE, tree),
        "files": layout.files(BUNDLE, tree),
        "head": layout.head(BUNDLE, CHANNEL),
    }[what]
    _spoil(pod, key, SPOILINGS[how])
    if DELTAS and what != "head":
        assert pod.delivery.pull().changed, "what changed comes by a delta"
        return
    with pytest.raises((Corrupt, Malformed)):
        pod.delivery.pull()
    assert pod.live() == ONE
    assert pod.left() == []
    assert pod.delivery.ready()


def test_a_removed_object_is_named(pod: Pod) -> None:
    record = pod.shelf.ship("v1", ONE)
    key = layout.tarball(BUNDLE, record.live.content.tree)
    (pod.store_folder / key).unlink()
    with pytest.raises(Corrupt, match=r"dags\.tar\.zst"):
        pod.delivery.pull()


def test_a_store_that_is_away_changes_nothing_but_the_status(pod: Pod) -> None:
    pod.shelf.ship("v1", ONE)
    pod.delivery.pull()
    away = pod.store_folder.rename(pod.store_folder.with_name("away"))
    with pytest.raises(DeliveryFailed):
        pod.delivery.pull()
    assert pod.live() == ONE
    assert pod.delivery.ready()
    assert (pod.delivery.status().last_error or {})["code"] == "no_store"
    away.rename(pod.store_folder)
    assert pod.delivery.pull().changed is False
    assert pod.delivery.status().last_error is None


def test_a_channel_without_a_record_is_unknown(pod: Pod) -> None:
    pod.shelf.publish("v1", ONE)
    with pytest.raises(Unknown, match="has no record"):
        pod.delivery.pull()


def test_pull_of_a_version_needs_no_channel(pod: Pod) -> None:
    pod.shelf.publish("v1", ONE)
    reply = pod.delivery.pull_version("v1")
    assert (reply.generation, reply.channel, reply.version, reply.changed) == (None, None, "v1", True)
    assert pod.live() == ONE
    pod.shelf.ship("v2", TWO)
    assert pod.delivery.pull().previous == "v1"


def test_another_channel_starts_with_a_floor_of_its_own(pod: Pod) -> None:
    first = pod.shelf.ship("v1", ONE)
    pod.shelf.ship("v2", TWO)
    pod.delivery.pull()
    LocalStore(pod.store_folder).create(
        layout.head(BUNDLE, "staging"), pod.shelf.seal(replace(first, channel="staging"))
    )
    assert pod.restart(channel="staging").pull().generation == 1
    assert pod.live() == ONE


def test_a_spoiled_state_is_not_taken_for_a_fresh_pod(pod: Pod) -> None:
    pod.shelf.ship("v1", ONE)
    pod.delivery.pull()
    (pod.root / "state.json").write_bytes(b"{")
    with pytest.raises(Malformed) as caught:
        pod.delivery.pull()
    assert caught.value.code == "bad_state"
    assert pod.live() == ONE
    assert (pod.delivery.status().last_error or {})["code"] == "bad_state"


def test_something_else_under_the_name_of_the_link_is_not_replaced(pod: Pod) -> None:
    (pod.root / "current").mkdir()
    (pod.root / "current" / "mine.py").write_bytes(b"")
    pod.shelf.ship("v1", ONE)
    with pytest.raises(MachineFault) as caught:
        pod.delivery.pull()
    assert caught.value.code == "not_a_link"
    assert (pod.root / "current" / "mine.py").exists()


def test_python_caches_are_no_drift_and_are_not_carried_over(pod: Pod) -> None:
    pod.shelf.ship("v1", ONE)
    pod.delivery.pull()
    cache = pod.root / "current" / "__pycache__"
    cache.mkdir()
    (cache / "dag_a.cpython-311.pyc").write_bytes(b"\0" * 16)
    assert pod.delivery.verify() == ()
    pod.shelf.ship("v2", TWO)
    pod.delivery.pull()
    assert not (pod.root / "current" / "__pycache__").exists()


@pytest.mark.parametrize("size", [1, compression.CHUNK - 1, compression.CHUNK, compression.CHUNK + 1, 600_000])
def test_every_byte_of_a_file_is_looked_at(pod: Pod, size: int) -> None:
    content = bytes(number * number % 251 for number in range(size))
    pod.shelf.ship("v2", {"big.py": content, "empty.py": b""})
    pod.delivery.pull()
    assert pod.delivery.verify() == ()
    path = pod.root / "current" / "big.py"
    path.chmod(0o644)
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert pod.delivery.verify() == ("big.py",)


def test_drift_is_found_at_start(pod: Pod) -> None:
    pod.shelf.ship("v1", ONE)
    pod.delivery.pull()
    live = pod.root / "current"
    (live / "dag_a.py").unlink()
    (live / "new.py").write_bytes(b"")
    (live / "dag_b.py").unlink()
    (live / "dag_b.py").symlink_to("/etc/hostname")
    pod.restart()
    assert pod.delivery.status().drift == ("dag_a.py", "dag_b.py", "new.py")
    assert not pod.delivery.ready()


def test_a_damaged_live_release_is_mended_by_the_next_pull(pod: Pod) -> None:
    pod.shelf.ship("v1", ONE, EXECUTABLE)
    pod.delivery.pull()
    live = pod.root / "current"
    kept = pod.inode("dag_b.py")
    (live / "dag_a.py").chmod(0o644)
    (live / "dag_a.py").write_bytes(b"a = 9\n")
    (live / "run.sh").chmod(0o444)
    (live / "extra.py").write_bytes(b"")
    (live / "team" / "helper.py").unlink()
    (live / "team").rmdir()
    (live / "team").symlink_to("/etc")
    assert not pod.restart().ready()
    reply = pod.delivery.pull()
    assert (reply.changed, reply.files_written, reply.generation) == (True, 3, 1)
    assert pod.live() == ONE
    assert pod.delivery.verify() == ()
    assert pod.inode("dag_b.py") == kept
    assert pod.left() == []
    pod.shelf.ship("v2", TWO, EXECUTABLE)
    assert pod.restart().pull().files_linked == 3, "what was put back is known again"


def test_a_file_that_became_a_folder_is_mended(pod: Pod) -> None:
    pod.shelf.ship("v1", ONE)
    pod.delivery.pull()
    live = pod.root / "current"
    for name in ("dag_a.py", "dag_b.py"):
        (live / name).unlink()
        (live / name).mkdir()
    (live / "dag_a.py" / "inside.py").write_bytes(b"")
    pod.restart().pull()
    assert pod.live() == ONE
    assert pod.restart().ready()


def test_a_live_release_that_was_removed_is_fetched_anew(pod: Pod) -> None:
    record = pod.shelf.ship("v1", ONE, EXECUTABLE)
    pod.delivery.pull()
    shutil.rmtree(pod.root / "releases" / short_tree(record.live.content.tree))
    assert not pod.restart().ready()
    reply = pod.delivery.pull()
    assert (reply.changed, reply.files_written) == (True, 4)
    assert pod.live() == ONE
    assert pod.restart().ready()


def test_a_live_release_whose_list_was_lost_is_verified_again(pod: Pod) -> None:
    pod.shelf.ship("v1", ONE)
    pod.delivery.pull()
    for path in (pod.root / "lists").iterdir():
        path.unlink()
    assert not pod.restart().ready()
    reply = pod.delivery.pull()
    assert (reply.changed, reply.files_written, reply.requests) == (False, 0, 2)
    assert pod.delivery.ready()
    assert pod.restart().ready()


def test_releases_are_kept_until_their_grace_is_over(pod: Pod) -> None:
    trees = []
    for number in range(5):
        trees.append(pod.shelf.ship(f"v{number}", {"a.py": b"%d" % number}).live.content.tree)
        pod.delivery.pull()
        pod.clock.now += 3600
    assert len(Root(pod.root).names()) == 5, "none was retired for six hours"
    pod.clock.now += 5 * 3600
    trees.append(pod.shelf.ship("v5", {"a.py": b"5"}).live.content.tree)
    pod.delivery.pull()
    kept = set(Root(pod.root).names())
    assert {short_tree(trees[5]), short_tree(trees[4])} <= kept
    assert short_tree(trees[0]) not in kept
    assert {path.name[:16] for path in (pod.root / "lists").iterdir()} == kept


def test_what_is_live_and_what_was_before_never_expire() -> None:
    history = tuple(
        Served(f"sha256:{name * 64}", name, 1, "2026-01-01T00:00:00Z", retired)
        for name, retired in (("a", "2026-01-02T00:00:00Z"), ("b", "2026-01-03T00:00:00Z"), ("c", None))
    )
    state = State("dags", "prod", None, history)
    names = [name * 16 for name in "abcd"]
    late = "2026-12-31T00:00:00Z"
    assert expired(names, state, "c" * 16, keep=1, before=late) == ["a" * 16, "d" * 16]
    assert expired(names, state, "c" * 16, keep=3, before=late) == ["d" * 16]
    assert expired(names, state, "c" * 16, keep=1, before="2025-01-01T00:00:00Z") == ["d" * 16]


def test_agents_on_one_root_do_not_get_in_each_others_way(pod: Pod) -> None:
    pod.shelf.ship("v1", {f"d{n}.py": b"%d" % n for n in range(200)})
    agents = [Delivery(pod.settings, LocalStore(pod.store_folder), Root(pod.root), pod.clock) for _ in range(4)]
    failures: list[DagferryError] = []

    def pull(delivery: Delivery) -> None:
        try:
            delivery.pull()
        except DagferryError as error:
            failures.append(error)

    threads = [threading.Thread(target=pull, args=(delivery,)) for delivery in agents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(pod.live()) == 200
    assert pod.delivery.verify() == ()


def readers_never_miss_the_folder(pod: Pod) -> None:
    """Two hundred switches under a reader that opens a file through the link, again and again."""
    lives = [pod.shelf.publish("v1", ONE), pod.shelf.publish("v2", TWO)]
    pod.shelf.promote(lives[0])
    pod.delivery.pull()
    seen: set[bytes] = set()
    missing: list[OSError] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            try:
                seen.add((pod.root / "current" / "dag_a.py").read_bytes())
            except OSError as error:
                missing.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for number in range(200):
            pod.shelf.promote(lives[(number + 1) % 2])
            assert pod.delivery.pull().changed
    finally:
        done.set()
        reader.join()
    assert missing == []
    assert seen == {b"a = 1\n", b"a = 2\n"}, "the reader has seen both, whole"


def test_readers_never_miss_the_folder(pod: Pod) -> None:
    readers_never_miss_the_folder(pod)


class UnlinkThenLink(Root):
    """Planted: the switch that many scripts do."""

    def switch(self, short: str, *, durable: bool) -> None:
        link = self.path / "current"
        link.unlink(missing_ok=True)
        link.symlink_to(f"releases/{short}")


class BelievesAnyInode(Root):
    """Planted: unchanged files are linked without looking whether they were edited."""

    def find(self, short: str):  # type: ignore[no-untyped-def]  # noqa: ANN201
        from dagferry_agent.releases import Mark, Marks

        release = super().find(short)
        if release is None:
            return None
        marks = Marks()
        for file in release.tree.files:
            marks.add(Mark.of((release.folder / file.path).stat()))
        return replace(release, marks=marks.finish())


@pytest.mark.planted
def test_planted_unlink_then_link_is_caught(tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        readers_never_miss_the_folder(Pod(tmp_path, UnlinkThenLink))


@pytest.mark.planted
def test_planted_blind_links_are_caught(tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        an_edited_file_never_spreads(Pod(tmp_path, BelievesAnyInode))


def test_two_trees_that_share_a_folder_name_are_refused(pod: Pod) -> None:
    tree = pod.shelf.ship("v1", ONE).live.content.tree
    pod.delivery.pull()
    state = pod.root / "state.json"
    state.write_text(state.read_text().replace(tree, tree[:-1] + ("0" if tree[-1] != "0" else "1")))
    with pytest.raises(Untrusted) as refused:
        pod.restart().pull()
    assert refused.value.code == "colliding_trees"
    assert pod.live() == ONE
