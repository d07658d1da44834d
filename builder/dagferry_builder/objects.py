"""The objects of a git repository, as ``git cat-file`` gives them: never a process for each.

Blobs of a build come in bulk and in the order that they were asked for. Folders and the targets of links, of which a
build needs few, are asked for by their ids one by one, and answered by the same process.
"""

from __future__ import annotations

import subprocess
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from dagferry_schemas.errors import Conflict, Malformed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import BinaryIO, Self

LACKING: Final = -1
"""The size of a blob that this clone does not have."""
FETCH_ALL: Final = "`git fetch --refetch --no-filter`"
FETCH_ALL_OR_CHECK: Final = f"fetch it: {FETCH_ALL} in a partial clone, `git fsck` in a damaged one"
EXECUTABLE: Final = "100755"
LINK: Final = "120000"
SUBMODULE: Final = "160000"
FOLDER: Final = "040000"
AT_ONCE: Final = 500
"""Ids that are asked for before an answer is read; their questions and answers fit into pipes."""


class Entry(NamedTuple):
    """One path of a commit that is not a folder. ``mode`` as git writes it; ``size`` in bytes (0 for a submodule)."""

    path: str
    mode: str
    object_id: str
    size: int


class Node(NamedTuple):
    """What a folder has under one name. ``mode`` as git writes it, with six digits."""

    mode: str
    object_id: str


class Objects:
    """Folders and small blobs of a repository, by their ids. A context, that ends the processes that it started."""

    def __init__(self, git: Sequence[str]) -> None:
        self._git = git
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for mode in list(self._processes):
            self._end(mode)

    def _end(self, mode: str) -> None:
        """End a process, or forget one that has ended: in a partial clone git does at an object that it lacks."""
        process = self._processes.pop(mode)
        process.kill()
        process.communicate()

    def _process(self, mode: str) -> tuple[BinaryIO, BinaryIO]:
        if mode not in self._processes:
            command = [*self._git, "cat-file", mode]
            self._processes[mode] = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        process = self._processes[mode]
        return cast("BinaryIO", process.stdin), cast("BinaryIO", process.stdout)

    def read(self, object_id: str) -> bytes | None:
        """The bytes of an object, None if this clone does not have it."""
        asked, answer = self._process("--batch")
        asked.write(object_id.encode() + b"\n")
        asked.flush()
        head = answer.readline().split()
        if not head:
            self._end("--batch")
        if len(head) != 3 or head[1] == b"missing":
            return None
        body = answer.read(int(head[2]))
        answer.read(1)
        return body

    def folder(self, object_id: str) -> dict[bytes, Node]:
        """What a folder has, by name, in git's order. Raises `Malformed` if this clone does not have it."""
        raw = self.read(object_id)
        if raw is None:
            raise Malformed(
                f"this clone does not have the folder {object_id}",
                FETCH_ALL_OR_CHECK,
                code="missing_tree",
            )
        width = len(object_id) // 2
        found, at = {}, 0
        while at < len(raw):
            space, end = raw.index(b" ", at), raw.index(b"\0", at)
            found[raw[space + 1 : end]] = Node(raw[at:space].decode().zfill(6), raw[end + 1 : end + 1 + width].hex())
            at = end + 1 + width
        return found

    def sizes(self, ids: Iterable[str]) -> Iterator[int]:
        """The size of each object in bytes, `LACKING` of one that this clone does not have."""
        rest = iter(ids)
        while some := list(islice(rest, AT_ONCE)):
            while some:
                found = self._sizes(some)
                yield from found
                del some[: len(found)]

    def _sizes(self, ids: Sequence[str]) -> list[int]:
        """The sizes of the first of ``ids``, up to one at which git ended, if it did."""
        asked, answer = self._process("--batch-check")
        asked.write("".join(f"{one}\n" for one in ids).encode())
        asked.flush()
        found = []
        for _ in ids:
            head = answer.readline().split()
            found.append(int(head[2]) if len(head) == 3 else LACKING)
            if not head:
                self._end("--batch-check")
                break
        return found

    def entries(self, object_id: str, path: str) -> list[Entry]:
        """All that is below a folder, which is at ``path`` of the commit, and no folder itself. Sizes are left zero."""
        found: list[Entry] = []
        for raw, node in self.folder(object_id).items():
            name = raw.decode("utf-8", "surrogateescape")
            below = f"{path}/{name}" if path else name
            if node.mode == FOLDER:
                found += self.entries(node.object_id, below)
            else:
                found.append(Entry(below, node.mode, node.object_id, 0))
        return found


class Blobs:
    """Blobs one after the other, as ``git cat-file --batch`` gives them.

    Both ways to read them raise `Malformed` if this clone lacks one, and `Conflict` if git ends in the middle of one.
    """

    def __init__(self, output: BinaryIO) -> None:
        self._output = output

    def read(self, entry: Entry, chunk: int = 1024 * 1024) -> Iterator[bytes]:
        """The bytes of the next blob, which is ``entry``'s, in chunks."""
        if self._output.readline() != _head(entry):
            raise _lacking(entry)
        left = entry.size
        while left:
            piece = self._output.read(min(chunk, left))
            if not piece:
                raise _broken_off(entry)
            left -= len(piece)
            yield piece
        self._output.read(1)

    def read_whole(self, entries: Sequence[Entry]) -> list[bytes]:
        """The bytes of the next blobs, which are those of ``entries``: read at once, and held."""
        heads = [_head(entry) for entry in entries]
        raw = self._output.read(sum(map(len, heads)) + sum([entry.size + 1 for entry in entries]))
        found, at = [], 0
        for entry, head in zip(entries, heads, strict=True):
            start = at + len(head)
            at = start + entry.size + 1
            if not raw.startswith(head, start - len(head)):
                raise _lacking(entry)
            if at > len(raw):
                raise _broken_off(entry)
            found.append(raw[start : at - 1])
        return found


def _head(entry: Entry) -> bytes:
    """The line that git writes before a blob which is there."""
    return f"{entry.object_id} blob {entry.size}\n".encode()


def _lacking(entry: Entry) -> Malformed:
    return Malformed(
        f"{entry.path!r}: this clone does not have its content ({entry.object_id})",
        FETCH_ALL_OR_CHECK,
        code="missing_blob",
    )


def _broken_off(entry: Entry) -> Conflict:
    return Conflict(f"{entry.path!r}: git ended in the middle of its content", "run it again")
