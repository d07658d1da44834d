"""Every rule by which a reader decides what to believe. No I/O: bytes and values in, verified values out.

A document:

1. A size cap holds before anything is parsed, and a foreseen format before anything is used (`Envelope`, `Record`,
   `Version`): a newer major format is refused.
2. The envelope's payload type is that of a record, exactly.
3. Signatures: the policy is a value, never an accident. `Policy.UNSIGNED` believes documents without a signature, and
   status and log say so. `Policy.require` takes those only that are signed, exactly as they are stored, by as many keys
   as the keyring requires, each of which counts for that role, bundle and channel at that time (`keyring`). What was
   accepted once and is to be used again is vouched for by the keys of then, if they were enough today.
4. The record speaks of the bundle and the channel that were asked for, exactly.
5. A record with a critical field that this release does not honour is refused, and so is one that calls what it makes
   live bad. Who serves its candidate is told in `rollout`.
6. (epoch, generation) never goes back, and no epoch is below the keyring's; the same (epoch, generation) with other
   bytes is an alarm, and so is the next generation of an epoch if it names another record as previous. Whoever has
   seen that believes no later generation of this epoch, but the one that follows the floor. A record's generation
   follows the one it names.
7. A signed record that has expired is refused by whoever has a release to keep. A reader that has none takes it, and
   has to say so: an old release is better than none. What nobody signed does not expire.
8. A version that no record pins is vouched for by its statement (in-toto, SLSA provenance), signed by publishers, which
   names the digest of exactly this document.

Content, in this order:

9. The file list's stored size and digest are those of the pin; it decompresses to at most what that many files need.
10. The tree digest computed from the file list is the one that was named, and the number of files is the pin's.
11. The tarball's stored size and digest are those of the pin, and its plain size is what the file list predicts.
12. A delta's stored size and digest are those of its entry in the record; it is from the tree that is there to the one
    that the entry names, and the digest of what comes of it, computed over the folders that it touches, is that tree's.
    What it says of paths is judged as in a file list. Each file's bytes have the digest that its line says.

`VerifiedTree`, `VerifiedTarball` and `VerifiedDelta` can only be made here, and nothing else is unpacked or applied:
what was not verified cannot be used by forgetting it. The plain bytes of a tarball are compared while they are written
(`unpack`), those of a delta before (`delta`).
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import InitVar, dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Final

from . import delta, plaintar, statement
from .dsse import RECORD_TYPE, STATEMENT_TYPE, Envelope
from .errors import Corrupt, Malformed, Untrusted
from .keyring import PROMOTER, PUBLISHER
from .layout import MAX_DOCUMENT
from .names import digest_of, moment
from .record import Record, check_chain
from .tree import MAX_LINE, Tree, read_files
from .version import Version

if TYPE_CHECKING:
    from collections.abc import Collection

    from . import record
    from .keyring import Key, Keyring
    from .pins import Content, Pin, TarballPin
    from .tree_index import TreeIndex

_SEAL: Final = object()


@dataclass(frozen=True)
class Policy:
    """What a reader demands of signatures at ``now`` (RFC 3339, UTC): nothing, or what ``keyring`` requires."""

    keyring: Keyring | None
    now: str
    UNSIGNED: ClassVar[Policy]

    @classmethod
    def require(cls, keyring: Keyring, now: str) -> Policy:
        """Signatures that count in ``keyring``."""
        return cls(keyring, now)


Policy.UNSIGNED = Policy(None, "")


@dataclass(frozen=True)
class Floor:
    """The highest record that a reader has accepted: nothing below it is accepted again."""

    epoch: int
    generation: int
    sha256: str


@dataclass(frozen=True)
class TrustedRecord:
    """A record that passed rules 1 to 7, with its stored bytes.

    ``signers`` are the names of the keys that vouch for it, ``key_ids`` the keys themselves. ``expired``: it was taken
    all the same, because there is nothing else (rule 7).
    """

    record: Record
    stored: bytes
    signers: tuple[str, ...]
    key_ids: tuple[str, ...]
    expired: bool

    @property
    def floor(self) -> Floor:
        """What a reader remembers of it."""
        return Floor(self.record.epoch, self.record.generation, digest_of(self.stored))


@dataclass(frozen=True)
class VerifiedTree:
    """A tree whose file list passed rules 9 and 10."""

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
    """The tarball of a verified tree, whose stored bytes passed rule 11."""

    tree: VerifiedTree
    pin: TarballPin
    seal: InitVar[object]

    def __post_init__(self, seal: object) -> None:
        _check_seal(seal)


def accept_record(
    stored: bytes,
    *,
    bundle: str,
    channel: str,
    policy: Policy,
    floor: Floor | None,
    keeps: bool = True,
    forked: bool = False,
) -> TrustedRecord:
    """The record in ``stored``, if rules 1 to 7 let it pass. Raises `Malformed` or `Untrusted`.

    ``keeps``: whether the reader has a release that it can keep instead. ``forked``: whether it has seen another
    history than the floor's since the floor.
    """
    record, keys = _read_record(stored, bundle, channel, policy)
    if record.unknown_critical:
        raise Untrusted(
            f"channel {channel!r}, generation {record.generation}: this release does not know the critical field "
            + ", ".join(map(repr, record.unknown_critical)),
            "upgrade dagferry here; until then the live release stays",
            code="unknown_critical",
        )
    if record.live.version in record.bad:
        raise Untrusted(
            f"channel {channel!r}, generation {record.generation}: {record.live.version} is live, and is called bad",
            f"see `dagferry log --channel {channel}`, and promote another version; until then the live release stays",
            code="bad_release",
        )
    _check_epoch(record, policy)
    expired = _has_expired(record, policy)
    if expired and keeps:
        raise Untrusted(
            f"channel {channel!r}: the record of generation {record.generation} expired at {record.expires}",
            f"sign it anew: dagferry refresh --channel {channel}; until then the live release stays. If it is signed "
            "anew regularly, somebody keeps newer records from this reader",
            code="expired",
        )
    names, key_ids = tuple(key.name for key in keys), tuple(key.public.key_id for key in keys)
    trusted = TrustedRecord(record, stored, names, key_ids, expired)
    if floor is not None:
        _check_floor(trusted, floor, forked)
    return trusted


def read_record(stored: bytes, *, bundle: str, channel: str, policy: Policy) -> Record:
    """The record in ``stored`` after rules 1 to 4: for reading history, not for acting upon it."""
    return _read_record(stored, bundle, channel, policy)[0]


def _read_record(stored: bytes, bundle: str, channel: str, policy: Policy) -> tuple[Record, list[Key]]:
    what = f"record of channel {channel!r}"
    envelope = Envelope.from_bytes(stored, what, limit=MAX_DOCUMENT)
    if envelope.payload_type != RECORD_TYPE:
        raise Untrusted(f"{what}: payload type {envelope.payload_type[:80]!r} instead of {RECORD_TYPE!r}")
    keys = _check_signed(envelope, PROMOTER, bundle, channel, policy, what)
    record = Record.from_payload(envelope.payload, what)
    if (record.bundle, record.channel) != (bundle, channel):
        raise Untrusted(
            f"{what} of bundle {bundle!r}: it speaks of channel {record.channel!r} of bundle {record.bundle!r}",
            "the store holds a record under the wrong name; look at who wrote it",
            code="wrong_identity",
        )
    check_chain(record)
    return record, keys


def _check_signed(
    envelope: Envelope, role: str, bundle: str, channel: str | None, policy: Policy, what: str
) -> list[Key]:
    """The keys that vouch for what is in ``envelope`` (rule 3). Raises `Untrusted` if they are too few."""
    if policy is Policy.UNSIGNED:
        return []
    keyring = policy.keyring if isinstance(policy, Policy) else None
    if keyring is None:
        raise Untrusted(f"{what}: {policy!r} is no policy", "use Policy.UNSIGNED or Policy.require")
    from .signatures import MAX_SIGNATURES, signers_of  # slow to load, and needed by those who verify only

    if not envelope.signatures:
        raise Untrusted(
            f"{what} is not signed, and this reader has a keyring",
            "look at it, and sign it if it is right: dagferry refresh --adopt-unsigned --signer KEY",
            code="unsigned",
        )
    if len(envelope.signatures) > MAX_SIGNATURES:
        raise Untrusted(f"{what} has {len(envelope.signatures)} signatures, at most {MAX_SIGNATURES} are looked at")
    keys = keyring.counting(role, bundle, channel, policy.now)
    found = signers_of(envelope, [key.public for key in keys])
    needed = keyring.required(bundle, channel).signatures(role)
    good = [key for key in keys if key.public.key_id in found]
    if len(good) < needed:
        signed = f" (signed: {', '.join(key.name for key in good)})" if good else ""
        raise Untrusted(
            f"{what}: {len(good)} of the {needed} {role} signatures that are needed{signed}",
            "no key of this keyring that counts here and now has signed it: is a key missing, expired, or of another "
            "role, bundle or channel? If not, find out who wrote it",
            code="bad_signature",
        )
    return good


def still_vouch(key_ids: Collection[str], *, bundle: str, channel: str, policy: Policy) -> bool:
    """Whether the keys that signed something once would be enough today, as publishers or as promoters (rule 3)."""
    keyring = policy.keyring
    if keyring is None:
        return policy is Policy.UNSIGNED

    def enough(role: str, channel: str | None) -> bool:
        counting = {key.public.key_id for key in keyring.counting(role, bundle, channel, policy.now)}
        return len(counting & set(key_ids)) >= keyring.required(bundle, channel).signatures(role)

    return enough(PUBLISHER, None) or enough(PROMOTER, channel)


def _check_epoch(record: Record, policy: Policy) -> None:
    if policy.keyring is None:
        return
    lowest = policy.keyring.required(record.bundle, record.channel).epoch
    if record.epoch < lowest:
        raise Untrusted(
            f"channel {record.channel!r} is at epoch {record.epoch}, and the keyring believes none below {lowest}",
            f"`dagferry recover --channel {record.channel}` raises the epoch; the live release stays",
            code="old_epoch",
        )


def _has_expired(record: Record, policy: Policy) -> bool:
    """Whether the record's time is over. A reader's clock that is behind the record's date is not believed."""
    if policy.keyring is None or record.expires is None:
        return False
    return moment(record.expires) <= max(moment(policy.now), moment(record.issued))


def _check_floor(trusted: TrustedRecord, floor: Floor, forked: bool) -> None:
    record = trusted.record
    found, known = (record.epoch, record.generation), (floor.epoch, floor.generation)
    if found < known:
        raise Untrusted(
            f"channel {record.channel!r} went back from generation {known[1]} to {found[1]} (epoch {found[0]})",
            "was the store restored from a backup? The live release stays",
            code="went_back",
        )
    if _forks(trusted, floor) or (forked and _skips(trusted, floor)):
        raise Untrusted(
            f"channel {record.channel!r}: generation {found[1]} does not belong to the history that was seen here",
            "two histories exist; the live release stays. Find out who writes to the store; "
            f"`dagferry recover --channel {record.channel}` begins an epoch that all believe again",
            code="equivocation",
        )


def _forks(trusted: TrustedRecord, floor: Floor) -> bool:
    """Whether the record is another one of the floor's generation, or follows another one of it."""
    record = trusted.record
    if (record.epoch, record.generation) == (floor.epoch, floor.generation):
        return trusted.floor.sha256 != floor.sha256
    follows = record.epoch == floor.epoch and record.generation == floor.generation + 1
    return follows and record.previous is not None and record.previous.sha256 != floor.sha256


def _skips(trusted: TrustedRecord, floor: Floor) -> bool:
    """Whether the record is of the floor's epoch and leaves out the generation after it, so that nobody sees a fork."""
    return trusted.record.epoch == floor.epoch and trusted.record.generation > floor.generation + 1


def accept_version(stored: bytes, *, bundle: str, version: str, pin: Pin | None = None) -> Version:
    """The version document in ``stored``. Raises `Malformed`, `Corrupt` (another pin) or `Untrusted` (other name)."""
    what = f"version {version!r}"
    if pin is not None:
        check_stored(stored, pin, what)
    found = Version.from_bytes(stored, what)
    if (found.bundle, found.version) != (bundle, version):
        raise Untrusted(f"{what}: the document speaks of {found.version!r} of bundle {found.bundle!r}")
    return found


def accept_statement(stored: bytes, *, bundle: str, version: str, document: Pin, policy: Policy) -> tuple[str, ...]:
    """The keys that vouch for the version whose document has that pin (rule 8): their ids. Raises `Untrusted`."""
    what = f"statement of version {version!r}"
    envelope = Envelope.from_bytes(stored, what, limit=MAX_DOCUMENT)
    if envelope.payload_type != STATEMENT_TYPE:
        raise Untrusted(f"{what}: payload type {envelope.payload_type[:80]!r} instead of {STATEMENT_TYPE!r}")
    keys = _check_signed(envelope, PUBLISHER, bundle, None, policy, what)
    found = statement.read_subjects(envelope.payload, what)
    if found.get(statement.subject_of(bundle, version)) != document.sha256:
        raise Untrusted(
            f"{what} speaks of another document than the one of bundle {bundle!r} that is stored",
            "find out who wrote either of them",
            code="wrong_identity",
        )
    return tuple(key.public.key_id for key in keys)


def check_stored(stored: bytes, pin: Pin, what: str) -> None:
    """Refuse bytes that are not the pinned ones. Raises `Corrupt`."""
    if len(stored) != pin.size:
        raise Corrupt(f"{what}: {len(stored)} bytes instead of {pin.size}", code="wrong_size")
    if digest_of(stored) != pin.sha256:
        raise Corrupt(f"{what}: its digest is not {pin.sha256}", code="wrong_digest")


def accept_files(stored: bytes, content: Content) -> VerifiedTree:
    """The tree whose file list is ``stored``, if rules 9 and 10 let it pass. Raises `Corrupt` or `Malformed`."""
    what = f"file list of tree {content.tree}"
    check_stored(stored, content.files, what)
    count = content.files.count
    tree = read_files(partial(io.BytesIO, stored), what, limit=count * MAX_LINE, most=count)
    if len(tree.files) != content.files.count:
        raise Corrupt(f"{what}: {len(tree.files)} files instead of {content.files.count}")
    return check_tree(tree, content.tree)


def check_tree(tree: Tree, digest: str) -> VerifiedTree:
    """``tree``, if it is the tree of that digest (rule 10). Raises `Corrupt`."""
    if tree.digest != digest:
        raise Corrupt(f"file list of tree {digest}: it describes the tree {tree.digest}")
    return VerifiedTree(tree, _SEAL)


@dataclass(frozen=True)
class VerifiedDelta:
    """A delta that passed rule 12: what was there ``before``, what it says, and the tree that comes of it."""

    before: TreeIndex
    delta: delta.Delta
    after: TreeIndex
    _seal: InitVar[object]

    def __post_init__(self, _seal: object) -> None:
        _check_seal(_seal)


def accept_delta(stored: bytes, entry: record.Delta, before: TreeIndex) -> VerifiedDelta:
    """What the delta in ``stored`` makes of ``before`` (rule 12). Raises `Corrupt`, `Malformed`."""
    what = f"delta to tree {entry.to_tree}"
    check_stored(stored, entry.pin, what)
    found = delta.decode(stored, what)
    if (found.from_tree, found.to_tree) != (entry.from_tree, entry.to_tree) or before.digest != entry.from_tree:
        raise Corrupt(f"{what}: it is from {found.from_tree} to {found.to_tree}, and {before.digest} is there")
    after = before.edited(found.changes)
    if after.digest != entry.to_tree:
        raise Corrupt(f"{what}: what comes of it is the tree {after.digest}")
    return VerifiedDelta(before, found, after, _SEAL)


class TarballCheck:
    """Rule 11, over the stored bytes as they arrive: `update` with each chunk, then `finish`."""

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
