"""What is said of two imports that differ, and of files whose reports only say something together."""

from __future__ import annotations

from typing import Any

import pytest

from dagferry_builder.lint.airflow_findings import findings_of
from dagferry_builder.lint.imported import Imported, Problem
from dagferry_builder.lint.unstable import difference
from dagferry_schemas.inventory import DagFacts


def report(structure: str = "s", definition: str = "d", **tasks: dict[str, Any]) -> dict[str, Any]:
    return {"digests": {"sales": [structure, definition]}, "definitions": {"sales": {"tasks": tasks}}}


@pytest.mark.parametrize(
    ("one", "two", "rule", "message"),
    [
        (report(), {"digests": {}, "definitions": {}}, "unstable-structure", "different DAGs: sales in one of them"),
        (report(a={}), report(b={}), "unstable-structure", "'sales': two imports gave different tasks: a, b"),
        (report("1", a={}), report("2", a={}), "unstable-structure", "different dependencies between its tasks"),
        (
            report("s", "1", a={"retries": 1}),
            report("s", "2", a={"retries": 2}),
            "unstable-definition",
            "differ in tasks.a.retries: 1, 2",
        ),
        (
            report("s", "1", a={"list": [1, {"deep": "x"}]}),
            report("s", "2", a={"list": [1, {"deep": "y"}]}),
            "unstable-definition",
            'differ in tasks.a.list[1].deep: "x", "y"',
        ),
        (
            report("s", "1", a={}),
            report("s", "2", a={}),
            "unstable-definition",
            "two imports gave different definitions",
        ),
    ],
    ids=["DAGs", "tasks", "edges", "a value", "a value inside", "nothing one can see"],
)
def test_difference_names_the_coarsest_thing_that_differs(
    one: dict[str, Any], two: dict[str, Any], rule: str, message: str
) -> None:
    said = difference(one, two)
    assert said[0] == rule
    assert message in said[1]


def test_long_values_are_cut() -> None:
    _, message = difference(report("s", "1", a={"sql": "x" * 500}), report("s", "2", a={"sql": "y" * 500}))
    assert len(message) < 250
    assert "xxx..." in message


def imported(path: str, *ids: str, problems: tuple[Problem, ...] = (), **more: Any) -> Imported:  # noqa: ANN401
    return Imported(path, dags=tuple(DagFacts(id=name, file=path) for name in ids), problems=problems, **more)


def said(*imports: Imported) -> list[tuple[str, str, str]]:
    return [(one.path, one.rule, one.message) for one in findings_of(imports)]


def test_id_in_two_files_is_reported_at_both() -> None:
    assert said(imported("a.py", "sales"), imported("b.py", "stock"), imported("c.py", "sales", "stock")) == [
        ("a.py", "duplicate-dag-id", "DAG 'sales' is also in c.py"),
        ("c.py", "duplicate-dag-id", "DAG 'sales' is also in a.py"),
        ("b.py", "duplicate-dag-id", "DAG 'stock' is also in c.py"),
        ("c.py", "duplicate-dag-id", "DAG 'stock' is also in b.py"),
    ]


def test_bundle_without_a_dag_is_told() -> None:
    assert said(imported("a.py"), imported("b.py", "sales", skipped=True)) == [
        ("", "no-dags", "Airflow found no DAG in 2 DAG file(s)")
    ]


def test_id_twice_in_one_file_is_left_to_the_probe() -> None:
    assert said(imported("a.py", "sales", "sales")) == []


def test_file_that_airflow_passes_over_takes_no_id() -> None:
    assert said(imported("a.py", "sales"), imported("b.py", "sales", skipped=True)) == []


@pytest.mark.parametrize("rule", ["dag-not-found", "uncalled-factory"])
def test_factory_that_other_files_import_is_no_fault(rule: str) -> None:
    factory = imported("factory.py", problems=(Problem(rule, "factory.py", 4, "make() is never called"),))
    user = imported("a.py", "sales", reads=("a.py", "factory.py"))
    assert [one[1] for one in said(factory)] == [rule]
    assert said(factory, user) == []


def test_other_faults_of_a_factory_stay() -> None:
    factory = imported("factory.py", problems=(Problem("slow-import", "factory.py", 0, "9 s"),))
    user = imported("a.py", "sales", reads=("factory.py",))
    assert said(factory, user) == [("factory.py", "slow-import", "9 s")]
