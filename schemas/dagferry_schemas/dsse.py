"""The DSSE envelope: signed bytes beside their signatures, never re-serialised in order to check.

Envelope 1.0.2 of secure-systems-lab/dsse: ``{payload, payloadType, signatures: [{keyid?, sig}]}`` with base64 of the
payload's exact bytes; unknown members are ignored. A signature is over `pae`. An envelope with no signature is how
dagferry stores an unsigned document: whether that is accepted is a policy of the reader (`trust`), not of this module.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from . import fields as reading
from .errors import Malformed

RECORD_TYPE: Final = "application/vnd.dagferry.record.v1+json"
"""Payload type of a channel record."""
STATEMENT_TYPE: Final = "application/vnd.in-toto+json"
"""Payload type of a version's statement."""


@dataclass(frozen=True)
class Signature:
    """One signature: base64 bytes, and an unauthenticated hint at the key."""

    keyid: str
    sig: bytes


@dataclass(frozen=True)
class Envelope:
    """A payload, exactly as it was signed, its type, and the signatures over both."""

    payload: bytes
    payload_type: str
    signatures: tuple[Signature, ...] = ()

    @classmethod
    def from_bytes(cls, raw: bytes, what: str, *, limit: int) -> Envelope:
        """The envelope in ``raw``, of at most ``limit`` bytes. Raises `Malformed`."""
        fields = reading.load(raw, what, limit=limit)
        return cls(
            payload=_decode(fields, "payload"),
            payload_type=fields.text("payloadType"),
            signatures=tuple(
                Signature(reading.optional(child, "keyid", child.text) or "", _decode(child, "sig"))
                for child in fields.children("signatures")
            ),
        )

    def to_bytes(self) -> bytes:
        """The stored form."""
        return reading.dump(
            {
                "payload": base64.b64encode(self.payload).decode(),
                "payloadType": self.payload_type,
                "signatures": [
                    {"keyid": one.keyid, "sig": base64.b64encode(one.sig).decode()} for one in self.signatures
                ],
            }
        )


Sign = Callable[[bytes], tuple[Signature, ...]]
"""Gives the signatures over a message."""


def nobody(_message: bytes) -> tuple[Signature, ...]:
    """The `Sign` of those who have no key."""
    return ()


def signed(payload: bytes, payload_type: str, sign: Sign) -> bytes:
    """The stored form of an envelope with the signatures that ``sign`` gives."""
    return Envelope(payload, payload_type, sign(pae(payload_type, payload))).to_bytes()


def pae(payload_type: str, payload: bytes) -> bytes:
    """The pre-authentication encoding: the bytes that a signature is over (DSSE protocol, section 2)."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def _decode(fields: reading.Fields, name: str) -> bytes:
    text = fields.text(name, most=2**31)
    try:
        # The protocol lets a writer choose either alphabet; a reader must accept both.
        return base64.b64decode(text.translate(_URL_SAFE), validate=True)
    except ValueError as error:  # binascii.Error is one; text that is not ASCII is a plain one
        raise Malformed(f"{fields.path}.{name}: not base64: {error}") from None


_URL_SAFE = str.maketrans("-_", "+/")
