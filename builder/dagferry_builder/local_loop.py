"""The local loop: what is saved in the working tree is a moment later in a folder, and lint says what it thinks of it.

1. A save is several events, and an editor's own files are none: from the first event it waits until nothing came for
   `QUIET_SECONDS`, at the most `LONGEST_WAIT`.
2. What is shown is what a commit of the working tree would deliver, by the config file as it is saved.
3. Nothing that is wrong ends it: it is said, and the folder stays as it was until the next save.
4. Lint works beside it, on the newest save: a newer one ends what is under way.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from watchdog.events import FileClosedNoWriteEvent, FileOpenedEvent, FileSystemEventHandler
from watchdog.observers import Observer

from dagferry_schemas.errors import DagferryError

from . import selecting
from .working_tree import is_editors

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from watchdog.events import FileSystemEvent

    from .lint.result import Result
    from .mirror import Changes, Mirror
    from .site import Site
    from .working_tree import WorkingTree

QUIET_SECONDS: Final = 0.1
LONGEST_WAIT: Final = 1.0
NOT_OURS: Final = frozenset({".git", ".dagferry", "__pycache__"})
"""Folders in which nothing is saved that would be delivered."""


class Update(NamedTuple):
    """What one save came to: the commit that stands for it, what changed in the folder, and seconds since the save."""

    commit: str
    changes: Changes
    files: int
    seconds: float


class _Saves(FileSystemEventHandler):
    """Knows when something was saved below ``top``, outside of ``target``."""

    def __init__(self, top: Path, target: Path) -> None:
        self._top = top
        self._target = target
        self._come = threading.Condition()
        self._first: float | None = None
        self._last = 0.0

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Note an event, if it is one."""
        if isinstance(event, (FileOpenedEvent, FileClosedNoWriteEvent)):
            return
        paths = [path for path in (str(event.src_path), str(event.dest_path)) if path]
        if any(map(self._counts, paths)):
            with self._come:
                self._last = time.monotonic()
                self._first = self._first or self._last
                self._come.notify_all()

    def _counts(self, path: str) -> bool:
        below = path.removeprefix(f"{self._top}/")
        within = path == str(self._target) or path.startswith(f"{self._target}/")
        return not within and not NOT_OURS & set(below.split("/")) and not is_editors(path)

    def wait(self) -> float:
        """Return once something was saved and it is quiet; when the first of it came (monotonic seconds)."""
        with self._come:
            while self._first is None:
                self._come.wait()
            while (left := min(self._last + QUIET_SECONDS, self._first + LONGEST_WAIT) - time.monotonic()) > 0:
                self._come.wait(left)
            first, self._first = self._first, None
            return first


class _Newer(Exception):
    """There is a newer save to lint."""


class Linting:
    """Lints the newest of the commits that it is given, in a thread of its own.

    ``lint`` is called with a commit and what it has to call now and then, and ``said`` with what came of it.
    """

    def __init__(
        self,
        lint: Callable[[str, Callable[[int, int], None]], Result],
        said: Callable[[Result | DagferryError], None],
    ) -> None:
        self._lint = lint
        self._said = said
        self._news = threading.Condition()
        self._next: str | None = None
        self._stopping = False
        self._thread = threading.Thread(target=self._work, name="lint")
        self._thread.start()

    def put(self, commit: str) -> None:
        """Lint this one next; what is under way ends."""
        with self._news:
            self._next = commit
            self._news.notify_all()

    def stop(self) -> None:
        """End what is under way, and return when it has ended."""
        with self._news:
            self._stopping = True
            self._news.notify_all()
        self._thread.join()

    def _go_on(self, _done: int, _of: int) -> None:
        with self._news:
            if self._stopping or self._next is not None:
                raise _Newer

    def _work(self) -> None:
        while True:
            with self._news:
                self._news.wait_for(lambda: self._stopping or self._next is not None)
                if self._stopping:
                    return
                commit, self._next = self._next, None
            assert commit is not None
            try:
                found: Result | DagferryError = self._lint(commit, self._go_on)
            except _Newer:
                continue
            except DagferryError as error:
                found = error
            self._said(found)


class LocalLoop:
    """Shows the working tree of ``site`` in ``mirror``; tells ``updated`` of saves, and ``failed`` what is wrong."""

    def __init__(
        self,
        site: Site,
        tree: WorkingTree,
        mirror: Mirror,
        updated: Callable[[Update], None],
        failed: Callable[[DagferryError], None],
    ) -> None:
        self._site = site
        self._tree = tree
        self._mirror = mirror
        self._updated = updated
        self._failed = failed
        self._shown: str | None = None

    def run(self, target: Path) -> None:
        """Go on until somebody interrupts it. Raises what the first look raises."""
        top = self._site.repository.top
        saves = _Saves(top, target)
        observer = Observer()
        observer.schedule(saves, str(top), recursive=True)
        observer.start()
        try:
            self._show(time.monotonic())
            while True:
                since = saves.wait()
                try:
                    self._show(since)
                except DagferryError as error:
                    self._failed(error)
        finally:
            observer.stop()
            observer.join()

    def _show(self, since: float) -> None:
        commit = self._tree.commit()
        if commit == self._shown:
            return
        repository = self._site.repository
        selected = selecting.select(repository, commit, self._site.bundle(commit).selection)
        changes = self._mirror.show(repository, selected.sources)
        self._shown = commit
        self._updated(Update(commit, changes, len(selected.sources), time.monotonic() - since))
