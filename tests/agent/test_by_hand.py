"""Releases that somebody activates in the pod, and what keeps agents, users and disks apart; on real folders."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

import pytest

from dagferry_agent import locking, room
from dagferry_agent.by_hand import find_here
from dagferry_agent.drift import find_drift, find_drift_at
from dagferry_agent.state import Served, State
from dagferry_schemas.errors import Conflict, MachineFault, Unknown
from dagferry_schemas.names import short_tree

from .test_delivery import ONE, TWO, Pod

if TYPE_CHECKING:
    from pathlib import Path

THREE = {**TWO, "dag_b.py": b"b = 3\n"}


@pytest.fixture
def pod(tmp_path: Path) -> Pod:
    made = Pod(tmp_path)
    for version, files in (("v1", ONE), ("v2", TWO)):
        made.shelf.ship(version, files)
        made.delivery.pull()
        made.clock.now += 10
    return made


class Killed(BaseException):
    """The process ends here."""


def test_what_differs_from_the_live_release_gets_a_new_time_and_nothing_else(pod: Pod) -> None:
    times = {path: pod.mtime(path) for path in ONE}
    reply = pod.delivery.activate("v1")
    assert (reply.version, reply.generation, reply.previous, reply.pinned) == ("v1", None, "v2", "v1")
    assert pod.live() == ONE
    assert {path for path in ONE if pod.mtime(path) != times[path]} == {"dag_a.py"}


def test_kill_between_the_pin_and_the_link_is_finished_by_the_next_pull(pod: Pod) -> None:
    delivery = pod.delivery
    switch = delivery.root.switch

    def killed(short: str, *, durable: bool) -> None:
        raise Killed(short, durable)

    delivery.root.switch = killed  # type: ignore[method-assign]  # as if the process ended here
    with pytest.raises(Killed):
        delivery.activate("v1")
    delivery.root.switch = switch  # type: ignore[method-assign]
    assert pod.live() == TWO
    assert pod.restart().pull().version == "v1"
    assert pod.live() == ONE


def test_the_pinned_release_and_what_the_channel_names_outlive_retention(pod: Pod) -> None:
    pod.restart(keep_releases=1, grace_hours=0)
    pod.delivery.activate("v1")
    pod.delivery.pull()
    assert len(pod.delivery.root.names()) == 2
    pod.delivery.resume()
    assert pod.delivery.pull().version == "v2"


def test_a_rollback_to_what_is_pinned_lifts_the_pin(pod: Pod) -> None:
    pod.delivery.activate("v1")
    pod.shelf.ship("v1-again", ONE)
    reply = pod.delivery.pull()
    assert (reply.version, reply.generation, reply.pinned, reply.changed) == ("v1-again", 3, None, False)


def test_another_activation_replaces_the_pin(pod: Pod) -> None:
    pod.delivery.activate("v1")
    pod.delivery.activate("v2")
    assert pod.delivery.status().pinned == "v2"
    assert pod.delivery.pull().version == "v2"


def test_a_commit_or_nothing_else_names_a_version() -> None:
    tree = "sha256:" + "ab" * 32
    served = [
        Served(tree, f"v1-{n}-g{sha}", 1, "2026-01-01T00:00:00Z") for n, sha in enumerate(("a" * 12, "a" * 11 + "b"))
    ]
    state = State("etl", "prod", history=tuple(served))
    names = [short_tree(tree)]
    assert find_here(state, names, "a" * 12) == served[0]
    assert find_here(state, names, "a" * 11 + "b" + "0" * 28) == served[1]
    with pytest.raises(Conflict, match="several"):
        find_here(state, names, "a" * 8)
    with pytest.raises(Unknown, match="no release"):
        find_here(state, [], served[0].version)


# --- locks


def test_a_lock_is_waited_for_or_not_and_needs_no_right_to_write(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with locking.held(path):
        assert locking.try_take(path) is None
        locking.require_locks(path)
    path.chmod(0o444)
    descriptor = locking.try_take(path)
    assert descriptor is not None
    os.close(descriptor)
    locking.require_locks(path)


def test_a_shared_lock_of_a_reader_keeps_a_release(pod: Pod) -> None:
    (old,) = [one for one in pod.delivery.root.names() if one != pod.delivery.root.live()]
    reader = os.open(pod.root / "locks" / old, os.O_RDONLY)
    fcntl.flock(reader, fcntl.LOCK_SH)
    assert not pod.delivery.root.remove(old)
    assert (pod.root / "releases" / old / "dag_a.py").is_file()
    os.close(reader)
    assert pod.delivery.root.remove(old)
    assert not (pod.root / "locks" / old).exists()


# --- room


def test_need_counts_the_tarball_what_cannot_be_linked_and_folders(pod: Pod) -> None:
    live = pod.delivery.root.find(str(pod.delivery.root.live()))
    record = pod.shelf.ship("v3", THREE)
    content = record.live.content
    pod.delivery.pull()
    tree = pod.delivery.root.find(short_tree(content.tree))
    assert tree is not None
    alone = room.need_of(content, tree.tree, None, 4096)
    beside = room.need_of(content, tree.tree, live, 4096)
    assert alone == (4096 * (1 + 4 + 2), 2 + 4 + 2)
    assert beside == (4096 * (1 + 1 + 2), 2 + 1 + 2)


@pytest.mark.parametrize(
    ("free", "fits"),
    [
        (room.Free(100, 10, 1), True),
        (room.Free(100, None, 1), True),
        (room.Free(99, 10, 1), False),
        (room.Free(100, 9, 1), False),
    ],
)
def test_room_is_enough_or_the_message_has_the_figures(free: room.Free, fits: bool, tmp_path: Path) -> None:
    need = room.Need(100, 10)
    if fits:
        room.require(tmp_path, need, free, "v1")
        return
    with pytest.raises(MachineFault, match=f"needs 100 bytes and 10 inodes, {free.size} bytes") as refused:
        room.require(tmp_path, need, free, "v1")
    assert refused.value.code == "no_room"


# --- drift


def test_looking_at_paths_finds_there_what_looking_at_all_finds(pod: Pod) -> None:
    release = pod.delivery.root.find(str(pod.delivery.root.live()))
    assert release is not None
    (release.folder / "new.py").write_text("new")
    (release.folder / "__pycache__").mkdir()
    (release.folder / "__pycache__" / "new.pyc").write_text("new")
    (release.folder / "team/helper.py").unlink()
    (release.folder / "dag_a.py").unlink()
    (release.folder / "dag_a.py").mkdir()
    (release.folder / "dag_a.py" / "inside").write_text("x")
    found = set(find_drift(release))
    assert found == {"new.py", "team/helper.py", "dag_a.py", "dag_a.py/inside"}
    for paths in (
        {""},
        {"new.py", "team", "dag_a.py"},
        {"team/helper.py"},
        {"dag_b.py"},
        {"__pycache__/new.pyc"},
        {"gone"},
    ):
        below = {
            one for one in found if "" in paths or any(one == path or one.startswith(path + "/") for path in paths)
        }
        assert set(find_drift_at(release, paths)) == below, paths


def test_an_edit_is_known_until_it_is_undone(pod: Pod) -> None:
    live = pod.root / "current"
    (live / "new.py").write_text("new")
    assert pod.delivery.look_at({"new.py"})
    assert pod.delivery.status().drift == ("new.py",)
    assert pod.delivery.ready()
    (live / "new.py").unlink()
    assert not pod.delivery.look_at({"dag_a.py"})
    assert pod.delivery.status().drift == ()


def test_healing_puts_back_a_new_inode_at_the_next_pull(pod: Pod) -> None:
    path = pod.root / "current" / "dag_b.py"
    before = path.stat().st_ino
    path.chmod(0o644)
    path.write_text("b = 'edited'\n")
    assert pod.delivery.look_at({"dag_b.py"})
    assert not pod.delivery.pull().changed
    pod.delivery.heal()
    reply = pod.delivery.pull()
    assert (reply.changed, reply.files_written) == (True, 1)
    assert pod.live() == TWO
    assert path.stat().st_ino != before
