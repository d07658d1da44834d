"""The report for people: nothing hidden, nothing obeyed, and the caret is where the fault is."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagferry_builder.lint import text
from dagferry_builder.lint.finding import Finding, Severity
from dagferry_builder.lint.rules import RULES
from dagferry_builder.lint.shown import MOST_CELLS, disarmed, excerpt
from tests.lint.results import AIRFLOW, BLIND, CHECKED, HOSTILE, a_result, an_error, results
from tests.lint.results import text as hostile_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dagferry_builder.lint.result import Checked, Result

WARNING = Finding("dags/b.py", 0, 0, "slow-import", "7.2 s", RULES["slow-import"].hint, Severity.WARNING)


def rendered(
    *findings: Finding,
    lines: Mapping[tuple[str, int], str] | None = None,
    checked: Checked = CHECKED,
    colour: bool = False,
) -> str:
    return text.render(a_result(*findings, lines=lines, checked=checked), RULES, colour=colour)


def cells(shown: str) -> int:
    marks = sum(unicodedata.category(one) in {"Mn", "Me"} for one in shown)
    return len(shown) - marks + sum(unicodedata.east_asian_width(one) in {"W", "F"} for one in shown)


def test_a_finding_has_its_place_its_line_and_a_caret_under_the_fault() -> None:
    lines = {("dags/a.py", 3): "    return query(tabel)"}
    shown = rendered(replace(an_error(column=18, hint="define it"), end_column=23), lines=lines)
    assert shown.splitlines()[:5] == [
        "dags/a.py",
        "  3:18 error: Undefined name `tabel` [F821]",
        "    |     return query(tabel)",
        "    |                  ^^^^^",
        "    = hint: define it",
    ]


def test_the_end_says_what_was_found_where_and_by_whom() -> None:
    report = text.render(a_result(an_error(), WARNING, suppressed=3, baselined=2), RULES, colour=False)
    end = report.split("\n\n")[-1]
    assert end.splitlines() == [
        "refused: 1 error, 1 warning, 0 notes in 2 files",
        "bundle shop at commit 0123456789abcdef0123456789abcdef01234567",
        "41 files checked, 12 DAG files with 30 DAGs imported (10 from the cache)",
        "by Airflow 3.3.2 on Python 3.12.1: /opt/airflow/bin/python",
        "not shown: 3 suppressed by comments, 2 known from the baseline",
        "what a rule is about: dagferry lint --explain RULE",
        "8.21 s",
    ]


def test_a_run_without_findings_passes_and_says_so() -> None:
    assert rendered().splitlines()[0] == "passed: 0 errors, 0 warnings, 0 notes"
    assert rendered(WARNING).splitlines()[-6].startswith("passed: 0 errors, 1 warning")


def test_that_no_airflow_checked_the_dags_is_the_first_thing_to_read() -> None:
    top = rendered(an_error(), checked=BLIND).split("\n\n")[0]
    assert "NOT checked" in top
    assert "`lint.python`" in top
    assert "NOT checked" not in rendered(an_error(), checked=CHECKED)


def test_findings_of_the_bundle_come_first_and_those_of_a_file_together() -> None:
    shown = rendered(an_error("b.py"), an_error("a.py"), an_error("b.py", 1), WARNING, Finding("", 0, 0, "x", "m"))
    titles = shown.split("\n\n")
    assert [title.splitlines()[0] for title in titles[:4]] == [
        "the bundle shop as a whole", "a.py", "b.py", "dags/b.py",
    ]  # fmt: skip


def test_a_hint_is_given_once_for_a_rule_and_file() -> None:
    told = [an_error(path, line, hint="define it") for path in ("a.py", "b.py") for line in (1, 2, 3)]
    assert rendered(*told).count("hint: define it") == 2
    assert rendered(replace(WARNING, hint="")).count("hint: import heavy packages") == 1


def test_a_long_hint_fits_80_columns() -> None:
    hint = "a hint that goes on " * 12
    lines = [line for line in rendered(an_error(hint=hint)).splitlines() if "goes on" in line]
    assert len(lines) > 2
    assert all(len(line) <= 80 for line in lines)
    assert " ".join("".join(lines).replace("= hint:", "").replace("|", "").split()) == hint.strip().replace("  ", " ")


def test_every_finding_is_there_and_what_is_shortened_is_said() -> None:
    told = [an_error(line=line) for line in range(1, 51)]
    lines = {("dags/a.py", line): f"tabel  # source {line}" for line in range(1, 51)}
    shown = rendered(*told, lines=lines)
    assert [int(number) for number in re.findall(r"^  (\d+):5 error", shown, re.MULTILINE)] == list(range(1, 51))
    assert len(re.findall("# source", shown)) == 20
    assert "F821: 50 findings, from number 21 on shown without the source line" in shown
    assert "without the source line" not in rendered(*told[:20], lines=lines)


def test_the_line_of_a_secret_is_not_shown() -> None:
    shown = rendered(an_error(rule="secret-in-file"), lines={("dags/a.py", 3): "KEY = 'hunter2'"})
    assert "hunter2" not in shown
    assert "secret-in-file" in shown


def test_a_message_of_several_lines_keeps_them() -> None:
    shown = rendered(an_error(message="Traceback:\n\tfile\nValueError"))
    assert shown.splitlines()[1:4] == ["  3:5 error: Traceback: [F821]", "    |     file", "    | ValueError"]


def test_colour_changes_nothing_but_colour() -> None:
    told = (an_error(), WARNING)
    coloured = rendered(*told, colour=True, checked=BLIND)
    assert "\x1b[" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == rendered(*told, checked=BLIND)


@pytest.mark.parametrize(
    ("line", "column", "shown", "caret"),
    [
        ("abc", 1, "abc", "^"),
        ("abc", 3, "abc", "  ^"),
        ("abc", 4, "abc", "   ^"),
        ("abc", 99, "abc", "   ^"),
        ("abc", 0, "abc", ""),
        ("\tx = 1", 2, "    x = 1", "    ^"),
        ("日本 = x", 6, "日本 = x", "       ^"),
        ("e\u0301 = x", 6, "e\u0301 = x", "    ^"),
        ("\x1b x", 3, "\\x1b x", "     ^"),
        ("", 1, "", "^"),
        ("🙂x", 2, "🙂x", "  ^"),
    ],
)
def test_the_caret_is_under_the_fault(line: str, column: int, shown: str, caret: str) -> None:
    assert excerpt(line, column) == (shown, caret)


@pytest.mark.parametrize("column", [1, 30, 150, 299, 300, 301])
def test_a_long_line_is_cut_around_the_caret(column: int) -> None:
    line = "".join(chr(ord("a") + number % 26) for number in range(300))
    shown, caret = excerpt(line, column, column + 500)
    assert len(shown) <= MOST_CELLS
    assert len(caret) <= MOST_CELLS + 1
    place = caret.index("^")
    assert shown[place : place + 1] == line[column - 1 : column]
    assert (shown[:1] == "…") == (not line.startswith(shown[:1]))
    if column < 300:
        assert shown.endswith("…") or line.endswith(shown[1:])


@given(hostile_text, st.integers(0, 60), st.integers(0, 60))
def test_the_caret_is_where_the_text_before_it_ends(line: str, column: int, end: int) -> None:
    line = line.replace("\r", "").replace("\n", "")
    shown, caret = excerpt(line, column, end)
    if cells(excerpt(line, 0)[0]) < MOST_CELLS and 0 < column <= len(line):
        before = excerpt(line[: column - 1] + "x", 0)[0]
        combining = unicodedata.category(line[column - 1]) in {"Mn", "Me"}
        assert caret.index("^") == cells(before) - 1 - combining * (column > 1)
    assert cells(shown) <= MOST_CELLS + 1
    assert shown.isprintable()


@given(results())
def test_nothing_from_the_repository_steers_a_terminal_or_a_ci_system(result: Result) -> None:
    shown = text.render(result, RULES, colour=False)
    for line in shown.split("\n"):
        assert line.isprintable()
        assert not line.strip().startswith("::")
        assert not re.search(r"##\w*\[", line)
    shown.encode()


@pytest.mark.parametrize("path", [*HOSTILE[:4], "  ::error::x", "x ##[group]y ##[endgroup]"])
def test_a_command_in_a_path_is_broken(path: str) -> None:
    shown = rendered(an_error(path)).splitlines()[0]
    assert "\\" in shown
    assert not shown.strip().startswith("::")
    assert "##[" not in shown
    assert disarmed("# comment [x] ::not at the beginning::") == "# comment [x] ::not at the beginning::"


def test_the_environment_is_shown_as_it_is() -> None:
    assert AIRFLOW.command in rendered()
