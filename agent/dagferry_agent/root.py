"""The folder of one agent: releases, the link that says which one is live, and what each release must be.

::

    <root>/current -> releases/<tree, 16 hex>    what Airflow reads; this link and nothing else says what is live
    <root>/releases/<tree, 16 hex>/              files 0444 or 0555, folders 0755
    <root>/staging/                              unique names; whatever is in it is rubbish
    <root>/lists/<tree, 64 hex>.zst              what the release must be: its file list, as it was stored
    <root>/lists/<tree, 64 hex>.marks            what we wrote: inode and mtime of each file, in the list's order
    <root>/locks/<tree, 16 hex>                  held, shared, by whoever reads a release that is not live
    <root>/lock, <root>/active                   see `locking`

A release comes into being by one rename of a finished folder, and goes by one rename into ``staging``. A release's
files are never written to; a file that needs a new time is replaced by a new inode with the same bytes.

The folders of a root are as open to other users as the root itself: an init container and a sidecar may have different
user ids where both may write to the volume (a group of the pod, ``fsGroup``, or a folder that is open to all).
"""

from __future__ import annotations

import errno
import io
import logging
import os
import secrets
import shutil
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from dagferry_schemas import compression
from dagferry_schemas.errors import Corrupt, DagferryError, MachineFault
from dagferry_schemas.names import SHORT_TREE, hex_of, short_tree
from dagferry_schemas.tree import MAX_LIST, Tree, read_files
from dagferry_storage import disk

from . import locking
from .releases import MARK_BYTES, Release

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

log = logging.getLogger(__name__)
CURRENT: Final = "current"
_OPEN: Final = 0o2022
"""The mode bits that the folders of a root take over from it: for its group, for all, and whose group files get."""


class Root:
    """The folder of one agent."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.releases = path / "releases"
        self.staging = path / "staging"
        self._lists = path / "lists"
        self._locks = path / "locks"

    def prepare(self) -> None:
        """Make the folders. Raises `MachineFault`, also where locks keep nobody off."""
        folders = (self.path, self.releases, self.staging, self._lists, self._locks)
        with disk.doing(f"preparing {self.path}"):
            for folder in folders:
                self._make(folder)
        self.require_one_volume()
        locking.require_locks(self.path / "lock")

    def require_one_volume(self) -> None:
        """See to it that what there is of the root lies on one file system. Raises `MachineFault`."""
        folders = (self.path, self.releases, self.staging, self._lists, self._locks)
        with disk.doing(f"reading {self.path}"):
            devices = {folder.stat().st_dev for folder in folders if folder.exists()}
        if len(devices) > 1:
            raise MachineFault(
                f"{self.path}: releases, staging and lists lie on different file systems",
                "a release is activated by rename, which needs one: mount the whole root, not folders inside it",
            )

    def _make(self, folder: Path) -> None:
        """Make a folder that Airflow's user can read, whatever the umask is; one that is there stays as it is."""
        if not folder.is_dir():
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o755 | (self.path.stat().st_mode & _OPEN))

    def clean(self) -> None:
        """Throw away what a crash left behind. Raises `MachineFault`."""
        with self.lock(), disk.doing(f"cleaning {self.path}"):
            names = set(self.names())
            left = [*self.staging.iterdir(), *(path for path in self.path.iterdir() if _is_temporary(path.name))]
            for folder in (self._lists, self._locks):
                left += [path for path in folder.iterdir() if path.name[:SHORT_TREE] not in names]
            for path in left:
                try:
                    erase(path)
                except PermissionError as error:
                    log.warning("%s stays: it belongs to another user (%s)", path, error.strerror)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the root against other agents; waits for one that is at work. Raises `MachineFault`."""
        with locking.held(self.path / "lock"):
            yield

    def lock_of(self, short: str) -> Path:
        """The lock that keeps the release ``short`` on the disk while somebody holds it, shared."""
        return self._locks / short

    @property
    def active(self) -> Path:
        """The lock of the agent that follows the channel."""
        return self.path / "active"

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
            match list(self._lists.glob(f"{short}*.zst")):
                case [listed] if folder.is_dir():
                    tree = read_files(lambda: listed.open("rb"), str(listed), limit=MAX_LIST)
                case _:
                    return None
        except (OSError, DagferryError):
            return None
        if hex_of(tree.digest) != listed.stem:
            return None
        return Release(folder, tree, self._marks(tree))

    def _marks(self, tree: Tree) -> bytes | None:
        path, size = self._lists / f"{hex_of(tree.digest)}.marks", MARK_BYTES * len(tree.files)
        try:
            stored = path.read_bytes()
            found = sum(map(len, compression.plain_chunks(io.BytesIO(stored), str(path), limit=size)))
        except (OSError, Corrupt):
            return None
        return stored if found == size else None

    def write_marks(self, tree: Tree, marks: bytes, *, durable: bool) -> None:
        """Remember what was written. Raises `OSError`."""
        disk.write_whole(self._lists / f"{hex_of(tree.digest)}.marks", marks, exact=True, durable=durable)

    def write_list(self, tree: Tree, *, durable: bool) -> None:
        """Remember what a release must be: its file list, as stored. Raises `OSError`."""
        disk.write_whole(self._lists / f"{hex_of(tree.digest)}.zst", tree.files.stored, exact=True, durable=durable)

    def add(self, staged: Path, tree: Tree, marks: bytes, *, durable: bool) -> Release:
        """Turn a finished, flushed folder of ``staging`` into a release. Raises `OSError`."""
        self.write_marks(tree, marks, durable=durable)
        self.write_list(tree, durable=durable)
        folder = self.releases / short_tree(tree.digest)
        if folder.exists():
            self._put_aside(folder)
        locking.make(self.lock_of(folder.name))  # first: a kill must not leave a release that nobody can hold
        staged.rename(folder)
        if durable:
            disk.sync_folder(self.releases)
        return Release(folder, tree, marks)

    def remove(self, short: str) -> bool:
        """Remove a release that nobody needs: out of sight by one rename, then file by file. Raises `OSError`.

        Returns False, and nothing happens, while somebody holds its lock.
        """
        lock = locking.try_take(self.lock_of(short))
        if lock is None:
            return False
        try:
            aside = self._put_aside(self.releases / short)
            for path in self._lists.glob(f"{short}*"):
                path.unlink()
            self.lock_of(short).unlink()
        finally:
            os.close(lock)
        erase(aside)
        return True

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


def _is_temporary(name: str) -> bool:
    """Whether a name in a root is one that was to be renamed: of the link, the memory or a list."""
    return name.startswith((f".{CURRENT}.", ".state.json."))


def erase(path: Path) -> None:
    """Remove a file, a link or a whole folder. Raises `OSError`."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
