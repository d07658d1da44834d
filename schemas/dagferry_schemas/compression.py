"""zstd, as dagferry writes and reads it: an encoding that no identity depends on.

A compressed object is any number of zstd frames (RFC 8878). Writers cut independent frames, so that one changed file
changes one frame; readers accept any stream with the right plain bytes, within a window of `MAX_WINDOW` and a bound
that they are told.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, BinaryIO, Final

import zstandard

from .errors import Corrupt

if TYPE_CHECKING:
    from collections.abc import Iterator

LEVEL: Final = 3
MAX_WINDOW: Final = 8 * 1024 * 1024
"""Bytes of history that a reader is willing to keep."""
SMALL_WINDOW_LOG: Final = 17
"""Of what is made piece by piece: lists, where what repeats is near. As a power of two, in bytes."""
CHUNK: Final = 256 * 1024


def compress(plain: bytes | bytearray) -> bytes:
    """``plain`` as one frame."""
    return zstandard.ZstdCompressor(level=LEVEL).compress(plain)


class Compressor:
    """Makes one frame of plain bytes that come piece by piece, within about a megabyte of memory."""

    def __init__(self) -> None:
        settings = zstandard.ZstdCompressionParameters.from_level(LEVEL, window_log=SMALL_WINDOW_LOG)
        self._frame = zstandard.ZstdCompressor(compression_params=settings).compressobj()
        self._pieces: list[bytes] = []

    def add(self, plain: bytes) -> None:
        """Take the next plain bytes."""
        piece = self._frame.compress(plain)
        if piece:
            self._pieces.append(piece)

    def finish(self) -> bytes:
        """The frame."""
        self._pieces.append(self._frame.flush())
        return b"".join(self._pieces)


def plain_chunks(source: BinaryIO, what: str, *, limit: int | None = None, size: int = CHUNK) -> Iterator[bytes]:
    """The plain bytes of the frames in ``source``, in chunks of at most ``size``.

    Raises `Corrupt`, also before more than ``limit`` bytes are given away.
    A stream that breaks off inside a frame ends early without a complaint of its own: the caller knows how many plain
    bytes there have to be.
    """
    decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW)
    with decompressor.stream_reader(source, read_across_frames=True, closefd=False) as reader:
        total = 0
        while True:
            try:
                chunk = reader.read(size)
            except zstandard.ZstdError as error:
                raise Corrupt(f"{what}: not a zstd stream that can be read: {error}") from None
            if not chunk:
                return
            total += len(chunk)
            if limit is not None and total > limit:
                raise Corrupt(f"{what}: more than {limit} bytes when decompressed")
            yield chunk


def decompress(raw: bytes, what: str, *, limit: int) -> bytes:
    """All plain bytes of ``raw``, at most ``limit`` of them. Raises `Corrupt`."""
    return b"".join(plain_chunks(io.BytesIO(raw), what, limit=limit))
