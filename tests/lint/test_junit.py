"""JUnit XML: read by a library of others, well-formed whatever a repository says, and with rows that CI can show."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import junitparser
import pytest
from hypothesis import given

from dagferry_builder.lint import junit
from dagferry_builder.lint.finding import Finding, Severity
from dagferry_builder.lint.rules import RULES
from tests.lint.results import BLIND, HOSTILE, a_result, an_error, results

if TYPE_CHECKING:
    from dagferry_builder.lint.result import Result

WARNING = Finding("dags/a.py", 0, 0, "slow-import", "7.2 s", RULES["slow-import"].hint, Severity.WARNING)


def suite_of(result: Result) -> junitparser.TestSuite:
    """The only suite, as junitparser reads it."""
    whole = junitparser.JUnitXml.fromstring(junit.render(result, RULES).encode())
    (suite,) = whole
    assert (whole.tests, whole.failures, whole.errors) == (suite.tests, suite.failures, suite.errors)
    return suite


def rows(result: Result) -> dict[tuple[str, str], junitparser.TestCase]:
    return {(row.classname, row.name): row for row in suite_of(result)}


def test_a_run_that_passed_has_passing_rows() -> None:
    suite = suite_of(a_result())
    assert (suite.name, suite.tests, suite.failures, suite.skipped) == ("shop", 2, 0, 0)
    made = rows(a_result())
    assert all(row.is_passed for row in made.values())
    assert "12 DAG files with 30 DAGs" in made["shop", junit.FILES].system_out


def test_a_run_without_an_airflow_is_a_skipped_row_and_a_passing_one() -> None:
    made = rows(a_result(checked=BLIND))
    assert made["shop", junit.FILES].is_passed
    assert made["shop", junit.AIRFLOW].is_skipped
    (skipped,) = made["shop", junit.AIRFLOW].result
    assert "no Airflow took part" in skipped.message
    assert skipped.text == skipped.message


def test_errors_of_a_rule_in_a_file_are_one_failure_that_has_them_all() -> None:
    made = rows(a_result(an_error(line=3), an_error(line=9), an_error("dags/b.py")))
    assert len(made) == 4
    (failure,) = made["dags/a.py", "F821"].result
    assert isinstance(failure, junitparser.Failure)
    assert failure.message == "a name that is not defined: Undefined name `tabel` (and 1 more)"
    assert failure.type == "F821"
    assert failure.text.splitlines() == [
        "dags/a.py:3:5: error: Undefined name `tabel`",
        "dags/a.py:9:5: error: Undefined name `tabel`",
    ]


def test_warnings_and_notes_pass_and_are_in_the_output() -> None:
    row = rows(a_result(WARNING))["dags/a.py", "slow-import"]
    assert row.is_passed
    assert row.system_out.startswith("dags/a.py: warning: 7.2 s\n  hint: import heavy packages")


def test_a_row_names_its_file() -> None:
    whole = ET.fromstring(junit.render(a_result(an_error(), an_error("dags/b.py")), RULES))
    assert [case.get("file") for case in whole.iter("testcase")] == [None, None, "dags/a.py", "dags/b.py"]


def test_what_concerns_the_bundle_is_a_row_of_the_bundle() -> None:
    made = rows(a_result(Finding("", 0, 0, "bundle-size", "too large")))
    assert not made["shop", "bundle-size"].is_passed


@pytest.mark.parametrize("message", HOSTILE)
def test_a_hostile_message_arrives_whole_or_escaped(message: str) -> None:
    failure = rows(a_result(an_error(message=f"<{message}>")))["dags/a.py", "F821"].result[0]
    if message.isprintable():
        assert f"error: <{message}>" in failure.text
    assert failure.text.startswith("dags/a.py:3:5: error: <")
    assert re.search(r">\s*$", failure.text)


@given(results())
def test_every_report_is_well_formed_and_has_no_row_twice(result: Result) -> None:
    made = junit.render(result, RULES)
    whole = ET.fromstring(made.encode())
    names = [(case.get("classname"), case.get("name")) for case in whole.iter("testcase")]
    assert len(names) == len(set(names))
    assert whole.get("tests") == str(len(names))
    failed = {
        (case.get("classname"), case.get("name")) for case in whole.iter("testcase") if case.find("failure") is not None
    }
    assert bool(failed) == (not result.passed)
    assert all(line.isprintable() for line in made.split("\n"))
