"""Workflow commands: every finding arrives, nothing that a repository says becomes a command of its own."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given

from dagferry_builder.lint import github
from dagferry_builder.lint.finding import Finding, Severity
from dagferry_builder.lint.rules import RULES
from tests.lint.results import BLIND, CHECKED, HOSTILE, a_result, an_error, results

if TYPE_CHECKING:
    from dagferry_builder.lint.result import Checked, Result

COMMAND = re.compile(r"::(?P<name>error|warning|notice) (?P<properties>.*?)::(?P<message>.*)")


class Command:
    """A workflow command as the runner reads it: split at the first ``::``, properties at commas, then unescaped."""

    def __init__(self, line: str) -> None:
        match = COMMAND.fullmatch(line)
        assert match, line
        self.name = match["name"]
        pairs = (pair.split("=", 1) for pair in match["properties"].split(",") if pair)
        self.properties = {key: unescaped(value) for key, value in pairs}
        self.message = unescaped(match["message"])


def unescaped(text: str) -> str:
    for escape, character in (("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%")):
        text = text.replace(escape, character)
    return text


def commands(*findings: Finding, checked: Checked = CHECKED, suppressed: int = 0) -> list[Command]:
    result = a_result(*findings, checked=checked, suppressed=suppressed)
    return [Command(line) for line in github.render(result, RULES).splitlines() if line.startswith("::")]


def some(number: int, severity: Severity) -> list[Finding]:
    return [an_error(line=line, severity=severity) for line in range(1, number + 1)]


def test_a_finding_is_an_annotation_of_its_line() -> None:
    told = replace(an_error("dags/a.py", 3, 5), end_line=3, end_column=10, hint="define it")
    first = commands(told)[0]
    assert first.name == "error"
    assert first.properties == {
        "title": "F821: a name that is not defined", "file": "dags/a.py",
        "line": "3", "endLine": "3", "col": "5", "endColumn": "10",
    }  # fmt: skip
    assert first.message == "dags/a.py:3:5: Undefined name `tabel`\nhint: define it"


def test_a_title_says_what_the_rule_is_about() -> None:
    assert commands(an_error(rule="dag-cycle"))[0].properties["title"] == f"dag-cycle: {RULES['dag-cycle'].title}"


def test_a_fault_over_several_lines_has_no_columns() -> None:
    first = commands(replace(an_error(line=3), end_line=5, end_column=2))[0]
    assert set(first.properties) == {"title", "file", "line", "endLine"}


def test_what_is_not_known_is_left_out() -> None:
    first = commands(Finding("", 0, 0, "no-airflow", "none", severity=Severity.WARNING))[0]
    assert (first.name, set(first.properties), first.message) == ("warning", {"title"}, "none")


def test_errors_come_first_and_the_summary_last() -> None:
    told = [*some(2, Severity.NOTE), *some(2, Severity.WARNING), *some(2, Severity.ERROR)]
    made = commands(*told, suppressed=1)
    assert [one.name for one in made] == ["error"] * 2 + ["warning"] * 2 + ["notice"] * 3
    assert made[-1].message.splitlines() == [
        "refused: 2 errors, 2 warnings, 2 notes",
        "41 files checked, 12 DAG files with 30 DAGs imported (10 from the cache)",
        "by Airflow 3.3.2 on Python 3.12.1: /opt/airflow/bin/python",
        "1 suppressed by comments, 0 known from the baseline",
    ]
    assert commands()[0].message.startswith("passed: 0 errors")


def test_the_summary_says_that_no_airflow_took_part() -> None:
    assert "no Airflow took part" in commands(checked=BLIND)[-1].message


@pytest.mark.parametrize(("number", "said"), [(10, "10 errors,"), (13, "13 errors (3 more than GitHub shows;")])
def test_the_summary_says_what_github_does_not_show(number: int, said: str) -> None:
    made = commands(*some(number, Severity.ERROR))
    assert said in made[-1].message
    assert len(made) == number + 1


def test_notes_leave_room_for_the_summary_and_all_are_in_the_log() -> None:
    lines = github.render(a_result(*some(12, Severity.NOTE)), RULES).splitlines()
    assert sum(line.startswith("::notice") for line in lines) == 10
    assert sum(line.startswith("note: dags/a.py:") for line in lines) == 3
    assert "12 notes (3 more than GitHub shows; the log has all)" in Command(lines[-1]).message


@pytest.mark.parametrize("path", HOSTILE)
def test_a_path_arrives_or_is_shown_escaped(path: str) -> None:
    made = commands(an_error(path))
    assert len(made) == 2
    assert made[0].properties["file"] == path or not path.isprintable()
    assert made[0].properties["line"] == "3"


@given(results())
def test_there_is_one_command_for_a_finding_and_none_besides(result: Result) -> None:
    lines = github.render(result, RULES).split("\n")
    made = [Command(line) for line in lines]
    assert [one.name for one in made].count("error") == result.count(Severity.ERROR)
    assert len(made) == len(result.findings) + 1
    for line in lines:
        line.encode()
        assert line.isprintable()


@given(results())
def test_notes_beyond_the_limit_are_no_commands(result: Result) -> None:
    told = [replace(one, severity=Severity.NOTE) for one in result.findings] * 3
    lines = github.render(a_result(*told), RULES).split("\n")
    assert sum(line.strip().startswith("::") for line in lines) == min(len(told), 9) + 1
    assert not any(re.search(r"##\w*\[", line) for line in lines if not line.startswith("::"))
