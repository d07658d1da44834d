"""A store that counts: how many reads were made through it, and how many bytes of bodies came back."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .store import Store, Stored


class MeteredStore:
    """A `Store` in front of another one. ``requests`` counts reads, ``bytes_fetched`` the bytes of their bodies."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.requests = 0
        self.bytes_fetched = 0

    @property
    def url(self) -> str:
        """The URL of the store behind."""
        return self._store.url

    def identity(self) -> str:
        """As the store behind."""
        return self._store.identity()

    def read(self, key: str, *, limit: int) -> Stored:
        """As the store behind."""
        self.requests += 1
        found = self._store.read(key, limit=limit)
        self.bytes_fetched += len(found.body)
        return found

    def read_if_changed(self, key: str, token: str, *, limit: int) -> Stored | None:
        """As the store behind."""
        self.requests += 1
        found = self._store.read_if_changed(key, token, limit=limit)
        self.bytes_fetched += len(found.body) if found else 0
        return found

    def modified(self, key: str) -> float:
        """As the store behind."""
        self.requests += 1
        return self._store.modified(key)

    @contextmanager
    def stream(self, key: str) -> Iterator[Iterator[bytes]]:
        """As the store behind."""
        self.requests += 1
        with self._store.stream(key) as chunks:
            yield self._counted(chunks)

    def _counted(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            self.bytes_fetched += len(chunk)
            yield chunk

    def create(self, key: str, body: bytes | BinaryIO) -> str:
        """As the store behind."""
        return self._store.create(key, body)

    def replace(self, key: str, body: bytes, token: str) -> str:
        """As the store behind."""
        return self._store.replace(key, body, token)

    def names(self, prefix: str) -> Iterator[str]:
        """As the store behind."""
        return self._store.names(prefix)

    def folders(self, prefix: str) -> Iterator[str]:
        """As the store behind."""
        return self._store.folders(prefix)

    def delete(self, key: str) -> None:
        """As the store behind."""
        self._store.delete(key)
