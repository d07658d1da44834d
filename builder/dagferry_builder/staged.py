"""A channel whose releases go live in steps: a candidate, which more and more agents are told to serve.

1. A candidate is staged beside what is live. What may not be promoted may not be staged either.
2. While there is one, nothing else is promoted. It is made live, or withdrawn, and that by anyone with the rights.
3. Its targets only grow, and only as long as the channel's candidate is the one that the caller means and nobody has
   held the channel: somebody else's decision counts.
4. A candidate that nobody brings to an end lapses by itself (`dagferry_schemas.rollout`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dagferry_schemas.errors import Conflict, Held, Unknown
from dagferry_schemas.record import Candidate
from dagferry_storage import fetch

from .channel import ATTEMPTS, Change, Channel
from .head import Lost

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dagferry_storage.published import Published

    from . import deltas
    from .git import Repository
    from .head import Head


class Overtaken(Conflict):
    """Somebody else moved the channel while a release was going live in steps."""

    code = "overtaken"


class StagedChannel(Channel):
    """A channel, and the steps in which a release goes live on it."""

    def candidate(self) -> Candidate:
        """The present candidate. Raises `Unknown` if there is none."""
        found = self.existing_head().record.candidate
        if found is None:
            raise Unknown(
                f"channel {self.name!r} has no candidate: no release is going live in steps",
                f"`dagferry log --channel {self.name}` tells what was done",
                code="no_candidate",
            )
        return found

    def stage(
        self,
        chosen: Published,
        targets: Sequence[str],
        *,
        until: str,
        reason: str = "",
        allow_older: bool = False,
        allow_bad: bool = False,
        repository: Repository | None = None,
        built: deltas.Built | None = None,
    ) -> Change:
        """Make ``chosen`` the candidate that ``targets`` serve until a time. Raises as `promote`.

        Nothing is written where it is the candidate, or live, already.
        """
        fetch.statement(self._store, chosen, self._signing.policy)
        for attempt in range(ATTEMPTS):
            head = self.existing_head()
            version, candidate = chosen.version.version, head.record.candidate
            if version in (head.record.live.version, candidate.live.version if candidate else None):
                return Change(head.record, head.record.live.version, changed=False, written=False)
            self._check_promotion(head, chosen, allow_older, repository, allow_bad=allow_bad)
            known = self._deltas(head, chosen.live, built)
            staged = Candidate(chosen.live, tuple(targets), until)
            bad = tuple(one for one in head.record.bad if one != version)
            try:
                return self._advance(head, "stage", reason, candidate=staged, deltas=known, bad=bad)
            except Lost:
                if allow_older or attempt == ATTEMPTS - 1:
                    raise
        raise AssertionError("unreachable")

    def widen(self, version: str, targets: Sequence[str], *, until: str, reason: str = "") -> Change:
        """Let the candidate ``version`` be served by ``targets`` as well. Raises `Overtaken`, `Held`."""

        def wider(candidate: Candidate) -> dict[str, Any]:
            more = dict.fromkeys((*candidate.targets, *targets))
            return {"candidate": replace(candidate, targets=tuple(more), until=until)}

        return self._with_candidate(version, "stage", reason, wider)

    def finish(self, version: str, *, reason: str = "") -> Change:
        """Make the candidate ``version`` live everywhere. Raises `Overtaken`, `Held`."""
        return self._with_candidate(version, "promote", reason, lambda candidate: {"live": candidate.live})

    def _with_candidate(
        self, version: str, action: str, reason: str, changes: Callable[[Candidate], dict[str, Any]]
    ) -> Change:
        for attempt in range(ATTEMPTS):
            head = self.existing_head()
            candidate = self._same(head, version)
            fields = changes(candidate)
            if "live" in fields:
                fields["deltas"] = head.record.deltas  # they lead to it, and are dropped otherwise
            try:
                return self._advance(head, action, reason, **fields)
            except Lost:
                if attempt == ATTEMPTS - 1:
                    raise
        raise AssertionError("unreachable")

    def _same(self, head: Head, version: str) -> Candidate:
        record = head.record
        if record.candidate is None or record.candidate.live.version != version:
            raise Overtaken(
                f"channel {self.name!r}: {version} is no longer the candidate; generation {record.generation}, "
                f"{record.action} by {record.actor}, has it at {record.live.version}",
                f"see `dagferry log --channel {self.name}`",
            )
        if record.hold is not None:
            raise Held(
                f"channel {self.name!r} was held by {record.hold.by}: {record.hold.reason or 'no reason given'}; "
                f"{version} stays where it is",
                f"`dagferry resume --channel {self.name}`, then `dagferry rollout resume`; or `dagferry rollout abort`",
            )
        return record.candidate
