"""Where the versions of a bundle come from: a store, or the root of an agent beside. Both under the trust rules.

A version that a channel names is vouched for by its record, one that is asked for by name by its statement; what an
agent has on its disk by the keys that vouched for it when it came, if they would be enough today.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Protocol

from dagferry_schemas import compression
from dagferry_schemas.errors import Conflict, Corrupt, DeliveryFailed, Unknown, Untrusted
from dagferry_schemas.names import check_version, short_tree
from dagferry_schemas.trust import still_vouch
from dagferry_storage import disk, fetch, published, unpack
from dagferry_storage.store import Missing

from . import locking, room
from . import state as memory
from .clock import utc_now
from .head import ChannelHead
from .root import erase
from .state import Wanted
from .version_folders import Written

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dagferry_schemas.pins import Content
    from dagferry_schemas.trust import Floor, Policy
    from dagferry_storage.keyring_folder import KeyringFolder
    from dagferry_storage.metered import MeteredStore

    from .releases import Release
    from .root import Root
    from .settings import Settings
    from .state import Served, State


@dataclass(frozen=True)
class Found:
    """A version that may be used, and what writes its files into an empty folder (raises `BadData`, `DeliveryFailed`).

    ``floor``: what is to be remembered of the record that named it, None if none did.
    """

    wanted: Wanted
    fill: Callable[[Path], None]
    floor: Floor | None = None


class Source(Protocol):
    """What knows the versions of one bundle, and what its channel says."""

    def latest(self, state: State, *, keeps: bool) -> Found:
        """The version that is to be used now; ``keeps``: whether there is one to go on with.

        Raises `BadData`, `DeliveryFailed`.
        """
        ...

    def named(self, version: str) -> Found:
        """The version of that name. Raises `Unknown`, `BadData`, `DeliveryFailed`."""
        ...


class FromStore:
    """The versions in a store. To be used by one thread at a time."""

    def __init__(self, settings: Settings, store: MeteredStore, keyring: KeyringFolder) -> None:
        self._bundle = settings.bundle
        self._store = store
        self._keyring = keyring
        self._head = ChannelHead(settings)

    def latest(self, state: State, *, keeps: bool) -> Found:
        """What the channel says; one conditional request if that is what it said before."""
        trusted = self._head.read(self._store, self._policy(), state.floor, keeps=keeps)
        live = trusted.record.live
        wanted = Wanted(live.content.tree, live.version, trusted.record.generation, trusted.key_ids)
        return Found(wanted, partial(self._fill, live.content), trusted.floor)

    def named(self, version: str) -> Found:
        """What was published under exactly that name."""
        policy = self._policy()
        try:
            found = published.read(self._store, self._bundle, check_version(version))
        except Missing:
            raise Unknown(
                f"version {version!r} of bundle {self._bundle!r} is not in {self._store.url}",
                "a run that began with it needs it: publish the same commit again",
                code="unknown_version",
            ) from None
        signers = fetch.statement(self._store, found, policy)
        content = found.version.content
        return Found(Wanted(content.tree, version, signers=signers), partial(self._fill, content))

    def _policy(self) -> Policy:
        return self._keyring.policy(utc_now())

    def _fill(self, content: Content, folder: Path) -> None:
        tree = fetch.files(self._store, self._bundle, content)
        free = room.Free.at(folder)
        room.require(folder.parent, room.need_of(content, tree.tree, None, free.block), free, content.tree)
        with tempfile.TemporaryFile(dir=folder.parent) as spool:
            tarball = fetch.tarball(self._store, self._bundle, tree, content, spool)
            spool.seek(0)
            target = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                unpack.unpack(tarball, spool, target, Written())
            finally:
                os.close(target)


class FromAgent:
    """The releases in the root of an agent on the same node or in the same pod: no store is asked."""

    def __init__(self, settings: Settings, root: Root, keyring: KeyringFolder) -> None:
        self._settings = settings
        self._root = root
        self._keyring = keyring

    def latest(self, state: State, *, keeps: bool) -> Found:
        """What the agent has made live."""
        live = self._root.live()
        served = self._state().last_of(live) if live is not None else None
        if served is None:
            raise DeliveryFailed(
                f"nothing is live in {self._root.path} yet",
                "is an agent running that serves this root?",
                code="not_yet",
            )
        return self._found(served)

    def named(self, version: str) -> Found:
        """The newest release of that version on the agent's disk."""
        names = self._root.names()
        for served in reversed(self._state().history):
            if served.version == version and short_tree(served.tree) in names:
                return self._found(served)
        raise Unknown(
            f"version {version!r} is not in the agent's {self._root.path}",
            "name the store as well, so that it can be fetched from there",
            code="unknown_version",
        )

    def _state(self) -> State:
        with disk.doing(f"reading {self._root.path}"):
            state = memory.find(self._root.path)
        if state is None:
            raise DeliveryFailed(
                f"{self._root.path} is not the root of an agent yet", "`dagferry-agent serve --root`", code="not_yet"
            )
        if (state.bundle, state.channel) != (self._settings.bundle, self._settings.channel):
            raise Conflict(
                f"{self._root.path} is of channel {state.channel!r} of bundle {state.bundle!r}, not of "
                f"{self._settings.channel!r} of {self._settings.bundle!r}",
                "give the bundle the agent's bundle and channel",
                code="other_bundle",
            )
        return state

    def _found(self, served: Served) -> Found:
        bundle, channel, policy = self._settings.bundle, self._settings.channel, self._keyring.policy(utc_now())
        if not still_vouch(served.signers, bundle=bundle, channel=channel, policy=policy):
            raise Untrusted(
                f"too few keys of the keyring vouch for version {served.version!r} in {self._root.path}",
                "it came to the agent before that had this keyring, or a key is gone or over",
                code="unsigned",
            )
        wanted = Wanted(served.tree, served.version, served.generation, served.signers)
        return Found(wanted, partial(self._fill, served))

    def _fill(self, served: Served, folder: Path) -> None:
        short = short_tree(served.tree)
        with locking.shared(self._root.lock_of(short)):
            release = self._root.find(short)
            if release is None or release.tree.digest != served.tree:
                raise Corrupt(f"the release {short} in {self._root.path} is not what it must be")
            _copy(release, folder)


class AgentFirst:
    """An agent's releases, and a store for what is not among them."""

    def __init__(self, agent: FromAgent, store: FromStore) -> None:
        self._agent = agent
        self._store = store

    def latest(self, state: State, *, keeps: bool) -> Found:
        """What the agent has made live: it alone follows the channel."""
        return self._agent.latest(state, keeps=keeps)

    def named(self, version: str) -> Found:
        """The agent's release, if it can be copied as it must be, and else what was published."""
        try:
            found = self._agent.named(version)
        except (Unknown, Untrusted, DeliveryFailed):
            return self._store.named(version)

        def fill(folder: Path) -> None:
            try:
                found.fill(folder)
            except Corrupt:
                _empty(folder)
                self._store.named(version).fill(folder)

        return replace(found, fill=fill)


def _copy(release: Release, folder: Path) -> None:
    """Copy the release's files into ``folder``, each compared with the file list. Raises `Corrupt`, `OSError`."""
    for file in release.tree.files:
        target = folder / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        hashed = hashlib.sha256()
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        try:
            source = os.open(release.folder / file.path, flags)
        except OSError as error:
            raise Corrupt(f"{release.folder / file.path}: {error.strerror}") from error
        with os.fdopen(source, "rb") as opened, target.open("xb") as written:
            for chunk in iter(lambda opened=opened: opened.read(compression.CHUNK), b""):  # type: ignore[misc]
                hashed.update(chunk)
                written.write(chunk)
            written.flush()
            Written().finish(file, written.fileno())
        if hashed.hexdigest() != file.sha256:
            raise Corrupt(f"{release.folder / file.path} is not what the file list says")


def _empty(folder: Path) -> None:
    """Remove what is in ``folder``. Raises `OSError`."""
    for path in folder.iterdir():
        erase(path)
