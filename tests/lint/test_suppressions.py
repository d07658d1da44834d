"""Comments suppress what they name, where they stand, if they say why; and nothing else does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagferry_builder.lint import suppressions
from dagferry_builder.lint.baseline import OWN
from dagferry_builder.lint.finding import Finding, Severity
from dagferry_builder.lint.rules import RULES
from dagferry_builder.lint.settings import Settings
from tests.lint.results import an_error

if TYPE_CHECKING:
    from collections.abc import Collection

PATH = "dags/a.py"


def applied(
    source: str | bytes,
    *findings: Finding,
    path: str = PATH,
    settings: Settings | None = None,
    absent: Collection[str] = (),
) -> tuple[list[tuple[str, int]], int]:
    """Rule and line of each finding that is left or new, and how many were suppressed."""
    raw = source.encode() if isinstance(source, str) else source
    kept, suppressed = suppressions.apply(findings, {path: raw}, RULES, settings or Settings(), absent=absent)
    return [(one.rule, one.line) for one in kept], suppressed


def at(line: int, rule: str = "F821") -> Finding:
    return an_error(PATH, line, rule=rule)


def test_a_comment_suppresses_the_rules_it_names_on_its_line() -> None:
    source = "x = y  # dagferry: ignore[F821, slow-import] the name comes from a plugin\nx = y\n"
    left, suppressed = applied(source, at(1), at(1, "slow-import"), at(1, "dag-cycle"), at(2))
    assert left == [("dag-cycle", 1), ("F821", 2)]
    assert suppressed == 2


def test_findings_of_other_files_are_left_alone() -> None:
    source = "x = y  # dagferry: ignore[F821] why\n"
    left, suppressed = applied(source, an_error("dags/b.py", 1))
    assert left == [("F821", 1), ("unused-suppression", 1)]
    assert suppressed == 0


CALL = "x = f(\n    a,\n    b,\n)\nx = y\n"
COMMENT = "  # dagferry: ignore[F821] because"


@pytest.mark.parametrize(
    ("commented", "hidden"),
    [(1, {1, 2, 3, 4}), (2, {2}), (3, {3}), (4, {1, 2, 3, 4}), (5, {5})],
)
def test_on_the_first_or_last_line_a_comment_is_for_the_statement(commented: int, hidden: set[int]) -> None:
    lines = CALL.splitlines()
    lines[commented - 1] += COMMENT
    left, suppressed = applied("\n".join(lines), *map(at, range(1, 6)))
    assert {line for _, line in left} == {1, 2, 3, 4, 5} - hidden
    assert suppressed == len(hidden)


def test_after_a_string_of_several_lines_a_comment_is_for_all_of_it() -> None:
    assert applied(f'sql = """\nselect\n"""{COMMENT}\n', at(1), at(2), at(3)) == ([], 3)


def test_the_header_of_a_compound_statement_does_not_include_its_body() -> None:
    left, suppressed = applied(f"with DAG(\n    a,\n) as dag:{COMMENT}\n    x = y\n", at(1), at(2), at(4))
    assert (left, suppressed) == ([("F821", 4)], 2)


@pytest.mark.parametrize("between", ["", "\n\n", "# another comment\n"])
def test_on_a_line_of_its_own_a_comment_is_for_the_next_code(between: str) -> None:
    source = f"{COMMENT.strip()}\n{between}x = f(\n  y)\nx = y\n"
    first = source[: source.index("x =")].count("\n") + 1
    assert applied(source, at(first), at(first + 1), at(first + 2)) == ([("F821", first + 2)], 2)


def test_a_comment_below_all_code_is_unused() -> None:
    assert applied(f"x = y\n{COMMENT.strip()}\n", at(1)) == ([("F821", 1), ("unused-suppression", 2)], 0)


def test_a_comment_for_the_file_is_for_every_line_and_for_none() -> None:
    source = "x = 1\nif x:\n    # dagferry: ignore-file[F821] generated\n    y = 2\n"
    assert applied(source, at(0), at(1), at(99), at(1, "dag-cycle")) == ([("dag-cycle", 1)], 3)


def test_a_comment_for_the_file_stands_alone() -> None:
    source = "x = y  # dagferry: ignore-file[F821] generated\n"
    assert applied(source, at(1)) == ([("F821", 1), ("unused-suppression", 1)], 0)


def test_a_comment_beside_others_counts() -> None:
    source = "x = y  # noqa: F821  # dagferry: ignore[F821] a plugin's name # type: ignore\n"
    assert applied(source, at(1)) == ([], 1)


@pytest.mark.parametrize(
    "source",
    [
        'x = "# dagferry: ignore[F821] in a string"\n',
        'x = """\n# dagferry: ignore-file[F821] in a string\n"""\n',
        'x = f"# dagferry: ignore[F821] in a string"\n',
        "# dagferry: see docs/lint.md\n",
        "# dagferry: ignored[F821] by nobody\n",
        "# dagferry: ignore-files[F821] by nobody\n",
    ],
)
def test_what_is_no_comment_to_us_is_none(source: str) -> None:
    assert applied(source, at(1)) == ([("F821", 1)], 0)


@pytest.mark.parametrize(
    "source",
    [
        "x = (  # dagferry: ignore[F821] why\n",
        "# dagferry: ignore-file[F821] why\nx = '''\n",
        "# dagferry: ignore-file[F821] why\n  x\n y\n",
        b"# dagferry: ignore-file[F821] why\nx = '\xff'\n",
        b"# coding: klingon\n# dagferry: ignore-file[F821] why\n",
    ],
)
def test_a_file_that_cannot_be_tokenized_has_no_comments(source: str | bytes) -> None:
    assert applied(source, at(1)) == ([("F821", 1)], 0)


def test_a_file_of_another_encoding_is_read_in_it() -> None:
    source = "# coding: latin-1\nx = 'ü'  # dagferry: ignore[F821] schöne Gründe\n".encode("latin-1")
    assert applied(source, at(2)) == ([], 1)


def test_files_that_are_no_python_have_no_comments() -> None:
    assert applied(COMMENT, an_error("a.sql", 1), path="a.sql") == ([("F821", 1)], 0)


@pytest.mark.parametrize("reason", ["", " ", " 123", " # noqa: E501", " --"])
def test_without_a_reason_in_words_nothing_is_suppressed(reason: str) -> None:
    left, suppressed = applied(f"x = y  # dagferry: ignore[F821]{reason}\n", at(1))
    assert left == [("F821", 1), ("suppression-without-reason", 1)]
    assert suppressed == 0


def test_an_unknown_rule_is_told_with_the_nearest_one_and_the_others_count() -> None:
    source = b"x = y  # dagferry: ignore[slow-imports, F821] why\n"
    kept, suppressed = suppressions.apply([at(1)], {PATH: source}, RULES, Settings())
    assert [(one.rule, one.message) for one in kept] == [("unknown-rule", "there is no rule 'slow-imports'")]
    assert "did you mean slow-import?" in kept[0].hint
    assert (kept[0].severity, kept[0].column, suppressed) == (Severity.ERROR, 8, 1)


@pytest.mark.parametrize("comment", ["ignore", "ignore[]", "ignore[ , ]", "ignore because of this"])
def test_a_suppression_of_everything_is_refused(comment: str) -> None:
    left, suppressed = applied(f"x = y  # dagferry: {comment} why\n", at(1))
    assert left == [("F821", 1), ("unknown-rule", 1)]
    assert suppressed == 0


def test_what_suppresses_nothing_is_a_warning_for_each_rule() -> None:
    source = b"x = y  # dagferry: ignore[F821, slow-import] why\n"
    kept, suppressed = suppressions.apply([at(1)], {PATH: source}, RULES, Settings())
    assert [(one.rule, one.severity) for one in kept] == [("unused-suppression", Severity.WARNING)]
    assert "slow-import" in kept[0].message
    assert suppressed == 1


def test_what_was_not_looked_for_is_not_called_unused() -> None:
    source = "x = y  # dagferry: ignore[slow-import, F401] why\n"
    assert applied(source, absent={"airflow"}) == ([("unused-suppression", 1)], 0)
    assert applied(source, absent={"airflow", "python"}) == ([], 0)


@pytest.mark.parametrize("allowed", [False, ("slow-import",)])
def test_where_the_settings_do_not_let_it_nothing_is_suppressed(allowed: bool | tuple[str, ...]) -> None:
    source = "x = y  # dagferry: ignore[F821] why\n"
    left, suppressed = applied(source, at(1), settings=Settings(suppressions=allowed))
    assert left == [("F821", 1), ("suppression-not-allowed", 1)]
    assert suppressed == 0


def test_the_settings_may_let_single_rules_be_suppressed() -> None:
    source = "x = y  # dagferry: ignore[F821] why\n"
    assert applied(source, at(1), settings=Settings(suppressions=("F821",))) == ([], 1)


@pytest.mark.parametrize("rule", sorted(OWN))
def test_findings_about_suppressions_cannot_be_suppressed(rule: str) -> None:
    source = f"# dagferry: ignore-file[{rule}] why\nx = y  # dagferry: ignore[F821]\n"
    left, _ = applied(source, at(2), at(2, rule))
    assert sorted(left) == sorted(
        [("F821", 2), (rule, 2), ("suppression-not-allowed", 1), ("suppression-without-reason", 2)]
    )


def test_all_rules_of_these_modules_are_among_those_that_cannot_be_suppressed() -> None:
    assert {rule.id for rule in RULES.values() if rule.source == "lint"} >= OWN
    assert {rule.id for rule in suppressions.RULES} < OWN


def test_severities_of_the_settings_hold_for_these_findings_too() -> None:
    settings = Settings(severity={"unused-suppression": Severity.OFF, "unknown-rule": Severity.NOTE})
    source = b"x = y  # dagferry: ignore[F821, nonsense] why\n"
    kept, _ = suppressions.apply([], {PATH: source}, RULES, settings)
    assert [(one.rule, one.severity) for one in kept] == [("unknown-rule", Severity.NOTE)]


PIECES = [
    "x = y", "x = f(", "a,", ")", '"""', "'", "\n", "    ", "if x:", "# dagferry: ignore[F821] why", "\\",
    "# dagferry: ignore-file[F821] why", "# dagferry: ignore[", "]", "\x00", "\x0c", "\t", "ü", 'f"{', '}"',
]  # fmt: skip


@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
def test_no_source_makes_it_fail_and_nothing_gets_lost(source: str) -> None:
    told = [at(line) for line in range(6)]
    kept, suppressed = suppressions.apply(told, {PATH: source.encode()}, RULES, Settings())
    assert len([one for one in kept if one.rule == "F821"]) + suppressed == len(told)
    if "# dagferry: ignore" not in source:
        assert kept == told


@given(st.binary(max_size=60))
def test_no_bytes_make_it_fail(raw: bytes) -> None:
    assert suppressions.suppressions("a.py", raw + b" # dagferry:") == []
