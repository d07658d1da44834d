"""How far a long transfer is, on one line of a terminal's stderr; of both programs' command lines.

* Only where somebody looks: stderr is a terminal, and neither ``CI`` nor ``NO_COLOR`` is set (the line is drawn with
  escape sequences). Elsewhere nothing is printed, and the store is used as it is.
* Not for what is small, or over at once: a line that flickers past tells nothing.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

import click

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


def shown(store: Store, what: str, size: int = 0) -> Store:
    """``store``, whose transfers of ``what`` are shown; streams are expected to have ``size`` bytes."""
    return ShownStore(store, partial(_show, what), size) if _somebody_looks() else store


def _somebody_looks() -> bool:
    found = os.environ.get
    in_ci = found("CI", "").lower() not in ("", "0", "false")
    return sys.stderr.isatty() and not in_ci and not found("NO_COLOR") and found("TERM") != "dumb"


@contextmanager
def _show(what: str, action: str, size: int) -> Iterator[SoFar]:
    line = _Line(f"{action} {what} ({_readable(size)})", size)
    try:
        yield line.so_far
    finally:
        line.end()


class _Line:
    """One transfer's line. It appears with the first news after `AT_ONCE`."""

    def __init__(self, label: str, size: int) -> None:
        self._size = size
        self._bar = click.progressbar(length=size, label=label, item_show_func=_gone, file=sys.stderr, width=20)
        self._next = time.monotonic() + AT_ONCE
        self._visible = False

    def so_far(self, gone: int) -> None:
        """Show that so many bytes have gone."""
        ended = gone >= self._size
        if self._size < SMALL or (time.monotonic() < self._next and not (ended and self._visible)):
            return
        if not self._visible:
            if ended:
                return
            self._visible = True
            self._bar.__enter__()
        if gone < self._bar.pos:  # it begins anew: a body that was read in order to sign it, or is sent again
            self._bar.pos, self._bar.finished = 0, False
        self._bar.update(gone - self._bar.pos, gone)
        self._next = time.monotonic() + _PAUSE

    def end(self) -> None:
        """Leave the line as it is, and go to the next one."""
        if self._visible:
            self._bar.render_finish()


def _gone(size: int | None) -> str | None:
    return None if size is None else _readable(size)


def _readable(size: int) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
