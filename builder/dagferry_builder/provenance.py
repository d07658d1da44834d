"""Vouching for a version: its statement goes into the store beside it, once.

1. What this run has not written itself it vouches for only after the stored tarball and file list were found to be what
   the document pins, and the document to say what this build would say.
2. A statement that is there already has to be one that would be believed here; it is never replaced.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from dagferry_schemas import layout, statement, trust
from dagferry_schemas.dsse import STATEMENT_TYPE, signed
from dagferry_schemas.errors import Conflict
from dagferry_schemas.statement import Origin
from dagferry_storage.store import Exists, Missing

from . import installed_version

if TYPE_CHECKING:
    from dagferry_schemas.version import Version
    from dagferry_storage.published import Published
    from dagferry_storage.store import Store

    from .signing import Signing

BUILDER = "urn:dagferry:builder"
"""SLSA's ``builder.id`` where CI names nobody."""


class Voucher:
    """Signs statements about versions that were built as ``origin`` says."""

    def __init__(self, signing: Signing, origin: Origin) -> None:
        self._signing = signing
        self._origin = origin

    def is_needed(self, store: Store, one: Published) -> bool:
        """Whether nobody vouches for the version yet. Raises `Untrusted` if it is somebody who is not believed here."""
        bundle, name = one.version.bundle, one.version.version
        try:
            found = store.read(layout.statement(bundle, name), limit=layout.MAX_DOCUMENT)
        except Missing:
            return True
        trust.accept_statement(found.body, bundle=bundle, version=name, document=one.pin, policy=self._signing.policy)
        return False

    def written(self, one: Published) -> bytes:
        """A signed statement about the version, which is not stored. Raises `Untrusted`, `DeliveryFailed`."""
        payload = statement.write(one.version, one.pin, self._origin)
        stored = signed(payload, STATEMENT_TYPE, self._signing.sign)
        bundle, name = one.version.bundle, one.version.version
        trust.accept_statement(stored, bundle=bundle, version=name, document=one.pin, policy=self._signing.policy)
        return stored

    def vouch(self, store: Store, one: Published) -> None:
        """Store a statement about the version. Raises `Untrusted`, `DeliveryFailed`."""
        stored = self.written(one)
        bundle, name = one.version.bundle, one.version.version
        try:
            store.create(layout.statement(bundle, name), stored)
        except Exists:
            self.is_needed(store, one)


def check_same(found: Version, ours: Version) -> None:
    """Refuse to vouch for a document that says something else than ours, but for how its content is encoded.

    A clone may be too shallow to count commits. Raises `Conflict`.
    """
    counts = {found.first_parents, ours.first_parents} - {None}
    alike = replace(found, first_parents=None, content=ours.content) == replace(ours, first_parents=None)
    if not alike or len(counts) > 1:
        raise Conflict(
            f"version {ours.version!r} is in the store with the same content, and says something else of its commit",
            "nothing was signed: find out who published it, or commit (or tag) anew",
            code="version_exists",
        )


def origin_of(repository: str | None, started: str, finished: str) -> Origin:
    """Where this build takes place, as CI's variables tell."""
    found = os.environ
    run = found.get("CI_JOB_URL") or found.get("BUILDKITE_BUILD_URL") or found.get("BUILD_URL")
    if found.get("GITHUB_RUN_ID"):
        run = "{GITHUB_SERVER_URL}/{GITHUB_REPOSITORY}/actions/runs/{GITHUB_RUN_ID}".format_map(
            {name: found.get(name, "") for name in ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_RUN_ID")}
        )
    return Origin(
        repository=without_secrets(repository) if repository else None,
        builder=BUILDER,
        release=installed_version(),
        started=started,
        finished=finished,
        run=run,
    )


def without_secrets(url: str) -> str:
    """``url`` without the user and password that CI systems put into it."""
    parts = urlsplit(url)
    if not parts.scheme:  # git@host:path, which is how ssh is written; a path
        return url
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))
