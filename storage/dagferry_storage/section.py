"""A section of a file as a file of its own, for clients that want to stand at 0, and go back to it by themselves.

boto3 sends a body again from its very beginning after a redirection. So a file that is sent from its middle is never
handed to a client as it is.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterator


class Section:
    """``size`` bytes of ``file`` from ``start`` on. Sections of one file may not be read at once."""

    def __init__(self, file: BinaryIO, start: int, size: int) -> None:
        self._file = file
        self._start = start
        self._at = 0
        self.size = size

    @classmethod
    def rest_of(cls, file: BinaryIO) -> Section:
        """The file from its present position to its end."""
        start = file.tell()
        return cls(file, start, file.seek(0, os.SEEK_END) - start)

    def cut(self, size: int) -> Iterator[Section]:
        """The section in pieces of ``size`` bytes, and of fewer the last."""
        for at in range(0, self.size, size):
            yield Section(self._file, self._start + at, min(size, self.size - at))

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a position, within the section."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self.size}[whence]
        self._at = min(max(base + offset, 0), self.size)
        return self._at

    def tell(self) -> int:
        """The position."""
        return self._at

    def read(self, size: int | None = -1, /) -> bytes:
        """The next bytes."""
        left = self.size - self._at
        self._file.seek(self._start + self._at)
        piece = self._file.read(left if size is None or size < 0 else min(size, left))
        self._at += len(piece)
        return piece
