"""How long a change takes to be live, whatever the size of the repository: ours beside git, OSTree and plain copies.

    python -m tests.bench.speed [--rounds 15] [--sizes S L XL] [--json FILE]

All is on loopback and on one disk. In each round a commit changes one file of each corpus, is published and promoted,
and then the peers take it over one after the other, in an order that turns from round to round. Ours is a running agent
that is asked to pull, on an S3 server (moto), and its time is that of the request, until the release is live and
flushed. The peers: ``git pull`` in place (depth 1, git daemon; not atomic, not flushed), the documented steps of
git-sync 4 (fetch, a new worktree, a link that is renamed; the old worktree stays), and OSTree (pull, checkout with hard
links, a link that is renamed). A bar is judged by the upper end of the bootstrapped 95 % interval of the ratio of the
medians; where that interval has the bar in it, it is not decided.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any, Final

from dagferry_agent.delivery import open_delivery
from dagferry_agent.settings import Settings
from tests.airflow.standing import free_port
from tests.bench import corpora
from tests.bench.counted import Traffic, relay
from tests.e2e.harness import BUNDLE, NO_LINT, Agent, Operator, Pod, Repository, wait_for
from tests.storage import servers
from tests.storage.processes import listens, running

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.bench.counted import Relay

OURS, PULL, SYNC, OSTREE, COPY = "dagferry", "git pull", "git-sync's steps", "OSTree", "cp -al"
SEED: Final = 20261123
QUIET_SECONDS: Final = 0.4


@dataclass(frozen=True)
class Taken:
    """What one work took: seconds, and what went over the wire."""

    seconds: float
    traffic: Traffic


class Plain(SimpleHTTPRequestHandler):
    """Files, without a word, and without waiting for more to send (Nagle)."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def told(*command: str | Path, cwd: Path) -> None:
    """Run a command that has to succeed."""
    done = subprocess.run(list(map(str, command)), cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (command, done.stderr[-2000:])


def link(target: Path, name: Path) -> None:
    """Let ``name`` lead to ``target``, by one rename."""
    fresh = name.with_name(".fresh")
    fresh.symlink_to(target)
    fresh.rename(name)


@dataclass
class Site:
    """One corpus: its repository, what was published of it, an agent, and the peers' clones."""

    size: str
    folder: Path
    store: str
    counted: str
    at_the_end: ExitStack
    commits: int = 0
    clones: dict[str, Path] = field(default_factory=dict)
    relays: dict[str, Relay] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.count = corpora.SIZES[self.size]
        self.repository = Repository(self.folder / "clone")
        self.operator = Operator(self.repository.path, self.store, {"XDG_CACHE_HOME": str(self.folder / "cache")})
        self.operator = self.operator.on(self.size.lower())
        self.ship(frozenset())
        self.pod = Pod(self.folder / "root", self.counted, self.size.lower())
        self.agent = Agent(self.pod)
        self.at_the_end.callback(self.agent.stop)
        wait_for(lambda: self.agent.ready()[0] or None, "a live release", seconds=180)

    def ship(self, changed: frozenset[int]) -> None:
        """Commit and promote; all files at the first time."""
        self.commits += 1
        word = f"# release {self.commits}\n"
        if self.commits == 1:
            made = {f"dags/{path}": text for path, text in corpora.files(self.count)}
        else:
            made = {f"dags/{corpora.path_of(one)}": corpora.text_of(one) + word for one in changed}
        self.repository.change(made, word)
        self.operator.run("ship", "--rev", "HEAD", env={NO_LINT: "1"})

    def check(self, folder: Path, changed: frozenset[int]) -> None:
        """What a peer has is what was committed, as far as it changed."""
        for one in changed:
            assert f"# release {self.commits}\n" in (folder / corpora.path_of(one)).read_text(), folder

    def ours(self) -> None:
        """The running agent takes it over."""
        assert self.agent.pull()["changed"]

    def settle(self) -> None:
        """Wait until the agent does nothing more."""
        last, since = -1, time.monotonic()
        while time.monotonic() - since < QUIET_SECONDS:
            now = sum(map(int, Path(f"/proc/{self.agent.process.pid}/stat").read_text().split()[13:15]))
            if now != last:
                last, since = now, time.monotonic()
            time.sleep(0.05)


class Peers:
    """The peers on one corpus: clones, and how each takes over what is new."""

    def __init__(self, site: Site) -> None:
        self.site = site
        folder, self.top = site.folder, site.folder / "peers"
        self.top.mkdir()
        self.bare = folder / "git" / "dags.git"
        told("git", "clone", "--quiet", "--bare", site.repository.path, self.bare, cwd=folder)
        (self.bare / "git-daemon-export-ok").touch()
        site.repository.git("remote", "add", "origin", str(self.bare))
        port = free_port()
        daemon = ["git", "daemon", "--reuseaddr", f"--base-path={folder / 'git'}", "--listen=127.0.0.1"]
        site.at_the_end.enter_context(running([*daemon, f"--port={port}"], folder, lambda: listens(port)))
        self.git = site.at_the_end.enter_context(relay(port))
        self.url = f"git://127.0.0.1:{self.git.port}/dags.git"
        for name in ("pulled", "synced"):
            told("git", "clone", "--quiet", "--depth=1", self.url, self.top / name, cwd=folder)
        self.trees = 0
        self.works: dict[str, tuple[Callable[[], Path], Relay]] = {
            PULL: (self.pull, self.git),
            SYNC: (self.sync, self.git),
        }
        if shutil.which("ostree"):
            self._begin_ostree()

    def push(self) -> None:
        """The commit goes to the server; OSTree's too."""
        self.site.repository.git("push", "--quiet", "origin", "main")
        if OSTREE in self.works:
            self._commit_ostree()

    def pull(self) -> Path:
        """In place."""
        told("git", "pull", "--quiet", "--ff-only", cwd=self.top / "pulled")
        return self.top / "pulled" / "dags"

    def sync(self) -> Path:
        """A worktree of its own for each commit."""
        self.trees += 1
        tree = self.top / f"tree-{self.trees}"
        told("git", "fetch", "--quiet", "--depth=1", "origin", "main", cwd=self.top / "synced")
        told("git", "worktree", "add", "--quiet", "--detach", tree, "FETCH_HEAD", cwd=self.top / "synced")
        link(tree, self.top / "link")
        return self.top / "link" / "dags"

    def _begin_ostree(self) -> None:
        self.source, self.local = self.top / "ostree", self.top / "ostree-local"
        told("ostree", f"--repo={self.source}", "init", "--mode=archive", cwd=self.top)
        self._commit_ostree()
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Plain, directory=str(self.source)))
        Thread(target=server.serve_forever, daemon=True).start()
        self.site.at_the_end.callback(server.shutdown)
        self.http = self.site.at_the_end.enter_context(relay(server.server_port))
        told("ostree", f"--repo={self.local}", "init", "--mode=bare-user-only", cwd=self.top)
        url = f"http://127.0.0.1:{self.http.port}"
        told("ostree", f"--repo={self.local}", "remote", "add", "--no-gpg-verify", "origin", url, cwd=self.top)
        self.works[OSTREE] = (self.checkout, self.http)
        self.checkout()

    def _commit_ostree(self) -> None:
        tree = self.site.repository.path / "dags"
        told("ostree", f"--repo={self.source}", "commit", "--branch=main", f"--tree=dir={tree}", cwd=self.top)

    def checkout(self) -> Path:
        """What is new, by hard links to what was pulled."""
        self.trees += 1
        tree = self.top / f"checkout-{self.trees}"
        told("ostree", f"--repo={self.local}", "pull", "origin", "main", cwd=self.top)
        told("ostree", f"--repo={self.local}", "checkout", "-H", "-U", "origin:main", tree, cwd=self.top)
        link(tree, self.top / "ostree-link")
        return self.top / "ostree-link"

    def tidy(self) -> None:
        """Old trees go, outside of what is measured."""
        for path in [*self.top.glob("tree-*"), *self.top.glob("checkout-*")]:
            if path.name not in (f"tree-{self.trees}", f"checkout-{self.trees}") and not self._is_live(path):
                shutil.rmtree(path)
        told("git", "worktree", "prune", cwd=self.top / "synced")

    def _is_live(self, path: Path) -> bool:
        links = [self.top / "link", self.top / "ostree-link"]
        return any(one.is_symlink() and one.readlink() == path for one in links)


class Bench:
    """All that was taken, by work and peer."""

    def __init__(self, folder: Path, sizes: list[str], at_the_end: ExitStack) -> None:
        endpoint = at_the_end.enter_context(servers.s3())
        self.s3 = at_the_end.enter_context(relay(int(endpoint.rpartition(":")[2])))
        base = f"s3://{servers.BUCKET}/bench?endpoint="
        self.sites = {
            size: Site(size, folder / size, base + endpoint, f"{base}http://127.0.0.1:{self.s3.port}", at_the_end)
            for size in sizes
        }
        self.folder = folder
        self.peers = Peers(self.sites["L"])
        self.taken: dict[tuple[str, str], list[Taken]] = defaultdict(list)
        self.drawn = random.Random(SEED)

    def take(self, work: str, peer: str, do: Callable[[], Any], counter: Relay) -> Any:  # noqa: ANN401
        """Measure one work."""
        before, began = counter.traffic, time.perf_counter()
        found = do()
        seconds = time.perf_counter() - began
        time.sleep(0.05)  # the relay's last count
        self.taken[work, peer].append(Taken(seconds, counter.traffic.since(before)))
        return found

    def change(self, work: str, share: float, number: int) -> None:
        """One round: so much of L changes (0: one file), and all take it over in turn."""
        site = self.sites["L"]
        changed = frozenset(self.drawn.sample(range(site.count), max(1, int(site.count * share))))
        site.ship(changed)
        self.peers.push()
        site.settle()
        names = [OURS, *self.peers.works]
        for name in names[number % len(names) :] + names[: number % len(names)]:
            if name == OURS:
                self.take(work, OURS, site.ours, self.s3)
                site.check(site.pod.current, changed)
            else:
                do, counter = self.peers.works[name]
                site.check(self.take(work, name, do, counter), changed)
        self.peers.tidy()

    def other_size(self, size: str) -> None:
        """One file changes in another corpus, and ours takes it over."""
        site = self.sites[size]
        changed = frozenset([self.drawn.randrange(site.count)])
        site.ship(changed)
        site.settle()
        self.take(f"one file of {size}", OURS, site.ours, self.s3)
        site.check(site.pod.current, changed)

    def at_once(self) -> None:
        """A change right after another: nothing is prepared. Beside a copy of the tree by links."""
        site = self.sites["L"]
        root = self.folder / "at-once"
        delivery = open_delivery(Settings(site.counted, BUNDLE, "l", root, "bench"))
        delivery.prepare()
        delivery.pull()
        site.ship(frozenset([self.drawn.randrange(site.count)]))
        assert self.take("at once, one file of L", OURS, delivery.pull, self.s3).requests == 2
        copy = self.folder / "copied"
        self.take(
            "at once, one file of L",
            COPY,
            lambda: told("cp", "-al", f"{root}/current/", copy, cwd=self.folder),
            self.s3,
        )
        shutil.rmtree(copy)
        site.ours()

    def nothing_new(self) -> None:
        """Asked again."""
        site = self.sites["L"]
        self.take("nothing new in L", OURS, site.agent.pull, self.s3)
        self.take("nothing new in L", PULL, self.peers.pull, self.peers.git)

    def ratio(self, over: tuple[str, str], under: tuple[str, str]) -> tuple[float, float, float]:
        """Ratio of the medians of two rows, and the ends of its bootstrapped 95 % interval."""
        one, other = ([taken.seconds for taken in self.taken[key]] for key in (over, under))
        chance = random.Random(SEED)
        found = sorted(
            statistics.median(chance.choices(one, k=len(one))) / statistics.median(chance.choices(other, k=len(other)))
            for _ in range(4000)
        )
        return statistics.median(one) / statistics.median(other), found[99], found[-100]

    def table(self) -> str:
        """The medians, as Markdown."""
        lines = ["| work | peer | ms | requests | bytes over the wire |", "| --- | --- | --- | --- | --- |"]
        for (work, peer), taken in sorted(self.taken.items()):
            wire = statistics.median(one.traffic.sent + one.traffic.received for one in taken)
            asked = statistics.median(one.traffic.requests for one in taken)
            ms = 1000 * statistics.median(one.seconds for one in taken)
            lines.append(f"| {work} | {peer} | {ms:.1f} | {asked:.0f} | {wire:.0f} |")
        return "\n".join(lines)

    def bars(self) -> str:
        """The bars, each judged."""
        lines = ["| bar | ratio | 95 % | asked | |", "| --- | --- | --- | --- | --- |"]
        one, many, at_once = "one file of L", "1 % of L", "at once, one file of L"
        asked = [
            ((one, PULL), (one, OURS), 4.0, True),
            ((one, OSTREE), (one, OURS), 12.0, True),
            ((one, SYNC), (one, OURS), 40.0, True),
            ((at_once, OURS), (at_once, COPY), 1.5, False),
            (("one file of XL", OURS), ("one file of S", OURS), 2.0, False),
            ((many, OURS), (many, PULL), 0.6, False),
        ]
        for over, under, bar, least in asked:
            if over in self.taken and under in self.taken:
                ratio, low, high = self.ratio(over, under)
                met = low >= bar if least else high <= bar
                missed = high < bar if least else low > bar
                verdict = "met" if met else "missed" if missed else "not decided"
                word = "at least" if least else "at most"
                name = f"{over[0]}: {over[1]} / {under[0] + ': ' if under[0] != over[0] else ''}{under[1]}"
                lines.append(f"| {name} | {ratio:.2f} | {low:.2f} to {high:.2f} | {word} {bar} | {verdict} |")
        return "\n".join(lines)


def main() -> None:
    """Measure in a folder of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--sizes", nargs="+", choices=corpora.SIZES, default=list(corpora.SIZES))
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    os.environ.update(servers.CREDENTIALS)
    with ExitStack() as at_the_end:
        folder = Path(at_the_end.enter_context(tempfile.TemporaryDirectory(prefix="dagferry-bench-")))
        bench = Bench(folder, sorted({*asked.sizes, "L"}), at_the_end)
        for number in range(asked.rounds):
            bench.change("one file of L", 0.0, number)
            bench.change("1 % of L", 0.01, number)
            for size in bench.sites.keys() - {"L"}:
                bench.other_size(size)
            bench.at_once()
            bench.nothing_new()
            print(f"round {number + 1}", file=sys.stderr, flush=True)  # noqa: T201
        sys.stdout.write(f"{bench.table()}\n\n{bench.bars()}\n")
        if asked.json:
            facts = {
                " | ".join(key): [(one.seconds, *one.traffic) for one in taken] for key, taken in bench.taken.items()
            }
            asked.json.write_text(json.dumps(facts))


if __name__ == "__main__":
    main()
