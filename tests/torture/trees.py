"""What the releases of the torture hold: each tree has a number, and a file's bytes say which number and which path.

Standard library only: the readers use it as well, and a reader in a pod has nothing of dagferry.

1. Most files carry the tree's number, so that no two trees share them. A few are the same in all trees, so that
   releases have hard links in common. One is in every other tree only.
2. Whoever has read a file knows from its bytes alone whether it is whole, and of which tree it is.
"""

from __future__ import annotations

from typing import Final

TREES: Final = 12
"""So many different trees take turns."""
VERSIONED: Final = (*(f"dags/team_{n % 4}/dag_{n:02}.py" for n in range(16)), "VERSION.py")
SHARED: Final = tuple(f"dags/common/shared_{n}.py" for n in range(4))
SOMETIMES: Final = "dags/sometimes.py"
_PADDING: Final = "# the same line in every file, so that a file is more than one write\n" * 120


def paths(number: int) -> frozenset[str]:
    """The paths of tree ``number``."""
    return frozenset((*VERSIONED, *SHARED, *((SOMETIMES,) if number % 2 else ())))


def body(path: str, number: int) -> bytes:
    """The bytes of ``path`` in tree ``number``."""
    first = "SHARED\n" if path in SHARED else f"TREE {number}\n"
    return f"{first}{_PADDING}# {path}\n".encode()


def files(number: int) -> dict[str, bytes]:
    """All files of tree ``number``."""
    return {path: body(path, number) for path in paths(number)}


def number_in(path: str, found: bytes) -> int | None:
    """The number of the tree that these bytes are of; None for a shared file. Raises `ValueError` if they are torn."""
    first = found.split(b"\n", 1)[0]
    number = None if first == b"SHARED" else int(first.removeprefix(b"TREE "))
    if found != body(path, number or 0):
        raise ValueError(f"{path} is not whole")
    return number
