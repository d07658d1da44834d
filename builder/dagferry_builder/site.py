"""Where a command works: the clone, the config file, the bundle and the store that flags, environment and file name.

What a command needs is imported when it asks for it: a build that has no store does not wait for what reaches one.
"""

from __future__ import annotations

import logging
import os
import time
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from dagferry_schemas.errors import Unknown, Usage
from dagferry_schemas.names import check_name
from dagferry_storage import disk

from . import config

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagferry_schemas.record import Record
    from dagferry_storage.store import Store

    from .config import Bundle, Config, Found
    from .git import Repository
    from .provenance import Voucher
    from .signing import Signing
    from .staged import StagedChannel

log = logging.getLogger(__name__)
ACTORS = ("GITHUB_ACTOR", "GITLAB_USER_LOGIN", "BUILDKITE_BUILD_CREATOR", "CIRCLE_USERNAME", "BUILD_USER_ID")
"""Variables in which CI systems say who started a job; the first that is set is claimed as the actor."""


def now() -> str:
    """The present, RFC 3339 UTC, in seconds."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def claimed_actor() -> str:
    """Who acts, as CI's variables or this machine claim it; nobody has checked it."""
    for name in ACTORS:
        if os.environ.get(name):
            return os.environ[name]
    import getpass
    import socket

    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


@dataclass(frozen=True)
class Site:
    """The place of one command, resolved as it is needed."""

    start: Path
    store_url: str | None = None
    bundle_option: str | None = None
    root_option: str | None = None
    keyring: Path | None = None
    signer_uris: tuple[str, ...] = ()

    @cached_property
    def found(self) -> Found:
        """The config file of the working tree."""
        return config.find(self.start)

    @cached_property
    def repository(self) -> Repository:
        """The clone. Raises `Usage` outside one."""
        from .git import Repository

        return Repository(self.start)

    @property
    def clone(self) -> Repository | None:
        """The clone, or None outside one."""
        try:
            return self.repository
        except Usage:
            return None

    @property
    def bundle_name(self) -> str:
        """The bundle that the option or the config file names. Raises `Usage`."""
        return config.choose(self._config, self.bundle_option).name

    @property
    def _config(self) -> Config:
        """The config file of the working tree, or where there is none (a bare repository has none) that of HEAD."""
        if self.found.path is None and self.bundle_option is None and self.clone is not None:
            try:
                head = self.repository.resolve("HEAD")
            except Unknown:  # no commit yet
                return self.found.config
            return config.at_commit(self.repository, head, self.found) or self.found.config
        return self.found.config

    def bundle(self, rev: str) -> Bundle:
        """The bundle as ``rev`` describes it."""
        return config.bundle_to_build(self.repository, rev, self.found, self.bundle_option, self.root_option)

    @cached_property
    def store(self) -> Store:
        """The store. Raises `Usage` if none is named, or the name is no store."""
        from dagferry_storage.stores import open_store

        return open_store(str(self._default_store()) if self.store_url is None else self.store_url)

    def _default_store(self) -> Path:
        if self.found.folder is None:
            raise Usage(
                "no store is named",
                "give --store URL, or run `dagferry init` in the DAG repository",
                code="store_not_named",
            )
        return self.found.folder / ".dagferry" / "store"

    @cached_property
    def signing(self) -> Signing:
        """How this command signs, and what it demands. Raises `Usage`, `Untrusted` if the keyring cannot be used."""
        from dagferry_schemas.trust import Policy
        from dagferry_storage.keyring_folder import KeyringFolder

        from .signing import UNSIGNED, Signers, Signing

        policy = KeyringFolder(self.keyring).policy(now())
        if not self.signer_uris:
            return UNSIGNED if self.keyring is None else Signing(policy)
        signers = Signers(self.signer_uris)
        if self.keyring is None:
            from dagferry_schemas.trust import Policy

            policy = Policy.require(signers.keyring(), now())
        return Signing(policy, signers.sign)

    def voucher(self, started: str) -> Voucher | None:
        """Who signs statements about what this command publishes; None without a key."""
        from .provenance import Voucher, origin_of

        if not self.signing.signs:
            return None
        remote = self.clone.remote_url() if self.clone is not None else None
        return Voucher(self.signing, origin_of(remote, started, now()))

    def writable_store(self, bundle: str) -> Store:
        """The store, probed: by an earlier `init-store`, or now. Raises `BadData` if it does not keep its promises."""
        ignore_default_store(self)
        if not self._was_probed(bundle):
            from secrets import token_hex

            from .fitness import init_store, require_fit

            checks = init_store(self.store, bundle, now(), token_hex(8), time.time)
            # A clock that is off is not the store's fault, and stops no publication; the doctor insists.
            off = [
                check for check in checks if check.name == "clock" and check.tried and not check.error and not check.ok
            ]
            for check in off:
                log.warning("%s (`dagferry doctor` says more)", check.detail)
            require_fit(self.store, [check for check in checks if check not in off], {})
            where = "if it should hold versions already, look at --store and its mount"
            log.warning("this is a new store for bundle %r: %s (%s)", bundle, self.store.url, where)
        return self.store

    def _was_probed(self, bundle: str) -> bool:
        from dagferry_storage.store import Absent

        from . import catalog

        try:
            return catalog.check_store(self.store, bundle)
        except Absent:
            return False

    def channel(
        self,
        name: str,
        *,
        actor: str | None = None,
        dry_run: bool = False,
        expires_days: float | None = None,
        adopt_unsigned: bool = False,
        observe: Callable[[Record, Record | None], None] = lambda _record, _before: None,
    ) -> StagedChannel:
        """The channel ``name``. Raises `BadData` if the store does not keep its promises.

        ``adopt_unsigned``: what is live is believed as it is if nobody has signed it. ``observe``: as `Channel` says.
        """
        from dagferry_storage.cli_progress import shown

        from .staged import StagedChannel

        check_name("channel", name)
        self._was_probed(self.bundle_name)
        return StagedChannel(
            self.store,
            self.bundle_name,
            name,
            actor=actor or claimed_actor(),
            clock=now,
            dry_run=dry_run,
            signing=replace(self.signing, adopts=adopt_unsigned),
            expires_days=expires_days,
            shown=shown,
            observe=observe,
        )


def ignore_default_store(site: Site) -> None:
    """Keep the store beside the config file out of git, if that is the store. Raises `MachineFault`."""
    if site.store_url is not None:
        return
    folder = Path(site.store.url.removeprefix("file://")).parent
    with disk.doing("making the folder of the default store"):
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / ".gitignore").exists():
            (folder / ".gitignore").write_text("*\n")
