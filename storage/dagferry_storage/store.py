"""The protocol that every object store fulfils; its comments are the contract, `tests/storage` is its judge.

* Keys are relative, ``/``-separated, made by `dagferry_schemas.layout`; a store adds its own prefix. No component is
  empty or begins with a dot, and no key is a folder of another; anything else is a `ValueError`, a bug of the caller.
* A write is whole or absent: a reader never sees part of an object. After `create` or `replace` returned, every
  later read by anyone sees it (strong consistency), and it survives a power cut.
* `create` and `replace` are conditional and are decided by the store, never by reading first. A store never repeats
  one by itself: after `DeliveryFailed` the caller does not know whether the write took place, and reads again.
* A token names one state of one object. Two states with equal bytes may share a token (S3's ETag is a digest), so
  whoever relies on `replace` puts a nonce into the body.
* Every foreign exception becomes one of the errors below; nothing else leaves a store. What the body of a ``with
  stream(…)`` raises passes through unchanged.
* A container (folder, bucket) that does not exist is `Absent` to every method but `create`, which may make it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Final, Protocol

from dagferry_schemas.errors import BadData, Conflict, DeliveryFailed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager


SET_THE_CLOCK: Final = "set this machine's clock (NTP does), then try again"
"""What to do next where a store, or a look at its clock, says that this machine's is off: ``clock_skew``."""
CHUNK: Final = 1024 * 1024
"""Bytes; the most that `Store.stream` yields at once."""
TOP: Final = "the top of the store"
"""What messages call the empty prefix of `Store.folders`."""


class Missing(BadData):
    """The store answered that there is no such object."""

    code = "missing_object"


class Absent(DeliveryFailed):
    """The store itself is not there (no such folder or bucket): an outage to a reader; the first writer may make it."""

    code = "no_store"


class TooLarge(BadData):
    """The object is larger than the caller's limit; no more than the limit was read."""

    code = "too_large"


def too_large(url: str, key: str, limit: int) -> TooLarge:
    """Of the store ``url`` and the object ``key``."""
    return TooLarge(
        f"store {url}: {key} has more than the {limit} bytes that are allowed here",
        "objects of dagferry are smaller than that; look at who wrote it",
    )


class Exists(Conflict):
    """`Store.create` found an object of that name; nothing was written."""

    code = "exists"


class Superseded(Conflict):
    """`Store.replace` found another state than the token's, or no object; nothing was written."""

    code = "superseded"


@dataclass(frozen=True)
class Stored:
    """One object as it was read: its bytes, and the token of exactly that state."""

    body: bytes
    token: str


class Store(Protocol):
    """An object store below one prefix. All methods are safe to call from several threads and processes.

    Each may raise `DeliveryFailed` (unreachable, too slow, broken), `Forbidden` (this identity may not) or
    `MachineFault` (a local store's disk is full or read-only), besides what it names itself.
    """

    @property
    def url(self) -> str:
        """The store as the user would name it, without credentials."""
        ...

    def identity(self) -> str:
        """Who this process is to the store, and where that was found; never a secret. Raises `Forbidden` for nobody.

        It says what will be used, not what it may do; the store itself is not asked.
        """
        ...

    def read(self, key: str, *, limit: int) -> Stored:
        """The object's bytes, at most ``limit`` of them. Raises `Missing`, `TooLarge`."""
        ...

    def read_if_changed(self, key: str, token: str, *, limit: int) -> Stored | None:
        """None if the object is still in the state ``token`` (one conditional request), else as `read`."""
        ...

    def modified(self, key: str) -> float:
        """When the object's present state was written: seconds since 1970 by the *store's* clock. Raises `Missing`.

        A store may leave out the fraction of the second.
        """
        ...

    def stream(self, key: str) -> AbstractContextManager[Iterator[bytes]]:
        """The object in chunks of at most 1 MiB, for content of any size. Raises `Missing` on entering."""
        ...

    def create(self, key: str, body: bytes | BinaryIO) -> str:
        """Store a new object and return its token. Raises `Exists`.

        A file has to be seekable; it is read from its present position to its end, and stays open.
        """
        ...

    def replace(self, key: str, body: bytes, token: str) -> str:
        """Replace the object if it is still in the state ``token``; the new token. Raises `Superseded`."""
        ...

    def names(self, prefix: str) -> Iterator[str]:
        """The keys that begin with ``prefix`` (which ends in ``/``), in no particular order; none if there are none."""
        ...

    def folders(self, prefix: str) -> Iterator[str]:
        """What stands between ``prefix`` and the next ``/`` in keys that begin with it, each once, in no order.

        It costs by folders, not by the keys below them. ``prefix`` ends in ``/``, or is empty for the top of the store.
        A folder from which all objects were deleted may still be told.
        """
        ...

    def delete(self, key: str) -> None:
        """Remove the object, durably; no error if there is none."""
        ...
