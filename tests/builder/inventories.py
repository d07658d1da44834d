"""Inventories for tests, and comparisons of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from dagferry_builder.comparison import Comparison, Side, compare
from dagferry_schemas.inventory import DagFacts, TaskFacts
from dagferry_schemas.tree import make_tree
from tests.schemas.golden import tree_file

if TYPE_CHECKING:
    from collections.abc import Iterable

EXTRACT = TaskFacts("extract", "PythonOperator", owner="ada", execution_timeout=600.0)
REPORT = TaskFacts("report", "BashOperator", ("extract",))
SALES = DagFacts(
    "sales_daily",
    "dags/sales.py",
    "@daily",
    "2026-01-01T00:00:00Z",
    catchup=False,
    owners=("ada",),
    params={"region": "eu", "limit": 1},
    tasks=(EXTRACT, REPORT),
)


def with_tasks(*tasks: TaskFacts) -> DagFacts:
    """The DAG of sales with other tasks."""
    return replace(SALES, tasks=tasks)


def chain(name: str, length: int, operator: str) -> DagFacts:
    """A DAG whose tasks wait for each of the three before them; every fiftieth has ``operator``."""
    tasks = (
        TaskFacts(
            f"task_{number}",
            "EmptyOperator" if number % 50 else operator,
            tuple(f"task_{one}" for one in range(max(0, number - 3), number)),
        )
        for number in range(length)
    )
    return DagFacts(name, f"dags/{name}.py", tasks=tuple(tasks))


def side(
    version: str, dags: Iterable[DagFacts] | None, files: Iterable[str] = ("a.py",), body: bytes = b"", why: str = ""
) -> Side:
    """A version with these DAGs and files."""
    tree = make_tree(tree_file(path, body) for path in files)
    return Side(version, tree, None if dags is None else tuple(dags), why)


def between(before: Iterable[DagFacts], after: Iterable[DagFacts]) -> Comparison:
    """What leads from some DAGs to others, in trees of the same files."""
    return compare(side("v1", before), side("v2", after))
