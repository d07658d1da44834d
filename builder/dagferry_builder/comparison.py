"""Two versions side by side: the files of their trees, and the DAGs of their inventories where both have one.

A version without an inventory is no fault of whoever compares: it is told, with the reason and what to do.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from dagferry_schemas.errors import Malformed
from dagferry_schemas.inventory import read_inventory

from . import dag_diff, diff

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dagferry_schemas.inventory import DagFacts
    from dagferry_schemas.tree import Tree

    from .dag_diff import DagChanges
    from .diff import FileChanges

ADVICE: Final = "a published version never changes: the next commit that is published with lint and an Airflow has one"


@dataclass(frozen=True)
class Side:
    """One version. ``dags`` is its inventory; where it has none, ``why`` says the reason."""

    version: str
    tree: Tree
    dags: tuple[DagFacts, ...] | None
    why: str = ""


@dataclass(frozen=True)
class Comparison:
    """What leads from one version to another. ``dags`` is None if one of them has no inventory."""

    before: Side
    after: Side
    files: FileChanges
    dags: DagChanges | None

    @property
    def unknown(self) -> dict[str, str]:
        """The versions without an inventory, and why they have none."""
        return {side.version: side.why for side in (self.before, self.after) if side.dags is None}

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "a": self.before.version,
            "b": self.after.version,
            "dags": None if self.dags is None else self.dags.to_dict(),
            "no_inventory": self.unknown,
            "files": {key: list(value) for key, value in asdict(self.files).items()},
        }


def side(version: str, tree: Tree, report: Mapping[str, Any] | None) -> Side:
    """``version``, whose tree and whose report, if there is one, are given."""
    return Side(version, tree, *inventory_of(report))


def inventory_of(report: Mapping[str, Any] | None) -> tuple[tuple[DagFacts, ...] | None, str]:
    """The inventory in a version's report; or None, and why there is none."""
    if report is None:
        return None, "it has no report that can be read"
    try:
        dags = read_inventory(report)
    except Malformed as error:
        return None, f"its inventory cannot be read: {error.message}"
    if dags is not None:
        return dags, ""
    return None, "it was published without lint" if report.get("lint") is None else "no Airflow took part in its lint"


def compare(before: Side, after: Side) -> Comparison:
    """What leads from ``before`` to ``after``."""
    both = before.dags is not None and after.dags is not None
    dags = dag_diff.compare_dags(before.dags or (), after.dags or ()) if both else None
    return Comparison(before, after, diff.compare(before.tree, after.tree), dags)
