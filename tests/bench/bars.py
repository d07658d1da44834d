"""The bars: what is compared with what, what was asked, and whether it is so.

A bar is judged by the bootstrapped 95 % interval of the ratio of two medians, or of a median where an amount is asked:
met or missed where all of it is on one side, and otherwise not decided.
"""

from __future__ import annotations

import random
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tests.bench.builds import BUILD, CHANGED, COLD, PIPE
from tests.bench.changes import COPY, FRESH, OURS, TEN
from tests.bench.corpora import SIZES
from tests.bench.firsts import CURL, FLUSHED, TARFILE, UNFLUSHED, first_pull
from tests.bench.nothing_new import CLIENTS, NOTHING, POLL, PROCESS, RESIDENT, bare
from tests.bench.peers import OSTREE, PULL, SYNC
from tests.bench.works import AT_ONCE, EDITED, MANY, ONE, one_file

if TYPE_CHECKING:
    from tests.bench.rows import Row, Rows

SEED: Final = 20261123
DRAWS: Final = 4000


@dataclass(frozen=True)
class Bar:
    """``figure`` of ``over``, divided by that of ``under`` if there is one: at most ``asked``, or at least.

    ``under`` may be of another figure, is taken ``times`` and gets ``plus`` more.
    """

    name: str
    figure: str
    over: Row
    under: Row | None
    asked: float
    least: bool = False
    times: float = 1.0
    plus: float = 0.0
    unit: float = 1.0
    """What an amount is divided by to be shown: 1e6 for MB."""


@dataclass(frozen=True)
class Judged:
    """A bar, what was found, the ends of its interval, and the verdict."""

    bar: Bar
    found: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """``met``, ``missed`` or ``not decided``."""
        least, asked = self.bar.least, self.bar.asked
        if self.low >= asked if least else self.high <= asked:
            return "met"
        return "missed" if (self.high < asked if least else self.low > asked) else "not decided"


def bars(reader: str) -> list[Bar]:
    """All of them; ``reader`` is the client by which the agent reads its store."""
    return [*_changes(), *_payloads(), *_firsts(), *_idle(reader), *_builds()]


def _changes() -> list[Bar]:
    ours, seconds = (ONE, OURS), "seconds"
    return [
        Bar("one file of L: git pull / dagferry", seconds, (ONE, PULL), ours, 4, least=True),
        Bar("one file of L: OSTree / dagferry", seconds, (ONE, OSTREE), ours, 12, least=True),
        Bar("one file of L: git-sync's steps / dagferry", seconds, (ONE, SYNC), ours, 40, least=True),
        Bar("a second change at once: dagferry / cp -al", seconds, (AT_ONCE, OURS), (AT_ONCE, COPY), 1.5),
        Bar("one file: dagferry on XL / on S", seconds, (one_file("XL"), OURS), (one_file("S"), OURS), 2),
        Bar("one file of L: fresh process / git pull", seconds, (ONE, FRESH), (ONE, PULL), 1),
        Bar("1 % of L appended: dagferry / git pull", seconds, (MANY, OURS), (MANY, PULL), 0.6),
        Bar("1 % of L edited: dagferry / git pull", seconds, (EDITED, OURS), (EDITED, PULL), 0.6),
        Bar("one file of S: ten agents / one", seconds, (one_file("S"), TEN), (one_file("S"), OURS), 6),
    ]


def _payloads() -> list[Bar]:
    ours, written = (ONE, OURS), "written"
    return [
        Bar("one file of L: payload, dagferry / git", "payload", ours, (ONE, PULL), 1),
        Bar("one file of L: all bytes over signed requests", "wire", ours, None, 8192),
        Bar("one file of L: requests", "requests", ours, None, 2),
        Bar("1 % of L appended: payload, dagferry / git", "payload", (MANY, OURS), (MANY, PULL), 0.15),
        Bar("1 % of L edited: payload, dagferry / git", "payload", (EDITED, OURS), (EDITED, PULL), 0.15),
        Bar("one file of L: MB written, idle time included", "written with idle", ours, None, 25, unit=1e6),
        Bar("one file of L: MB written until it is live", written, ours, None, 0.5, unit=1e6),
    ]


def _firsts() -> list[Bar]:
    work, seconds = first_pull("L"), "seconds"
    small, large = (first_pull("S"), UNFLUSHED), (first_pull("XL"), UNFLUSHED)
    files = 200.0 * SIZES["XL"]
    return [
        Bar("first pull of L: not flushed / curl | tar", seconds, (work, UNFLUSHED), (work, CURL), 1.5),
        Bar("first pull of L: flushed / curl | tar", seconds, (work, FLUSHED), (work, CURL), 2),
        Bar("first pull of L: not flushed / tarfile", seconds, (work, UNFLUSHED), (work, TARFILE), 0.6),
        Bar("first pull: peak of XL / (1.3 of S + 200 B a file)", "peak", large, small, 1, times=1.3, plus=files),
    ]


def _idle(reader: str) -> list[Bar]:
    found = [Bar("nothing new: requests", "requests", (NOTHING, OURS), None, 1)]
    for client in CLIENTS:
        row, own = (NOTHING, bare(client)), ", by which the agent reads" if client == reader else ""
        found += [
            Bar(f"nothing new: CPU, asked / {client} alone{own}", "cpu", (NOTHING, OURS), row, 1.3),
            Bar(f"nothing new: CPU, by itself / {client} alone{own}", "cpu", (NOTHING, POLL), row, 1.3),
            Bar(f"nothing new: bytes, dagferry / {client} alone{own}", "wire", (NOTHING, OURS), row, 1.1),
            Bar(
                f"nothing new: whole process / {client} alone{own}",
                "seconds", (PROCESS, FRESH), (PROCESS, bare(client)), 1.5,
            ),
        ]  # fmt: skip
    most = 95.0 if reader == "boto3" else 60.0
    return [*found, Bar("resident, L live: MB", "rss", (RESIDENT, OURS), None, most, unit=1e6)]


def _builds() -> list[Bar]:
    return [
        Bar(f"build: cold / {PIPE}", "seconds", (BUILD, COLD), (BUILD, PIPE), 1.5),
        Bar("build: one file changed / cold", "seconds", (BUILD, CHANGED), (BUILD, COLD), 0.35),
    ]


def interval(over: list[float], under: list[float]) -> tuple[float, float, float]:
    """Ratio of two medians, and the ends of its bootstrapped 95 % interval."""
    chance = random.Random(SEED)

    def drawn(values: list[float]) -> float:
        return statistics.median(chance.choices(values, k=len(values)))

    ratios = sorted(drawn(over) / drawn(under) for _ in range(DRAWS))
    tail = DRAWS // 40
    return statistics.median(over) / statistics.median(under), ratios[tail - 1], ratios[-tail]


def judged(rows: Rows) -> tuple[list[Judged], list[Bar]]:
    """The bars that can be judged, and those whose rows are not there."""
    found, lacking = [], []
    for bar in bars(rows.reader):
        over = [value / bar.unit for value in rows.of(bar.over, bar.figure)]
        under = [bar.times * value + bar.plus for value in rows.of(bar.under, bar.figure)] if bar.under else [1.0]
        if over and under:
            found.append(Judged(bar, *interval(over, under)))
        else:
            lacking.append(bar)
    return found, lacking
