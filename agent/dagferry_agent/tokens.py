"""Who may ask this agent for something: bearer tokens, of which only digests are ever stored.

1. A token is ``dft_`` and at least 256 random bits, so its plain SHA-256 cannot be guessed back; the tokens file holds
   digests only, and losing it gives nothing away.
2. The file is a JSON array of ``{"id", "sha256", "scopes", "not_before"?, "not_after"?}``. A field that is unknown, an
   id or a digest that appears twice, or a scope that is misspelt makes the whole file invalid: half a file is none.
3. Scopes: ``pull``, ``status``, each for everything or narrowed to ``pull:<bundle>/<channel>``, where the channel may
   be ``*``. Several entries may be valid at once, so that tokens are replaced without a gap.
4. An entry is valid from ``not_before`` on and until just before ``not_after``.
5. Every presented token is compared with every entry, each in constant time, as bytes.
6. A file that is missing, empty or invalid lets nobody in (`NoTokens`), and the agent keeps polling. It is read again
   whenever it was changed; a Kubernetes secret is replaced by a link that moves, which changes the inode.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from dagferry_schemas import fields as reading
from dagferry_schemas.errors import DagferryError, DeliveryFailed, Malformed, Usage
from dagferry_schemas.names import DIGEST, NAME, check_name, digest_of, moment

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

PREFIX: Final = "dft_"
LEAST_RANDOM: Final = 32
"""Random bytes that a token needs at the least."""
MAX_FILE: Final = 1024 * 1024
"""Bytes of the largest tokens file that is read."""
ACTIONS: Final = ("pull", "status")
DEFAULT_SCOPES: Final = ACTIONS
SCOPE: Final = re.compile(rf"(?:pull|status)(?::{NAME.pattern}/(?:\*|{NAME.pattern}))?")

_log = logging.getLogger(__name__)


class NoTokens(DeliveryFailed):
    """There is no usable tokens file, so nobody can be let in."""

    code = "no_tokens"


@dataclass(frozen=True)
class Entry:
    """One entry of the tokens file: the digest of a token, and what its bearer may do from when until when."""

    id: str
    sha256: str
    scopes: tuple[str, ...]
    not_before: str | None = None
    not_after: str | None = None


def parse_tokens(raw: bytes) -> tuple[Entry, ...]:
    """The entries of a tokens file. Raises `Malformed`, naming the field by its path."""
    # The strict reader takes an object at the top; in one more pair of braces an array cannot become anything else,
    # because a second key is refused like any unknown field.
    document = reading.load(b'{"entries":' + raw + b"}", "tokens file", limit=MAX_FILE)
    entries = tuple(map(_read_entry, document.children("entries")))
    document.refuse_rest()
    for name in ("id", "sha256"):
        _refuse_twins(entries, name)
    return entries


def _read_entry(fields: reading.Fields) -> Entry:
    entry = Entry(
        id=fields.text("id", NAME),
        sha256=_read_digest(fields),
        scopes=fields.texts("scopes"),
        not_before=reading.optional(fields, "not_before", fields.time),
        not_after=reading.optional(fields, "not_after", fields.time),
    )
    fields.refuse_rest()
    if not entry.scopes:
        fields.refuse("scopes", "empty: the token would be good for nothing")
    for index, scope in enumerate(entry.scopes):
        if not SCOPE.fullmatch(scope):
            fields.refuse(f"scopes[{index}]", f"no known scope; {_SCOPE_FORMS}")
    return entry


def _read_digest(fields: reading.Fields) -> str:
    digest = fields.text("sha256")
    if not DIGEST.fullmatch(digest):
        # Never quoted: the likeliest mistake is the token itself in this place, and messages end up in logs.
        fields.refuse("sha256", "not sha256:<64 hex digits> of a token")
    return digest


_SCOPE_FORMS: Final = "write pull, status, pull:BUNDLE/CHANNEL or pull:BUNDLE/*"


def _refuse_twins(entries: Sequence[Entry], name: str) -> None:
    seen: dict[str, int] = {}
    for index, entry in enumerate(entries):
        value: str = getattr(entry, name)
        if value in seen:
            raise Malformed(f"tokens file.entries[{index}].{name}: the same as in entries[{seen[value]}]")
        seen[value] = index


def authenticate(entries: Sequence[Entry], presented: bytes, now: str) -> Entry | None:
    """The entry whose token was presented, if it is valid at ``now`` (RFC 3339, UTC). Looks at all of them (rule 5)."""
    digest = digest_of(presented).encode("ascii")
    found: Entry | None = None
    for entry in entries:
        if hmac.compare_digest(entry.sha256.encode("ascii"), digest):
            found = entry
    return found if found is not None and is_valid(found, now) else None


def is_valid(entry: Entry, now: str) -> bool:
    """Whether the entry's time has begun and is not over (rule 4)."""
    started = entry.not_before is None or moment(entry.not_before) <= moment(now)
    ended = entry.not_after is not None and moment(entry.not_after) <= moment(now)
    return started and not ended


def allows(entry: Entry, action: str, bundle: str, channel: str) -> bool:
    """Whether the bearer of ``entry`` may do ``action`` (one of `ACTIONS`) to this channel of this bundle."""
    granted = {action, f"{action}:{bundle}/*", f"{action}:{bundle}/{channel}"}
    return not granted.isdisjoint(entry.scopes)


def new_token(name: str, scopes: Sequence[str], random_bytes: bytes) -> tuple[str, dict[str, Any]]:
    """A new token and its entry for the tokens file; the entry does not hold the token.

    ``random_bytes`` come from a cryptographic source. Raises `Usage` for a name or scope that the file could not hold,
    `ValueError` for fewer than `LEAST_RANDOM` bytes.
    """
    if len(random_bytes) < LEAST_RANDOM:
        raise ValueError(f"a token needs {LEAST_RANDOM} random bytes, not {len(random_bytes)}")
    check_name("token", name)
    for scope in scopes:
        if not SCOPE.fullmatch(scope):
            raise Usage(f"{scope!r} is no scope", _SCOPE_FORMS)
    token = PREFIX + base64.urlsafe_b64encode(random_bytes).rstrip(b"=").decode("ascii")
    digest = "sha256:" + hashlib.sha256(token.encode("ascii")).hexdigest()
    return token, {"id": name, "sha256": digest, "scopes": list(scopes or DEFAULT_SCOPES)}


class TokensFile:
    """The entries of the tokens file at ``path`` as they are now (rule 6). To be used by one thread."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._entries: tuple[Entry, ...] = ()
        self._reported = ""

    def entries(self) -> tuple[Entry, ...]:
        """At least one entry. Raises `NoTokens`; the reason is logged, and stays out of the message."""
        if self._path is None:
            raise NoTokens("no tokens file is configured", "start the agent with --tokens-file")
        try:
            self._refresh(self._path)
        except OSError as error:
            self._close(None, f"cannot be read: {error.strerror}")
        if not self._entries:
            raise NoTokens("the tokens file is missing, empty or invalid", "the agent's log says what is wrong with it")
        return self._entries

    def _refresh(self, path: Path) -> None:
        if self._seen is not None and _signature(path.stat()) == self._seen:
            return
        with path.open("rb") as file:
            signature = _signature(os.fstat(file.fileno()))
            raw = file.read(MAX_FILE + 1)
        try:
            entries = parse_tokens(raw)
        except DagferryError as error:
            self._close(signature, f"is invalid: {error.message}")
            return
        if not entries:
            self._close(signature, "has no entries")
            return
        self._seen, self._entries, self._reported = signature, entries, ""
        _log.info("tokens file read: %d entries", len(entries))

    def _close(self, signature: tuple[int, int, int] | None, reason: str) -> None:
        """Let nobody in, and say why, once per reason: requests must not be able to flood the log."""
        self._seen, self._entries = signature, ()
        if reason != self._reported:
            _log.warning("nobody can ask this agent to pull: the tokens file %s; polling goes on", reason)
            self._reported = reason


def _signature(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_mtime_ns, status.st_size, status.st_ino
