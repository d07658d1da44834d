"""Folders of versions: whole or not there, with files of their own, and gone when nobody needs them."""

from __future__ import annotations

import hashlib
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from dagferry_agent import version_cleanup
from dagferry_agent.version_cleanup import Limits
from dagferry_agent.version_folders import VersionFolders
from dagferry_agent.version_use import VersionUse
from dagferry_schemas.errors import MachineFault, Untrusted
from tests.e2e.harness import wait_for

TREE = "sha256:" + 64 * "a"
OTHER = "sha256:" + 64 * "b"
MAKER = """\
import sys, time
from pathlib import Path
from dagferry_agent.version_folders import VersionFolders

versions, beside, mark, files = map(Path, sys.argv[1:])
def fill(folder):
    with mark.open("a") as marks:
        marks.write("filled\\n")
    for number in range(int(str(files))):
        (folder / f"dag_{number}.py").write_text("x = 1\\n")
        time.sleep(0.01)
VersionFolders(versions, beside).add("v1", "sha256:" + 64 * "a", fill)
"""


@pytest.fixture
def folders(tmp_path: Path) -> VersionFolders:
    return VersionFolders(tmp_path / "versions", tmp_path / "beside")


@pytest.fixture
def use(tmp_path: Path) -> VersionUse:
    return VersionUse(tmp_path / "tracking")


def write(folder: Path) -> None:
    (folder / "team").mkdir()
    (folder / "team" / "dag.py").write_text("x = 1\n")
    (folder / "words.txt").write_text("words\n")


def make(folders: VersionFolders, *versions: str) -> None:
    for version in versions:
        assert folders.add(version, TREE, write)


def maker(tmp_path: Path, files: int) -> list[str]:
    """A process that makes a version with so many files, and marks that it has begun."""
    places = [str(tmp_path / name) for name in ("versions", "beside", "marks")]
    return [sys.executable, "-c", MAKER, *places, str(files)]


def left(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "beside" / "staging").iterdir())


# --- making


def test_a_version_is_a_folder_of_its_own(folders: VersionFolders, tmp_path: Path) -> None:
    assert not folders.has("v1")
    make(folders, "v1")
    assert folders.has("v1")
    found = folders.path("v1")
    assert not found.is_symlink()
    assert (found / "team" / "dag.py").read_text() == "x = 1\n"
    assert left(tmp_path) == []
    assert folders.names() == ["v1"]


def test_it_is_not_made_twice(folders: VersionFolders) -> None:
    make(folders, "v1")
    inode = (folders.path("v1") / "words.txt").stat().st_ino
    assert not folders.add("v1", TREE, lambda _: pytest.fail("filled again"))
    assert (folders.path("v1") / "words.txt").stat().st_ino == inode


def test_a_version_never_changes_its_tree(folders: VersionFolders) -> None:
    make(folders, "v1")
    with pytest.raises(Untrusted) as caught:
        folders.add("v1", OTHER, write)
    assert (caught.value.code, "a version never changes" in caught.value.hint) == ("wrong_identity", True)
    assert (folders.path("v1") / "words.txt").read_text() == "words\n"


@pytest.mark.parametrize("error", [RuntimeError("it broke"), KeyboardInterrupt(), OSError(28, "No space left")])
def test_nothing_is_there_after_an_error(folders: VersionFolders, tmp_path: Path, error: BaseException) -> None:
    def fill(folder: Path) -> None:
        write(folder)
        raise error

    with pytest.raises(MachineFault if isinstance(error, OSError) else type(error)):
        folders.add("v1", TREE, fill)
    assert not folders.has("v1")
    assert left(tmp_path) == []
    make(folders, "v1")


def test_processes_that_want_the_same_version_make_it_once(tmp_path: Path) -> None:
    makers = [subprocess.Popen(maker(tmp_path, 20)) for _ in range(6)]
    assert [one.wait() for one in makers] == [0] * 6
    assert (tmp_path / "marks").read_text() == "filled\n"
    assert len(list((tmp_path / "versions" / "v1").iterdir())) == 20


def test_one_that_is_killed_leaves_nothing_that_could_be_taken_for_a_version(
    folders: VersionFolders, tmp_path: Path
) -> None:
    with subprocess.Popen(maker(tmp_path, 3000)) as process:
        while not (tmp_path / "marks").exists():
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert not folders.has("v1")
    assert len(left(tmp_path)) == 1
    make(folders, "v1")
    folders.clean(older_than=3600)
    assert len(left(tmp_path)) == 1, "it may be somebody's who is at work"
    folders.clean(older_than=0)
    assert left(tmp_path) == []


# --- times


def test_what_may_be_a_dag_file_gets_the_present_as_its_time(folders: VersionFolders) -> None:
    make(folders, "v1")
    dag, words = folders.path("v1") / "team" / "dag.py", folders.path("v1") / "words.txt"
    for path in (dag, words):
        os.utime(path, (1000, 1000))
    before = time.time()
    folders.touch("v1")
    assert dag.stat().st_mtime >= before - 1
    assert words.stat().st_mtime == 1000
    assert hashlib.sha256(dag.read_bytes()).hexdigest() == hashlib.sha256(b"x = 1\n").hexdigest()
    assert stat.S_IMODE(folders.path("v1").stat().st_mode) & 0o700 == 0o700


# --- use


def test_what_is_held_is_used_and_what_was_let_go_is_not(use: VersionUse, tmp_path: Path) -> None:
    held = use.hold("v1")
    assert held is not None
    with use.unused("v1") as unused:
        assert not unused
    assert (tmp_path / "tracking" / "v1").exists()
    held.close()
    with use.unused("v1") as unused:
        assert unused
    assert not (tmp_path / "tracking" / "v1").exists()


def test_a_hold_writes_down_its_time_as_airflow_does_and_keeps_one_that_is_there(
    use: VersionUse, tmp_path: Path
) -> None:
    assert use.last("v1") is None
    held = use.hold("v1")
    assert held is not None
    found = use.last("v1")
    assert found is not None
    assert abs(found - time.time()) < 60
    (tmp_path / "tracking" / "v2").write_text("2026-01-02T03:04:05.678901+00:00")
    again = use.hold("v2")
    assert again is not None
    assert use.last("v2") == 1767323045.678901
    (tmp_path / "tracking" / "v3").write_text("no time")
    assert use.last("v3") is None


def test_a_file_that_is_removed_while_somebody_waits_for_it_is_made_anew(use: VersionUse, tmp_path: Path) -> None:
    first = use.hold("v1")
    assert first is not None
    first.close()
    path, found = tmp_path / "tracking" / "v1", []
    inode = path.stat().st_ino
    waiting = threading.Thread(target=lambda: found.append(use.hold("v1")))

    def waits() -> bool | None:
        locks = Path("/proc/locks").read_text().splitlines()
        return any("->" in line and f":{inode} " in line for line in locks) or None

    with use.unused("v1") as unused:
        assert unused
        waiting.start()
        wait_for(waits, "somebody to wait for the version")
    waiting.join()
    assert found[0] is not None
    assert path.exists(), "a file of its own"
    with use.unused("v1") as unused:
        assert not unused


def test_where_nothing_can_be_written_nothing_is_held(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert VersionUse(tmp_path / "file" / "tracking").hold("v1") is None


# --- clean-up


def tracked(tmp_path: Path, ages: dict[str, float]) -> None:
    (tmp_path / "tracking").mkdir(exist_ok=True)
    for version, age in ages.items():
        text = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(time.time() - age))
        (tmp_path / "tracking" / version).write_text(text)


def test_the_newest_what_was_used_lately_and_what_is_needed_stay(
    folders: VersionFolders, use: VersionUse, tmp_path: Path
) -> None:
    make(folders, "a", "b", "c", "d", "e", "f")
    tracked(tmp_path, {"a": 500, "b": 400, "c": 300, "d": 200, "e": 50, "f": 20})
    assert version_cleanup.clean(folders, use, {"b"}, Limits(1, 100)) == ["d", "c", "a"]
    assert folders.names() == ["b", "e", "f"]
    assert sorted(path.name for path in (tmp_path / "tracking").iterdir()) == ["b", "e", "f"]
    assert left(tmp_path) == []


@pytest.mark.parametrize(
    ("limits", "stay"),
    [(Limits(2, 0), ["b", "c"]), (Limits(0, 250), ["c"]), (Limits(0, 0), []), (Limits(3, 0), ["a", "b", "c"])],
)
def test_both_limits_hold(
    folders: VersionFolders, use: VersionUse, tmp_path: Path, limits: Limits, stay: list[str]
) -> None:
    make(folders, "a", "b", "c")
    tracked(tmp_path, {"a": 400, "b": 300, "c": 200})
    version_cleanup.clean(folders, use, (), limits)
    assert folders.names() == stay


def test_what_a_task_holds_stays(folders: VersionFolders, use: VersionUse, tmp_path: Path) -> None:
    make(folders, "a", "b")
    held = use.hold("a")
    assert held is not None
    assert version_cleanup.clean(folders, use, (), Limits(0, -1)) == ["b"]
    held.close()
    assert version_cleanup.clean(folders, use, (), Limits(0, -1)) == ["a"]


def test_a_version_that_airflow_never_heard_of_is_as_old_as_its_folder(
    folders: VersionFolders, use: VersionUse, tmp_path: Path
) -> None:
    make(folders, "a", "b")
    tracked(tmp_path, {"b": 400})
    assert version_cleanup.clean(folders, use, (), Limits(1, 100)) == ["b"]
    assert version_cleanup.clean(folders, use, (), Limits(0, 100)) == []
    assert version_cleanup.clean(folders, use, (), Limits(0, -100)) == ["a"]


def test_a_version_that_was_removed_can_come_back(folders: VersionFolders, use: VersionUse) -> None:
    make(folders, "a")
    version_cleanup.clean(folders, use, (), Limits(0, -1))
    assert folders.add("a", OTHER, write), "and what was said of it is forgotten"
