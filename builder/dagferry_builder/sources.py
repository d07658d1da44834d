"""What a build reads: for each file of the tree, its path and where its bytes are in git."""

from __future__ import annotations

import heapq
import io
from typing import TYPE_CHECKING, Final, NamedTuple

from dagferry_schemas import compression

from .objects import EXECUTABLE, Entry

if TYPE_CHECKING:
    from collections.abc import Iterator


class Source(NamedTuple):
    """One file to pack: its path in the tree, and where its bytes are."""

    path: str
    executable: bool
    entry: Entry


FEW: Final = 16 * 1024
"""Files that are kept as they are."""


class Sources:
    """Files to pack, in the order of the tree, as often as they are asked for.

    More than a few are kept compressed, apart from those that links led to: at some 40 bytes a file instead of 400, a
    commit of any size fits.
    """

    def __init__(self) -> None:
        self._few: list[Source] = []
        self._writer: compression.Compressor | None = None
        self._stored = b""
        self._linked: list[Source] = []
        self._count = 0

    def add(self, source: Source) -> None:
        """Take the next file, in the order of the commit."""
        self._count += 1
        if self._writer is None and len(self._few) < FEW:
            self._few.append(source)
            return
        if self._writer is None:
            self._writer = compression.Compressor()
            for one in self._few:
                self._writer.add(_record(one))
            self._few = []
        self._writer.add(_record(source))

    def add_linked(self, source: Source) -> None:
        """Take a file that a link led to, in any order."""
        self._linked.append(source)
        self._count += 1

    def close(self) -> None:
        """No more files come."""
        if self._writer is not None:
            self._stored, self._writer = self._writer.finish(), None
        self._linked.sort(key=_in_bytes)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Source]:
        if not self._linked:
            return self._straight()
        return heapq.merge(self._straight(), self._linked, key=_in_bytes)

    def _straight(self) -> Iterator[Source]:
        return self._decoded() if self._stored else iter(self._few)

    def _decoded(self) -> Iterator[Source]:
        rest: list[str] = []
        tail = b""
        for chunk in compression.plain_chunks(io.BytesIO(self._stored), "the selection"):
            whole, end, tail = (tail + chunk).rpartition(b"\0")
            if not end:
                continue
            rest += whole.decode("utf-8", "surrogateescape").split("\0")
            count = len(rest) - len(rest) % 5
            for at in range(0, count, 5):
                path, origin, mode, object_id, size = rest[at : at + 5]
                yield Source(path, mode == EXECUTABLE, Entry(origin, mode, object_id, int(size)))
            del rest[:count]


def _record(source: Source) -> bytes:
    entry = source.entry
    fields = (source.path, entry.path, entry.mode, entry.object_id, str(entry.size), "")
    return "\0".join(fields).encode("utf-8", "surrogateescape")


def _in_bytes(source: Source) -> bytes:
    # git's order. That of characters is another one where a path is not UTF-8, which is told only after all are there.
    return source.path.encode("utf-8", "surrogateescape")
