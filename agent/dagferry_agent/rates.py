"""How often each of many may do something: values and a clock in, seconds to wait out.

1. Everybody may do a minute's worth at once, and from then on as much as a minute brings back.
2. What was refused does not count: whoever waits as long as was said gets through.
3. Memory is bounded. Of whom nothing is left to remember is forgotten; while more than `most` are remembered, those who
   are new share one allowance, so that who comes under many names gains one name by it.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

MOST: Final = 1024
"""How many are told apart."""
OTHERS: Final = ""
MINUTE: Final = 60.0
PREFIX: Final = 64
"""Bits of an IPv6 address that one machine cannot choose (RFC 4291, 2.5.4)."""


class Rates:
    """``per_minute`` for each; ``clock`` gives monotonic seconds. To be used by one thread."""

    def __init__(self, per_minute: float, clock: Callable[[], float], *, most: int = MOST) -> None:
        self._interval = MINUTE / per_minute
        self._clock = clock
        self._most = most
        self._full_again: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._full_again)

    def take(self, who: str) -> float:
        """0.0 if ``who`` may, which counts; else the seconds after which it may be asked again."""
        now = self._clock()
        if who not in self._full_again:
            who = self._place(who, now)
        full_again = max(self._full_again.get(who, now), now) + self._interval
        too_early = full_again - now - MINUTE
        if too_early > 1e-6:  # a sum of intervals is not exactly a minute
            return too_early
        self._full_again[who] = full_again
        return 0.0

    def _place(self, who: str, now: float) -> str:
        if len(self._full_again) >= self._most:
            self._full_again = {one: moment for one, moment in self._full_again.items() if moment > now}
        return who if len(self._full_again) < self._most else OTHERS


def source_of(host: str) -> str:
    """Who is behind an address: an IPv4 address, or the network of an IPv6 address, of which a machine has many."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, PREFIX), strict=False))
