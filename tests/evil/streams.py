"""Vectors: zstd streams that are cut, stuffed, oversized or nothing of the kind (RFC 8878, section 3).

Some are only an encoding that nobody would choose: the right plain bytes come out, within the bounds, and so the pod
has to deliver them. An encoding is no identity.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import struct
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import zstandard

from dagferry_schemas.compression import compress

from .archives import TAR
from .parts import GOOD, Parts
from .vector import DELIVERED, PLAIN_BYTES, STREAM, TRUNCATED, Vector, Verdict, stored

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

MAGIC: Final = b"\x28\xb5\x2f\xfd"
HALF: Final = len(TAR) // 2
RAW, SAME, COMPRESSED, RESERVED = range(4)


def block(body: bytes, kind: int = RAW, *, last: bool = True, size: int | None = None) -> bytes:
    """One block of a frame; ``size`` where it is not that of ``body``."""
    return struct.pack("<I", (len(body) if size is None else size) << 3 | kind << 1 | last)[:3] + body


def frame(*blocks: bytes, descriptor: int = 0, window: bytes = b"\x38", after: bytes = b"") -> bytes:
    """One frame; the window is 128 KiB where none is given. ``after`` is what follows the window in its header."""
    return MAGIC + bytes([descriptor]) + window + after + b"".join(blocks)


def skippable(body: bytes, size: int | None = None) -> bytes:
    """One frame that readers leave out."""
    return b"\x50\x2a\x4d\x18" + struct.pack("<I", len(body) if size is None else size) + body


def stream(made: bytes | Callable[[], bytes], verdict: Verdict = STREAM) -> Vector:
    """A vector that is another stored stream than the good one, under the good file list."""

    def make(_: Path) -> Parts:
        return replace(GOOD, tarball=made if isinstance(made, bytes) else made())

    return stored(make, verdict)


def with_window(log: int) -> bytes:
    """The good plain tar in a frame that asks its reader for so much memory, as a power of two."""
    return frame(*(block(TAR, last=True),), window=bytes([(log - 10) << 3]))


def bomb(size: int, *, first: bytes = b"", of: bytes = b"\0") -> bytes:
    """``first``, and then so many zeros or others, in blocks of four bytes for each 128 KiB."""
    step = 128 * 1024
    many = size // step
    return frame(block(first, last=False), block(of, SAME, last=False, size=step) * many, block(b""))


def with_dictionary() -> bytes:
    """The good plain tar, compressed with a dictionary that the pod does not have."""
    dictionary = zstandard.ZstdCompressionDict(TAR[:1024], dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    return zstandard.ZstdCompressor(dict_data=dictionary, write_dict_id=True).compress(TAR)


def checked() -> bytes:
    """The good plain tar in a frame with a checksum."""
    return zstandard.ZstdCompressor(write_checksum=True).compress(TAR)


ENCODINGS: Final[Mapping[str, Vector]] = {
    "one_frame_for_each_byte": stream(
        lambda: b"".join(compress(TAR[at : at + 1]) for at in range(len(TAR))), DELIVERED
    ),
    "skippable_frames": stream(skippable(b"evil") + compress(TAR) + skippable(compress(TAR)), DELIVERED),
    "thousands_of_empty_frames": stream(5000 * compress(b"") + compress(TAR), DELIVERED),
    "thousands_of_empty_blocks": stream(frame(5000 * block(b"", last=False), block(TAR)), DELIVERED),
    "a_window_of_8_MiB": stream(with_window(23), DELIVERED),
    "a_checksum": stream(checked, DELIVERED),
    "no_compression": stream(frame(block(TAR)), DELIVERED),
    "a_frame_without_its_last_block": stream(frame(block(TAR, last=False)), DELIVERED),
    "a_skippable_frame_that_breaks_off": stream(compress(TAR) + skippable(b"evil", 2**32 - 1), DELIVERED),
}

STREAMS: Final[Mapping[str, Vector]] = {
    "no_compression_at_all": stream(TAR),
    "gzip": stream(lambda: gzip.compress(TAR)),
    "bzip2": stream(lambda: bz2.compress(TAR)),
    "xz": stream(lambda: lzma.compress(TAR)),
    "zstd_of_an_old_version": stream(b"\x27" + frame(block(TAR))[1:]),
    "zstd_without_its_magic": stream(frame(block(TAR))[4:]),
    "empty_object": stream(b"", TRUNCATED),
    "one_byte": stream(b"\x28", TRUNCATED),
    "zeros": stream(bytes(4096)),
    "a_magic_and_nothing_more": stream(MAGIC, TRUNCATED),
    "bytes_after_the_frames": stream(compress(TAR) + b"rubbish"),
    "zeros_after_the_frames": stream(compress(TAR) + bytes(512)),
    "gzip_after_the_frames": stream(lambda: compress(TAR) + gzip.compress(b"evil")),
    "a_second_archive_in_a_frame_of_its_own": stream(compress(TAR) + compress(TAR), PLAIN_BYTES),
    "a_frame_that_breaks_off": stream(compress(TAR[:HALF]) + compress(TAR[HALF:])[:-5], TRUNCATED),
    "frames_that_break_off_between_two": stream(compress(TAR[:HALF]), TRUNCATED),
    "a_block_that_breaks_off": stream(frame(block(TAR[:HALF], size=len(TAR))), TRUNCATED),
    "skippable_frames_alone": stream(skippable(TAR), TRUNCATED),
    "an_archive_in_a_skippable_frame": stream(skippable(TAR[:HALF]) + compress(TAR[HALF:]), PLAIN_BYTES),
    "frames_in_another_order": stream(compress(TAR[HALF:]) + compress(TAR[:HALF]), PLAIN_BYTES),
    "a_frame_twice": stream(2 * compress(TAR[:512]) + compress(TAR[512:]), PLAIN_BYTES),
}

FRAMES: Final[Mapping[str, Vector]] = {
    "a_window_of_16_MiB": stream(with_window(24)),
    "a_window_of_128_MiB": stream(with_window(27)),
    "a_window_of_2_GiB": stream(with_window(31)),
    "a_window_of_3_TiB": stream(frame(block(TAR), window=b"\xff")),
    "one_segment_of_1_GiB": stream(frame(block(TAR), descriptor=0xA0, window=struct.pack("<I", 2**30))),
    "one_segment_of_16_EiB": stream(frame(block(TAR), descriptor=0xE0, window=8 * b"\xff")),
    "a_dictionary_by_its_number": stream(frame(block(TAR), descriptor=0x03, after=struct.pack("<I", 4711))),
    "a_dictionary_that_was_used": stream(with_dictionary),
    "a_reserved_bit": stream(frame(block(TAR), descriptor=0x08)),
    "a_reserved_kind_of_block": stream(frame(block(TAR, RESERVED))),
    "a_block_above_its_limit": stream(frame(block(TAR, size=2**21 - 1))),
    "a_block_of_rubbish": stream(frame(block(b"\xff" * 40, COMPRESSED))),
    "a_wrong_checksum": stream(lambda: checked()[:-4] + b"evil"),
    "a_content_size_that_is_too_small": stream(frame(block(TAR), descriptor=0x80, after=struct.pack("<I", 512))),
    "a_content_size_that_is_too_large": stream(frame(block(TAR), descriptor=0x80, after=struct.pack("<I", 2**30))),
}

BOMBS: Final[Mapping[str, Vector]] = {
    "a_bomb_from_the_first_byte": stream(lambda: bomb(2**36), PLAIN_BYTES),
    "a_bomb_after_the_end": stream(lambda: compress(TAR) + bomb(2**30), PLAIN_BYTES),
    "a_bomb_in_the_frame_of_the_end": stream(lambda: bomb(2**30, first=TAR), PLAIN_BYTES),
    "a_bomb_in_the_last_body": stream(lambda: bomb(2**30, first=TAR[:-2048]), PLAIN_BYTES),
    "a_bomb_of_frames": stream(lambda: compress(TAR) + 20_000 * compress(bytes(2**20)), PLAIN_BYTES),
    "a_bomb_of_a_bomb": stream(lambda: compress(bomb(2**30)), PLAIN_BYTES),
}

VECTORS: Final[Mapping[str, Vector]] = {**ENCODINGS, **STREAMS, **FRAMES, **BOMBS}
