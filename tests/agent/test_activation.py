"""What a switch writes, and in which order it is flushed; what a pull that switches nothing leaves alone."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

import pytest

from dagferry_agent import state as memory
from dagferry_agent.root import Root
from dagferry_schemas import layout
from dagferry_schemas.errors import MachineFault, Untrusted

from .shelf import BUNDLE, CHANNEL
from .test_delivery import ONE, TWO, Pod

RANDOM = re.compile(r"[0-9a-f]{16,}")
LISTS = ["lists/.*.marks.*", "lists", "lists/.*.zst.*", "lists"]


@pytest.fixture
def pod(tmp_path: Path) -> Pod:
    """Which serves `ONE`."""
    made = Pod(tmp_path)
    made.restart(durability="fsync")
    made.shelf.ship("v1", ONE)
    made.delivery.pull()
    return made


class Flushes:
    """Each flush so far of what is not staged: of which name, and what was on the disk by then.

    That is how many releases, the version that is live, and the version that the memory says was made live last.
    """

    def __init__(self, pod: Pod, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: list[tuple[str, int, str, str]] = []
        self.failing: str | None = None
        """The name of which the flush fails."""
        self._root = pod.root
        self._versions = {(pod.root / "current").readlink().name: "v1"}
        self._flush = os.fsync
        monkeypatch.setattr("os.fsync", self._observe)

    def _observe(self, descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        if path.is_relative_to(self._root) and not path.is_relative_to(self._root / "staging"):
            name = RANDOM.sub("*", str(path.relative_to(self._root)))
            self.seen.append((name, *self._present()))
            if name == self.failing:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
        self._flush(descriptor)

    def _present(self) -> tuple[int, str, str]:
        live = self._versions.get((self._root / "current").readlink().name, "v2")
        remembered = memory.find(self._root)
        assert remembered is not None
        return len(list((self._root / "releases").iterdir())), live, remembered.history[-1].version


@pytest.fixture
def flushes(pod: Pod, monkeypatch: pytest.MonkeyPatch) -> Flushes:
    return Flushes(pod, monkeypatch)


# --- the order


def test_a_release_is_flushed_before_the_memory_and_the_memory_before_the_link(pod: Pod, flushes: Flushes) -> None:
    pod.shelf.ship("v2", TWO)
    pod.delivery.pull()
    assert flushes.seen == [
        *((name, 1, "v1", "v1") for name in LISTS),
        ("releases", 2, "v1", "v1"),
        (".state.json.*", 2, "v1", "v1"),
        (".", 2, "v1", "v2"),
        (".", 2, "v2", "v2"),
    ]


@pytest.mark.parametrize("durability", ["auto", "fsync", "syncfs"])
def test_the_memory_and_the_link_are_flushed_whatever_flushes_the_files(
    durability: str, pod: Pod, flushes: Flushes
) -> None:
    pod.restart(durability=durability)
    pod.shelf.ship("v2", TWO)
    pod.delivery.pull()
    assert [one[0] for one in flushes.seen][-4:] == ["releases", ".state.json.*", ".", "."]


def test_without_durability_nothing_is_flushed(pod: Pod, flushes: Flushes) -> None:
    pod.restart(durability="none")
    pod.shelf.ship("v2", TWO)
    pod.delivery.pull()
    assert pod.live() == TWO
    assert flushes.seen == []


def test_a_flush_that_fails_when_the_release_has_its_place_is_what_is_said(pod: Pod, flushes: Flushes) -> None:
    pod.shelf.ship("v2", TWO)
    flushes.failing = "releases"
    with pytest.raises(MachineFault, match="Input/output error"):
        pod.delivery.pull()
    assert pod.live() == ONE
    flushes.failing = None
    assert pod.delivery.pull().changed
    assert pod.live() == TWO


def test_a_link_that_cannot_be_switched_leaves_no_name_behind(pod: Pod) -> None:
    (pod.root / "current").unlink()
    (pod.root / "current").mkdir()
    before = sorted(pod.root.iterdir())
    with pytest.raises(OSError, match="current"):
        Root(pod.root).switch(16 * "0", durable=True)
    assert sorted(pod.root.iterdir()) == before


# --- nothing new


def test_a_pull_without_news_writes_neither_the_memory_nor_the_link(pod: Pod, flushes: Flushes) -> None:
    before = {name: (pod.root / name).lstat().st_ino for name in ("state.json", "current")}
    assert not pod.delivery.pull().changed
    assert {name: (pod.root / name).lstat().st_ino for name in before} == before
    assert flushes.seen == []


def test_an_activation_that_changes_nothing_says_that_it_cost_nothing(pod: Pod) -> None:
    pod.delivery.activate("v1")
    reply = pod.delivery.resume()
    assert (reply.changed, reply.files_written, reply.files_linked, reply.files_copied) == (False, 0, 0, 0)
    assert (reply.requests, reply.bytes_fetched) == (0, 0)


# --- what a switch says and forgets


def test_a_release_that_lacks_a_file_and_writes_none_is_a_switch(pod: Pod) -> None:
    fewer = {path: body for path, body in ONE.items() if path != "dag_a.py"}
    pod.shelf.ship("v2", fewer)
    reply = pod.delivery.pull()
    assert (reply.changed, reply.files_written, reply.files_linked) == (True, 0, 3)
    assert pod.live() == fewer


def test_the_drift_of_the_release_before_is_forgotten(pod: Pod) -> None:
    (pod.root / "current/extra.py").write_bytes(b"")
    assert pod.delivery.look_at(["extra.py"])
    pod.shelf.ship("v2", TWO)
    pod.delivery.pull()
    assert pod.delivery.status().drift == ()


def test_switches_at_one_moment_get_times_of_their_own_a_millisecond_apart(pod: Pod) -> None:
    first, times = int(pod.clock.now * 1000), [pod.mtime(".")]
    for number in range(3):
        pod.shelf.ship(f"v{number + 2}", {"dag_a.py": b"a = %d\n" % number})
        pod.delivery.pull()
        times.append(pod.mtime("."))
    assert times == [(first + place) * 10**6 for place in range(4)]


@pytest.mark.parametrize("elsewhere", ["elsewhere", "zoo"])
def test_a_link_to_what_is_no_release_is_not_live_and_is_put_right(elsewhere: str, pod: Pod) -> None:
    link = pod.root / "current"
    right = link.readlink()
    (pod.root / elsewhere).symlink_to("releases")
    link.unlink()
    link.symlink_to(f"{elsewhere}/{right.name}")
    pod.restart()
    assert not pod.delivery.ready()
    assert pod.delivery.pull().changed
    assert link.readlink() == right


def test_a_link_that_must_not_be_read_is_said(pod: Pod) -> None:
    user = os.geteuid()
    pod.root.chmod(0)
    try:
        if user == 0:
            os.seteuid(65534)
        with pytest.raises(MachineFault, match=r"reading the link .*current: Permission denied"):
            Root(pod.root).live()
    finally:
        os.seteuid(user)
        pod.root.chmod(0o755)


def test_a_link_below_too_long_a_name_is_said(tmp_path: Path) -> None:
    with pytest.raises(MachineFault, match=r"reading the link .*current: File name too long"):
        Root(tmp_path / ("x" * 300)).live()


# --- the folders


@pytest.mark.parametrize(("of_root", "of_folders"), [(0o755, 0o755), (0o2775, 0o2775), (0o777, 0o777), (0o700, 0o755)])
def test_the_folders_are_as_open_as_the_root_and_never_closed(of_root: int, of_folders: int, tmp_path: Path) -> None:
    folder = tmp_path / "root"
    folder.mkdir()
    folder.chmod(of_root)
    root = Root(folder)
    root.prepare()
    made = {path.name: oct(path.stat().st_mode & 0o7777) for path in folder.iterdir() if path.is_dir()}
    assert made == dict.fromkeys(("releases", "staging", "lists", "locks"), oct(of_folders))
    assert folder.stat().st_mode & 0o7777 == of_root


def test_a_root_is_made_with_the_folders_above_it(tmp_path: Path) -> None:
    Root(tmp_path / "not/there/yet").prepare()
    assert (tmp_path / "not/there/yet/releases").is_dir()


def test_names_that_a_crash_left_are_removed_at_start_and_nothing_else_is(pod: Pod) -> None:
    def names() -> list[Path]:
        return sorted(path for path in pod.root.rglob("*") if path.parent.name != "releases")

    before, random = names(), 16 * "0"
    (pod.root / f".current.{random}").symlink_to(f"releases/{random}")
    for left in (f".state.json.{random}", f"lists/{64 * '0'}.zst", f"lists/{64 * '0'}.marks", f"locks/{random}"):
        (pod.root / left).write_bytes(b"")
    (pod.root / "mine").write_bytes(b"")
    pod.restart()
    assert names() == sorted([*before, pod.root / "mine"])


def test_what_cannot_be_removed_at_start_stays_and_is_said(pod: Pod, caplog: pytest.LogCaptureFixture) -> None:
    (pod.root / "staging").rmdir()
    (pod.root / "staging").symlink_to("/proc/self/ns")  # whose names nobody can remove
    Root(pod.root).clean()
    assert "stays: it belongs to another user" in caplog.text


# --- what is judged again though nothing new came


def test_a_head_that_came_before_is_refused_once_the_floor_is_above_it(pod: Pod) -> None:
    """Another agent of this root saw a newer one; then somebody put the old head back, byte by byte."""
    first, head = pod.delivery, pod.store_folder / layout.head(BUNDLE, CHANNEL)
    old = head.read_bytes()
    assert not first.pull().changed
    pod.shelf.ship("v2", TWO)
    pod.restart().pull()
    head.write_bytes(old)
    with pytest.raises(Untrusted):
        first.pull()
    assert pod.live() == TWO


def test_what_another_agent_remembers_is_read(pod: Pod) -> None:
    first = pod.delivery
    pod.shelf.ship("v2", TWO)
    pod.restart().pull()
    remembered = (pod.root / "state.json").read_bytes()
    assert not first.pull().changed
    assert (pod.root / "state.json").read_bytes() == remembered
