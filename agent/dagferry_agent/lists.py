"""What each release of a root must be, beside the releases: its file list, and what we wrote.

::

    lists/<tree, 64 hex>.zst      the file list, as it was stored
    lists/<tree, 64 hex>.marks    inode and mtime of each file, in the list's order
    lists/<tree, 64 hex>.change   in place of both, for a while: what differs from another tree, whose list is here

A release that came by a delta has a change first: it is as small as the delta. Its list is written when there is time,
and then the change goes.
"""

from __future__ import annotations

import io
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from dagferry_schemas import compression
from dagferry_schemas.delta import MAX_CHANGES
from dagferry_schemas.errors import Corrupt, DagferryError, Malformed
from dagferry_schemas.names import SHORT_TREE, hex_of, short_tree
from dagferry_schemas.tree import MAX_LINE, MAX_LIST, Tree, decode_line, list_line, read_files
from dagferry_schemas.tree_index import TreeIndex
from dagferry_storage import disk

from .releases import MARK_BYTES, Edited, Mark, Release, collected

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from dagferry_schemas.tree import TreeFile

_FIRST: Final = b"dagferry change 1"
_MAX_CHANGE: Final = (MAX_CHANGES + 2) * (MAX_LINE + 42)


class Change(NamedTuple):
    """What a release has otherwise than one of the tree ``base``; None for a file that it has not. With its marks."""

    base: str
    files: Mapping[str, TreeFile | None]
    marks: Mapping[str, Mark]


class Lists:
    """The lists in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, tree: Tree, *, durable: bool) -> None:
        """Remember what a release must be: its file list, as stored. Raises `OSError`."""
        disk.write_whole(self._path(tree.digest, "zst"), tree.files.stored, exact=True, durable=durable)

    def write_marks(self, tree: Tree, marks: bytes, *, durable: bool) -> None:
        """Remember what was written, of a release of which all is known from now on. Raises `OSError`."""
        if self._path(tree.digest, "change").exists():
            self.settle(tree.digest, tree.files.stored, marks, durable=durable)
        else:
            disk.write_whole(self._path(tree.digest, "marks"), marks, exact=True, durable=durable)

    def write_told(self, release: Release, *, durable: bool) -> None:
        """Remember what was written of a release whose files have other marks than were told. Raises `OSError`."""
        tree = release.tree
        if not isinstance(release, Edited):
            self.write_marks(tree, release.marks or b"", durable=durable)
        elif self.is_settled(tree.digest) or len(release.changed) + len(release.gone) > MAX_CHANGES:
            self.settle(tree.digest, tree.files.stored, collected(release) or b"", durable=durable)
        else:
            files = {path: release.index.find(path) for path in release.changed} | dict.fromkeys(release.gone)
            self.write_change(tree.digest, Change(release.base.tree.digest, files, release.changed), durable=durable)

    def write_change(self, tree: str, change: Change, *, durable: bool) -> None:
        """Remember what differs from a release whose list is here. Raises `OSError`."""
        lines = [_FIRST + b"\n", f"base {hex_of(change.base)}\n".encode()]
        for path in sorted(change.files):
            file = change.files[path]
            if file is None:
                lines.append(f"- {path}\n".encode())
            else:
                mark = change.marks[path]
                lines.append(f"{mark.inode} {mark.mtime} {list_line(file)}".encode())
        content = compression.compress(b"".join(lines))
        disk.write_whole(self._path(tree, "change"), content, exact=True, durable=durable)

    def find(self, folder: Path) -> Release | None:
        """The release in ``folder``, with what it must be, or None if that is not there or not readable."""
        try:
            return self._find(folder)
        except FileNotFoundError:  # its change has just given way to its list
            with suppress(OSError, ValueError, DagferryError):
                return self._find(folder)
        except (OSError, ValueError, DagferryError):
            pass
        return None

    def _find(self, folder: Path) -> Release | None:
        match list(self._folder.glob(f"{folder.name}*.zst")), list(self._folder.glob(f"{folder.name}*.change")):
            case [listed], _:
                return self._whole(folder, listed)
            case [], [listed]:
                return self._changed(folder, listed)
        return None

    def settle(self, tree: str, listed: bytes, marks: bytes, *, durable: bool) -> None:
        """Remember all of a release of which there was a change. Raises `OSError`."""
        disk.write_whole(self._path(tree, "marks"), marks, exact=True, durable=durable)
        disk.write_whole(self._path(tree, "zst"), listed, exact=True, durable=durable)
        self._path(tree, "change").unlink(missing_ok=True)

    def is_settled(self, tree: str) -> bool:
        """Whether the list of that tree is here as a whole."""
        return self._path(tree, "zst").exists()

    def settle_those_on(self, short: str, releases: Path) -> None:
        """Remember all of each release in ``releases`` that is told by what the release ``short`` must be.

        Raises `OSError`.
        """
        for path in self._folder.glob("*.change"):
            release = self.find(releases / path.name[:SHORT_TREE])
            if isinstance(release, Edited) and release.base.folder.name == short:
                tree = release.tree
                self.settle(tree.digest, tree.files.stored, collected(release) or b"", durable=True)

    def remove(self, short: str) -> None:
        """Forget a release. Raises `OSError`."""
        for path in self._folder.glob(f"{short}*"):
            path.unlink()

    def _path(self, tree: str, kind: str) -> Path:
        return self._folder / f"{hex_of(tree)}.{kind}"

    def _whole(self, folder: Path, listed: Path) -> Release | None:
        tree = read_files(lambda: listed.open("rb"), str(listed), limit=MAX_LIST)
        if hex_of(tree.digest) != listed.stem:
            return None
        return Release(folder, tree, self._marks(tree))

    def _marks(self, tree: Tree) -> bytes | None:
        path, size = self._path(tree.digest, "marks"), MARK_BYTES * len(tree.files)
        try:
            stored = path.read_bytes()
            found = sum(map(len, compression.plain_chunks(io.BytesIO(stored), str(path), limit=size)))
        except (OSError, Corrupt):
            return None
        return stored if found == size else None

    def _changed(self, folder: Path, listed: Path) -> Release | None:
        change = self._read_change(listed)
        base = self._whole(folder.with_name(short_tree(change.base)), self._path(change.base, "zst"))
        if base is None:
            return None
        before = TreeIndex.of(base.tree.files)
        index = before.edited(change.files)
        return edited(folder, base, before, index, change) if hex_of(index.digest) == listed.stem else None

    def _read_change(self, path: Path) -> Change:
        """Raises `OSError`, `Malformed`, `Corrupt`."""
        plain = compression.decompress(path.read_bytes(), str(path), limit=_MAX_CHANGE)
        first, base, *lines = plain.split(b"\n")
        if first != _FIRST or not base.startswith(b"base ") or len(base) != 69:
            raise Malformed(f"{path}: not a change of a release")
        files: dict[str, TreeFile | None] = {}
        marks = {}
        for number, line in enumerate(lines[:-1], 3):
            if line.startswith(b"- "):
                files[line[2:].decode()] = None
                continue
            inode, mtime, rest = line.split(b" ", 2)
            file = decode_line(number, rest)
            files[file.path], marks[file.path] = file, Mark(int(inode), int(mtime))
        return Change(f"sha256:{base[5:].decode()}", files, marks)


def edited(folder: Path, base: Release, before: TreeIndex, after: TreeIndex, change: Change) -> Edited:
    """The release in ``folder`` that differs from ``base`` as ``change`` says; with the indexes of both."""
    replaced = frozenset(path for path in change.marks if before.find(path) is not None)
    gone = tuple(path for path, file in change.files.items() if file is None)
    return Edited(folder, after.tree(), None, base, after, change.marks, replaced, gone)
