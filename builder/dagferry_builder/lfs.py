"""Git LFS pointers: small files that stand for large ones, and that a pod could do nothing with."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .git import Repository
    from .sources import Source

MAX_POINTER: Final = 1024
"""Bytes; the LFS specification says that a pointer is smaller."""
_POINTER: Final = re.compile(rb"version [^\n]+\n(?:ext-[^\n]+\n)*oid sha256:[0-9a-f]{64}\nsize [0-9]+\n")


def is_pointer(size: int, body: bytes) -> bool:
    """Whether a file of ``size`` bytes, whose first chunk is ``body``, is a pointer.

    Its shape decides (the lines ``version``, ``ext-…``, ``oid``, ``size`` in this order), not the address in its first
    line: that has changed over the years, and old pointers are pointers too.
    """
    return size < MAX_POINTER and _POINTER.fullmatch(body) is not None


def problem(path: str) -> str:
    """What is wrong with a pointer at ``path``."""
    return f"{path!r} is a Git LFS pointer, not the file itself (keep it in git: `git lfs migrate export`)"


def find(repository: Repository, sources: Iterable[Source]) -> list[str]:
    """The problems of all pointers among ``sources``."""
    small = [source for source in sources if 0 < source.entry.size < MAX_POINTER]
    with repository.blobs([source.entry.object_id for source in small]) as blobs:
        read = [(source, b"".join(blobs.read(source.entry))) for source in small]
    return [problem(source.path) for source, body in read if is_pointer(len(body), body)]
