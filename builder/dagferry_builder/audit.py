"""A channel's log for whoever has to answer for it: one object for each record, as it is stored and as it was verified.

``actor`` and ``reason`` are what the record's writer claimed. Whose signatures are over exactly the stored bytes is
``signed_by``, by the keyring that was given: null where none was, empty where nobody of it has signed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dagferry_schemas.dsse import Envelope
from dagferry_schemas.keyring import PROMOTER
from dagferry_schemas.layout import MAX_DOCUMENT
from dagferry_schemas.names import digest_of

if TYPE_CHECKING:
    from dagferry_schemas.keyring import Keyring
    from dagferry_schemas.record import Record


def entry(record: Record, stored: bytes, keyring: Keyring | None) -> dict[str, Any]:
    """What there is to say of ``record``, whose stored bytes are ``stored``."""
    whole = record.to_dict()
    envelope = Envelope.from_bytes(stored, "record", limit=MAX_DOCUMENT)
    return {
        "bundle": record.bundle,
        "channel": record.channel,
        "epoch": record.epoch,
        "generation": record.generation,
        "sha256": digest_of(stored),
        "previous": whole["previous"],
        "issued": record.issued,
        "expires": record.expires,
        "action": record.action,
        "actor": record.actor,
        "reason": record.reason,
        "version": record.live.version,
        "tree": record.live.content.tree,
        "version_record": whole["live"]["version_record"],
        "hold": whole["hold"],
        "candidate": whole["candidate"],
        "bad": whole["bad"],
        "nonce": record.nonce,
        "signatures": len(envelope.signatures),
        "signed_by": None if keyring is None else _signers(record, envelope, keyring),
    }


def _signers(record: Record, envelope: Envelope, keyring: Keyring) -> list[dict[str, Any]]:
    """The keys of ``keyring`` that have signed. ``counted``: each did, as a promoter of the channel, when it signed."""
    from dagferry_schemas.signatures import MAX_SIGNATURES, signers_of

    if not 0 < len(envelope.signatures) <= MAX_SIGNATURES:
        return []
    found = signers_of(envelope, [key.public for key in keyring.keys])
    return [
        {
            "name": key.name,
            "key_id": key.public.key_id,
            "counted": key.counts(PROMOTER, record.bundle, record.channel, record.issued),
        }
        for key in keyring.keys
        if key.public.key_id in found
    ]
