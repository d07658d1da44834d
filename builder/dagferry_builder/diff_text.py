"""What `dagferry diff` says on a terminal: DAGs first, in the words of those who write them, then files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .comparison import ADVICE
from .diff_words import described, files_headline, headline, phrases, shorten

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .comparison import Comparison
    from .dag_diff import ChangedDag, DagChanges

WIDTH: Final = 120
"""Characters of a line up to which all changes of a DAG stand on one."""


def lines(found: Comparison) -> Iterator[str]:
    """The lines. What they quote is as it is in the repository: whoever prints them takes out control characters."""
    yield f"{found.before.version} -> {found.after.version}"
    yield headline(found)
    for version, why in found.unknown.items():
        yield f"  {version} has no inventory of its DAGs: {why}"
    if found.unknown:
        yield f"  {ADVICE}"
    if found.dags is not None:
        yield from _dags(found.dags)
    yield files_headline(found)
    for sign, paths in (("+", found.files.added), ("-", found.files.removed), ("~", found.files.changed)):
        yield from (f"{sign} {path}" for path in paths)


def _dags(changes: DagChanges) -> Iterator[str]:
    for dag in changes.added:
        yield f"+ {dag.id}: {described(dag, shorten)} ({dag.file})"
    for dag in changes.removed:
        yield f"- {dag.id} ({dag.file})"
    for one in changes.moved:
        yield f"> {one.id}: {one.before} -> {one.after}"
    for changed in changes.changed:
        yield from _changed(changed)


def _changed(dag: ChangedDag) -> Iterator[str]:
    said = list(phrases(dag, shorten))
    line = f"~ {dag.after.id}: {'; '.join(said)}"
    if len(line) <= WIDTH:
        yield line
    else:
        yield f"~ {dag.after.id}:"
        yield from (f"    {phrase}" for phrase in said)
