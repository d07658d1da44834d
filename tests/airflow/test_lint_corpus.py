"""Lint on the seeded corpus, with real Airflows: each fault is found, and its clean twin is left in peace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.airflow.corpus import CASES, all_findings

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.airflow
Findings = dict[str, list[tuple[str, int, str]]]


@pytest.fixture(scope="module")
def faults(lint_python: tuple[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Findings:
    return all_findings("faults", lint_python[0], tmp_path_factory.mktemp("faults"), lint_python[1])


@pytest.fixture(scope="module")
def clean(lint_python: tuple[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Findings:
    return all_findings("clean", lint_python[0], tmp_path_factory.mktemp("clean"), lint_python[1])


def cases(airflow: str) -> list[dict[str, Any]]:
    return [case for case in CASES if airflow in case["airflow"]]


def is_at(expected: int | None, line: int, message: str) -> bool:
    """Whether the finding names the line: as its own, or as that of a helper or template which the DAG file uses."""
    return expected is None or expected == line or message.endswith(f"line {expected})")


def test_every_fault_is_found_by_its_rule(lint_python: tuple[str, Path], faults: Findings) -> None:
    missed = {}
    for case in cases(lint_python[0]):
        found = faults[case["name"]]
        places = [(line, message) for rule, line, message in found if rule == case["rule"]]
        if not any(is_at(case["line"], *place) for place in places):
            missed[case["name"]] = (case["rule"], case["line"], found)
    assert missed == {}


def test_nothing_else_is_said_of_a_fault(lint_python: tuple[str, Path], faults: Findings) -> None:
    more = {}
    for case in cases(lint_python[0]):
        expected = {case["rule"], *case["also"]}
        if others := [one for one in faults[case["name"]] if one[0] not in expected]:
            more[case["name"]] = others
    assert more == {}


def test_clean_twins_raise_no_alarm(clean: Findings) -> None:
    assert {name: found for name, found in clean.items() if found} == {}
