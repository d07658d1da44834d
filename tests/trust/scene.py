"""The scene of an attack: a store that a thief can write to, a pod that follows it with a keyring, and who has keys.

v1 is live on the pod, v2 and v3 are published, and the honest next record makes the next of them live. The thief has
every right to the store, and of the keys only those that an attack names.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from dagferry_schemas import layout, statement
from dagferry_schemas.dsse import RECORD_TYPE, STATEMENT_TYPE
from dagferry_schemas.names import digest_of
from dagferry_schemas.pins import Pin
from dagferry_schemas.record import Record
from dagferry_schemas.version import Version
from tests.agent.shelf import BUNDLE, CHANNEL, ORIGIN, TIME
from tests.agent.test_delivery import ONE, TWO, Pod
from tests.schemas.holders import Holder, requirements, signed_envelope

if TYPE_CHECKING:
    from pathlib import Path

    from dagferry_schemas.record import Live

THREE: Final = {**TWO, "dag_b.py": b"b = 3\n"}
CI: Final = Holder("ci")
"""Publisher and promoter of everything."""
OPS: Final = Holder("ops", curve=True)
"""A promoter of this channel and this bundle."""
BUILD: Final = Holder("build")
"""A publisher, and no promoter."""
RELEASE: Final = Holder("release")
"""A promoter, and no publisher."""
STAGING: Final = Holder("staging")
"""Of another channel."""
REPORTS: Final = Holder("reports")
"""Of another bundle."""
EXPIRED: Final = Holder("expired")
EARLY: Final = Holder("early")
GONE: Final = Holder("gone")
"""It was in the keyring until yesterday."""
THIEF: Final = Holder("thief")

LATER: Final = "2099-01-01T00:00:00Z"
LONG_AGO: Final = "2020-01-01T00:00:00Z"
HEAD: Final = layout.head(BUNDLE, CHANNEL)
KEYS: Final[dict[Holder, dict[str, Any]]] = {
    CI: {},
    OPS: {"roles": ["promoter"], "channels": [CHANNEL], "bundles": [BUNDLE]},
    BUILD: {"roles": ["publisher"]},
    RELEASE: {"roles": ["promoter"]},
    STAGING: {"channels": ["staging"]},
    REPORTS: {"bundles": ["reports"]},
    EXPIRED: {"not_after": LONG_AGO},
    EARLY: {"not_before": LATER},
}


class Scene:
    """One store, one pod, and what the thief does between them."""

    def __init__(self, folder: Path, *, promoters: int = 1) -> None:
        self.pod = Pod(folder, signer=CI)
        self.store = self.pod.store_folder
        self.signers = (CI, OPS)[:promoters]
        for holder, counting in KEYS.items():
            (self.keyring / f"{holder.name}.json").write_bytes(holder.entry(**counting))
        (self.keyring / "requirements.json").write_bytes(requirements({"promoters": promoters}))
        self.one, self.two, self.three = (
            self.pod.shelf.publish(version, files) for version, files in (("v1", ONE), ("v2", TWO), ("v3", THREE))
        )
        self.upcoming: Live = self.one
        first = Record(BUNDLE, CHANNEL, 1, 1, None, "n1", TIME, "promote", "test", "", self.one)
        self.seen, self.seen_stored = first, b""
        self.deliver(first)
        self._backup = folder / "backup"
        shutil.copytree(self.store, self._backup / "store")
        shutil.copytree(self.keyring, self._backup / "keyring")

    @property
    def keyring(self) -> Path:
        return self.pod.keyring

    def deliver(self, record: Record) -> None:
        """An honest record, which the pod pulls; another version comes after it."""
        self.seen, self.seen_stored = record, self.put(record, *self.signers)
        self.pod.delivery.pull()
        self.upcoming = {self.one: self.two, self.two: self.three}[record.live]

    # What the thief can do.

    def write(self, key: str, body: bytes) -> None:
        """Put any bytes under any name."""
        path = self.store / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_bytes(body)

    def read(self, key: str) -> bytes:
        return (self.store / key).read_bytes()

    def following(self, **changes: Any) -> Record:  # noqa: ANN401 (typed by the fields)
        """The record after the one that the pod has seen, as somebody may want it to be: by default the honest one."""
        made = self.seen.succeed(head=self.seen_stored, nonce="next", live=self.upcoming)
        return replace(made, **changes)

    def put(self, record: Record, *holders: Holder) -> bytes:
        """Make ``record``, signed by ``holders``, the head; its stored bytes."""
        stored = signed_envelope(record.to_payload(), RECORD_TYPE, *holders)
        self.write(HEAD, stored)
        return stored

    def vouch(self, *holders: Holder, version: str = "v2", about: bytes | None = None, kind: str | None = None) -> None:
        """Replace the statement of v2 by one that ``holders`` signed, about ``version`` with that document."""
        document = self.read(layout.version(BUNDLE, version)) if about is None else about
        published = Version.from_bytes(self.read(layout.version(BUNDLE, version)), "version")
        payload = statement.write(published, Pin(digest_of(document), len(document)), ORIGIN)
        self.write(layout.statement(BUNDLE, "v2"), signed_envelope(payload, kind or STATEMENT_TYPE, *holders))

    def edit(self, change: dict[str, Any]) -> None:
        """Put the honest next head there, with fields of its envelope changed."""
        stored = json.loads(self.put(self.following(), *self.signers))
        self.write(HEAD, json.dumps(stored | change).encode())

    # What has to be so.

    def disk(self) -> dict[str, bytes]:
        """What Airflow reads, where the link leads, and what the agent remembers."""
        link = (self.pod.root / "current").readlink()
        memory = (self.pod.root / "state.json").read_bytes()
        return {**self.pod.live(), "-> ": str(link).encode(), "state": memory}

    def mend(self) -> Record:
        """The store and the keyring are put right, and the honest next record, which is returned, is written."""
        for name, folder in (("store", self.store), ("keyring", self.keyring)):
            if folder.is_dir():
                shutil.rmtree(folder)
            else:
                folder.unlink(missing_ok=True)
            shutil.copytree(self._backup / name, folder)
        honest = self.following()
        self.put(honest, *self.signers)
        return honest
