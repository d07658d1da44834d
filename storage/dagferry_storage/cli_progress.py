"""How far a long transfer is, on one line of a terminal's stderr; of both programs' command lines.

* Only where somebody looks: stderr is a terminal, and neither ``CI`` nor ``NO_COLOR`` is set (the line is drawn with
  escape sequences). Elsewhere nothing is printed, and the store is used as it is.
* Not for what is small, or over at once: a line that flickers past tells nothing.
* The line is always shorter than the terminal is wide, since what wraps cannot be drawn over: where there is no room
  for all, the bar gets shorter, the middle of the name is left out, and in the end only the percentage stays.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

from .shown import ShownStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .shown import SoFar
    from .store import Store

SMALL: Final = 1024 * 1024
"""Bytes below which nothing is shown."""
AT_ONCE: Final = 0.5
"""Seconds before anything is shown."""
_PAUSE: Final = 0.1
"""Seconds between two looks at the line."""
_FORESEEN: Final = 1.0
"""Seconds before the time that is left is said."""
_USUAL: Final = 80
"""Columns of a terminal that does not tell how many it has."""
_NARROW: Final = 40
"""Columns below which there is no room for more than the percentage."""
_NUMBERS: Final = len("100%  00:00:00  999.9 MB")
_BARS: Final = (20, 10)
"""Lengths of the bar, of which the first is taken that leaves `_LABEL` columns to what is transferred."""
_LABEL: Final = 36
_LEAST: Final = 8
"""Characters of a name, below which it says nothing."""


def shown(store: Store, what: str, size: int = 0) -> Store:
    """``store``, whose transfers of ``what`` are shown; streams are expected to have ``size`` bytes."""
    return ShownStore(store, partial(_show, what), size) if somebody_looks() else store


def somebody_looks() -> bool:
    """Whether progress on stderr has a reader: a terminal, outside CI."""
    found = os.environ.get
    in_ci = found("CI", "").lower() not in ("", "0", "false")
    return sys.stderr.isatty() and not in_ci and not found("NO_COLOR") and found("TERM") != "dumb"


@contextmanager
def _show(what: str, action: str, size: int) -> Iterator[SoFar]:
    line = _Line(what, action, size)
    try:
        yield line.so_far
    finally:
        line.end()


class _Line:
    """One transfer's line. It appears with the first news after `AT_ONCE`."""

    def __init__(self, what: str, action: str, size: int) -> None:
        self._what, self._action, self._size = what, action, size
        self._gone = 0
        self._start = time.monotonic()
        self._next = self._start + AT_ONCE
        self._visible = False

    def so_far(self, gone: int) -> None:
        """Show that so many bytes have gone."""
        now = time.monotonic()
        ended = gone >= self._size
        if self._size < SMALL or (now < self._next and not (ended and self._visible)):
            return
        if ended and not self._visible:
            return
        if gone < self._gone:  # it begins anew: a body that was read in order to sign it, or is sent again
            self._start = now
        self._visible, self._gone, self._next = True, gone, now + _PAUSE
        columns = os.get_terminal_size(sys.stderr.fileno()).columns or _USUAL
        self._draw(f"\r{self._drawn(now, columns)}\x1b[K")

    def end(self) -> None:
        """Leave the line as it is, and go to the next one."""
        if self._visible:
            self._draw("\n")

    def _draw(self, text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()

    def _drawn(self, now: float, columns: int) -> str:
        gone, seconds = min(self._gone, self._size), now - self._start
        left = seconds / gone * (self._size - gone) if gone and seconds >= _FORESEEN else 0
        return drawn(self._action, self._what, gone, self._size, left, columns)


def drawn(action: str, what: str, gone: int, size: int, left: float, columns: int) -> str:
    """The line of a transfer, in fewer than ``columns``; ``left`` are the seconds to its end, 0 if not known."""
    percentage = f"{gone * 100 // size:3}%"
    if columns < _NARROW:
        return percentage if len(percentage) < columns else ""
    time_left = [_clock(int(left))] if left and gone < size else []
    numbers = "  ".join([percentage, *time_left, _readable(gone)])
    # What stands before the numbers keeps its place when they get longer or shorter.
    room = columns - 1 - max(_NUMBERS, len(numbers)) - len("  ")
    length = next((one for one in _BARS if room - one - len("  []") >= _LABEL), 0)
    bar = f"  [{'#' * (gone * length // size):{length}}]" if length else ""
    return f"{_label(action, what, size, room - len(bar))}{bar}  {numbers}"


def _label(action: str, what: str, size: int, room: int) -> str:
    """What goes where, in ``room`` characters."""
    whole = f"{action} {what} ({_readable(size)})"
    if len(whole) <= room:
        return whole
    left = room - len(f"{action} ")
    return f"{action} {_shortened(what, left)}" if left >= _LEAST else action[:room]


def _shortened(name: str, room: int) -> str:
    """``name`` without its middle, if it is longer than ``room``."""
    if len(name) <= room:
        return name
    tail = (room - len("...")) // 2
    return f"{name[: room - len('...') - tail]}...{name[len(name) - tail :]}"


def _clock(seconds: int) -> str:
    days, rest = divmod(seconds, 24 * 3600)
    return (f"{days}d " if days else "") + f"{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"


def _readable(size: int) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
