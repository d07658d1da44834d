"""What glibc keeps of memory that is free again: resident bytes of real processes, asked to keep little and not."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="the C library is not glibc")
MEGABYTE = 1 << 20
RESIDENT = """
import os
from dagferry_agent import heap
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
"""
HOLES = """
before = resident()
kept = [bytearray(64 << 10) for _ in range(640)]
kept = kept[::64]
{ask}
print(resident() - before)
"""
LARGE = """
{ask}
large = bytearray(20 << 20)
del large
before = resident()
large = bytearray(15 << 20)
del large
print(resident() - before)
"""


def left(what: str, ask: str) -> int:
    """Bytes that stay resident of what is free."""
    code = RESIDENT + what.format(ask=ask)
    return int(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)


def test_what_is_free_between_what_is_kept_is_given_back() -> None:
    assert left(HOLES, "") > 20 * MEGABYTE
    assert left(HOLES, "heap.give_back()") < 5 * MEGABYTE


def test_a_large_buffer_goes_back_at_once_also_after_another_one() -> None:
    assert left(LARGE, "") > 10 * MEGABYTE
    assert left(LARGE, "heap.keep_little()") < 2 * MEGABYTE
