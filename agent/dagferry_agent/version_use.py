"""Who uses which version of a bundle, by the files that Airflow itself keeps (``_tracking/<bundle>/<version>``).

Airflow writes there when a task last began with a version, holds a shared lock on the file while the task runs, and
removes a version that was not used for long if it gets the exclusive lock. So does this module: who holds a version
keeps both off, and a version goes together with its file, which would make Airflow's own clean-up fail if it stayed.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Hold:
    """A version that nobody removes, until this is closed or forgotten."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def close(self) -> None:
        """Let go."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __del__(self) -> None:
        self.close()


class VersionUse:
    """The tracking files in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def hold(self, version: str) -> Hold | None:
        """Keep everybody from removing that version; None where nothing can be written. Waits for who removes it."""
        path = self._folder / version
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            while True:
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
                held = Hold(descriptor)
                fcntl.flock(descriptor, fcntl.LOCK_SH)
                if _is_at(descriptor, path):
                    break  # else it was removed meanwhile
            if os.fstat(descriptor).st_size == 0:
                os.write(descriptor, datetime.now(timezone.utc).isoformat().encode())
        except OSError:
            return None
        return held

    def last(self, version: str) -> float | None:
        """When a use of that version was last written down, in seconds since 1970; None if it never was."""
        try:
            return datetime.fromisoformat((self._folder / version).read_text(encoding="utf-8").strip()).timestamp()
        except (OSError, ValueError):
            return None

    @contextmanager
    def unused(self, version: str) -> Iterator[bool]:
        """Whether nobody holds that version; if so, nobody can until the end of the block, and its file is removed."""
        path = self._folder / version
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            yield True  # Airflow never heard of it
            return
        except OSError:  # another user's, or nothing can be written here
            yield False
            return
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
            path.unlink(missing_ok=True)
        finally:
            os.close(descriptor)


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
