"""A release that goes live in steps: a canary, batches, everybody; and back by itself when a step's gate does not hold.

1. Nothing is changed before the agents were asked what they serve. Those that do not answer are no targets, nor are
   those that somebody pinned.
2. A step is over when its gate holds (`wave_gate`) and still does after the pause, and when the user's command agrees.
   The last step makes the release live on the channel: all agents have it ready by then.
3. When a gate does not hold, the candidate is withdrawn, called bad, and the channel held, with the reason in the
   record; and the agents are told.
4. Whatever interrupts it leaves the candidate as it is: `resume` goes on with the steps that are left, in the same
   order, `Rollout.abort` takes it back, and without either it lapses when its time is over.
"""

from __future__ import annotations

import os
import subprocess
import threading
import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, Final, Protocol

from dagferry_schemas.errors import BadData, NotConverged
from dagferry_schemas.fields import MAX_TEXT
from dagferry_schemas.rollout import gate_evidence

from .wave_gate import Finding, Judgement, judge
from .waves import split

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from dagferry_schemas.endpoint import AgentStatus

    from .agents import Answer
    from .channel import Change
    from .staged import StagedChannel
    from .waves import Share

    Seen = Sequence[tuple[Answer, AgentStatus | None]]

LOOK_SECONDS: Final = 1.0
"""Between two looks at what agents say."""
ASK_SECONDS: Final = 5.0
"""For an agent to say what it serves."""
BACK_SECONDS: Final = 30.0
"""For agents to go back."""
SPARE: Final = timedelta(hours=1)
"""How much longer than all steps may take a candidate holds."""
TAIL: Final = 1000
"""Characters of a command's output that become evidence."""


class GateFailed(BadData):
    """A step's gate did not hold: the release was withdrawn."""

    code = "gate_failed"


class Agents(Protocol):
    """Those whom a rollout is about."""

    def pull(self, generation: int, timeout: float) -> Sequence[Answer]:
        """Have all of them serve ``generation``, or a newer one, in so many seconds; what each said last."""
        ...

    def statuses(self, timeout: float) -> Seen:
        """What each says of itself."""
        ...


@dataclass(frozen=True)
class Steps:
    """How a release goes live. ``pause`` and ``timeout`` (for the gate of one step) are seconds.

    ``least_dags``: how many DAGs Airflow has to have, as a number or a part of those before. ``command`` is run by the
    shell at the end of each step, and has to end with 0.
    """

    canary: Share
    batch: Share | None = None
    pause: float = 0.0
    timeout: float = 300.0
    least_dags: Share | None = None
    command: str | None = None

    def until(self, steps: int, now: datetime) -> str:
        """When the candidate lapses, if nobody goes on."""
        longest = timedelta(seconds=(self.pause + 2 * self.timeout) * (steps + 1)) + SPARE
        return (now + longest).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass
class Story:
    """What was done until now: a part of the command's result."""

    version: str
    steps: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {"version": self.version, "steps": self.steps, "notes": self.notes, "failed": self.failed}


class Rollout:
    """Brings one version to the ``agents`` of a ``channel`` in ``steps``. ``told`` gets a line for each event."""

    def __init__(self, channel: StagedChannel, agents: Agents, steps: Steps, told: Callable[[str], None]) -> None:
        self._channel = channel
        self._agents = agents
        self._steps = steps
        self._told = told

    def begin(
        self, version: str, bundle: str, stage: Callable[[Sequence[str], str], Change], *, reason: str
    ) -> tuple[Change, Story]:
        """All steps; ``stage`` makes ``version`` the candidate of some targets until a time.

        Raises `NotConverged` if no agent answers, `GateFailed`, and whatever ``stage`` raises.
        """
        waves = self._waves(bundle)
        story = Story(version)
        change = stage(waves[0], self._until(len(waves)))
        if change.record.candidate is None:
            return change, story  # it is live already
        if not change.written:  # somebody began with it, and was interrupted
            return self.resume(bundle, reason=reason)
        return self._go(change, waves, story, reason)

    def resume(self, bundle: str, *, reason: str = "") -> tuple[Change, Story]:
        """The steps that are left of the present candidate. Raises as `begin`, and `Unknown` if there is none.

        The one at which it was left is judged once more: nobody knows whether it held.
        """
        candidate = self._channel.candidate()
        version, waves = candidate.live.version, self._waves(bundle)
        done = sum(set(wave) <= set(candidate.targets) for wave in waves)
        left = waves[max(0, done - 1) :]
        change = self._channel.widen(version, left[0], until=self._until(len(left)), reason=reason or "resumed")
        return self._go(change, left, Story(version), reason)

    def _go(self, change: Change, waves: Sequence[tuple[str, ...]], story: Story, reason: str) -> tuple[Change, Story]:
        version = story.version
        try:
            for number, wave in enumerate(waves, 1):
                if number > 1:
                    change = self._channel.widen(version, wave, until=self._until(len(waves) - number))
                self._step(change, number, wave, story)
            self._await_the_others(story)
            change = self._channel.finish(version, reason=reason)
        except GateFailed:
            raise
        except BaseException:
            self._told(
                f"the rollout of {version} stays as it is: `dagferry rollout resume` goes on, `dagferry rollout abort` "
                "takes it back"
            )
            raise
        self._told(f"generation {change.record.generation}: {version} is live everywhere")
        return change, story

    def _waves(self, bundle: str) -> list[tuple[str, ...]]:
        """The targets of each step. Raises `NotConverged` where there is nobody."""
        followed = (bundle, self._channel.name)
        seen = self._agents.statuses(ASK_SECONDS)
        found: dict[str, Sequence[str]] = {
            status.agent_id: status.labels
            for _, status in seen
            if status is not None and (status.bundle, status.channel) == followed and _can_be_a_target(status)
        }
        if not found:
            said = "; ".join(f"{answer.url}: {answer.error or 'it follows another channel'}" for answer, _ in seen)
            raise NotConverged(
                f"no agent of channel {self._channel.name!r} answers, nothing was changed: {said}",
                "steps need agents that can be asked: look at --agents and --token-file",
                result={"agents": [answer.to_dict() for answer, _ in seen]},
            )
        return split(found, self._steps.canary, self._steps.batch)

    def _until(self, steps: int) -> str:
        return self._steps.until(steps, datetime.now(timezone.utc))

    def _step(self, change: Change, number: int, wave: Sequence[str], story: Story) -> None:
        """One step: its agents are told, and its gate has to hold. Raises `GateFailed`."""
        began, generation = time.monotonic(), change.record.generation
        self._told(f"generation {generation}, step {number}: {story.version} for {', '.join(wave)}")
        self._wake(generation)
        judged = self._await(story.version, wave, began + self._steps.timeout)
        if not judged.findings:
            judged = self._pause(story.version, wave)
        if not judged.findings:
            judged = self._ask_command(story.version, number, wave, judged)
        story.notes += [note for note in judged.notes if note not in story.notes]
        seconds = round(time.monotonic() - began, 3)
        story.steps.append(
            {
                "generation": generation,
                "targets": list(wave),
                "seconds": seconds,
                "held": not judged.findings,
            }
        )
        if judged.findings:
            self._give_up(number, judged, story)
        self._told(f"step {number} holds after {seconds} s")

    def _await_the_others(self, story: Story) -> None:
        """Let those that were in no step have it ready, for as long as a gate may take; who has not is noted."""
        until = time.monotonic() + self._steps.timeout
        while True:
            said = {status.agent_id: status for _, status in self._agents.statuses(ASK_SECONDS) if status is not None}
            late = [agent for agent, status in said.items() if _is_making_ready(status, story.version)]
            if not late or time.monotonic() >= until:
                break
            time.sleep(LOOK_SECONDS)
        story.notes += [f"{agent} does not have it ready yet" for agent in late]
        told = ((agent, status.candidate or {}) for agent, status in said.items())
        story.notes += [f"{agent} could not have it ready: {one.get('error')}" for agent, one in told if "error" in one]

    def _wake(self, generation: int) -> None:
        """Tell all agents, those too that are to have it ready; none of them is waited for."""
        threading.Thread(
            target=self._agents.pull, args=(generation, self._steps.timeout), name="wake", daemon=True
        ).start()

    def _await(self, version: str, wave: Sequence[str], until: float) -> Judgement:
        """The judgement, as soon as it is good, or cannot become good any more."""
        while True:
            judged = judge(version, wave, self._agents.statuses(ASK_SECONDS), self._steps.least_dags)
            if not judged.findings or judged.has_failed or time.monotonic() >= until:
                return judged
            time.sleep(min(LOOK_SECONDS, max(0.0, until - time.monotonic())))

    def _pause(self, version: str, wave: Sequence[str]) -> Judgement:
        """Look on for as long as the pause takes; the judgement at its end, or when it fails."""
        until = time.monotonic() + self._steps.pause
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(5 * LOOK_SECONDS, left))
            judged = judge(version, wave, self._agents.statuses(ASK_SECONDS), self._steps.least_dags)
            if judged.has_failed:
                return judged
        return self._await(version, wave, time.monotonic() + ASK_SECONDS)

    def _ask_command(self, version: str, number: int, wave: Sequence[str], judged: Judgement) -> Judgement:
        command = self._steps.command
        if command is None:
            return judged
        asked = {
            "DAGFERRY_ROLLOUT_CHANNEL": self._channel.name,
            "DAGFERRY_ROLLOUT_VERSION": version,
            "DAGFERRY_ROLLOUT_STEP": str(number),
            "DAGFERRY_ROLLOUT_AGENTS": ",".join(wave),
        }
        said = _run(command, asked, self._steps.timeout)
        return judged if said is None else Judgement((Finding(None, f"{command!r} {said}"),), judged.notes)

    def _give_up(self, number: int, judged: Judgement, story: Story) -> None:
        """Withdraw the candidate, and say so in the record, to the agents, and to the caller. Raises `GateFailed`."""
        story.failed = [str(one) for one in judged.findings]
        evidence = gate_evidence(number, story.failed)[:MAX_TEXT]
        change = self._channel.withdraw(story.version, evidence)
        answers = self._agents.pull(change.record.generation, BACK_SECONDS)
        late = [answer for answer in answers if not answer.ok]
        said = f"; not told: {', '.join(answer.url for answer in late)}" if late else ""
        raise GateFailed(
            f"{story.version}: {evidence}. It was withdrawn and called bad, the channel is held at "
            f"{change.record.live.version}{said}",
            f"`dagferry log --channel {self._channel.name}` keeps this. Mend it, `dagferry resume`, and ship again",
            result={
                **change.to_dict(),
                "rollout": story.to_dict(),
                "agents": [answer.to_dict() for answer in answers],
            },
        )


def _can_be_a_target(status: AgentStatus) -> bool:
    """Whether an agent follows its channel: not if another one of its root does, or somebody pinned a release."""
    return status.role != "standby" and status.pinned is None


def _is_making_ready(status: AgentStatus, version: str) -> bool:
    """Whether an agent is about to have the candidate ready; one whose pulls fail is not waited for."""
    if not _can_be_a_target(status) or status.last_error is not None:
        return False
    return status.candidate is None or status.candidate["version"] != version or status.candidate["state"] == "pending"


def _run(command: str, environment: Mapping[str, str], seconds: float) -> str | None:
    """Why a command does not agree; None if it does."""
    try:
        done = subprocess.run(
            command,
            shell=True,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"did not end in {seconds:g} s"
    except OSError as error:
        return f"could not be run: {error}"
    if done.returncode == 0:
        return None
    said = done.stdout.decode("utf-8", "replace").strip()[-TAIL:]
    return f"ended with {done.returncode}" + (f": {said}" if said else "")
