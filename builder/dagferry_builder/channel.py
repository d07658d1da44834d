"""Moving a channel: promote, rollback, hold, resume, each as one new record (`head` writes it).

A promotion that lost the race looks again and tries again if it still goes forward; what the operator decided with
their own eyes (rollback, ``--allow-older``, hold, resume) is never repeated over somebody else's change.
"""

from __future__ import annotations

import logging
import random
import secrets
import time
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, Final

from dagferry_schemas.errors import Conflict, Corrupt, DagferryError, Held, Unknown, Usage
from dagferry_schemas.record import Hold, Record, way
from dagferry_schemas.trust import Policy
from dagferry_storage import fetch, published
from dagferry_storage.store import Absent

from . import ancestry, catalog, deltas, history
from .head import Heads, Lost
from .signing import UNSIGNED

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagferry_schemas.record import Delta, Live
    from dagferry_storage.published import Published
    from dagferry_storage.store import Store

    from .git import Repository
    from .head import Head
    from .signing import Signing

log = logging.getLogger(__name__)
EPOCH: Final = 1
LOST_HEAD: Final = "recovered without its newest record: what came after may be lost"
ATTEMPTS: Final = 20
"""How often a promotion looks again after it lost a race."""
MOST_BAD: Final = 100
"""Versions that a record calls bad at the most: the oldest are forgotten first."""


@dataclass(frozen=True)
class Change:
    """What a command did to a channel. ``changed``: the version moved; ``previous``: what was live before.

    ``written`` is False where there was nothing to do, and ``record`` is then the one that was there.
    """

    record: Record
    previous: str | None
    changed: bool
    written: bool = True

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        live, hold = self.record.live, self.record.hold
        return {
            "channel": self.record.channel,
            "generation": self.record.generation,
            "version": live.version,
            "tree": live.content.tree,
            "previous": self.previous,
            "changed": self.changed,
            "hold": vars(hold) if hold else None,
            "candidate": candidate_facts(self.record),
            "bad": list(self.record.bad),
        }


def candidate_facts(record: Record) -> dict[str, Any] | None:
    """The JSON form of the release that is going live in steps, if there is one."""
    candidate = record.candidate
    if candidate is None:
        return None
    version, targets = candidate.live.version, list(candidate.targets)
    return {"version": version, "tree": candidate.live.content.tree, "targets": targets, "until": candidate.until}


class Channel:
    """One channel of a bundle, and who is moving it. ``clock`` gives the present as RFC 3339 UTC.

    Records that it writes expire after ``expires_days``, if that is given. Long transfers are ``shown``. ``observe`` is
    told of each record that was written, with the one before it.
    """

    heads: type[Heads] = Heads

    def __init__(
        self,
        store: Store,
        bundle: str,
        name: str,
        *,
        actor: str,
        clock: Callable[[], str],
        dry_run: bool = False,
        signing: Signing = UNSIGNED,
        expires_days: float | None = None,
        shown: deltas.Shown | None = None,
        observe: Callable[[Record, Record | None], None] = lambda _record, _before: None,
    ) -> None:
        self._store = store
        self._bundle = bundle
        self.name = name
        self._actor = actor
        self._clock = clock
        self._dry_run = dry_run
        self._signing = signing
        self._expires_days = expires_days
        self._shown = shown
        self._observe = observe
        self._heads = self.heads(store, bundle, name, signing)

    def head(self) -> Head | None:
        """The newest record, or None. Raises `Malformed`, `Untrusted` (a critical field that is not known here)."""
        try:
            return self._heads.read()
        except Absent:
            if self._dry_run:  # what publishes before would make it
                return None
            raise

    def existing_head(self) -> Head:
        """The newest record. Raises `Unknown` if the channel has none."""
        head = self.head()
        if head is None:
            self._check_first()
            known = ", ".join(catalog.channel_names(self._store, self._bundle)) or "none yet"
            raise Unknown(
                f"bundle {self._bundle!r} has no channel {self.name!r} in {self._store.url}",
                f"channels: {known}. The first `dagferry promote` makes a channel",
                code="unknown_channel",
            )
        return head

    def _check_first(self) -> None:
        """Refuse to begin a channel that has a log: its head is lost. Raises `Corrupt`."""
        try:
            last = history.last_logged(self._store, self._bundle, self.name)
        except Absent:  # as `head` has it
            return
        if last:
            raise Corrupt(
                f"channel {self.name!r} of bundle {self._bundle!r} has no head in {self._store.url}, but a log up to "
                f"generation {last}; nothing was changed",
                f"somebody removed the head: dagferry recover --channel {self.name}",
                code="lost_head",
            )

    def unchanged(self) -> Change:
        """The channel as it is, as a command leaves it that has nothing to do. Raises as `existing_head`."""
        return _nothing_done(self.existing_head())

    def records(self, *, most: int | None = None) -> list[Record]:
        """The records, oldest first."""
        return [one for one, _ in self.kept(most=most)]

    def kept(self, *, most: int | None = None) -> list[history.Kept]:
        """The records with their stored bytes, oldest first."""
        return history.kept(self._store, self._bundle, self.name, self.existing_head().trusted, most=most)

    def promote(
        self,
        chosen: Published,
        *,
        reason: str = "",
        allow_older: bool = False,
        allow_bad: bool = False,
        repository: Repository | None = None,
        stored: bool = True,
        built: deltas.Built | None = None,
    ) -> Change:
        """Point the channel at ``chosen``. Raises `Held`, and `Conflict` for an older or diverged commit, for one that
        was called bad, or while another release is going live in steps.

        Raises `Untrusted` if a keyring is at hand and nobody of it vouches for that version, unless the version is not
        ``stored``: a dry run, which did not publish it. What was ``built`` here is not fetched in order to make deltas.
        """
        if stored:
            fetch.statement(self._store, chosen, self._signing.policy)
        for attempt in range(ATTEMPTS):
            head = self.head()
            if head is not None and head.record.live.version == chosen.version.version:
                return _nothing_done(head)
            if head is None:
                self._check_first()
            else:
                self._check_promotion(head, chosen, allow_older, repository, allow_bad=allow_bad)
            changes: dict[str, Any] = {}
            if head is not None:
                bad = tuple(one for one in head.record.bad if one != chosen.version.version)
                changes = {"deltas": self._deltas(head, chosen.live, built), "bad": bad}
            try:
                return self._advance(head, "promote", reason, live=chosen.live, **changes)
            except Lost:
                if allow_older or attempt == ATTEMPTS - 1:
                    raise
            time.sleep(random.uniform(0, 0.02 * (attempt + 1)))
        raise AssertionError("unreachable")

    def _deltas(self, head: Head, wanted: Live, built: deltas.Built | None) -> tuple[Delta, ...]:
        """Deltas by which agents come to what is ``wanted``, and back. Where there can be none, the whole serves."""
        if self._dry_run:
            return ()
        try:
            return deltas.promoted(
                self._store, self._bundle, head.record, wanted.content, built=built, shown=self._shown
            )
        except DagferryError as error:
            log.warning("no delta was made, agents fetch the whole: %s", error.message)
            return ()

    def _check_promotion(
        self, head: Head, chosen: Published, allow_older: bool, repository: Repository | None, *, allow_bad: bool
    ) -> None:
        live, hold, candidate = head.record.live, head.record.hold, head.record.candidate
        if hold is not None:
            raise Held(
                f"channel {self.name!r} is held by {hold.by} since {hold.since}: {hold.reason or 'no reason given'}; "
                f"{live.version} stays live",
                f"when the reason is gone: dagferry resume --channel {self.name}, then promote again",
            )
        if candidate is not None:
            raise Conflict(
                f"channel {self.name!r}: {candidate.live.version} is going live in steps; nothing was changed",
                f"dagferry rollout resume --channel {self.name} goes on with it, dagferry rollout abort takes it back",
                code="rollout_under_way",
            )
        if chosen.version.version in head.record.bad and not allow_bad:
            raise Conflict(
                f"channel {self.name!r}: {chosen.version.version} was called bad; nothing was changed",
                f"`dagferry log --channel {self.name}` says why. If it is good all the same: --allow-bad",
                code="bad_version",
            )
        if allow_older:
            return
        present = published.read(self._store, self._bundle, live.version).version
        objection = ancestry.objection(repository, present, chosen.version)
        if objection is not None:
            who = f"generation {head.record.generation}, {head.record.action} by {head.record.actor}"
            raise Conflict(
                f"channel {self.name!r}: {objection} ({who}); nothing was changed",
                "if that is what you want: --allow-older, or dagferry rollback --to VERSION",
                code="older_commit",
            )

    def rollback(
        self, *, to: str | None = None, from_version: str | None = None, reason: str = "", hold: bool = True
    ) -> Change:
        """Pop to the version before, or down to ``to``; hold the channel unless told otherwise.

        While a release is going live in steps, it is that one which is taken back, and what is live stays: see
        `withdraw`. What is called bad is passed over.

        Raises `Conflict` if another version than ``from_version`` is live, or if a rollback holds the channel and no
        ``to`` is given; `Unknown` if there is nothing to go back to, or ``to`` was not live before.
        """
        head = self.existing_head()
        live, candidate = head.record.live, head.record.candidate
        if candidate is not None and to in (None, live.version) and from_version in (None, candidate.live.version):
            return self.withdraw(candidate.live.version, reason or f"rollback of {candidate.live.version}", hold=hold)
        if from_version is not None and live.version != from_version:
            raise Conflict(
                f"channel {self.name!r}: {live.version} is live, not {from_version}; nothing was changed",
                f"look at `dagferry log --channel {self.name}` and decide again",
                code="other_version_live",
            )
        records = history.read(self._store, self._bundle, self.name, head.trusted)
        below = history.stack(records)[-2::-1]
        if to == live.version:
            return self._already_there(head, reason, hold)
        if to is None and history.held_by_rollback(records):
            raise Held(
                f"channel {self.name!r} was rolled back already and is held at {live.version}; nothing was changed",
                f"to go further back say where to: --to VERSION. There is: {_names(below)}",
                code="rolled_back_already",
            )
        target = _pick(self.name, [one for one in below if one.version not in head.record.bad], to)
        known = way(head.record.deltas, live.content.tree, target.content.tree)  # nothing is made: it has to be quick
        held = self._hold_fields(reason or f"rollback from {live.version}", hold)
        return self._advance(head, "rollback", reason, live=target, deltas=known, **held)

    def withdraw(self, version: str, reason: str, *, bad: bool = True, hold: bool = True) -> Change:
        """Take the candidate ``version`` back: nobody serves it any more, and what is live stays.

        It is called ``bad``, and the channel is held, unless told otherwise. Raises `Conflict` if it is not the
        candidate (any more).
        """
        for attempt in range(ATTEMPTS):
            head = self.existing_head()
            candidate = head.record.candidate
            if candidate is None or candidate.live.version != version:
                raise Conflict(
                    f"channel {self.name!r}: {version} is not the candidate; nothing was changed",
                    f"see `dagferry log --channel {self.name}`",
                    code="no_candidate",
                )
            changes: dict[str, Any] = {"candidate": None, **self._hold_fields(reason, hold)}
            if bad:
                changes["bad"] = (*(one for one in head.record.bad if one != version), version)[-MOST_BAD:]
            try:
                return self._advance(head, "withdraw", reason, **changes)
            except Lost:
                if attempt == ATTEMPTS - 1:
                    raise
        raise AssertionError("unreachable")

    def _already_there(self, head: Head, reason: str, hold: bool) -> Change:
        if hold and head.record.hold is None:
            return self.hold(reason or "rollback to the live version")
        return _nothing_done(head)

    def _hold_fields(self, reason: str, hold: bool) -> dict[str, Hold]:
        return {"hold": Hold(self._actor, reason, self._clock())} if hold else {}

    def hold(self, reason: str = "") -> Change:
        """Refuse promotions until resumed; on a held channel a new reason is recorded, if there is one."""
        head = self.existing_head()
        kept = head.record.hold.reason if head.record.hold else ""
        return self._advance(head, "hold", reason, **self._hold_fields(reason or kept, True))

    def resume(self, reason: str = "") -> Change:
        """Lift the hold; nothing happens on a channel that is not held."""
        head = self.existing_head()
        if head.record.hold is None:
            return _nothing_done(head)
        return self._advance(head, "resume", reason, hold=None)

    def refresh(self, reason: str = "") -> Change:
        """Sign anew what is live: a new generation, and nothing else changes. Raises `Usage` without a key."""
        if not self._signing.signs:
            raise Usage("there is nothing to refresh without a key", "give --signer", code="no_signer")
        return self._advance(self.existing_head(), "refresh", reason)

    def recover(self, reason: str = "", *, epoch: int | None = None) -> Change:
        """Begin a new epoch, after the store came back from a backup: agents follow it wherever they were.

        It goes on from the newest record that the store has, be it the head or in the log; where that is not the head,
        the true newest one may be lost, and the channel is held. Raises `Unknown` if there is none, and `Usage` for an
        epoch that is not higher than before.
        """
        policy = _of_any_epoch(self._signing.policy)
        head = self._heads.read(policy)
        newest = history.newest(self._store, self._bundle, self.name, head.trusted if head else None, policy)
        if newest is None:
            self.existing_head()  # says so
            raise AssertionError("unreachable")
        before, stored = newest
        wanted = max(before.epoch + 1, self._lowest_epoch()) if epoch is None else epoch
        if wanted <= before.epoch:
            raise Usage(f"epoch {wanted} is not above {before.epoch}, which the channel has", "leave --epoch out")
        lost = head is None or stored != head.trusted.stored
        held = self._hold_fields(LOST_HEAD, lost and before.hold is None)
        record = self._next_after(before, stored, "recover", reason, {"epoch": wanted, **held})
        if lost:
            log.warning(
                "channel %r goes on from generation %d, %s: a newer record, perhaps of a rollback, may be lost. It is "
                "held; see what agents serve (dagferry status --agents), then dagferry resume, or rollback --to",
                self.name,
                before.generation,
                before.live.version,
            )
        self._write(head, record, before, went_back=lost)
        previous = head.record.live.version if head else None
        return Change(record, previous, changed=record.live.version != previous)

    def _lowest_epoch(self) -> int:
        keyring = self._signing.policy.keyring
        return 0 if keyring is None else keyring.required(self._bundle, self.name).epoch

    def _advance(self, head: Head | None, action: str, reason: str, **changes: Any) -> Change:  # noqa: ANN401
        record = self._next(head, action, reason, changes)
        self._write(head, record, head.record if head else None)
        previous = head.record.live.version if head else None
        return Change(record, previous, changed=record.live.version != previous)

    def _write(self, head: Head | None, record: Record, before: Record | None, *, went_back: bool = False) -> None:
        """Put ``record`` in the place of ``head``; in a dry run, find out whether it would be believed.

        ``before`` is the record that it follows: the head's, but for where the head was lost.
        """
        if self._dry_run:
            self._heads.sealed(head, record)
        else:
            self._heads.succeed(head, record, went_back=went_back)
            self._observe(record, before)

    def _next(self, head: Head | None, action: str, reason: str, changes: dict[str, Any]) -> Record:
        if head is not None:
            return self._next_after(head.record, head.trusted.stored, action, reason, changes)
        common = self._common(action, reason) | changes
        return Record(bundle=self._bundle, channel=self.name, epoch=EPOCH, generation=1, previous=None, **common)

    def _next_after(self, before: Record, stored: bytes, action: str, reason: str, changes: dict[str, Any]) -> Record:
        if before.expires is not None and self._expires_days is None:
            log.warning("the record before expires at %s, this one never: --expires-days is not given", before.expires)
        return before.succeed(head=stored, **(self._common(action, reason) | changes))

    def _common(self, action: str, reason: str) -> dict[str, Any]:
        issued = self._clock()
        return {
            "nonce": secrets.token_hex(16),
            "issued": issued,
            "action": action,
            "actor": self._actor,
            "reason": reason,
            "expires": None if self._expires_days is None else _days_after(issued, self._expires_days),
        }


def _of_any_epoch(policy: Policy) -> Policy:
    """The policy for raising the epoch: it demands the same signatures, of whatever epoch."""
    if policy.keyring is None:
        return policy
    requirements = tuple(replace(one, epoch=0) for one in policy.keyring.requirements)
    return Policy.require(replace(policy.keyring, requirements=requirements), policy.now)


def _days_after(time: str, days: float) -> str:
    moment = datetime.strptime(time[:19], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=timezone.utc) + timedelta(days=days)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _nothing_done(head: Head) -> Change:
    return Change(head.record, head.record.live.version, changed=False, written=False)


def _pick(channel: str, below: list[Live], to: str | None) -> Live:
    for live in below:
        if to is None or live.version == to:
            return live
    if to is None:
        raise Unknown(
            f"channel {channel!r} has no earlier version to go back to; nothing was changed",
            "promote another version, or hold the channel",
            code="nothing_before",
        )
    raise Unknown(
        f"{to} was not live on channel {channel!r} before the present version; nothing was changed",
        f"a rollback can go to: {_names(below)}. For any other version: dagferry promote {to} --channel {channel}",
        code="not_in_history",
    )


def _names(below: list[Live]) -> str:
    return ", ".join(dict.fromkeys(live.version for live in below)) or "no earlier version"
