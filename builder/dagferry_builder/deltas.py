"""Deltas that a promotion makes: from what is live to what will be, and back again. Nothing depends on them.

* Both trees are read from the store side by side, verified; who promotes needs no clone. One that was just built is
  read where it was built, and verified in the same way.
* A record names the delta to its own tree, the one back, and those by which agents come that missed a promotion or two.
* What would be no small delta is none: many files, much content, a delta that is not much smaller than the tarball.
"""

from __future__ import annotations

import tempfile
from functools import partial
from typing import TYPE_CHECKING, BinaryIO, Final, NamedTuple

from dagferry_schemas import compression, delta, layout, trust
from dagferry_schemas.errors import BadData, Forbidden
from dagferry_schemas.names import digest_of
from dagferry_schemas.pins import Pin
from dagferry_schemas.record import Delta
from dagferry_schemas.tree_index import TreeIndex
from dagferry_storage import fetch, published, unpack
from dagferry_storage.store import Exists

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from dagferry_schemas.pins import Content
    from dagferry_schemas.record import Record
    from dagferry_schemas.tree import TreeFile
    from dagferry_storage.store import Store

    Shown = Callable[[Store, str, int], Store]
    """The store, whose transfers of what is named, of so many bytes, are shown to who waits."""

CARRIED: Final = 2
"""Promotions before this one that an agent may have missed and still come by deltas."""
MAX_TREE: Final = 1024**3
"""Bytes of a tarball, decompressed: a larger one is not read for a delta."""
WORTH: Final = 0.5
"""Part of the tarball's stored bytes that a delta has at the most."""


class _Stored(NamedTuple):
    """A tree in the store."""

    store: Store
    bundle: str
    content: Content

    def listed(self) -> trust.VerifiedTree:
        return fetch.files(self.store, self.bundle, self.content)

    def read(self, tree: trust.VerifiedTree, paths: Collection[str]) -> dict[str, bytes]:
        with tempfile.TemporaryFile() as spool:
            return _bodies(fetch.tarball(self.store, self.bundle, tree, self.content, spool), spool, paths)


class Built(NamedTuple):
    """A tree that this process has built: the pins of its own bytes, its file list, and the file of its tarball."""

    content: Content
    tree: trust.VerifiedTree
    tarball: BinaryIO

    def listed(self) -> trust.VerifiedTree:
        """The file list."""
        return self.tree

    def read(self, tree: trust.VerifiedTree, paths: Collection[str]) -> dict[str, bytes]:
        """The bytes of the files at ``paths``. Raises `Corrupt` if the tarball is not what was built."""
        check = trust.TarballCheck(tree, self.content.tarball)
        self.tarball.seek(0)
        for chunk in iter(partial(self.tarball.read, compression.CHUNK), b""):
            check.update(chunk)
        return _bodies(check.finish(), self.tarball, paths)


def promoted(
    store: Store,
    bundle: str,
    record: Record,
    wanted: Content,
    *,
    built: Built | None = None,
    shown: Shown | None = None,
) -> tuple[Delta, ...]:
    """The deltas of the record that follows ``record`` with ``wanted`` live; they are in the store.

    What was ``built`` is not fetched, if it is what is wanted. Of what is fetched, the live tree is ``shown``: one line
    of a terminal has room for one transfer, and the other takes as long.
    Raises `BadData`, `DeliveryFailed`; then some may be in the store that no record names.
    """
    live = record.live.content
    if wanted.tree == live.tree:
        return record.deltas
    if max(live.tarball.plain_size, wanted.tarball.plain_size) > MAX_TREE:
        return _carried(record.deltas, live.tree)
    watched = shown(store, f"{bundle} {record.live.version}", live.tarball.size) if shown else store
    before = _Stored(watched, bundle, live)
    after = built if built and built.content.tree == wanted.tree else _Stored(store, bundle, wanted)
    return (*_between(store, bundle, before, after), *_carried(record.deltas, live.tree))


def _carried(known: tuple[Delta, ...], to_tree: str) -> tuple[Delta, ...]:
    """The newest of the deltas that lead to a tree one after the other."""
    found: list[Delta] = []
    trees = [to_tree]
    for one in known:  # the newest is first
        if one.to_tree == trees[-1] and one.from_tree not in trees and len(found) < CARRIED:
            found.append(one)
            trees.append(one.from_tree)
    return tuple(found)


def _between(store: Store, bundle: str, before: _Stored, after: _Stored | Built) -> tuple[Delta, ...]:
    """The stored deltas from a tree to another and back, as far as they are worth it."""
    sides = (before, after)
    old, new = published.side_by_side(lambda side: side.listed(), sides)
    changes = delta.compare(old.tree.files, new.tree.files)
    back = delta.compare(new.tree.files, old.tree.files)
    if not delta.is_small(changes) or not delta.is_small(back):
        return ()
    wanted = ((before, old, back), (after, new, changes))  # what a way back brings is what was there before
    old_files, new_files = published.side_by_side(lambda one: one[0].read(one[1], _brought(one[2])), wanted)
    old_index, new_index = (TreeIndex.of(tree.tree.files) for tree in (old, new))
    made = [
        (old_index, new_index, old_files, new_files, after.content),
        (new_index, old_index, new_files, old_files, before.content),
    ]
    found = []
    for source, target, source_files, target_files, content in made:
        stored = delta.encode(source, target, _from(source_files), _from(target_files))
        if len(stored) <= content.tarball.size * WORTH:
            found.append(_put(store, bundle, Delta(source.digest, target.digest, _pin(stored)), stored))
    return tuple(found)


def _brought(changes: Mapping[str, object]) -> set[str]:
    return {path for path, file in changes.items() if file is not None}


def _bodies(tarball: trust.VerifiedTarball, source: BinaryIO, paths: Collection[str]) -> dict[str, bytes]:
    """The bytes of the files at ``paths``. What comes after the last of them is not decompressed."""
    found: dict[str, bytes] = {}
    source.seek(0)
    for file, body in unpack.bodies(tarball, source):
        if len(found) == len(paths):
            break
        pieces = [bytes(piece) if file.path in paths else b"" for piece in body]
        if file.path in paths:
            found[file.path] = b"".join(pieces)
    return found


def _from(files: Mapping[str, bytes]) -> Callable[[TreeFile], bytes]:
    return lambda file: files[file.path]


def _pin(stored: bytes) -> Pin:
    return Pin(digest_of(stored), len(stored))


def _put(store: Store, bundle: str, entry: Delta, stored: bytes) -> Delta:
    try:
        store.create(layout.delta(bundle, entry.pin.sha256), stored)
    except Exists:
        pass  # under its own digest: it is the same
    except Forbidden:  # what Google says of one that is there, to those who may not replace it
        if not _is_there(store, bundle, entry, stored):
            raise
    return entry


def _is_there(store: Store, bundle: str, entry: Delta, stored: bytes) -> bool:
    try:
        return fetch.delta(store, bundle, entry) == stored
    except BadData:
        return False
