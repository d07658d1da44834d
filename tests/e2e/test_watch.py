"""The local loop as a DAG author has it: what is saved is in a folder a moment later, and nothing else changes."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.harness import BUNDLE, COMMANDS, Operator, Repository, environment, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


class Loop:
    """`dagferry watch` at work, and what it has said."""

    def __init__(self, folder: Path, target: Path, *options: str) -> None:
        self.target = target
        self.said: list[dict[str, Any]] = []
        self._complaints = (folder.parent / "complaints").open("w+")
        self.process = subprocess.Popen(
            [*COMMANDS["dagferry"], "watch", f"--target={target}", "-o", "json", *options],
            cwd=folder,
            env=environment(TMPDIR=str(folder.parent / "scratch")),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            text=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(json.loads(line))

    def wait(self, what: str, found: Callable[[], Any]) -> Any:  # noqa: ANN401 (what was found)
        def look() -> Any:  # noqa: ANN401
            assert self.process.poll() is None, self.complaints
            return found() or None

        try:
            return wait_for(look, what, seconds=30)
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.said}; {self.complaints}") from None

    @property
    def complaints(self) -> str:
        self._complaints.seek(0)
        return self._complaints.read()

    def shows(self, path: str, text: str) -> None:
        place = self.target / path
        self.wait(f"{path} to say {text!r}", lambda: place.is_file() and place.read_text() == text)

    def stop(self, number: int = signal.SIGINT) -> int:
        self.process.send_signal(number)
        code = self.process.wait(timeout=20)
        self._reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()
        self._complaints.close()
        return code


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(tmp_path / "clone")
    made.change({"dags/a.py": "A = 1\n", "dags/team/b.py": "B = 1\n", "README.md": "hello\n", ".gitignore": "*.log\n"})
    (tmp_path / "scratch").mkdir()
    return made


@pytest.fixture
def loop(repository: Repository, tmp_path: Path) -> Iterator[Loop]:
    made = Loop(repository.path, tmp_path / "airflow" / "dags", "--no-lint")
    made.shows("a.py", "A = 1\n")
    made.wait("the first look", lambda: made.said)
    yield made
    if made.process.poll() is None:
        made.stop(signal.SIGKILL)


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and path.name[0] != "."}


def test_what_is_saved_is_there_a_moment_later(repository: Repository, loop: Loop) -> None:
    assert files(loop.target) == {"a.py", "team/b.py"}
    before = (loop.target / "team" / "b.py").stat().st_ino
    repository.write("dags/a.py", "A = 2\n")
    loop.shows("a.py", "A = 2\n")
    repository.write("dags/new/deep/c.py", "C = 1\n", executable=True)
    loop.wait("the new file", lambda: files(loop.target) >= {"new/deep/c.py"})
    loop.wait("it to be executable", lambda: (loop.target / "new/deep/c.py").stat().st_mode & 0o111)
    assert (loop.target / "team" / "b.py").stat().st_ino == before, "what was not saved is not touched"
    assert loop.said[0]["written"] == ["a.py", "team/b.py"]
    assert loop.said[1]["written"] == ["a.py"]
    assert all(one["seconds"] < 20 for one in loop.said)


def test_what_is_removed_or_renamed_goes(repository: Repository, loop: Loop) -> None:
    (loop.target / "team" / "__pycache__").mkdir()
    (loop.target / "team" / "__pycache__" / "b.pyc").write_bytes(b"")
    (repository.path / "dags/team/b.py").rename(repository.path / "dags/b.py")
    loop.shows("b.py", "B = 1\n")
    loop.wait("the folder to go", lambda: not (loop.target / "team").exists())
    (repository.path / "dags/b.py").unlink()
    repository.write("dags/b.py/inside.py", "I = 1\n")
    loop.shows("b.py/inside.py", "I = 1\n")


def test_what_editors_leave_and_git_ignores_is_not_shown(repository: Repository, loop: Loop) -> None:
    for name in ("a.py~", ".a.py.swp", "#a.py#", "4913", "a.py___jb_tmp___", "trace.log"):
        repository.write(f"dags/{name}", "temporary\n")
    (repository.path / "dags" / ".#a.py").symlink_to("ada@host.1:1")
    repository.write("dags/last.py", "L = 1\n")
    loop.shows("last.py", "L = 1\n")
    assert files(loop.target) == {"a.py", "team/b.py", "last.py"}
    assert not any("temporary" in path.read_text() for path in loop.target.rglob("*") if path.is_file())


def test_an_editor_that_replaces_the_file_is_followed(repository: Repository, loop: Loop) -> None:
    repository.write("dags/.a.py.swp", "x")
    (repository.path / "dags/a.py").rename(repository.path / "dags/a.py~")
    repository.write("dags/a.py", "A = 3\n")
    (repository.path / "dags/a.py~").unlink()
    loop.shows("a.py", "A = 3\n")


def test_the_repository_stays_as_it_is(repository: Repository, loop: Loop) -> None:
    repository.write("dags/staged.py", "S = 1\n")
    repository.git("add", "dags/staged.py")

    def state() -> tuple[str, ...]:
        listed = sorted(str(path) for path in (repository.path / ".git" / "objects").rglob("*"))
        return (*listed, repository.git("diff", "--cached", "--stat"), repository.git("reflog"))

    before = state()
    repository.write("dags/unstaged.py", "U = 1\n")
    loop.shows("unstaged.py", "U = 1\n")
    loop.shows("staged.py", "S = 1\n")
    assert state() == before
    assert "?? dags/unstaged.py" in repository.git("status", "--porcelain")


def test_what_is_wrong_is_said_and_does_not_end_it(repository: Repository, loop: Loop) -> None:
    repository.write("dagferry.toml", "this is no TOML")
    (refused, *_) = loop.wait("a complaint", lambda: [one for one in loop.said if "error" in one])
    assert "dagferry.toml" in refused["error"]["message"]
    repository.write("dags/a.py", "A = 4\n")
    repository.write("dagferry.toml", f'[bundles.{BUNDLE}]\nroot = "dags"\nexclude = ["team/"]\n')
    loop.shows("a.py", "A = 4\n")
    loop.wait("what is excluded to go", lambda: files(loop.target) == {"a.py"})


def test_it_goes_on_where_it_was_and_ends_without_a_trace(repository: Repository, loop: Loop, tmp_path: Path) -> None:
    assert loop.stop() == 130
    assert list((tmp_path / "scratch").iterdir()) == []
    (repository.path / "dags/team/b.py").unlink()
    repository.write("dags/a.py", "A = 5\n")
    again = Loop(repository.path, loop.target, "--no-lint")
    again.shows("a.py", "A = 5\n")
    again.wait("what went meanwhile to go", lambda: files(loop.target) == {"a.py"})
    assert again.stop(signal.SIGTERM) == 143


def test_a_folder_of_somebody_else_is_not_taken(repository: Repository, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    operator = Operator(repository.path, None)
    refused = operator.fail(3, "watch", f"--target={tmp_path / 'mine'}", "-o", "json")
    assert refused["code"] == "not_empty"
    assert "thesis.txt" in refused["message"]
    (tmp_path / "mine" / "thesis.txt").rename(tmp_path / "mine" / ".dagferry-watch.json")
    assert operator.fail(3, "watch", f"--target={tmp_path / 'mine'}", "-o", "json")["code"] == "not_empty"


def test_a_folder_inside_the_repository_is_refused(repository: Repository) -> None:
    refused = Operator(repository.path, None).fail(2, "watch", "--target=dags/shown", "-o", "json")
    assert "is inside" in refused["message"]
    assert not (repository.path / "dags" / "shown").exists()


def test_a_file_of_ones_own_in_the_folder_is_not_replaced(repository: Repository, loop: Loop) -> None:
    (loop.target / "mine.py").write_text("MINE = 1\n")
    (loop.target / "notes").write_text("years of work")
    for path in ("mine.py", "notes/c.py"):
        repository.write(f"dags/{path}", "THEIRS = 1\n")
        (refused, *_) = loop.wait("a complaint", lambda: [one for one in loop.said[-1:] if "error" in one])
        assert refused["error"]["code"] == "not_empty"
        (repository.path / "dags" / path).unlink()
        repository.write("dags/a.py", f"A = '{path}'\n")
        loop.shows("a.py", f"A = '{path}'\n")
    assert (loop.target / "mine.py").read_text() == "MINE = 1\n"
    assert (loop.target / "notes").read_text() == "years of work"


def test_findings_of_lint_are_shown_as_it_goes(repository: Repository, tmp_path: Path) -> None:
    loop = Loop(repository.path, tmp_path / "shown")
    try:

        def found() -> list[str] | None:
            results = [one["lint"] for one in loop.said if "lint" in one]
            return [one["path"] for one in results[-1]["findings"] if one["severity"] == "error"] if results else None

        loop.wait("the first lint", lambda: found() == [])
        repository.write("dags/a.py", "A = (\n")
        loop.shows("a.py", "A = (\n")
        loop.wait("a finding", lambda: set(found() or []) == {"dags/a.py"})
        repository.write("dags/a.py", "A = 1\n")
        loop.wait("it to go", lambda: found() == [])
    finally:
        assert loop.stop() == 130
