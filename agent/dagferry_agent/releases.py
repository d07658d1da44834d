"""A release: its folder, what it must be, what we wrote, and at which paths it is not what it must be."""

from __future__ import annotations

import io
import itertools
import struct
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from dagferry_schemas import compression

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from dagferry_schemas.tree import Tree, TreeFile
    from dagferry_schemas.tree_index import TreeIndex

_MARK: Final = struct.Struct("<QQ")
MARK_BYTES: Final = _MARK.size
AT_ONCE: Final = 1024
"""Marks that are compressed at once."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Inode and mtime (nanoseconds) of a file as we left it: an edited file does not match."""

    inode: int
    mtime: int

    @classmethod
    def of(cls, found: os.stat_result) -> Mark:
        """The mark of a file as it is now."""
        return cls(found.st_ino, found.st_mtime_ns)


class Marks:
    """The marks of a release's files in the order of its list, compressed: what was written at once differs little."""

    def __init__(self) -> None:
        self._compressor = compression.Compressor()
        self._packed: list[bytes] = []

    def add(self, mark: Mark) -> None:
        """Append the mark of the next file."""
        self._packed.append(_MARK.pack(mark.inode, mark.mtime))
        if len(self._packed) == AT_ONCE:
            self._flush()

    def _flush(self) -> None:
        self._compressor.add(b"".join(self._packed))
        self._packed.clear()

    def finish(self) -> bytes:
        """The marks as they are stored; no more come."""
        self._flush()
        return self._compressor.finish()


@dataclass(frozen=True)
class Release:
    """A release on this disk, as it must be: its folder, its tree, and its files' marks as stored (None if unknown)."""

    folder: Path
    tree: Tree
    marks: bytes | None

    @property
    def is_marked(self) -> bool:
        """Whether the marks of its files are known."""
        return bool(self.marks)

    def files(self) -> Iterator[tuple[TreeFile, Mark | None]]:
        """Each file in the order of the list, with its mark."""
        return zip(self.tree.files, _read_marks(self.marks) if self.marks else itertools.repeat(None), strict=False)

    def renewed(self, fresh: Mapping[int, tuple[TreeFile, Mark]]) -> Release:
        """The same release where files were written anew, by their places in the list."""
        return replace(self, marks=_marked_anew(self.marks, fresh)) if self.marks else self


@dataclass(frozen=True)
class Edited(Release):
    """A release that differs from ``base`` in few files: the marks of those that were written are told.

    ``index`` is that of its tree; ``replaced`` are the paths that both have and that differ, ``gone`` those that only
    ``base`` has.
    """

    base: Release
    index: TreeIndex
    changed: Mapping[str, Mark]
    replaced: frozenset[str]
    gone: tuple[str, ...]

    @property
    def is_marked(self) -> bool:
        """Whether the marks of its files are known."""
        return self.base.is_marked

    def files(self) -> Iterator[tuple[TreeFile, Mark | None]]:
        """Each file in the order of the list, with its mark."""
        marks = _read_marks(self.base.marks) if self.base.marks else itertools.repeat(None)
        gone = iter(sorted(self.gone))
        next_gone = next(gone, None)
        for file in self.index:
            while next_gone is not None and next_gone < file.path:
                next(marks, None)
                next_gone = next(gone, None)
            mark = self.changed.get(file.path)
            if mark is None:
                mark = next(marks, None)
            elif file.path in self.replaced:
                next(marks, None)
            yield file, mark

    def renewed(self, fresh: Mapping[int, tuple[TreeFile, Mark]]) -> Release:
        """The same release where files were written anew, by their places in the list."""
        marks = {file.path: mark for file, mark in fresh.values()}
        if marks.keys() <= self.changed.keys():
            return replace(self, changed={**self.changed, **marks})
        return Release(self.folder, self.tree, collected(self)).renewed(fresh)  # `base` has some of them, too


class Known:
    """The files of a release and their marks, for somebody who asks for paths in the order of a tree."""

    def __init__(self, release: Release | None) -> None:
        self._files = release.files() if release else iter(())
        self._present = next(self._files, None)

    def at(self, path: str) -> tuple[TreeFile | None, Mark | None]:
        """The file of that path and its mark, as far as they are known."""
        while self._present is not None and self._present[0].path < path:
            self._present = next(self._files, None)
        if self._present is None or self._present[0].path != path:
            return None, None
        return self._present


def collected(release: Release) -> bytes | None:
    """The marks of a release as they are stored, None unless every file has one."""
    marks = Marks()
    for _, mark in release.files():
        if mark is None:
            return None
        marks.add(mark)
    return marks.finish()


def _marked_anew(stored: bytes, fresh: Mapping[int, tuple[TreeFile, Mark]]) -> bytes:
    """The stored marks with others at some places."""
    plain = bytearray(b"".join(compression.plain_chunks(io.BytesIO(stored), "marks")))
    for number, (_, mark) in fresh.items():
        _MARK.pack_into(plain, number * MARK_BYTES, mark.inode, mark.mtime)
    compressor = compression.Compressor()
    compressor.add(bytes(plain))
    return compressor.finish()


def _read_marks(stored: bytes) -> Iterator[Mark]:
    # A chunk is a multiple of a mark.
    for chunk in compression.plain_chunks(io.BytesIO(stored), "marks", size=4096 * _MARK.size):
        yield from (Mark(*pair) for pair in _MARK.iter_unpack(chunk))
