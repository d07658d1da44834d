"""One attack on one pod: what the evil pull came to, what is on the disk afterwards, and whether a good one follows.

A case is a vector, a setting and a start: ``fresh`` is a pod without a release, ``live`` one that serves `LIVE`. The
store is a folder, the agent is a `Delivery` as `dagferry-agent` makes it. Whatever the tests judge is gathered here as
plain facts (`Facts`), by looking at the disk and not by asking the agent.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from dagferry_agent.delivery import Delivery, open_delivery
from dagferry_agent.settings import Settings
from dagferry_schemas import layout
from dagferry_schemas.dsse import RECORD_TYPE, Envelope
from dagferry_schemas.errors import DagferryError
from dagferry_schemas.names import digest_of, short_tree
from dagferry_schemas.pins import Content, Pin
from dagferry_schemas.record import Live, Previous, Record
from dagferry_schemas.version import Version

from .parts import FILES, GOOD, LIVE, NEXT, Edit, Parts, release

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .vector import Setting, Vector

Start = Literal["fresh", "live"]
STARTS: Final[tuple[Start, ...]] = ("fresh", "live")
BUNDLE: Final = "dags"
CHANNEL: Final = "prod"
TIME: Final = "2026-11-22T10:00:00Z"
PARTS_OF_A_ROOT: Final = {"active", "current", "lists", "lock", "locks", "releases", "staging", "state.json"}


@dataclass(frozen=True)
class Facts:
    """What an attack came to.

    ``error`` and ``code`` are empty if the pull succeeded; ``tampered`` is the code that mere tampering would have.
    ``outside`` and ``odd`` are what has changed outside the root, and what is in it and belongs to no release;
    ``leaked``: descriptors that stayed open. ``next_error``: why the good release was not delivered that came after.
    """

    error: str
    code: str
    message: str
    message_size: int
    tampered: str
    outside: list[str]
    odd: list[str]
    staging: list[str]
    live: bool
    memory: bool
    leaked: int
    next_error: str


class Case:
    """The folder of one case: a store, a root, and things that are nobody's business but their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = folder / "store"
        self.root = folder / "root"
        self.outside = folder / "outside"

    def prepare(self, start: Start) -> None:
        """A store whose channel has one release, and a pod that serves it, or none."""
        self.outside.mkdir(parents=True)
        (self.outside / "victim").write_bytes(b"precious\n")
        (self.folder / "root.txt").write_bytes(b"beside the root\n")
        self.promote(release(LIVE), 1)
        if start == "live":
            self.pull()

    def settings(self) -> Settings:
        """Those of the pod."""
        return Settings(str(self.store), BUNDLE, CHANNEL, self.root, "pod-1", durability="none")

    def pull(self) -> None:
        """One pull of a new agent. Raises `DagferryError`."""
        delivery = open_delivery(self.settings())
        delivery.prepare()
        delivery.pull()

    def place(self, key: str, body: bytes) -> Path:
        """Write an object, whatever is there, as somebody does who has the store's folder."""
        path = self.store / key
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            path.rmdir()
        path.unlink(missing_ok=True)
        path.write_bytes(body)
        return path

    def fill(self, parts: Parts, tree: str) -> tuple[Path, Path]:
        """Store the tarball and the file list under a tree's name; where they are."""
        tarball = self.place(layout.tarball(BUNDLE, tree), parts.tarball)
        return tarball, self.place(layout.files(BUNDLE, tree), parts.listed)

    def head(self, content: Content, generation: int, edit: Edit | None = None) -> None:
        """Make ``content`` what the channel says, with all documents that go with it."""
        version = f"v{generation}"
        commit = hashlib.sha1(version.encode()).hexdigest()
        document = Version(BUNDLE, version, commit, 1, TIME, None, {"root": ""}, content).to_bytes()
        self.place(layout.version(BUNDLE, version), document)
        path = self.store / layout.head(BUNDLE, CHANNEL)
        before = Previous(generation - 1, digest_of(path.read_bytes())) if generation > 1 else None
        live = Live(version, Pin(digest_of(document), len(document)), content)
        record = Record(BUNDLE, CHANNEL, 1, generation, before, f"n{generation}", TIME, "promote", "test", "", live)
        payload = json.loads(record.to_payload())
        if edit is not None:
            edit(payload)
        self.place(layout.head(BUNDLE, CHANNEL), Envelope(json.dumps(payload).encode(), RECORD_TYPE).to_bytes())

    def promote(self, parts: Parts, generation: int) -> None:
        """Store a good release, and make it what the channel says."""
        self.fill(parts, parts.tree)
        self.head(parts.pins, generation)

    def publish_evil(self, vector: Vector, setting: Setting) -> str:
        """Put the evil into the store; the code of what tells it from the good release if it is not pinned."""
        parts = vector.make[setting](self.outside)
        pins = GOOD.pins if setting == "tampered" else parts.pins
        tarball, listed = self.fill(parts, pins.tree)
        self.head(pins, 2, parts.edit)
        if vector.spoil is not None:
            vector.spoil(tarball, listed, self.outside)
        return _difference(listed, GOOD.listed, larger="corrupt") or _difference(tarball, GOOD.tarball)

    def attack(self, start: Start, *, tampered: str) -> Facts:
        """Pull what was published, look, and pull the next good release with the same agent."""
        around, memory = self.around(), self.memory()
        delivery = open_delivery(self.settings())
        delivery.prepare()
        opened = _descriptors()
        error, code, message = refusal_of(delivery)
        before = LIVE if start == "live" else {}
        facts = Facts(
            error=error,
            code=code,
            message=message[:1000],
            message_size=len(message),
            tampered=tampered,
            outside=changes(around, self.around()),
            odd=self.odd(before if error else None),
            staging=sorted(path.name for path in (self.root / "staging").iterdir()),
            live=self.live() == (before if error else FILES),
            memory=(self.memory() == memory) == bool(error),
            leaked=_descriptors() - opened,
            next_error="",
        )
        self.promote(release(NEXT), 3)
        return replace(facts, next_error=self.next_error(delivery))

    def next_error(self, delivery: Delivery) -> str:
        """Why the next good release is not live after a pull; empty if it is."""
        error, _, message = refusal_of(delivery)
        if error:
            return f"{error}: {message}"
        return "" if self.live() == NEXT else "its files are not those that are live"

    def around(self) -> dict[str, str]:
        """Everything beside the root: kind, mode, size, time, links and content."""
        found = {}
        for parent, folders, names in os.walk(self.folder):
            if Path(parent) == self.folder and "root" in folders:
                folders.remove("root")
            for name in (*folders, *names):
                path = Path(parent) / name
                at = path.lstat()
                content = digest_of(path.read_bytes()) if stat.S_ISREG(at.st_mode) else ""
                found[str(path)] = f"{at.st_mode:o} {at.st_size} {at.st_mtime_ns} {at.st_nlink} {content}"
        return found

    def memory(self) -> bytes:
        """What the pod remembers; empty if it has no memory."""
        path = self.root / "state.json"
        return path.read_bytes() if path.exists() else b""

    def live(self) -> dict[str, bytes]:
        """The files that Airflow reads."""
        top = self.root / "current"
        return {
            path.relative_to(top).as_posix(): path.read_bytes() for path in sorted(top.rglob("*")) if path.is_file()
        }

    def odd(self, released: Mapping[str, bytes] | None) -> list[str]:
        """What is in the root and does not belong there; ``released`` is the one release that there may be."""
        found = [path.name for path in self.root.iterdir() if path.name not in PARTS_OF_A_ROOT]
        for path in self.root.rglob("*"):
            if path != self.root / "current" and _is_odd(path, below=self.root / "releases"):
                found.append(f"{path.relative_to(self.root)}: {path.lstat().st_mode:o}")
        if released is not None:
            names = [short_tree(release(released).tree)] if released else []
            found += [path.name for path in (self.root / "releases").iterdir() if path.name not in names]
        return sorted(found)


def _is_odd(path: Path, *, below: Path) -> bool:
    at = path.lstat()
    if stat.S_ISDIR(at.st_mode):
        return stat.S_IMODE(at.st_mode) != 0o755
    if not stat.S_ISREG(at.st_mode):
        return True
    return path.is_relative_to(below) and stat.S_IMODE(at.st_mode) not in (0o444, 0o555)


def refusal_of(delivery: Delivery) -> tuple[str, str, str]:
    """Class, code and message of the error that a pull ends with; empty if it succeeds."""
    try:
        delivery.pull()
    except DagferryError as refused:
        return type(refused).__name__, refused.code, refused.message
    return "", "", ""


def changes(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """The paths that are other ones now."""
    return sorted(path for path in {*before, *after} if before.get(path) != after.get(path))


def _difference(path: Path, good: bytes, *, larger: str = "wrong_size") -> str:
    """The code of the refusal of an object in the place of a good one; empty if it is the good one, or is none."""
    if not path.is_file() or path.stat().st_size == len(good):
        return "wrong_digest" if path.is_file() and path.read_bytes() != good else ""
    return larger if path.stat().st_size > len(good) else "wrong_size"


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))
