"""Making a release: unchanged files linked to the release before, changed ones written, times and modes set, flushed.

* A link is kept only if the linked inode has the inode number, size and mtime that we left: an edited file never
  spreads. Where linking is refused (another user's file, another file system, too many links), the file is written as
  a copy with the time that it had, so that Airflow sees no change.
* A written file's mtime is the present, and at least one whole second away from that of the file it replaces: CPython
  trusts a .pyc by (mtime in seconds, size), and Airflow re-parses what is newer than its last parse.
* A folder's mtime is used once and never again, in milliseconds: CPython's import caches a folder's listing by it.
"""

from __future__ import annotations

import ctypes
import os
import stat
from typing import TYPE_CHECKING, BinaryIO, Final, NamedTuple

from dagferry_schemas.names import short_tree
from dagferry_storage import disk, unpack

from .releases import Known, Mark, Marks
from .root import erase

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dagferry_schemas.tree import Tree, TreeFile
    from dagferry_schemas.trust import VerifiedTarball

    from .releases import Release
    from .root import Root
    from .settings import Durability

FEW: Final = 64
"""With ``auto``, so many written files and folders are flushed one by one; more are flushed with their file system."""
_SECOND: Final = 1_000_000_000
_libc = ctypes.CDLL(None, use_errno=True)


class Work(NamedTuple):
    """Files of a release that were written, linked to the release before, and copied because linking was refused."""

    written: int = 0
    linked: int = 0
    copied: int = 0


class Staged(NamedTuple):
    """A release that was made, and what it took."""

    release: Release
    work: Work


class _Sink:
    """Decides for each file of a new release: link it to the release before, or write it."""

    def __init__(self, before: Release | None, stamp: int, *, sync: bool) -> None:
        self.linked = 0
        self.copied = 0
        self.written = 0
        self.marks = Marks()
        self._stamp = stamp * 1_000_000
        self._sync = sync
        self._known = Known(before)
        self._folder = os.open(before.folder, os.O_RDONLY | os.O_DIRECTORY) if before else -1
        self._before: Mark | None = None
        """The mark of what the release before has where the present file is."""
        self._is_refused = False
        """Whether the present file could not be linked, and is written as a copy."""

    def close(self) -> None:
        if self._folder >= 0:
            os.close(self._folder)

    def adopt(self, file: TreeFile, folder: int, name: str) -> bool:
        known, mark = self._known.at(file.path)
        self._before, self._is_refused = mark, False
        if known != file or mark is None:
            return False
        try:
            os.link(file.path, name, src_dir_fd=self._folder, dst_dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return False
        except OSError:
            self._is_refused = True
            return False
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if not stat.S_ISREG(found.st_mode) or found.st_size != file.size or Mark.of(found) != mark:
            os.unlink(name, dir_fd=folder)
            return False
        self.linked += 1
        self.marks.add(mark)
        return True

    def finish(self, file: TreeFile, descriptor: int) -> None:
        if self._is_refused and self._before is not None:
            mtime = self._before.mtime
            self.copied += 1
        else:
            mtime = fresh_mtime(self._stamp, self._before)
            self.written += 1
        self.marks.add(seal(file, descriptor, mtime, sync=self._sync))

    def leave(self, folder: int) -> None:
        os.utime(folder, ns=(self._stamp, self._stamp))
        if self._sync:
            os.fsync(folder)


def seal(file: TreeFile, descriptor: int, mtime: int, *, sync: bool) -> Mark:
    """Give a file that was written its mode and its time (nanoseconds), and flush it; its mark. Raises `OSError`."""
    os.fchmod(descriptor, 0o555 if file.executable else 0o444)
    os.utime(descriptor, ns=(mtime, mtime))
    if sync:
        os.fsync(descriptor)
    return Mark.of(os.fstat(descriptor))


def fresh_mtime(now: int, before: Mark | None) -> int:
    """``now`` (nanoseconds), moved to the second after ``before`` if that is not in the past by whole seconds."""
    if before is None or now // _SECOND > before.mtime // _SECOND:
        return now
    return (before.mtime // _SECOND + 1) * _SECOND


def stage(
    root: Root,
    tarball: VerifiedTarball,
    spool: BinaryIO,
    before: Release | None,
    *,
    stamp: int,
    durability: Durability,
) -> Staged:
    """Make the release of ``tarball``, and say what it took. Raises `Corrupt`, `MachineFault`.

    ``stamp`` is the present in milliseconds, greater than any that was used before. After an error nothing is left.
    """
    tree = tarball.tree.tree
    with disk.doing(f"staging in {root.staging}"):
        folder = root.new_staging(short_tree(tree.digest))
        try:
            return _fill(root, folder, tarball, spool, before, stamp, flushing_of(durability, tree, before))
        except BaseException:
            erase(folder)
            raise


def _fill(
    root: Root,
    folder: Path,
    tarball: VerifiedTarball,
    spool: BinaryIO,
    before: Release | None,
    stamp: int,
    flushing: Durability,
) -> Staged:
    sink = _unpack(folder, tarball, spool, before, stamp, sync=flushing == "fsync")
    if flushing == "syncfs":
        flush(folder)
    release = root.add(folder, tarball.tree.tree, sink.marks.finish(), durable=flushing != "none")
    return Staged(release, Work(sink.written, sink.linked, sink.copied))


def _unpack(
    folder: Path, tarball: VerifiedTarball, spool: BinaryIO, before: Release | None, stamp: int, *, sync: bool
) -> _Sink:
    sink = _Sink(before, stamp, sync=sync)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        unpack.unpack(tarball, spool, descriptor, sink)
    finally:
        os.close(descriptor)
        sink.close()
    return sink


def mend(
    root: Root,
    release: Release,
    wrong: Sequence[str],
    tarball: VerifiedTarball,
    spool: BinaryIO,
    *,
    stamp: int,
    durability: Durability,
) -> int:
    """Make a damaged release, which may be live, what it must be; how many files were put back.

    ``wrong`` is what `releases.find_drift` found. What does not belong is moved out by rename, what is missing or other
    is moved in by rename, as a new inode: at every moment a file is the damaged one or the right one. Raises `Corrupt`,
    `MachineFault`.
    """
    with disk.doing(f"mending {release.folder}"):
        asked = set(wrong)
        expected = {file.path for file in release.tree.files if file.path in asked}
        aside = root.new_staging(f"mend-{release.folder.name}")
        good = root.new_staging(release.folder.name)
        try:
            _unpack(good, tarball, spool, None, stamp, sync=durability != "none")
            for number, path in enumerate(path for path in wrong if path not in expected):
                (release.folder / path).rename(aside / str(number))
            back = [path for path in wrong if path in expected]
            for path in back:
                place = release.folder / path
                if place.is_dir():  # rename(2) does not replace a folder by a file
                    place.rename(aside / f"folder-{disk.unique()}")
                place.parent.mkdir(parents=True, exist_ok=True)
                (good / path).rename(place)
            for folder in {(release.folder / path).parent for path in wrong}:
                if folder.is_dir():
                    stamp_folder(folder, stamp, sync=durability != "none")
        finally:
            erase(aside)
            erase(good)
        root.lists.write_marks(release.tree, marks_of(release), durable=durability != "none")
    return len(back)


def marks_of(release: Release) -> bytes:
    """The marks of a release that was verified just now, as its files are. Raises `OSError`."""
    marks = Marks()
    for file in release.tree.files:
        marks.add(Mark.of((release.folder / file.path).stat(follow_symlinks=False)))
    return marks.finish()


def flushing_for(durability: Durability, count: int) -> Durability:
    """What ``auto`` comes to where so many files and folders are written."""
    if durability != "auto":
        return durability
    return "fsync" if count <= FEW else "syncfs"


def flushing_of(durability: Durability, tree: Tree, before: Release | None) -> Durability:
    """What ``auto`` comes to: fsync is kinder to the node for a few files, syncfs is much faster for many."""
    if durability != "auto":
        return durability
    known = Known(before)
    written = 0
    folders: set[str] = set()
    for file in tree.files:
        written += known.at(file.path)[0] != file
        folders.add(file.path.rpartition("/")[0])
        if written + len(folders) > FEW:
            return "syncfs"
    return "fsync"


def stamp_folder(folder: str | Path, stamp: int, *, sync: bool) -> None:
    """Give a folder its time, in milliseconds. Raises `OSError`."""
    os.utime(folder, ns=(stamp * 1_000_000,) * 2)
    if sync:
        disk.sync_folder(folder)


def flush(folder: Path) -> None:
    """Flush the whole file system of ``folder`` (syncfs(2)). Raises `OSError`."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if _libc.syncfs(descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(folder))
    finally:
        os.close(descriptor)
