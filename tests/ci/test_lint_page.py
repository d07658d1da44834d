"""docs/lint.md says of rules and keys what the program has: no more, no less."""

from __future__ import annotations

import re
import sys
from dataclasses import fields

import pytest

from dagferry_builder.cli_build import TEMPLATE
from dagferry_builder.lint.rules import RULES
from dagferry_builder.lint.settings import KEYS, POLICY_KEYS, Settings, read_settings
from tests.ci.test_docs import FENCE, TOP, spans, table, text_of

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PAGE = TOP / "docs/lint.md"


def test_all_rules_are_there_with_their_severities_in_the_order_of_explain() -> None:
    shown = [(row[0].strip("`"), row[1], row[2]) for row in table(PAGE, "## Rules")]
    assert shown == [(rule.id, rule.severity.value, rule.title) for rule in RULES.values()]


def test_keys_are_those_of_the_program_with_their_defaults() -> None:
    rows = table(PAGE, "## Configuration")
    cut = next(index for index, row in enumerate(rows) if len(row) == 2)
    assert spans([row[0] for row in rows[:cut]]) == KEYS
    assert spans([row[0] for row in rows[cut:]]) == POLICY_KEYS
    said = {row[0].strip("`"): row[1].split(";")[0].strip("`") for row in rows[:cut]}
    for one in fields(Settings):
        if isinstance(one.default, (bool, int, float)) and one.name in KEYS:
            wanted = str(one.default).lower() if isinstance(one.default, bool) else f"{one.default:g}"
            assert said[one.name] == wanted, one.name


@pytest.mark.parametrize("page", ["docs/lint.md", "docs/configuration.md", "template"])
def test_examples_are_accepted(page: str) -> None:
    """A commented key of the template is one that works once its sign is gone."""
    if page == "template":
        lines = TEMPLATE.format(name="x", root="x").split("# [lint]\n")[1].splitlines()
        examples = ["[lint]\n" + "\n".join(re.sub(r"^# ", "", line) for line in lines)]
    else:
        examples = [block for kind, block in FENCE.findall(text_of(TOP / page)) if kind == "toml" and "[lint" in block]
    assert examples
    for example in examples:
        read_settings(tomllib.loads(example)["lint"], page, frozenset(RULES), locked=False)


def test_findings_that_are_spoken_of_exist() -> None:
    named = spans([row[1] for row in table(PAGE, "## Limits")])
    assert {name for name in named if "." not in name} <= set(RULES)
