"""Public keys and signatures: which kinds are taken, what they are over, and that key ids decide nothing."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, rsa, x25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st
from securesystemslib.dsse import Envelope as TheirEnvelope
from securesystemslib.signer import CryptoSigner

from dagferry_schemas.dsse import RECORD_TYPE, STATEMENT_TYPE, Envelope, Signature, pae, signed
from dagferry_schemas.errors import Malformed
from dagferry_schemas.layout import MAX_DOCUMENT
from dagferry_schemas.signatures import PublicKey, signers_of

from . import holders
from .holders import Holder, envelope, signed_envelope

if TYPE_CHECKING:
    from collections.abc import Callable

CI = Holder("ci")
CLOUD = Holder("cloud", curve=True)
STRANGER = Holder("stranger")
BODY = b'{"hello":"world"}'
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # of P-256's group (FIPS 186)


def read(raw: bytes) -> Envelope:
    return Envelope.from_bytes(raw, "envelope", limit=MAX_DOCUMENT)


def found(raw: bytes, *keys: Holder) -> set[str]:
    """Whose signatures the stored envelope carries, by name."""
    names = {one.public.key_id: one.name for one in keys}
    return {names[one] for one in signers_of(read(raw), [one.public for one in keys])}


# Kinds of keys.


@pytest.mark.parametrize("holder", [CI, CLOUD], ids=["Ed25519", "P-256"])
def test_key_of_a_kind_that_is_used_verifies_what_it_signed_and_nothing_else(holder: Holder) -> None:
    made = holder.sign_bytes(b"message")
    assert holder.public.has_signed(b"message", made)
    for message, signature in (
        (b"Message", made),
        (b"", made),
        (b"message", made[:-1]),
        (b"message", made + b"\0"),
        (b"message", bytes([made[0] ^ 1]) + made[1:]),
        (b"message", b""),
        (b"message", bytes(64)),
        (b"message", STRANGER.sign_bytes(b"message")),
    ):
        assert not holder.public.has_signed(message, signature)


def _pem(private: object) -> str:
    public = private.public_key()  # type: ignore[attr-defined]
    return str(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())


REFUSED_KEYS: dict[str, Callable[[], str]] = {
    "RSA": lambda: _pem(rsa.generate_private_key(65537, 2048)),
    "P-384": lambda: _pem(ec.generate_private_key(ec.SECP384R1())),
    "P-521": lambda: _pem(ec.generate_private_key(ec.SECP521R1())),
    "secp256k1": lambda: _pem(ec.generate_private_key(ec.SECP256K1())),
    "DSA": lambda: _pem(dsa.generate_private_key(1024)),
    "Ed448": lambda: _pem(ed448.Ed448PrivateKey.generate()),
    "X25519": lambda: _pem(x25519.X25519PrivateKey.generate()),
    "private Ed25519": lambda: CI.private_pem,
    "private P-256": lambda: CLOUD.private_pem,
    "garbage in PEM": lambda: "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
    "cut off": lambda: CI.pem[: len(CI.pem) // 2],
    "no PEM": lambda: base64.b64encode(CI.pem.encode()).decode(),
    "ssh": lambda: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl me",
    "letters that are not ASCII": lambda: "ß" + CI.pem,
    "empty": lambda: "",
}


@pytest.mark.parametrize("kind", REFUSED_KEYS)
def test_key_of_another_kind_is_refused_and_never_shown(kind: str) -> None:
    pem = REFUSED_KEYS[kind]()
    with pytest.raises(Malformed) as refused:
        PublicKey(pem)
    secret = "".join(pem.splitlines()[1:-1])
    assert not secret or secret[:24] not in refused.value.message
    assert ("it is a private key" in refused.value.message) is kind.startswith("private")


def test_refusal_of_a_key_repeats_nothing_of_what_it_was_given() -> None:
    """A parser may: here it would be the number of a kind that is 60 numbers long."""
    kind = b"\x06\x3d\x2a" + b"\x03" * 60
    inner = b"\x30" + bytes([len(kind)]) + kind + b"\x03\x02\x00\x00"
    pem = base64.encodebytes(b"\x30" + bytes([len(inner)]) + inner).decode()
    with pytest.raises(Malformed, match=r"^not a public key in PEM form$"):
        PublicKey(f"-----BEGIN PUBLIC KEY-----\n{pem}-----END PUBLIC KEY-----\n")


@settings(max_examples=60, deadline=None)
@given(st.one_of(st.text(max_size=200), st.text(max_size=80).map(lambda text: f"-----BEGIN PUBLIC KEY-----\n{text}")))
def test_any_text_is_no_key_and_never_crashes(text: str) -> None:
    with pytest.raises(Malformed):
        PublicKey(text)


def test_same_key_has_the_same_id_however_it_is_written() -> None:
    assert PublicKey(CI.pem.replace("\n", "\r\n")).key_id == CI.public.key_id
    assert len({CI.public.key_id, CLOUD.public.key_id, STRANGER.public.key_id}) == 3


# What a signature is over.


@given(st.text(max_size=40), st.binary(max_size=200))
def test_pre_authentication_encoding_is_that_of_securesystemslib(kind: str, body: bytes) -> None:
    assert pae(kind, body) == TheirEnvelope(body, kind, {}).pae()
    assert pae(kind, body) == holders.pae(kind.encode(), body)


@given(st.tuples(st.text(max_size=4), st.binary(max_size=8)), st.tuples(st.text(max_size=4), st.binary(max_size=8)))
def test_two_envelopes_never_have_one_encoding(one: tuple[str, bytes], other: tuple[str, bytes]) -> None:
    assert (pae(*one) == pae(*other)) == (one == other)


def test_border_between_type_and_body_cannot_be_moved() -> None:
    kind, body = "a", b"1 x 3 yyy"
    assert pae(kind, body) != pae("a 9 1 x", b"yyy")
    moved = envelope(b"yyy", "a 9 1 x", [("", CI.sign_bytes(pae(kind, body)))])
    assert found(moved, CI) == set()


@pytest.mark.parametrize("holder", [CI, CLOUD], ids=["Ed25519", "P-256"])
def test_what_we_write_securesystemslib_verifies_and_the_other_way_round(holder: Holder) -> None:
    theirs = TheirEnvelope.from_dict(json.loads(signed(BODY, RECORD_TYPE, holder.sign)))
    signer = CryptoSigner(holder._private)
    assert set(theirs.verify([signer.public_key], 1)) == {holder.public.key_id}
    made = TheirEnvelope(BODY, RECORD_TYPE, {})
    made.sign(signer)
    assert found(json.dumps(made.to_dict()).encode(), holder) == {holder.name}


def test_signature_is_over_type_and_body() -> None:
    (one,) = CI.sign(pae(RECORD_TYPE, BODY))
    for kind, body, counts in (
        (RECORD_TYPE, BODY, True),
        (STATEMENT_TYPE, BODY, False),
        (RECORD_TYPE + " ", BODY, False),
        (RECORD_TYPE, BODY + b" ", False),
        (RECORD_TYPE, b"", False),
    ):
        assert signers_of(Envelope(body, kind, (one,)), [CI.public]) == ({CI.public.key_id} if counts else set())


def test_signature_over_the_bare_body_or_its_base64_is_none() -> None:
    for message in (BODY, base64.b64encode(BODY), RECORD_TYPE.encode() + BODY):
        assert found(envelope(BODY, RECORD_TYPE, [("", CI.sign_bytes(message))]), CI) == set()


# Key ids are hints.


@pytest.mark.parametrize("keyid", [None, "", "f" * 64, STRANGER.public.key_id, CI.public.key_id, "../../etc", "ß"])
def test_key_id_in_the_envelope_decides_nothing(keyid: str | None) -> None:
    message = pae(RECORD_TYPE, BODY)
    right = envelope(BODY, RECORD_TYPE, [(keyid, CI.sign_bytes(message))])
    assert found(right, CI, STRANGER) == {"ci"}
    forged = envelope(BODY, RECORD_TYPE, [(keyid, Holder("thief").sign_bytes(message))])
    assert found(forged, CI, STRANGER) == set()


def test_key_ids_that_are_swapped_or_doubled_neither_add_nor_take_away() -> None:
    message = pae(RECORD_TYPE, BODY)
    ids, made = (CI.public.key_id, CLOUD.public.key_id), (CI.sign_bytes(message), CLOUD.sign_bytes(message))
    for order in (ids, ids[::-1], (ids[0], ids[0]), ("", "")):
        assert found(envelope(BODY, RECORD_TYPE, zip(order, made, strict=True)), CI, CLOUD) == {"ci", "cloud"}
    one_key = envelope(BODY, RECORD_TYPE, [(ids[0], made[0]), (ids[1], made[0])])
    assert found(one_key, CI, CLOUD) == {"ci"}


def test_junk_between_signatures_hides_none() -> None:
    message = pae(RECORD_TYPE, BODY)
    junk = [("", b""), (CI.public.key_id, b"\0" * 64), ("x", b"\xff" * 72)]
    assert found(envelope(BODY, RECORD_TYPE, [*junk, ("", CI.sign_bytes(message)), *junk]), CI) == {"ci"}


def test_two_signatures_of_one_key_are_one_signer() -> None:
    """ECDSA gives another signature each time, and anybody can turn (r, s) into (r, -s)."""
    message = pae(RECORD_TYPE, BODY)
    first, second = CLOUD.sign_bytes(message), CLOUD.sign_bytes(message)
    r, s = decode_dss_signature(first)
    turned = encode_dss_signature(r, ORDER - s)
    assert len({first, second, turned}) == 3
    assert all(CLOUD.public.has_signed(message, one) for one in (first, second, turned))
    assert found(envelope(BODY, RECORD_TYPE, [("", one) for one in (first, second, turned)]), CLOUD, CI) == {"cloud"}


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=100), st.sets(st.sampled_from([CI, CLOUD, STRANGER])), st.sets(st.sampled_from([CI, CLOUD])))
def test_signers_are_exactly_those_who_signed_and_are_asked_for(
    body: bytes, signing: set[Holder], asked: set[Holder]
) -> None:
    raw = signed_envelope(body, RECORD_TYPE, *signing)
    assert found(raw, *asked) == {one.name for one in signing & asked}


@pytest.mark.parametrize("alphabet", [base64.b64encode, base64.urlsafe_b64encode], ids=["standard", "URL-safe"])
def test_signature_in_either_alphabet_is_read(alphabet: object) -> None:
    document = json.loads(signed_envelope(BODY, RECORD_TYPE, CI))
    document["signatures"][0]["sig"] = alphabet(CI.sign_bytes(pae(RECORD_TYPE, BODY))).decode()  # type: ignore[operator]
    assert found(json.dumps(document).encode(), CI) == {"ci"}


def test_our_form_of_an_envelope_is_read_back() -> None:
    one = Envelope(BODY, RECORD_TYPE, (Signature("k", b"\0\xff"), Signature("", b"")))
    assert read(one.to_bytes()) == one
