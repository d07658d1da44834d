"""Do stored bytes keep what was said of them? Each answer is one check; nothing is believed that was not read."""

from __future__ import annotations

import tempfile
from functools import partial
from typing import TYPE_CHECKING, Any

from dagferry_schemas import delta
from dagferry_schemas.errors import Corrupt, DagferryError, DeliveryFailed
from dagferry_schemas.trust import check_stored
from dagferry_storage import fetch, published, unpack
from dagferry_storage.probe import Check

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagferry_schemas.pins import Content
    from dagferry_schemas.record import Delta
    from dagferry_schemas.trust import Policy, VerifiedTree
    from dagferry_storage.store import Store

    from .channel import Channel


def verify_version(store: Store, bundle: str, name: str, policy: Policy) -> list[Check]:
    """Check a version's document, who vouches for it, file list, tree digest, tarball and every plain byte.

    Raises `DeliveryFailed`.
    """
    checks: list[Check] = []
    one = _try(checks, "version", lambda: published.read(store, bundle, name), lambda one: one.version.commit)
    if one is not None:
        if policy.keyring is not None:
            _try(checks, "statement", lambda: fetch.statement(store, one, policy), _signed)
        _verify_content(store, bundle, one.version.content, checks)
    return checks


def _signed(key_ids: tuple[str, ...]) -> str:
    return "signed by " + ", ".join(f"{one[:16]}…" for one in key_ids)


def verify_channel(store: Store, bundle: str, channel: Channel) -> list[Check]:
    """Check the channel's head, the chain of its log, and what is live. Raises `DeliveryFailed`, `Unknown`."""
    checks: list[Check] = []
    head = channel.existing_head()
    if head.trusted.signers:  # what is demanded of it was checked when it was read
        checks.append(Check("signature", True, "signed by " + ", ".join(head.trusted.signers)))
        if head.record.expires is not None:
            until = "expired at" if head.trusted.expired else "until"
            checks.append(Check("expiry", not head.trusted.expired, f"{until} {head.record.expires}"))
    records = _try(checks, "log", channel.records, lambda found: f"{len(found)} records, each names the one before")
    if records is not None:
        live = records[-1].live
        one = _try(
            checks,
            "version",
            lambda: fetch.version(store, bundle, live.version, live.version_record),
            lambda version: f"{version.version}, commit {version.commit}",
        )
        if one is not None:
            checks.append(
                Check("same_content", one.content == live.content, "the record and the version name one content")
            )
        _verify_content(store, bundle, live.content, checks)
        for entry in records[-1].deltas:
            _try(checks, "delta", partial(_verify_delta, store, bundle, entry), str)
    return checks


def _verify_delta(store: Store, bundle: str, entry: Delta) -> str:
    stored = fetch.delta(store, bundle, entry)
    what = f"delta to tree {entry.to_tree}"
    check_stored(stored, entry.pin, what)
    found = delta.decode(stored, what)
    if (found.from_tree, found.to_tree) != (entry.from_tree, entry.to_tree):
        raise Corrupt(f"{what}: it is from {found.from_tree} to {found.to_tree}")
    return f"{len(found.changes)} changes, {entry.pin.size} bytes"


def _verify_content(store: Store, bundle: str, content: Content, checks: list[Check]) -> None:
    tree = _try(
        checks, "files", lambda: fetch.files(store, bundle, content), lambda found: f"{len(found.tree.files)} files"
    )
    if tree is not None:
        checks.append(Check("tree", True, content.tree))
        _try(checks, "tarball", lambda: _verify_tarball(store, bundle, content, tree), str)


def _verify_tarball(store: Store, bundle: str, content: Content, tree: VerifiedTree) -> str:
    with tempfile.TemporaryFile() as spool:
        tarball = fetch.tarball(store, bundle, tree, content, spool)
        spool.seek(0)
        unpack.check(tarball, spool)
    return f"{content.tarball.size} bytes, {content.tarball.plain_size} plain bytes as predicted"


def _try(checks: list[Check], name: str, read: Callable[[], Any], detail: Callable[[Any], str]) -> Any:  # noqa: ANN401
    """What ``read`` gives, or None; either way with its check."""
    try:
        found = read()
    except DeliveryFailed:
        raise
    except DagferryError as error:
        checks.append(Check(name, False, error.message))
        return None
    checks.append(Check(name, True, detail(found)))
    return found
