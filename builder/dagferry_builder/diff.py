"""What differs between two trees, by path."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dagferry_schemas.tree import Tree


@dataclass(frozen=True)
class FileChanges:
    """Paths in the order of the tree; ``changed`` are those with other bytes or another x bit."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]


def compare(before: Tree, after: Tree) -> FileChanges:
    """What leads from ``before`` to ``after``."""
    old = {file.path: file for file in before.files}
    new = {file.path: file for file in after.files}
    return FileChanges(
        added=tuple(path for path in new if path not in old),
        removed=tuple(path for path in old if path not in new),
        changed=tuple(path for path, file in new.items() if path in old and old[path] != file),
    )
