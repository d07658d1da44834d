"""The folder of one agent: releases, the link that says which one is live, and what each release must be.

::

    <root>/current -> releases/<tree, 16 hex>    what Airflow reads; this link and nothing else says what is live
    <root>/releases/<tree, 16 hex>/              files 0444 or 0555, folders 0755
    <root>/staging/                              unique names; whatever is in it is rubbish
    <root>/lists/<tree, 64 hex>.zst              what the release must be: its file list, as it was stored
    <root>/lists/<tree, 64 hex>.marks            what we wrote: inode and mtime of each file, in the list's order
    <root>/lock                                  held while anything here is changed

A release comes into being by one rename of a finished folder, and goes by one rename into ``staging``. A release's
files are never written to; a file that needs a new time is replaced by a new inode with the same bytes.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import io
import itertools
import os
import secrets
import shutil
import stat
import struct
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dagferry_schemas import compression
from dagferry_schemas.errors import Corrupt, DagferryError, MachineFault
from dagferry_schemas.names import hex_of, short_tree
from dagferry_schemas.tree import MAX_FILES, MAX_LINE, Tree, read_files
from dagferry_storage import disk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dagferry_schemas.tree import TreeFile

CURRENT: Final = "current"
CACHE: Final = "__pycache__"
"""Folders of this name are Python's: they are no part of a release."""
_MARK: Final = struct.Struct("<QQ")


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

    def add(self, mark: Mark) -> None:
        """Append the mark of the next file."""
        self._compressor.add(_MARK.pack(mark.inode, mark.mtime))

    def finish(self) -> bytes:
        """The marks as they are stored; no more come."""
        return self._compressor.finish()


@dataclass(frozen=True)
class Release:
    """A release on this disk, as it must be: its folder, its tree, and its files' marks as stored (None if unknown)."""

    folder: Path
    tree: Tree
    marks: bytes | None

    def files(self) -> Iterator[tuple[TreeFile, Mark | None]]:
        """Each file in the order of the list, with its mark."""
        return zip(self.tree.files, _read_marks(self.marks) if self.marks else itertools.repeat(None), strict=False)


def _read_marks(stored: bytes) -> Iterator[Mark]:
    # A chunk is a multiple of a mark.
    for chunk in compression.plain_chunks(io.BytesIO(stored), "marks", size=4096 * _MARK.size):
        yield from (Mark(*pair) for pair in _MARK.iter_unpack(chunk))


class Root:
    """The folder of one agent."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.releases = path / "releases"
        self.staging = path / "staging"
        self._lists = path / "lists"

    def prepare(self) -> None:
        """Make the folders, and throw away what a crash left behind. Raises `MachineFault`."""
        with disk.doing(f"preparing {self.path}"):
            for folder in (self.path, self.releases, self.staging, self._lists):
                _make(folder)
            devices = {folder.stat().st_dev for folder in (self.path, self.releases, self.staging, self._lists)}
        if len(devices) > 1:
            raise MachineFault(
                f"{self.path}: releases, staging and lists lie on different file systems",
                "a release is activated by rename, which needs one: mount the whole root, not folders inside it",
            )
        with self.lock(), disk.doing(f"cleaning {self.staging}"):
            for left in self.staging.iterdir():
                erase(left)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the root against other agents; waits for one that is at work. Raises `MachineFault`."""
        with disk.doing(f"locking {self.path}"):
            descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            except BaseException:
                os.close(descriptor)
                raise
        try:
            yield
        finally:
            os.close(descriptor)

    def live(self) -> str | None:
        """The release folder that the link names, or None."""
        try:
            target = str((self.path / CURRENT).readlink())
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise disk.fault(error, f"reading the link {self.path / CURRENT}") from error
            raise MachineFault(
                f"{self.path / CURRENT} is not a link",
                "the agent owns this name: move what is there away",
                code="not_a_link",
            ) from error
        folder, _, name = target.rpartition("/")
        return name if folder == self.releases.name else None

    def switch(self, short: str, *, durable: bool) -> None:
        """Make ``short`` live: one rename over the link. Raises `OSError`."""
        temporary = self.path / f".{CURRENT}.{secrets.token_hex(8)}"
        temporary.symlink_to(f"{self.releases.name}/{short}")
        try:
            temporary.rename(self.path / CURRENT)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        if durable:
            disk.sync_folder(self.path)

    def names(self) -> list[str]:
        """The release folders on this disk, sorted."""
        with disk.doing(f"reading {self.releases}"), suppress(FileNotFoundError):
            return sorted(entry.name for entry in self.releases.iterdir() if entry.is_dir())
        return []

    def find(self, short: str) -> Release | None:
        """The release ``short`` with what it must be, or None if either is not there or not readable."""
        folder = self.releases / short
        try:
            listed = list(self._lists.glob(f"{short}*.zst"))
            if len(listed) != 1 or not folder.is_dir():
                return None
            tree = read_files(lambda: listed[0].open("rb"), str(listed[0]), limit=MAX_FILES * MAX_LINE)
        except (OSError, DagferryError):
            return None
        if hex_of(tree.digest) != listed[0].stem:
            return None
        return Release(folder, tree, self._marks(tree))

    def _marks(self, tree: Tree) -> bytes | None:
        path, size = self._lists / f"{hex_of(tree.digest)}.marks", _MARK.size * len(tree.files)
        try:
            stored = path.read_bytes()
            found = sum(map(len, compression.plain_chunks(io.BytesIO(stored), str(path), limit=size)))
        except (OSError, Corrupt):
            return None
        return stored if found == size else None

    def write_marks(self, tree: Tree, marks: bytes, *, durable: bool) -> None:
        """Remember what was written. Raises `OSError`."""
        disk.write_whole(self._lists / f"{hex_of(tree.digest)}.marks", marks, durable=durable)

    def write_list(self, tree: Tree, *, durable: bool) -> None:
        """Remember what a release must be: its file list, as stored. Raises `OSError`."""
        disk.write_whole(self._lists / f"{hex_of(tree.digest)}.zst", tree.files.stored, durable=durable)

    def add(self, staged: Path, tree: Tree, marks: bytes, *, durable: bool) -> Release:
        """Turn a finished, flushed folder of ``staging`` into a release. Raises `OSError`."""
        self.write_marks(tree, marks, durable=durable)
        self.write_list(tree, durable=durable)
        folder = self.releases / short_tree(tree.digest)
        if folder.exists():
            self._put_aside(folder)
        staged.rename(folder)
        if durable:
            disk.sync_folder(self.releases)
        return Release(folder, tree, marks)

    def remove(self, short: str) -> None:
        """Remove a release that nobody needs: out of sight by one rename, then file by file. Raises `OSError`."""
        aside = self._put_aside(self.releases / short)
        for path in self._lists.glob(f"{short}*"):
            path.unlink(missing_ok=True)
        erase(aside)

    def _put_aside(self, folder: Path) -> Path:
        aside = self.staging / f"old-{folder.name}.{secrets.token_hex(8)}"
        folder.rename(aside)
        return aside

    def new_staging(self, short: str) -> Path:
        """A fresh, empty folder below ``staging``. Raises `OSError`."""
        folder = self.staging / f"{short}.{secrets.token_hex(8)}"
        folder.mkdir(mode=0o755)
        folder.chmod(0o755)  # whatever the umask is
        return folder


def _make(folder: Path) -> None:
    """Make a folder that Airflow's user can read, whatever the umask is; one that is there stays as it is."""
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)


def find_drift(release: Release) -> tuple[str, ...]:
    """The paths at which a release is not what it must be: missing, changed or extra; ``__pycache__`` does not count.

    Every byte is read. Raises `MachineFault` if the folder cannot be read at all.
    """
    wrong = []
    with disk.doing(f"verifying {release.folder}"):
        # Both come in the same order, so that neither has to be kept.
        there = _walk(release.folder)
        found = next(there, None)
        for file in release.tree.files:
            while found is not None and found < file.path:
                wrong.append(found)
                found = next(there, None)
            if found != file.path:
                wrong.append(file.path)
                continue
            found = next(there, None)
            if not _is(release.folder / file.path, file):
                wrong.append(file.path)
        if found is not None:
            wrong += [found, *there]
    return tuple(wrong)


def _walk(folder: Path, below: str = "") -> Iterator[str]:
    """The paths of all files and links below ``folder`` in the order of a tree, without Python's caches."""
    with os.scandir(folder / below) as entries:
        found = [entry.name + ("/" if entry.is_dir(follow_symlinks=False) else "") for entry in entries]
    for name in sorted(found):
        if not name.endswith("/"):
            yield below + name
        elif name != f"{CACHE}/":
            yield from _walk(folder, below + name)


def _is(path: Path, file: TreeFile) -> bool:
    """Whether ``path`` is a regular file with the bytes and the x bit of ``file``."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    with os.fdopen(descriptor, "rb") as opened:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_size != file.size:
            return False
        if bool(found.st_mode & 0o100) != file.executable:
            return False
        hashed = hashlib.sha256()
        for chunk in iter(lambda: opened.read(compression.CHUNK), b""):
            hashed.update(chunk)
        return hashed.hexdigest() == file.sha256


def erase(path: Path) -> None:
    """Remove a file, a link or a whole folder. Raises `OSError`."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
