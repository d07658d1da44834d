"""Every question to git, in one place. GitPython finds the repository and runs git; see `objects` for the objects.

The environment of the caller does not leak in (a hook's ``GIT_DIR`` or ``GIT_INDEX_FILE`` would change the answer, see
pre-commit/pre-commit#300): `isolate` removes it from this process, because GitPython hands on what it finds there.
Replaced objects and grafts are ignored, and lists are read NUL-separated as bytes.
"""

from __future__ import annotations

import io
import os
import shlex
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from dagferry_schemas.errors import MachineFault, Malformed, Unknown, Usage

from .objects import FETCH_ALL, FETCH_ALL_OR_CHECK, LACKING, Blobs, Entry, Objects

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
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_LITERAL_PATHSPECS": "1",
    "GIT_TERMINAL_PROMPT": "0",
}
CHUNK: Final = 64 * 1024


@dataclass(frozen=True)
class Commit:
    """A commit: its full id, its committer's time (RFC 3339 UTC) and its place on the first-parent line.

    The place is None in a shallow clone, which does not have the whole line.
    """

    id: str
    time: str
    first_parents: int | None


@dataclass(frozen=True)
class Description:
    """What ``git describe`` says: the nearest tag that matches, and the number of commits since."""

    tag: str
    distance: int


class Repository:
    """The git repository around a folder. Raises `Usage` if there is none that can be read."""

    def __init__(self, folder: Path) -> None:
        isolate()
        git = _gitpython()
        try:
            # A folder may have a dollar sign in its name, which GitPython would take for a variable.
            found = git.Repo(folder, search_parent_directories=True, expand_vars=False)
        except (git.InvalidGitRepositoryError, git.NoSuchPathError):
            raise Usage(
                f"{folder} is not inside a git repository", "run this in a clone of the DAG repository"
            ) from None
        self.top = Path(found.working_tree_dir or found.git_dir)
        self._git = found.git
        # Whoever may set it in the clone's configuration would have `git status` run a program of theirs.
        self._command = ["git", "-c", "core.fsmonitor=false", "-C", str(self.top)]
        self._resolved: dict[str, str] = {}

    def _run(self, *arguments: str, codes: Sequence[int] = (0,)) -> tuple[int, bytes, str]:
        """Run git: (exit code, output, complaint). Raises `MachineFault` for an exit code not in ``codes``."""
        code, output, complaint = self._git.execute(
            [*self._command, *arguments],
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
                f"run: git config --global --add safe.directory {shlex.quote(str(self.top))}",
                code="unsafe_repository",
            )
        if code not in codes and "promisor remote" in complaint:  # a git that knows no GIT_NO_LAZY_FETCH
            raise Malformed(
                f"{self.top} is a partial clone, and lacks what git {command} needs: {complaint.strip()[-500:]}",
                f"where the remote can be reached: {FETCH_ALL}",
                code="missing_blob",
            )
        if code not in codes:
            raise MachineFault(f"git {command} failed in {self.top}: {complaint.strip()[:500]}", "see git's message")

    def _records(self, *arguments: str) -> Iterator[bytes]:
        """What git lists with NULs in between, each as it comes. Raises `MachineFault`."""
        command = [*self._command, *arguments]
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
        if rev not in self._resolved:
            self._resolved[rev] = self._resolve(rev)
        return self._resolved[rev]

    def _resolve(self, rev: str) -> str:
        found, why = self._parse(rev)
        if found is not None:  # apart: `:/fix` takes all that follows as its text
            commit, _ = self._parse(found + "^{commit}")
            if commit is not None:
                return commit
            why = f"{found} is no commit, or this clone lacks it"
        hint = "`git log --oneline` lists the commits, `git tag` the tags, `git fsck` what is damaged"
        if rev == "HEAD" and not why:
            hint = "the repository has no commit yet: commit the DAGs first"
        raise Unknown(f"{rev!r} is not a commit in {self.top}{why and ': ' + why}", hint, code="unknown_revision")

    def _parse(self, rev: str) -> tuple[str | None, str]:
        """The id of the object that ``rev`` names, None if there is none, or several; and what git complains of."""
        command = ("rev-parse", "--verify", "--quiet", "--end-of-options", rev)
        code, output, complaint = self._run(*command, codes=(0, 1, 128))
        # GitHub's checkout of git 2.39 repeats the option in the output
        found = None if code else output.decode().split()[-1]
        if found is not None and found.startswith("^"):  # `^main` is all that main does not have
            return None, ""
        return found, complaint.strip()[:500]

    def commit(self, rev: str) -> Commit:
        """The commit that ``rev`` names. Raises `Unknown`."""
        found = self.resolve(rev)
        # Not `git show`: its output follows the user's configuration (i18n.logOutputEncoding, log.showSignature).
        seconds = int(self._line("rev-list", "--max-count=1", "--timestamp", found).split()[0])
        time = datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        first_parents = None if self.is_shallow else int(self._line("rev-list", "--first-parent", "--count", found))
        return Commit(found, time, first_parents)

    @cached_property
    def is_shallow(self) -> bool:
        """Whether a part of the history was not fetched."""
        return self._line("rev-parse", "--is-shallow-repository") == "true"

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
        """The bytes of one file of ``commit``, or None if it has no such file.

        Raises `Malformed` if this clone lacks it, or a folder on the way to it: that is not the same.
        """
        code, listed, _ = self._run("ls-tree", "-z", "--full-tree", commit, "--", path, codes=(0, 128))
        if code:
            raise Malformed(
                f"{self.top} lacks a folder of commit {commit[:12]}, so whether it has {path} cannot be told",
                FETCH_ALL_OR_CHECK,
                code="missing_tree",
            )
        kind, object_id = listed.split(b"\t")[0].split()[1:] if listed else (b"", b"")
        if kind != b"blob":
            return None
        code, output, _ = self._run("cat-file", "blob", object_id.decode(), codes=(0, 128))
        if code:
            raise Malformed(
                f"{self.top} lacks the content of {path} in commit {commit[:12]}",
                FETCH_ALL_OR_CHECK,
                code="missing_blob",
            )
        return output

    def entries(self, commit: str, root: str = "") -> Iterator[Entry]:
        """All paths of ``commit`` at or below ``root`` (of the whole commit if empty) that are not folders, in order.

        They come as git finds them. The order is that of the paths' bytes.
        """
        path = ["--", root] if root else []
        return map(_entry, self._records("ls-tree", "-r", "-z", "-l", "--full-tree", commit, *path))

    def dirty(self, folders: Iterable[str]) -> bool:
        """Whether the working tree below ``folders``, if there is one, has what HEAD has not."""
        places = [folder or "." for folder in folders]
        return bool(self._run("status", "--porcelain", "-z", "--", *places, codes=(0, 128))[1])

    @contextmanager
    def blobs(self, ids: Iterable[str]) -> Iterator[Blobs]:
        """The blobs of ``ids``, to be read in that order from one git process; from none if there are no ids."""
        with tempfile.TemporaryFile() as wanted:  # a file, because a pipe that is full both ways would stop both sides
            wanted.writelines(f"{one}\n".encode() for one in ids)
            if not wanted.tell():
                yield Blobs(io.BytesIO())
                return
            wanted.seek(0)
            command = [*self._command, "cat-file", "--batch", "--buffer"]
            with subprocess.Popen(command, stdin=wanted, stdout=subprocess.PIPE) as process:
                assert process.stdout is not None
                try:
                    yield Blobs(cast("BinaryIO", process.stdout))
                finally:
                    process.kill()

    def objects(self) -> Objects:
        """The repository's objects, to be read one by one; a context, that ends what it has started."""
        return Objects(self._command)

    def tree_of(self, commit: str) -> str:
        """The id of the top folder of ``commit``."""
        return self._line("rev-parse", "--verify", "--end-of-options", commit + "^{tree}").split()[-1]


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
