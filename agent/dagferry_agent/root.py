"""The folder of one agent: releases, the link that says which one is live, and what each release must be.

::

    <root>/current -> releases/<tree, 16 hex>    what Airflow reads; this link and nothing else says what is live
    <root>/releases/<tree, 16 hex>/              files 0444 or 0555, folders 0755
    <root>/staging/                              unique names; whatever is in it is rubbish
    <root>/lists/                                what each release must be, and what we wrote (`lists`)
    <root>/locks/<tree, 16 hex>                  held, shared, by whoever reads a release that is not live
    <root>/lock, <root>/active                   see `locking`
    <root>/events/                               what webhooks were told, and are to be told (`reporting`)

A release comes into being by one rename of a finished folder, and goes by one rename into ``staging``. A release's
files are never written to; a file that needs a new time is replaced by a new inode with the same bytes.

The folders of a root are as open to other users as the root itself: an init container and a sidecar may have different
user ids where both may write to the volume (a group of the pod, ``fsGroup``, or a folder that is open to all).
"""

from __future__ import annotations

import errno
import logging
import os
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dagferry_schemas.errors import MachineFault
from dagferry_schemas.names import SHORT_TREE, short_tree
from dagferry_storage import disk

from . import locking
from .lists import Change, Lists
from .releases import Release

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from dagferry_schemas.tree import Tree

log = logging.getLogger(__name__)
AT_ONCE: Final = 16
"""Files that are removed between two moments at which something else may be done."""
CURRENT: Final = "current"
PREPARED: Final = "next-"
"""How folders in ``staging`` begin that are used some time after they were made."""
_OPEN: Final = 0o2022
"""The mode bits that the folders of a root take over from it: for its group, for all, and whose group files get."""


class Root:
    """The folder of one agent."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.releases = path / "releases"
        self.staging = path / "staging"
        self._listed = path / "lists"
        self.lists = Lists(self._listed)
        self._locks = path / "locks"
        self._link = str(path / CURRENT)

    def prepare(self) -> None:
        """Make the folders. Raises `MachineFault`, also where locks keep nobody off."""
        folders = (self.path, self.releases, self.staging, self._listed, self._locks)
        with disk.doing(f"preparing {self.path}"):
            for folder in folders:
                self._make(folder)
        self.require_one_volume()
        locking.require_locks(self.path / "lock")

    def require_one_volume(self) -> None:
        """See to it that what there is of the root lies on one file system. Raises `MachineFault`."""
        folders = (self.path, self.releases, self.staging, self._listed, self._locks)
        with disk.doing(f"reading {self.path}"):
            devices = {folder.stat().st_dev for folder in folders if folder.exists()}
        if len(devices) > 1:
            raise MachineFault(
                f"{self.path}: releases, staging and lists lie on different file systems",
                "a release is activated by rename, which needs one: mount the whole root, not folders inside it",
            )

    def add_folder(self, *names: str) -> Path:
        """A folder inside the root, as open as the others; it may be there already. Raises `OSError`."""
        folder = self.path.joinpath(*names)
        self._make(folder)
        return folder

    def _make(self, folder: Path) -> None:
        """Make a folder that Airflow's user can read, whatever the umask is; one that is there stays as it is."""
        if not folder.is_dir():
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o755 | (self.path.stat().st_mode & _OPEN))

    def clean(self) -> None:
        """Throw away what a crash left behind. Raises `MachineFault`."""
        with self.lock(), disk.doing(f"cleaning {self.path}"):
            names = set(self.names())
            left = [self._withdrawn(path) for path in self.staging.iterdir()]
            left += [path for path in self.path.iterdir() if _is_temporary(path.name)]
            for folder in (self._listed, self._locks):
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
            target = os.readlink(self._link)  # noqa: PTH115 (asked several times by each pull)
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
        temporary = self.path / f".{CURRENT}.{disk.unique()}"
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
        return self.lists.find(folder) if folder.is_dir() else None

    def add(self, staged: Path, tree: Tree, marks: bytes, *, durable: bool) -> Release:
        """Turn a finished, flushed folder of ``staging`` into a release. Raises `OSError`."""
        self.lists.write_marks(tree, marks, durable=durable)
        self.lists.write(tree, durable=durable)
        return Release(self._place(staged, tree.digest, durable=durable), tree, marks)

    def add_edited(self, staged: Path, tree: str, change: Change, *, durable: bool) -> Path:
        """Turn a copy that was edited into the release of a tree, as `add` does; its folder. Raises `OSError`."""
        self.lists.write_change(tree, change, durable=durable)
        return self._place(staged, tree, durable=durable)

    def _place(self, staged: Path, tree: str, *, durable: bool) -> Path:
        folder = self.releases / short_tree(tree)
        if folder.exists():
            self._put_aside(folder)
        locking.make(self.lock_of(folder.name))  # first: a kill must not leave a release that nobody can hold
        staged.rename(folder)
        if durable:
            disk.sync_folder(self.releases)
        return folder

    def remove(self, short: str) -> bool:
        """Remove a release that nobody needs; False, and nothing happens, while somebody holds its lock.

        Raises `OSError`.
        """
        aside = self.withdraw(short)
        if aside is not None:
            erase(aside)
        return aside is not None

    def withdraw(self, short: str) -> Path | None:
        """Take a release that nobody needs out of sight, by one rename; what is to be erased then.

        Returns None, and nothing happens, while somebody holds its lock. Raises `OSError`.
        """
        lock = locking.try_take(self.lock_of(short))
        if lock is None:
            return None
        try:
            self.lists.settle_those_on(short, self.releases)
            aside = self._put_aside(self.releases / short)
            self.lists.remove(short)
            self.lock_of(short).unlink()
        finally:
            os.close(lock)
        return aside

    def _put_aside(self, folder: Path) -> Path:
        aside = self.staging / f"old-{folder.name}.{disk.unique()}"
        folder.rename(aside)
        return aside

    def _withdrawn(self, path: Path) -> Path:
        """What is in ``staging``; what was prepared under another name: who did so may still live, and is not to take
        what is half removed for the whole.
        """
        return self._put_aside(path) if path.name.startswith(PREPARED) else path

    def new_staging(self, short: str) -> Path:
        """A fresh, empty folder below ``staging``. Raises `OSError`."""
        folder = self.staging / f"{short}.{disk.unique()}"
        folder.mkdir(mode=0o755)
        folder.chmod(0o755)  # whatever the umask is
        return folder


def _is_temporary(name: str) -> bool:
    """Whether a name in a root is one that was to be renamed: of the link, the memory or a list."""
    return name.startswith((f".{CURRENT}.", ".state.json."))


def erasing(folder: Path) -> Generator[None]:
    """Remove a folder that nobody uses, a few files at a time. Raises `OSError`."""
    for path, folders, files in os.walk(folder, topdown=False):
        for number, name in enumerate(files):
            (Path(path) / name).unlink()
            if number % AT_ONCE == AT_ONCE - 1:
                yield
        for name in folders:
            if (Path(path) / name).is_symlink():
                (Path(path) / name).unlink()
            else:
                (Path(path) / name).rmdir()
        yield
    folder.rmdir()


def erase(path: Path) -> None:
    """Remove a file, a link or a whole folder. Raises `OSError`."""
    if path.is_dir() and not path.is_symlink():
        import shutil

        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
