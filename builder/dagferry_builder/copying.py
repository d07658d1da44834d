"""Copying a version from one store to another, verified on the way (staging and prod are often other accounts)."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING

from dagferry_schemas import layout
from dagferry_storage import disk, fetch, published, unpack
from dagferry_storage.store import Missing

from .publish import Offer, Publication, publish

if TYPE_CHECKING:
    from dagferry_storage.store import Store


def copy(source: Store, target: Store, bundle: str, text: str, *, dry_run: bool = False) -> Publication:
    """Publish in ``target`` what ``source`` has under the version or commit ``text``.

    Every byte is verified before the first one is written. Where the target has the same tree already, its own stored
    bytes are adopted after their plain bytes were compared. Raises as `published.resolve` and `publish.publish`.
    """
    version = published.resolve(source, bundle, text).version
    files = fetch.files(source, bundle, version.content)
    with tempfile.TemporaryFile() as spool, disk.doing("copying"):
        tarball = fetch.tarball(source, bundle, files, version.content, spool)
        spool.seek(0)
        unpack.check(tarball, spool)
        return publish(target, Offer(version, files, _report(source, bundle, version.version)), spool, dry_run=dry_run)


def _report(store: Store, bundle: str, name: str) -> bytes | None:
    try:
        return store.read(layout.report(bundle, name), limit=layout.MAX_REPORT).body
    except Missing:
        return None
