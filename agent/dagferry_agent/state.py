"""What an agent remembers on its disk: the floor, and what was live when.

``state.json`` says nothing about what is live: the link does. It is replaced whole (tmp, fsync, rename, fsync), before
the link is switched, so that a crash in between is finished by the next pull and never undone.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from dagferry_schemas import fields as reading
from dagferry_schemas.errors import Conflict, Malformed
from dagferry_schemas.names import NAME, VERSION
from dagferry_schemas.trust import Floor
from dagferry_schemas.version import check_format
from dagferry_storage import disk

if TYPE_CHECKING:
    from pathlib import Path

FORMAT: Final = 1
FILE: Final = "state.json"
MAX_STATE: Final = 4 * 1024 * 1024
MAX_STAMP: Final = 8 * 10**12
"""Milliseconds, the year 2223: nanoseconds of a time much later are more than the 64 bits of a mark."""
REMEMBERED: Final = 200
"""Entries of the local history that are kept at the most."""


@dataclass(frozen=True)
class Wanted:
    """What is to be live: a tree, under which version and generation, and the ids of the keys that vouch for it."""

    tree: str
    version: str
    generation: int | None = None
    signers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Served:
    """One activation: which tree, under which version and generation, from when until when (None: still).

    ``signers`` are the ids of the keys that vouched for it; none if nobody was asked to.
    """

    tree: str
    version: str
    generation: int | None
    activated: str
    retired: str | None = None
    signers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pin:
    """A release that somebody activated here by hand, and the tree that the channel named then (None: unknown)."""

    version: str
    tree: str
    channel_tree: str | None


@dataclass(frozen=True)
class State:
    """The memory of one agent. ``history`` is oldest first; ``stamp`` is the last folder time used, in milliseconds.

    ``channel_tree``: what the channel's newest accepted record names as live. ``pin``: what holds until that changes.
    """

    bundle: str
    channel: str
    floor: Floor | None = None
    history: tuple[Served, ...] = ()
    stamp: int = 0
    channel_tree: str | None = None
    pin: Pin | None = None

    def heard(self, tree: str, floor: Floor | None) -> State:
        """The memory after a record of the channel was accepted that names ``tree``: another one than before unpins."""
        holds = self.pin is not None and self.pin.channel_tree == tree
        if (tree, floor) == (self.channel_tree, self.floor) and (holds or self.pin is None):
            return self
        return replace(self, channel_tree=tree, floor=floor, pin=self.pin if holds else None)

    def served(self, wanted: Wanted, now: str) -> State:
        """The memory after ``wanted`` was activated: the present entry is retired, if it is another one."""
        *older, last = self.history or (None,)
        if last is not None and last.tree == wanted.tree:
            entry = replace(last, version=wanted.version, generation=wanted.generation, signers=wanted.signers)
            if entry == last:
                return self
            return replace(self, history=(*(one for one in older if one), entry))
        retired = tuple(replace(one, retired=one.retired or now) for one in self.history)
        entry = Served(wanted.tree, wanted.version, wanted.generation, now, signers=wanted.signers)
        return replace(self, history=(*retired, entry)[-REMEMBERED:])

    def last_of(self, short: str) -> Served | None:
        """The newest entry of the release folder ``short``."""
        matches = (one for one in reversed(self.history) if one.tree.startswith(f"sha256:{short}"))
        return next(matches, None)

    def before(self, short: str) -> Served | None:
        """The newest entry that is not of the release folder ``short``: what was live before it."""
        others = (one for one in reversed(self.history) if not one.tree.startswith(f"sha256:{short}"))
        return next(others, None)


def load(folder: Path, bundle: str, channel: str) -> State:
    """The memory in ``folder``; fresh where there is none, and without a floor for another channel than ours.

    Raises `Malformed` where it cannot be understood (a floor must not be forgotten by accident), `Conflict` where it is
    another bundle's: two agents would take turns in switching what Airflow reads.
    """
    state = find(folder)
    if state is None:
        return State(bundle, channel)
    if state.bundle != bundle:
        raise Conflict(
            f"{folder} belongs to bundle {state.bundle!r}, not {bundle!r}; nothing was changed",
            "give each bundle a root of its own, or empty this one first",
            code="other_bundle",
        )
    if state.channel != channel:
        return replace(state, channel=channel, floor=None, channel_tree=None, pin=None)
    return state


def find(folder: Path) -> State | None:
    """The memory in ``folder``, whatever channel it is of; None where there is none. Raises `Malformed`, `OSError`."""
    try:
        raw = (folder / FILE).read_bytes()
    except FileNotFoundError:
        return None
    try:
        return _decode(raw)
    except Malformed as error:
        raise Malformed(
            f"{folder / FILE}: {error.message}",
            "the live release stays. If nobody attacked this pod, remove that file: the channel is then believed anew",
            code="bad_state",
        ) from None


def save(folder: Path, state: State, *, durable: bool) -> None:
    """Replace the memory. Raises `OSError`."""
    document: dict[str, Any] = {"format": FORMAT, **asdict(state)}
    disk.write_whole(folder / FILE, reading.dump(document), exact=True, durable=durable)


def _decode(raw: bytes) -> State:
    fields = reading.load(raw, "state", limit=MAX_STATE)
    check_format(fields, FORMAT)
    return State(
        bundle=fields.text("bundle", NAME),
        channel=fields.text("channel", NAME),
        floor=_floor(fields.child("floor")) if fields.has("floor") else None,
        history=tuple(map(_served, fields.children("history"))),
        stamp=fields.integer("stamp", most=MAX_STAMP),
        channel_tree=reading.optional(fields, "channel_tree", fields.digest),
        pin=_pin(fields.child("pin")) if fields.has("pin") else None,
    )


def _floor(fields: reading.Fields) -> Floor:
    return Floor(fields.integer("epoch"), fields.integer("generation", least=1), fields.digest("sha256"))


def _pin(fields: reading.Fields) -> Pin:
    return Pin(
        version=fields.text("version", VERSION),
        tree=fields.digest("tree"),
        channel_tree=reading.optional(fields, "channel_tree", fields.digest),
    )


def _served(fields: reading.Fields) -> Served:
    return Served(
        tree=fields.digest("tree"),
        version=fields.text("version", VERSION),
        generation=reading.optional(fields, "generation", lambda name: fields.integer(name, least=1)),
        activated=fields.time("activated"),
        retired=reading.optional(fields, "retired", fields.time),
        signers=fields.texts("signers") if fields.has("signers") else (),
    )
