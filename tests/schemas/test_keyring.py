"""Keyrings, rule by rule: one wrong file makes all of it wrong, and a key counts for what it names and no more."""

from __future__ import annotations

import base64
import json
from dataclasses import FrozenInstanceError
from itertools import permutations
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dagferry_schemas import keyring
from dagferry_schemas.errors import Malformed, Untrusted
from dagferry_schemas.keyring import MAX_FILE, MAX_KEYS, PROMOTER, PUBLISHER, Key, Keyring, Requirement, read_keyring

from .holders import Holder, keyring_of, requirements

CI = Holder("ci")
OPS = Holder("ops")
CLOUD = Holder("cloud", curve=True)
NOON = "2026-11-22T12:00:00Z"


def counting(ring: Keyring, role: str = PROMOTER, bundle: str = "etl", channel: str | None = "prod") -> list[str]:
    return [key.name for key in ring.counting(role, bundle, channel, NOON)]


# Rule 1: one file is one key, and half a keyring is none.


def test_each_file_is_a_key_of_that_name() -> None:
    ring = read_keyring({"ops.json": OPS.entry(), "ci.json": CI.entry(), "cloud.json": CLOUD.entry()})
    assert [(key.name, key.public.key_id) for key in ring.keys] == [
        ("ci", CI.public.key_id),
        ("cloud", CLOUD.public.key_id),
        ("ops", OPS.public.key_id),
    ]


WRONG_FILES: dict[str, tuple[bytes, str]] = {
    "no JSON": (b"{", "keyring, bad.json"),
    "no UTF-8": (b"\xff\xfe", "keyring, bad.json"),
    "empty": (b"", "keyring, bad.json"),
    "a list": (b"[]", "keyring, bad.json"),
    "a PEM alone": (OPS.pem.encode(), "keyring, bad.json"),
    "a field twice": (OPS.entry()[:-1] + b', "roles": ["promoter"]}', "roles"),
    "an unknown field": (OPS.entry(comment="of the night shift"), "comment"),
    "a misspelt limit": (OPS.entry(notAfter="2026-01-01T00:00:00Z"), "notAfter"),
    "no format": (OPS.entry(format=...), "format"),
    "a newer format": (OPS.entry(format=2), "format"),
    "no key": (OPS.entry(key=...), "bad.json.key"),
    "a key that is no PEM": (OPS.entry(key="ed25519:AAAA"), "bad.json.key"),
    "no roles": (OPS.entry(roles=...), "roles"),
    "empty roles": (OPS.entry(roles=[]), "roles: empty"),
    "a role of no such name": (OPS.entry(roles=["promoter", "admin"]), "'admin' is no role"),
    "two roles of no such name": (OPS.entry(roles=["root", "promoter", "admin"]), "'admin' is no role"),
    "all roles by a star": (OPS.entry(roles=["*"]), "'*' is no role"),
    "roles as a text": (OPS.entry(roles="promoter"), "roles"),
    "no bundles": (OPS.entry(bundles=...), "bundles"),
    "empty bundles": (OPS.entry(bundles=[]), "bundles: empty"),
    "a bundle by a pattern": (OPS.entry(bundles=["etl-*"]), "bundles[0]"),
    "a number for a bundle": (OPS.entry(bundles=["etl", 7]), "bundles[1]"),
    "a bundle of a long name": (OPS.entry(bundles=["b" * 4096]), f"bundles[0]: '{'b' * 80}' is neither"),
    "no channels": (OPS.entry(channels=...), "channels"),
    "empty channels": (OPS.entry(channels=[]), "channels: empty"),
    "a channel with a slash": (OPS.entry(channels=["prod/eu"]), "channels[0]"),
    "a day for a time": (OPS.entry(not_after="2027-01-31"), "not_after"),
    "a time with an offset": (OPS.entry(not_before="2027-01-31T00:00:00+01:00"), "not_before"),
    "seconds for a time": (OPS.entry(not_after=1800000000), "not_after"),
    "an end before its beginning": (
        OPS.entry(not_before="2027-01-31T00:00:01Z", not_after="2027-01-31T00:00:00Z"),
        "bad.json.not_after: not after not_before",
    ),
    "an end at its beginning": (
        OPS.entry(not_before="2027-01-31T00:00:00Z", not_after="2027-01-31T00:00:00Z"),
        "bad.json.not_after: not after not_before",
    ),
    "too large": (OPS.entry() + b" " * MAX_FILE, "at most"),
}


@pytest.mark.parametrize("wrong", WRONG_FILES)
def test_one_wrong_file_makes_the_whole_keyring_wrong(wrong: str) -> None:
    raw, says = WRONG_FILES[wrong]
    read_keyring({"ci.json": CI.entry(), "bad.json": OPS.entry()})
    with pytest.raises(Malformed) as refused:
        read_keyring({"ci.json": CI.entry(), "bad.json": raw})
    assert says in refused.value.message
    assert refused.value.hint


def test_key_may_count_for_one_second() -> None:
    raw = OPS.entry(not_before="2027-01-31T00:00:00Z", not_after="2027-01-31T00:00:01Z")
    assert read_keyring({"ops.json": raw}).keys[0].not_after == "2027-01-31T00:00:01Z"


def test_largest_file_is_read() -> None:
    assert read_keyring({"ci.json": CI.entry().ljust(MAX_FILE)}).keys[0].public.key_id == CI.public.key_id


@pytest.mark.parametrize("name", ["", " ci", "-ci", "c/i", "größe", "c" * 64])
def test_file_whose_name_cannot_name_a_key_is_refused(name: str) -> None:
    with pytest.raises(Malformed, match="cannot be the name of a key"):
        read_keyring({f"{name}.json": CI.entry()})


def test_keyring_without_a_key_is_none() -> None:
    for files in ({}, {"requirements.json": requirements()}):
        with pytest.raises(Untrusted) as refused:
            read_keyring(files)
        assert refused.value.code == "no_keyring"


def test_more_keys_than_are_read_are_refused_before_any_is_parsed() -> None:
    with pytest.raises(Malformed, match=f"{MAX_KEYS + 1} keys"):
        read_keyring({f"k{number}.json": b"{" for number in range(MAX_KEYS + 1)})
    full = {f"k{number}.json": Holder(f"k{number}").entry() for number in range(MAX_KEYS)}
    assert len(read_keyring(full | {"requirements.json": requirements()}).keys) == MAX_KEYS


def test_reading_takes_nothing_out_of_what_it_is_given() -> None:
    files = {"ci.json": CI.entry(), "requirements.json": requirements({"promoters": 2})}
    before = dict(files)
    read_keyring(files)
    assert files == before


# Rule 2: one key under two names.


@pytest.mark.parametrize("other", ["again", "ci-2", "zoe"])
def test_one_key_under_two_names_is_refused(other: str) -> None:
    """Whichever of the two is read first: ``ci-2.json`` sorts before ``ci.json``."""
    with pytest.raises(Malformed, match="are the same key") as refused:
        read_keyring({"ci.json": CI.entry(roles=["promoter"]), f"{other}.json": CI.entry(roles=["publisher"])})
    assert "'ci'" in refused.value.message
    assert f"'{other}'" in refused.value.message


def test_one_key_written_in_two_ways_is_the_same_key() -> None:
    """PEM has room for other line ends, text around it, and a compressed point: each would give a second vote."""
    point = load_pem_public_key(CLOUD.pem.encode())
    assert isinstance(point, ec.EllipticCurvePublicKey)
    short = _wrapped(_spki(point.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)))
    others = {
        "other line ends": CLOUD.pem.replace("\n", "\r\n"),
        "text around it": f"my key\n{CLOUD.pem}\nand no other\n",
        "a compressed point": short,
    }
    for how, pem in others.items():
        assert pem != CLOUD.pem, how
        with pytest.raises(Malformed, match="are the same key"):
            read_keyring({"cloud.json": CLOUD.entry(), "again.json": CLOUD.entry(key=pem)})


def _spki(point: bytes) -> bytes:
    algorithm = bytes.fromhex("301306072a8648ce3d020106082a8648ce3d030107")  # id-ecPublicKey, prime256v1
    bits = b"\x03" + bytes([len(point) + 1]) + b"\x00" + point
    return b"\x30" + bytes([len(algorithm) + len(bits)]) + algorithm + bits


def _wrapped(der: bytes) -> str:
    return f"-----BEGIN PUBLIC KEY-----\n{base64.encodebytes(der).decode()}-----END PUBLIC KEY-----\n"


# Rule 3: roles, bundles, channels.


@pytest.mark.parametrize(
    ("changes", "role", "bundle", "channel", "counts"),
    [
        ({}, PROMOTER, "etl", "prod", True),
        ({}, PUBLISHER, "etl", None, True),
        ({"roles": ["publisher"]}, PROMOTER, "etl", "prod", False),
        ({"roles": ["promoter"]}, PUBLISHER, "etl", None, False),
        ({"bundles": ["etl"]}, PROMOTER, "etl", "prod", True),
        ({"bundles": ["etl"]}, PROMOTER, "etl2", "prod", False),
        ({"bundles": ["etl"]}, PROMOTER, "ETL", "prod", False),
        ({"bundles": ["etl"]}, PUBLISHER, "reports", None, False),
        ({"bundles": ["reports", "etl"]}, PROMOTER, "etl", "prod", True),
        ({"bundles": ["reports", "*"]}, PROMOTER, "etl", "prod", True),
        ({"channels": ["staging"]}, PROMOTER, "etl", "prod", False),
        ({"channels": ["staging"]}, PROMOTER, "etl", "staging", True),
        ({"channels": ["prod"]}, PROMOTER, "etl", "prod-eu", False),
        ({"channels": ["staging"]}, PUBLISHER, "etl", None, True),
    ],
)
def test_key_counts_for_what_it_names(
    changes: dict[str, Any], role: str, bundle: str, channel: str | None, counts: bool
) -> None:
    ring = keyring_of([CI], **changes)
    assert counting(ring, role, bundle, channel) == (["ci"] if counts else [])


def test_key_is_not_every_bundles_because_of_every_channel() -> None:
    ring = keyring_of([CI], bundles=["etl"], channels=["*"])
    assert counting(ring, bundle="reports") == []
    ring = keyring_of([CI], bundles=["*"], channels=["staging"])
    assert counting(ring) == []


# Rule 4: from when until when.


@pytest.mark.parametrize(
    ("changes", "counts"),
    [
        ({"not_before": "2026-11-22T11:59:59Z"}, True),
        ({"not_before": "2026-11-22T12:00:00Z"}, True),
        ({"not_before": "2026-11-22T12:00:00.0Z"}, True),
        ({"not_before": "2026-11-22T12:00:00.001Z"}, False),
        ({"not_before": "2026-11-22T12:00:01Z"}, False),
        ({"not_after": "2026-11-22T11:59:59Z"}, False),
        ({"not_after": "2026-11-22T12:00:00Z"}, False),
        ({"not_after": "2026-11-22T12:00:00.000Z"}, False),
        ({"not_after": "2026-11-22T12:00:00.001Z"}, True),
        ({"not_after": "2026-11-22T12:00:01Z"}, True),
        ({"not_before": "2026-11-22T12:00:00Z", "not_after": "2026-11-22T12:00:01Z"}, True),
        ({"not_before": None, "not_after": None}, True),
    ],
)
def test_key_counts_from_its_first_moment_until_just_before_its_last(changes: dict[str, Any], counts: bool) -> None:
    assert counting(keyring_of([CI], **changes)) == (["ci"] if counts else [])


# Rule 5: requirements.


def test_one_of_each_is_required_where_nothing_is_said() -> None:
    found = keyring_of([CI]).required("etl", "prod")
    assert (found.publishers, found.promoters, found.epoch) == (1, 1, 0)


def test_what_is_required_says_of_what() -> None:
    ring = keyring_of([CI], {"promoters": 2})
    for channel, named in (("prod", "prod"), (None, "*")):
        found = ring.required("etl", channel)
        assert (found.bundle, found.channel) == ("etl", named)


def test_each_role_has_its_own_number_also_where_its_name_was_read_from_a_file() -> None:
    found = keyring_of([CI], {"publishers": 3, "promoters": 2}).required("etl", "prod")
    assert [found.signatures(role) for role in (PUBLISHER, PROMOTER)] == [3, 2]
    assert [found.signatures(role) for role in json.loads('["publisher", "promoter"]')] == [3, 2]


@pytest.mark.parametrize("role", ["publishers", "promoters"])
def test_one_to_sixteen_signatures_can_be_required(role: str) -> None:
    for number in (1, 16):
        assert getattr(keyring_of([CI], {role: number}).required("etl", "prod"), role) == number
    for number in (0, 17):
        with pytest.raises(Malformed, match=f"{role}: {number} is not between 1 and 16"):
            keyring_of([CI], {role: number})


def test_requirement_holds_for_what_it_names() -> None:
    ring = keyring_of([CI], {"bundle": "etl", "channel": "prod", "promoters": 2, "epoch": 3})
    assert (ring.required("etl", "prod").promoters, ring.required("etl", "prod").epoch) == (2, 3)
    for bundle, channel in (("etl", "staging"), ("reports", "prod")):
        assert (ring.required(bundle, channel).promoters, ring.required(bundle, channel).epoch) == (1, 0)


def test_versions_have_no_channel_so_every_requirement_of_their_bundle_holds() -> None:
    ring = keyring_of([CI], {"bundle": "etl", "channel": "prod", "publishers": 3}, {"publishers": 2})
    assert [ring.required(bundle).publishers for bundle in ("etl", "reports")] == [3, 2]


def test_strictest_requirement_holds_whatever_their_order() -> None:
    """A general rule is not loosened by one that is more exact, nor the other way round."""
    rules: tuple[dict[str, Any], ...] = (
        {"promoters": 2, "epoch": 1},
        {"channel": "prod", "promoters": 1, "epoch": 4},
        {"bundle": "etl"},
    )
    for order in permutations(rules):
        found = keyring_of([CI], *order).required("etl", "prod")
        assert (found.promoters, found.epoch) == (2, 4)


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ({"requirements": []}, "format"),
        ({"format": 2, "requirements": []}, "format"),
        ({"format": 1}, "requirements"),
        ({"format": 1, "requirements": {}}, "requirements"),
        ({"format": 1, "requirements": [], "promoters": 2}, "promoters"),
        ({"format": 1, "requirements": [{"promoters": 0}]}, "requirements[0].promoters"),
        ({"format": 1, "requirements": [{}, {"publishers": -1}]}, "requirements[1].publishers"),
        ({"format": 1, "requirements": [{"promoters": 17}]}, "requirements[0].promoters"),
        ({"format": 1, "requirements": [{"promoters": True}]}, "requirements[0].promoters"),
        ({"format": 1, "requirements": [{"promoters": "2"}]}, "requirements[0].promoters"),
        ({"format": 1, "requirements": [{"promotors": 2}]}, "requirements[0].promotors"),
        ({"format": 1, "requirements": [{"epoch": -1}]}, "requirements[0].epoch"),
        ({"format": 1, "requirements": [{"bundle": "etl/x"}]}, "requirements[0].bundle"),
        ({"format": 1, "requirements": [{"channel": ""}]}, "requirements[0].channel"),
        ({"format": 1, "requirements": [{"channel": ["prod"]}]}, "requirements[0].channel"),
    ],
)
def test_requirements_with_a_mistake_are_refused_and_the_field_is_named(document: dict[str, Any], says: str) -> None:
    with pytest.raises(Malformed) as refused:
        read_keyring({"ci.json": CI.entry(), "requirements.json": json.dumps(document).encode()})
    assert says in refused.value.message


def test_keyring_cannot_be_changed_after_it_was_read() -> None:
    ring = keyring_of([CI], {"promoters": 2})
    for value, name in ((ring, "requirements"), (ring.keys[0], "roles"), (ring.requirements[0], "promoters")):
        with pytest.raises(FrozenInstanceError):
            setattr(value, name, ())


def test_empty_requirements_are_read_as_nothing_said() -> None:
    assert keyring_of([CI], {}).requirements == (Requirement(),)


# What is written is what is read.

_names = st.lists(st.sampled_from(["*", "etl", "reports", "a.b_c-d", "N" * 63]), min_size=1, max_size=4)
_roles = st.lists(st.sampled_from(keyring.ROLES), min_size=1, max_size=3)
_times = st.one_of(
    st.none(),
    st.datetimes().map(lambda one: one.strftime("20%y-%m-%dT%H:%M:%SZ")),
    st.integers(0, 999).map(lambda one: f"2026-11-22T12:00:00.{one:03}Z"),
)


@settings(max_examples=60, deadline=None)
@given(_roles, _names, _names, _times, _times)
def test_key_that_was_written_comes_back(
    roles: list[str], bundles: list[str], channels: list[str], start: str | None, end: str | None
) -> None:
    assume(not keyring.never_counts(start, end))
    key = Key("ci", CI.public, tuple(roles), tuple(bundles), tuple(channels), start, end)
    (found,) = read_keyring({"ci.json": keyring.write_key(key, CI.pem)}).keys
    for name in ("name", "roles", "bundles", "channels", "not_before", "not_after"):
        assert getattr(found, name) == getattr(key, name)
    assert found.public.key_id == key.public.key_id


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.sampled_from(["a.json", "b.json", "requirements.json"]), st.binary(max_size=200)))
def test_keyring_of_any_bytes_is_refused_and_never_crashes(files: dict[str, bytes]) -> None:
    with pytest.raises((Malformed, Untrusted)):
        read_keyring(files)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(
        st.builds(
            Requirement,
            bundle=st.sampled_from(["*", "etl", "reports"]),
            channel=st.sampled_from(["*", "prod", "staging"]),
            publishers=st.integers(1, 16),
            promoters=st.integers(1, 16),
            epoch=st.integers(0, 9),
        ),
        max_size=5,
    ),
    st.data(),
)
def test_more_rules_never_require_less(rules: list[Requirement], data: st.DataObject) -> None:
    some = data.draw(st.lists(st.sampled_from(rules), unique_by=id)) if rules else []
    for channel in ("prod", "staging", None):
        every, fewer = (Keyring((), tuple(one)).required("etl", channel) for one in (rules, some))
        assert (every.publishers, every.promoters, every.epoch) >= (1, 1, 0)
        assert every.publishers >= fewer.publishers
        assert every.promoters >= fewer.promoters
        assert every.epoch >= fewer.epoch
