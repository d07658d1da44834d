"""What happened, as CloudEvents 1.0 in structured JSON, for webhooks; and the signature that goes with each.

1. What a record says is told from the record and the one before it, and from nothing else: whoever tells it again, the
   command that wrote it or one that reads the log a year later, tells the same bytes under the same ``id``.
2. ``id`` and ``source`` together name one event for ever: receivers drop what they have seen. An id is a digest of
   what makes the event one of its own: the record's nonce, or the agent's own and a number.
3. ``source`` is ``/dagferry/<bundle>/<channel>``, and of an agent ``…/agents/<agent id>``. ``subject`` is the version.
4. Every event stays below `MAX_EVENT`: lists are cut, and their length is told beside them.
5. A request is signed as Standard Webhooks 1.0.0 has it: HMAC-SHA256 over ``<id>.<timestamp>.<body>``. With several
   secrets it carries a signature of each, so that a receiver can change over from one to the next.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from . import fields as reading
from .errors import Usage
from .rollout import is_gate_evidence

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .record import Candidate, Hold, Record

MEDIA_TYPE: Final = "application/cloudevents+json; charset=utf-8"
MAX_EVENT: Final = 64 * 1024
"""Bytes that every intermediary has to forward (CloudEvents 1.0, "Size Limits")."""
CHANNEL: Final = "io.dagferry.channel."
AGENT: Final = "io.dagferry.agent."
OF_ACTIONS: Final = {
    "promote": "promoted",
    "rollback": "rolled_back",
    "hold": "held",
    "resume": "resumed",
    "refresh": "refreshed",
    "recover": "recovered",
    "stage": "staged",
    "withdraw": "withdrawn",
}
"""What the event of a record is called, by its action; one that is not known here is ``changed``."""
GATE_FAILED: Final = "gate_failed"
"""Beside ``withdrawn``, where it was a step's gate that did not hold."""
CONVERGED: Final = "converged"
NOT_CONVERGED: Final = "not_converged"
MOST: Final = 50
"""Entries of a list in an event."""
MAX_TEXT: Final = 4096
MAX_NAME: Final = 200
MAX_REASON: Final = 1000
"""Characters of a text in an event, of who did something, and of a hold's reason, which is a record's reason too."""
SECRET: Final = "whsec_"
"""How a secret begins (Standard Webhooks); base64 follows."""
MAX_SECRETS: Final = 4
SECRET_BYTES: Final = (24, 64)


@dataclass(frozen=True)
class Event:
    """One event; ``type`` is the whole one, ``time`` RFC 3339 in UTC."""

    id: str
    source: str
    type: str
    time: str
    subject: str | None
    data: Mapping[str, Any]

    def to_bytes(self) -> bytes:
        """The body of a request: one JSON object, in one line. Raises `Malformed` if a text of it is not Unicode."""
        attributes = {name: value for name, value in vars(self).items() if value is not None}
        return reading.dump({"specversion": "1.0", "datacontenttype": "application/json", **attributes})


def id_of(*parts: object) -> str:
    """The id of the event that these make one of its own: 32 hex digits."""
    return hashlib.sha256("\n".join(map(str, parts)).encode("utf-8", "surrogatepass")).hexdigest()[:32]


def channel_source(bundle: str, channel: str) -> str:
    """Where the events of a channel come from."""
    return f"/dagferry/{bundle}/{channel}"


def agent_source(bundle: str, channel: str, agent_id: str) -> str:
    """Where the events of an agent come from."""
    return f"{channel_source(bundle, channel)}/agents/{agent_id}"


def legible(text: str) -> str:
    """``text`` as an event can hold it: cut, and what is no Unicode escaped (a file's name may be any bytes)."""
    return text[:MAX_TEXT].encode("utf-8", "backslashreplace").decode("utf-8")


def of_record(record: Record, before: Record | None) -> tuple[Event, ...]:
    """What ``record`` says, told from it and the record ``before`` it (None for the first): one event, or two."""
    names = [OF_ACTIONS.get(record.action, "changed")]
    if record.action == "withdraw" and is_gate_evidence(record.reason):
        names.append(GATE_FAILED)
    facts = _facts(record, before)
    named = facts["candidate"] or facts["withdrawn"] or facts
    return tuple(_of_channel(name, record, record.issued, named["version"], facts) for name in names)


def converged(record: Record, answers: Sequence[Mapping[str, Any]], *, now: str, nonce: str) -> Event:
    """Whether all agents that were asked serve ``record``'s generation; ``answers`` as `Answer.to_dict` has them.

    Only those that do not are named, with what each said last. ``nonce``: of whoever asked them.
    """
    late = [answer for answer in answers if not answer["ok"]]
    facts = {
        "bundle": record.bundle,
        "channel": record.channel,
        "epoch": record.epoch,
        "generation": record.generation,
        "version": record.live.version,
        "tree": record.live.content.tree,
        "asked": len(answers),
        "late": len(late),
        "seconds": max((float(answer["seconds"]) for answer in answers), default=0.0),
        "agents": [
            {"url": legible(one["url"])[:200], "version": one["version"], "generation": one["generation"],
             "error": legible(one["error"] or "")[:500]}
            for one in late[:MOST]
        ],
    }  # fmt: skip
    return _of_channel(NOT_CONVERGED if late else CONVERGED, record, now, record.live.version, facts, nonce)


def _of_channel(name: str, record: Record, time: str, subject: str, facts: Mapping[str, Any], nonce: str = "") -> Event:
    source = channel_source(record.bundle, record.channel)
    unique = id_of(source, name, record.epoch, record.generation, record.nonce, nonce)
    return Event(unique, source, CHANNEL + name, time, subject, facts)


def _facts(record: Record, before: Record | None) -> dict[str, Any]:
    withdrawn = before.candidate if before is not None and record.action == "withdraw" else None
    return {
        "bundle": record.bundle,
        "channel": record.channel,
        "epoch": record.epoch,
        "generation": record.generation,
        "action": record.action[:32],
        "version": record.live.version,
        "tree": record.live.content.tree,
        "previous_version": before.live.version if before is not None else None,
        "changed": before is None or before.live.version != record.live.version,
        "actor": record.actor[:MAX_NAME],
        "reason": record.reason,
        "issued": record.issued,
        "expires": record.expires,
        "hold": _hold(record.hold),
        "candidate": _release(record.candidate),
        "withdrawn": _release(withdrawn),
        "bad": list(record.bad[-MOST:]),
    }


def _hold(hold: Hold | None) -> dict[str, Any] | None:
    if hold is None:
        return None
    return {"by": hold.by[:MAX_NAME], "reason": hold.reason[:MAX_REASON], "since": hold.since}


def _release(candidate: Candidate | None) -> dict[str, Any] | None:
    if candidate is None:
        return None
    return {
        "version": candidate.live.version,
        "tree": candidate.live.content.tree,
        "targets": list(candidate.targets[:MOST]),
        "targets_count": len(candidate.targets),
        "until": candidate.until,
    }


def read_secrets(text: str) -> tuple[bytes, ...]:
    """The secrets in a file, one a line: ``whsec_`` and base64 of 24 to 64 bytes. Raises `Usage`, which quotes none."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    found: list[bytes] = []
    for line in lines:
        try:
            secret = base64.b64decode(line.removeprefix(SECRET), validate=True)
        except ValueError:
            secret = b""
        if not line.startswith(SECRET) or not SECRET_BYTES[0] <= len(secret) <= SECRET_BYTES[1]:
            found.clear()
            break
        found.append(secret)
    if not found or len(found) > MAX_SECRETS:
        raise Usage(
            f"a webhook's secrets are 1 to {MAX_SECRETS} lines, each {SECRET} and base64 of "
            f"{SECRET_BYTES[0]} to {SECRET_BYTES[1]} bytes",
            f'make one: printf "{SECRET}%s\\n" "$(head -c 32 /dev/urandom | base64)" > FILE',
        )
    return tuple(found)


def signature(secrets: Sequence[bytes], event_id: str, timestamp: int, body: bytes) -> str:
    """The value of the header ``webhook-signature``; ``timestamp`` is in seconds since 1970."""
    message = f"{event_id}.{timestamp}.".encode() + body
    digests = (hmac.new(secret, message, hashlib.sha256).digest() for secret in secrets)
    return " ".join("v1," + base64.b64encode(digest).decode("ascii") for digest in digests)
