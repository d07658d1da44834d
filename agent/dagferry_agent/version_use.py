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
    from io import TextIOWrapper
    from pathlib import Path


class VersionUse:
    """The tracking files in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def hold(self, version: str) -> TextIOWrapper | None:
        """Keep everybody from removing that version until the file is closed; None where nothing can be written.

        Waits for who is removing it.
        """
        path = self._folder / version
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            while True:
                file = path.open("a+", encoding="utf-8")
                fcntl.flock(file, fcntl.LOCK_SH)
                if _is_at(file, path):
                    break
                file.close()  # it was removed meanwhile
            if os.fstat(file.fileno()).st_size == 0:
                file.write(datetime.now(timezone.utc).isoformat())
                file.flush()
        except OSError:
            return None
        return file

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
            file = path.open("r+", encoding="utf-8")
        except FileNotFoundError:
            yield True  # Airflow never heard of it
            return
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield True
            path.unlink(missing_ok=True)


def _is_at(file: TextIOWrapper, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
