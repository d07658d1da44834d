"""Holders of signing keys, made from their names: the same name has the same key in every run.

What they sign is made with the cryptography library alone, so that nothing of dagferry signs what dagferry is to judge.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from dagferry_schemas.dsse import Signature
from dagferry_schemas.keyring import Keyring, read_keyring
from dagferry_schemas.signatures import PublicKey

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True)
class Holder:
    """Somebody with a private key: on P-256 if ``curve`` says so, else Ed25519."""

    name: str
    curve: bool = False

    @cached_property
    def _private(self) -> Ed25519PrivateKey | ec.EllipticCurvePrivateKey:
        seed = hashlib.sha256(self.name.encode()).digest()
        if self.curve:
            return ec.derive_private_key(int.from_bytes(seed[1:], "big"), ec.SECP256R1())
        return Ed25519PrivateKey.from_private_bytes(seed)

    @cached_property
    def pem(self) -> str:
        """The public key."""
        public = self._private.public_key()
        return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    @cached_property
    def private_pem(self) -> str:
        """The private key."""
        return self._private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()

    @cached_property
    def public(self) -> PublicKey:
        return PublicKey(self.pem)

    def sign_bytes(self, message: bytes) -> bytes:
        """A signature over ``message``, and nothing around it."""
        if isinstance(self._private, Ed25519PrivateKey):
            return self._private.sign(message)
        return self._private.sign(message, ec.ECDSA(hashes.SHA256()))

    def sign(self, message: bytes) -> tuple[Signature, ...]:
        """As `dsse.Sign` wants it."""
        return (Signature(self.public.key_id, self.sign_bytes(message)),)

    def entry(self, **changes: Any) -> bytes:  # noqa: ANN401 (JSON is dynamic)
        """The file of a keyring for this key, which counts for everything."""
        document = {"format": 1, "key": self.pem, "roles": ["publisher", "promoter"], "bundles": ["*"]}
        every = {**document, "channels": ["*"], **changes}
        return json.dumps({name: value for name, value in every.items() if value is not ...}).encode()


def together(*holders: Holder) -> Any:  # noqa: ANN401 (a `dsse.Sign`)
    """Signs with the keys of all of them."""
    return lambda message: tuple(one for holder in holders for one in holder.sign(message))


def requirements(*rules: dict[str, Any]) -> bytes:
    """The file of a keyring that says what is required."""
    return json.dumps({"format": 1, "requirements": list(rules)}).encode()


def keyring_of(holders: Iterable[Holder], *rules: dict[str, Any], **changes: Any) -> Keyring:  # noqa: ANN401
    """A keyring of these keys, each of which counts as ``changes`` say."""
    files = {f"{holder.name}.json": holder.entry(**changes) for holder in holders}
    return read_keyring(files | ({"requirements.json": requirements(*rules)} if rules else {}))


def pae(kind: bytes, body: bytes) -> bytes:
    """What a DSSE signature is over, as its protocol writes it."""
    return b" ".join((b"DSSEv1", str(len(kind)).encode(), kind, str(len(body)).encode(), body))


def envelope(
    payload: bytes, kind: str, signatures: Iterable[tuple[str | None, bytes]], *, stored_kind: str | None = None
) -> bytes:
    """An envelope with any signatures (key id, or None for no such field; bytes), written without dagferry."""
    fields = [
        ({} if keyid is None else {"keyid": keyid}) | {"sig": base64.b64encode(sig).decode()}
        for keyid, sig in signatures
    ]
    document = {"payload": base64.b64encode(payload).decode(), "payloadType": stored_kind or kind, "signatures": fields}
    return json.dumps(document).encode()


def signed_envelope(payload: bytes, kind: str, *holders: Holder) -> bytes:
    """An envelope that ``holders`` have signed."""
    message = pae(kind.encode(), payload)
    return envelope(payload, kind, [(one.public.key_id, one.sign_bytes(message)) for one in holders])
