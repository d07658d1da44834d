"""A real agent with one release live, tokens of every kind, and a look at what it does and takes."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

from tests.e2e.harness import BUNDLE, COMMANDS, NO_LINT, Agent, Operator, Pod, Repository, wait_for

from . import wire
from .rows import HOST, TOKEN, request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

CHANNEL: Final = "prod"
_PULLS: Final = re.compile(
    rb"^dagferry_agent_(?:pull_duration_seconds_count|pull_failures_total)\{.*\} ([0-9.]+)$", re.MULTILINE
)
ENTRIES: Final[dict[str, dict[str, Any]]] = {
    "all": {"scopes": ["pull", "status"]},
    "hasty": {"scopes": ["pull"]},
    "pull": {"scopes": [f"pull:{BUNDLE}/{CHANNEL}"]},
    "status": {"scopes": ["status"]},
    "other-channel": {"scopes": [f"pull:{BUNDLE}/staging", "status"]},
    "other-bundle": {"scopes": [f"pull:other/{CHANNEL}", "status"]},
    "other-all": {"scopes": ["pull:other/*", "status"]},
    "expired": {"scopes": ["pull", "status"], "not_after": "2026-01-01T00:00:00Z"},
    "future": {"scopes": ["pull", "status"], "not_before": "9999-01-01T00:00:00Z"},
}
"""The entries of the tokens file, by their ids."""


@dataclass(frozen=True)
class Source:
    """A store with one version on one channel, and the folder of all that belongs to it."""

    folder: Path
    operator: Operator
    version: str

    @property
    def store(self) -> Path:
        """The store's folder."""
        return self.folder / "store"

    def pod(self, name: str) -> Pod:
        """A pod with an empty disk."""
        return Pod(self.folder / name / "root", self.store.as_uri(), CHANNEL)


def make_source(folder: Path) -> Source:
    """Publish and promote one version."""
    repository = Repository(folder / "clone")
    repository.change({"dags/daily.py": "VERSION = 1\n"})
    options = {NO_LINT: "1", "DAGFERRY_CHANNEL": CHANNEL}
    operator = Operator(repository.path, (folder / "store").as_uri(), options)
    version = operator.publish()
    operator.run("promote", version)
    return Source(folder, operator, version)


@dataclass
class World:
    """One running agent, and those who come to it."""

    MAY_GROW: ClassVar = 48 * 1024 * 1024
    """Bytes by which the process may be larger at any moment than it was when nobody came."""

    source: Source
    agent: Agent
    tokens: dict[str, str]
    tokens_file: Path

    @property
    def port(self) -> int:
        """Where the agent listens."""
        return int(self.agent.url.rpartition(":")[2])

    def fill(self, data: bytes) -> bytes:
        """The bytes of a row with the tokens that it names."""
        return TOKEN.sub(lambda found: self.tokens[found[1].decode()].encode(), data)

    def ask(self, data: bytes, source: str | None = None) -> wire.Reply:
        """What is answered; by default from an address that did nothing wrong before."""
        return wire.ask(self.port, self.fill(data), source or wire.new_source())

    def pulls(self) -> int:
        """How often the agent has pulled."""
        reply = self.ask(request("GET", "/metrics"))
        assert reply.status == 200, reply
        return int(sum(map(float, _PULLS.findall(reply.body))))

    def answers(self) -> None:
        """A valid request is answered."""
        reply = self.ask(request("GET", "/v1/status", b"Authorization: Bearer <all>"))
        assert reply.status == 200, reply

    @property
    def memory(self) -> int:
        """Bytes of memory that the agent's process has now."""
        text = Path(f"/proc/{self.agent.process.pid}/status").read_text()
        found = re.search(r"^VmRSS:\s+([0-9]+) kB$", text, re.MULTILINE)
        assert found is not None, text
        return int(found[1]) * 1024

    @property
    def descriptors(self) -> int:
        """How many files and sockets the agent's process has open."""
        return len(os.listdir(f"/proc/{self.agent.process.pid}/fd"))  # noqa: PTH208 (a folder of numbers)


def make_tokens() -> tuple[dict[str, str], list[dict[str, Any]]]:
    """Tokens by name, among them some that are none, and the entries of the tokens file."""
    tokens = {name: f"dft_{secrets.token_urlsafe(32)}" for name in (*ENTRIES, "wrong")}
    digests = {name: "sha256:" + hashlib.sha256(token.encode()).hexdigest() for name, token in tokens.items()}
    entries = [{"id": name, "sha256": digests[name], **entry} for name, entry in ENTRIES.items()]
    return {**tokens, "cut": tokens["all"][:-1], "digest": digests["all"]}, entries


@contextmanager
def running(
    source: Source,
    name: str,
    *arguments: str,
    poll_seconds: float = 0,
    command: Sequence[str] = COMMANDS["dagferry-agent"],
    make: Callable[..., World] | None = None,
) -> Iterator[World]:
    """An agent in a pod of that name, with its release live; ends with the block."""
    pod = source.pod(name)
    pod.root.parent.mkdir(parents=True)
    tokens, entries = make_tokens()
    tokens_file = pod.root.parent / "tokens.json"
    tokens_file.write_text(json.dumps(entries))
    agent = Agent(pod, *arguments, poll_seconds=poll_seconds, tokens_file=tokens_file, command=command)
    try:
        world = (make or World)(source, agent, tokens, tokens_file)
        wait_for(lambda: world.ask(request("GET", "/readyz")).status == 200 or None, "a live release")
        yield world
    finally:
        agent.stop()


def named() -> str:
    """The option by which an agent goes by `HOST`."""
    return f"--allowed-host={HOST.decode()}"
