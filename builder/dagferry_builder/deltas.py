"""Deltas that a promotion makes: from what is live to what will be, and back again. Nothing depends on them.

* Both trees are read from the store at the same time, verified; who promotes needs no clone.
* A record names the delta to its own tree, the one back, and those by which agents come that missed a promotion or two.
* What would be no small delta is none: many files, much content, a delta that is not much smaller than the tarball.
"""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING, Final

from dagferry_schemas import delta, layout, trust
from dagferry_schemas.errors import BadData, Forbidden
from dagferry_schemas.names import digest_of
from dagferry_schemas.pins import Pin
from dagferry_schemas.record import Delta
from dagferry_schemas.tree_index import TreeIndex
from dagferry_storage import fetch, unpack
from dagferry_storage.published import side_by_side
from dagferry_storage.store import Exists

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dagferry_schemas.pins import Content
    from dagferry_schemas.record import Record
    from dagferry_schemas.tree import TreeFile
    from dagferry_storage.store import Store

CARRIED: Final = 2
"""Promotions before this one that an agent may have missed and still come by deltas."""
MAX_TREE: Final = 1024**3
"""Bytes of a tarball, decompressed: a larger one is not read for a delta."""
WORTH: Final = 0.5
"""Part of the tarball's stored bytes that a delta has at the most."""


def promoted(store: Store, bundle: str, record: Record, wanted: Content) -> tuple[Delta, ...]:
    """The deltas of the record that follows ``record`` with ``wanted`` live; they are in the store.

    Raises `BadData`, `DeliveryFailed`; then some may be in the store that no record names.
    """
    live = record.live.content
    if wanted.tree == live.tree:
        return record.deltas
    return (*_between(store, bundle, live, wanted), *_carried(record.deltas, live.tree))


def _carried(known: tuple[Delta, ...], to_tree: str) -> tuple[Delta, ...]:
    """The newest of the deltas that lead to a tree one after the other."""
    found: list[Delta] = []
    trees = [to_tree]
    for one in known:  # the newest is first
        if one.to_tree == trees[-1] and one.from_tree not in trees and len(found) < CARRIED:
            found.append(one)
            trees.append(one.from_tree)
    return tuple(found)


def _between(store: Store, bundle: str, before: Content, after: Content) -> tuple[Delta, ...]:
    """The stored deltas from a tree to another and back, as far as they are worth it."""
    if max(before.tarball.plain_size, after.tarball.plain_size) > MAX_TREE:
        return ()
    old, new = side_by_side(lambda content: fetch.files(store, bundle, content), (before, after))
    changes = delta.compare(old.tree.files, new.tree.files)
    back = delta.compare(new.tree.files, old.tree.files)
    if not delta.is_small(changes) or not delta.is_small(back):
        return ()
    old_files, new_files = side_by_side(lambda one: _read(store, bundle, *one, changes), ((before, old), (after, new)))
    old_index, new_index = (TreeIndex.of(tree.tree.files) for tree in (old, new))
    made = [
        (old_index, new_index, old_files, new_files, after),
        (new_index, old_index, new_files, old_files, before),
    ]
    found = []
    for source, target, source_files, target_files, content in made:
        stored = delta.encode(source, target, _from(source_files), _from(target_files))
        if len(stored) <= content.tarball.size * WORTH:
            found.append(_put(store, bundle, Delta(source.digest, target.digest, _pin(stored)), stored))
    return tuple(found)


def _read(
    store: Store, bundle: str, content: Content, tree: trust.VerifiedTree, paths: Mapping[str, object]
) -> dict[str, bytes]:
    """The bytes of those of ``paths`` that the tree has."""
    found = {}
    with tempfile.TemporaryFile() as spool:
        tarball = fetch.tarball(store, bundle, tree, content, spool)
        spool.seek(0)
        for file, body in unpack.bodies(tarball, spool):
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
