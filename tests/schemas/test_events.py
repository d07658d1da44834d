"""Events: what is told of a record, under which id, and how it is signed."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

import pytest

from dagferry_schemas import events
from dagferry_schemas.errors import Usage
from dagferry_schemas.names import digest_of
from dagferry_schemas.pins import Content, FilesPin, Pin, TarballPin
from dagferry_schemas.record import ACTIONS, Candidate, Hold, Live, Record
from dagferry_schemas.rollout import gate_evidence, is_gate_evidence

NOW = "2026-11-24T03:00:00Z"
VERSION = "v1"


def live(version: str) -> Live:
    digest = digest_of(version.encode())
    return Live(version, Pin(digest, 1), Content(digest, TarballPin(digest, 1, 2048), FilesPin(digest, 1, 1)))


def record(action: str = "promote", version: str = "v1", **fields: Any) -> Record:  # noqa: ANN401
    every: dict[str, Any] = {
        "bundle": "shop", "channel": "prod", "epoch": 1, "generation": 1, "previous": None, "nonce": "n1",
        "issued": NOW, "action": action, "actor": "ada", "reason": "", "live": live(version),
    }  # fmt: skip
    return Record(**{**every, **fields})


def after(before: Record, action: str, **fields: Any) -> Record:  # noqa: ANN401
    fields = {"nonce": f"n{before.generation + 1}", "issued": NOW, **fields}
    return before.succeed(head=b"head", action=action, **fields)


def told(one: Record, before: Record | None = None) -> list[dict[str, Any]]:
    return [json.loads(event.to_bytes()) for event in events.of_record(one, before)]


def test_an_event_has_what_cloudevents_demands() -> None:
    (found,) = told(record())
    assert {"specversion", "id", "source", "type"} <= set(found)
    assert found["specversion"] == "1.0"
    assert all(name.isalnum() and name.islower() for name in found), "attribute names are lower-case letters and digits"
    assert (found["source"], found["type"], found["subject"]) == (
        "/dagferry/shop/prod", "io.dagferry.channel.promoted", "v1"
    )  # fmt: skip
    assert found["time"] == NOW


def test_every_action_has_an_event_and_one_of_a_later_release_is_told_too() -> None:
    assert set(events.OF_ACTIONS) == set(ACTIONS)
    (found,) = told(record("teleport"))
    assert (found["type"], found["data"]["action"]) == ("io.dagferry.channel.changed", "teleport")


def test_the_same_record_is_told_in_the_same_bytes_and_another_under_another_id() -> None:
    first = record()
    second = after(first, "promote", live=live("v2"))
    again = Record.from_payload(second.to_payload())
    assert told(second, first) == told(again, first)
    ids = {one["id"] for each, before in ((first, None), (second, first)) for one in told(each, before)}
    ids |= {one["id"] for one in told(replace(first, nonce="other"))}
    ids |= {one["id"] for one in told(replace(first, epoch=2))}
    assert len(ids) == 4


def test_a_rollback_says_from_where_and_why() -> None:
    before = record(version="v2")
    (found,) = told(after(before, "rollback", live=live("v1"), reason="bad", hold=Hold("ada", "bad", NOW)), before)
    assert found["data"]["previous_version"] == "v2"
    assert found["data"]["changed"]
    assert found["data"]["hold"] == {"by": "ada", "reason": "bad", "since": NOW}


def test_a_failed_gate_is_told_beside_the_withdrawal_and_an_abort_is_not_one() -> None:
    first = record()
    targets = tuple(f"pod-{number}" for number in range(500))
    staged = after(first, "stage", candidate=Candidate(live("v2"), targets, NOW))
    (begun,) = told(staged, first)
    assert (begun["subject"], begun["data"]["version"]) == ("v2", "v1")
    assert (len(begun["data"]["candidate"]["targets"]), begun["data"]["candidate"]["targets_count"]) == (50, 500)
    failed = after(staged, "withdraw", candidate=None, bad=("v2",), reason=gate_evidence(1, ["pod-0: no"]))
    withdrawn, gate = told(failed, staged)
    assert (withdrawn["type"], gate["type"]) == ("io.dagferry.channel.withdrawn", "io.dagferry.channel.gate_failed")
    assert withdrawn["id"] != gate["id"]
    assert withdrawn["subject"] == gate["subject"] == "v2"
    assert gate["data"]["withdrawn"]["version"] == "v2"
    assert "pod-0: no" in gate["data"]["reason"]
    assert len(told(after(staged, "withdraw", candidate=None, reason="aborted v2"), staged)) == 1


def test_evidence_of_a_gate_is_known_again() -> None:
    assert is_gate_evidence(gate_evidence(12, ["a", "b"]))
    assert not is_gate_evidence("we think that step 1 did not hold: so")


def test_the_largest_record_fits_into_an_event() -> None:
    text = "\x01" * 4096  # six bytes each, as JSON escapes it
    names = tuple("v" * 195 + f"{number:05}" for number in range(100))
    candidate = Candidate(live(names[0]), tuple("p" * 58 + f"{number:05}" for number in range(500)), NOW)
    hold = Hold(text, text, NOW)
    large = record(reason=text, actor=text, bad=names, candidate=candidate, hold=hold)
    (event,) = events.of_record(large, None)
    assert len(event.to_bytes()) <= events.MAX_EVENT


def test_agents_that_are_late_are_named_and_all_are_counted() -> None:
    answers = [
        {"url": f"http://pod-{number}:8470", "ok": number % 2 == 0, "version": None, "generation": None,
         "seconds": number / 10, "error": "odd \udcff" if number % 2 else None}
        for number in range(400)
    ]  # fmt: skip
    event = events.converged(record(), answers, now=NOW, nonce="x")
    body = event.to_bytes()
    found = json.loads(body)
    assert found["type"] == "io.dagferry.channel.not_converged"
    assert (found["data"]["asked"], found["data"]["late"], len(found["data"]["agents"])) == (400, 200, 50)
    assert found["data"]["agents"][0]["error"] == "odd \\udcff"
    assert found["data"]["seconds"] == 39.9
    assert len(body) <= events.MAX_EVENT
    assert events.converged(record(), [], now=NOW, nonce="x").type == "io.dagferry.channel.converged"


def test_signature_is_the_one_of_the_reference_libraries() -> None:
    """The vector with which the libraries of Standard Webhooks test themselves."""
    secrets = events.read_secrets("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n")
    found = events.signature(secrets, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert found == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_several_secrets_make_several_signatures() -> None:
    lines = [events.SECRET + base64.b64encode(bytes([number]) * 24).decode() for number in range(4)]
    secrets = events.read_secrets("\n".join(lines) + "\n\n")
    assert len(events.signature(secrets, "id", 1, b"body").split(" ")) == 4


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "hunter2hunter2hunter2hunter2hunter2",
        "whsec_" + base64.b64encode(bytes(23)).decode(),
        "whsec_" + base64.b64encode(bytes(65)).decode(),
        "whsec_not base64 at all, hunter2, really not at all",
        "\n".join(["whsec_" + base64.b64encode(bytes(24)).decode()] * 5),
        "whsec_" + base64.b64encode(bytes(24)).decode() + "\nhunter2",
    ],
)
def test_what_is_no_secret_is_refused_and_not_quoted(text: str) -> None:
    with pytest.raises(Usage) as caught:
        events.read_secrets(text)
    assert "hunter2" not in caught.value.message + caught.value.hint
