"""Every rule by which a reader decides what to believe. No I/O: bytes and values in, verified values out.

A document:

1. A size cap holds before anything is parsed, and a foreseen format before anything is used (`Envelope`, `Record`,
   `Version`): a newer major format is refused.
2. The envelope's payload type is that of a record, exactly.
3. Signatures: the policy is a value, never an accident. The one policy of this release is `Policy.UNSIGNED`: records
   are believed without a signature, and status and log say so.
4. The record speaks of the bundle and the channel that were asked for, exactly.
5. A record with a critical field that this release does not honour is refused.
6. (epoch, generation) never goes back; the same (epoch, generation) with other bytes is an alarm, and so is the next
   generation of an epoch if it names another record as previous. A record's generation follows the one it names.

Content, in this order:

7. The file list's stored size and digest are those of the pin; it decompresses to at most what that many files need.
8. The tree digest computed from the file list is the one that was named, and the number of files is the pin's.
9. The tarball's stored size and digest are those of the pin, and its plain size is what the file list predicts.

`VerifiedTree` and `VerifiedTarball` can only be made here, and `unpack` accepts nothing else: what was not verified
cannot be unpacked by forgetting it. The plain bytes of a tarball are compared while they are written (`unpack`).
"""

from __future__ import annotations

import enum
import hashlib
import io
from dataclasses import InitVar, dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from . import plaintar
from .dsse import RECORD_TYPE, Envelope
from .errors import Corrupt, Malformed, Untrusted
from .layout import MAX_DOCUMENT
from .names import digest_of
from .record import Record, check_chain
from .tree import MAX_LINE, Tree, read_files
from .version import Version

if TYPE_CHECKING:
    from .pins import Content, Pin, TarballPin

_SEAL: Final = object()


class Policy(enum.Enum):
    """What a reader demands of a record's signatures."""

    UNSIGNED = "unsigned"


@dataclass(frozen=True)
class Floor:
    """The highest record that a reader has accepted: nothing below it is accepted again."""

    epoch: int
    generation: int
    sha256: str


@dataclass(frozen=True)
class TrustedRecord:
    """A record that passed rules 1 to 6, with its stored bytes."""

    record: Record
    stored: bytes

    @property
    def floor(self) -> Floor:
        """What a reader remembers of it."""
        return Floor(self.record.epoch, self.record.generation, digest_of(self.stored))


@dataclass(frozen=True)
class VerifiedTree:
    """A tree whose file list passed rules 7 and 8."""

    tree: Tree
    seal: InitVar[object]  # not kept: neither `dataclasses.replace` nor a look at another value gets hold of it

    def __post_init__(self, seal: object) -> None:
        _check_seal(seal)

    @property
    def stored(self) -> bytes:
        """The file list, as it is stored."""
        return self.tree.files.stored


@dataclass(frozen=True)
class VerifiedTarball:
    """The tarball of a verified tree, whose stored bytes passed rule 9."""

    tree: VerifiedTree
    pin: TarballPin
    seal: InitVar[object]

    def __post_init__(self, seal: object) -> None:
        _check_seal(seal)


def accept_record(stored: bytes, *, bundle: str, channel: str, policy: Policy, floor: Floor | None) -> TrustedRecord:
    """The record in ``stored``, if rules 1 to 6 let it pass. Raises `Malformed` or `Untrusted`."""
    record = read_record(stored, bundle=bundle, channel=channel, policy=policy)
    if record.unknown_critical:
        raise Untrusted(
            f"channel {channel!r}, generation {record.generation}: this release does not know the critical field "
            + ", ".join(map(repr, record.unknown_critical)),
            "upgrade dagferry here; until then the live release stays",
            code="unknown_critical",
        )
    trusted = TrustedRecord(record, stored)
    if floor is not None:
        _check_floor(trusted, floor)
    return trusted


def read_record(stored: bytes, *, bundle: str, channel: str, policy: Policy) -> Record:
    """The record in ``stored`` after rules 1 to 4: for reading history, not for acting upon it."""
    what = f"record of channel {channel!r}"
    envelope = Envelope.from_bytes(stored, what, limit=MAX_DOCUMENT)
    if envelope.payload_type != RECORD_TYPE:
        raise Untrusted(f"{what}: payload type {envelope.payload_type[:80]!r} instead of {RECORD_TYPE!r}")
    if policy is not Policy.UNSIGNED:
        raise Untrusted(f"{what}: the policy {policy!r} is not one of this release's", "use Policy.UNSIGNED")
    record = Record.from_payload(envelope.payload, what)
    if (record.bundle, record.channel) != (bundle, channel):
        raise Untrusted(
            f"{what}: it speaks of channel {record.channel!r} of bundle {record.bundle!r}, not of bundle {bundle!r}",
            "the store holds a record under the wrong name; look at who wrote it",
            code="wrong_identity",
        )
    check_chain(record)
    return record


def _check_floor(trusted: TrustedRecord, floor: Floor) -> None:
    record = trusted.record
    found, known = (record.epoch, record.generation), (floor.epoch, floor.generation)
    if found < known:
        raise Untrusted(
            f"channel {record.channel!r} went back from generation {known[1]} to {found[1]} (epoch {found[0]})",
            "was the store restored from a backup? The live release stays",
            code="went_back",
        )
    if _forks(trusted, floor):
        raise Untrusted(
            f"channel {record.channel!r}: generation {found[1]} does not belong to the history that was seen here",
            "two histories exist; the live release stays. Find out who writes to the store",
            code="equivocation",
        )


def _forks(trusted: TrustedRecord, floor: Floor) -> bool:
    """Whether the record is another one of the floor's generation, or follows another one of it."""
    record = trusted.record
    if (record.epoch, record.generation) == (floor.epoch, floor.generation):
        return trusted.floor.sha256 != floor.sha256
    follows = record.epoch == floor.epoch and record.generation == floor.generation + 1
    return follows and record.previous is not None and record.previous.sha256 != floor.sha256


def accept_version(stored: bytes, *, bundle: str, version: str, pin: Pin | None = None) -> Version:
    """The version document in ``stored``. Raises `Malformed`, `Corrupt` (another pin) or `Untrusted` (other name)."""
    what = f"version {version!r}"
    if pin is not None:
        check_stored(stored, pin, what)
    found = Version.from_bytes(stored, what)
    if (found.bundle, found.version) != (bundle, version):
        raise Untrusted(f"{what}: the document speaks of {found.version!r} of bundle {found.bundle!r}")
    return found


def check_stored(stored: bytes, pin: Pin, what: str) -> None:
    """Refuse bytes that are not the pinned ones. Raises `Corrupt`."""
    if len(stored) != pin.size:
        raise Corrupt(f"{what}: {len(stored)} bytes instead of {pin.size}", code="wrong_size")
    if digest_of(stored) != pin.sha256:
        raise Corrupt(f"{what}: its digest is not {pin.sha256}", code="wrong_digest")


def accept_files(stored: bytes, content: Content) -> VerifiedTree:
    """The tree whose file list is ``stored``, if rules 7 and 8 let it pass. Raises `Corrupt` or `Malformed`."""
    what = f"file list of tree {content.tree}"
    check_stored(stored, content.files, what)
    count = content.files.count
    tree = read_files(partial(io.BytesIO, stored), what, limit=count * MAX_LINE, most=count)
    if len(tree.files) != content.files.count:
        raise Corrupt(f"{what}: {len(tree.files)} files instead of {content.files.count}")
    return check_tree(tree, content.tree)


def check_tree(tree: Tree, digest: str) -> VerifiedTree:
    """``tree``, if it is the tree of that digest (rule 8). Raises `Corrupt`."""
    if tree.digest != digest:
        raise Corrupt(f"file list of tree {digest}: it describes the tree {tree.digest}")
    return VerifiedTree(tree, _SEAL)


class TarballCheck:
    """Rule 9, over the stored bytes as they arrive: `update` with each chunk, then `finish`."""

    def __init__(self, tree: VerifiedTree, pin: TarballPin) -> None:
        self._tree = tree
        self._pin = pin
        self._hash = hashlib.sha256()
        self._size = 0
        self._what = f"tarball of tree {tree.tree.digest}"
        predicted = plaintar.plain_size(tree.tree)
        if pin.plain_size != predicted:
            raise Corrupt(f"{self._what}: {pin.plain_size} plain bytes are announced, {predicted} are needed")

    def update(self, chunk: bytes) -> None:
        """Take the next stored bytes. Raises `Corrupt` as soon as there are too many."""
        self._size += len(chunk)
        if self._size > self._pin.size:
            raise Corrupt(f"{self._what}: more than the announced {self._pin.size} bytes", code="wrong_size")
        self._hash.update(chunk)

    def finish(self) -> VerifiedTarball:
        """The verified tarball. Raises `Corrupt` if bytes are missing or other ones."""
        if self._size != self._pin.size:
            raise Corrupt(f"{self._what}: {self._size} bytes instead of {self._pin.size}", code="wrong_size")
        if "sha256:" + self._hash.hexdigest() != self._pin.sha256:
            raise Corrupt(f"{self._what}: its digest is not {self._pin.sha256}", code="wrong_digest")
        return VerifiedTarball(self._tree, self._pin, _SEAL)


def _check_seal(seal: object) -> None:
    if seal is not _SEAL:
        raise Malformed("only the trust rules make a verified value")
