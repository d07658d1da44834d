"""One pull: read the head, decide, have the release, activate, remember, tidy up.

The order is what makes it safe: stage, verify, flush, rename into ``releases``, flush (`providing`), write the floor,
switch the link, flush (`activation`). Whatever dies in between, the link leads to the old release or to the new one,
whole. A failure of any kind leaves the live release as it is: nothing that is live is removed before its verified
successor.

An agent that stands by beside another one of the same root changes nothing: its pulls say what the disk says.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from dagferry_schemas.errors import Corrupt, DagferryError, Untrusted
from dagferry_schemas.names import check_version, short_tree
from dagferry_schemas.rollout import release_for
from dagferry_storage import disk, fetch, published
from dagferry_storage.keyring_folder import KeyringFolder
from dagferry_storage.metered import MeteredStore
from dagferry_storage.stores import open_store

from . import locking
from . import state as memory
from .activation import Activation
from .ahead import Ahead
from .by_hand import ByHand
from .head import ChannelHead
from .idle import IdleWork
from .live import LiveRelease
from .portrait import Portrait
from .providing import Provider
from .root import Root
from .staging import Work

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from dagferry_schemas.endpoint import AgentStatus, PullReply
    from dagferry_schemas.pins import Content
    from dagferry_schemas.record import Delta
    from dagferry_schemas.trust import Policy
    from dagferry_storage.store import Store

    from .providing import Shown
    from .settings import Settings
    from .state import State

CLOSE_SECONDS: Final = 1.0

log = logging.getLogger(__name__)


def open_delivery(settings: Settings, *, shown: Shown | None = None) -> Delivery:
    """The delivery that ``settings`` describe, with the real store and clock. Raises `Usage`."""
    return Delivery(settings, open_store(settings.store), Root(settings.root), time.time, shown=shown)


class Delivery:
    """Brings what a channel says onto one root. Safe to call from several threads; other agents are held off by a lock.

    ``clock`` gives the present in seconds since 1970. ``shown`` is put around the store for a tarball's download, and
    is told what that is and how many bytes it has. It leads, unless it is told to stand by.
    """

    def __init__(
        self, settings: Settings, store: Store, root: Root, clock: Callable[[], float], *, shown: Shown | None = None
    ) -> None:
        self.settings = settings
        self.root = root
        self._store = store
        self._live = LiveRelease(root)
        self._head = ChannelHead(settings)
        self._keyring = KeyringFolder(settings.keyring)
        self._provider = Provider(settings, root, shown)
        self._activation = Activation(settings, root, self._live, clock)
        self._hand = ByHand(root, self._provider, self._activation)
        self._ahead = Ahead(settings, self._provider, self._activation)
        self._idle = IdleWork(self._provider, self._activation)
        self._pulling = threading.Lock()
        self._leads = True
        self._tidies_later = False
        """Whether somebody calls `prepare_next` when there is time."""
        self._turn: int | None = None
        """The lock of the active agent, held as long as the process lives."""
        self._last_check: str | None = None
        self._last_error: dict[str, str] | None = None
        self._portrait = Portrait(settings, root, self._keyring, self._activation.now)

    def prepare(self, *, verify: bool = True) -> None:
        """Clean up what a crash left, and verify the live release. Raises `MachineFault` if the root is unusable.

        Without ``verify`` the first pull verifies it, if it is to stay live.
        """
        if not self._keyring.verifies:
            log.warning("no --keyring: records are believed without a signature")
        self.root.prepare()
        self.root.clean()
        if verify:
            self.verify()

    def claim(self) -> bool:
        """Follow the channel for life, if no other agent of this root does; else stand by. Raises `MachineFault`."""
        with disk.doing(f"locking {self.root.active}"):
            self._turn = locking.try_take(self.root.active)
        self._leads = self._turn is not None
        self._tidies_later = True
        return self._leads

    def await_turn(self) -> None:
        """Return when the active agent has ended, and this one may take over. Raises `MachineFault`."""
        self._turn = locking.take(self.root.active)

    def take_over(self) -> None:
        """Follow the channel from the next pull on. Raises `MachineFault`."""
        with self._pulling:
            self.root.clean()
            self._leads = True
            self._head.forget()
            self._live.verify()

    def verify(self) -> tuple[str, ...]:
        """The paths at which the live release is not what it must be; what `status` shows from now on.

        Every byte is read. Raises `MachineFault`.
        """
        with self._pulling:
            self._live.verify()
            return self._live.drift

    def look_at(self, paths: Collection[str]) -> bool:
        """Verify ``paths`` of the live release, at which something was written; whether it differs now.

        An empty path stands for all of it. What differs is in `status` from now on. Raises `MachineFault`.
        """
        with self._pulling:
            return self._live.look_at(paths)

    def heal(self) -> None:
        """Let the next pull put back what differs from the live release's file list."""
        self._live.doubt()

    def watch(self, again: Callable[[], object]) -> None:
        """Notice from now on what somebody writes into the live release; ``again`` asks for a pull that heals it."""

        def changed(paths: Collection[str]) -> None:
            if self.look_at(paths) and self.settings.heal and self._leads:
                self.heal()
                again()

        self._live.watch(changed)

    def unwatch(self) -> None:
        """End what `watch` began."""
        self._live.unwatch()

    def close(self) -> None:
        """Throw away what was prepared, within about a second; what is left of it goes at the next start."""
        with self._pulling:
            self._provider.forget(CLOSE_SECONDS)

    def ready(self) -> bool:
        """Whether a verified release is live. Raises `MachineFault`."""
        if not self._leads and not self._live.is_verified():
            self.verify()  # another agent has switched, and whoever asks here is not to wait for the next look
        return self._live.is_verified()

    def pull(self) -> PullReply:
        """Bring what the channel says onto this disk. Raises `BadData`, `DeliveryFailed`; then nothing has changed."""
        return self._recorded(self._pull_channel if self._leads else self._observe)

    def pull_version(self, version: str) -> PullReply:
        """Make one published version (or commit) live, whatever the channel says. Raises as `pull`."""
        check_version(version)
        return self._recorded(lambda meter: self._pull_version(version, meter))

    def activate(self, text: str) -> PullReply:
        """Make a release that is on this disk live, and keep it until the channel moves; no store is asked.

        Raises `Unknown`, `Conflict`, `Corrupt` if that release is damaged, `MachineFault`.
        """
        return self._by_hand(lambda: self._hand.activate(text, self._policy()))

    def resume(self) -> PullReply:
        """Follow the channel again from the next pull on; the reply says what is live until then. Raises `Unknown`."""
        return self._by_hand(self._hand.resume)

    def show_again(self) -> int:
        """Give the DAG files that the last switches changed a new time; how many there were. Raises `MachineFault`."""
        with self._pulling, self.root.lock():
            try:
                renewed = self._activation.show_again()
            except DagferryError:
                self._provider.forget()  # some files of the live release are others now, and nobody says which
                raise
            if renewed.files:
                self._provider.follow(renewed)
            return len(renewed.files)

    def prepare_next(self, seconds: float) -> bool:
        """Work for about so long on what makes the next pull quick; whether there is more to do.

        Raises `BadData`, `MachineFault`.
        """
        with self._pulling, self.root.lock():
            live = self.root.live()
            if not self._leads or live is None or not self._live.is_verified():
                return False
            return self._idle.work(live, seconds)

    def _by_hand(self, work: Callable[[], PullReply]) -> PullReply:
        began = time.monotonic()
        with self._pulling, self.root.lock():
            reply = work()
            self._tidy_now()
            return replace(reply, seconds=round(time.monotonic() - began, 6))

    def _tidy_now(self) -> None:
        if not self._tidies_later:
            self._idle.tidy(math.inf)

    def _recorded(self, work: Callable[[MeteredStore], PullReply]) -> PullReply:
        """Do one pull at a time, and remember how it went."""
        with self._pulling:
            began = time.monotonic()
            meter = MeteredStore(self._store)
            try:
                reply = work(meter)
            except DagferryError as error:
                self._last_error = {"code": error.code, "message": error.message}
                raise
            finally:
                self._last_check = self._activation.now()
            self._last_error = None
            return replace(
                reply,
                requests=meter.requests,
                bytes_fetched=meter.bytes_fetched,
                seconds=round(time.monotonic() - began, 6),
            )

    def _pull_channel(self, meter: MeteredStore) -> PullReply:
        with self.root.lock():
            state = self._activation.state()
            trusted = self._head.read(meter, self._policy(), state.floor, keeps=self.root.live() is not None)
            record, settings = trusted.record, self.settings
            chosen = release_for(record, settings.agent_id, settings.targets, self._activation.now())
            heard = state.heard(chosen.content.tree, trusted.floor)
            if heard.pin is not None:
                return self._hand.keep(state, heard)
            wanted = memory.Wanted(chosen.content.tree, chosen.version, record.generation, trusted.key_ids)
            reply = self._serve(meter, state, heard, chosen.content, wanted, record.deltas)
            self._ahead.make_ready(meter, record, chosen)
            self._tidy_now()
            return reply

    def _pull_version(self, name: str, meter: MeteredStore) -> PullReply:
        with self.root.lock():
            state = self._activation.state()
            found = published.resolve(meter, self.settings.bundle, name)
            signers = fetch.statement(meter, found, self._policy())
            content = found.version.content
            wanted = memory.Wanted(content.tree, found.version.version, signers=signers)
            reply = self._serve(meter, state, state, content, wanted)
            self._tidy_now()
            return reply

    def _policy(self) -> Policy:
        """What is demanded of signatures now. Raises `Untrusted` if a keyring is configured and cannot be used."""
        return self._keyring.policy(self._activation.now())

    def _observe(self, _meter: MeteredStore) -> PullReply:
        """What the disk says that another agent writes; a release that it made live is verified here, too."""
        if not self._live.is_verified():
            self._live.verify()
        reply = self._activation.unchanged(self._activation.state())
        if not self._live.is_verified():
            raise Corrupt(
                f"the live release {self.root.live()} is not what it must be", "the agent that is active mends it"
            )
        return reply

    def _serve(
        self,
        meter: MeteredStore,
        state: State,
        heard: State,
        content: Content,
        wanted: memory.Wanted,
        deltas: Sequence[Delta] = (),
    ) -> PullReply:
        """Make ``content`` live, if it is not; the reply's costs are filled in by the caller."""
        short = short_tree(content.tree)
        known = state.last_of(short)
        if known is not None and known.tree != content.tree:
            raise Untrusted(
                f"the trees {content.tree} and {known.tree}, which was live here, have one folder name, {short}",
                "that is no accident: find out who published them. What is live stays",
                code="colliding_trees",
            )
        live = self.root.live()
        stamp = self._activation.stamp(state)
        work = Work()
        if live != short:
            before = state.last_of(live) if live is not None else None
            work = self._provider.provide(meter, content, before, stamp, deltas)
        elif not self._live.is_verified():
            work = self._provider.mend(meter, content, stamp)
        return self._activation.switch(state, heard, wanted, work, stamp)

    def status(self) -> AgentStatus:
        """What is live, from the disk, and how the last pull went. Never raises for a foreseen failure."""
        status = self._portrait.status(
            self._activation.state,
            drift=self._live.drift,
            last_check=self._last_check,
            last_error=self._last_error,
            record=self._head.accepted,
        )
        role = "active" if self._leads else "standby"
        return replace(status, role=role, watching=self._live.watching, candidate=self._ahead.told)
