"""First pulls: an empty disk, and a whole process that fills it.

``curl | tar --zstd`` and ``tarfile`` take the very tarball that ours takes: curl from a plain HTTP server, and
``tarfile`` with ``filter="data"`` from a file that was downloaded before. Neither checks anything, and only ours with
``--durability auto`` is flushed. What the bench removes between two takes is flushed before the next begins.
"""

from __future__ import annotations

import os
import sys
from functools import partial
from typing import TYPE_CHECKING, Final

from dagferry_schemas import layout
from tests.bench.buckets import client
from tests.bench.changes import agent_pull
from tests.bench.counted import relay
from tests.e2e.harness import BUNDLE
from tests.storage import servers

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.bench.buckets import Syncing
    from tests.bench.costs import Processes
    from tests.bench.counted import Relay
    from tests.bench.peers import GitServer, OSTree
    from tests.bench.rows import Rows
    from tests.bench.sites import Site

UNFLUSHED, FLUSHED = "dagferry, --durability none", "dagferry, --durability auto"
CURL, TARFILE, CLONE = "curl | tar --zstd", "tarfile, filter=data", "git clone --depth 1"
UNPACK: Final = """
import sys, tarfile, zstandard
with open(sys.argv[1], "rb") as packed, zstandard.ZstdDecompressor().stream_reader(packed) as plain:
    with tarfile.open(fileobj=plain, mode="r|") as opened:
        opened.extractall(sys.argv[2], filter="data")
"""


def first_pull(name: str) -> str:
    """The name of that work."""
    return f"first pull of {name}"


class Firsts:
    """First pulls of one site."""

    def __init__(self, site: Site, rows: Rows, run: Processes, s3: Relay, endpoint: str) -> None:
        self._site, self._rows, self._run, self._s3, self._endpoint = site, rows, run, s3, endpoint
        self._target = site.folder / "first"
        self._taken = 0
        self._served = site.folder / "served"
        self._served.mkdir()
        port = site.at_the_end.enter_context(servers.served("tests.bench.plain_http", str(self._served)))
        self._counter = site.at_the_end.enter_context(relay(port))
        self.ways: dict[str, tuple[Callable[[], Path], Relay | None]] = {
            UNFLUSHED: (partial(self._ours, "none"), s3),
            FLUSHED: (partial(self._ours, "auto"), s3),
        }

    def add_unpackers(self) -> None:
        """curl with tar, and Python's own."""
        self.ways[CURL] = (self._curl, self._counter)
        self.ways[TARFILE] = (self._tarfile, None)

    def add_git(self, git: GitServer) -> None:
        """A shallow clone."""
        self.ways[CLONE] = (partial(self._clone, git), git.relay)

    def take(self, number: int) -> None:
        """All in turn, in an order that turns."""
        if CURL in self.ways:
            self._download()
        names = list(self.ways)
        for name in names[number % len(names) :] + names[: number % len(names)]:
            self.take_one(name, *self.ways[name])

    def take_one(self, name: str, do: Callable[[], Path], counter: Relay | None) -> None:
        """One of them."""
        os.sync()
        self._target.mkdir()
        self._site.check_all(self._rows.processes((first_pull(self._site.corpus.name), name), self._run, do, counter))
        self._taken += 1
        self._target.rename(self._target.with_name(f"{self._target.name}-{self._taken}"))

    def ostree(self, peer: OSTree) -> None:
        """A pull into an empty repository and a checkout."""
        local = peer.begin(peer.top / f"empty-{self._taken}")

        def take() -> Path:
            peer.pull(local, self._target / "tree")
            return self._target / "tree"

        self.take_one(peer.name, take, peer.relay)

    def bucket(self, peer: Syncing) -> None:
        """A copy of the bucket into an empty folder."""

        def take() -> Path:
            peer.sync(self._target)
            return self._target

        self.take_one(peer.name, take, peer.relay)

    def _download(self) -> None:
        tree = self._site.agent.status()["tree"]
        answer = client(self._endpoint).get_object(Bucket=servers.BUCKET, Key=f"bench/{layout.tarball(BUNDLE, tree)}")
        (self._served / "dags.tar.zst").write_bytes(answer["Body"].read())

    def _ours(self, durability: str) -> Path:
        root = f"{self._target.name}/root"
        self._run.run(*agent_pull(self._site, root, f"--durability={durability}"), cwd=self._target)
        return self._target / "root" / "current"

    def _curl(self) -> Path:
        url = f"http://127.0.0.1:{self._counter.port}/dags.tar.zst"
        self._run.run("sh", "-c", 'curl -sSf "$0" | tar -x --zstd', url, cwd=self._target)
        return self._target

    def _tarfile(self) -> Path:
        packed = self._served / "dags.tar.zst"
        self._run.run(sys.executable, "-c", UNPACK, packed, self._target, cwd=self._target)
        return self._target

    def _clone(self, git: GitServer) -> Path:
        self._run.run("git", "clone", "--quiet", "--depth=1", git.url, "clone", cwd=self._target)
        return self._target / "clone" / "dags"
