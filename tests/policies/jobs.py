"""What each part does with a store, as calls of the real commands, and how a list of calls ends."""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.e2e import harness
from tests.e2e.harness import BUNDLE, Repository

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from tests.e2e.harness import Outcome

OTHER = "other"
CONFIG = f'[bundles.{BUNDLE}]\nroot = "dags"\n\n[bundles.{OTHER}]\nroot = "dags"\n'
Call = tuple[str, ...]


@dataclass(frozen=True)
class Identity:
    """Someone with rights of their own: the environment of their commands, and how refusals call them."""

    env: Mapping[str, str | None]
    name: str


class Site:
    """A clone and a store. Every call is one process of one identity."""

    def __init__(self, folder: Path, store_url: str) -> None:
        self.repository = Repository(folder / "clone", config=CONFIG)
        self.store_url = store_url
        self._folder = folder
        self._numbers = itertools.count()
        noise = (hashlib.sha256(b"%d" % line).hexdigest() for line in range(60))  # beside which a delta is worth it
        self.repository.write("dags/noise.py", "".join(f"# {line}\n" for line in noise))
        self.repository.write("dags/tool.sh", "#!/bin/sh\n", executable=True)
        self.commits = [self.commit(), self.commit()]
        self.versions: list[str] = []

    def commit(self) -> str:
        """A new commit, with content that no commit had before."""
        return self.repository.change({"dags/daily.py": f"VERSION = {next(self._numbers)}\n"})

    def call(self, who: Identity, call: Call, *, bundle: str = BUNDLE) -> Outcome:
        """How the call ended, whatever came of it."""
        program, *words = call
        if program == "dagferry-agent":
            words.append(f"--root={self._folder / f'pod-{next(self._numbers)}'}")
        env = {"DAGFERRY_STORE": self.store_url, "DAGFERRY_AGENT_STORE": self.store_url}
        env |= {"DAGFERRY_BUNDLE": bundle, "DAGFERRY_AGENT_BUNDLE": bundle}
        return harness.run(program, *words, cwd=self.repository.path, expect=None, env={**env, **who.env})

    def do(self, who: Identity, calls: Iterable[Call]) -> list[Outcome]:
        """All calls; each has to succeed."""
        outcomes = [self.call(who, call) for call in calls]
        assert [one for one in outcomes if one.code != 0] == []
        return outcomes

    def refusal(self, who: Identity, calls: Iterable[Call]) -> Outcome | None:
        """The first call that did not succeed; the later ones are not made."""
        return next((one for call in calls if (one := self.call(who, call)).code != 0), None)

    def job(self, part: str, channel: str) -> list[Call]:
        """All that the part has to be able to do: the builder with a new commit, the promoter with ``channel``."""
        first, second = self.versions
        promote = ("dagferry", "promote", f"--channel={channel}")
        if part == "builder":
            publish = ("dagferry", "publish", f"--rev={self.commit()}")
            return [publish, publish, ("dagferry", "versions"), ("dagferry", "verify", first),
                    ("dagferry", "init-store")]  # fmt: skip
        if part == "promoter":
            on = [
                ("dagferry", verb, f"--channel={channel}") for verb in ("rollback", "resume", "hold", "log", "verify")
            ]
            return [(*promote, first), (*promote, self.commits[1][:12]), *on, ("dagferry", "channels")]
        pull = ("dagferry-agent", "pull", f"--channel={channel}")
        return [pull, (*pull, f"--version={second}"), ("dagferry", "doctor", "--read-only")]


def check_refused(outcome: Outcome | None, who: Identity) -> None:
    """Such a refusal as the contract promises: exit code 4, ``forbidden``, and who it was."""
    assert outcome is not None
    assert (outcome.code, outcome.error["code"]) == (4, "forbidden"), outcome
    assert who.name in outcome.error["message"], outcome
    assert "docs/policies.md" in outcome.error["hint"], outcome
