"""What an agent does while nobody asks for anything: it prepares the next release, tidies up, and gives memory back."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from . import heap

if TYPE_CHECKING:
    from collections.abc import Generator

    from .activation import Activation
    from .providing import Provider


class IdleWork:
    """In small pieces, one after the other. To be used by who holds the root's lock."""

    def __init__(self, provider: Provider, activation: Activation) -> None:
        self._provider = provider
        self._activation = activation
        self._tidying: Generator[None] | None = None
        self._worked = False

    def work(self, live: str, seconds: float) -> bool:
        """Do for about so long what makes the next pull after the release ``live`` quick; whether there is more to do.

        Raises `BadData`, `MachineFault`.
        """
        more = self._provider.prepare_next(live, seconds, self._next_stamp) or self.tidy(seconds)
        if self._worked and not more:
            heap.give_back()
        self._worked = more
        return more

    def tidy(self, seconds: float) -> bool:
        """Remove for so long what nobody needs any more; whether there is more to do. Raises as `work`."""
        until = time.monotonic() + seconds
        self._tidying = self._tidying or self._activation.tidying()
        for _ in self._tidying:
            if time.monotonic() >= until:
                return True
        self._tidying = None
        return False

    def _next_stamp(self) -> int:
        return self._activation.stamp(self._activation.state())
