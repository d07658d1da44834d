"""Builds of ten thousand files as whole processes: cold, and with one file changed, beside a plain pipe of git's.

The commands and their repository are those of `tests.bench.build`; here the cost of each process is taken as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.bench import build
from tests.bench.corpora import SIZES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.bench.costs import Processes
    from tests.bench.rows import Rows

BUILD = "build of 10,000 files"
PIPE, COLD, CHANGED = build.PEER, "dagferry, --no-cache", "dagferry, one file changed"


class Builds:
    """A repository of its own, of which one file changes in each round."""

    def __init__(self, folder: Path, rows: Rows, run: Processes) -> None:
        self._rows, self._run = rows, run
        self._bench = build.Bench(folder, SIZES["L"], run.run)
        self._bench.cached()
        self._bench.cold_without()

    def take(self, number: int) -> None:
        """All of them, in an order that turns; the last one is compared with a build without a cache."""
        self._bench.change_one()
        works: dict[str, Callable[[], object]] = {
            PIPE: self._bench.peer,
            COLD: self._bench.cold_without,
            CHANGED: self._bench.cached,
        }
        names = list(works)
        for name in names[number % 3 :] + names[: number % 3]:
            self._rows.processes((BUILD, name), self._run, works[name])
        self._bench.compare()
