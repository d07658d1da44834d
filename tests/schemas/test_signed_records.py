"""Records under a keyring: `signed_checks` one by one, and what is true of any record and any bytes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagferry_schemas import trust
from dagferry_schemas.dsse import RECORD_TYPE
from dagferry_schemas.errors import BadData, Untrusted
from dagferry_schemas.keyring import Keyring
from dagferry_schemas.record import Record, seal
from dagferry_schemas.trust import Policy

from . import golden, signed_checks
from .holders import Holder, envelope, keyring_of, pae, signed_envelope, together
from .signed_checks import CI, CLOUD, NOW, OPS, THIEF, payload, record, ring

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize("check", signed_checks.SIGNED_CHECKS, ids=lambda check: check.__name__)
def test_rule(check: Callable[[signed_checks.AcceptSigned], None]) -> None:
    check(trust.accept_record)


def test_history_is_read_under_the_same_signatures() -> None:
    policy = Policy.require(ring(), NOW)
    for stored, code in ((record(), "unsigned"), (record(THIEF), "bad_signature")):
        with pytest.raises(Untrusted) as caught:
            trust.read_record(stored, bundle="analytics", channel="prod", policy=policy)
        assert caught.value.code == code
    assert trust.read_record(record(CI), bundle="analytics", channel="prod", policy=policy).generation == 7


def test_nobody_signed_so_it_does_not_expire() -> None:
    """Without a keyring nothing is demanded: not a signature, and so neither a date that nobody vouches for."""
    for stored in (record(expires="2020-01-01T00:00:00Z"), record(THIEF, expires="2020-01-01T00:00:00Z")):
        found = trust.accept_record(stored, bundle="analytics", channel="prod", policy=Policy.UNSIGNED, floor=None)
        assert (found.expired, found.signers) == (False, ())


def test_reader_that_does_not_say_otherwise_has_a_release_to_keep() -> None:
    old, policy = record(CI, expires="2026-11-21T00:00:00Z"), Policy.require(ring(), NOW)
    with pytest.raises(Untrusted) as caught:
        trust.accept_record(old, bundle="analytics", channel="prod", policy=policy, floor=None)
    assert caught.value.code == "expired"


def test_policy_that_demands_nothing_cannot_be_made_by_accident() -> None:
    """Only the constant itself lets unsigned records in: an equal value, a copy and None do not."""
    for policy in (Policy(None, ""), Policy(None, NOW), replace(Policy.UNSIGNED), None):
        with pytest.raises(Untrusted, match="is no policy"):
            trust.accept_record(
                record(CI),
                bundle="analytics",
                channel="prod",
                policy=policy,  # type: ignore[arg-type]
                floor=None,
            )


def test_empty_keyring_believes_nobody() -> None:
    assert signed_checks.refused(trust.accept_record, record(CI), Keyring(()), "bad_signature")


def test_refusal_says_how_many_are_missing_and_who_signed() -> None:
    two = keyring_of([CI, OPS], {"promoters": 2})
    error = signed_checks.refused(trust.accept_record, record(CI), two, "bad_signature")
    assert "1 of the 2 promoter signatures" in error.message
    assert "(signed: ci)" in error.message


def test_record_that_was_sealed_is_read_back_with_its_signers() -> None:
    stored = seal(Record.from_payload(payload()), together(CI, CLOUD))
    found = signed_checks.taken(trust.accept_record, stored, keyring_of([CI, CLOUD, OPS]))
    assert found.signers == ("ci", "cloud")


def test_signature_of_an_unsigned_golden_record_holds_for_its_stored_bytes() -> None:
    """What is signed is what is stored: a payload in another order of its fields is another one."""
    stored = signed_envelope(golden.payload(), RECORD_TYPE, CI)
    assert signed_checks.taken(trust.accept_record, stored).record.generation == 7
    rewritten = Record.from_payload(golden.payload()).to_payload() + b" "
    other = envelope(rewritten, RECORD_TYPE, [("", CI.sign_bytes(pae(RECORD_TYPE.encode(), golden.payload())))])
    signed_checks.refused(trust.accept_record, other, None, "bad_signature")


_people = st.lists(st.sampled_from([CI, OPS, CLOUD, THIEF]), max_size=5)


@settings(max_examples=60, deadline=None)
@given(_people, st.sets(st.sampled_from([CI, OPS, CLOUD]), min_size=1), st.integers(1, 4))
def test_record_is_believed_exactly_if_enough_keys_of_the_keyring_signed(
    signing: list[Holder], known: set[Holder], needed: int
) -> None:
    held = keyring_of(sorted(known, key=lambda one: one.name), {"promoters": needed})
    stored = record(*signing)
    good = {one.name for one in set(signing) & known}
    if len(good) >= needed:
        assert set(signed_checks.taken(trust.accept_record, stored, held).signers) == good
    else:
        signed_checks.refused(trust.accept_record, stored, held, "bad_signature" if signing else "unsigned")


@pytest.mark.parametrize(
    ("signed", "rules", "keys", "enough"),
    [
        ((CI,), (), {}, True),
        ((), (), {}, False),
        ((THIEF,), (), {}, False),
        ((CI, THIEF), ({"promoters": 2, "publishers": 2},), {}, False),
        ((CI, OPS), (), {}, True),
        ((CI, OPS), ({"promoters": 2, "publishers": 2},), {}, True),
        ((CI,), ({"promoters": 2},), {"roles": ["promoter"]}, False),
        ((CI,), ({"promoters": 2},), {"roles": ["publisher"]}, True),
        ((CI,), ({"publishers": 2},), {"roles": ["promoter"]}, True),
        ((CI,), ({"publishers": 2},), {"roles": ["publisher"]}, False),
        ((CI,), (), {"roles": ["promoter"], "channels": ["staging"]}, False),
        ((CI,), (), {"roles": ["publisher"], "channels": ["staging"]}, True),
        ((CI,), (), {"bundles": ["finance"]}, False),
        ((CI,), (), {"not_after": NOW}, False),
    ],
)
def test_what_was_accepted_once_is_vouched_for_by_the_keys_of_then_if_they_are_enough_today(
    signed: tuple[Holder, ...], rules: tuple[dict[str, Any], ...], keys: dict[str, Any], enough: bool
) -> None:
    policy = Policy.require(keyring_of([CI, OPS], *rules, **keys), NOW)
    ids = [one.public.key_id for one in signed]
    assert trust.still_vouch(ids, bundle="analytics", channel="prod", policy=policy) is enough


def test_keys_are_not_asked_for_only_by_the_policy_that_says_so() -> None:
    assert trust.still_vouch((), bundle="analytics", channel="prod", policy=Policy.UNSIGNED)
    for policy in (Policy(None, NOW), Policy(None, ""), replace(Policy.UNSIGNED)):
        assert not trust.still_vouch((), bundle="analytics", channel="prod", policy=policy)


_SIGNED = record(CI)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(_SIGNED) - 1), st.integers(1, 255))
def test_one_changed_byte_of_a_signed_record_never_changes_what_it_says(place: int, change: int) -> None:
    """It is refused, or it was a byte that says nothing: a key id, a name that is ignored."""
    spoiled = bytearray(_SIGNED)
    spoiled[place] ^= change
    try:
        found = signed_checks.taken(trust.accept_record, bytes(spoiled))
    except BadData:
        return
    assert found.record == Record.from_payload(payload())
    assert found.signers == ("ci",)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_signed_by_a_promoter_are_a_record_or_refused(body: bytes) -> None:
    with pytest.raises(BadData):
        signed_checks.taken(trust.accept_record, signed_envelope(body, RECORD_TYPE, CI))
