"""The channel record: one entry of a channel's history, and the whole truth about what is live.

The head of a channel is its newest record. Every change of the channel is a new record with the next generation, which
names the digest of the one before. A record is stored as a DSSE envelope; its digest is that of the stored bytes.

``critical`` names the fields that a reader must understand in order to act rightly. `unknown_critical` says which of
them this release does not honour: such a record is kept away from (`trust`). Unknown fields that are not critical are
kept and handed on to the next record.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from . import fields as reading
from .dsse import RECORD_TYPE, Envelope, nobody, signed
from .errors import Malformed
from .layout import MAX_DOCUMENT
from .names import NAME, VERSION, digest_of
from .pins import Content, Pin
from .rollout import CRITICAL
from .version import check_format

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .dsse import Sign

FORMAT: Final = 1
ACTIONS: Final = ("promote", "rollback", "hold", "resume", "refresh", "recover", "stage", "withdraw")
HONOURED: Final = frozenset(
    {
        "format",
        "bundle",
        "channel",
        "epoch",
        "generation",
        "previous",
        "nonce",
        "issued",
        "action",
        "hold",
        "live",
        "expires",
        "candidate",
        "bad",
    }
)
"""The fields that this release acts upon wherever they matter, and that may therefore be called critical."""


@dataclass(frozen=True)
class Previous:
    """The record before: its generation and the digest of its stored bytes."""

    generation: int
    sha256: str


@dataclass(frozen=True)
class Hold:
    """The channel refuses promotions: who said so, why and since when."""

    by: str
    reason: str
    since: str


@dataclass(frozen=True)
class Live:
    """What a channel delivers: a version, the pin of its document, and its content."""

    version: str
    version_record: Pin
    content: Content

    @classmethod
    def read(cls, fields: reading.Fields) -> Live:
        """The release in ``fields``. Raises `Malformed`."""
        return cls(fields.text("version", VERSION), Pin.read(fields.child("version_record")), Content.read(fields))

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "version": self.version,
            "version_record": self.version_record.to_dict(),
            "tree": self.content.tree,
            "tarball": self.content.tarball.to_dict(),
            "files": self.content.files.to_dict(),
        }


@dataclass(frozen=True)
class Candidate:
    """A release that only ``targets`` (agent ids and ``KEY=VALUE`` labels) activate, until a time."""

    live: Live
    targets: tuple[str, ...]
    until: str | None

    @classmethod
    def read(cls, fields: reading.Fields) -> Candidate:
        """The candidate in ``fields``. Raises `Malformed`."""
        return cls(Live.read(fields), fields.texts("targets"), reading.optional(fields, "until", fields.time))

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {**self.live.to_dict(), "targets": list(self.targets), "until": self.until}


@dataclass(frozen=True)
class Delta:
    """A stored delta between two trees, named by its own digest."""

    from_tree: str
    to_tree: str
    pin: Pin

    @classmethod
    def read(cls, fields: reading.Fields) -> Delta:
        """The delta in ``fields``. Raises `Malformed`."""
        return cls(fields.digest("from"), fields.digest("to"), Pin.read(fields))

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {"from": self.from_tree, "to": self.to_tree, **self.pin.to_dict()}


@dataclass(frozen=True)
class Record:
    """One record of a channel. ``actor`` is what its writer claimed; ``nonce`` makes every record's bytes unique."""

    bundle: str
    channel: str
    epoch: int
    generation: int
    previous: Previous | None
    nonce: str
    issued: str
    action: str
    actor: str
    reason: str
    live: Live
    hold: Hold | None = None
    critical: tuple[str, ...] = ()
    expires: str | None = None
    candidate: Candidate | None = None
    bad: tuple[str, ...] = ()
    deltas: tuple[Delta, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def unknown_critical(self) -> tuple[str, ...]:
        """The critical fields that this release does not honour."""
        return tuple(name for name in self.critical if name not in HONOURED)

    def succeed(self, *, head: bytes, nonce: str, **changes: Any) -> Record:  # noqa: ANN401 (typed by the fields)
        """The record after this one, whose stored bytes are ``head``.

        An expiry is never inherited; deltas and a candidate do not outlive a change of what is live. A record is
        critical about its candidate, and about nothing that it has not.
        """
        kept: dict[str, Any] = {"nonce": nonce, "expires": None}
        if changes.get("live", self.live) != self.live:
            kept |= {"deltas": (), "candidate": None}
        candidate = {**kept, **changes}.get("candidate", self.candidate)
        kept["critical"] = tuple(name for name in self.critical if name != CRITICAL)
        kept["critical"] += (CRITICAL,) if candidate is not None else ()
        previous = Previous(self.generation, digest_of(head))
        return replace(self, generation=self.generation + 1, previous=previous, **{**kept, **changes})

    @classmethod
    def from_payload(cls, raw: bytes, what: str = "record") -> Record:
        """The record in an envelope's payload. Raises `Malformed`; a newer format is refused."""
        fields = reading.load(raw, what, limit=MAX_DOCUMENT)
        check_format(fields, FORMAT)
        return cls(
            critical=fields.texts("critical"),
            bundle=fields.text("bundle", NAME),
            channel=fields.text("channel", NAME),
            epoch=fields.integer("epoch"),
            generation=fields.integer("generation", least=1),
            previous=_previous(fields),
            nonce=fields.text("nonce", most=128),
            issued=fields.time("issued"),
            expires=reading.optional(fields, "expires", fields.time),
            action=fields.text("action", most=32),
            actor=fields.text("actor"),
            reason=fields.text("reason"),
            hold=_hold(fields.child("hold")) if fields.has("hold") else None,
            live=Live.read(fields.child("live")),
            candidate=Candidate.read(fields.child("candidate")) if fields.has("candidate") else None,
            bad=fields.texts("bad") if fields.has("bad") else (),
            deltas=tuple(map(Delta.read, fields.children("deltas"))) if fields.has("deltas") else (),
            extra=fields.rest(),  # last: what nobody asked for until here
        )

    def to_payload(self) -> bytes:
        """The bytes that are signed and stored in an envelope."""
        return reading.dump({**self.extra, **self.to_dict()})

    def to_dict(self) -> dict[str, Any]:
        """The JSON form, without the unknown fields."""
        return {
            "format": FORMAT,
            "critical": list(self.critical),
            "bundle": self.bundle,
            "channel": self.channel,
            "epoch": self.epoch,
            "generation": self.generation,
            "previous": asdict(self.previous) if self.previous else None,
            "nonce": self.nonce,
            "issued": self.issued,
            "expires": self.expires,
            "action": self.action,
            "actor": self.actor,
            "reason": self.reason,
            "hold": asdict(self.hold) if self.hold else None,
            "live": self.live.to_dict(),
            "candidate": self.candidate.to_dict() if self.candidate else None,
            "bad": list(self.bad),
            "deltas": [delta.to_dict() for delta in self.deltas],
        }


def way(deltas: Sequence[Delta], from_tree: str, to_tree: str) -> tuple[Delta, ...]:
    """The fewest of ``deltas`` that lead from a tree to another one, in their order; none if none do."""
    ways: dict[str, tuple[Delta, ...]] = {from_tree: ()}
    reached = [from_tree]
    for tree in reached:
        for delta in deltas:
            if delta.from_tree == tree and delta.to_tree not in ways:
                ways[delta.to_tree] = (*ways[tree], delta)
                reached.append(delta.to_tree)
    return ways.get(to_tree, ())


def seal(record: Record, sign: Sign = nobody) -> bytes:
    """The stored bytes of ``record``: an envelope with the signatures that ``sign`` gives.

    Raises `Malformed` if they could not be read back: a head that no reader takes would close its channel for good.
    """
    stored = signed(record.to_payload(), RECORD_TYPE, sign)
    Record.from_payload(Envelope.from_bytes(stored, "record", limit=MAX_DOCUMENT).payload)
    return stored


def _previous(fields: reading.Fields) -> Previous | None:
    if not fields.has("previous"):
        return None
    child = fields.child("previous")
    return Previous(child.integer("generation", least=1), child.digest("sha256"))


def _hold(fields: reading.Fields) -> Hold:
    return Hold(fields.text("by"), fields.text("reason"), fields.time("since"))


def check_chain(record: Record) -> None:
    """Refuse a record whose generation and ``previous`` contradict each other. Raises `Malformed`."""
    expected = record.generation - 1
    found = record.previous.generation if record.previous else 0
    if found != expected:
        raise Malformed(f"record.previous: generation {record.generation} follows {expected}, not {found}")
