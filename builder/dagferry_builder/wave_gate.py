"""Whether a step of a rollout may be followed by the next one: what its agents say, judged. No I/O.

1. Each agent of the step serves the candidate, and what it serves is what was delivered.
2. Airflow behind it, where the agent asks one, cannot import no more files than before the switch, and has at least as
   many DAGs as is demanded. Where Airflow was not seen to parse what changed in time, that is noted.
3. What is not decided yet is waited for. When the time is over it counts as failed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from dagferry_schemas.endpoint import AgentStatus

    from .agents import Answer
    from .waves import Share

MOST_TOLD: Final = 3
"""Import errors that a finding names."""


@dataclass(frozen=True)
class Finding:
    """What speaks against the next step: an agent (None: all), what it is, and whether waiting may help."""

    agent: str | None
    message: str
    waits: bool = False

    def __str__(self) -> str:
        return f"{self.agent}: {self.message}" if self.agent is not None else self.message


@dataclass(frozen=True)
class Judgement:
    """What speaks against the next step, and what is to be known beside it."""

    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def has_failed(self) -> bool:
        """Whether waiting does not help."""
        return any(not one.waits for one in self.findings)


def judge(
    version: str, targets: Collection[str], seen: Sequence[tuple[Answer, AgentStatus | None]], least_dags: Share | None
) -> Judgement:
    """What the agents ``targets`` (ids) say of ``version``; ``seen`` is what all agents said last."""
    findings: list[Finding] = []
    notes: list[str] = []
    silent = "; ".join(f"{answer.url}: {answer.error}" for answer, status in seen if status is None)
    found = {status.agent_id: status for _, status in seen if status is not None}
    for agent in sorted(targets):
        status = found.get(agent)
        if status is None:
            findings.append(Finding(agent, f"it does not answer{f' ({silent})' if silent else ''}", waits=True))
        elif status.version != version:
            findings.append(Finding(agent, _not_served(status), waits=True))
        elif status.drift:
            findings.append(Finding(agent, f"{len(status.drift)} files were edited, for example {status.drift[0]}"))
        elif status.tells_airflow:
            _judge_airflow(version, status, least_dags, findings, notes)
    if not any(status.tells_airflow for agent, status in found.items() if agent in targets):
        notes.append("Airflow was not asked: none of these agents has --airflow-url")
    return Judgement(tuple(findings), tuple(notes))


def _not_served(status: AgentStatus) -> str:
    error = status.last_error
    why = f"; its last pull failed: {error.get('code')}: {error.get('message')}" if error else ""
    if status.pinned:
        why += "; somebody pinned that in the pod by hand"
    return f"it serves {status.version or 'nothing'}{why}"


def _judge_airflow(
    version: str, status: AgentStatus, least_dags: Share | None, findings: list[Finding], notes: list[str]
) -> None:
    agent, report = status.agent_id, status.airflow
    if report is None or report["version"] != version:
        findings.append(Finding(agent, "Airflow has not said what it makes of it", waits=True))
        return
    errors, dags = report["import_errors"], report["dags"]
    if errors["after"] > errors["before"]:
        new = "; ".join(f"{one['file']}: {one['reason']}" for one in errors["new"][:MOST_TOLD])
        findings.append(Finding(agent, f"{errors['after']} import errors, before {errors['before']}: {new}"))
    if least_dags is not None and dags["after"] is not None:
        least = least_dags.number or least_dags.of(dags["before"] or 0)
        if dags["after"] < least:
            findings.append(Finding(agent, f"Airflow has {dags['after']} DAGs, at least {least} are asked for"))
    if not report["parsed"]:
        notes.append(f"{agent}: Airflow was not seen to parse what changed")
