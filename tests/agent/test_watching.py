"""What the watch tells of a folder that is written to: real files, the kernel's own events, real threads."""

from __future__ import annotations

import logging
import os
import resource
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from watchdog import events

from dagferry_agent import watching
from dagferry_agent.watching import Watch
from dagferry_schemas.errors import MachineFault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SECONDS = 5.0


class Told:
    """What a watch told so far, and a way to wait for more."""

    def __init__(self) -> None:
        self.paths: set[str] = set()
        self._more = threading.Condition()

    def __call__(self, paths: frozenset[str]) -> None:
        with self._more:
            self.paths |= paths
            self._more.notify_all()

    def wait_for(self, *paths: str) -> None:
        with self._more:
            found = self._more.wait_for(lambda: self.paths >= set(paths), SECONDS)
            assert found, (paths, self.paths)
            self.paths.clear()


@pytest.fixture
def release(tmp_path: Path) -> Path:
    folder = tmp_path / "releases" / "0123456789abcdef"
    (folder / "team" / "deep").mkdir(parents=True)
    for name in ("a.py", "team/b.py", "team/deep/c.py"):
        (folder / name).write_text(name)
    return folder


@contextmanager
def watched(folder: Path | None, told: Callable[[frozenset[str]], None], sweep_seconds: float = 900) -> Iterator[Watch]:
    watch = Watch(told, sweep_seconds=sweep_seconds)
    try:
        watch.follow(folder)
        settle(watch, "inotify" if folder is not None else None)
        yield watch
    finally:
        watch.stop(SECONDS)


def settle(watch: Watch, kind: str | None) -> None:
    until = time.monotonic() + SECONDS
    while watch.kind != kind:
        assert time.monotonic() < until, watch.kind
        time.sleep(0.01)


def rename_over(folder: Path) -> None:
    (folder.parent / "new").write_text("new")
    (folder.parent / "new").replace(folder / "team/b.py")


def append(folder: Path) -> None:
    with (folder / "a.py").open("a") as file:
        file.write("more")


def write_below_a_new_folder(folder: Path) -> None:
    (folder / "new/deep").mkdir(parents=True)
    (folder / "new/deep/d.py").write_text("d")


EDITS: dict[str, tuple[Callable[[Path], object], tuple[str, ...]]] = {
    "a file is written": (lambda folder: (folder / "team/deep/c.py").write_text("x"), ("team/deep/c.py",)),
    "a file is appended to": (append, ("a.py",)),
    "a mode is changed": (lambda folder: (folder / "a.py").chmod(0o600), ("a.py",)),
    "a file is new": (lambda folder: (folder / "new.py").write_text("x"), ("new.py",)),
    "a link is new": (lambda folder: (folder / "link.py").symlink_to("a.py"), ("link.py",)),
    "a file is removed": (lambda folder: (folder / "team/b.py").unlink(), ("team/b.py",)),
    "a file is renamed": (lambda folder: (folder / "a.py").rename(folder / "z.py"), ("a.py", "z.py")),
    "a file comes from outside": (rename_over, ("team/b.py",)),
    "a file goes out": (lambda folder: (folder / "a.py").rename(folder.parent / "gone.py"), ("a.py",)),
    "a folder is renamed": (lambda folder: (folder / "team").rename(folder / "other"), ("team", "other")),
    "a folder is new, with a file": (write_below_a_new_folder, ("new",)),
}


def tells_every_edit(release: Path, name: str) -> None:
    told = Told()
    with watched(release, told):
        edit, paths = EDITS[name]
        edit(release)
        told.wait_for(*paths)


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_is_told_with_its_path(release: Path, name: str) -> None:
    tells_every_edit(release, name)


def test_an_edit_in_a_folder_that_came_later_is_told(release: Path) -> None:
    told = Told()
    with watched(release, told):
        write_below_a_new_folder(release)
        told.wait_for("new")
        time.sleep(2 * watching.QUIET_SECONDS)
        told.paths.clear()
        (release / "new/deep/d.py").write_text("again")
        told.wait_for("new/deep/d.py")


def test_reading_and_python_caches_are_not_told(release: Path) -> None:
    told = Told()
    with watched(release, told):
        for _ in range(200):
            (release / "a.py").read_text()
            list(release.iterdir())
        (release / "__pycache__").mkdir()
        (release / "__pycache__/a.pyc").write_text("x")
        (release / "team/deep/__pycache__").mkdir()
        (release / "a.py").write_text("last")
        told.wait_for("a.py")
        assert not told.paths


def test_only_the_release_that_is_followed_is_told(release: Path, tmp_path: Path) -> None:
    other = tmp_path / "releases" / "other"
    other.mkdir()
    (other / "a.py").write_text("other")
    told = Told()
    with watched(release, told) as watch:
        (release / "a.py").write_text("late")
        watch.follow(other)
        settle(watch, "inotify")
        time.sleep(2 * watching.QUIET_SECONDS)
        (release / "a.py").write_text("not ours any more")
        (other / "b.py").write_text("ours")
        told.wait_for("b.py")
        watch.follow(None)
        settle(watch, None)


def test_a_thousand_paths_at_once_stand_for_everything(release: Path) -> None:
    told = Told()
    with watched(release, told) as watch:
        for number in range(watching.MANY + 10):
            watch.note(release, f"{number}.py")
        told.wait_for("")


def test_everything_is_looked_through_from_time_to_time(release: Path) -> None:
    told = Told()
    with watched(release, told, sweep_seconds=0.2):
        told.wait_for("")
        told.wait_for("")


def test_a_folder_that_cannot_be_watched_is_said_once_and_swept(
    tmp_path: Path, release: Path, caplog: pytest.LogCaptureFixture
) -> None:
    told = Told()
    with watched(None, told, sweep_seconds=0.2) as watch, caplog.at_level(logging.WARNING):
        for _ in range(3):
            watch.follow(tmp_path / "is not there")
            settle(watch, "sweep")
            told.wait_for("")
            watch.follow(None)
            settle(watch, None)
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        watch.follow(release)
        settle(watch, "inotify")


def test_process_without_a_descriptor_left_sweeps_and_says_so(release: Path, caplog: pytest.LogCaptureFixture) -> None:
    told = Told()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    watch = Watch(told)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        watch.follow(release)
        until = time.monotonic() + SECONDS
        while "noticed by looking" not in caplog.text and time.monotonic() < until:
            time.sleep(0.01)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        watch.stop()
    assert watch.kind == "sweep"
    assert "max_user_instances" in caplog.text
    assert "a bug in dagferry" not in caplog.text


def test_who_fails_when_told_is_told_again(release: Path, caplog: pytest.LogCaptureFixture) -> None:
    told = Told()

    def fails_once(paths: frozenset[str]) -> None:
        told(paths)
        if not caplog.records:
            raise ZeroDivisionError

    with watched(release, fails_once), caplog.at_level(logging.ERROR):
        (release / "a.py").write_text("x")
        told.wait_for("a.py")
        time.sleep(2 * watching.QUIET_SECONDS)
        (release / "team/b.py").write_text("x")
        told.wait_for("team/b.py")
        assert "report it" in caplog.text


def test_who_cannot_look_when_told_is_no_bug(release: Path, caplog: pytest.LogCaptureFixture) -> None:
    told = Told()

    def gone(_paths: frozenset[str]) -> None:
        told(frozenset({"told"}))
        raise MachineFault("verifying a release: No such file or directory", "look at the disk")

    with watched(release, gone):
        (release / "a.py").write_text("1")
        told.wait_for("told")
        (release / "a.py").write_text("2")
        told.wait_for("told")
    (record, *_) = [one for one in caplog.records if one.name == "dagferry_agent.watching"]
    assert (record.levelno, record.exc_info) == (logging.WARNING, None)
    assert "No such file or directory" in record.getMessage()


def test_a_hundred_changes_leave_nothing_behind(release: Path) -> None:
    with watched(release, Told()):
        pass  # what the library makes once for a process is there
    threads, descriptors = threading.active_count(), len(os.listdir("/proc/self/fd"))  # noqa: PTH208 (a count)
    watch = Watch(Told())
    for number in range(100):
        watch.follow((release, release / "team", None)[number % 3])
        time.sleep(0.005)
    began = time.monotonic()
    watch.stop(SECONDS)
    assert time.monotonic() - began < SECONDS
    assert (threading.active_count(), len(os.listdir("/proc/self/fd"))) == (threads, descriptors)  # noqa: PTH208


# --- planted


PLANTED = {
    "renames are not asked for": (events.FileMovedEvent, "a file is renamed"),
    "what is removed is not asked for": (events.FileDeletedEvent, "a file is removed"),
    "modes are not asked for": (events.FileAttribEvent, "a mode is changed"),
    "what is written is not asked for": (events.FileModifiedEvent, "a file is written"),
}


@pytest.mark.planted
@pytest.mark.parametrize("name", PLANTED)
def test_planted_watch_that_misses_an_event_is_caught(
    name: str, release: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing, edit = PLANTED[name]
    monkeypatch.setattr(watching, "_WRITES", [one for one in watching._WRITES if one is not missing])
    with pytest.raises(AssertionError):
        tells_every_edit(release, edit)
