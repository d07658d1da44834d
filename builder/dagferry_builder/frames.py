"""Where frames end: the plan of a tarball, as a function of the paths and sizes of its files alone.

A group is what lies between two ends of frames that fall between two files. It is one zstd frame, or several where
it holds more than `MAX_FRAME` plain bytes: one large file, and what follows it. A group ends where the hash of the next
file's path, weighted with that file's size, says so, or where the next file would not fit: so one changed file changes
one group, or two where its new size makes an end before it come or go. The two zero blocks that end a tar belong to
the last group.

No content takes part, so that a commit can be planned from its listing, before any blob is read.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final, NamedTuple

from dagferry_schemas import plaintar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .sources import Source

FRAME: Final = 1024 * 1024
"""Plain bytes of a frame, on average."""
MAX_FRAME: Final = 4 * 1024 * 1024
PER_BYTE: Final = 2**32 // FRAME
"""What each byte of a file, with its header, adds to the chance that it begins a frame."""


class Group(NamedTuple):
    """Files whose frames depend on no other file: so many ``plain`` bytes; the ``last`` one has the end of the tar."""

    files: tuple[Source, ...]
    plain: int
    last: bool


def plan(sources: Iterable[Source]) -> Iterator[Group]:
    """The groups of ``sources``, which come in the order of the tree; at most `MAX_FRAME` of small files at once."""
    files: list[Source] = []
    plain = filled = 0  # bytes of the group, and of its frame that is still open
    for source in sources:
        path, _, (_, _, _, size) = source
        if files and (not filled or filled + size > MAX_FRAME or _chance(path) < (size + plaintar.BLOCK) * PER_BYTE):
            yield Group(tuple(files), plain, last=False)
            files, plain = [], 0
        files.append(source)
        plain += plaintar.member_size(path, size)
        filled = plain % MAX_FRAME
    if files:
        yield Group(tuple(files), plain + len(plaintar.END), last=True)


def _chance(path: str) -> int:
    """A number of 32 bits that is as good as random, and always the same for a path."""
    # CRC-32 alone is linear: numbers at the end of names would keep their pattern. The odd factor is 2**32 divided by
    # the golden ratio (Knuth, The Art of Computer Programming, volume 3, section 6.4).
    return zlib.crc32(path.encode()) * 0x9E3779B1 & 0xFFFFFFFF
