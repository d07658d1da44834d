"""What is left out of a tree, said so that a person can read it: a folder that is left out whole is said once."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

SUBMODULE: Final = "submodule"
"""The rule that leaves a submodule out. Each is named, for it stands for a repository and not for a file."""
_SEVERAL: Final = ""


class LeftOut(NamedTuple):
    """A path of the tree that is not packed, and the rule that says so; a folder ends in a slash.

    ``files`` says how many files it stands for.
    """

    path: str
    rule: str
    files: int = 1

    def __str__(self) -> str:
        """As a line for people."""
        count = f", {self.files} file(s)" if self.path.endswith("/") else ""
        return f"{self.path} ({self.rule}{count})"


def gather(left_out: Sequence[LeftOut], packed: Collection[str]) -> Iterator[LeftOut]:
    """``left_out`` with one entry for each folder of which one rule left everything out, in the order of the paths.

    ``packed`` are the folders that have files in the tree.
    """
    kept = {above for folder in packed for above in (*_folders_above(folder), folder)}
    rules: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for one in left_out:
        for folder in _folders_above(one.path):
            rules[folder] = one.rule if rules.get(folder, one.rule) == one.rule else _SEVERAL
            counts[folder] += 1
    found: dict[str, LeftOut] = {}
    for one in left_out:
        whole = (f for f in _folders_above(one.path) if f not in kept and rules[f] != _SEVERAL and counts[f] > 1)
        outermost = next(whole, None) if one.rule != SUBMODULE else None
        path = one.path if outermost is None else outermost + "/"
        before = found.get(path)
        found[path] = before._replace(files=before.files + 1) if before else LeftOut(path, one.rule)
    return iter(sorted(found.values(), key=lambda one: one.path))


def _folders_above(path: str) -> Iterator[str]:
    """The folders that hold ``path``, the outermost first; the top of the tree, that is none, is not among them."""
    at = path.find("/")
    while at != -1:
        yield path[:at]
        at = path.find("/", at + 1)
