"""Results of lint to render, and text that repositories might try on whoever reads a report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import strategies as st

from dagferry_builder.lint.finding import Finding, Severity
from dagferry_builder.lint.result import Checked, Environment, Result
from dagferry_builder.lint.rules import RULES

if TYPE_CHECKING:
    from collections.abc import Mapping

COMMIT = "0123456789abcdef0123456789abcdef01234567"
AIRFLOW = Environment("3.3.2", "3.12.1", "/opt/airflow/bin/python")
CHECKED = Checked(files=41, dag_files=12, dags=30, cached=10, environment=AIRFLOW)
BLIND = Checked(files=41)

HOSTILE = (
    "::error file=a.py::planted", "::stop-commands::token", "##[add-mask]x", "##vso[task.setvariable variable=x]y",
    "]]>", "<failure/>", "&amp;", "%0A::error::x", "a,b:c=d%", "\x1b[31mred", "\x00", "\x08", "\u202egnihtemos",
    "\ufffe", "\udcff", "\r\n::warning::x", "\u2028", "\x85", "{0} [link](x)", "tab\there", "日本語", "e\u0301", "🙂",
    "path with space", "ü/ö.py", "..", "?#", "\\", '"', "'",
)  # fmt: skip
text = st.lists(st.one_of(st.sampled_from(HOSTILE), st.text(max_size=8)), max_size=4).map("".join)
numbers = st.integers(0, 300)
findings = st.builds(
    Finding,
    path=text,
    line=numbers,
    column=numbers,
    rule=st.one_of(st.sampled_from([*RULES, "F821"]), text.filter(bool)),
    message=text,
    hint=text,
    severity=st.sampled_from([Severity.ERROR, Severity.WARNING, Severity.NOTE]),
    end_line=numbers,
    end_column=numbers,
)


def a_result(
    *findings: Finding,
    lines: Mapping[tuple[str, int], str] | None = None,
    checked: Checked = CHECKED,
    suppressed: int = 0,
    baselined: int = 0,
) -> Result:
    return Result(
        "shop", COMMIT, tuple(sorted(findings)), checked, 8.214, None, suppressed, baselined, lines=lines or {}
    )


@st.composite
def results(draw: st.DrawFn) -> Result:
    """A result whose findings and source lines are hostile."""
    drawn = draw(st.lists(findings, max_size=6))
    lines = {(one.path, one.line): draw(text) for one in drawn if one.line}
    return a_result(*drawn, lines=lines, checked=draw(st.sampled_from([CHECKED, BLIND])))


def an_error(
    path: str = "dags/a.py",
    line: int = 3,
    column: int = 5,
    *,
    rule: str = "F821",
    message: str = "Undefined name `tabel`",
    severity: Severity = Severity.ERROR,
    hint: str = "",
) -> Finding:
    """An undefined name, as ruff finds it."""
    return Finding(path, line, column, rule, message, hint, severity)
