"""Whose signatures count, for what, and from when until when: a keyring, as it is read from the files of one folder.

1. Each ``NAME.json`` is one key, but for `REQUIREMENTS`. One file that is wrong makes the whole keyring wrong, and so
   does an empty one: half a keyring is none.
2. A key is an Ed25519 or ECDSA P-256 public key (PEM). One key under two names is refused: its two signatures would
   count as those of two.
3. Roles: a *publisher* vouches for versions, a *promoter* for what a channel's record says is live. A key counts for
   the ``bundles`` that it names, and a promoter for the ``channels``; ``*`` stands for all.
4. A key counts from ``not_before`` on and until just before ``not_after``, by the reader's clock: what a signer says of
   the time is what a thief of the key would say.
5. Requirements: how many publishers and promoters have to sign (one, where nothing is said), and the lowest epoch that
   is believed. Where several speak of a bundle and channel, the strictest of each holds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from . import fields as reading
from .errors import Malformed, Untrusted
from .names import NAME, moment
from .version import check_format

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .signatures import PublicKey

FORMAT: Final = 1
REQUIREMENTS: Final = "requirements.json"
"""The one file of a keyring that is not a key."""
PUBLISHER: Final = "publisher"
PROMOTER: Final = "promoter"
ROLES: Final = (PUBLISHER, PROMOTER)
ALL: Final = "*"
NAME_OR_ALL: Final = re.compile(rf"(?:\*|{NAME.pattern})")
MAX_FILE: Final = 64 * 1024
"""Bytes of the largest file of a keyring."""
MAX_KEYS: Final = 64
MAX_REQUIRED: Final = 16


@dataclass(frozen=True)
class Key:
    """One key of a keyring: who holds it, and what its signature is good for."""

    name: str
    public: PublicKey
    roles: tuple[str, ...]
    bundles: tuple[str, ...] = (ALL,)
    channels: tuple[str, ...] = (ALL,)
    not_before: str | None = None
    not_after: str | None = None

    def counts(self, role: str, bundle: str, channel: str | None, now: str) -> bool:
        """Whether this key's signature counts; ``channel`` is None for a publisher's."""
        started = self.not_before is None or moment(self.not_before) <= moment(now)
        ended = self.not_after is not None and moment(self.not_after) <= moment(now)
        named = _names(self.bundles, bundle) and (channel is None or _names(self.channels, channel))
        return role in self.roles and named and started and not ended


@dataclass(frozen=True)
class Requirement:
    """What has to be so on the channels and bundles that it names."""

    bundle: str = ALL
    channel: str = ALL
    publishers: int = 1
    promoters: int = 1
    epoch: int = 0

    def signatures(self, role: str) -> int:
        """How many signatures of that role are needed."""
        return self.promoters if role == PROMOTER else self.publishers


@dataclass(frozen=True)
class Keyring:
    """Keys with names of their own, and what is required of them."""

    keys: tuple[Key, ...]
    requirements: tuple[Requirement, ...] = ()

    def counting(self, role: str, bundle: str, channel: str | None, now: str) -> list[Key]:
        """The keys whose signatures count for that."""
        return [key for key in self.keys if key.counts(role, bundle, channel, now)]

    def required(self, bundle: str, channel: str | None = None) -> Requirement:
        """The strictest of what is required for a channel, or for the versions of a bundle (None)."""
        of_bundle = [one for one in self.requirements if one.bundle in (ALL, bundle)]
        of_channel = [one for one in of_bundle if channel is not None and one.channel in (ALL, channel)]
        return Requirement(
            bundle,
            channel or ALL,
            publishers=max((one.publishers for one in of_bundle), default=1),
            promoters=max((one.promoters for one in of_channel), default=1),
            epoch=max((one.epoch for one in of_channel), default=0),
        )


def read_keyring(files: Mapping[str, bytes]) -> Keyring:
    """The keyring of a folder whose ``.json`` files are these. Raises `Malformed`, and `Untrusted` if it has no key."""
    rest = dict(files)
    requirements = _read_requirements(rest.pop(REQUIREMENTS)) if REQUIREMENTS in rest else ()
    if len(rest) > MAX_KEYS:
        raise Malformed(f"keyring: {len(rest)} keys, at most {MAX_KEYS} are read")
    keys = tuple(_read_key(name, raw) for name, raw in sorted(rest.items()))
    if not keys:
        raise Untrusted("the keyring has no key", "`dagferry keys show` prints a key's file", code="no_keyring")
    owners: dict[str, str] = {}
    for key in keys:
        other = owners.setdefault(key.public.key_id, key.name)
        if other != key.name:
            raise Malformed(f"keyring: {other!r} and {key.name!r} are the same key")
    return Keyring(keys, requirements)


def write_key(key: Key, pem: str) -> bytes:
    """The file of ``key``, whose public key is ``pem``."""
    document: dict[str, Any] = {"format": FORMAT, "key": pem, "roles": list(key.roles), "bundles": list(key.bundles)}
    document["channels"] = list(key.channels)
    document |= {name: getattr(key, name) for name in ("not_before", "not_after") if getattr(key, name) is not None}
    return reading.dump(document)


def _read_key(file: str, raw: bytes) -> Key:
    from .signatures import PublicKey  # slow to load, and needed by those who verify only

    what = f"keyring, {file}"
    fields = reading.load(raw, what, limit=MAX_FILE)
    check_format(fields, FORMAT)
    name = file.removesuffix(".json")
    if not NAME.fullmatch(name):
        raise Malformed(f"{what}: {name!r} cannot be the name of a key")
    try:
        public = PublicKey(fields.text("key"))
    except Malformed as error:
        fields.refuse("key", error.message)
    key = Key(
        name=name,
        public=public,
        roles=_read_names(fields, "roles"),
        bundles=_read_names(fields, "bundles"),
        channels=_read_names(fields, "channels"),
        not_before=reading.optional(fields, "not_before", fields.time),
        not_after=reading.optional(fields, "not_after", fields.time),
    )
    fields.refuse_rest()
    if unknown := sorted(set(key.roles) - set(ROLES)):
        fields.refuse("roles", f"{unknown[0]!r} is no role; there are {' and '.join(ROLES)}")
    if never_counts(key.not_before, key.not_after):
        fields.refuse("not_after", "not after not_before: the key would never count")
    return key


def never_counts(not_before: str | None, not_after: str | None) -> bool:
    """Whether a key's time ends before it begins (rule 4)."""
    return not_before is not None and not_after is not None and moment(not_after) <= moment(not_before)


def _read_names(fields: reading.Fields, field: str) -> tuple[str, ...]:
    found = fields.texts(field)
    if not found:
        fields.refuse(field, "empty: the key would count for nothing")
    for index, name in enumerate(found):
        if not NAME_OR_ALL.fullmatch(name):
            fields.refuse(f"{field}[{index}]", f"{name[:80]!r} is neither a name nor '*'")
    return found


def _read_requirements(raw: bytes) -> tuple[Requirement, ...]:
    fields = reading.load(raw, f"keyring, {REQUIREMENTS}", limit=MAX_FILE)
    check_format(fields, FORMAT)
    found = tuple(map(_read_requirement, fields.children("requirements")))
    fields.refuse_rest()
    return found


def _read_requirement(fields: reading.Fields) -> Requirement:
    def number(name: str, default: int, **bounds: int) -> int:
        return fields.integer(name, **bounds) if fields.has(name) else default

    found = Requirement(
        bundle=fields.text("bundle", NAME_OR_ALL) if fields.has("bundle") else ALL,
        channel=fields.text("channel", NAME_OR_ALL) if fields.has("channel") else ALL,
        publishers=number("publishers", 1, least=1, most=MAX_REQUIRED),
        promoters=number("promoters", 1, least=1, most=MAX_REQUIRED),
        epoch=number("epoch", 0),
    )
    fields.refuse_rest()
    return found


def _names(allowed: tuple[str, ...], name: str) -> bool:
    return ALL in allowed or name in allowed
