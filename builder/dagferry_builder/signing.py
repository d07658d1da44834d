"""Signing: with which keys a command signs what it writes, and what it demands of what it builds upon.

1. Who signs verifies: a promoter's record carries on what the head before it says, and would make a forged one real.
   Without a keyring the signers' own keys are the only ones that are believed.
2. Who verifies signs: a record that is not signed would stop every agent that has a keyring.
3. Private keys stay where they are: in a file, or in a key service that signs (securesystemslib's signers).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dagferry_schemas.dsse import Signature, nobody
from dagferry_schemas.errors import DeliveryFailed, Usage
from dagferry_schemas.keyring import ROLES, Key, Keyring
from dagferry_schemas.trust import Policy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from securesystemslib.signer import Signer

    from dagferry_schemas.dsse import Sign

SERVICES: Final = {"awskms": "awskms", "gcpkms": "gcpkms", "hv": "vault"}
"""URI schemes of key services (AWS KMS, Google Cloud KMS, HashiCorp Vault), and securesystemslib's extra for each."""
FILE: Final = "file:"


@dataclass(frozen=True)
class Signing:
    """What a command demands of signatures, and how it signs."""

    policy: Policy = Policy.UNSIGNED
    sign: Sign = nobody
    adopts: bool = False
    """Whether a head that nobody has signed is believed as it is, so that it can be signed."""

    @property
    def signs(self) -> bool:
        """Whether it has a key."""
        return self.sign is not nobody


UNSIGNED: Final = Signing()


class Signers:
    """The keys that ``uris`` name: a path (or ``file:PATH``) to one in PEM, or a key service's URI. Raises `Usage`."""

    def __init__(self, uris: Sequence[str]) -> None:
        self._signers = [open_signer(uri) for uri in uris]

    def sign(self, message: bytes) -> tuple[Signature, ...]:
        """One signature of each key. Raises `DeliveryFailed` if a key service does not answer."""
        return tuple(_sign_with(one, message) for one in self._signers)

    def keyring(self) -> Keyring:
        """Nobody but these keys, for everything."""
        from .keys import public_of

        return Keyring(
            tuple(Key(f"signer-{number}", public_of(one), ROLES) for number, one in enumerate(self._signers, 1))
        )


def _sign_with(signer: Signer, message: bytes) -> Signature:
    try:
        signed = signer.sign(message)
    except Exception as error:  # noqa: BLE001 (each key service raises what its library does)
        raise DeliveryFailed(
            f"the key {signer.public_key.keyid[:16]}… did not sign: {error}",
            "nothing was written; look at the rights and the reachability of the key service",
            code="signing_failed",
        ) from None
    return Signature(signed.keyid, bytes.fromhex(signed.signature))


def open_signer(uri: str) -> Signer:
    """The signer at ``uri``. Raises `Usage` if there is none that can be used."""
    scheme, colon, rest = uri.partition(":")
    signer = _open_service(scheme, rest, uri) if colon and scheme in SERVICES else _open_file(uri)
    from dagferry_schemas.signatures import SCHEMES

    if signer.public_key.scheme not in SCHEMES:
        raise Usage(
            f"the key {uri} is of the kind {signer.public_key.scheme}", "use ed25519, or ECDSA on P-256 with SHA-256"
        )
    return signer


def _open_file(uri: str) -> Signer:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    from securesystemslib.signer import CryptoSigner

    path = Path(uri.removeprefix(FILE)).expanduser()
    try:
        stored = path.read_bytes()
    except OSError as error:
        raise Usage(f"the key file {path} cannot be read: {error.strerror}", _how_to_name(uri)) from None
    try:
        return CryptoSigner(load_pem_private_key(stored, None))
    except Exception:  # noqa: BLE001 (what a parser raises on any file, nobody has listed)
        raise Usage(f"the key file {path} cannot be used: {_what_it_is(stored)}", "name a private key in PEM") from None


def _how_to_name(uri: str) -> str:
    """What to do about a key that is at no path."""
    if "," in uri:
        return "one --signer for each key; in DAGFERRY_SIGNER there are spaces between them"
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:", uri):
        return f"key services are {', '.join(f'{scheme}:' for scheme in SERVICES)}; anything else is a path"
    return "give --signer a key file, awskms:KEY, gcpkms:KEY or hv:KEY; `dagferry keys generate` makes a file"


def _what_it_is(stored: bytes) -> str:
    if b"ENCRYPTED" in stored[:4096]:
        return "it has a passphrase, and nobody is there to type it; give CI one without, as a secret"
    if b"PUBLIC KEY" in stored[:4096]:
        return "it is a public key; the private one signs"
    return "it is no private key in PEM"


def _open_service(scheme: str, name: str, uri: str) -> Signer:
    from securesystemslib import signer as library

    kinds: dict[str, Any] = {"awskms": library.AWSSigner, "gcpkms": library.GCPSigner, "hv": library.VaultSigner}
    try:
        private, public = kinds[scheme].import_(name)
        opened: Signer = library.Signer.from_priv_key_uri(private, public)
    except Exception as error:  # noqa: BLE001 (each key service raises what its library does)
        if type(error).__name__ == "UnsupportedLibraryError":
            hint = (
                f"pip install 'securesystemslib[{ {'awskms': 'awskms', 'gcpkms': 'gcpkms', 'hv': 'vault'}[scheme] }]'"
            )
            raise Usage(f"{uri} needs a package that is not here: {error}", hint) from None
        raise DeliveryFailed(
            f"the key {uri} cannot be had: {error}", "look at its name, and at your rights", code="signing_failed"
        ) from None
    return opened
