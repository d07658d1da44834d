"""What an agent has to tell of itself: found from how pulls ended and from what its status says. No I/O.

1. An event is a difference from what was told before (`Told`), which is kept on the disk: a restart repeats nothing,
   and tells what it finds otherwise than it was told, such as a release that was switched right before a kill.
2. ``activated`` is told for each switch of what Airflow reads, ``pull_failed`` for the first failure in a row and
   ``pull_recovered`` for its end, ``drifted`` and ``mended`` when the live release begins and ceases to differ, and
   ``alarm_raised`` and ``alarm_cleared`` for each alarm of the status, such as an expiry that is near.
3. The n-th event of a root has the same id however often it is made: told and remembered are two writes, and a kill
   may come in between.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from dagferry_schemas import events
from dagferry_schemas import fields as reading
from dagferry_schemas.errors import DagferryError
from dagferry_schemas.version import check_format

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dagferry_schemas.endpoint import AgentStatus

    from .outcome import Outcome
    from .settings import Settings

FORMAT: Final = 1
MAX_TOLD: Final = 16 * 1024
PATHS: Final = 20
"""Paths that an event names."""
DROPPED: Final = "events_dropped"
NAMES: Final = (
    "activated",
    "pull_failed",
    "pull_recovered",
    "drifted",
    "mended",
    "alarm_raised",
    "alarm_cleared",
    DROPPED,
)
"""What the events of an agent are called."""


@dataclass(frozen=True)
class Told:
    """What was told so far: ``number`` events under an ``origin`` that no other root has, and what they came to."""

    origin: str
    number: int = 0
    tree: str | None = None
    failing: str | None = None
    drifted: bool = False
    alarms: tuple[str, ...] = ()

    def to_bytes(self) -> bytes:
        """The form in which it is kept."""
        return reading.dump({"format": FORMAT, **asdict(self)})

    @classmethod
    def from_bytes(cls, raw: bytes) -> Told:
        """What `to_bytes` gave. Raises `Malformed`."""
        fields = reading.load(raw, "told", limit=MAX_TOLD)
        check_format(fields, FORMAT)
        return cls(
            fields.text("origin"),
            fields.integer("number"),
            reading.optional(fields, "tree", fields.digest),
            reading.optional(fields, "failing", fields.text),
            fields.flag("drifted"),
            fields.texts("alarms"),
        )


@dataclass(frozen=True)
class Happened:
    """One thing to tell: what the event is called, the version that it is about, and its facts."""

    name: str
    version: str | None
    facts: Mapping[str, Any]


def of_outcome(told: Told, outcome: Outcome) -> tuple[Told, list[Happened]]:
    """What the end of a pull is worth telling, and what will have been told then."""
    reply, error = outcome.reply, outcome.error
    if reply is None:
        code = error.code if isinstance(error, DagferryError) else "bug"
        if told.failing is not None:
            return told, []
        message = error.message if isinstance(error, DagferryError) else type(error).__name__
        failed = Happened("pull_failed", None, {"code": code, "message": events.legible(message)})
        return replace(told, failing=code), [failed]
    found = []
    if told.failing is not None:
        found.append(Happened("pull_recovered", reply.version, {"code": told.failing}))
    if reply.changed and reply.tree != told.tree:
        facts = _activated(reply.generation, reply.version, reply.tree, reply.previous, reply.pinned)
        found.append(Happened("activated", reply.version, {**facts, "seconds": reply.seconds}))
    return replace(told, failing=None, tree=reply.tree), found


def of_start(told: Told, status: AgentStatus) -> tuple[Told, list[Happened]]:
    """What is live and was not told: an init container switched it, or a process that was killed right afterwards."""
    if status.tree is None or status.version is None or status.tree == told.tree:
        return told, []
    facts = _activated(status.generation, status.version, status.tree, status.previous, status.pinned)
    return replace(told, tree=status.tree), [Happened("activated", status.version, {**facts, "seconds": None})]


def of_status(told: Told, status: AgentStatus) -> tuple[Told, list[Happened]]:
    """What a look at the status is worth telling, and what will have been told then."""
    found = []
    if bool(status.drift) != told.drifted:
        paths = [events.legible(path) for path in status.drift[:PATHS]]
        name = "drifted" if status.drift else "mended"
        found.append(Happened(name, status.version, {"count": len(status.drift), "paths": paths}))
    begun = [("alarm_raised", one) for one in status.alarms if one not in told.alarms]
    ended = [("alarm_cleared", one) for one in told.alarms if one not in status.alarms]
    for name, alarm in begun + ended:
        found.append(Happened(name, status.version, {"alarm": alarm, "expires": status.expires}))
    return replace(told, drifted=bool(status.drift), alarms=status.alarms), found


def _activated(
    generation: int | None, version: str, tree: str, previous: str | None, pinned: str | None
) -> dict[str, Any]:
    return {
        "generation": generation,
        "version": version,
        "tree": tree,
        "previous_version": previous,
        "pinned": pinned is not None,
    }


def event_of(happened: Happened, settings: Settings, unique: str, now: str) -> events.Event:
    """The event of an agent; ``unique`` is what no other event of that name has, ``now`` RFC 3339 in UTC."""
    source = events.agent_source(settings.bundle, settings.channel, settings.agent_id)
    who = {
        "bundle": settings.bundle,
        "channel": settings.channel,
        "agent_id": settings.agent_id,
        "labels": list(settings.targets[: events.MOST]),
    }
    unique_id = events.id_of(source, happened.name, unique)
    return events.Event(
        unique_id, source, events.AGENT + happened.name, now, happened.version, {**who, **happened.facts}
    )
