"""Whether this pod can read what it needs of the store, would believe it, and has the store's time.

The channel's record is read and judged by the code that a pull uses, against the floor that is remembered here.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from dagferry_schemas import layout
from dagferry_schemas.errors import DagferryError
from dagferry_schemas.names import moment
from dagferry_storage import disk, fetch, probe, published
from dagferry_storage.keyring_folder import KeyringFolder, left_out
from dagferry_storage.metered import MeteredStore
from dagferry_storage.probe import Failed
from dagferry_storage.stores import open_store

from . import state as memory
from .clock import utc
from .doctor_finding import Untried, Warned
from .head import ChannelHead
from .vouching import SOON

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dagferry_schemas.keyring import Key
    from dagferry_schemas.pins import Content
    from dagferry_schemas.trust import TrustedRecord

    from .doctor_finding import Step
    from .settings import Settings


class Source:
    """The store of ``settings``, and the keyring. ``clock`` gives seconds since 1970."""

    def __init__(self, settings: Settings, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._clock = clock
        self._keyring = KeyringFolder(settings.keyring)
        self._found: TrustedRecord | None = None

    def steps(self) -> list[tuple[str, Step]]:
        """The checks."""
        return [
            ("keyring", self.keyring),
            ("memory", self.remembered),
            ("credentials", self.credentials),
            ("channel", self.channel),
            ("version", self.version),
            ("statement", self.statement),
            ("files", self.files),
            ("tarball", self.tarball),
            ("clock", self.clock),
        ]

    @property
    def content(self) -> Content | None:
        """What the channel wants live, once `channel` has found it."""
        return self._found.record.live.content if self._found is not None else None

    def keyring(self) -> str:
        """Whether signatures are demanded, and by which keys."""
        folder, now = self._settings.keyring, self._clock()
        if folder is None:
            return "no --keyring: records are believed without a signature"
        keyring = self._keyring.policy(utc(now)).keyring
        assert keyring is not None
        later = utc(now + SOON.total_seconds())
        ended = [key.name for key in keyring.keys if _ends_by(key, utc(now))]
        ending = [key.name for key in keyring.keys if _ends_by(key, later) and key.name not in ended]
        said = f"{len(keyring.keys)} keys: {', '.join(key.name for key in keyring.keys)}"
        if len(ended) == len(keyring.keys):
            raise Failed(f"{said}; the time of each is over: add the keys that sign now")
        if ending:
            raise Warned(f"{said}; {', '.join(ending)} will not count any more within three days: sign with others")
        with disk.doing(f"reading {folder}"):
            other = left_out(folder)
        if other:
            raise Warned(f"{said}; no part of it: {', '.join(other)}. A key is a file NAME.json, never a private one")
        return said + (f"; over: {', '.join(ended)}" if ended else "")

    def remembered(self) -> str:
        """Whether what is remembered in the root can be read, and is of this bundle."""
        state = self._state()
        if state.floor is None:
            return f"nothing was accepted here yet of channel {self._settings.channel!r}"
        return f"the newest record that was accepted here is of generation {state.floor.generation}"

    def credentials(self) -> str:
        """Who this pod is to the store."""
        return self._store.identity()

    def channel(self) -> str:
        """Whether the record of the channel is there and believed."""
        policy, state = self._keyring.policy(utc(self._clock())), self._state()
        trusted = ChannelHead(self._settings).read(self._store, policy, state.floor, keeps=bool(state.history))
        self._found, record = trusted, trusted.record
        signed = f", signed by {', '.join(trusted.signers)}" if trusted.signers else ""
        if trusted.expired:
            raise Warned(f"generation {record.generation} expired at {record.expires}: sign it anew, dagferry refresh")
        return f"generation {record.generation} is {record.live.version}{signed}"

    def version(self) -> str:
        """Whether the version's document can be read."""
        settings, live = self._settings, self._record.record.live
        found = fetch.version(self._store, settings.bundle, live.version, live.version_record)
        return f"{found.version}, commit {found.commit[:12]}"

    def statement(self) -> str:
        """Whether the version would be believed that the channel says, if it was asked for by name."""
        if not self._keyring.verifies:
            raise Untried("there is no --keyring")
        one = published.read(self._store, self._settings.bundle, self._record.record.live.version)
        try:
            fetch.statement(self._store, one, self._keyring.policy(utc(self._clock())))
        except DagferryError as error:
            raise Warned(f"{error.message}; `pull --version` and the bundle of Airflow need it: {error.hint}") from None
        return "a publisher vouches for the version"

    def files(self) -> str:
        """Whether the file list can be read."""
        found = fetch.files(self._store, self._settings.bundle, self._record.record.live.content)
        return f"{len(found.tree.files)} files"

    def tarball(self) -> str:
        """Whether the tarball can be read; its beginning is."""
        content = self._record.record.live.content
        key = layout.tarball(self._settings.bundle, content.tree)
        with self._store.stream(key) as chunks:
            for _ in chunks:
                break
        return f"{key} can be read, {content.tarball.size} bytes"

    def clock(self) -> str:
        """Whether this machine's clock is behind the store's."""
        key = layout.head(self._settings.bundle, self._settings.channel)
        return probe.not_behind(self._store, key, self._clock)

    @cached_property
    def _store(self) -> MeteredStore:
        return MeteredStore(open_store(self._settings.store))

    @property
    def _record(self) -> TrustedRecord:
        """The record that `channel` found. Raises `Untried` if it found none: it is not asked for again."""
        if self._found is None:
            raise Untried("the channel's record is not to be had, see above")
        return self._found

    def _state(self) -> memory.State:
        root: Path = self._settings.root
        with disk.doing(f"reading {root}"):
            return memory.load(root, self._settings.bundle, self._settings.channel)


def _ends_by(key: Key, time: str) -> bool:
    return key.not_after is not None and moment(key.not_after) <= moment(time)
