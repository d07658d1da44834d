"""One pull: read the head, decide, fetch, stage, activate, remember, tidy up.

The order of an activation is what makes it safe: stage, verify, flush, rename into ``releases``, flush, write the
floor, switch the link, flush. Whatever dies in between, the link leads to the old release or to the new one, whole; the
same generation is a no-op only if the link already leads to its release, otherwise the switch is finished.

A failure of any kind leaves the live release as it is: nothing that is live is removed before its verified successor.
"""

from __future__ import annotations

import logging
import tempfile
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, BinaryIO

from dagferry_schemas import layout, trust
from dagferry_schemas.endpoint import PullReply
from dagferry_schemas.errors import DagferryError
from dagferry_schemas.names import check_version, short_tree
from dagferry_storage import disk, fetch, published
from dagferry_storage.metered import MeteredStore
from dagferry_storage.stores import open_store

from . import state as memory
from .releases import Release, Root, find_drift
from .sight import Seen, look
from .staging import mend, renew, stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dagferry_schemas.endpoint import AgentStatus
    from dagferry_schemas.pins import Content
    from dagferry_schemas.trust import Floor, TrustedRecord, VerifiedTarball, VerifiedTree
    from dagferry_storage.store import Store

    from .settings import Settings
    from .state import State

    Shown = Callable[[Store, str, int], Store]

log = logging.getLogger(__name__)


def open_delivery(settings: Settings, *, shown: Shown | None = None) -> Delivery:
    """The delivery that ``settings`` describe, with the real store and clock. Raises `Usage`."""
    return Delivery(settings, open_store(settings.store), Root(settings.root), time.time, shown=shown)


class Delivery:
    """Brings what a channel says onto one root. Safe to call from several threads; other agents are held off by a lock.

    ``clock`` gives the present in seconds since 1970. ``shown`` is put around the store for a tarball's download, and
    is told what that is and how many bytes it has.
    """

    def __init__(
        self, settings: Settings, store: Store, root: Root, clock: Callable[[], float], *, shown: Shown | None = None
    ) -> None:
        self.settings = settings
        self._store = store
        self._clock = clock
        self._root = root
        self._shown = shown
        self._durable = settings.durability != "none"
        self._pulling = threading.Lock()
        self._seen: tuple[TrustedRecord, str] | None = None  # the last accepted head, and its token
        self._verified: str | None = None  # the release that this process has verified, by its folder's name
        self._drift: tuple[str, ...] = ()
        self._last_check: str | None = None
        self._last_error: dict[str, str] | None = None

    def prepare(self) -> None:
        """Clean up what a crash left, and verify the live release. Raises `MachineFault` if the root is unusable."""
        self._root.prepare()
        self.verify()

    def verify(self) -> tuple[str, ...]:
        """The paths at which the live release is not what it must be; what `status` shows from now on."""
        live = self._root.live()
        release = self._root.find(live) if live else None
        self._verified, self._drift = None, ()
        if release is not None and live is not None:
            self._drift = find_drift(release)
            self._verified = None if self._drift else live
        elif live is not None:
            log.error("the live release %s cannot be verified: its folder or its file list is gone", live)
        if self._drift:
            log.error("the live release %s differs from its file list: %s", live, ", ".join(self._drift[:10]))
        return self._drift

    def ready(self) -> bool:
        """Whether a verified release is live."""
        return self._verified is not None and self._verified == self._root.live()

    def pull(self) -> PullReply:
        """Bring what the channel says onto this disk. Raises `BadData`, `DeliveryFailed`; then nothing has changed."""
        return self._recorded(self._pull_channel)

    def pull_version(self, version: str) -> PullReply:
        """Make one published version (or commit) live, whatever the channel says. Raises as `pull`."""
        check_version(version)
        return self._recorded(lambda meter: self._pull_version(version, meter))

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
                self._last_check = self._now()
            self._last_error = None
            return replace(
                reply,
                requests=meter.requests,
                bytes_fetched=meter.bytes_fetched,
                seconds=round(time.monotonic() - began, 6),
            )

    def _pull_channel(self, meter: MeteredStore) -> PullReply:
        with self._root.lock():
            state = self._state()
            trusted = self._read_head(meter, state.floor)
            record = trusted.record
            live = record.live
            return self._serve(meter, state, live.content, live.version, record.generation, trusted.floor)

    def _pull_version(self, name: str, meter: MeteredStore) -> PullReply:
        with self._root.lock():
            state = self._state()
            version = published.resolve(meter, self.settings.bundle, name).version
            return self._serve(meter, state, version.content, version.version, None, state.floor)

    def _read_head(self, meter: MeteredStore, floor: Floor | None) -> TrustedRecord:
        bundle, channel = self.settings.bundle, self.settings.channel
        if self._seen is not None:
            key = layout.head(bundle, channel)
            newer = meter.read_if_changed(key, self._seen[1], limit=layout.MAX_DOCUMENT)
            stored = newer.body if newer else self._seen[0].stored
            token = newer.token if newer else self._seen[1]
        else:
            head = fetch.head(meter, bundle, channel)
            stored, token = head.body, head.token
        trusted = trust.accept_record(stored, bundle=bundle, channel=channel, policy=trust.Policy.UNSIGNED, floor=floor)
        self._seen = (trusted, token)
        return trusted

    def _serve(
        self,
        meter: MeteredStore,
        state: State,
        content: Content,
        version: str,
        generation: int | None,
        floor: Floor | None,
    ) -> PullReply:
        """Make ``content`` live, if it is not; the reply's costs are filled in by the caller."""
        short = short_tree(content.tree)
        live = self._root.live()
        before = state.last_of(live) if live else None
        written = linked = 0
        stamp = max(int(self._clock() * 1000), state.stamp + 1)
        if live != short:
            written, linked = self._provide(meter, content, live, stamp)
        elif self._verified != short:
            written, linked = self._mend(meter, content, stamp)
        remembered = state.served(content.tree, version, generation, self._now())
        switched = live != short or written > 0
        remembered = replace(remembered, floor=floor, stamp=stamp if switched else state.stamp)
        with disk.doing(f"activating {version} in {self._root.path}"):
            if remembered != state:
                memory.save(self._root.path, remembered, durable=self._durable)
            if live != short:
                self._root.switch(short, durable=self._durable)
        self._verified, self._drift = short, ()
        self._tidy(remembered, short)
        return PullReply(
            bundle=self.settings.bundle,
            channel=self.settings.channel if generation is not None else None,
            generation=generation,
            version=version,
            tree=content.tree,
            previous=before.version if before else None,
            changed=switched,
            files_written=written,
            files_linked=linked,
            bytes_fetched=0,
            requests=0,
            seconds=0.0,
        )

    def _provide(self, meter: MeteredStore, content: Content, live: str | None, stamp: int) -> tuple[int, int]:
        """Have the release of ``content`` on this disk, verified; (files written, files linked)."""
        before = self._root.find(live) if live else None
        kept = self._root.find(short_tree(content.tree))
        if kept is not None and kept.tree.digest == content.tree and not find_drift(kept):
            return renew(self._root, kept, before, stamp=stamp, durability=self.settings.durability), 0
        return self._fetch(meter, content, before, stamp)

    def _mend(self, meter: MeteredStore, content: Content, stamp: int) -> tuple[int, int]:
        """Verify the live release, and put back what is not as it must be; (files written, files linked)."""
        folder = self._root.releases / short_tree(content.tree)
        if not folder.is_dir():  # somebody removed it: the link leads nowhere
            return self._fetch(meter, content, None, stamp)
        release, tree = self._root.find(folder.name), None
        if release is None or release.tree.digest != content.tree:
            tree = fetch.files(meter, self.settings.bundle, content)
            release = Release(folder, tree.tree, None)
            with disk.doing(f"writing to {self._root.path}"):
                self._root.write_list(tree.tree, durable=self._durable)
        wrong = find_drift(release)
        if not wrong:
            return 0, 0
        log.warning("mending the live release %s: %s", folder.name, ", ".join(wrong[:10]))
        tree = tree or fetch.files(meter, self.settings.bundle, content)
        with self._spooled(meter, content, tree) as (tarball, spool):
            durability = self.settings.durability
            return mend(self._root, release, wrong, tarball, spool, stamp=stamp, durability=durability), 0

    def _fetch(self, meter: MeteredStore, content: Content, before: Release | None, stamp: int) -> tuple[int, int]:
        tree = fetch.files(meter, self.settings.bundle, content)
        with self._spooled(meter, content, tree) as (tarball, spool):
            _, written, linked = stage(
                self._root, tarball, spool, before, stamp=stamp, durability=self.settings.durability
            )
        return written, linked

    @contextmanager
    def _spooled(
        self, meter: MeteredStore, content: Content, tree: VerifiedTree
    ) -> Iterator[tuple[VerifiedTarball, BinaryIO]]:
        """The verified tarball, and the file that holds it until the end of the block."""
        with disk.doing(f"fetching into {self._root.staging}"), tempfile.TemporaryFile(dir=self._root.staging) as spool:
            bundle = self.settings.bundle
            store = self._shown(meter, bundle, content.tarball.size) if self._shown else meter
            tarball = fetch.tarball(store, bundle, tree, content, spool)
            spool.seek(0)
            yield tarball, spool

    def _tidy(self, state: State, live: str) -> None:
        """Remove releases beyond what is kept; a failure is said and costs nothing else."""
        for short in expired(
            self._root.names(),
            state,
            live,
            keep=self.settings.keep_releases,
            before=self._now(-timedelta(hours=self.settings.grace_hours)),
        ):
            try:
                self._root.remove(short)
                log.info("removed the release %s", short)
            except OSError as error:
                log.warning("the release %s was not removed: %s", short, error)

    def status(self) -> AgentStatus:
        """What is live, from the disk, and how the last pull went. Never raises for a foreseen failure."""
        settings = self.settings
        try:
            seen, error = look(self._root, self._state()), self._last_error
        except DagferryError as found:
            seen = Seen(None, (), memory.State(settings.bundle, settings.channel))
            error = {"code": found.code, "message": found.message}
        return seen.status(settings.agent_id, drift=self._drift, last_check=self._last_check, last_error=error)

    def _state(self) -> State:
        with disk.doing(f"reading {self._root.path / memory.FILE}"):
            return memory.load(self._root.path, self.settings.bundle, self.settings.channel)

    def _now(self, shift: timedelta = timedelta()) -> str:
        moment = datetime.fromtimestamp(self._clock(), timezone.utc) + shift
        return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def expired(names: list[str], state: State, live: str, *, keep: int, before: str) -> list[str]:
    """The release folders that may go: not live, not the one before, not among the newest ``keep``, and retired by
    ``before`` (RFC 3339). A folder that the history does not know was left by somebody else and may go as well.
    """
    previous = state.before(live)
    retired = {name: (entry.retired or "") if (entry := state.last_of(name)) else "" for name in names}
    dormant = sorted((name for name in names if name != live), key=lambda name: retired[name], reverse=True)
    return [
        name
        for place, name in enumerate(dormant)
        if place >= keep - 1
        and retired[name] <= before
        and not (previous is not None and previous.tree.startswith(f"sha256:{name}"))
    ]
