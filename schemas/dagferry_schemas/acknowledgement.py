"""The acknowledgement: what an agent leaves in the store about itself, for those who cannot reach it.

It is a claim. Nobody signs it, and whoever may write below a channel's ``agents/`` can say what they like there: it
decides no delivery and no rollback, it only tells people and `ship --wait` what agents say. An agent that ended as it
should says so (``gone``); one that is not heard of for three times ``every`` is silent.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Final

from . import fields as reading
from .endpoint import AgentStatus, read_candidate
from .errors import Malformed
from .layout import MAX_DOCUMENT
from .names import NAME, VERSION
from .version import check_format

FORMAT: Final = 1
GONE: Final = "gone"
SILENT: Final = "silent"
"""Why nobody counts on an agent: it said goodbye, or nothing for too long."""
MISSED: Final = 3
"""So many acknowledgements in a row that did not come make an agent silent."""
MAX_DRIFT: Final = 100
"""Paths of drift that an acknowledgement names at the most."""
MAX_MESSAGE: Final = 500
"""Characters of a failure's message that it repeats at the most."""
_TOLD: Final = ("agent_id", "bundle", "channel", "generation", "version", "tree", "since", "pinned", "verifying",
                "last_check")  # fmt: skip
"""What it takes over from the agent's status as it stands."""


@dataclass(frozen=True)
class Acknowledgement:
    """What one agent said of itself at one moment.

    ``status``: its status, of which only what an acknowledgement holds is filled; ``when``: the moment, by the agent's
    clock; ``every``: seconds until the next one is due at the latest, 0 if none is until something changes;
    ``process``: drawn at random by each process that writes; ``gone``: the process has ended since, as it should;
    ``disputed``: another process writes in the same agent's name.
    """

    status: AgentStatus
    when: str
    every: float
    process: str
    gone: bool = False
    disputed: bool = False

    @property
    def moment(self) -> float:
        """``when``, in seconds since 1970."""
        return _seconds(self.when)

    def is_silent(self, now: float) -> bool:
        """Whether nothing came for so long, at ``now`` (seconds since 1970), that the agent counts as lost."""
        return not self.gone and self.every > 0 and now - self.moment > MISSED * self.every

    def to_bytes(self) -> bytes:
        """The stored document, with no more of the status than it holds."""
        status = self.status
        error = status.last_error
        return reading.dump(
            {
                **{name: getattr(status, name) for name in _TOLD},
                "format": FORMAT,
                "last_error": {"code": error["code"], "message": error["message"][:MAX_MESSAGE]} if error else None,
                "drift": list(status.drift[:MAX_DRIFT]),
                "alarms": list(status.alarms),
                "signed_by": list(status.signed_by),
                "labels": list(status.labels),
                "candidate": status.candidate,
                "when": self.when,
                "every": self.every,
                "process": self.process,
                "gone": self.gone,
                "disputed": self.disputed,
            }
        )

    @classmethod
    def from_bytes(cls, raw: bytes, what: str = "acknowledgement") -> Acknowledgement:
        """The acknowledgement in a stored document. Raises `Malformed`; a newer format is refused."""
        fields = reading.load(raw, what, limit=MAX_DOCUMENT)
        check_format(fields, FORMAT)
        when = fields.time("when")
        try:
            _seconds(when)
        except ValueError:
            fields.refuse("when", f"{when!r} is no day that there is")
        return cls(
            status=_read_status(fields),
            when=when,
            every=fields.number("every"),
            process=fields.text("process"),
            gone=fields.flag("gone"),
            disputed=fields.flag("disputed"),
        )


def read_own(raw: bytes, what: str, *, bundle: str, channel: str, agent: str) -> Acknowledgement:
    """The acknowledgement that is stored as that agent's. Raises `Malformed`, also if it speaks of another one."""
    found = Acknowledgement.from_bytes(raw, what)
    said = (found.status.bundle, found.status.channel, found.status.agent_id)
    if said != (bundle, channel, agent):
        raise Malformed(f"{what} is of agent {said[2]!r} of bundle {said[0]!r}, channel {said[1]!r}")
    return found


def _seconds(when: str) -> float:
    """A time of the grammar in seconds since 1970; a leap second counts as the one before. Raises `ValueError`."""
    plain = when[:17] + ("59" if when[17:19] == "60" else when[17:19])
    return datetime.strptime(plain, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=timezone.utc).timestamp()


def _read_status(fields: reading.Fields) -> AgentStatus:
    return AgentStatus(
        agent_id=fields.text("agent_id", NAME),
        bundle=fields.text("bundle", NAME),
        channel=fields.text("channel", NAME),
        generation=reading.optional(fields, "generation", fields.integer),
        version=reading.optional(fields, "version", lambda name: fields.text(name, VERSION)),
        tree=reading.optional(fields, "tree", fields.digest),
        since=reading.optional(fields, "since", fields.time),
        previous=None,
        pinned=reading.optional(fields, "pinned", lambda name: fields.text(name, VERSION)),
        verifying=fields.flag("verifying"),
        last_check=reading.optional(fields, "last_check", fields.time),
        last_error=_read_error(fields.child("last_error")) if fields.has("last_error") else None,
        drift=fields.texts("drift"),
        signed_by=fields.texts("signed_by"),
        alarms=fields.texts("alarms"),
        labels=fields.texts("labels"),
        candidate=read_candidate(fields.child("candidate")) if fields.has("candidate") else None,
    )


def _read_error(fields: reading.Fields) -> dict[str, str]:
    return {name: fields.text(name) for name in ("code", "message")}
