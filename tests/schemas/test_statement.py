"""Statements: what vouches for a version, and what only looks as if it did (rule 8)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from dagferry_schemas import statement, trust
from dagferry_schemas.dsse import RECORD_TYPE, STATEMENT_TYPE
from dagferry_schemas.errors import BadData, Malformed, Untrusted
from dagferry_schemas.layout import MAX_DOCUMENT
from dagferry_schemas.names import digest_of, hex_of
from dagferry_schemas.pins import Pin
from dagferry_schemas.statement import Origin
from dagferry_schemas.trust import Policy
from dagferry_schemas.version import Version

from . import golden
from .holders import Holder, envelope, keyring_of, pae, signed_envelope

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagferry_schemas.keyring import Keyring

CI = Holder("ci")
CLOUD = Holder("cloud", curve=True)
OPS = Holder("ops")
NOW = "2026-11-22T12:00:00Z"
DOCUMENT = golden.raw("accepted_versions/plain.json")
PIN = Pin(digest_of(DOCUMENT), len(DOCUMENT))
ORIGIN = Origin("https://git.example.com/etl", "urn:dagferry:builder", "0.2", NOW, NOW, "https://ci.example.com/7")


def payload() -> bytes:
    return statement.write(Version.from_bytes(DOCUMENT, "version"), PIN, ORIGIN)


def changed(**changes: Any) -> bytes:  # noqa: ANN401 (JSON is dynamic)
    return json.dumps(json.loads(payload()) | changes).encode()


def subjects(*pairs: tuple[str, dict[str, str]]) -> bytes:
    return changed(subject=[{"name": name, "digest": digest} for name, digest in pairs])


def accept(stored: bytes, ring: Keyring | None = None, pin: Pin = PIN, **changes: str) -> tuple[str, ...]:
    names = {"bundle": "analytics", "version": "v1.4.0", **changes}
    policy = Policy.require(ring or keyring_of([CI, CLOUD]), NOW)
    return trust.accept_statement(stored, document=pin, policy=policy, **names)


def refusal(stored: bytes, ring: Keyring | None = None, pin: Pin = PIN, **changes: str) -> BadData:
    with pytest.raises(BadData) as caught:
        accept(stored, ring, pin, **changes)
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize("holder", [CI, CLOUD], ids=["Ed25519", "P-256"])
def test_statement_of_a_publisher_names_who_vouches(holder: Holder) -> None:
    assert accept(signed_envelope(payload(), STATEMENT_TYPE, holder)) == (holder.public.key_id,)


def test_subjects_are_the_document_and_the_tarball() -> None:
    version = Version.from_bytes(DOCUMENT, "version")
    assert statement.read_subjects(payload(), "statement") == {
        "analytics/versions/v1.4.0.json": PIN.sha256,
        "analytics-v1.4.0.tar.zst": version.content.tarball.sha256,
    }


def test_provenance_has_what_slsa_asks_for() -> None:
    document = json.loads(payload())
    assert (document["_type"], document["predicateType"]) == (statement.TYPE, statement.PREDICATE)
    definition, run = document["predicate"]["buildDefinition"], document["predicate"]["runDetails"]
    assert set(definition) == {"buildType", "externalParameters", "internalParameters", "resolvedDependencies"}
    assert definition["resolvedDependencies"][0]["uri"] == "git+https://git.example.com/etl"
    assert run["builder"]["id"] == "urn:dagferry:builder"
    assert run["metadata"]["invocationId"] == "https://ci.example.com/7"


def test_statement_that_speaks_of_more_subjects_still_vouches() -> None:
    more = subjects(
        ("sbom", {"sha256": "b" * 64}), ("analytics/versions/v1.4.0.json", {"sha256": hex_of(PIN.sha256), "sha1": "x"})
    )
    assert accept(signed_envelope(more, STATEMENT_TYPE, CI))


WRONG_PAYLOADS: dict[str, tuple[Callable[[], bytes], str]] = {
    "another _type": (lambda: changed(_type="https://in-toto.io/Statement/v0.1"), "_type"),
    "no _type": (lambda: changed(_type=None), "_type"),
    "another predicate": (lambda: changed(predicateType="https://slsa.dev/provenance/v0.2"), "predicateType"),
    "a test result": (lambda: changed(predicateType="https://in-toto.io/attestation/test-result/v0.1"), "predicate"),
    "no subject": (lambda: changed(subject=None), "subject"),
    "a subject without a name": (lambda: changed(subject=[{"digest": {"sha256": "a" * 64}}]), "subject[0].name"),
    "a subject without a digest": (lambda: changed(subject=[{"name": "x"}]), "subject[0].digest"),
    "another kind of digest": (lambda: subjects(("x", {"sha512": "a" * 128})), "subject[0].digest.sha256"),
    "a digest with its prefix": (lambda: subjects(("x", {"sha256": PIN.sha256})), "subject[0].digest.sha256"),
    "a digest in capitals": (lambda: subjects(("x", {"sha256": "A" * 64})), "subject[0].digest.sha256"),
    "one subject twice": (lambda: subjects(*[("x", {"sha256": "a" * 64})] * 2), "two subjects"),
    "no JSON": (lambda: b"vouched", "statement"),
}


@pytest.mark.parametrize("wrong", WRONG_PAYLOADS)
def test_statement_that_is_none_is_refused_although_it_is_signed(wrong: str) -> None:
    made, says = WRONG_PAYLOADS[wrong]
    error = refusal(signed_envelope(made(), STATEMENT_TYPE, CI))
    assert isinstance(error, Malformed)
    assert says in error.message


def test_second_subject_of_the_same_name_cannot_change_the_digest() -> None:
    name = "analytics/versions/v1.4.0.json"
    for order in (("a" * 64, hex_of(PIN.sha256)), (hex_of(PIN.sha256), "a" * 64)):
        error = refusal(signed_envelope(subjects(*((name, {"sha256": one}) for one in order)), STATEMENT_TYPE, CI))
        assert "two subjects" in error.message


@pytest.mark.parametrize(
    "made",
    [
        subjects,
        lambda: subjects(("analytics/versions/v1.4.0.json", {"sha256": "a" * 64})),
        lambda: subjects(("analytics/versions/v1.4.1.json", {"sha256": hex_of(PIN.sha256)})),
        lambda: subjects(("reports/versions/v1.4.0.json", {"sha256": hex_of(PIN.sha256)})),
        lambda: subjects(("v1.4.0.json", {"sha256": hex_of(PIN.sha256)})),
        lambda: subjects(("analytics-v1.4.0.tar.zst", {"sha256": hex_of(PIN.sha256)})),
    ],
    ids=["no subject", "other digest", "other version", "other bundle", "no bundle", "the tarball's name"],
)
def test_statement_of_something_else_does_not_vouch(made: Callable[[], bytes]) -> None:
    error = refusal(signed_envelope(made(), STATEMENT_TYPE, CI))
    assert (type(error), error.code) == (Untrusted, "wrong_identity")


def test_statement_does_not_vouch_for_another_document_of_the_same_name() -> None:
    stored = signed_envelope(payload(), STATEMENT_TYPE, CI)
    assert accept(stored)
    assert refusal(stored, version="v1.4.1").code == "wrong_identity"
    assert refusal(stored, bundle="reports").code == "wrong_identity"
    assert refusal(stored, pin=Pin(digest_of(DOCUMENT + b"\n"), PIN.size + 1)).code == "wrong_identity"


@pytest.mark.parametrize("kind", ["application/json", STATEMENT_TYPE + "+x", STATEMENT_TYPE.upper(), "x" * 4096])
def test_statement_of_another_payload_type_is_refused_although_it_is_signed(kind: str) -> None:
    error = refusal(signed_envelope(payload(), kind, CI))
    assert (type(error), error.code) == (Untrusted, "untrusted")
    assert f"payload type '{kind[:80]}' instead" in error.message


def test_record_is_no_statement_and_a_statement_no_record() -> None:
    as_record = refusal(signed_envelope(payload(), RECORD_TYPE, CI))
    assert (as_record.code, "payload type" in as_record.message) == ("untrusted", True)
    relabelled = envelope(
        payload(), RECORD_TYPE, [("", CI.sign_bytes(pae(RECORD_TYPE.encode(), payload())))], stored_kind=STATEMENT_TYPE
    )
    assert refusal(relabelled).code == "bad_signature"
    with pytest.raises(Untrusted, match="payload type"):
        trust.accept_record(
            signed_envelope(golden.payload(), STATEMENT_TYPE, CI),
            bundle="analytics",
            channel="prod",
            policy=Policy.require(keyring_of([CI]), NOW),
            floor=None,
        )


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"roles": ["promoter"]}, "bad_signature"),
        ({"bundles": ["reports"]}, "bad_signature"),
        ({"not_before": "2026-11-22T12:00:01Z"}, "bad_signature"),
        ({"not_after": NOW}, "bad_signature"),
    ],
)
def test_statement_of_a_key_that_does_not_count_is_refused(changes: dict[str, Any], code: str) -> None:
    assert refusal(signed_envelope(payload(), STATEMENT_TYPE, CI), keyring_of([CI], **changes)).code == code


def test_statement_needs_as_many_publishers_as_are_required() -> None:
    ring = keyring_of([CI, CLOUD, OPS], {"publishers": 2, "promoters": 3})
    one = refusal(signed_envelope(payload(), STATEMENT_TYPE, CI), ring)
    assert (one.code, "1 of the 2 publisher signatures" in one.message) == ("bad_signature", True)
    twice = refusal(signed_envelope(payload(), STATEMENT_TYPE, CLOUD, CLOUD), ring)
    assert twice.code == "bad_signature"
    assert len(accept(signed_envelope(payload(), STATEMENT_TYPE, CI, CLOUD), ring)) == 2


def test_statement_that_nobody_signed_is_refused_and_a_huge_one_not_parsed() -> None:
    assert refusal(envelope(payload(), STATEMENT_TYPE, [])).code == "unsigned"
    error = refusal(signed_envelope(payload(), STATEMENT_TYPE, CI).ljust(MAX_DOCUMENT + 1))
    assert (type(error), "at most" in error.message) == (Malformed, True)
