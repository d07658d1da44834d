"""The page on events: its types and fields are those of the program, and a receiver that is built by it works."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import pytest
import yaml

from dagferry_agent.events import NAMES
from dagferry_schemas import events
from dagferry_schemas.rollout import gate_evidence
from tests.ci.test_docs import FENCE, TOP, spans, table, text_of
from tests.receiver import OTHER_SECRET, SECRET
from tests.schemas.test_events import record

PAGE = TOP / "docs/events.md"
BLOCKS = {kind: block for kind, block in FENCE.findall(text_of(PAGE)) if kind in ("json", "python", "yaml")}


def types_below(heading: str) -> set[str]:
    return {row[0].strip("`") for row in table(PAGE, heading)}


def test_types_of_a_channel_are_those_of_the_program() -> None:
    more = ("changed", events.GATE_FAILED, events.CONVERGED, events.NOT_CONVERGED)
    assert types_below("### Of a channel") == {events.CHANNEL + one for one in (*events.OF_ACTIONS.values(), *more)}


def test_types_of_an_agent_are_those_of_the_program() -> None:
    assert types_below("### On pods") == {events.AGENT + one for one in NAMES}


def test_the_example_has_the_fields_that_an_event_has() -> None:
    example = json.loads(BLOCKS["json"])
    (event,) = events.of_record(record(), None)
    found = json.loads(event.to_bytes())
    assert set(example) == set(found)
    assert set(example["data"]) == set(found["data"])


def test_fields_of_each_channel_event_are_fields_that_it_has() -> None:
    rows = table(PAGE, "### Of a channel")
    withdrawn = record("withdraw", reason=gate_evidence(1, ["x"]))
    known = set(json.loads(events.of_record(withdrawn, None)[0].to_bytes())["data"])
    known |= set(events.converged(record(), [], now="2026-11-24T03:00:00Z", nonce="x").data)
    inner = {"by", "since", "version", "tree", "targets", "targets_count", "until", "url", "generation", "error"}
    named = {one for row in rows for one in spans([row[2]]) if re.fullmatch("[a-z_]+", one)}
    assert named <= known | inner | {"candidate"}


@pytest.mark.parametrize(("secret", "age", "good"), [(SECRET, 0, True), (OTHER_SECRET, 0, False), (SECRET, 301, False)])
def test_a_receiver_that_checks_as_the_page_says_is_right(secret: str, age: int, good: bool) -> None:
    names: dict[str, Any] = {}
    exec(BLOCKS["python"], names)
    stamp, body = int(time.time()) - age, b'{"id":"x"}'
    headers = {
        "webhook-id": "x",
        "webhook-timestamp": str(stamp),
        "webhook-signature": events.signature(events.read_secrets(SECRET), "x", stamp, body),
    }
    assert names["check"](headers, body, secret) is good
    assert not names["check"](headers, body + b" ", secret)


def test_the_manifest_is_yaml_whose_variables_are_options() -> None:
    manifest = yaml.safe_load(BLOCKS["yaml"])
    (container,) = manifest["spec"]["template"]["spec"]["containers"]
    assert container["args"] == ["events"]
    assert {one["name"] for one in manifest["spec"]["template"]["spec"]["volumes"]} | {"state"} == {
        one["name"] for one in container["volumeMounts"]
    }
