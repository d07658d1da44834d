"""Planted mistakes under a keyring: each is caught, by the checks that are about it and by no others."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from dagferry_schemas import trust
from dagferry_schemas.dsse import RECORD_TYPE, STATEMENT_TYPE
from dagferry_schemas.errors import Untrusted
from dagferry_schemas.keyring import PROMOTER, Key
from dagferry_schemas.names import digest_of, moment
from dagferry_schemas.record import Record
from dagferry_schemas.trust import Floor, Policy, TrustedRecord

from . import signed_checks
from .holders import pae
from .signed_checks import SIGNED_CHECKS, failing

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.planted


@dataclass(frozen=True)
class SignedRules:
    """Rules 3, 6 and 7 once more, short and loose, each with a switch that plants a mistake."""

    unsigned: bool = True
    foreign_key: bool = True
    over_payload: bool = True
    over_type: bool = True
    ignores_key_ids: bool = True
    role: bool = True
    bundle: bool = True
    channel: bool = True
    not_before: bool = True
    not_after: bool = True
    threshold: bool = True
    distinct: bool = True
    scoped: bool = True
    most: bool = True
    epoch: bool = True
    floor: bool = True
    expiry: bool = True
    lets_off: bool = True
    issued: bool = True
    critical: bool = True
    whole_bytes: bool = True
    curves: bool = True

    def __call__(
        self, stored: bytes, *, bundle: str, channel: str, policy: Policy, floor: Floor | None, keeps: bool
    ) -> TrustedRecord:
        assert policy.keyring is not None
        document = json.loads(stored)
        signatures = document["signatures"]
        if self.unsigned or signatures:
            _refuse(not signatures, "unsigned")
        payload = base64.b64decode(document["payload"])
        record = Record.from_payload(payload)
        _refuse(self.most and len(signatures) > 16, "untrusted")
        good = list(self._good(document, payload, policy, bundle, channel))
        wanted = (bundle, channel) if self.scoped else (bundle, "staging")
        needed = policy.keyring.required(*wanted).promoters if self.threshold else 1
        if signatures or self.unsigned:
            _refuse(len(good if not self.distinct else {key.name for key in good}) < needed, "bad_signature")
        _refuse(self.critical and bool(record.unknown_critical), "unknown_critical")
        _refuse(self.epoch and record.epoch < policy.keyring.required(*wanted).epoch, "old_epoch")
        expired = self._expired(record, policy)
        _refuse(expired and (keeps or not self.lets_off), "expired")
        names = tuple(dict.fromkeys(key.name for key in good))
        ids = tuple(dict.fromkeys(key.public.key_id for key in good))
        found = TrustedRecord(record, stored, names, ids, expired)
        self._check_floor(found, payload, floor)
        return found

    def _good(
        self, document: dict[str, Any], payload: bytes, policy: Policy, bundle: str, channel: str
    ) -> Iterator[Key]:
        """The keys that count, once for each of their signatures."""
        assert policy.keyring is not None
        for key in policy.keyring.keys:
            if not self.curves and "ed25519" not in str(key.public._key.scheme):
                continue
            if not self._bent(key).counts(PROMOTER, bundle, channel, policy.now):
                continue
            for one in document["signatures"]:
                if self.ignores_key_ids or one.get("keyid") == key.public.key_id:
                    sig = base64.b64decode(one["sig"])
                    if any(key.public.has_signed(message, sig) for message in self._messages(document, payload)) or (
                        not self.foreign_key and one.get("keyid") == key.public.key_id and len(sig) == 64
                    ):
                        yield key

    def _bent(self, key: Key) -> Key:
        changes: dict[str, Any] = {}
        if not self.role:
            changes["roles"] = (PROMOTER,)
        if not self.bundle:
            changes["bundles"] = ("*",)
        if not self.channel:
            changes["channels"] = ("*",)
        if not self.not_before:
            changes["not_before"] = None
        if not self.not_after:
            changes["not_after"] = None
        return replace(key, **changes)

    def _messages(self, document: dict[str, Any], payload: bytes) -> Iterator[bytes]:
        yield pae(document["payloadType"].encode(), payload)
        if not self.over_type:
            yield pae(STATEMENT_TYPE.encode(), payload)
        if not self.over_payload:  # what the record said before somebody changed it
            yield pae(RECORD_TYPE.encode(), signed_checks.payload())

    def _expired(self, record: Record, policy: Policy) -> bool:
        if not self.expiry or record.expires is None:
            return False
        present = max(moment(policy.now), moment(record.issued)) if self.issued else moment(policy.now)
        return moment(record.expires) <= present

    def _check_floor(self, found: TrustedRecord, payload: bytes, floor: Floor | None) -> None:
        if floor is None or not self.floor:
            return
        place = (found.record.epoch, found.record.generation)
        _refuse(place < (floor.epoch, floor.generation), "went_back")
        if place == (floor.epoch, floor.generation) and self.whole_bytes:
            _refuse(digest_of(found.stored) != floor.sha256, "equivocation")


def _refuse(broken: bool, code: str) -> None:
    if broken:
        raise Untrusted("refused", "look", code=code)


def test_rules_without_a_mistake_pass_every_check() -> None:
    assert failing(SignedRules()) == set()
    assert failing(trust.accept_record) == set()


@pytest.mark.parametrize(
    ("rules", "caught_by"),
    [
        (SignedRules(curves=False), {"check_rule_3_passes"}),
        (SignedRules(unsigned=False), {"check_rule_3_unsigned"}),
        (SignedRules(foreign_key=False), {"check_rule_3_key", "check_rule_3_payload"}),
        (SignedRules(over_payload=False), {"check_rule_3_payload"}),
        (SignedRules(over_type=False), {"check_rule_3_type"}),
        (SignedRules(ignores_key_ids=False), {"check_rule_3_key_ids", "check_rule_3_many"}),
        (SignedRules(role=False), {"check_rule_3_role", "check_rule_3_threshold"}),
        (SignedRules(bundle=False), {"check_rule_3_bundle"}),
        (SignedRules(channel=False), {"check_rule_3_channel"}),
        (SignedRules(not_before=False), {"check_rule_3_not_before"}),
        (SignedRules(not_after=False), {"check_rule_3_not_after"}),
        (SignedRules(threshold=False), {"check_rule_3_threshold", "check_rule_3_one_key_twice"}),
        (SignedRules(distinct=False), {"check_rule_3_one_key_twice"}),
        (SignedRules(scoped=False), {"check_rule_3_other_requirements"}),
        (SignedRules(most=False), {"check_rule_3_many"}),
        (SignedRules(epoch=False), {"check_rule_6_epoch"}),
        (SignedRules(floor=False), {"check_rule_6_epoch_and_floor", "check_digest_is_of_the_stored_bytes"}),
        (
            SignedRules(expiry=False),
            {"check_rule_7_expired", "check_rule_7_without_a_release", "check_rule_7_clock_behind"},
        ),
        (SignedRules(lets_off=False), {"check_rule_7_without_a_release"}),
        (SignedRules(issued=False), {"check_rule_7_clock_behind"}),
        (SignedRules(critical=False), {"check_critical_before_expiry"}),
        (SignedRules(whole_bytes=False), {"check_digest_is_of_the_stored_bytes"}),
    ],
    ids=lambda value: "" if isinstance(value, SignedRules) else min(value),
)
def test_rules_with_one_mistake_fail_its_checks(rules: SignedRules, caught_by: set[str]) -> None:
    assert failing(rules) == caught_by


def test_every_check_is_bitten_by_some_mistake() -> None:
    marks = test_rules_with_one_mistake_fail_its_checks.pytestmark  # type: ignore[attr-defined]
    bitten = {name for _, names in marks[0].args[1] for name in names}
    assert bitten == {check.__name__ for check in SIGNED_CHECKS}
