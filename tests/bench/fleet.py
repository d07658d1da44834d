"""How long a promotion takes to reach hundreds of agents on one S3 server, in how many requests, and what these cost.

    python -m tests.bench.fleet [--agents 500] [--rounds 5] [--idle 60] [--markdown FILE] [--plot FILE]

The agents are `crowd`'s: real pulls, polls and disks, eight processes, no HTTP servers. In each round a file is
changed, published and promoted twice: once nobody is told, so that all find it by polling (every 15 seconds, give or
take a fifth; their polls are spread before), once all are told at once. Told is the time from the end of
`dagferry promote` until an agent's link is switched. Then nothing happens for a while, and requests are counted. All is
on loopback, on one disk, with moto's S3 server. Requests are the agents' own; what they cost is at `GET_PRICE`, without
transfer.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tests.bench import plots
from tests.e2e.harness import COMPONENTS, NO_LINT, Operator, Repository
from tests.storage import servers

if TYPE_CHECKING:
    from collections.abc import Sequence

PROCESSES: Final = 8
POLL_SECONDS: Final = 15.0
GET_PRICE: Final = 0.40
"""Dollars for a million GET requests of S3 Standard, as its price list for us-east-1 had it."""
FILES: Final = 1000
TOLD, POLLED = "told at once", f"polling every {POLL_SECONDS:g} s"
DAY: Final = 86400


@dataclass
class Crowds:
    """The processes, and what their agents said."""

    processes: list[subprocess.Popen[str]] = field(default_factory=list)
    said: list[dict[str, Any]] = field(default_factory=list)
    ready: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def start(self, store: str, folder: Path, agents: int) -> None:
        """Start so many agents, and return once all have pulled."""
        path = os.pathsep.join(str(Path.cwd() / one) for one in COMPONENTS)
        env = {**os.environ, "PYTHONPATH": os.pathsep.join([path, str(Path.cwd())])}
        for number in range(PROCESSES):
            first, end = number * agents // PROCESSES, (number + 1) * agents // PROCESSES
            command = [sys.executable, "-m", "tests.bench.crowd", store, folder, first, end - first, POLL_SECONDS]
            process = subprocess.Popen(
                list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env
            )
            self.processes.append(process)
            threading.Thread(target=self._read, args=(process,), daemon=True).start()
        for _ in self.processes:
            self.ready.acquire()

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            if line == "ready\n":
                self.ready.release()
            else:
                self.said.append(json.loads(line))

    def tell(self, what: str) -> None:
        """Tell all to pull: `crowd` says what they understand."""
        for process in self.processes:
            assert process.stdin is not None
            process.stdin.write(f"{what}\n")
            process.stdin.flush()

    def arrivals(self, generation: int, since: float, agents: int) -> tuple[list[float], list[dict[str, Any]]]:
        """When each agent switched to ``generation``, in seconds after ``since``, sorted; and those pulls."""
        until = time.monotonic() + 120
        while True:
            found = [one for one in list(self.said) if one.get("changed") and one["generation"] == generation]
            if len(found) >= agents:
                return sorted(one["at"] - since for one in found), found
            assert time.monotonic() < until, f"{len(found)} of {agents} agents have it after 120 s"
            time.sleep(0.05)

    def close(self) -> None:
        """End them."""
        for process in self.processes:
            process.kill()
            process.wait()


@dataclass
class Result:
    """Seconds by the share of the agents, for each round of a way; and requests, bytes."""

    seconds: dict[str, list[list[float]]] = field(default_factory=lambda: {TOLD: [], POLLED: []})
    requests: list[int] = field(default_factory=list)
    fetched: list[int] = field(default_factory=list)
    idle: float = 0.0
    """Requests of all agents in a second in which nothing happens."""


def measured(agents: int, rounds: int, idle_seconds: float) -> Result:
    """So many rounds with so many agents."""
    os.environ.update(servers.CREDENTIALS)
    result = Result()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dagferry-bench-")))
        store = f"s3://{servers.BUCKET}/fleet?endpoint={stack.enter_context(servers.s3())}"
        repository = Repository(folder / "clone")
        repository.change({f"dags/team_{n // 50}/dag_{n}.py": f"N = {n}\n" * 20 for n in range(FILES)}, "first")
        operator = Operator(repository.path, store, {NO_LINT: "1"}).on("prod")
        operator.ship()
        crowds = Crowds()
        stack.callback(crowds.close)
        (folder / "agents").mkdir()
        crowds.start(store, folder / "agents", agents)
        for number in range(2 * rounds):
            way = (POLLED, TOLD)[number % 2]
            repository.change({"dags/team_0/dag_1.py": f"N = 'round {number}'\n"})
            version = operator.publish()
            crowds.tell("spread")
            time.sleep(2 * POLL_SECONDS)  # idle work is done by then
            generation = operator.run("promote", version)["generation"]
            since = time.time()
            if way == TOLD:
                crowds.tell("pull")
            seconds, pulls = crowds.arrivals(generation, since, agents)
            result.seconds[way].append(seconds)
            result.requests.append(sum(one["requests"] for one in pulls))
            result.fetched.append(sum(one["bytes_fetched"] for one in pulls))
            print(f"{way}: {seconds[-1]:.2f} s", file=sys.stderr, flush=True)  # noqa: T201
        before = sum(one.get("requests", 0) for one in crowds.said)
        time.sleep(idle_seconds)
        result.idle = (sum(one.get("requests", 0) for one in crowds.said) - before) / idle_seconds
    return result


def _place(sorted_seconds: Sequence[float], share: int) -> int:
    """Where in the sorted list the last of so many percent is."""
    return max(0, -(-len(sorted_seconds) * share // 100) - 1)


def table(result: Result, agents: int) -> str:
    """What was measured, as Markdown."""
    lines = [f"| {agents} agents | half have it | 99 % | all | rounds |", "| --- | --- | --- | --- | --- |"]
    for way, rounds in result.seconds.items():
        at = [
            statistics.median(one[min(len(one) - 1, len(one) * share // 100)] for one in rounds)
            for share in (50, 99, 100)
        ]
        lines.append(f"| {way} | {at[0]:.2f} s | {at[1]:.2f} s | {at[2]:.2f} s | {len(rounds)} |")
    requests, fetched = statistics.median(result.requests), statistics.median(result.fetched)
    lines += ["", f"| {agents} agents | requests | bytes | dollars |", "| --- | --- | --- | --- |"]
    lines.append(f"| a promotion | {requests:,.0f} | {fetched:,.0f} | {requests * GET_PRICE / 1e6:.6f} |")
    a_day = result.idle * DAY
    lines.append(f"| a day of polling | {a_day:,.0f} | | {a_day * GET_PRICE / 1e6:.2f} |")
    return "\n".join(lines) + "\n"


def plot(result: Result, agents: int) -> str:
    """Time against the share of the agents that have it, as SVG."""
    marks = {1.0: "1 %", 10.0: "10 %", 50.0: "50 %", 100.0: "100 %"}
    lines = {}
    for way, rounds in result.seconds.items():
        shares = [1, 2, 5, 10, 20, 50, 80, 90, 95, 99, 100]
        points = []
        for share in shares:
            taken = [one[_place(one, share)] for one in rounds]
            points.append((float(share), 1e3 * max(1e-3, statistics.median(taken))))
        lines[way] = points
    return plots.drawn(f"{agents} agents: time until a promotion is live", "share of the agents", lines, marks)


def main() -> None:
    """Measure, and write what was asked for."""
    parser = argparse.ArgumentParser(description="A promotion on its way to hundreds of agents.")
    parser.add_argument("--agents", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--idle", type=float, default=60.0, metavar="SECONDS")
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--plot", type=Path)
    asked = parser.parse_args()
    result = measured(asked.agents, asked.rounds, asked.idle)
    said = table(result, asked.agents)
    sys.stdout.write(said)
    if asked.markdown:
        asked.markdown.write_text(said)
    if asked.plot:
        asked.plot.write_text(plot(result, asked.agents))


if __name__ == "__main__":
    main()
