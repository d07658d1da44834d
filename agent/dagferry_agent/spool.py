"""Events that a webhook has not taken yet, on the disk: they outlive the process, and have bounds.

1. Each event is a file, named by a number that only grows; it is there as a whole or not at all, and goes when the
   webhook has taken it.
2. There are at most `MOST` of them, of together at most `MOST_BYTES`. For a new one the oldest go; how many went is an
   event of its own (`DROPPED`), which comes before all others, and which is written before the first of them goes.
"""

from __future__ import annotations

import json
import threading
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from dagferry_storage import disk

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MOST: Final = 1000
MOST_BYTES: Final = 4 * 1024 * 1024
_DIGITS: Final = 16
MARK: Final = f"{0:0{_DIGITS}}.json"
"""The file of the event that says how many were dropped."""


class Entry(NamedTuple):
    """One event that waits: its file's name, and its bytes."""

    name: str
    body: bytes


class Spool:
    """The events in ``folder``, which is there. Safe to call from several threads.

    ``dropped`` makes the event that says that so many were dropped. Methods raise `OSError`.
    """

    def __init__(
        self,
        folder: Path,
        dropped: Callable[[int], bytes],
        *,
        durable: bool = True,
        most: int = MOST,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self._folder = folder
        self._dropped = dropped
        self._durable = durable
        self._most = most
        self._most_bytes = most_bytes
        self._come = threading.Condition()
        self._waiting: deque[tuple[str, int]] = deque()
        self._bytes = 0
        self._number = 0
        self._lost = 0
        self._read()

    def __len__(self) -> int:
        """How many events wait; that of the dropped ones is none of them."""
        return len(self._waiting)

    def _read(self) -> None:
        for path in sorted(self._folder.iterdir()):
            if path.name.startswith("."):
                path.unlink(missing_ok=True)  # a write that a crash cut off
            elif path.name == MARK:
                self._lost = _count_in(path.read_bytes())
            elif path.suffix == ".json" and path.stem.isdigit():
                self._number = int(path.stem)
                self._keep(path.name, path.stat().st_size)

    def _keep(self, name: str, size: int) -> None:
        self._waiting.append((name, size))
        self._bytes += size

    def add(self, body: bytes) -> int:
        """Let an event wait; how many older ones had to go for it."""
        with self._come:
            gone = 0
            while self._waiting and not self._has_room(len(body)):
                self._drop_oldest()
                gone += 1
            name = f"{self._number + 1:0{_DIGITS}}.json"
            disk.write_whole(self._folder / name, body, durable=self._durable)
            self._number += 1
            self._keep(name, len(body))
            self._come.notify_all()
            return gone

    def _has_room(self, size: int) -> bool:
        return len(self._waiting) < self._most and self._bytes + size <= self._most_bytes

    def _drop_oldest(self) -> None:
        disk.write_whole(self._folder / MARK, self._dropped(self._lost + 1), durable=self._durable)
        self._lost += 1
        name, size = self._waiting[0]
        (self._folder / name).unlink(missing_ok=True)
        self._waiting.popleft()
        self._bytes -= size

    def oldest(self, seconds: float) -> Entry | None:
        """The event that comes next; None if none came in so many ``seconds``."""
        with self._come:
            self._come.wait_for(lambda: self._lost or self._waiting, seconds)
            if self._lost:
                return Entry(MARK, (self._folder / MARK).read_bytes())
            while self._waiting:
                name, size = self._waiting[0]
                with suppress(FileNotFoundError):  # somebody removed it
                    return Entry(name, (self._folder / name).read_bytes())
                self._waiting.popleft()
                self._bytes -= size
            return None

    def taken(self, entry: Entry) -> None:
        """The webhook has this event: it goes."""
        path = self._folder / entry.name
        with self._come:
            if entry.name == MARK:
                if path.read_bytes() == entry.body:  # else more were dropped meanwhile, which it does not know of
                    path.unlink()
                    self._lost = 0
            elif self._waiting and self._waiting[0][0] == entry.name:  # else it was dropped meanwhile
                path.unlink(missing_ok=True)
                self._bytes -= self._waiting.popleft()[1]

    def wake(self) -> None:
        """Let whoever waits for an event look again."""
        with self._come:
            self._come.notify_all()


def _count_in(mark: bytes) -> int:
    """How many events a mark says were dropped; one that is not whole says that there were some."""
    try:
        return int(json.loads(mark)["data"]["count"])
    except (ValueError, KeyError, TypeError):
        return 1
