"""Trying again: a few times, with growing pauses that differ from writer to writer, and only where it is safe.

A read may be tried again after any failure that may pass. A conditional write may be tried again only after an answer
that says it was not done: after a lost reply the writer does not know, and has to read first.
"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Final, TypeVar

from dagferry_schemas.errors import DeliveryFailed

if TYPE_CHECKING:
    from collections.abc import Callable

    T = TypeVar("T")

ATTEMPTS: Final = 4
FIRST_PAUSE: Final = 0.1
"""Seconds before the second attempt at the most; each further pause is up to three times as long."""


class Passing(DeliveryFailed):
    """It may work when it is tried again; whether a write was done is not known."""


class NotDone(Passing):
    """The store answered that it has not done it: even a conditional write may be tried again."""


def attempt(work: Callable[[], T], *, again_after: type[Passing]) -> T:
    """``work()``, up to `ATTEMPTS` times while it raises ``again_after``; then that error."""
    for number in range(ATTEMPTS):
        try:
            return work()
        except again_after:
            if number == ATTEMPTS - 1:
                raise
        time.sleep(random.uniform(0.5, 1.0) * FIRST_PAUSE * 3**number)
    raise AssertionError("unreachable")
