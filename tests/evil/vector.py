"""What a vector is: one class of evil, with a name, and what a pod has to say to it in each setting.

``tampered``: the pins are those of a good release, and the store holds other bytes. The size or the digest gives it
away before anything is decompressed. ``pinned``: the publisher is evil, all digests and sizes agree with the bytes, and
the file list is a good one. ``listed``: the file list is evil as well, and the tarball is what it predicts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

from dagferry_schemas.compression import compress

from . import ustar
from .parts import GOOD, PLAIN, Parts

Setting = Literal["tampered", "pinned", "listed"]
Make = Callable[[Path], Parts]
"""Makes the parts. It is told of a folder outside the root, for names that lead there."""
Verdict = tuple[str, str]
"""The error's class and code."""

DELIVERED: Final = ("", "")
"""The verdict on bytes that are only another encoding of a good release."""
PLAIN_BYTES: Final = ("Corrupt", "wrong_plain_bytes")
TRUNCATED: Final = ("Corrupt", "truncated")
STREAM: Final = ("Corrupt", "corrupt")
MALFORMED: Final = ("Malformed", "malformed")
TAMPERED: Final = ("Corrupt", "as the sizes are")
"""Which code it is depends on nothing but the sizes, and is held to them (`attack.Case.publish_evil`)."""


@dataclass(frozen=True)
class Vector:
    """One class of evil: its settings, and the verdict in each.

    ``spoil`` does something to the store after it was filled, told the paths of the tarball and of the file list.
    """

    make: Mapping[Setting, Make]
    verdicts: Mapping[Setting, Verdict]
    spoil: Callable[[Path, Path, Path], None] | None = None


def stored(parts: Make, verdict: Verdict, *, tampered: bool = True) -> Vector:
    """A vector whose pins fit, and whose bytes somebody else may also put in the place of good ones."""
    if not tampered:
        return Vector({"pinned": parts}, {"pinned": verdict})
    return Vector({"tampered": parts, "pinned": parts}, {"tampered": TAMPERED, "pinned": verdict})


def plain(
    made: bytes | Callable[[Path], bytes],
    verdict: Verdict = PLAIN_BYTES,
    *,
    listed: Make | None = None,
    listed_verdict: Verdict = MALFORMED,
) -> Vector:
    """A vector that is another plain tar than the good one, under the good file list and its predicted plain size.

    ``listed`` are the parts of the release in which the file list says the same.
    """

    def make(outside: Path) -> Parts:
        return replace(GOOD, tarball=compress(made if isinstance(made, bytes) else made(outside)))

    vector = stored(make, verdict)
    if listed is None:
        return vector
    return Vector({**vector.make, "listed": listed}, {**vector.verdicts, "listed": listed_verdict})


def in_front(*members: bytes) -> bytes:
    """The good plain tar after these members."""
    return b"".join(members) + PLAIN + ustar.END


def instead(*members: bytes) -> bytes:
    """The good plain tar with these members in the place of its first file."""
    return b"".join(members) + PLAIN[2 * ustar.BLOCK :] + ustar.END
