"""Signing: with which keys a command signs what it writes, and what it demands of what it builds upon.

1. Who signs verifies: a promoter's record carries on what the head before it says, and would make a forged one real.
   Without a keyring the signers' own keys are the only ones that are believed.
2. Who verifies signs: a record that is not signed would stop every agent that has a keyring.
3. Private keys stay where they are: in a file, or in a key service that signs (securesystemslib's signers).
"""

from __future__ import annotations

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
    if colon and scheme in SERVICES:
        signer = _open_service(scheme, rest, uri)
    else:
        signer = _open_file(Path(uri.removeprefix(FILE)).expanduser())
    from dagferry_schemas.signatures import SCHEMES

    if signer.public_key.scheme not in SCHEMES:
        raise Usage(
            f"the key {uri} is of the kind {signer.public_key.scheme}", "use ed25519, or ECDSA on P-256 with SHA-256"
        )
    return signer


def _open_file(path: Path) -> Signer:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    from securesystemslib.signer import CryptoSigner

    try:
        return CryptoSigner(load_pem_private_key(path.read_bytes(), None))
    except OSError as error:
        raise Usage(
            f"the key file {path} cannot be read: {error.strerror}",
            "give --signer a key file, awskms:KEY, gcpkms:KEY or hv:KEY; `dagferry keys generate` makes a file",
        ) from None
    except (ValueError, TypeError) as error:  # no PEM; a passphrase
        raise Usage(f"the key file {path} cannot be used: {error}", "it has to be a private key in PEM") from None


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
