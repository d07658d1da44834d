"""Many agents in one process, without their HTTP servers: the real pulls, polls and disks of each.

    python -m tests.bench.crowd STORE FOLDER FIRST COUNT POLL_SECONDS

It says ``ready`` once all have pulled, then one line of JSON for each pull. A line on stdin tells all to pull: ``pull``
now, ``spread`` at a moment of the next POLL_SECONDS that is drawn for each. It ends with stdin.
"""

from __future__ import annotations

import json
import random
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from dagferry_agent.delivery import open_delivery
from dagferry_agent.service import PullService
from dagferry_agent.settings import Settings
from tests.e2e.harness import BUNDLE

if TYPE_CHECKING:
    from dagferry_agent.outcome import Outcome

_PRINTING = threading.Lock()


class Simulated:
    """One agent, as `serve` runs it."""

    def __init__(self, store: str, folder: Path, number: int, poll_seconds: float) -> None:
        self._number = number
        settings = Settings(
            store, BUNDLE, "prod", folder / f"{number:04}", f"agent-{number:04}", poll_seconds=poll_seconds
        )
        self._delivery = open_delivery(settings)
        self._delivery.prepare()
        self._delivery.claim()
        self.service = PullService(self._delivery, clock=time.monotonic, rng=random.Random(number), observe=self._ended)

    def _ended(self, outcome: Outcome) -> None:
        reply = outcome.reply
        told = {"agent": self._number, "at": time.time(), "error": str(outcome.error) if outcome.error else None}
        if reply is not None:
            names = ("generation", "changed", "requests", "bytes_fetched", "seconds")
            told |= {name: getattr(reply, name) for name in names}
        with _PRINTING:
            print(json.dumps(told), flush=True)  # noqa: T201 (the bench reads it)


def main() -> None:
    """Run so many agents until stdin ends."""
    store, folder, first, count, poll_seconds = sys.argv[1:]
    crowd = [
        Simulated(store, Path(folder), number, float(poll_seconds))
        for number in range(int(first), int(first) + int(count))
    ]
    for one in crowd:
        one.service.start()
    for one in crowd:
        one.service.request().done.result()
    with _PRINTING:
        print("ready", flush=True)  # noqa: T201
    drawn = random.Random(int(first))
    for line in sys.stdin:
        for one in crowd:
            if line == "spread\n":
                threading.Timer(drawn.uniform(0, float(poll_seconds)), one.service.request).start()
            else:
                one.service.request()
    for one in crowd:
        one.service.stop(0)


if __name__ == "__main__":
    main()
