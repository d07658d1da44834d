"""What a writer does with a record: hands on what it does not know, and drops what must not live on."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from dagferry_schemas.errors import Malformed
from dagferry_schemas.layout import MAX_DOCUMENT
from dagferry_schemas.names import digest_of
from dagferry_schemas.record import Live, Record, check_chain, seal

from . import golden, vector_documents

if TYPE_CHECKING:
    from collections.abc import Callable


def read(name: str) -> Record:
    return Record.from_payload(golden.payload(name))


def other_live() -> Live:
    return read("hold").live


def test_next_record_names_generation_and_digest_of_the_one_before() -> None:
    head = golden.stored()
    following = read("plain").succeed(head=head, nonce="n8", action="hold")
    check_chain(following)
    assert following.generation == 8
    assert following.previous is not None
    assert (following.previous.generation, following.previous.sha256) == (7, digest_of(head))


def test_unknown_fields_are_handed_on_through_two_records() -> None:
    second = read("unknown_field_that_is_not_critical").succeed(head=golden.stored(), nonce="n8", live=other_live())
    third = Record.from_payload(second.to_payload()).succeed(head=seal(second), nonce="n9")
    assert json.loads(third.to_payload())["mood"] == {"weather": ["fair", None, 1.5]}
    assert json.loads(third.to_payload())["note"] == "kept"


def test_critical_names_bad_versions_and_a_hold_are_handed_on() -> None:
    held = replace(read("hold"), critical=("hold",))
    following = held.succeed(head=golden.stored("hold"), nonce="n8", live=read("plain").live)
    assert (following.critical, following.bad, following.hold) == (("hold",), ("v1.4.0",), held.hold)


def test_expiry_is_never_inherited() -> None:
    assert read("expires").succeed(head=golden.stored("expires"), nonce="n8").expires is None


def test_candidate_and_deltas_outlive_a_hold_but_not_a_change_of_what_is_live() -> None:
    both = replace(read("candidate_with_targets"), deltas=read("deltas").deltas)
    held = both.succeed(head=seal(both), nonce="n8", action="hold")
    assert (held.candidate, held.deltas) == (both.candidate, both.deltas)
    moved = both.succeed(head=seal(both), nonce="n8", live=other_live())
    assert (moved.candidate, moved.deltas) == (None, ())


@pytest.mark.parametrize(
    "spoil",
    [
        lambda record: replace(record, reason="r" * 4097),
        lambda record: replace(record, nonce="n" * 129),
        lambda record: replace(record, issued="yesterday"),
        lambda record: replace(record, generation=2**53),
        lambda record: replace(record, reason="half \ud83d of a ship"),
        lambda record: replace(record, extra={"x": [[[[[[[[[]]]]]]]]]}),
        lambda record: replace(record, extra={"x": "y" * MAX_DOCUMENT}),
    ],
    ids=["long reason", "long nonce", "no time", "huge generation", "no Unicode", "too deep", "too large"],
)
def test_record_that_no_reader_would_take_is_not_sealed(spoil: Callable[[Record], Record]) -> None:
    seal(read("plain"))
    with pytest.raises(Malformed):
        seal(spoil(read("plain")))


def test_changing_the_json_form_does_not_change_the_record() -> None:
    held = read("hold")
    before = held.to_payload()
    form = held.to_dict()
    form["hold"]["by"] = form["previous"]["sha256"] = form["live"]["tarball"]["size"] = "somebody else"
    assert held.to_payload() == before


def test_unknown_critical_names_are_told_in_their_order() -> None:
    document: dict[str, Any] = vector_documents.record(critical=["zeal", "live", "quorum"])
    assert Record.from_payload(vector_documents.one_line(document)).unknown_critical == ("zeal", "quorum")
