"""What is in one round, and what there has to be before the first one."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.bench import corpora, works
from tests.bench.buckets import AWS, RCLONE, Bucket, Syncing, program
from tests.bench.builds import Builds
from tests.bench.changes import AtOnce, Changes
from tests.bench.corpora import edited
from tests.bench.costs import Processes, Resident
from tests.bench.counted import relay
from tests.bench.firsts import UNFLUSHED, Firsts
from tests.bench.nothing_new import CLIENTS, NothingNew, has
from tests.bench.peers import OSTREE, SYNC, GitPull, GitServer, GitSync, OSTree
from tests.bench.rows import Rows
from tests.bench.sites import Site
from tests.e2e.harness import CHECKOUT, environment
from tests.storage import servers

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import ExitStack

    from tests.bench.peers import Peer

EVERY: Final = 3
"""Of so many rounds, one has the works that take longest."""


def started(folder: Path) -> Processes:
    """The launcher of all processes; their environment has nothing of the user's, and bytecode is kept."""
    env = environment(PYTHONDONTWRITEBYTECODE=None, AWS_DEFAULT_REGION="us-east-1")
    path = os.pathsep.join(filter(None, [env.get("PYTHONPATH"), str(CHECKOUT)]))
    return Processes(folder, env | {"PYTHONPATH": path})


class Bench:
    """The corpora at our side and at the peers', and what they took."""

    def __init__(self, folder: Path, sizes: Sequence[str], wheel: Path | None, at_the_end: ExitStack) -> None:
        self._folder, self._at_the_end = folder, at_the_end
        self._run = started(folder)
        at_the_end.callback(self._run.close)
        self.rows = Rows()
        before = _children()
        self._endpoint = at_the_end.enter_context(servers.s3())
        (server,) = _children() - before
        self._server = Resident(server)
        self._s3 = at_the_end.enter_context(relay(int(self._endpoint.rpartition(":")[2])))
        self._all: dict[str, Changes] = {}
        self._firsts: dict[str, Firsts] = {}
        for name in sizes:
            self._begin(corpora.generated(name))
        if wheel is not None and wheel.is_file():
            self._begin(corpora.real(wheel))
        else:
            self.rows.left_out.append(f"{corpora.REAL}, Airflow's wheel as a repository: no --wheel")
        large = self._all["L"]
        large.add_fresh()
        self._at_once = AtOnce(large.site, self.rows, self._run, self._s3)
        self._nothing = NothingNew(large.site, self.rows, self._run, self._s3, self._endpoint)
        self.rows.left_out += [f"{one} alone: it is not installed" for one in CLIENTS if not has(one)]
        self.rows.reader = self._nothing.reader
        self._syncing = self._begin_syncing()
        if "S" in self._all:
            self._all["S"].add_agents(self._server)
        self._builds = Builds(folder / "builds", self.rows, self._run)

    def _begin(self, corpus: corpora.Corpus) -> None:
        print(f"corpus {corpus.name}", file=sys.stderr, flush=True)  # noqa: T201
        base, name = f"s3://{servers.BUCKET}/bench?endpoint=", corpus.name
        counted = f"{base}http://127.0.0.1:{self._s3.port}"
        site = Site(corpus, self._folder / name, base + self._endpoint, counted, self._at_the_end)
        git = GitServer(site, self._run)
        peers: list[Peer] = [GitPull(site, self._run, git), GitSync(site, self._run, git)]
        firsts = Firsts(site, self.rows, self._run, self._s3, self._endpoint)
        if name in ("S", "L"):
            if shutil.which("ostree"):
                peers.append(OSTree(site, self._run))
            else:
                self.rows.left_out.append(f"OSTree on {name}: it is not installed")
        if name == "L":
            firsts.add_unpackers()
            firsts.add_git(git)
        self._all[name] = Changes(site, self.rows, self._run, self._s3, peers)
        self._all[name].git = git
        self._firsts[name] = firsts

    def _begin_syncing(self) -> list[Syncing]:
        if "S" not in self._all:
            return []
        small = self._all["S"]
        there = [name for name in (RCLONE, AWS) if program(name)]
        self.rows.left_out += [f"{name}: it is not installed" for name in (RCLONE, AWS) if name not in there]
        if not there:
            return []
        bucket = Bucket(small.site, self._endpoint)
        found = [Syncing(name, small.site, self._run, bucket, self._s3) for name in there]
        small.peers.update({peer.name: peer for peer in found})
        return found

    def round(self, number: int) -> None:
        """All works; those that take longest in one round of `EVERY`."""
        long = number % EVERY == 0
        large = self._all["L"]
        self._at_once.catch_up()
        large.begin(0.0)
        self._at_once.take(number)
        large.take(works.ONE, number)
        for name in self._all.keys() - {"L"}:
            self._other(name, number, long)
        large.begin(0.01)
        large.take(works.MANY, number)
        large.begin(0.01, edited)
        large.take(works.EDITED, number)
        if long:
            large.begin(0.1, edited)
            large.take(works.TENTH, number)
        self._first_pulls(number, long)
        git = large.peers["git pull"]
        self._nothing.take(number, [("L", git), *(("S", peer) for peer in self._syncing)])
        self._builds.take(number)

    def _other(self, name: str, number: int, long: bool) -> None:
        changes = self._all[name]
        changes.begin(0.0)
        changes.take(works.one_file(name), number, frozenset() if long or name != "XL" else frozenset({SYNC}))

    def _first_pulls(self, number: int, long: bool) -> None:
        self._firsts["L"].take(number)
        if not long:
            return
        for name in self._firsts.keys() - {"L"}:
            firsts = self._firsts[name]
            firsts.take_one(UNFLUSHED, *firsts.ways[UNFLUSHED])
        for syncing in self._syncing:
            self._firsts["S"].bucket(syncing)
        ostree = self._all["L"].peers.get(OSTREE)
        if isinstance(ostree, OSTree):
            self._firsts["L"].ostree(ostree)


def _children() -> set[int]:
    return {int(one) for task in Path("/proc/self/task").iterdir() for one in (task / "children").read_text().split()}
