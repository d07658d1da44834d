"""docs/lint.md says of policies, and of the comparison with what is live, what the rules are."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dagferry_builder.lint import live, policy
from dagferry_builder.lint.finding import Severity
from dagferry_builder.lint.rules import RULES
from dagferry_builder.lint.settings import POLICY_KEYS, read_settings

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from dagferry_builder.lint.finding import Rule

PAGE = Path(__file__).parents[2] / "docs/lint.md"


def section(heading: str) -> str:
    return re.split(r"^## ", PAGE.read_text(encoding="utf-8").split(f"\n## {heading}\n")[1], flags=re.MULTILINE)[0]


@pytest.mark.parametrize(
    ("heading", "rules"), [("Policy", policy.RULES), ("Against what is live", live.RULES)], ids=["policy", "live"]
)
def test_the_table_has_each_rule_with_its_severity(heading: str, rules: tuple[Rule, ...]) -> None:
    rows = re.findall(r"^\| (`[^|]*`) \| (\w+)", section(heading), flags=re.MULTILINE)
    shown = {name: severity for names, severity in rows for name in re.findall(r"`([^`]+)`", names)}
    assert shown == {rule.id: rule.severity.value for rule in rules}


def test_the_example_is_accepted_and_all_parameters_are_spoken_of() -> None:
    text = section("Policy")
    (example,) = re.findall(r"```toml\n(.*?)```", text, flags=re.DOTALL)
    settings = read_settings(tomllib.loads(example)["lint"], "docs/lint.md", frozenset(RULES), locked=False)
    assert settings.policy.teams["data"].owners == ("data", "data-oncall")
    assert settings.policy_for("dags/experiments/a.py").min_retries == 0
    assert settings.severity_of(RULES["unknown-owner"]) is Severity.ERROR
    assert not {key for key in POLICY_KEYS if key not in text}
