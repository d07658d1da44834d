"""The peers that take changes over: git, git-sync's steps, and OSTree; each is given a site and has clones of it.

* git: ``git pull`` in place, depth 1, from ``git daemon``. Neither atomic nor flushed.
* git-sync's steps are what git-sync 4 documents that it does, as a script and not as its program: fetch, a new
  worktree, a link that is renamed. The old worktree is removed outside of what is measured.
* OSTree: pull over plain HTTP, a checkout by hard links, a link that is renamed.
* git's payload is the pack that came, to the byte, as git itself writes it out (``GIT_TRACE_PACKFILE``); taken by a
  bare clone of its own, outside of what is timed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from tests.bench.counted import relay
from tests.storage.processes import free_port, listens, running
from tests.storage.servers import served

if TYPE_CHECKING:
    from pathlib import Path

    from tests.bench.costs import Processes
    from tests.bench.counted import Relay
    from tests.bench.sites import Site

PULL, SYNC, OSTREE = "git pull", "git-sync's steps", "OSTree"


def link(target: Path, name: Path) -> None:
    """Let ``name`` lead to ``target``, by one rename."""
    fresh = name.with_name(".fresh")
    fresh.symlink_to(target)
    fresh.rename(name)


class Peer(Protocol):
    """Somebody who takes over what a site published."""

    name: str
    relay: Relay

    def offer(self) -> None:
        """What was committed goes to the peer's server; not measured."""

    def take(self) -> Path:
        """Take it over; the folder of the files."""


class GitServer:
    """A repository of its own for one site, behind ``git daemon`` and a relay."""

    def __init__(self, site: Site, run: Processes) -> None:
        self._site, self._run, self._offered = site, run, 0
        self.top = site.folder / "git"
        self.top.mkdir()
        bare = self.top / "dags.git"
        run.run("git", "clone", "--quiet", "--bare", site.repository.path, bare, cwd=self.top)
        (bare / "git-daemon-export-ok").touch()
        run.run("git", "config", "receive.autogc", "false", cwd=bare)
        site.repository.git("remote", "add", "origin", str(bare))
        port = free_port()
        daemon = ["git", "daemon", "--reuseaddr", f"--base-path={self.top}", "--listen=127.0.0.1", f"--port={port}"]
        site.at_the_end.enter_context(running(daemon, self.top, lambda: listens(port)))
        self.relay = site.at_the_end.enter_context(relay(port))
        self.url = f"git://127.0.0.1:{self.relay.port}/dags.git"
        self._pack = self.top / "pack"
        run.run("git", "clone", "--quiet", "--bare", "--depth=1", self.url, "payload.git", cwd=self.top)

    def push(self) -> None:
        """The newest commit goes there, once."""
        if self._offered != self._site.release:
            self._site.repository.git("push", "--quiet", "origin", "main")
            self._offered = self._site.release

    def payload(self) -> int:
        """Bytes of the pack that brings a clone from what it had to the newest commit."""
        self._pack.unlink(missing_ok=True)
        env = {"GIT_TRACE_PACKFILE": str(self._pack)}
        fetch = ("git", "fetch", "--quiet", "origin", "+main:main")
        self._run.run(*fetch, cwd=self.top / "payload.git", env=env)
        return self._pack.stat().st_size


class GitPull:
    """In place."""

    name = PULL

    def __init__(self, site: Site, run: Processes, server: GitServer) -> None:
        self._run, self._server, self.relay = run, server, server.relay
        self._clone = server.top / "pulled"
        run.run("git", "clone", "--quiet", "--depth=1", server.url, self._clone, cwd=server.top)

    def offer(self) -> None:
        """See `Peer`."""
        self._server.push()

    def take(self) -> Path:
        """See `Peer`."""
        self._run.run("git", "pull", "--quiet", "--ff-only", cwd=self._clone)
        return self._clone / "dags"


class GitSync:
    """A worktree of its own for each commit."""

    name = SYNC

    def __init__(self, site: Site, run: Processes, server: GitServer) -> None:
        self._run, self._server, self.relay = run, server, server.relay
        self._clone, self._trees = server.top / "synced", 0
        run.run("git", "clone", "--quiet", "--depth=1", server.url, self._clone, cwd=server.top)

    def offer(self) -> None:
        """See `Peer`."""
        self._server.push()

    def take(self) -> Path:
        """See `Peer`."""
        self._trees += 1
        tree = self._server.top / f"tree-{self._trees}"
        self._run.run("git", "fetch", "--quiet", "--depth=1", "origin", "main", cwd=self._clone)
        self._run.run("git", "worktree", "add", "--quiet", "--detach", tree, "FETCH_HEAD", cwd=self._clone)
        link(tree, self._server.top / "link")
        return self._server.top / "link" / "dags"


class OSTree:
    """A checkout of its own for each commit, by hard links to what was pulled."""

    name = OSTREE

    def __init__(self, site: Site, run: Processes) -> None:
        self._site, self._run, self._offered, self._trees = site, run, 0, 0
        self.top = site.folder / "ostree"
        self.top.mkdir()
        self.source = self.top / "source"
        run.run("ostree", f"--repo={self.source}", "init", "--mode=archive", cwd=self.top)
        self.offer()
        port = site.at_the_end.enter_context(served("tests.bench.plain_http", str(self.source)))
        self.relay = site.at_the_end.enter_context(relay(port))
        self._local = self.begin(self.top / "local")
        self.take()

    def begin(self, local: Path) -> Path:
        """An empty repository that pulls from the source."""
        self._run.run("ostree", f"--repo={local}", "init", "--mode=bare-user-only", cwd=self.top)
        remote = ("remote", "add", "--no-gpg-verify", "origin", f"http://127.0.0.1:{self.relay.port}")
        self._run.run("ostree", f"--repo={local}", *remote, cwd=self.top)
        return local

    def offer(self) -> None:
        """See `Peer`."""
        if self._offered != self._site.release:
            commit = ("commit", "--branch=main", f"--tree=dir={self._site.repository.path / 'dags'}")
            self._run.run("ostree", f"--repo={self.source}", *commit, cwd=self.top)
            self._offered = self._site.release

    def take(self) -> Path:
        """See `Peer`."""
        self._trees += 1
        tree = self.top / f"tree-{self._trees}"
        self.pull(self._local, tree)
        link(tree, self.top / "link")
        return self.top / "link"

    def pull(self, local: Path, tree: Path) -> None:
        """Pull into a repository, and check out."""
        self._run.run("ostree", f"--repo={local}", "pull", "origin", "main", cwd=self.top)
        self._run.run("ostree", f"--repo={local}", "checkout", "-H", "-U", "origin:main", tree, cwd=self.top)
