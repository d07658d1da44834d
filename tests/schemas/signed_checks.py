"""What a reader with a keyring has to fulfil, as functions that take it as an argument (rules 3, 6 and 7 of `trust`).

As `checks`: the tests hand in dagferry, `test_signed_planted` the same with one mistake each.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from dagferry_schemas.dsse import RECORD_TYPE, STATEMENT_TYPE
from dagferry_schemas.errors import BadData, Untrusted
from dagferry_schemas.keyring import Keyring, read_keyring
from dagferry_schemas.names import digest_of
from dagferry_schemas.trust import Floor, Policy, TrustedRecord

from . import golden, vector_documents
from .holders import Holder, envelope, keyring_of, pae, requirements, signed_envelope

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

CI = Holder("ci")
OPS = Holder("ops")
CLOUD = Holder("cloud", curve=True)
THIEF = Holder("thief")
NOW = "2026-11-22T12:00:00Z"


class AcceptSigned(Protocol):
    """`trust.accept_record`, or something that claims to do the same."""

    def __call__(
        self, stored: bytes, *, bundle: str, channel: str, policy: Policy, floor: Floor | None, keeps: bool
    ) -> TrustedRecord: ...


def payload(**changes: Any) -> bytes:  # noqa: ANN401 (JSON is dynamic)
    """The payload of a record of bundle ``analytics``, channel ``prod``, generation 7."""
    return vector_documents.one_line(vector_documents.record(**changes))


def record(*holders: Holder, **changes: Any) -> bytes:  # noqa: ANN401
    """A stored record that ``holders`` have signed."""
    return signed_envelope(payload(**changes), RECORD_TYPE, *holders)


def ring(*rules: dict[str, Any], **changes: Any) -> Keyring:  # noqa: ANN401
    """A keyring of CI's key, which counts as ``changes`` say."""
    return keyring_of([CI], *rules, **changes)


def taken(
    accept: AcceptSigned,
    stored: bytes,
    keyring: Keyring | None = None,
    *,
    now: str = NOW,
    floor: Floor | None = None,
    keeps: bool = True,
) -> TrustedRecord:
    policy = Policy.require(keyring or ring(), now)
    return accept(stored, bundle="analytics", channel="prod", policy=policy, floor=floor, keeps=keeps)


def refused(
    accept: AcceptSigned, stored: bytes, keyring: Keyring | None, code: str, *, now: str = NOW, keeps: bool = True
) -> BadData:
    """The error that kept ``stored`` out; fails if it came in, or was refused for another reason."""
    with pytest.raises(BadData) as caught:
        taken(accept, stored, keyring, now=now, keeps=keeps)
    assert (type(caught.value), caught.value.code) == (Untrusted, code), caught.value.message
    assert caught.value.hint
    return caught.value


def check_rule_3_passes(accept: AcceptSigned) -> None:
    """One signature of a promoter is enough, of either kind of key; it is told whose it was."""
    for holder in (CI, CLOUD):
        found = taken(accept, record(holder), keyring_of([CI, CLOUD]))
        assert (found.signers, found.key_ids, found.expired) == ((holder.name,), (holder.public.key_id,), False)


def check_rule_3_unsigned(accept: AcceptSigned) -> None:
    refused(accept, record(), None, "unsigned")
    refused(accept, golden.stored(), None, "unsigned")


def check_rule_3_key(accept: AcceptSigned) -> None:
    """A key that is not in the keyring does not count, alone or beside others, whatever key id it claims."""
    refused(accept, record(THIEF), None, "bad_signature")
    message = pae(RECORD_TYPE.encode(), payload())
    refused(
        accept,
        envelope(payload(), RECORD_TYPE, [(CI.public.key_id, THIEF.sign_bytes(message))]),
        None,
        "bad_signature",
    )
    assert taken(accept, record(THIEF, CI)).signers == ("ci",)


def check_rule_3_payload(accept: AcceptSigned) -> None:
    """One byte of the payload is another one: nobody signed that."""
    made = json.loads(record(CI))
    tampered = envelope(payload(generation=8), RECORD_TYPE, [])
    mixed = made | {"payload": json.loads(tampered)["payload"]}
    refused(accept, json.dumps(mixed).encode(), None, "bad_signature")


def check_rule_3_type(accept: AcceptSigned) -> None:
    """What was signed as a statement is no record under another label."""
    as_statement = CI.sign_bytes(pae(STATEMENT_TYPE.encode(), payload()))
    refused(accept, envelope(payload(), RECORD_TYPE, [("", as_statement)]), None, "bad_signature")
    refused(accept, envelope(payload(), RECORD_TYPE, [("", CI.sign_bytes(payload()))]), None, "bad_signature")


def check_rule_3_key_ids(accept: AcceptSigned) -> None:
    """Without a key id, with an empty one, a foreign one: the signature counts all the same."""
    made = CI.sign_bytes(pae(RECORD_TYPE.encode(), payload()))
    for keyid in (None, "", "0" * 64, THIEF.public.key_id):
        assert taken(accept, envelope(payload(), RECORD_TYPE, [(keyid, made)])).signers == ("ci",)


def check_rule_3_role(accept: AcceptSigned) -> None:
    refused(accept, record(CI), ring(roles=["publisher"]), "bad_signature")


def check_rule_3_bundle(accept: AcceptSigned) -> None:
    refused(accept, record(CI), ring(bundles=["reports"]), "bad_signature")


def check_rule_3_channel(accept: AcceptSigned) -> None:
    refused(accept, record(CI), ring(channels=["staging"]), "bad_signature")


def check_rule_3_not_before(accept: AcceptSigned) -> None:
    assert taken(accept, record(CI), ring(not_before=NOW)).signers == ("ci",)
    refused(accept, record(CI), ring(not_before="2026-11-22T12:00:00.5Z"), "bad_signature")


def check_rule_3_not_after(accept: AcceptSigned) -> None:
    """Also for a record from before the key's end: its date is what a thief of the key would write."""
    assert taken(accept, record(CI), ring(not_after="2026-11-22T12:00:00.5Z")).signers == ("ci",)
    for record_time in ("2026-11-20T10:15:00Z", "2020-01-01T00:00:00Z"):
        refused(accept, record(CI, issued=record_time), ring(not_after=NOW), "bad_signature")


def check_rule_3_threshold(accept: AcceptSigned) -> None:
    """Two promoters are two keys: not one that signs twice, nor one and a stranger, nor one of another role."""
    two = keyring_of([CI, OPS, CLOUD], {"promoters": 2})
    for few in ((CI,), (CI, THIEF)):
        refused(accept, record(*few), two, "bad_signature")
    assert taken(accept, record(CI, OPS), two).signers == ("ci", "ops")
    files = {"ci.json": CI.entry(), "ops.json": OPS.entry(roles=["publisher"])}
    mixed = read_keyring(files | {"requirements.json": requirements({"promoters": 2})})
    refused(accept, record(CI, OPS), mixed, "bad_signature")


def check_rule_3_one_key_twice(accept: AcceptSigned) -> None:
    two = keyring_of([CI, OPS, CLOUD], {"promoters": 2})
    for one in (CI, CLOUD):  # ECDSA gives another signature each time
        refused(accept, record(one, one), two, "bad_signature")


def check_rule_3_other_requirements(accept: AcceptSigned) -> None:
    """What is required of other channels and of publishers is not required here."""
    lenient = keyring_of([CI, OPS], {"channel": "staging", "promoters": 2, "epoch": 9}, {"publishers": 2})
    assert taken(accept, record(CI), lenient).signers == ("ci",)


def check_rule_3_many(accept: AcceptSigned) -> None:
    """Sixteen signatures are looked at; one more is refused, even with a good one among them."""
    made = CI.sign_bytes(pae(RECORD_TYPE.encode(), payload()))
    junk: list[tuple[str | None, bytes]] = [("", bytes([number]) * 64) for number in range(16)]
    assert taken(accept, envelope(payload(), RECORD_TYPE, [*junk[1:], ("", made)])).signers == ("ci",)
    refused(accept, envelope(payload(), RECORD_TYPE, [("", made), *junk]), None, "untrusted")


def check_rule_6_epoch(accept: AcceptSigned) -> None:
    """The keyring's epoch is the lowest that is believed, where it speaks of this channel."""
    strict = ring({"epoch": 3}, {"bundle": "analytics", "channel": "prod", "epoch": 2})
    for epoch in (0, 2):
        refused(accept, record(CI, epoch=epoch), strict, "old_epoch")
        refused(accept, record(CI, epoch=epoch), strict, "old_epoch", keeps=False)
    for epoch in (3, 4):
        assert taken(accept, record(CI, epoch=epoch), strict).record.epoch == epoch


def check_rule_6_epoch_and_floor(accept: AcceptSigned) -> None:
    """A key does not lift the floor: a signed record goes back as little as an unsigned one."""
    floor = Floor(0, 8, "sha256:" + "f" * 64)
    with pytest.raises(Untrusted) as caught:
        taken(accept, record(CI), floor=floor)
    assert caught.value.code == "went_back"
    assert taken(accept, record(CI, epoch=1), floor=floor).record.generation == 7


def check_rule_7_expired(accept: AcceptSigned) -> None:
    """It holds until just before the moment that it names, by the reader's clock."""
    for expires in ("2026-11-22T12:00:00Z", "2026-11-22T11:59:59.999Z", "2026-11-20T10:15:01Z"):
        refused(accept, record(CI, expires=expires), None, "expired")
    for later in ("2026-11-22T12:00:00.001Z", "2026-11-22T12:00:01Z", None):
        assert not taken(accept, record(CI, expires=later)).expired


def check_rule_7_without_a_release(accept: AcceptSigned) -> None:
    """A reader that has nothing takes what has expired, and says so; nothing else is let off."""
    old = record(CI, expires="2026-11-21T00:00:00Z")
    assert taken(accept, old, keeps=False).expired
    assert not taken(accept, record(CI, expires="2026-11-23T00:00:00Z"), keeps=False).expired
    refused(accept, record(THIEF, expires="2026-11-21T00:00:00Z"), None, "bad_signature", keeps=False)


def check_rule_7_clock_behind(accept: AcceptSigned) -> None:
    """A clock that is behind the record's date does not make a record good that was over when it was made."""
    early = "2026-11-19T00:00:00Z"
    over = record(CI, issued="2026-11-20T10:15:00Z", expires="2026-11-20T10:00:00Z")
    refused(accept, over, None, "expired", now=early)
    good = record(CI, issued="2026-11-20T10:15:00Z", expires="2026-11-20T10:15:01Z")
    assert not taken(accept, good, now=early).expired


def check_critical_before_expiry(accept: AcceptSigned) -> None:
    """What a signed record calls critical keeps it out also where there is nothing to keep."""
    refused(accept, record(CI, critical=["quorum"], quorum=3), None, "unknown_critical", keeps=False)


def check_digest_is_of_the_stored_bytes(accept: AcceptSigned) -> None:
    """The floor is what is stored, with the signatures: signed anew it is another record."""
    one, two = record(CI), record(CI, OPS)
    assert taken(accept, one).floor == Floor(0, 7, digest_of(one))
    with pytest.raises(Untrusted) as caught:
        taken(accept, two, keyring_of([CI, OPS]), floor=Floor(0, 7, digest_of(one)))
    assert caught.value.code == "equivocation"


SIGNED_CHECKS: tuple[Callable[[AcceptSigned], None], ...] = (
    check_rule_3_passes,
    check_rule_3_unsigned,
    check_rule_3_key,
    check_rule_3_payload,
    check_rule_3_type,
    check_rule_3_key_ids,
    check_rule_3_role,
    check_rule_3_bundle,
    check_rule_3_channel,
    check_rule_3_not_before,
    check_rule_3_not_after,
    check_rule_3_threshold,
    check_rule_3_one_key_twice,
    check_rule_3_other_requirements,
    check_rule_3_many,
    check_rule_6_epoch,
    check_rule_6_epoch_and_floor,
    check_rule_7_expired,
    check_rule_7_without_a_release,
    check_rule_7_clock_behind,
    check_critical_before_expiry,
    check_digest_is_of_the_stored_bytes,
)


def failing(accept: AcceptSigned, some: Iterable[Callable[[AcceptSigned], None]] = SIGNED_CHECKS) -> set[str]:
    """The checks that ``accept`` does not pass."""
    found = set()
    for check in some:
        try:
            check(accept)
        except (AssertionError, pytest.fail.Exception, BadData):
            found.add(check.__name__)
    return found
