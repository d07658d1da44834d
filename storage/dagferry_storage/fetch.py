"""Reading a bundle from a store: all the I/O, and none of the rules (`dagferry_schemas.trust` has those)."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

from dagferry_schemas import layout, trust
from dagferry_schemas.delta import MAX_STORED
from dagferry_schemas.errors import Corrupt, Unknown, Untrusted

from .store import Missing, Stored, TooLarge

if TYPE_CHECKING:
    from dagferry_schemas.pins import Content, Pin
    from dagferry_schemas.record import Delta
    from dagferry_schemas.version import Version

    from .published import Published
    from .store import Store


def head(store: Store, bundle: str, channel: str) -> Stored:
    """The channel's head as stored. Raises `Unknown` if the channel has no record."""
    try:
        return store.read(layout.head(bundle, channel), limit=layout.MAX_DOCUMENT)
    except Missing:
        raise Unknown(
            f"channel {channel!r} of bundle {bundle!r} has no record in {store.url}",
            f"promote a version first: dagferry promote VERSION --channel {channel}; "
            "`dagferry channels` lists the channels that exist; is the bundle's name right?",
            code="unknown_channel",
        ) from None


def version(store: Store, bundle: str, name: str, pin: Pin | None = None) -> Version:
    """The published version. Raises `Unknown` if there is none of that name, `Malformed`, `Corrupt`, `Untrusted`."""
    try:
        stored = store.read(layout.version(bundle, name), limit=layout.MAX_DOCUMENT)
    except Missing:
        raise Unknown(
            f"version {name!r} of bundle {bundle!r} is not in {store.url}",
            "`dagferry versions` lists the versions that are published",
            code="unknown_version",
        ) from None
    return trust.accept_version(stored.body, bundle=bundle, version=name, pin=pin)


def statement(store: Store, one: Published, policy: trust.Policy) -> tuple[str, ...]:
    """The ids of the keys that vouch for a published version; none if ``policy`` demands none. Raises `Untrusted`."""
    if policy.keyring is None:
        return ()
    bundle, name = one.version.bundle, one.version.version
    try:
        stored = store.read(layout.statement(bundle, name), limit=layout.MAX_DOCUMENT)
    except Missing:
        raise Untrusted(
            f"version {name!r} of bundle {bundle!r} has no statement in {store.url}: nobody vouches for it",
            "publish the same commit again with --signer: that adds the statement and changes nothing else",
            code="unsigned",
        ) from None
    return trust.accept_statement(stored.body, bundle=bundle, version=name, document=one.pin, policy=policy)


def files(store: Store, bundle: str, content: Content) -> trust.VerifiedTree:
    """The verified file list of ``content``. Raises `Corrupt` (also where it is gone), `Malformed`."""
    key = layout.files(bundle, content.tree)
    try:
        stored = store.read(key, limit=content.files.size)
    except Missing:
        raise _gone(store, key) from None
    except TooLarge:
        raise Corrupt(f"{key} in {store.url}: more than the {content.files.size} bytes that were announced") from None
    return trust.accept_files(stored.body, content)


def tarball(
    store: Store, bundle: str, tree: trust.VerifiedTree, content: Content, spool: BinaryIO
) -> trust.VerifiedTarball:
    """The verified tarball of ``tree``: its stored bytes are appended to ``spool``. Raises `Corrupt`, `OSError`."""
    check = trust.TarballCheck(tree, content.tarball)
    key = layout.tarball(bundle, content.tree)
    try:
        with store.stream(key) as chunks:
            for chunk in chunks:
                check.update(chunk)
                spool.write(chunk)
    except Missing:
        raise _gone(store, key) from None
    return check.finish()


def delta(store: Store, bundle: str, entry: Delta) -> bytes:
    """The stored bytes of a delta, at most as many as its record names; `trust` judges them.

    Raises `Corrupt` also where it is gone.
    """
    key = layout.delta(bundle, entry.pin.sha256)
    try:
        return store.read(key, limit=min(entry.pin.size, MAX_STORED)).body
    except Missing:
        raise _gone(store, key) from None
    except TooLarge:
        raise Corrupt(f"{key} in {store.url}: more than the {entry.pin.size} bytes that were announced") from None


def _gone(store: Store, key: str) -> Corrupt:
    return Corrupt(
        f"{key} is not in {store.url}, although a document names it",
        "somebody removed it: publish the same commit again to restore it",
        code="missing_object",
    )
