"""Valid bytes of each reader, and what they are made of: structure for mutations, words for a dictionary."""

from __future__ import annotations

import base64
import json
from dataclasses import asdict
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from dagferry_agent.state import Pin as PinnedHere
from dagferry_agent.state import Served, State
from dagferry_schemas.compression import compress, decompress
from dagferry_schemas.delta import encode
from dagferry_schemas.dsse import RECORD_TYPE
from dagferry_schemas.names import digest_of
from dagferry_schemas.pins import Pin
from dagferry_schemas.record import Candidate, Delta, Hold, Live, Previous, Record
from dagferry_schemas.tree import TreeFile, make_tree
from dagferry_schemas.tree_index import TreeIndex
from dagferry_schemas.trust import Floor
from dagferry_schemas.version import Version
from tests.evil.archives import TAR
from tests.evil.parts import FILES, GOOD, LIST

from .readers import BEFORE, BUNDLE, CHANNEL, NOW, VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping

_DIGEST: Final = digest_of(b"")
_LIVE: Final = Live(VERSION, Pin(_DIGEST, 300), GOOD.pins)
_RECORD: Final = Record(
    BUNDLE,
    CHANNEL,
    1,
    2,
    Previous(1, _DIGEST),
    "nonce",
    NOW,
    "rollback",
    "ada",
    "because",
    _LIVE,
    hold=Hold("ada", "because", NOW),
    critical=("live", "hold"),
    expires=NOW,
    candidate=Candidate(_LIVE, ("pod-1", "zone=a"), NOW),
    bad=("v1",),
    deltas=(Delta(_DIGEST, _DIGEST, Pin(_DIGEST, 10)),),
    extra={"new": {"field": [1, None, True, 1.5]}},
)
_VERSION: Final = Version(BUNDLE, VERSION, 40 * "a", 7, NOW, "v2", {"root": "dags"}, GOOD.pins, {"new": [1]})
_STATE: Final = State(
    BUNDLE,
    CHANNEL,
    Floor(1, 1, _DIGEST),
    (Served(_DIGEST, "v1", 1, NOW, NOW), Served(GOOD.tree, VERSION, None, NOW)),
    1_790_000_000_000,
    GOOD.tree,
    PinnedHere(VERSION, GOOD.tree, None),
)

DOCUMENTS: Final[Mapping[str, Any]] = {
    "record": json.loads(_RECORD.to_payload()),
    "version": json.loads(_VERSION.to_bytes()),
    "request": {"expect_generation": 3, "wait_seconds": 1.5},
    "tokens": [
        {"id": "ci", "sha256": _DIGEST, "scopes": ["pull:dags/prod", "status"], "not_before": NOW, "not_after": NOW}
    ],
    "state": json.loads(json.dumps({"format": 1, **asdict(_STATE)})),
}
"""The readers of JSON, and a valid document of each, as a value."""


def encoded(reader: str, document: object) -> bytes:
    """The bytes of a document as ``reader`` takes them: of a record, in its envelope."""
    raw = json.dumps(document).encode()
    if reader != "record":
        return raw
    payload = base64.b64encode(raw).decode()
    return json.dumps({"payload": payload, "payloadType": RECORD_TYPE, "signatures": []}).encode()


def _delta() -> bytes:
    """A file is another one, one is new and one goes."""
    first, second, *_ = sorted(FILES)
    files = {**FILES, first: FILES[first] + b"x = 1\n", "team/zz new.py": b"n = 1\n"}
    del files[second]
    after = make_tree(TreeFile(path, False, len(body), sha256(body).hexdigest()) for path, body in files.items())
    return encode(BEFORE, TreeIndex.of(after.files), lambda file: FILES[file.path], lambda file: files[file.path])


SEEDS: Final[Mapping[str, bytes]] = {
    **{reader: encoded(reader, document) for reader, document in DOCUMENTS.items()},
    "list": LIST,
    "tarball": GOOD.tarball,
    "delta": _delta(),
}
"""Valid bytes of every reader."""


def packed(reader: str, plain: bytes) -> bytes:
    """Plain bytes as ``reader`` takes them; the opposite of `unpacked`."""
    if reader == "delta":
        first = compress(plain)
        return len(first).to_bytes(4, "big") + first + SEEDS["delta"][_FIRST_FRAME_ENDS:]
    return compress(plain) if reader == "tarball" else encoded_payload(plain) if reader == "record" else plain


def encoded_payload(payload: bytes) -> bytes:
    """The envelope of a payload of any bytes."""
    text = base64.b64encode(payload).decode()
    return json.dumps({"payload": text, "payloadType": RECORD_TYPE, "signatures": []}).encode()


_FIRST_FRAME_ENDS: Final = 4 + int.from_bytes(SEEDS["delta"][:4], "big")
PLAIN: Final[Mapping[str, bytes]] = {
    **SEEDS,
    "record": _RECORD.to_payload(),
    "tarball": decompress(GOOD.tarball, "seed", limit=len(TAR)),
    "delta": decompress(SEEDS["delta"][4:_FIRST_FRAME_ENDS], "seed", limit=100_000),
}
"""The same without envelope and compression, where a changed byte gets further."""
