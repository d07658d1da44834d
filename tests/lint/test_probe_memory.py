"""What the probe does not look at twice would have come out the same: held against jsonschema and Jinja themselves."""

from __future__ import annotations

from typing import Any, Final

import jinja2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft7Validator, validators  # type: ignore[import-untyped]

from dagferry_builder.lint import probe

SCHEMA_OF_TASKS: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {"tasks": {"type": "array", "items": {"$ref": "#/definitions/task"}}},
}
SCHEMA: Final[dict[str, Any]] = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "definitions": {
        "task": {
            "type": "object",
            "properties": {
                "kind": {"const": "plain"},
                "when": {"enum": ["early", "late", 3]},
                "zone": {"type": "string", "pattern": "^[a-z]+$"},
                "retries": {"type": "integer", "minimum": 2},
                "weight": {"type": "number", "exclusiveMinimum": 0.5},
                "tags": {"type": "array", "uniqueItems": True, "items": {"type": "string"}},
                "inner": {"$ref": "#/definitions/task"},
            },
            "patternProperties": {"^x_": {"type": "null"}},
            "additionalProperties": False,
        }
    },
    **SCHEMA_OF_TASKS,
}
VALUES: Final = st.one_of(
    st.sampled_from(["plain", "early", "late", "a", "b", "B", "", 0, 1, 2, 3, 2.0, 2.5, 0.5, -1, 10**400, True, None]),
    st.lists(st.sampled_from(["a", "b", 1]), max_size=2),
)
NAMES: Final = st.sampled_from(["kind", "when", "zone", "retries", "weight", "tags", "x_a", "y_a"])
TASKS: Final = st.recursive(
    st.dictionaries(NAMES, VALUES, max_size=3),
    lambda inner: st.builds(lambda task, deeper: {**task, "inner": deeper}, st.dictionaries(NAMES, VALUES), inner),
    max_leaves=3,
)


@given(st.lists(st.lists(TASKS, max_size=3), min_size=2, max_size=8))
def test_remembering_validator_says_what_a_plain_one_says(documents: list[list[Any]]) -> None:
    plain = Draft7Validator(SCHEMA)
    remembering = probe.remembering(plain)
    for tasks in documents:
        told = [error.message for error in remembering.iter_errors({"tasks": tasks})]
        assert told == [error.message for error in plain.iter_errors({"tasks": tasks})]


def test_what_has_the_shape_of_something_valid_is_not_looked_at_again() -> None:
    looked_at = []

    def look(_part: object, _value: object, instance: object, _schema: object) -> None:
        looked_at.append(instance)

    looking = validators.extend(Draft7Validator, {"looks": look})
    schema = {"definitions": {"task": {**SCHEMA["definitions"]["task"], "looks": True}}, **SCHEMA_OF_TASKS}
    remembering = probe.remembering(looking(schema))
    first, alike, other = {"zone": "utc", "retries": 5}, {"zone": "cet", "retries": 7}, {"zone": "CET", "retries": 7}
    assert remembering.is_valid({"tasks": [first, alike]})
    assert not remembering.is_valid({"tasks": [other]})
    assert looked_at == [first, other]


@pytest.mark.parametrize("keyword", ["format", "maxLength", "multipleOf"])
def test_schema_that_looks_deeper_is_not_remembered(keyword: str) -> None:
    with pytest.raises(TypeError, match=keyword):
        probe.remembering(Draft7Validator({"properties": {"a": {keyword: 1}}}))


TEXT: Final = ["{{", "}}", " ds ", "text", "'", '"', "{%", "%}", "{#", "#}", "{", "}", "-", "(", ")", "#", "##"]
MORE: Final = ["{{ ds }}", "{{ ds | upper }}", "{{ ds | no_such }}", "{{ ( }}", "{{ a b }}", " if x ", " endif "]
PIECES: Final = st.sampled_from([*TEXT, *MORE, "\\", "\n", "\0"])


def is_template(text: str) -> bool:
    try:
        jinja2.Environment(autoescape=True).compile(text, raw=True)
    except jinja2.TemplateSyntaxError:
        return False
    return True


@given(st.lists(PIECES, max_size=8).map("".join), st.lists(PIECES, max_size=8).map("".join))
def test_templates_with_the_same_tags_are_templates_alike(one: str, other: str) -> None:
    if probe.tags_of(one) == probe.tags_of(other):
        assert is_template(one) is is_template(other)


def test_text_around_plain_expressions_does_not_matter() -> None:
    assert probe.tags_of("load {{ ds }} --shop 1") == probe.tags_of("{{ ds }} of shop 2") == "{{ ds }}"
    assert probe.tags_of("{{ ds }}{{ x }}") != probe.tags_of("{{ ds }}")
    for whole in ("{% if x %}a{% endif %}", "{# a #}", "{{ 'a' }}", "{{ ds }} }}", "{{ ds"):
        assert probe.tags_of(whole) == whole
