"""Every question to git, in one place. GitPython finds the repository and runs git; blobs come from one process.

The environment of the caller does not leak in (a hook's ``GIT_DIR`` or ``GIT_INDEX_FILE`` would change the answer, see
pre-commit/pre-commit#300): `isolate` removes it from this process, because GitPython hands on what it finds there.
Replaced objects and grafts are ignored, and lists are read NUL-separated as bytes.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from dagferry_schemas.errors import Conflict, MachineFault, Malformed, Unknown, Usage

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from types import ModuleType
    from typing import BinaryIO

_KEPT: Final = ("GIT_CONFIG", "GIT_SSL", "GIT_EXEC_PATH", "GIT_PYTHON")
_SET: Final = {
    "LC_ALL": "C",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_GRAFT_FILE": os.devnull,
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_TERMINAL_PROMPT": "0",
}
CHUNK: Final = 64 * 1024
LACKING: Final = -1
"""The size of a blob that this clone does not have."""
EXECUTABLE: Final = "100755"
LINK: Final = "120000"
SUBMODULE: Final = "160000"


@dataclass(frozen=True)
class Commit:
    """A commit: its full id, its committer's time (RFC 3339 UTC) and its place on the first-parent line."""

    id: str
    time: str
    first_parents: int


@dataclass(frozen=True)
class Description:
    """What ``git describe`` says: the nearest tag that matches, and the number of commits since."""

    tag: str
    distance: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One path of a commit that is not a folder. ``mode`` as git writes it; ``size`` in bytes (0 for a submodule)."""

    path: str
    mode: str
    object_id: str
    size: int


class Repository:
    """The git repository around a folder. Raises `Usage` if there is none that can be read."""

    def __init__(self, folder: Path) -> None:
        isolate()
        git = _gitpython()
        try:
            found = git.Repo(folder, search_parent_directories=True)
        except (git.InvalidGitRepositoryError, git.NoSuchPathError):
            raise Usage(
                f"{folder} is not inside a git repository", "run this in a clone of the DAG repository"
            ) from None
        self.top = Path(found.working_tree_dir or found.git_dir)
        self._git = found.git

    def _run(self, *arguments: str, codes: Sequence[int] = (0,)) -> tuple[int, bytes, str]:
        """Run git: (exit code, output, complaint). Raises `MachineFault` for an exit code not in ``codes``."""
        code, output, complaint = self._git.execute(
            ["git", "-C", str(self.top), *arguments],
            with_extended_output=True,
            with_exceptions=False,
            stdout_as_string=False,
            strip_newline_in_stdout=False,
        )
        complaint = complaint if isinstance(complaint, str) else complaint.decode("utf-8", "replace")
        self._check(arguments[0], int(code), complaint, codes)
        return int(code), output, complaint

    def _check(self, command: str, code: int, complaint: str, codes: Sequence[int]) -> None:
        if "dubious ownership" in complaint:
            raise Usage(
                f"git does not trust {self.top}: it belongs to another user",
                f"run: git config --global --add safe.directory {self.top}",
                code="unsafe_repository",
            )
        if code not in codes:
            raise MachineFault(f"git {command} failed in {self.top}: {complaint.strip()[:500]}", "see git's message")

    def _records(self, *arguments: str) -> Iterator[bytes]:
        """What git lists with NULs in between, each as it comes. Raises `MachineFault`."""
        command = ["git", "-C", str(self.top), *arguments]
        with (
            tempfile.TemporaryFile() as said,
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said) as process,
        ):
            assert process.stdout is not None
            rest = b""
            while chunk := process.stdout.read(CHUNK):
                *records, rest = (rest + chunk).split(b"\0")
                yield from records
            code = process.wait()
            said.seek(0)
            self._check(arguments[0], code, said.read().decode("utf-8", "replace"), (0,))

    def _line(self, *arguments: str) -> str:
        return self._run(*arguments)[1].decode("utf-8", "surrogateescape").rstrip("\n")

    def resolve(self, rev: str) -> str:
        """The full id of the commit that ``rev`` names, in any way that git understands. Raises `Unknown`."""
        code, output, _ = self._run(
            "rev-parse", "--verify", "--quiet", "--end-of-options", rev + "^{commit}", codes=(0, 1, 128)
        )
        if code:
            hint = "`git log --oneline` lists the commits, `git tag` the tags"
            if rev == "HEAD":
                hint = "the repository has no commit yet: commit the DAGs first"
            raise Unknown(f"{rev!r} is not a commit in {self.top}", hint, code="unknown_revision")
        # GitHub's checkout of git 2.39 repeats the option in the output
        return output.decode().split()[-1]

    def commit(self, rev: str) -> Commit:
        """The commit that ``rev`` names. Raises `Unknown`, and `Usage` in a shallow clone."""
        found = self.resolve(rev)
        if self._line("rev-parse", "--is-shallow-repository") == "true":
            raise Usage(
                f"{self.top} is a shallow clone, so the version of {found[:12]} cannot be told",
                "fetch the history: `git fetch --unshallow --tags`, or `fetch-depth: 0` for GitHub's checkout action",
                code="shallow_clone",
            )
        # Not `git show`: its output follows the user's configuration (i18n.logOutputEncoding, log.showSignature).
        seconds = int(self._line("rev-list", "--max-count=1", "--timestamp", found).split()[0])
        time = datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        return Commit(found, time, int(self._line("rev-list", "--first-parent", "--count", found)))

    def describe(self, commit: str, pattern: str) -> Description | None:
        """What ``git describe --tags --long --match <pattern>`` says of ``commit``, or None without such a tag."""
        code, output, _ = self._run(
            "describe", "--tags", "--long", "--abbrev=12", "--match", pattern, commit, codes=(0, 128)
        )
        if code:
            return None
        tag, distance, _ = output.decode("utf-8", "surrogateescape").strip().rsplit("-", 2)
        return Description(tag, int(distance))

    def short(self, commit: str) -> str:
        """At least 12 hex digits that name ``commit`` in this repository."""
        return self._line("rev-parse", "--short=12", commit)

    def count(self, commit: str) -> int:
        """The number of commits that ``commit`` builds upon, itself included."""
        return int(self._line("rev-list", "--count", commit))

    def has(self, commit: str) -> bool:
        """Whether the commit is in this clone."""
        return self._run("cat-file", "-e", commit + "^{commit}", codes=(0, 1, 128))[0] == 0

    def is_ancestor(self, older: str, newer: str) -> bool:
        """Whether ``newer`` builds upon ``older`` (both are in this clone)."""
        return self._run("merge-base", "--is-ancestor", older, newer, codes=(0, 1))[0] == 0

    def candidates(self, fragment: str) -> list[str]:
        """The full ids of commits in this clone that begin with ``fragment``."""
        return self._line("rev-parse", f"--disambiguate={fragment}").split()

    def file(self, commit: str, path: str) -> bytes | None:
        """The bytes of one file of ``commit``, or None if it has no such file."""
        code, output, _ = self._run("cat-file", "blob", f"{commit}:{path}", codes=(0, 128))
        return None if code else output

    def link_target(self, entry: Entry) -> str:
        """Where a symbolic link points."""
        return self._run("cat-file", "blob", entry.object_id)[1].decode("utf-8", "surrogateescape")

    def entries(self, commit: str, root: str = "") -> Iterator[Entry]:
        """All paths of ``commit`` at or below ``root`` (of the whole commit if empty) that are not folders, in order.

        They come as git finds them. The order is that of the paths' bytes.
        """
        path = ["--", root] if root else []
        return map(_entry, self._records("ls-tree", "-r", "-z", "-l", "--full-tree", commit, *path))

    def dirty(self, root: str) -> bool:
        """Whether the working tree below ``root``, if there is one, has what HEAD has not."""
        return bool(self._run("status", "--porcelain", "-z", "--", root or ".", codes=(0, 128))[1])

    def attributes(self, commit: str, paths: Iterable[str], names: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Which attributes of ``names`` each path has in ``commit``, as ``name=value``; paths without any are absent.

        A temporary index stands for the commit: ``check-attr --source`` came with git 2.40 only.
        """
        listed = self._records("ls-tree", "-r", "-z", "--name-only", "--full-tree", commit)
        if not any(path.rpartition(b"/")[2] == b".gitattributes" for path in listed):
            return {}
        with tempfile.TemporaryDirectory() as scratch:
            environment = {**os.environ, "GIT_INDEX_FILE": os.path.join(scratch, "index")}  # noqa: PTH118
            git = ["git", "-C", str(self.top), "-c", f"core.attributesFile={os.devnull}"]
            subprocess.run([*git, "read-tree", commit], env=environment, check=True, stderr=subprocess.DEVNULL)
            asked = b"".join(path.encode("utf-8", "surrogateescape") + b"\0" for path in paths)
            command = [*git, "check-attr", "--cached", "-z", "--stdin", *names]
            said = subprocess.run(command, env=environment, input=asked, stdout=subprocess.PIPE, check=True).stdout
        return _attributes(said)

    @contextmanager
    def blobs(self, ids: Iterable[str]) -> Iterator[Blobs]:
        """The blobs of ``ids``, to be read in that order from one git process."""
        with tempfile.TemporaryFile() as wanted:  # a file, because a pipe that is full both ways would stop both sides
            wanted.writelines(f"{one}\n".encode() for one in ids)
            wanted.seek(0)
            command = ["git", "-C", str(self.top), "cat-file", "--batch", "--buffer"]
            with subprocess.Popen(command, stdin=wanted, stdout=subprocess.PIPE) as process:
                assert process.stdout is not None
                try:
                    yield Blobs(cast("BinaryIO", process.stdout))
                finally:
                    process.kill()


class Blobs:
    """Blobs one after the other, as ``git cat-file --batch`` gives them."""

    def __init__(self, output: BinaryIO) -> None:
        self._output = output

    def read(self, entry: Entry, chunk: int = 1024 * 1024) -> Iterator[bytes]:
        """The bytes of the next blob, which is ``entry``'s, in chunks. Raises `Malformed` if this clone lacks it."""
        head = self._output.readline().split()
        if len(head) != 3 or head[1] != b"blob" or int(head[2]) != entry.size:
            raise Malformed(
                f"{entry.path!r}: this clone does not have its content ({entry.object_id})",
                "fetch it: `git fetch --refetch --no-filter` in a partial clone, `git fsck` in a damaged one",
                code="missing_blob",
            )
        left = entry.size
        while left:
            piece = self._output.read(min(chunk, left))
            if not piece:
                raise Conflict(f"{entry.path!r}: git ended in the middle of its content", "run it again")
            left -= len(piece)
            yield piece
        self._output.read(1)


def _entry(line: bytes) -> Entry:
    facts, _, path = line.partition(b"\t")
    mode, _, object_id, size = facts.split()
    sizes = {b"-": 0, b"BAD": LACKING}
    return Entry(
        path.decode("utf-8", "surrogateescape"),
        mode.decode(),
        object_id.decode(),
        sizes[size] if size in sizes else int(size),
    )


def _attributes(said: bytes) -> dict[str, tuple[str, ...]]:
    fields = said.split(b"\0")[:-1]
    found: dict[str, tuple[str, ...]] = {}
    for raw_path, name, value in zip(fields[::3], fields[1::3], fields[2::3], strict=True):
        if value not in (b"unspecified", b"unset"):
            path = raw_path.decode("utf-8", "surrogateescape")
            found[path] = (
                *found.get(path, ()),
                name.decode() if value == b"set" else f"{name.decode()}={value.decode()}",
            )
    return found


def _gitpython() -> ModuleType:
    """GitPython, imported where it is needed only: it costs a tenth of a second. Raises `MachineFault`."""
    try:
        import git
    except ImportError as error:  # GitPython is missing, or it found no git program
        raise MachineFault(
            f"git cannot be used here: {str(error).splitlines()[0]}",
            "install git (apt-get install git) and the builder's packages (pip install 'dagferry[builder]')",
            code="no_git",
        ) from error
    return git


def isolate() -> None:
    """Take the caller's ``GIT_*`` variables out of this process's environment, and set ours."""
    for name in [name for name in os.environ if name.startswith("GIT_") and not name.startswith(_KEPT)]:
        del os.environ[name]
    os.environ.update(_SET)
