"""A version's report for people: what lint came to, and one line for each DAG of the inventory.

The report is an observation, written by any dagferry: what cannot be read is said, and hides nothing else.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from dagferry_schemas.commandline import plain
from dagferry_schemas.errors import Malformed
from dagferry_schemas.fields import Fields, optional

from .comparison import inventory_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dagferry_schemas.inventory import DagFacts

HEAD: Final = ("DAG", "file", "schedule", "owners", "tasks", "import")
WIDEST: Final = 48
"""Characters to which a column is aligned; what is longer is shown whole all the same."""


def lint_line(report: Mapping[str, Any] | None) -> str:
    """What lint came to, in one line."""
    if report is None:
        return "no report"
    if report.get("lint") is None:
        return "published without lint"
    try:
        lint = Fields(report, "report").child("lint")
        return f"{_counts(lint)}; {_environment(lint.child('checked'))}"
    except Malformed as error:
        return f"cannot be read: {error.message}"


def dag_lines(report: Mapping[str, Any] | None) -> tuple[str, list[str]]:
    """How many DAGs there are, or why that is not known; and a table of them, its head first."""
    dags, why = inventory_of(report)
    if dags is None:
        return f"not known: {why}", []
    return str(len(dags)), _aligned([HEAD, *map(_row, dags)]) if dags else []


def _counts(lint: Fields) -> str:
    found = Counter(finding.text("severity") for finding in lint.children("findings"))
    told = [f"{found[name]} {name}{'' if found[name] == 1 else 's'}" for name in ("error", "warning", "note")]
    told += [f"{number} {name}" for name in ("suppressed", "baselined") if (number := lint.integer(name))]
    return ", ".join(told)


def _environment(checked: Fields) -> str:
    environment = optional(checked, "environment", checked.child)
    if environment is None:
        return "no Airflow took part"
    return f"Airflow {environment.text('airflow')} on Python {environment.text('python')}"


def _row(dag: DagFacts) -> tuple[str, ...]:
    owners = ", ".join(dag.owners) or "-"
    return dag.id, dag.file, dag.schedule or "none", owners, str(len(dag.tasks)), f"{dag.import_seconds:.2f} s"


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    shown = [tuple(map(plain, row)) for row in rows]
    widths = [min(max(map(len, column)), WIDEST) for column in zip(*shown, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in shown]
