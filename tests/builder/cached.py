"""Builds with a cache of frames, and what must hold of them whatever is in its folder.

`damage_changes_no_byte` is an ordinary function, so that planted bugs can be tried on it.
"""

from __future__ import annotations

import io
import random
from typing import TYPE_CHECKING, Final

from dagferry_builder.frame_cache import FrameCache
from dagferry_builder.git import Repository
from dagferry_builder.pack import Packed, pack
from dagferry_builder.selecting import select
from dagferry_builder.selection import Selection

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from dagferry_builder.sources import Sources

    from .repositories import Clone

    Opener = Callable[[Path], FrameCache]

_RANDOM: Final = random.Random(11)
FILES: Mapping[str, bytes] = {
    **{f"team{n % 7}/dag_{n:04}.py": b"".join(b"rate = %d\n" % (n * m % 977) for m in range(300)) for n in range(1500)},
    "models/large.bin": _RANDOM.randbytes(9 * 1024 * 1024 + 5),
    "models/notes.py": b"large = True\n",
    "ü.py": b"u = 1\n",
    "empty.py": b"",
}
"""Several groups, one of them of several frames."""


def selected(clone: Clone) -> tuple[Repository, Sources]:
    repository = Repository(clone.folder)
    return repository, select(repository, repository.resolve("HEAD"), Selection()).sources


def packed(clone: Clone, cache: FrameCache | None = None) -> tuple[Packed, bytes]:
    repository, sources = selected(clone)
    tarball = io.BytesIO()
    return pack(repository, sources, tarball, cache), tarball.getvalue()


def entries(folder: Path) -> list[Path]:
    """The entries of a cache, in the order of their names, which has nothing to do with the tree's."""
    return sorted(folder.iterdir()) if folder.is_dir() else []


DAMAGES: Mapping[str, Callable[[bytes, bytes], bytes]] = {
    "a frame's byte": lambda raw, _: raw[:100] + bytes([raw[100] ^ 1]) + raw[101:],
    "a digest's byte": lambda raw, _: raw[:-40] + bytes([raw[-40] ^ 1]) + raw[-39:],
    "the seal": lambda raw, _: raw[:-1] + bytes([raw[-1] ^ 1]),
    "cut off": lambda raw, _: raw[:-1],
    "cut to nothing": lambda raw, _: b"",
    "longer": lambda raw, _: raw + b"\0",
    "another's": lambda _, other: other,
}
"""What may have happened to an entry, from its bytes and those of another entry."""


def damage_changes_no_byte(clone: Clone, folder: Path, open_cache: Opener = FrameCache) -> None:
    """Whatever is in an entry, the build is the one without a cache; and the entry is whole again afterwards."""
    expected = packed(clone)
    packed(clone, open_cache(folder))
    whole = {entry: entry.read_bytes() for entry in entries(folder)}
    for what, damage in DAMAGES.items():
        for entry, raw in whole.items():
            other = next(body for one, body in whole.items() if one != entry)
            entry.write_bytes(damage(raw, other))
        assert packed(clone, open_cache(folder)) == expected, what
        assert {entry: entry.read_bytes() for entry in entries(folder)} == whole, what
