"""Copying a version from one store to another, verified on the way (staging and prod are often other accounts)."""

from __future__ import annotations

import logging
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dagferry_schemas import layout
from dagferry_schemas.trust import Policy
from dagferry_storage import disk, fetch, published, unpack
from dagferry_storage.store import Exists, Missing

from .publish import Offer, Publication, publish

if TYPE_CHECKING:
    from dagferry_storage.published import Published
    from dagferry_storage.store import Store

    from .provenance import Voucher

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trust:
    """What is demanded of the source, and who signs in the target."""

    policy: Policy = Policy.UNSIGNED
    voucher: Voucher | None = None


NOBODY: Final = Trust()


def copy(
    source: Store, target: Store, bundle: str, text: str, *, trust: Trust = NOBODY, dry_run: bool = False
) -> Publication:
    """Publish in ``target`` what ``source`` has under the version or commit ``text``, and ``trust`` believes.

    Every byte is verified before the first one is written. Where the target has the same tree already, its own stored
    bytes are adopted after their plain bytes were compared. The statement goes along, where nobody signs anew; it
    cannot where the target's document differs, because that pins bytes that were there before.

    Raises as `published.resolve`, `fetch.statement` and `publish.publish`.
    """
    found = published.resolve(source, bundle, text)
    fetch.statement(source, found, trust.policy)
    version = found.version
    files = fetch.files(source, bundle, version.content)
    with tempfile.TemporaryFile() as spool, disk.doing("copying"):
        tarball = fetch.tarball(source, bundle, files, version.content, spool)
        spool.seek(0)
        unpack.check(tarball, spool)
        offer = Offer(version, files, _report(source, bundle, version.version))
        made = publish(target, offer, spool, voucher=trust.voucher, dry_run=dry_run)
    if trust.voucher is None and not dry_run:
        _copy_statement(source, target, found, made.published)
    return made


def _copy_statement(source: Store, target: Store, found: Published, made: Published) -> None:
    bundle, name = found.version.bundle, found.version.version
    try:
        stored = source.read(layout.statement(bundle, name), limit=layout.MAX_DOCUMENT).body
    except Missing:
        return
    if made.pin != found.pin:
        log.warning("the statement of %s was not copied: %s holds the same tree in other bytes", name, target.url)
        return
    with suppress(Exists):
        target.create(layout.statement(bundle, name), stored)


def _report(store: Store, bundle: str, name: str) -> bytes | None:
    try:
        return store.read(layout.report(bundle, name), limit=layout.MAX_REPORT).body
    except Missing:
        return None
