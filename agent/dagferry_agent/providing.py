"""Having a release on this disk, verified: it is there already, it is mended, or it is fetched and staged."""

from __future__ import annotations

import logging
import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

from dagferry_schemas.errors import MachineFault
from dagferry_schemas.names import short_tree
from dagferry_storage import disk, fetch

from . import room
from .drift import find_drift
from .releases import Release
from .renewing import renew
from .staging import Work, mend, stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dagferry_schemas.pins import Content
    from dagferry_schemas.trust import VerifiedTarball, VerifiedTree
    from dagferry_storage.metered import MeteredStore
    from dagferry_storage.store import Store

    from .root import Root
    from .settings import Settings

    Shown = Callable[[Store, str, int], Store]

log = logging.getLogger(__name__)


class Provider:
    """Makes releases in ``root``. ``shown`` is put around the store for a tarball's download, and is told its size."""

    def __init__(self, settings: Settings, root: Root, shown: Shown | None) -> None:
        self._settings = settings
        self._root = root
        self._shown = shown

    def provide(self, meter: MeteredStore, content: Content, live: str | None, stamp: int) -> Work:
        """Have the release of ``content`` beside the live one. Raises `BadData`, `DeliveryFailed`."""
        before = self._root.find(live) if live else None
        kept = self._root.find(short_tree(content.tree))
        if kept is not None and kept.tree.digest == content.tree and not find_drift(kept):
            return self.awaken(kept, before, stamp)
        return self._fetch(meter, content, before, stamp)

    def awaken(self, kept: Release, before: Release | None, stamp: int) -> Work:
        """Prepare a verified release that is on the disk to become live after ``before``. Raises `MachineFault`."""
        try:
            return Work(renew(self._root, kept, before, stamp=stamp, durability=self._settings.durability))
        except MachineFault as error:
            if not isinstance(error.__cause__, PermissionError):
                raise
            # An init container under another user id made it; Airflow will see the change at its next full round.
            log.warning("the release %s keeps its times: %s", kept.folder.name, error)
            return Work()

    def mend(self, meter: MeteredStore, content: Content, stamp: int) -> Work:
        """Verify the live release, and put back what is not as it must be. Raises as `provide`."""
        folder = self._root.releases / short_tree(content.tree)
        if not folder.is_dir():  # somebody removed it: the link leads nowhere
            return self._fetch(meter, content, None, stamp)
        release, tree = self._root.find(folder.name), None
        if release is None or release.tree.digest != content.tree:
            tree = fetch.files(meter, self._settings.bundle, content)
            release = Release(folder, tree.tree, None)
            with disk.doing(f"writing to {self._root.path}"):
                self._root.write_list(tree.tree, durable=self._settings.durability != "none")
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
