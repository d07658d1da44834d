"""How many agents a release reaches at each step: a canary first, then batches, in the end all of them.

A share is a number of agents (``1``), a part of them (``25%``, rounded up), or, for the canary, those that have a label
(``zone=a``). Agents are taken in the order of their ids, so that whoever resumes a rollout takes the same ones.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dagferry_schemas.errors import Usage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_NUMBER: Final = re.compile(r"[1-9][0-9]{0,5}")
_PART: Final = re.compile(r"([1-9][0-9]?|100)%")
_LABEL: Final = re.compile(r"[^=\s]+=[^\s]*")


@dataclass(frozen=True)
class Share:
    """A number of agents, a part of all in percent, or those with a label: one of the three is given."""

    number: int | None = None
    percent: int | None = None
    label: str | None = None

    @classmethod
    def parse(cls, text: str, option: str, *, labels: bool = False) -> Share:
        """The share that a user names. Raises `Usage`."""
        if _NUMBER.fullmatch(text):
            return cls(number=int(text))
        if part := _PART.fullmatch(text):
            return cls(percent=int(part[1]))
        if labels and _LABEL.fullmatch(text):
            return cls(label=text)
        also = ", or the agents with a label (zone=a)" if labels else ""
        raise Usage(f"{option} {text!r} is no share of the agents", f"give a number (1), a part of them (25%){also}")

    def of(self, total: int) -> int:
        """How many of ``total`` agents that is, where it is not a label: one at the least."""
        if self.percent is not None:
            return max(1, math.ceil(total * self.percent / 100))
        return min(total, self.number or 1)


def split(agents: Mapping[str, Sequence[str]], canary: Share, batch: Share | None) -> list[tuple[str, ...]]:
    """The targets of each step but the last, which is everybody: each names those of the step before as well.

    ``agents`` are the ids with their labels. Raises `Usage` if nobody has the canary's label.
    """
    ids = sorted(agents)
    if canary.label is not None:
        first = [one for one in ids if canary.label in agents[one]]
        if not first:
            known = sorted({label for labels in agents.values() for label in labels})
            raise Usage(
                f"--canary {canary.label}: none of the {len(ids)} agents has that label",
                f"there is: {', '.join(known)}" if known else "an agent gets labels by --label KEY=VALUE",
                code="no_canary",
            )
        ids = [*first, *(one for one in ids if one not in first)]
    else:
        first = ids[: canary.of(len(ids))]
    steps, reached = [tuple(first)], len(first)
    while batch is not None and (reached := reached + batch.of(len(ids))) < len(ids):
        steps.append(tuple(ids[:reached]))
    return steps
