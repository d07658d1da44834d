"""Who activates what of a record that has a candidate: the release that goes live in steps.

1. An agent that the candidate's ``targets`` name, by its id or by one of its labels (``KEY=VALUE``), serves the
   candidate. All others serve what is live, and have the candidate ready.
2. A candidate holds until ``until``. From then on nobody serves it: a rollout that was left alone undoes itself.
3. What the record calls bad is no candidate.
4. A record with a candidate is ``critical`` about it: who does not know these rules keeps what it has.

Readers that are no agents (Airflow's bundle, an operator's command) are named by no target, and serve what is live.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from .names import moment

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from .record import Candidate, Live, Record

CRITICAL: Final = "candidate"
"""The field that a record with a candidate is critical about."""
_EVIDENCE: Final = re.compile(r"step [0-9]+ did not hold: ")


def gate_evidence(step: int, findings: Sequence[str]) -> str:
    """The reason that a record has which withdraws a candidate because the gate of ``step`` did not hold."""
    return f"step {step} did not hold: {'; '.join(findings)}"


def is_gate_evidence(reason: str) -> bool:
    """Whether a record's reason is one that `gate_evidence` gave."""
    return _EVIDENCE.match(reason) is not None


def candidate_of(record: Record, now: str) -> Candidate | None:
    """The candidate of ``record`` that holds at ``now`` (RFC 3339, UTC), or None."""
    found = record.candidate
    if found is None or found.live.version in record.bad:
        return None
    return found if found.until is None or moment(now) < moment(found.until) else None


def is_target(targets: Collection[str], agent_id: str, labels: Collection[str]) -> bool:
    """Whether ``targets`` name the agent of that id and those labels (``KEY=VALUE``)."""
    return agent_id in targets or any(label in targets for label in labels)


def release_for(record: Record, agent_id: str, labels: Collection[str], now: str) -> Live:
    """What ``record`` has the agent of that id and those labels (``KEY=VALUE``) serve at ``now``."""
    candidate = candidate_of(record, now)
    if candidate is not None and is_target(candidate.targets, agent_id, labels):
        return candidate.live
    return record.live
