"""A store that tells how far its long transfers are: what is streamed, and what is created from a file."""

from __future__ import annotations

import io
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, cast

from .metered import MeteredStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from .store import Store

    SoFar = Callable[[int], None]
    """Is told how many bytes have gone; fewer than before where a transfer begins anew."""
    Show = Callable[[str, int], AbstractContextManager[SoFar]]
    """Begins to show a transfer: ``uploading`` or ``downloading``, and how many bytes there are."""


class ShownStore(MeteredStore):
    """A `Store` in front of another one, whose streams are expected to have ``size`` bytes."""

    def __init__(self, store: Store, show: Show, size: int = 0) -> None:
        super().__init__(store)
        self._show = show
        self._size = size

    @contextmanager
    def stream(self, key: str) -> Iterator[Iterator[bytes]]:
        """As the store behind."""
        with super().stream(key) as chunks, self._show("downloading", self._size) as so_far:
            yield _followed(chunks, so_far)

    def create(self, key: str, body: bytes | BinaryIO) -> str:
        """As the store behind."""
        if isinstance(body, bytes):
            return super().create(key, body)
        start = body.tell()
        size = body.seek(0, os.SEEK_END) - start
        body.seek(start)
        with self._show("uploading", size) as so_far:
            return super().create(key, cast("BinaryIO", _Followed(body, start, so_far)))


def _followed(chunks: Iterator[bytes], so_far: SoFar) -> Iterator[bytes]:
    gone = 0
    for chunk in chunks:
        yield chunk
        gone += len(chunk)
        so_far(gone)


class _Followed(io.BufferedIOBase):
    """A file that says how far it was read from ``start`` on; it stays open."""

    def __init__(self, file: BinaryIO, start: int, so_far: SoFar) -> None:
        self._file = file
        self._start = start
        self._so_far = so_far

    def read(self, size: int | None = -1, /) -> bytes:
        """The next bytes."""
        piece = self._file.read(-1 if size is None else size)
        self._so_far(self._file.tell() - self._start)
        return piece

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Go to a position."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """The position."""
        return self._file.tell()

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True
