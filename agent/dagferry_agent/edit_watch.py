"""Whether anybody wrote to a file in some folders: asked of the kernel, and answered at once (inotify(7)).

`watching` is told of edits a moment later, by a library's thread. Who is about to rely on files that were looked at a
while ago cannot wait for that: what was written before the question has to be in the answer.
"""

from __future__ import annotations

import ctypes
import os
import threading
import weakref
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

_IN_MODIFY, _IN_ATTRIB, _IN_CLOSE_WRITE, _IN_ONLYDIR = 0x2, 0x4, 0x8, 0x01000000
_WRITES: Final = _IN_MODIFY | _IN_ATTRIB | _IN_CLOSE_WRITE | _IN_ONLYDIR
_IN_MOVED, _IN_CREATE, _IN_DELETE, _IN_SELF = 0xC0, 0x100, 0x200, 0xC00
_ENTRIES: Final = _IN_MOVED | _IN_CREATE | _IN_DELETE | _IN_SELF
_ANY_EVENT: Final = 4096
"""Bytes that hold at least one event, whatever the name in it."""
_libc = ctypes.CDLL(None, use_errno=True)


class EditWatch:
    """The folders that were added, without what is below them.

    Files that are replaced by others, come or go count only if ``entries`` are asked for.
    """

    def __init__(self, *, entries: bool = False) -> None:
        """Raises `OSError`."""
        self._noticed = _WRITES | (_ENTRIES if entries else 0)
        self._descriptor = _checked(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        self._left = weakref.finalize(self, os.close, self._descriptor)  # who forgets it costs its user no instance
        self._left.atexit = False

    def add(self, folder: Path | str) -> None:
        """Notice from now on what is done to the files in ``folder``. Raises `OSError`: no watches are left."""
        _checked(_libc.inotify_add_watch(self._descriptor, os.fsencode(folder), self._noticed))

    def is_quiet(self) -> bool:
        """Whether nothing was noticed until now."""
        try:
            return not os.read(self._descriptor, _ANY_EVENT)
        except BlockingIOError:
            return True

    def close(self) -> None:
        """Notice nothing any more.

        The kernel takes some 20 ms for it, whatever the number of folders, and nobody who pulls is to wait for that.
        """
        if self._left.detach() is not None:
            threading.Thread(target=os.close, args=(self._descriptor,), name="unwatch").start()


def open_watch(*, entries: bool = False) -> EditWatch | None:
    """A watch of no folders yet; None where there is no inotify, or no instance of it left."""
    try:
        return EditWatch(entries=entries)
    except OSError:
        return None


def _checked(answer: int) -> int:
    if answer < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return answer
