"""The baseline knows the findings it was written from, wherever their lines went, and no other."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagferry_builder.lint.baseline import (
    OWN,
    Baseline,
    fingerprint,
    fingerprints,
    may_be_known,
    read,
    stale,
    take_out,
    within,
    write,
)
from dagferry_builder.lint.finding import Finding, Severity
from dagferry_builder.lint.rules import RULES
from dagferry_schemas.errors import Malformed
from tests.lint.results import an_error, findings, text

SOURCE = "    return query(tabel)"
LINES = {("dags/a.py", 3): SOURCE}


def known(*told: Finding, lines: dict[tuple[str, int], str] | None = None) -> Baseline:
    """The baseline that was written from these findings, read back."""
    return read(write(told, lines or LINES), "baseline.json")


def test_what_it_was_written_from_is_known() -> None:
    told = [an_error(), an_error("dags/b.py", rule="slow-import", severity=Severity.WARNING)]
    assert take_out(told, LINES, known(*told)) == ([], 2, ())


def test_a_line_that_moved_or_was_indented_is_still_known() -> None:
    moved = {("dags/a.py", 90): "\t" + SOURCE.strip()}
    kept, count, gone = take_out([an_error(line=90, column=2)], moved, known(an_error()))
    assert (kept, count, gone) == ([], 1, ())


@pytest.mark.parametrize(
    ("finding", "line"),
    [
        (an_error(), "return query(tabel, 1)"),
        (an_error(path="dags/b.py"), SOURCE),
        (an_error(rule="F401"), SOURCE),
    ],
)
def test_another_line_file_or_rule_is_new(finding: Finding, line: str) -> None:
    kept, count, gone = take_out([finding], {(finding.path, finding.line): line}, known(an_error()))
    assert (kept, count, len(gone)) == ([finding], 0, 1)


def test_one_more_fault_on_an_equal_line_is_new() -> None:
    lines = {("dags/a.py", line): SOURCE for line in (3, 9, 12)}
    told = [an_error(line=3), an_error(line=9), an_error(line=12)]
    kept, count, gone = take_out(told, lines, known(*told[:2], lines=lines))
    assert (kept, count, gone) == ([told[2]], 2, ())


def test_one_of_equal_faults_that_was_mended_is_stale() -> None:
    lines = {("dags/a.py", line): SOURCE for line in (3, 9)}
    told = [an_error(line=3), an_error(line=9)]
    kept, count, gone = take_out(told[1:], lines, known(*told, lines=lines))
    assert (kept, count, len(gone)) == ([], 1, 1)


def test_without_a_source_line_the_message_counts_and_its_digits_do_not() -> None:
    slow = an_error(line=0, rule="slow-import", message="the import took 7.2 s of 5")
    assert take_out([replace(slow, message="the import took 61.93 s of 5")], {}, known(slow)) == ([], 1, ())
    assert take_out([replace(slow, message="the import crashed")], {}, known(slow))[1] == 0


def test_the_order_of_findings_does_not_matter() -> None:
    told = [an_error(line=line) for line in (3, 9, 12)]
    lines = {("dags/a.py", line): SOURCE for line in (3, 9, 12)}
    assert fingerprints(told[::-1], lines) == fingerprints(told, lines)[::-1]
    assert len(set(fingerprints(told, lines))) == 3


def test_an_entry_hides_only_what_it_names() -> None:
    raw = write([an_error()], LINES).replace(b'"rule": "F821"', b'"rule": "slow-import"')
    kept, count, gone = take_out([an_error()], LINES, read(raw, "baseline.json"))
    assert (kept, count, len(gone)) == ([an_error()], 0, 1)


@pytest.mark.parametrize("rule", ["secret", "secret-key", *sorted(OWN)])
def test_secrets_and_faults_of_suppressions_are_never_known(rule: str) -> None:
    told = an_error(rule=rule)
    assert read(write([told], LINES), "b").entries == frozenset()
    raw = json.dumps({
        "format": 1,
        "findings": [{"path": told.path, "rule": rule, "fingerprint": fingerprints([told], LINES)[0], "message": ""}],
    })  # fmt: skip
    assert take_out([told], LINES, read(raw.encode(), "b"))[:2] == ([told], 0)


def test_the_line_of_a_secret_is_in_no_hash() -> None:
    told = an_error(rule="secret-key")
    assert fingerprint(told, "KEY = 'hunter2'") == fingerprint(told, "KEY = 'hunter3'")


def test_notes_are_not_written() -> None:
    assert read(write([an_error(severity=Severity.NOTE)], LINES), "b").entries == frozenset()


def test_the_file_is_sorted_with_an_entry_on_each_line() -> None:
    raw = write([an_error("b.py"), an_error("a.py", rule="F401"), an_error("a.py")], {})
    first, *entries, last, end = raw.decode().split("\n")
    assert (first, last, end) == ('{"format": 1, "findings": [', "]}", "")
    told = [json.loads(entry.removesuffix(",")) for entry in entries]
    assert [(one["path"], one["rule"]) for one in told] == [("a.py", "F401"), ("a.py", "F821"), ("b.py", "F821")]
    assert told[0]["message"] == "Undefined name `tabel`"
    assert json.loads(raw)["format"] == 1


def test_an_empty_baseline_can_be_read() -> None:
    assert read(write([], {}), "b") == Baseline()


def test_one_more_finding_adds_lines_and_changes_none_but_a_comma() -> None:
    before = write([an_error("a.py"), an_error("c.py")], {}).splitlines()
    after = write([an_error("a.py"), an_error("b.py"), an_error("c.py")], {}).splitlines()
    assert set(before) < set(after)
    assert len(after) == len(before) + 1


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "baseline.json: not JSON"),
        (b"<<<<<<< HEAD", "line 1, column 1"),
        (b"[]", "expected an object"),
        (b'{"format": 2, "findings": []}', "baseline.json.format: 2 is not known"),
        (b'{"format": 1}', "baseline.json.findings: missing"),
        (b'{"format": 1, "findings": [], "more": 1}', "baseline.json.more: unknown field"),
        (
            b'{"format": 1, "findings": [{"path": "a", "rule": "b", "message": "", "fingerprint": "xyz"}]}',
            "baseline.json.findings[0].fingerprint",
        ),
        (b'{"format": 1, "findings": [{"path": 1}]}', "baseline.json.findings[0].path"),
    ],
)
def test_a_bad_file_is_refused_with_the_place_and_the_next_step(raw: bytes, said: str) -> None:
    with pytest.raises(Malformed) as refused:
        read(raw, "baseline.json")
    assert said in refused.value.message
    assert "write the baseline anew" in refused.value.hint


def test_stale_entries_are_one_note() -> None:
    gone = take_out([], {}, known(an_error(), an_error("dags/b.py")))[2]
    (note,) = stale(gone, "baseline.json", RULES)
    assert (note.rule, note.severity, note.path) == ("stale-baseline", Severity.NOTE, "baseline.json")
    assert note.message == "2 entries hide nothing any more, the first is F821 in dags/a.py"
    assert stale(gone[1:], "b", RULES)[0].message == "an entry hides nothing any more: F821 in dags/b.py"
    assert stale((), "baseline.json", RULES) == []


def test_entries_of_rules_that_were_not_asked_are_not_called_stale() -> None:
    gone = take_out([], {}, known(an_error(), an_error(rule="slow-import")))[2]
    assert "an entry" in stale(gone, "b", RULES, absent={"airflow"})[0].message
    assert stale(gone, "b", RULES, absent={"airflow", "python"}) == []


@given(st.lists(findings, max_size=8), text)
def test_whatever_is_found_can_be_written_read_and_known(told: list[Finding], line: str) -> None:
    lines = {(one.path, one.line): line for one in told}
    baseline = read(write(told, lines), "baseline.json")
    kept, count, gone = take_out(told, lines, baseline)
    assert gone == ()
    assert all(one.severity is Severity.NOTE or not may_be_known(one) for one in kept)
    assert count + len(kept) == len(told)
    assert count == len(baseline.entries)


@pytest.mark.parametrize("rule", ["no-airflow", "cannot-pack", "dags-vanished", "dag-owned-elsewhere"])
def test_what_speaks_of_one_run_is_never_known(rule: str) -> None:
    once = an_error(path="", line=0, rule=rule)
    assert take_out([once], {}, known(once)) == ([once], 0, ())


def test_bundles_share_a_baseline() -> None:
    mine, theirs, whole = an_error("a/dags/x.py"), an_error("a/dags2/x.py"), an_error("", rule="large-bundle")
    entries = known(mine, theirs, whole).entries
    ours, others = within(entries, ["a/dags"])
    assert [{one.path for one in part} for part in (ours, others)] == [{"a/dags/x.py", ""}, {"a/dags2/x.py"}]
    assert within(entries, [""]) == (entries, frozenset())
    assert {one.path for one in read(write([mine], LINES, others), "b").entries} == {"a/dags/x.py", "a/dags2/x.py"}
