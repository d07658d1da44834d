"""Having a release on this disk, verified: it is there already, it is mended, or it is fetched, as deltas or whole.

Nothing depends on deltas and on what was prepared: whatever is wrong with them, the whole tarball serves.
"""

from __future__ import annotations

import logging
import math
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

from dagferry_schemas.errors import DagferryError, MachineFault
from dagferry_schemas.names import short_tree
from dagferry_schemas.record import way
from dagferry_storage import disk, fetch

from . import room
from .drift import find_drift
from .edit_watch import open_watch
from .editing import edit, plan
from .releases import Edited, Release
from .renewing import differing, renew
from .spare import Spare
from .staging import Work, mend, stage
from .waiting import Waiting, wait

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from dagferry_schemas.pins import Content
    from dagferry_schemas.record import Delta
    from dagferry_schemas.trust import VerifiedTarball, VerifiedTree
    from dagferry_storage.metered import MeteredStore
    from dagferry_storage.store import Store

    from .renewing import Differing, Renewed
    from .root import Root
    from .settings import Settings
    from .state import Served

    Shown = Callable[[Store, str, int], Store]

log = logging.getLogger(__name__)


class Provider:
    """Makes releases in ``root``. ``shown`` is put around the store for a tarball's download, and is told its size."""

    def __init__(self, settings: Settings, root: Root, shown: Shown | None) -> None:
        self._settings = settings
        self._root = root
        self._shown = shown
        self._spare: Spare | None = None
        self._edited: Edited | None = None
        """The live release, if it came by deltas and not all of it is told on the disk yet."""
        self._impossible: str | None = None
        """The release of which no copy can be made."""
        self._waiting: Waiting | None = None
        """A release that was made ready ahead of the switch to it."""

    def provide(
        self, meter: MeteredStore, content: Content, live: Served | None, stamp: int, deltas: Sequence[Delta] = ()
    ) -> Work:
        """Have the release of ``content`` beside the live one: as it was kept, by ``deltas``, or whole.

        Raises `BadData`, `DeliveryFailed`.
        """
        waiting = self._waiting
        if waiting is not None and waiting.release.tree.digest == content.tree and waiting.is_untouched():
            if waiting.is_next_to(short_tree(live.tree) if live is not None else None):
                return self._awaken(waiting.release, waiting.differing, stamp)
            return self.awaken(waiting.release, self._find(live), stamp)
        kept = self._root.find(short_tree(content.tree))
        if kept is not None and kept.tree.digest == content.tree and not find_drift(kept):
            return self.awaken(kept, self._find(live), stamp)
        if live is not None:
            entries = way(deltas, live.tree, content.tree)
            if entries and sum(entry.pin.size for entry in entries) < content.tarball.size:
                work = self._by_deltas(meter, entries, short_tree(live.tree), stamp)
                if work is not None:
                    return work
        self.forget()  # it takes room
        return self._fetch(meter, content, self._find(live), stamp)

    def provide_ahead(
        self, meter: MeteredStore, content: Content, live: Served | None, stamp: int, deltas: Sequence[Delta] = ()
    ) -> None:
        """Have the release of ``content`` ready beside the live one, for a later switch. Raises as `provide`.

        From then on, until it is live or is no longer wanted, nothing else is prepared.
        """
        name = short_tree(content.tree)
        if self._waiting is not None and self._waiting.name == name and self._waiting.is_untouched():
            return
        self.provide(meter, content, live, stamp, deltas)
        self.forget()
        release = self._root.find(name)
        self._waiting = wait(release, self._find(live)) if release is not None else None

    def _find(self, live: Served | None) -> Release | None:
        return self._root.find(short_tree(live.tree)) if live is not None else None

    def _by_deltas(self, meter: MeteredStore, entries: Sequence[Delta], live: str, stamp: int) -> Work | None:
        """The next release by an edit of a copy of the live one; None if that cannot be."""
        durability = self._settings.durability
        try:
            spare = self._spare_of(live, stamp, at_once=True)
            if spare is None:
                return None
            stored = [(entry, fetch.delta(meter, self._settings.bundle, entry)) for entry in entries]
            release, work = edit(self._root, spare, plan(spare, stored), stamp=stamp, durability=durability)
        except MachineFault:  # what was not written or flushed here is no reason to write more
            self.forget()
            raise
        except DagferryError as error:
            log.warning("no delta is used, the whole tarball serves: %s", error.message)
            return None
        self.forget()
        self._edited = release
        return work

    def prepare_next(self, live: str, seconds: float, stamp: Callable[[], int]) -> bool:
        """Work for so long on a copy of the live release for the next one; whether there is more to do."""
        if live == self._impossible or self._waiting is not None:
            return False
        try:
            if self._spare is None or self._spare.release.folder.name != live:
                return self._spare_of(live, stamp(), at_once=False) is not None
            if self._spare.advance(seconds):
                return True
            if not self._spare.is_impossible:
                self._edited = None
                return False
        except DagferryError as error:
            log.info("the next release is not prepared: %s", error.message)
        self.forget()
        self._impossible = live
        return False

    def _spare_of(self, live: str, stamp: int, *, at_once: bool) -> Spare | None:
        """The copy of the live release, perhaps one that was begun just now; None if there can be none."""
        if self._spare is not None and self._spare.release.folder.name == live:
            return self._spare
        edited = self._edited
        self.forget()
        release = edited if edited is not None and edited.folder.name == live else self._root.find(live)
        if release is None or not release.is_marked:
            self._impossible = live
            return None
        with disk.doing(f"preparing the release after {release.folder}"):
            free, most = room.Free.at(self._root.path), len(release.tree.files)
            room.require(self._root.path, room.Need(most * free.block, most), free, "the next release")
            durable = self._settings.durability != "none"
            watch = None if at_once else open_watch()
            self._spare = Spare(self._root, release, stamp, durable=durable, watch=watch, at_once=at_once)
        self._edited = edited if release is edited else None
        return self._spare

    def follow(self, renewed: Renewed) -> None:
        """Files of the live release were replaced by others with the same bytes: the prepared copy takes them over."""
        spare = self._spare
        if spare is not None and spare.is_ready:
            try:
                spare.follow(renewed)
            except DagferryError as error:
                log.info("the next release is prepared anew: %s", error.message)
            else:
                self._edited = None
                return
        self._forget_spare()

    def forget(self, seconds: float = math.inf) -> None:
        """Throw away what was prepared, as far as there is time: files of the live release are going to change."""
        self._forget_spare(seconds)
        self.forget_ahead()

    def forget_ahead(self) -> None:
        """What was made ready ahead is wanted no more; it stays on the disk."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.close()

    def _forget_spare(self, seconds: float = math.inf) -> None:
        spare, self._spare, self._impossible, self._edited = self._spare, None, None, None
        if spare is not None:
            spare.drop(seconds)

    def awaken(self, kept: Release, before: Release | None, stamp: int) -> Work:
        """Prepare a verified release that is on the disk to become live after ``before``. Raises `MachineFault`."""
        return self._awaken(kept, differing(kept, before), stamp)

    def _awaken(self, kept: Release, found: Sequence[Differing], stamp: int) -> Work:
        self.forget()
        try:
            release = renew(self._root, kept, found, stamp=stamp, durability=self._settings.durability)
        except MachineFault as error:
            if not isinstance(error.__cause__, PermissionError):
                raise
            # An init container under another user id made it; Airflow will see the change at its next full round.
            log.warning("the release %s keeps its times: %s", kept.folder.name, error)
            return Work()
        self._edited = release if isinstance(release, Edited) else None
        return Work(len(found))

    def mend(self, meter: MeteredStore, content: Content, stamp: int) -> Work:
        """Verify the live release, and put back what is not as it must be. Raises as `provide`."""
        self.forget()
        folder = self._root.releases / short_tree(content.tree)
        if not folder.is_dir():  # somebody removed it: the link leads nowhere
            return self._fetch(meter, content, None, stamp)
        release, tree = self._root.find(folder.name), None
        if release is None or release.tree.digest != content.tree:
            tree = fetch.files(meter, self._settings.bundle, content)
            release = Release(folder, tree.tree, None)
            with disk.doing(f"writing to {self._root.path}"):
                self._root.lists.write(tree.tree, durable=self._settings.durability != "none")
        wrong = find_drift(release)
        if not wrong:
            return Work()
        log.warning("mending the live release %s: %s", folder.name, ", ".join(wrong[:10]))
        tree = tree or fetch.files(meter, self._settings.bundle, content)
        with self._spooled(meter, content, tree, release) as (tarball, spool):
            durability = self._settings.durability
            return Work(mend(self._root, release, wrong, tarball, spool, stamp=stamp, durability=durability))

    def _fetch(self, meter: MeteredStore, content: Content, before: Release | None, stamp: int) -> Work:
        tree = fetch.files(meter, self._settings.bundle, content)
        with self._spooled(meter, content, tree, before) as (tarball, spool):
            durability = self._settings.durability
            return stage(self._root, tarball, spool, before, stamp=stamp, durability=durability).work

    @contextmanager
    def _spooled(
        self, meter: MeteredStore, content: Content, tree: VerifiedTree, before: Release | None
    ) -> Iterator[tuple[VerifiedTarball, BinaryIO]]:
        """The verified tarball, and the file that holds it until the end of the block."""
        import tempfile  # what finds nothing new does not need it

        staging = self._root.staging
        with disk.doing(f"fetching into {staging}"):
            free = room.Free.at(staging)
            room.require(self._root.path, room.need_of(content, tree.tree, before, free.block), free, content.tree)
            with tempfile.TemporaryFile(dir=staging) as spool:
                bundle = self._settings.bundle
                store = self._shown(meter, bundle, content.tarball.size) if self._shown else meter
                tarball = fetch.tarball(store, bundle, tree, content, spool)
                spool.seek(0)
                yield tarball, spool
