"""Publishing: an artifact goes into the store once, in an order in which whoever sees a name can read all it needs.

Tarball and file list, side by side, then the version, then its statement (with signing on), then the report. All is
create-only. What is there already is adopted only if it is the same: content after the predicted plain bytes were found
in it, a version if its identity (commit, selection, tree) is ours; the digests that are then reported are those of the
stored bytes. Nobody vouches here for bytes that this run has neither written nor looked at.
"""

from __future__ import annotations

import hashlib
import io
import logging
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, BinaryIO

from dagferry_schemas import compression, layout, plaintar, trust
from dagferry_schemas.errors import Conflict, Corrupt, DagferryError, Malformed
from dagferry_schemas.names import digest_of
from dagferry_schemas.pins import Content, FilesPin, Pin, TarballPin
from dagferry_schemas.tree import MAX_LINE, read_files
from dagferry_storage import disk, published, unpack
from dagferry_storage.published import Published
from dagferry_storage.store import Absent, Exists, Missing

from . import moved_tags
from .provenance import check_same

if TYPE_CHECKING:
    from dagferry_schemas.version import Version
    from dagferry_storage.store import Store

    from .provenance import Voucher

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Publication:
    """A published version; ``created`` is False if it was there already.

    ``also`` are the names under which its commit had been published before; ``vouched``: this run added its statement.
    """

    published: Published
    created: bool
    also: tuple[str, ...] = ()
    vouched: bool = False


@dataclass(frozen=True)
class Offer:
    """What is to be published: the version with the pins of our own bytes, its verified file list, and its report."""

    version: Version
    files: trust.VerifiedTree
    report: bytes | None


def publish(
    store: Store, offer: Offer, tarball: BinaryIO, *, voucher: Voucher | None = None, dry_run: bool = False
) -> Publication:
    """Store what is offered, whose compressed tarball is in the file ``tarball``; ``voucher`` signs its statement.

    Raises `Conflict` if the version exists with another identity or its tag meant another commit before, `Corrupt` if
    the store holds other content under the tree's name; nothing is overwritten.
    """
    bundle, name = offer.version.bundle, offer.version.version
    also: tuple[str, ...] = ()
    try:
        known = _same(store, published.read(store, bundle, name), offer.version)
        vouched = voucher is not None and _vouch_for_known(store, offer, known, voucher, dry_run=dry_run)
        return Publication(known, False, vouched=vouched)
    except Missing:
        also = moved_tags.other_names(store, bundle, offer.version)
    except Absent:  # the first publication makes the store
        pass
    if dry_run:
        if voucher is not None:
            voucher.written(_pin(offer.version))
        return Publication(_pin(offer.version), True, also, vouched=voucher is not None)
    version = replace(offer.version, content=_store_content(store, offer, tarball))
    created = True
    try:
        store.create(layout.version(bundle, name), version.to_bytes())
    except Exists:
        created = False
    found = _same(store, published.read(store, bundle, name), version)
    vouched = voucher is not None and (created or voucher.is_needed(store, found))
    if voucher is not None and vouched:
        check_same(found.version, offer.version)
        _check_pins(store, found, version.content)
        voucher.vouch(store, found)
    if created and offer.report is not None:
        _store_report(store, layout.report(bundle, name), offer.report)
    return Publication(found, created, also, vouched)


def _same(store: Store, found: Published, ours: Version) -> Published:
    if found.version.identity != ours.identity:
        theirs = found.version
        differs = [
            f"{name}: {old} there, {new} here"
            for name, old, new in zip(("commit", "selection", "tree"), theirs.identity, ours.identity, strict=True)
            if old != new
        ]
        raise Conflict(
            f"version {ours.version!r} is in {store.url} already, with other content ({'; '.join(differs)})",
            "a version never changes: commit (or tag) anew, and publish that",
            code="version_exists",
        )
    return found


def _vouch_for_known(store: Store, offer: Offer, known: Published, voucher: Voucher, *, dry_run: bool) -> bool:
    """Add the statement that a version lacks, after all that its document pins was looked at; whether one was lacking.

    A dry run stores none, and finds out whether it would be believed.
    """
    if not voucher.is_needed(store, known):
        return False
    check_same(known.version, offer.version)
    bundle = known.version.bundle
    tarball, files = _adopt_tarball(store, bundle, offer.files), _adopt_files(store, bundle, offer.files)
    _check_pins(store, known, Content(offer.version.content.tree, tarball, files))
    if dry_run:
        voucher.written(known)
    else:
        voucher.vouch(store, known)
    return True


def _check_pins(store: Store, known: Published, found: Content) -> None:
    """Refuse to vouch for a document that pins other objects than were written or looked at. Raises `Corrupt`."""
    if known.version.content != found:
        raise Corrupt(
            f"version {known.version.version!r} pins other objects than are in {store.url}",
            "nothing was signed: find out who writes to the store",
            code="spoiled_content",
        )


def _pin(version: Version) -> Published:
    stored = version.to_bytes()
    return Published(version, Pin(digest_of(stored), len(stored)))


def _store_content(store: Store, offer: Offer, tarball: BinaryIO) -> Content:
    """Store tarball and file list side by side. Both have come to their end when this returns, or raises."""
    with ThreadPoolExecutor(1) as beside:
        listed = beside.submit(_store_files, store, offer)
        stored = _store_tarball(store, offer, tarball)
    return replace(offer.version.content, tarball=stored, files=listed.result())


def _store_tarball(store: Store, offer: Offer, tarball: BinaryIO) -> TarballPin:
    bundle, content = offer.version.bundle, offer.version.content
    try:
        tarball.seek(0)
        store.create(layout.tarball(bundle, content.tree), tarball)
    except Exists:
        return _adopt_tarball(store, bundle, offer.files)
    return content.tarball


def _store_files(store: Store, offer: Offer) -> FilesPin:
    bundle, content = offer.version.bundle, offer.version.content
    try:
        store.create(layout.files(bundle, content.tree), offer.files.stored)
    except Exists:
        return _adopt_files(store, bundle, offer.files)
    return content.files


def _adopt_tarball(store: Store, bundle: str, files: trust.VerifiedTree) -> TarballPin:
    """The pin of the tarball that is stored, after its plain bytes were found to be the predicted ones."""
    key = layout.tarball(bundle, files.tree.digest)
    with tempfile.TemporaryFile() as spool:
        with store.stream(key) as chunks, disk.doing("spooling the stored tarball"):
            for chunk in chunks:
                spool.write(chunk)
        pin = TarballPin(_digest_file(spool), spool.tell(), plaintar.plain_size(files.tree))
        check = trust.TarballCheck(files, pin)
        spool.seek(0)
        for chunk in iter(lambda: spool.read(compression.CHUNK), b""):
            check.update(chunk)
        spool.seek(0)
        try:
            unpack.check(check.finish(), spool)
        except Corrupt as error:
            raise _spoiled(store, key, error) from None
    return pin


def _digest_file(file: BinaryIO) -> str:
    file.seek(0)
    hashed = hashlib.sha256()
    for chunk in iter(lambda: file.read(compression.CHUNK), b""):
        hashed.update(chunk)
    return "sha256:" + hashed.hexdigest()


def _adopt_files(store: Store, bundle: str, files: trust.VerifiedTree) -> FilesPin:
    key = layout.files(bundle, files.tree.digest)
    stored = store.read(key, limit=len(files.tree.files) * MAX_LINE + 1024).body
    try:
        found = read_files(partial(io.BytesIO, stored), key, limit=len(files.tree.files) * MAX_LINE)
        trust.check_tree(found, files.tree.digest)
    except (Corrupt, Malformed) as error:
        raise _spoiled(store, key, error) from None
    return FilesPin(digest_of(stored), len(stored), len(files.tree.files))


def _spoiled(store: Store, key: str, error: DagferryError) -> Corrupt:
    return Corrupt(
        f"{key} in {store.url} is not the content that its name promises: {error.message}",
        "somebody spoiled it: remove that object, find out who wrote it, and publish again",
        code="spoiled_content",
    )


def _store_report(store: Store, key: str, report: bytes) -> None:
    """Store the report; it is optional, so a failure is said and nothing more."""
    try:
        store.create(key, report)
    except DagferryError as error:
        log.warning("the report was not stored: %s", error.message)
