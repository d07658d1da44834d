"""Keys as people handle them: a new one, and the file that tells a keyring of it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from dagferry_schemas.keyring import write_key
from dagferry_schemas.signatures import PublicKey
from dagferry_storage import disk

if TYPE_CHECKING:
    from pathlib import Path

    from securesystemslib.signer import Signer

    from dagferry_schemas.keyring import Key


def public_pem(signer: Signer) -> str:
    """The public half of a signer's key, in PEM."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    value: str = signer.public_key.keyval["public"]
    if signer.public_key.scheme != "ed25519":
        return value
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(value))
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii")


def public_of(signer: Signer) -> PublicKey:
    """The public half of a signer's key."""
    return PublicKey(public_pem(signer))


def entry(signer: Signer, key: Key) -> bytes:
    """The file of a keyring for ``signer``'s key, with the name, roles and validity of ``key``."""
    return write_key(key, public_pem(signer))


def generate(folder: Path, name: str) -> Path:
    """A new Ed25519 key in ``folder``, as ``NAME.pem``, which only its owner may read. Raises `MachineFault`."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path = folder / f"{name}.pem"
    with disk.doing(f"writing {path}"):
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(pem)
    return path
