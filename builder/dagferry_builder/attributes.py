"""Paths whose git attributes ask for a conversion: they are packed as the blob has them, and that is said.

A checkout would change their bytes (line ends, ``$Id$``, an encoding, a filter such as Git LFS), and a ``git archive``
too; a tree never does. Attributes are read from the commit, not from the working tree or the machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .git import Repository
    from .sources import Source

CONVERSIONS: Final = ("eol", "export-subst", "filter", "ident", "working-tree-encoding")


@dataclass(frozen=True)
class Unconverted:
    """A path of the tree, and the conversions that its attributes ask for and did not get."""

    path: str
    attributes: tuple[str, ...]


def find(repository: Repository, commit: str, sources: Iterable[Source]) -> tuple[Unconverted, ...]:
    """The sources that a checkout of ``commit`` would convert, in their order; ``sources`` are gone through twice."""
    asked = repository.attributes(commit, (source.entry.path for source in sources), CONVERSIONS)
    if not asked:
        return ()
    return tuple(Unconverted(source.path, asked[source.entry.path]) for source in sources if source.entry.path in asked)
