"""Making a release live that is on this disk and verified: write the floor, switch the link, flush; and tidy up later.

The memory is written before the link is switched, so that a kill in between is finished by the next pull. The link and
nothing else says what is live; the same generation is a no-op only if the link already leads to its release.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from dagferry_schemas.endpoint import PullReply
from dagferry_schemas.errors import DeliveryFailed
from dagferry_schemas.names import short_tree
from dagferry_storage import disk

from . import retention
from . import state as memory
from .clock import utc
from .renewing import Renewed, show_again

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from .live import LiveRelease
    from .root import Root
    from .settings import Settings
    from .staging import Work
    from .state import Served, State, Wanted


class Activation:
    """Switches ``root``, whose live release is ``live``. ``clock`` gives seconds since 1970."""

    def __init__(self, settings: Settings, root: Root, live: LiveRelease, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._root = root
        self._live = live
        self._clock = clock
        self._durable = settings.durability != "none"
        self._stamped = 0
        self._kept: tuple[tuple[int, int, int], State] | None = None
        """What was read last, and the inode, time and size of the file."""
        self._replaced: list[str] = []
        """The releases that were live since Airflow was last shown what differs."""
        self.candidate: str | None = None
        """The tree that the channel may have next: its release stays."""

    def switch(self, state: State, heard: State, wanted: Wanted, work: Work, stamp: int) -> PullReply:
        """Make the release of ``wanted``, which is on the disk and verified, live, and remember that first."""
        short = short_tree(wanted.tree)
        live = self._root.live()
        before = state.last_of(live) if live else None
        switched = live != short or work.written > 0
        remembered = heard.served(wanted, self.now())
        if switched:
            remembered = replace(remembered, stamp=stamp)
        if remembered != state:
            self.save(remembered)
        if live != short:
            self._live.switching(short)
            with disk.doing(f"activating {wanted.version} in {self._root.path}"):
                self._root.switch(short, durable=self._durable)
            if live:
                self._replaced.append(live)
        if switched or not self._live.is_verified():
            self._live.switched(short)
        return replace(
            self._reply(wanted, before, remembered),
            changed=switched,
            files_written=work.written,
            files_linked=work.linked,
            files_copied=work.copied,
        )

    def show_again(self) -> Renewed:
        """Give the DAG files that the last switches changed a new time. Raises `MachineFault`."""
        names, self._replaced = self._replaced, []
        live = self._root.live()
        release = self._root.find(live) if live else None
        before = [found for name in names if (found := self._root.find(name)) is not None]
        if release is None:
            return Renewed({}, b"")
        durability, stamp = self._settings.durability, self.stamp(self.state())
        return show_again(self._root, release, before, stamp=stamp, durability=durability)

    def unchanged(self, state: State) -> PullReply:
        """What is live, and was. Raises `DeliveryFailed` if nothing is."""
        live = self._root.live()
        served = state.last_of(live) if live else None
        if served is None:
            raise DeliveryFailed("nothing is live here yet", "the active agent of this root delivers", code="not_yet")
        return self._reply(served, served, state)

    def _reply(self, live: Wanted | Served, before: Served | None, state: State) -> PullReply:
        """What is live, and what was, of a pull that did nothing; what it cost the caller knows."""
        return PullReply(
            bundle=self._settings.bundle,
            channel=self._settings.channel if live.generation is not None else None,
            generation=live.generation,
            version=live.version,
            tree=live.tree,
            previous=before.version if before else None,
            changed=False,
            files_written=0,
            files_linked=0,
            bytes_fetched=0,
            requests=0,
            seconds=0.0,
            pinned=state.pin.version if state.pin else None,
        )

    def tidying(self) -> Generator[None]:
        """Remove the releases that nobody needs any more, a few files at a time. Raises as `state`.

        What was needed by nobody a moment ago may be live by now: each is judged when its turn comes.
        """
        done: set[str] = set()
        while (live := self._root.live()) is not None:
            keep, before = self._settings.keep_releases, self.now(-timedelta(hours=self._settings.grace_hours))
            names = retention.expired(
                self._root.names(), self.state(), live, keep=keep, before=before, candidate=self.candidate
            )
            name = next((name for name in names if name not in done), None)
            if name is None:
                return
            done.add(name)
            yield from retention.removing(self._root, name)

    def stamp(self, state: State) -> int:
        """A time for a folder that none of this root has had, in milliseconds."""
        self._stamped = max(int(self._clock() * 1000), state.stamp + 1, self._stamped + 1)
        return self._stamped

    def save(self, state: State) -> None:
        """Replace the memory. Raises `MachineFault`."""
        with disk.doing(f"writing {self._root.path / memory.FILE}"):
            memory.save(self._root.path, state, durable=self._durable)

    def state(self) -> State:
        """The memory. Raises `Malformed`, `Conflict`, `MachineFault`; see `state.load`."""
        path = self._root.path / memory.FILE
        with disk.doing(f"reading {path}"):
            try:
                found = path.stat()
            except FileNotFoundError:
                return memory.load(self._root.path, self._settings.bundle, self._settings.channel)
            seen = (found.st_ino, found.st_mtime_ns, found.st_size)  # it is replaced whole, and never written to
            if self._kept is None or self._kept[0] != seen:
                self._kept = (seen, memory.load(self._root.path, self._settings.bundle, self._settings.channel))
            return self._kept[1]

    def now(self, shift: timedelta = timedelta()) -> str:
        """The present, or another moment, as RFC 3339."""
        return utc(self._clock() + shift.total_seconds())
