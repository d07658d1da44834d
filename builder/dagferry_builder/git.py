"""Every question about a repository, in one place. They are put to git itself (`asking`); contents are in `objects`."""

from __future__ import annotations

import fcntl
import io
import re
import subprocess
import sys
import tempfile
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from dagferry_schemas.errors import Malformed, Unknown, Usage

from .asking import Asker
from .objects import FETCH_ALL_OR_CHECK, LACKING, Blobs, Entry, Objects

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import IO, BinaryIO

    from .asking import Answer


_NAME: Final = re.compile(r"(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9._/-]*")
"""What is a name and nothing else: of a branch, a tag or an object. `git rev-parse` takes much more."""

PIPE: Final = 1024 * 1024
"""Bytes of blobs that git may have written and nobody has read; what Linux allows to everybody."""


class Commit(NamedTuple):
    """A commit: its full id, the short one (at least 12 digits, no other object has it), its committer's time (RFC 3339
    UTC), and the id of its top folder.
    """

    id: str
    short: str
    time: str
    tree: str


class Description(NamedTuple):
    """What ``git describe`` says: the nearest tag that matches, and the number of commits since."""

    tag: str
    distance: int


class Repository:
    """The git repository around a folder. Raises `Usage` if there is none that can be read."""

    def __init__(self, folder: Path) -> None:
        asker = Asker(folder)
        code, output, complaint = asker.run("rev-parse", "--is-shallow-repository", "--show-toplevel", codes=(0, 128))
        shallow, _, top = output.decode("utf-8", "surrogateescape").partition("\n")
        if not shallow:
            if "not a git repository" in complaint or "cannot change to" in complaint:
                raise Usage(f"{folder} is not inside a git repository", "run this in a clone of the DAG repository")
            asker.check("rev-parse", code, complaint, (0,))
        self.is_shallow = shallow == "true"
        """Whether a part of the history was not fetched."""
        # A bare repository has no working tree, and git tells so as an error.
        self.top = Path((top or asker.line("rev-parse", "--absolute-git-dir")).removesuffix("\n"))
        self._asker = Asker(self.top)
        self._resolved: dict[str, str] = {}
        self._commits: dict[str, Commit] = {}

    def remote_url(self) -> str | None:
        """Where this clone came from: the URL of its remote ``origin``, None if it has none."""
        code, output, _ = self._asker.run("remote", "get-url", "origin", codes=(0, 2, 128))
        return output.decode("utf-8", "replace").strip() or None if code == 0 else None

    def resolve(self, rev: str) -> str:
        """The full id of the commit that ``rev`` names, in any way that git understands. Raises `Unknown`."""
        if rev not in self._resolved:
            found = self._resolve(rev)
            self._resolved |= {rev: found, found: found}
        return self._resolved[rev]

    def _resolve(self, rev: str) -> str:
        if _NAME.fullmatch(rev) and (at_once := self._look_up(rev + "^{commit}")) is not None:
            return at_once.id
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
        code, output, complaint = self._asker.run(*command, codes=(0, 1, 128))
        # GitHub's checkout of git 2.39 repeats the option in the output
        found = None if code else output.decode().split()[-1]
        if found is not None and found.startswith("^"):  # `^main` is all that main does not have
            return None, ""
        return found, complaint.strip()[:500]

    def commit(self, rev: str) -> Commit:
        """The commit that ``rev`` names. Raises `Unknown`."""
        found = self.resolve(rev)
        commit = self._commits.get(found) or self._look_up(found)
        assert commit is not None, f"git knew {found} a moment ago"
        return commit

    def _look_up(self, name: str) -> Commit | None:
        """The commit of that name; a name that stands for none, or for a range of them, is none."""
        # Not `git show`, which follows the user's log.showSignature; i18n.logOutputEncoding holds for this as well.
        said = self._asker.run(
            *("rev-list", "--max-count=1", "--abbrev=12", "--encoding=UTF-8", "--format=%H %h %ct %T", name, "--"),
            codes=(0, 128),
        )
        if said.code or not said.output:
            return None
        found, short, seconds, tree = said.output.decode().split("\n")[1].split()
        time = datetime.fromtimestamp(int(seconds), timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        self._commits[found] = Commit(found, short, time, tree)
        return self._commits[found]

    def describing(self, commit: str, pattern: str) -> Answer:
        """The question for `description`."""
        command = ("describe", "--tags", "--long", "--abbrev=12", "--match", pattern, commit)
        return self._asker.ask(*command, codes=(0, 128))

    def counting(self, commit: str, *which: str) -> Answer:
        """The question for the number of commits that ``commit`` builds upon, itself included.

        ``which`` of them, as git's option says: ``--first-parent``.
        """
        return self._asker.ask("rev-list", "--count", *which, commit)

    def has(self, commit: str) -> bool:
        """Whether the commit is in this clone."""
        return self._asker.run("cat-file", "-e", commit + "^{commit}", codes=(0, 1, 128))[0] == 0

    def is_ancestor(self, older: str, newer: str) -> bool:
        """Whether ``newer`` builds upon ``older`` (both are in this clone)."""
        return self._asker.run("merge-base", "--is-ancestor", older, newer, codes=(0, 1))[0] == 0

    def file(self, commit: str, path: str) -> bytes | None:
        """The bytes of one file of ``commit``, or None if it has no such file.

        Raises `Malformed` if this clone lacks it, or a folder on the way to it: that is not the same.
        """
        code, output, _ = self._asker.run("cat-file", "blob", f"{commit}:{path}", codes=(0, 128))
        if not code:
            return output
        code, listed, _ = self._asker.run("ls-tree", "-z", "--full-tree", commit, "--", path, codes=(0, 128))
        if code:
            raise Malformed(
                f"{self.top} lacks a folder of commit {commit[:12]}, so whether it has {path} cannot be told",
                FETCH_ALL_OR_CHECK,
                code="missing_tree",
            )
        kind, object_id = listed.split(b"\t")[0].split()[1:] if listed else (b"", b"")
        if kind != b"blob":
            return None
        code, output, _ = self._asker.run("cat-file", "blob", object_id.decode(), codes=(0, 128))
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
        return map(_entry, self._asker.records("ls-tree", "-r", "-z", "-l", "--full-tree", commit, *path))

    def lacking(self, commit: str, root: str) -> list[str]:
        """The paths of ``commit`` below ``root`` whose content this clone lacks. No remote is asked for them."""
        tree = f"{commit}:{root}" if root else f"{commit}^{{tree}}"
        listed = self._asker.run("rev-list", "--objects", "--missing=print", tree).output.split(b"\n")
        lacking = {line[1:].decode() for line in listed if line.startswith(b"?")}
        path = ["--", root] if root else []
        records = self._asker.records("ls-tree", "-r", "-z", "--full-tree", commit, *path)
        return [where for facts, _, where in (one.partition("\t") for one in records) if facts.split()[2] in lacking]

    def uncommitted(self, folders: Iterable[str]) -> Answer:
        """The question for what the working tree below ``folders``, if there is one, has and HEAD has not."""
        places = [folder or "." for folder in folders]
        return self._asker.ask("status", "--porcelain", "-z", "--", *places, codes=(0, 128))

    @contextmanager
    def blobs(self, ids: Iterable[str]) -> Iterator[Blobs]:
        """The blobs of ``ids``, to be read in that order from one git process; from none if there are no ids."""
        with tempfile.TemporaryFile() as wanted:  # a file, because a pipe that is full both ways would stop both sides
            wanted.writelines(f"{one}\n".encode() for one in ids)
            if not wanted.tell():
                yield Blobs(io.BytesIO())
                return
            wanted.seek(0)
            command = [*self._asker.command, "cat-file", "--batch", "--buffer"]
            with subprocess.Popen(command, stdin=wanted, stdout=subprocess.PIPE) as process:
                assert process.stdout is not None
                _widen(process.stdout)
                try:
                    yield Blobs(cast("BinaryIO", process.stdout))
                finally:
                    process.kill()

    def objects(self) -> Objects:
        """The repository's objects, to be read one by one; a context, that ends what it has started."""
        return Objects(self._asker.command)


def _widen(pipe: IO[bytes]) -> None:
    """Let git write ahead while we work: otherwise the two take turns. Where the system refuses, it takes longer."""
    if sys.platform == "linux":
        with suppress(OSError):  # a user has so many pages of pipes, and may have used them up
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE)


_SIZES: Final = {"-": 0, "BAD": LACKING}


def _entry(line: str) -> Entry:
    facts, _, path = line.partition("\t")
    mode, _, object_id, size = facts.split()
    return Entry(path, mode, object_id, int(size) if size.isdigit() else _SIZES[size])


def description(answer: Answer) -> Description | None:
    """What ``git describe --tags --long --match <pattern>`` says, or None without such a tag."""
    said = answer.wait()
    if said.code:
        return None
    tag, distance, _ = said.output.decode("utf-8", "surrogateescape").strip().rsplit("-", 2)
    return Description(tag, int(distance))
