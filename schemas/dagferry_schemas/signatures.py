"""Public keys, and whose signatures an envelope carries. The cryptography is securesystemslib's.

Key ids in an envelope are hints that nobody has signed: they decide nothing, and every key is tried on every signature.
Ed25519 is what key files hold, and ECDSA on P-256 with SHA-256 what the key services of clouds have; a key of another
kind is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.serialization import load_pem_public_key
from securesystemslib.signer import Signature, SSlibKey

from .dsse import pae
from .errors import Malformed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .dsse import Envelope

SCHEMES: Final = ("ed25519", "ecdsa-sha2-nistp256")
"""As securesystemslib names them."""
MAX_SIGNATURES: Final = 16
"""The most signatures that a document may carry."""


class PublicKey:
    """One public key. Two are the same if their ``key_id`` is."""

    def __init__(self, pem: str) -> None:
        try:
            self._key = SSlibKey.from_crypto(load_pem_public_key(pem.encode("ascii")))
        except Exception:  # noqa: BLE001 (what a parser of hostile bytes raises, nobody has listed)
            secret = "; it is a private key, which belongs to nobody but its signer" if "PRIVATE KEY" in pem else ""
            raise Malformed(f"not a public key in PEM form{secret}") from None
        if self._key.scheme not in SCHEMES:
            raise Malformed(f"a key of the kind {self._key.scheme}; use ed25519, or ECDSA on P-256")

    @property
    def key_id(self) -> str:
        """64 hex digits, made of the key itself."""
        return self._key.keyid

    def has_signed(self, message: bytes, signature: bytes) -> bool:
        """Whether ``signature`` is this key's over ``message``."""
        try:
            self._key.verify_signature(Signature(self.key_id, signature.hex()), message)
        except Exception:  # noqa: BLE001 (any doubt is a no)
            return False
        return True


def signers_of(envelope: Envelope, keys: Iterable[PublicKey]) -> set[str]:
    """The ids of those of ``keys`` that have signed the envelope's payload and type."""
    message = pae(envelope.payload_type, envelope.payload)
    signatures = {one.sig for one in envelope.signatures}
    return {key.key_id for key in keys if any(key.has_signed(message, one) for one in signatures)}
