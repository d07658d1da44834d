"""What a root's parts do by themselves: locks, drift at some paths, room, removal, and releases found again."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from dagferry_agent import locking, retention, room
from dagferry_agent.delivery import Delivery
from dagferry_agent.drift import find_drift, find_drift_at
from dagferry_agent.root import Root
from dagferry_schemas.errors import Conflict, Corrupt, DeliveryFailed, MachineFault, Malformed, Unknown
from dagferry_storage.local import LocalStore

from .test_delivery import ONE, TWO, Pod

if TYPE_CHECKING:
    from pathlib import Path

    from dagferry_agent.releases import Release

COMMITTED = "v1-1-g0123456789abcdef"


@pytest.fixture
def pod(tmp_path: Path) -> Pod:
    return Pod(tmp_path)


@pytest.fixture
def release(pod: Pod) -> Release:
    """A live release of `ONE`."""
    pod.shelf.ship("v1", ONE)
    pod.delivery.pull()
    return live(pod)


def tidy(root: Root, names: list[str]) -> None:
    for name in names:
        for _ in retention.removing(root, name):
            pass


def live(pod: Pod) -> Release:
    found = Root(pod.root).find((pod.root / "current").readlink().name)
    assert found is not None
    return found


def standby_of(pod: Pod) -> Delivery:
    """Another agent of the same root, after the first one took its turn."""
    assert pod.delivery.claim()
    standby = Delivery(pod.settings, LocalStore(pod.store_folder), Root(pod.root), pod.clock)
    standby.prepare()
    assert not standby.claim()
    return standby


# --- locks


def test_a_lock_that_is_held_is_not_taken_and_is_let_go_by_its_end(tmp_path: Path) -> None:
    with locking.held(tmp_path / "lock"):
        assert locking.try_take(tmp_path / "lock") is None
        locking.require_locks(tmp_path / "lock")
    taken = locking.try_take(tmp_path / "lock")
    assert taken is not None
    os.close(taken)


def test_a_lock_dies_with_its_process(tmp_path: Path) -> None:
    hold = "import sys, time; from pathlib import Path; from dagferry_agent import locking\n"
    hold += "locking.take(Path(sys.argv[1])); print('held', flush=True); time.sleep(600)"
    path = os.pathsep.join(sys.path)
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(tmp_path / "lock")],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"held\n"
            assert locking.try_take(tmp_path / "lock") is None
        finally:
            process.kill()
    os.close(locking.take(tmp_path / "lock"))


def test_a_lock_is_never_made_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(MachineFault, match="lock"):
        locking.take(tmp_path / "lock")
    with pytest.raises(MachineFault, match="lock"):
        locking.require_locks(tmp_path / "lock")
    with pytest.raises(OSError, match="lock"):
        locking.try_take(tmp_path / "lock")
    assert not (tmp_path / "elsewhere").exists()


# --- drift at some paths


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (["dag_a.py"], ("dag_a.py",)),
        (["dag_b.py"], ()),
        (["team"], ("team/extra.py",)),
        (["team/"], ("team/extra.py",)),
        (["team/extra.py"], ("team/extra.py",)),
        (["team/gone/deep.py"], ()),
        (["dag_a.py/below"], ()),
        (["team/__pycache__/x.pyc"], ()),
        ([""], ("dag_a.py", "run.sh", "team/extra.py")),
    ],
)
def test_only_what_is_asked_is_looked_at(asked: list[str], found: tuple[str, ...], release: Release) -> None:
    edited = release.folder / "dag_a.py"
    edited.chmod(0o644)
    edited.write_bytes(b"a = 9\n")
    (release.folder / "run.sh").unlink()
    (release.folder / "run.sh").symlink_to("dag_b.py")
    (release.folder / "team/extra.py").write_bytes(b"")
    (release.folder / "team/__pycache__").mkdir()
    (release.folder / "team/__pycache__/x.pyc").write_bytes(b"")
    assert find_drift_at(release, asked) == found
    assert set(find_drift(release)) == {"dag_a.py", "run.sh", "team/extra.py"}


def test_a_lost_x_bit_and_a_fifo_are_drift(release: Release) -> None:
    (release.folder / "dag_a.py").chmod(0o555)
    (release.folder / "dag_b.py").unlink()
    os.mkfifo(release.folder / "dag_b.py")
    assert find_drift(release) == ("dag_a.py", "dag_b.py")


def test_an_edit_is_in_the_status_until_it_is_undone(pod: Pod, release: Release) -> None:
    edited = release.folder / "dag_a.py"
    edited.chmod(0o644)
    edited.write_bytes(b"a = 9\n")
    assert pod.delivery.look_at(["dag_a.py"])
    assert pod.delivery.status().drift == ("dag_a.py",)
    edited.write_bytes(ONE["dag_a.py"])
    edited.chmod(0o444)
    assert not pod.delivery.look_at(["dag_b.py"])
    assert pod.delivery.status().drift == ()


def test_without_a_live_release_there_is_nothing_to_look_at(pod: Pod) -> None:
    assert not pod.delivery.look_at([""])
    assert not pod.delivery.ready()


# --- removal


def test_a_release_that_is_read_stays_and_is_whole(pod: Pod, release: Release) -> None:
    root = Root(pod.root)
    reader = locking.take(pod.root / "locks" / release.folder.name)
    tidy(root, [release.folder.name])
    assert find_drift(release) == ()
    os.close(reader)
    tidy(root, [release.folder.name])
    assert not release.folder.exists()
    assert list((pod.root / "locks").iterdir()) == []
    assert list((pod.root / "lists").iterdir()) == []


def test_what_is_no_release_cannot_be_removed_and_is_said(
    pod: Pod, release: Release, caplog: pytest.LogCaptureFixture
) -> None:
    tidy(Root(pod.root), ["not-there", release.folder.name])
    assert "not-there was not removed" in caplog.text
    assert not release.folder.exists()


@pytest.mark.parametrize(
    "spoil", ["no list", "bad list", "unreadable list", "low name", "high name", "two lists", "no folder"]
)
def test_a_release_that_cannot_be_told_is_not_found(spoil: str, pod: Pod, release: Release) -> None:
    short = release.folder.name
    (listed,) = (pod.root / "lists").glob("*.zst")
    if spoil == "no list":
        listed.unlink()
    elif spoil == "bad list":
        listed.write_bytes(b"spoiled")
    elif spoil == "unreadable list":
        listed.unlink()
        listed.mkdir()
    elif spoil.endswith("name"):  # of another tree, whose folder has the same name
        listed.rename(listed.with_name(short + 48 * ("0" if spoil == "low name" else "f") + ".zst"))
    elif spoil == "two lists":
        listed.with_name(short + "0" * 48 + ".zst").write_bytes(listed.read_bytes())
    else:
        release.folder.rename(pod.root / "elsewhere")
    assert Root(pod.root).find(short) is None


@pytest.mark.parametrize("spoil", ["none", "cut", "garbage"])
def test_a_release_without_good_marks_is_found_and_nothing_is_linked_to_it(
    spoil: str, pod: Pod, release: Release
) -> None:
    (marks,) = (pod.root / "lists").glob("*.marks")
    stored = marks.read_bytes()
    marks.unlink() if spoil == "none" else marks.write_bytes(stored[:-4] if spoil == "cut" else b"garbage")
    assert live(pod).marks is None
    pod.shelf.ship("v2", TWO)
    reply = pod.delivery.pull()
    assert (reply.files_linked, reply.files_written) == (0, len(TWO))


def test_the_marks_of_many_files_are_known_again(pod: Pod) -> None:
    many = {f"dag_{number:03}.py": b"%d\n" % number for number in range(100)}
    pod.shelf.ship("v1", many)
    pod.delivery.pull()
    pod.shelf.ship("v2", {**many, "dag_000.py": b"changed\n"})
    assert pod.restart().pull().files_linked == 99


def test_a_folder_on_another_file_system_is_refused(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root/staging").symlink_to("/proc")
    with pytest.raises(MachineFault, match="different file systems"):
        Root(tmp_path / "root").prepare()


# --- room


def test_a_budget_counts_each_inode_once(pod: Pod, release: Release) -> None:
    pod.shelf.ship("v2", TWO)
    pod.delivery.pull()
    budget = room.measure(pod.root / "releases", room.Free.at(pod.root))
    found = [path.lstat() for path in (pod.root / "releases").rglob("*")]
    assert budget.used_inodes == len({one.st_ino for one in found}) < len(found)
    assert budget.used_bytes == 512 * sum({one.st_ino: one.st_blocks for one in found}.values())
    shown = pod.delivery.status().disk
    assert shown is not None
    assert (shown["used_bytes"], shown["used_inodes"]) == (budget.used_bytes, budget.used_inodes)


@pytest.mark.parametrize(
    ("free", "fits"),
    [
        (room.Free(1000, 10, 100), True),
        (room.Free(999, 10, 100), False),
        (room.Free(1000, 9, 100), False),
        (room.Free(1000, None, 100), True),
        (room.Free(999, None, 100), False),
    ],
)
def test_room_is_bytes_and_inodes_where_they_are_counted(free: room.Free, fits: bool, tmp_path: Path) -> None:
    if fits:
        room.require(tmp_path, room.Need(1000, 10), free, "v1")
        return
    with pytest.raises(MachineFault, match=f"it needs 1000 bytes and 10 inodes, {free.size} bytes") as refused:
        room.require(tmp_path, room.Need(1000, 10), free, "v1")
    assert refused.value.code == "no_room"


# --- by hand


def two_versions(pod: Pod) -> None:
    for version, files in ((COMMITTED, ONE), ("v2", TWO)):
        pod.shelf.ship(version, files)
        pod.delivery.pull()


@pytest.mark.parametrize("text", [COMMITTED, "0123456", "0123456789abcdef0123"])
def test_what_was_live_here_is_activated_and_stays_until_the_channel_moves(text: str, pod: Pod) -> None:
    two_versions(pod)
    reply = pod.delivery.activate(text)
    assert (reply.version, reply.pinned, reply.changed) == (COMMITTED, COMMITTED, True)
    assert pod.live()["dag_a.py"] == ONE["dag_a.py"]
    assert pod.delivery.pull().version == COMMITTED
    pod.shelf.ship("v3", {**TWO, "dag_b.py": b"b = 3\n"})
    reply = pod.delivery.pull()
    assert (reply.version, reply.pinned) == ("v3", None)


def test_a_pin_that_a_kill_left_unfinished_is_finished(pod: Pod) -> None:
    two_versions(pod)
    second = (pod.root / "current").readlink()
    pod.delivery.activate(COMMITTED)
    (pod.root / "current").unlink()
    (pod.root / "current").symlink_to(second)  # the memory is written first, so this is what a kill leaves
    assert pod.restart().pull().version == COMMITTED
    assert pod.live()["dag_a.py"] == ONE["dag_a.py"]


def test_resume_needs_a_pin_and_follows_the_channel_again(pod: Pod) -> None:
    two_versions(pod)
    with pytest.raises(Unknown):
        pod.delivery.resume()
    pod.delivery.activate(COMMITTED)
    assert pod.delivery.resume().version == COMMITTED
    assert pod.delivery.pull().version == "v2"


def test_a_damaged_release_is_not_activated_by_hand(pod: Pod) -> None:
    pod.shelf.ship(COMMITTED, ONE)
    pod.delivery.pull()
    damaged = live(pod).folder
    pod.shelf.ship("v2", TWO)
    pod.delivery.pull()
    (damaged / "dag_a.py").unlink()
    with pytest.raises(Corrupt, match="dag_a"):
        pod.delivery.activate(COMMITTED)
    assert pod.live() == TWO


def test_a_commit_of_two_versions_and_one_of_none_are_refused(pod: Pod) -> None:
    for version, files in ((COMMITTED, ONE), ("v9-2-g0123456789abffff", TWO)):
        pod.shelf.ship(version, files)
        pod.delivery.pull()
    with pytest.raises(Conflict, match="several"):
        pod.delivery.activate("0123456789ab")
    with pytest.raises(Unknown, match="fedcba9"):
        pod.delivery.activate("fedcba9")


# --- standing by


def test_a_standby_says_what_the_disk_says_and_changes_nothing(pod: Pod) -> None:
    standby = standby_of(pod)
    with pytest.raises(DeliveryFailed) as refused:
        standby.pull()
    assert refused.value.code == "not_yet"
    pod.shelf.ship("v1", ONE)
    pod.delivery.pull()
    assert standby.ready()
    pod.shelf.ship("v2", TWO)
    assert standby.pull().version == "v1"
    assert standby.status().role == "standby"
    pod.delivery.pull()
    reply = standby.pull()
    assert (reply.version, reply.changed) == ("v2", False)


def test_a_standby_is_not_ready_beside_a_damaged_release(pod: Pod) -> None:
    pod.shelf.ship("v1", ONE)
    pod.delivery.pull()
    (live(pod).folder / "dag_a.py").unlink()
    standby = standby_of(pod)
    assert not standby.ready()
    with pytest.raises(Corrupt, match="not what it must be"):
        standby.pull()
    standby.take_over()
    assert standby.pull().version == "v1"
    assert standby.ready()


def test_a_floor_without_a_digest_is_malformed(pod: Pod, release: Release) -> None:
    memory = pod.root / "state.json"
    memory.write_bytes(memory.read_bytes().replace(b"sha256:", b"sha255:"))
    with pytest.raises(Malformed, match=r"state\.json"):
        pod.delivery.pull()


def test_what_another_user_has_to_read_is_readable_whatever_the_umask_is(pod: Pod) -> None:
    old = os.umask(0o077)
    try:
        pod.restart()
        pod.shelf.ship("v1", ONE)
        pod.delivery.pull()
    finally:
        os.umask(old)
    kept = [
        pod.root / "lock",
        pod.root / "state.json",
        *(pod.root / "locks").iterdir(),
        *(pod.root / "lists").iterdir(),
    ]
    assert {path.name: oct(path.stat().st_mode & 0o777) for path in kept} == {path.name: "0o644" for path in kept}
