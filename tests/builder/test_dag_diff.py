"""What differs between two inventories, and why a version has none."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dagferry_builder.comparison import inventory_of
from dagferry_builder.dag_diff import ChangedDag, DagChanges, compare_dags
from dagferry_schemas.inventory import DagFacts, TaskFacts
from tests.builder.inventories import EXTRACT, REPORT, SALES, between, with_tasks

LOAD = TaskFacts("load", "PythonOperator", ("extract",))


def only_change(before: DagFacts, after: DagFacts) -> ChangedDag:
    found = compare_dags([before], [after])
    assert (found.added, found.removed, found.moved) == ((), (), ())
    assert len(found.changed) == 1
    return found.changed[0]


def test_equal_inventories_differ_in_nothing() -> None:
    assert compare_dags([SALES], [SALES]) == DagChanges()


def test_a_slower_import_is_no_change() -> None:
    assert compare_dags([SALES], [replace(SALES, import_seconds=9.5)]) == DagChanges()


def test_the_order_of_tasks_is_no_change() -> None:
    assert compare_dags([SALES], [with_tasks(REPORT, EXTRACT)]) == DagChanges()


def test_another_id_is_one_dag_removed_and_one_added() -> None:
    renamed = replace(SALES, id="sales_hourly")
    assert compare_dags([SALES], [renamed]) == DagChanges(added=(renamed,), removed=(SALES,))


def test_another_file_is_a_move_and_no_change() -> None:
    found = compare_dags([SALES], [replace(SALES, file="dags/shop/sales.py")])
    assert (found.added, found.removed, found.changed) == ((), (), ())
    assert [(one.id, one.before, one.after) for one in found.moved] == [
        ("sales_daily", "dags/sales.py", "dags/shop/sales.py")
    ]


def test_a_dag_may_move_and_change() -> None:
    found = compare_dags([SALES], [replace(SALES, file="b.py", schedule="@hourly")])
    assert len(found.moved) == len(found.changed) == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("schedule", None),
        ("start", "2026-02-01T00:00:00Z"),
        ("catchup", True),
        ("owners", ("ada", "bob")),
        ("tags", ("finance",)),
        ("params", {"region": "eu", "limit": True}),  # to Python equal to 1
        ("dagrun_timeout", 3600.0),
    ],
)
def test_a_field_is_told_with_its_old_and_new_value(name: str, value: Any) -> None:  # noqa: ANN401 (one of each type)
    (change,) = only_change(SALES, replace(SALES, **{name: value})).fields
    assert (change.name, change.before, change.after) == (name, getattr(SALES, name), value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("operator", "EmptyOperator"),
        ("mapped", True),
        ("owner", "bob"),
        ("email", ("ada@example.com",)),
        ("retries", 3),
        ("execution_timeout", None),
    ],
)
def test_a_field_of_a_task_is_told_with_its_task(name: str, value: Any) -> None:  # noqa: ANN401 (one of each type)
    found = only_change(SALES, with_tasks(replace(EXTRACT, **{name: value}), REPORT))
    (task,) = found.tasks_changed
    (change,) = task.fields
    assert (task.after.id, change.name, change.before, change.after) == ("extract", name, getattr(EXTRACT, name), value)
    assert (found.fields, found.edges_added, found.edges_removed) == ((), (), ())


def test_tasks_and_edges_are_added_and_removed() -> None:
    found = only_change(SALES, with_tasks(EXTRACT, LOAD))
    assert (found.tasks_added, found.tasks_removed) == ((LOAD,), (REPORT,))
    assert (found.edges_added, found.edges_removed) == ((("extract", "load"),), (("extract", "report"),))


def test_an_edge_between_tasks_that_stay_is_a_change() -> None:
    found = only_change(SALES, with_tasks(EXTRACT, replace(REPORT, upstream=())))
    assert (found.tasks_added, found.tasks_removed, found.tasks_changed) == ((), (), ())
    assert (found.edges_added, found.edges_removed) == ((), (("extract", "report"),))


def test_an_id_that_appears_twice_is_told_apart_by_its_file() -> None:
    copy = replace(SALES, file="dags/copy.py", schedule="@weekly")
    assert compare_dags([SALES, copy], [copy, SALES]) == DagChanges()
    assert compare_dags([SALES], [SALES, copy]) == DagChanges(added=(copy,))
    assert compare_dags([SALES, copy], [copy]) == DagChanges(removed=(SALES,))


def test_json_form_names_what_changed() -> None:
    after = replace(SALES, schedule="@hourly", tasks=(EXTRACT, LOAD, replace(REPORT, operator="EmailOperator")))
    dags = between([SALES, replace(SALES, id="old")], [after, replace(SALES, id="new")]).to_dict()["dags"]
    assert [dag["id"] for dag in dags["added"]] == ["new"]
    assert [dag["id"] for dag in dags["removed"]] == ["old"]
    assert dags["changed"] == [
        {
            "id": "sales_daily",
            "file": "dags/sales.py",
            "fields": {"schedule": {"before": "@daily", "after": "@hourly"}},
            "tasks": {
                "added": ["load"],
                "removed": [],
                "changed": [
                    {"id": "report", "fields": {"operator": {"before": "BashOperator", "after": "EmailOperator"}}}
                ],
            },
            "edges": {"added": [["extract", "load"]], "removed": []},
        }
    ]


@pytest.mark.parametrize(
    ("report", "why"),
    [
        (None, "it has no report that can be read"),
        ({"lint": None, "dags": None}, "it was published without lint"),
        ({}, "it was published without lint"),
        ({"lint": {"findings": []}, "dags": None}, "no Airflow took part in its lint"),
        ({"lint": {}, "dags": [{"id": 7}]}, "its inventory cannot be read: report.dags[0].id: expected a string"),
        ({"lint": {}, "dags": "many"}, "its inventory cannot be read: report.dags: expected a list"),
    ],
)
def test_a_version_without_an_inventory_says_why(report: dict[str, Any] | None, why: str) -> None:
    dags, said = inventory_of(report)
    assert dags is None
    assert said.startswith(why)


def test_an_inventory_of_no_dags_is_one() -> None:
    assert inventory_of({"dags": []}) == ((), "")


def test_an_inventory_is_read_as_it_was_written() -> None:
    assert inventory_of({"dags": [SALES.to_dict() | {"tasks": [], "owners": [], "tags": []}]}) == (
        (replace(SALES, tasks=(), owners=()),),
        "",
    )
