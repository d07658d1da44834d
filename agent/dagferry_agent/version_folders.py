"""Folders of versions, as Airflow's versioned bundles want them: each a real folder that is whole, or not there.

* A folder is filled out of sight, flushed, and comes into being by one rename, so whoever finds it may use it: looking
  costs one stat. Of two that make the same one, the second throws its own away.
* Its files are nobody else's: own inodes, writable for their owner, because Airflow's clean-up removes them like any
  others. What it must be is remembered beside it.
* Airflow parses what is newer than its last parse. A helper has no time of its own in that, so all that may be a DAG
  file gets the present as mtime whenever a version begins to be what the channel says.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from dagferry_schemas import fields as reading
from dagferry_schemas.errors import Malformed, Untrusted
from dagferry_schemas.version import check_format
from dagferry_storage import disk

from . import locking
from .renewing import DAG_FILES
from .staging import flush

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from dagferry_schemas.tree import TreeFile

_MAX_NOTE: Final = 4096
_FORMAT: Final = 1


class Written:
    """What a version's files get while they are unpacked: the modes of a user's own files, and the present as mtime."""

    def adopt(self, file: TreeFile, folder: int, name: str) -> bool:
        """Nothing is shared with other folders."""
        return False

    def finish(self, file: TreeFile, descriptor: int) -> None:
        """Give the file its mode."""
        os.fchmod(descriptor, 0o755 if file.executable else 0o644)

    def leave(self, folder: int) -> None:
        """Folders keep the time at which they were filled."""


class VersionFolders:
    """The versions in ``versions``; ``beside`` is a folder on the same file system for what is said about them."""

    def __init__(self, versions: Path, beside: Path) -> None:
        self._versions = versions
        self._staging = beside / "staging"
        self._notes = beside / "notes"
        self._locks = beside / "locks"

    def path(self, version: str) -> Path:
        """Where that version is, or would be."""
        return self._versions / version

    def has(self, version: str) -> bool:
        """Whether that version is there; one stat."""
        return self.path(version).is_dir()

    def add(self, version: str, tree: str, fill: Callable[[Path], None]) -> bool:
        """Have the version's folder; ``fill`` writes what it must be into an empty one. Whether it was made now.

        Processes that want the same version wait for the one that makes it. Raises `MachineFault`, `Untrusted` if
        the version is there with another tree, and what ``fill`` raises; then nothing is there that was not before.
        """
        self._prepare()
        with locking.held(self._locks / hashlib.sha256(version.encode()).hexdigest()[:2]):
            if self.has(version):
                self.require_same(version, tree)
                return False
            with disk.doing(f"making {self.path(version)}"):
                self._make(version, tree, fill)
            return True

    def _make(self, version: str, tree: str, fill: Callable[[Path], None]) -> None:
        fresh = self._staging / f"{os.urandom(8).hex()}"
        fresh.mkdir()
        try:
            fill(fresh)
            flush(fresh)
            note = reading.dump({"format": _FORMAT, "tree": tree})
            disk.write_whole(self._notes / version, note, exact=True, durable=True)
            fresh.rename(self.path(version))
            disk.sync_folder(self._versions)
        except BaseException:
            shutil.rmtree(fresh, ignore_errors=True)
            raise

    def require_same(self, version: str, tree: str) -> None:
        """Refuse a version that is there with another tree. Raises `Untrusted`."""
        known = self._tree(version)
        if known is not None and known != tree:
            raise Untrusted(
                f"version {version!r} is tree {tree}, but {self.path(version)} was made of tree {known}",
                "a version never changes: was another store or bundle used under this name? What is there stays; "
                "remove that folder if nobody needs it",
                code="wrong_identity",
            )

    def _tree(self, version: str) -> str | None:
        try:
            fields = reading.load((self._notes / version).read_bytes(), "note", limit=_MAX_NOTE)
            check_format(fields, _FORMAT)
            return fields.digest("tree")
        except (OSError, Malformed):
            return None

    def touch(self, version: str, files: Iterable[str] | None = None) -> None:
        """Let Airflow parse ``files`` of that version anew, or all that may be DAG files. Raises `MachineFault`."""
        now = time.time()
        with disk.doing(f"touching the files of {self.path(version)}"):
            for file in self._dag_files(version) if files is None else files:
                with suppress(FileNotFoundError, NotADirectoryError):
                    os.utime(self.path(version) / file, (now, now))

    def _dag_files(self, version: str) -> Iterator[str]:
        for folder, _, names in os.walk(self.path(version)):
            yield from (f"{folder}/{name}" for name in names if name.endswith(DAG_FILES))

    def names(self) -> list[str]:
        """The versions that are there. Raises `MachineFault`."""
        with disk.doing(f"reading {self._versions}"), suppress(FileNotFoundError):
            return sorted(entry.name for entry in self._versions.iterdir() if entry.is_dir())
        return []

    def made(self, version: str) -> float:
        """When that version's folder was made or last changed, in seconds since 1970; 0 if it is gone."""
        try:
            return self.path(version).stat().st_ctime
        except FileNotFoundError:
            return 0.0

    def put_aside(self, version: str) -> Path:
        """Take a version away, at once and as a whole; the path of what is to be removed. Raises `MachineFault`."""
        self._prepare()
        with disk.doing(f"removing {self.path(version)}"):
            aside = self._staging / f"old-{os.urandom(8).hex()}"
            self.path(version).rename(aside)
            (self._notes / version).unlink(missing_ok=True)
            return aside

    def clean(self, older_than: float) -> None:
        """Remove what nobody finished within so many seconds. Raises `MachineFault`."""
        with disk.doing(f"cleaning {self._staging}"), suppress(FileNotFoundError):
            for path in self._staging.iterdir():
                if path.stat().st_ctime < time.time() - older_than:
                    shutil.rmtree(path, ignore_errors=True)

    def _prepare(self) -> None:
        with disk.doing(f"preparing {self._versions}"):
            for folder in (self._versions, self._staging, self._notes, self._locks):
                folder.mkdir(parents=True, exist_ok=True)
