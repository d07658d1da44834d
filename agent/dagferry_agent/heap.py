"""What the C library keeps of memory that was needed for a moment: as little as it can.

mallopt(3) and malloc_trim(3) are glibc's; where they are not there, nothing is done.
"""

from __future__ import annotations

import ctypes
from typing import Final

_M_TRIM_THRESHOLD: Final = -1
_AS_AT_FIRST: Final = 128 * 1024
"""Bytes: what glibc begins with, and raises as soon as one large buffer was freed, unless it is told."""
_libc = ctypes.CDLL(None)


def keep_little() -> None:
    """Let large buffers go back to the kernel as soon as they are free, from now on."""
    if hasattr(_libc, "mallopt"):
        _libc.mallopt(_M_TRIM_THRESHOLD, _AS_AT_FIRST)


def give_back() -> None:
    """Give what is free back to the kernel now."""
    if hasattr(_libc, "malloc_trim"):
        _libc.malloc_trim(0)
