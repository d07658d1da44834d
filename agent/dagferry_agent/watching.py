"""Notices what somebody writes into the live release by hand: the kernel tells (inotify), or it is looked through.

1. Only what writes is asked of the kernel. Airflow opens and reads all files all the time: nobody is to wake for it.
2. What comes within a short moment is told at once, as paths of the release; an editor's save is several events.
   Whoever is told verifies them: our own repairs are among them, too.
3. ``__pycache__`` does not count: Python writes there.
4. Where the kernel cannot (no watches left, a file system without them), that is said once for each reason, and the
   slow look through everything remains. It always remains: what other nodes write to a shared volume no inotify tells.
5. A release is followed from a thread of its own; who changes over to another one does not wait for that.
"""

from __future__ import annotations

import errno
import logging
import os
import threading
import time
from typing import TYPE_CHECKING, Final, Literal

from watchdog.events import (
    DirAttribEvent,
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileAttribEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer

from dagferry_schemas.commandline import plain
from dagferry_schemas.errors import DagferryError

from .drift import CACHE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from watchdog.events import FileSystemEvent
    from watchdog.observers.api import BaseObserver

    Changed = Callable[[frozenset[str]], None]

QUIET_SECONDS: Final = 0.3
"""From the first event until it is told."""
SWEEP_SECONDS: Final = 300.0
MANY: Final = 1000
"""Paths that are told one by one; beyond, everything is to be looked at."""
_WRITES: Final = [
    FileCreatedEvent,
    FileModifiedEvent,
    FileDeletedEvent,
    FileMovedEvent,
    FileAttribEvent,
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    DirAttribEvent,
]
_LIMITS: Final = {
    errno.ENOSPC: "raise fs.inotify.max_user_watches on the node: each folder of the release takes one",
    errno.EMFILE: "raise fs.inotify.max_user_instances on the node",
}

log = logging.getLogger(__name__)


class Watch:
    """Watches one release at a time, in a thread of its own.

    ``changed`` is told the paths at which something was written, relative to the release; an empty one stands for all.
    """

    def __init__(self, changed: Changed, *, sweep_seconds: float = SWEEP_SECONDS) -> None:
        self._changed = changed
        self._sweep_seconds = sweep_seconds
        self._news = threading.Condition()
        self._wanted: Path | None = None
        self._inode: int | None = None
        """Of ``_wanted``, when it was wanted; None if it was not there."""
        self._followed: Path | None = None
        self._observer: BaseObserver | None = None
        self._written: set[str] = set()
        self._since = 0.0
        self._swept = time.monotonic()
        self._stopping = False
        self._reported: set[int | None] = set()
        self._thread = threading.Thread(target=self._work, name="watch", daemon=True)
        self._thread.start()

    @property
    def kind(self) -> Literal["inotify", "sweep"] | None:
        """How edits are noticed now; None while there is nothing to watch.

        What the kernel tells of a release that is no longer wanted does not count.
        """
        with self._news:
            if self._wanted is None:
                return None
            return "inotify" if self._observer is not None and self._followed == self._wanted else "sweep"

    def follow(self, folder: Path | None) -> None:
        """Watch the release ``folder`` from now on, in place of the one before. Does not wait."""
        inode = _inode(folder)
        with self._news:
            if folder == self._wanted and inode == self._inode:
                return
            if folder == self._followed:
                self._followed = None  # another folder of that name: the kernel tells of the one before
            self._wanted, self._inode = folder, inode
            self._news.notify_all()

    def stop(self, seconds: float = 1.0) -> None:
        """Watch nothing any more, and wait so long for what is being told."""
        with self._news:
            self._stopping = True
            self._news.notify_all()
        self._thread.join(seconds)

    def note(self, folder: Path, path: str) -> None:
        """Something was written at ``path`` below ``folder``."""
        with self._news:
            if folder != self._followed or CACHE in path.split("/"):
                return
            if not self._written:
                self._since = time.monotonic()
                self._news.notify_all()
            self._written = {""} if len(self._written) >= MANY else self._written | {path}

    def _work(self) -> None:
        while (written := self._next()) is not None:
            try:
                self._change_over()
                if written:
                    self._changed(written)
            except DagferryError as error:
                log.warning("the live release was not looked at, it is watched on: %s", plain(error.message))
            except Exception:
                log.exception("watching the live release: a bug in dagferry, please report it; it is watched on")
        self._release()

    def _next(self) -> frozenset[str] | None:
        """What was written, once it is time to tell; nothing if there is another folder to follow; None to end."""
        with self._news:
            while not self._stopping and self._wanted == self._followed:
                now = time.monotonic()
                due = self._swept + self._sweep_seconds
                due = min(due, self._since + QUIET_SECONDS) if self._written else due
                if now >= due:
                    return self._take(now)
                self._news.wait(due - now)
            self._written.clear()
            return None if self._stopping else frozenset()

    def _take(self, now: float) -> frozenset[str]:
        written, self._written = frozenset(self._written), set()
        if now < self._swept + self._sweep_seconds:
            return written
        self._swept = now
        return frozenset({""}) if self._followed is not None else written

    def _change_over(self) -> None:
        wanted = self._wanted
        if wanted == self._followed:
            return
        self._release()
        with self._news:
            self._followed = wanted
        if wanted is not None:
            self._observe(wanted)

    def _observe(self, folder: Path) -> None:
        observer = None
        try:
            observer = Observer()  # takes an instance of inotify, of which a user has 128 by default
            observer.start()
            observer.schedule(_Listener(self, folder), str(folder), recursive=True, event_filter=_WRITES)
        except OSError as error:
            if observer is not None:
                observer.stop()
                observer.join()
            if error.errno not in self._reported:
                self._reported.add(error.errno)
                hint = _LIMITS.get(error.errno or 0, "the file system may have no inotify")
                log.warning("edits in %s are noticed by looking from time to time: %s; %s", folder, error, hint)
            return
        self._observer = observer

    def _release(self) -> None:
        observer, self._observer = self._observer, None
        if observer is not None:
            observer.stop()
            observer.join()


def _inode(folder: Path | None) -> int | None:
    try:
        return folder.stat().st_ino if folder is not None else None
    except OSError:
        return None


class _Listener(FileSystemEventHandler):
    """Passes on what happens in one folder."""

    def __init__(self, watch: Watch, folder: Path) -> None:
        self._watch = watch
        self._folder = folder

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Note the paths of an event."""
        paths = [os.fsdecode(event.src_path)] + ([os.fsdecode(event.dest_path)] if event.dest_path else [])
        for path in paths:
            relative = os.path.relpath(path, self._folder)
            self._watch.note(self._folder, "" if relative == "." or relative.startswith("..") else relative)
