"""A store that is filled without git and without the builder: trees from dictionaries, records one after the other.

Signed, if it is given a key.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from dagferry_schemas import compression, delta, layout, plaintar, statement
from dagferry_schemas.dsse import STATEMENT_TYPE, nobody, signed
from dagferry_schemas.names import digest_of
from dagferry_schemas.pins import Content, FilesPin, Pin, TarballPin
from dagferry_schemas.record import Delta, Live, Record, seal
from dagferry_schemas.statement import Origin
from dagferry_schemas.tree import TreeFile, encode_files, make_tree
from dagferry_schemas.tree_index import TreeIndex
from dagferry_schemas.version import Version
from dagferry_storage.store import Exists

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dagferry_schemas.dsse import Sign
    from dagferry_storage.store import Store

BUNDLE = "dags"
CHANNEL = "prod"
TIME = "2026-11-22T10:00:00Z"
ORIGIN = Origin(None, "urn:test", "0", TIME, TIME)


class Shelf:
    """Publishes trees to a store and moves its channel, without any check."""

    def __init__(self, store: Store, sign: Sign = nobody, *, deltas: bool = False) -> None:
        self.store = store
        self.deltas = deltas
        self._indexes: dict[str, tuple[TreeIndex, dict[str, bytes]]] = {}
        self._sign = sign
        self._head: tuple[Record, bytes, str] | None = None

    def publish(
        self, version: str, files: Mapping[str, bytes], executable: frozenset[str] = frozenset(), *, parents: int = 1
    ) -> Live:
        """Store the tree of ``files`` under ``version``, as that of a commit with so many parents in a row."""
        tree = make_tree(
            TreeFile(path, path in executable, len(body), hashlib.sha256(body).hexdigest())
            for path, body in files.items()
        )
        plain = b"".join(plaintar.header(file) + files[file.path] + plaintar.padding(file.size) for file in tree.files)
        tarball, listed = self._compress(plain + plaintar.END), compression.compress(encode_files(tree))
        self._indexes[tree.digest] = (TreeIndex.of(tree.files), dict(files))
        content = Content(
            tree.digest,
            TarballPin(digest_of(tarball), len(tarball), plaintar.plain_size(tree)),
            FilesPin(digest_of(listed), len(listed), len(tree.files)),
        )
        commit = hashlib.sha1(version.encode()).hexdigest()
        published = Version(BUNDLE, version, commit, parents, TIME, None, {"root": ""}, content)
        document = published.to_bytes()
        pin = Pin(digest_of(document), len(document))
        objects = {
            layout.tarball(BUNDLE, tree.digest): tarball,
            layout.files(BUNDLE, tree.digest): listed,
            layout.version(BUNDLE, version): document,
        }
        if self._sign is not nobody:
            vouching = signed(statement.write(published, pin, ORIGIN), STATEMENT_TYPE, self._sign)
            objects[layout.statement(BUNDLE, version)] = vouching
        for key, body in objects.items():
            try:
                self.store.create(key, body)
            except Exists:
                assert self.store.read(key, limit=len(body)).body == body
        return Live(version, pin, content)

    def _compress(self, plain: bytes) -> bytes:
        """The tarball; where there are deltas, badly, because what is here is smaller than any."""
        step = 64 if self.deltas else len(plain)
        return b"".join(compression.compress(plain[at : at + step]) for at in range(0, len(plain), step))

    def promote(self, live: Live, action: str = "promote") -> Record:
        """Make ``live`` the channel's newest record, which names the deltas between it and the one before."""
        record = Record(BUNDLE, CHANNEL, 1, 1, None, "n1", TIME, action, "test", "", live)
        if self._head is not None:
            before, stored, _ = self._head
            nonce, deltas = f"n{before.generation + 1}", self._deltas(before, live)
            record = before.succeed(head=stored, nonce=nonce, action=action, live=live, deltas=deltas)
        self.put(record)
        return record

    def _deltas(self, before: Record, live: Live) -> tuple[Delta, ...]:
        """As the builder has them, but for the tarball's size: what is here is tiny."""
        if not self.deltas:
            return ()
        old, new = self._indexes[before.live.content.tree], self._indexes[live.content.tree]
        found = []
        for (source, source_files), (target, target_files) in ((old, new), (new, old)):
            if source.digest != target.digest:
                stored = delta.encode(
                    source,
                    target,
                    lambda file, files=source_files: files[file.path],  # type: ignore[misc]
                    lambda file, files=target_files: files[file.path],  # type: ignore[misc]
                )
                entry = Delta(source.digest, target.digest, Pin(digest_of(stored), len(stored)))
                with suppress(Exists):
                    self.store.create(layout.delta(BUNDLE, entry.pin.sha256), stored)
                found.append(entry)
        carried: list[Delta] = []
        trees = [old[0].digest]
        for one in before.deltas:
            if one.to_tree == trees[-1] and one.from_tree not in trees and len(carried) < 2:
                carried.append(one)
                trees.append(one.from_tree)
        return (*found, *carried)

    def put(self, record: Record) -> None:
        """Store ``record`` as the head, whatever it says."""
        stored = self.seal(record)
        key = layout.head(BUNDLE, CHANNEL)
        token = self._head[2] if self._head else None
        token = self.store.replace(key, stored, token) if token else self.store.create(key, stored)
        self._head = (record, stored, token)

    def seal(self, record: Record) -> bytes:
        """The stored form of ``record``."""
        return seal(record, self._sign)

    def ship(self, version: str, files: Mapping[str, bytes], executable: frozenset[str] = frozenset()) -> Record:
        """Publish and promote."""
        return self.promote(self.publish(version, files, executable))

    @property
    def record(self) -> Record:
        """The newest record."""
        assert self._head is not None
        return replace(self._head[0])
