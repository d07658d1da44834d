"""All that was taken, by work and peer: figures by name, one set for each time."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Final, TypeVar

from tests.bench.costs import Figures, measured_resident

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.bench.costs import Processes, Resident
    from tests.bench.counted import Relay, Traffic

    T = TypeVar("T")

Row = tuple[str, str]
RELAY_SECONDS: Final = 0.05
"""After which the relay has counted what was on its way."""


def _wire(traffic: Traffic) -> Figures:
    return {"requests": traffic.requests, "wire": traffic.sent + traffic.received, "received": traffic.received}


class Rows:
    """Takes each work's figures: ``seconds``, ``cpu``, ``peak``, ``written``, ``requests``, ``wire`` and more."""

    def __init__(self) -> None:
        self.taken: dict[Row, list[Figures]] = defaultdict(list)
        self.left_out: list[str] = []
        self.reader = ""
        """The client by which the agent reads its store; empty: none of those that it is compared with."""

    def processes(self, row: Row, run: Processes, do: Callable[[], T], counter: Relay | None = None) -> T:
        """Measure a work for which ``do`` has processes ``run``; what it returns."""
        before = counter.traffic if counter else None
        run.reset()
        began = time.perf_counter()
        found = do()
        figures = {"seconds": time.perf_counter() - began, **run.used.figures()}
        time.sleep(RELAY_SECONDS)
        if counter and before:
            figures |= _wire(counter.traffic.since(before))
        self.taken[row].append(figures)
        return found

    def resident(self, row: Row, process: Resident, do: Callable[[], Figures], counter: Relay) -> None:
        """Measure a work that a resident process does; ``do`` returns figures of its own."""
        own: Figures = {}
        before = counter.traffic
        figures = measured_resident(process, lambda: own.update(do()))
        figures |= _wire(counter.traffic.since(before))
        self.taken[row].append(figures | own)

    def add(self, row: Row, figures: Figures) -> None:
        """Figures that were taken in another way."""
        self.taken[row].append(figures)

    def of(self, row: Row, name: str) -> list[float]:
        """One figure of all takes of a work; empty where there are none."""
        return [one[name] for one in self.taken.get(row, ()) if name in one]

    def save(self, place: Path) -> None:
        """As JSON."""
        rows = {" | ".join(row): taken for row, taken in self.taken.items()}
        place.write_text(json.dumps({"rows": rows, "left out": self.left_out, "reader": self.reader}, indent=1))

    @classmethod
    def load(cls, place: Path) -> Rows:
        """What `save` saved."""
        saved, rows = json.loads(place.read_text()), cls()
        for name, taken in saved["rows"].items():
            work, _, peer = name.partition(" | ")
            rows.taken[work, peer] = taken
        rows.left_out, rows.reader = saved["left out"], saved["reader"]
        return rows
