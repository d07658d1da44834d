"""Nothing changed: what an agent that runs takes for a look, what a process takes, and what the bare client takes.

A look by request is ``POST /v1/pull`` of a running agent; a look by itself is the pull alone, as the agent's poll makes
it, in a process with nothing else. Both are the mean of fifty; so is the bare client's conditional read of the same
object, over a connection that it keeps. What comes before, the first read with its connection, is not in the processor
time; the bare client's first read is as long as the others, and its bytes are divided by 51.
"""

from __future__ import annotations

import importlib.util
import sys
import time
from typing import TYPE_CHECKING, Final

from dagferry_schemas import layout
from tests.bench import buckets
from tests.bench.changes import FRESH, OURS, agent_pull
from tests.bench.rows import RELAY_SECONDS
from tests.e2e.harness import BUNDLE, CHECKOUT
from tests.storage import servers

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.bench.costs import Figures, Processes
    from tests.bench.counted import Relay, Traffic
    from tests.bench.peers import Peer
    from tests.bench.rows import Rows
    from tests.bench.sites import Site

NOTHING, PROCESS = "nothing new in L", "nothing new in L, whole process"
RESIDENT: Final = "resident, L live"
POLL: Final = "dagferry, by itself"
CLIENTS: Final = ("boto3", "obstore")
LOOKS: Final = 50


def bare(client: str) -> str:
    """The name of a bare client's row."""
    return f"{client} alone"


def has(client: str) -> bool:
    """Whether that client can be imported."""
    return importlib.util.find_spec(client) is not None


class NothingNew:
    """Looks at one site at which nothing is new."""

    def __init__(self, site: Site, rows: Rows, run: Processes, s3: Relay, endpoint: str) -> None:
        self._site, self._rows, self._run, self._s3, self._endpoint = site, rows, run, s3, endpoint
        self.clients = [client for client in CLIENTS if has(client)]
        self.reader = self._find_reader()

    def _find_reader(self) -> str:
        """Which of the clients a pull that finds nothing new imports; empty: none of them."""
        command = [sys.executable, "-X", "importtime", *agent_pull(self._site, "reader")[1:]]
        shell = f'exec "$@" 2>&1 | grep -oE "[|] +({"|".join(CLIENTS)})$" | tr -d "| " | sort -u; true'
        found = self._run.run("bash", "-c", shell, "sh", *command, cwd=self._site.folder).split()
        return found[0] if found else ""

    def take(self, number: int, peers: list[tuple[str, Peer]]) -> None:
        """All looks, in an order that turns; each peer with the name of its corpus."""
        works: list[Callable[[], None]] = [self._asked, self._polls, self._process]
        for client in self.clients:
            works += [lambda one=client: self._many(one), lambda one=client: self._one(one)]  # type: ignore[misc]
        works += [lambda one=pair: self._peer(*one) for pair in peers]  # type: ignore[misc]
        for work in works[number % len(works) :] + works[: number % len(works)]:
            work()
        self._site.resident.settle()
        self._rows.add((RESIDENT, OURS), self._site.resident.memory())

    def _asked(self) -> None:
        resident, traffic = self._site.resident, self._s3.traffic
        before, cpu, began = resident.used(), resident.cpu(), time.perf_counter()
        for _ in range(LOOKS):
            assert not self._site.agent.pull()["changed"]
        seconds, cpu, used = time.perf_counter() - began, resident.cpu() - cpu, resident.used()
        time.sleep(RELAY_SECONDS)
        figures = {"seconds": seconds / LOOKS, "cpu": cpu / LOOKS, "written": (used.written - before.written) / LOOKS}
        self._rows.add((NOTHING, OURS), figures | self._wire(traffic, LOOKS))

    def _polls(self) -> None:
        channel, root = self._site.corpus.name.lower(), self._site.folder / "polls"
        pull = agent_pull(self._site, root.name)
        self._run.run(*pull, cwd=self._site.folder)
        arguments = (self._site.counted, BUNDLE, channel, str(root))
        said = self._run.run(sys.executable, "-m", "tests.bench.polls", *arguments, str(LOOKS), cwd=CHECKOUT)
        self._rows.add((NOTHING, POLL), {"cpu": float(said)})

    def _many(self, client: str) -> None:
        traffic = self._s3.traffic
        command = (sys.executable, "-m", "tests.bench.bare", client, *self._head(), str(LOOKS))
        said = self._run.run(*command, cwd=CHECKOUT)
        time.sleep(RELAY_SECONDS)
        self._rows.add((NOTHING, bare(client)), {"cpu": float(said), **self._wire(traffic, LOOKS + 1)})

    def _process(self) -> None:
        command = agent_pull(self._site, "up-to-date")
        self._run.run(*command, cwd=self._site.folder)
        self._rows.processes(
            (PROCESS, FRESH), self._run, lambda: self._run.run(*command, cwd=self._site.folder), self._s3
        )

    def _one(self, client: str) -> None:
        command = (sys.executable, "-m", "tests.bench.bare", client, *self._head())
        self._rows.processes(
            (PROCESS, bare(client)), self._run, lambda: self._run.run(*command, cwd=CHECKOUT), self._s3
        )

    def _peer(self, corpus: str, peer: Peer) -> None:
        self._rows.processes((f"nothing new in {corpus}", peer.name), self._run, peer.take, peer.relay)

    def _wire(self, before: Traffic, count: int) -> Figures:
        traffic = self._s3.traffic.since(before)
        return {"requests": traffic.requests / count, "wire": (traffic.sent + traffic.received) / count}

    def _head(self) -> tuple[str, str, str]:
        """Endpoint, key and ETag of the channel's head."""
        key = f"bench/{layout.head(BUNDLE, self._site.corpus.name.lower())}"
        found = buckets.client(self._endpoint).head_object(Bucket=servers.BUCKET, Key=key)
        return f"http://127.0.0.1:{self._s3.port}", key, str(found["ETag"])
