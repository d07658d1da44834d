"""What takes a change over: one file, a share of the files, at once after another change, and on ten agents.

Ours is a running agent on an S3 server (moto), asked to pull: the time is that of its request, until the release is
live and flushed (``--durability auto``). Before it, the agent has settled; after it, what it does in idle time is
counted up to where it has settled again. That includes the copy that is prepared for the next change, and that Airflow
is shown once more what changed (after three seconds here, and not after 31). The fresh process is ``dagferry-agent pull
--durability none`` with a disk of its own. At once: as the agent does it where nothing is prepared.
"""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from dagferry_agent.delivery import open_delivery
from dagferry_agent.settings import Settings
from tests.bench.corpora import appended
from tests.bench.costs import LATER_SECONDS, Figures, Resident
from tests.bench.peers import PULL
from tests.bench.rows import RELAY_SECONDS
from tests.bench.works import AT_ONCE
from tests.e2e.harness import BUNDLE, COMMANDS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tests.bench.costs import Processes
    from tests.bench.counted import Relay
    from tests.bench.peers import GitServer, Peer
    from tests.bench.rows import Row, Rows
    from tests.bench.sites import Site

OURS, FRESH, COPY = "dagferry", "dagferry, fresh process", "cp -al"
AGENTS: Final = 10
TEN: Final = f"dagferry, {AGENTS} agents"
SEED: Final = 20261123


def agent_pull(site: Site, root: str, *options: str) -> list[str]:
    """The command of a pull by a process of its own."""
    return [*COMMANDS["dagferry-agent"], "pull", *site.pod(root).options, *options]


class Changes:
    """One site, and all who take its changes over."""

    def __init__(self, site: Site, rows: Rows, run: Processes, s3: Relay, peers: Sequence[Peer]) -> None:
        self.site, self._rows, self._run, self._s3 = site, rows, run, s3
        self.peers = {peer.name: peer for peer in peers}
        self.also: dict[str, Callable[[Row], None]] = {}
        self.git: GitServer | None = None
        self._drawn = random.Random(f"{SEED} {site.corpus.name}")

    def begin(self, share: float, how: Callable[[bytes, int], bytes] = appended) -> None:
        """So much of the corpus changes (0: one file), and is offered to all."""
        count = len(self.site.corpus.paths)
        self.site.change(self._drawn.sample(range(count), max(1, round(count * share))), how)
        for peer in self.peers.values():
            peer.offer()
        self.site.resident.settle()

    def take(self, work: str, number: int, without: frozenset[str] = frozenset()) -> None:
        """All take it over in turn, in an order that turns with ``number``; `without` take it, and are not counted."""
        names = [name for name in (OURS, *self.also, *self.peers) if name not in without]
        first = number % len(names)
        for name in names[first:] + names[:first]:
            self._take(work, name)

    def _take(self, work: str, name: str) -> None:
        if name == OURS:
            self._rows.resident((work, OURS), self.site.resident, self.site.pull, self._s3)
        elif name in self.also:
            self.also[name]((work, name))
        else:
            peer = self.peers[name]
            self.site.check(self._rows.processes((work, name), self._run, peer.take, peer.relay))
            if name == PULL and self.git is not None:
                self._rows.taken[work, name][-1]["payload"] = self.git.payload()

    def add_fresh(self) -> None:
        """A process of its own takes part."""
        root = "fresh"
        command = agent_pull(self.site, root, "--durability=none")
        self._run.run(*command, cwd=self.site.folder)

        def take(row: Row) -> None:
            self._rows.processes(row, self._run, lambda: self._run.run(*command, cwd=self.site.folder), self._s3)
            self.site.check(self.site.pod(root).current)

        self.also[FRESH] = take

    def add_agents(self, server: Resident) -> None:
        """Ten agents take part, told at the same moment; with the processor time of the store's server."""
        agents = [self.site.begin(f"root-{number}") for number in range(AGENTS)]
        residents = [Resident(agent.process.pid) for agent in agents]
        pool = ThreadPoolExecutor(AGENTS)
        self.site.at_the_end.callback(pool.shutdown)

        def told() -> Figures:
            for resident in residents:
                resident.settle()
            before, began = server.cpu(), time.perf_counter()
            cpu = sum(resident.cpu() for resident in residents)
            replies = list(pool.map(lambda agent: agent.pull(), agents))
            seconds = time.perf_counter() - began
            assert all(reply["changed"] for reply in replies)
            cpu = sum(resident.cpu() for resident in residents) - cpu
            return {"seconds": seconds, "cpu": cpu, "server cpu": server.cpu() - before}

        def take(row: Row) -> None:
            self._rows.add(row, told())
            for agent in agents:
                self.site.check(agent.pod.current)
            time.sleep(LATER_SECONDS * 1.2)
            for resident in residents:
                resident.settle()

        self.also[TEN] = take


class AtOnce:
    """A disk on which nothing is ever prepared, beside a copy of its tree by links."""

    def __init__(self, site: Site, rows: Rows, run: Processes, s3: Relay) -> None:
        self._site, self._rows, self._run, self._s3 = site, rows, run, s3
        self._root: Path = site.folder / "at-once"
        self._copies = 0
        settings = Settings(site.counted, BUNDLE, site.corpus.name.lower(), self._root, "bench")
        self._delivery = open_delivery(settings)
        self._delivery.prepare()
        self._delivery.pull()

    def catch_up(self) -> None:
        """Take over what there was; not measured."""
        self._delivery.pull()

    def take(self, number: int) -> None:
        """Take over one change, and copy the tree, in an order that turns."""
        for work in (self._pull, self._copy) if number % 2 else (self._copy, self._pull):
            work()

    def _pull(self) -> None:
        before, began = self._s3.traffic, time.perf_counter()
        reply = self._delivery.pull()
        seconds = time.perf_counter() - began
        assert reply.changed
        assert reply.requests == 2
        self._site.check(self._root / "current")
        time.sleep(RELAY_SECONDS)
        traffic = self._s3.traffic.since(before)
        wire = {"requests": traffic.requests, "wire": traffic.sent + traffic.received}
        self._rows.add((AT_ONCE, OURS), {"seconds": seconds, **wire, "payload": reply.bytes_fetched})

    def _copy(self) -> None:
        self._copies += 1
        copy = self._site.folder / f"copy-{self._copies}"
        tree = (self._root / "current").resolve()
        run = self._run
        self._rows.processes(
            (AT_ONCE, COPY), self._run, lambda: run.run("cp", "-al", tree, copy, cwd=self._site.folder)
        )
