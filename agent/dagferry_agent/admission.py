"""Which requests are answered at all, and with what they are refused: values in, values out (rules 1 to 4 of `app`)."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Final, Protocol

from dagferry_schemas.endpoint import MAX_REQUEST
from dagferry_schemas.errors import BadData, Conflict, DagferryError, DeliveryFailed, Usage

from .tokens import Entry, NoTokens, authenticate

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from .rates import Rates

    Headers = Sequence[tuple[bytes, bytes]]

FAILURES_PER_MINUTE: Final = 30
"""Requests of one source without a valid token that are told so; more are told to wait."""
MAX_TARGET: Final = 1024
"""Bytes of the longest request target."""
MAX_HEADERS: Final = 50
MAX_HEADER_BYTES: Final = 16 * 1024
"""Bytes of all header names and values together."""
RETRY_AFTER: Final = {"Retry-After": "5"}
"""Seconds after which whoever got 503 may ask again."""
HOST_PORT: Final = re.compile(r":[0-9]*\Z")
BEARER: Final = re.compile(rb"(?i:bearer) +([A-Za-z0-9._~+/-]{1,512}=*)")


class Refused(Exception):
    """An answer that is not a success, raised where that becomes clear."""

    def __init__(
        self, status: int, code: str, message: str, hint: str = "", *, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.hint = hint
        self.headers = headers or {}


class Tokens(Protocol):
    """Where the entries of the tokens file come from; see `tokens.TokensFile`."""

    def entries(self) -> tuple[Entry, ...]:
        """At least one entry. Raises `NoTokens`."""
        ...


def check_bounds(http_version: str, target_size: int, headers: Headers) -> None:
    """Refuse what no request here ever needs, and what leaves its end in doubt."""
    if http_version not in {"1.0", "1.1"}:
        raise Refused(505, "http_version", "only HTTP/1 is spoken here")
    if target_size > MAX_TARGET:
        raise Refused(414, "target_too_long", f"the request target is longer than {MAX_TARGET} bytes")
    if len(headers) > MAX_HEADERS or sum(len(name) + len(value) for name, value in headers) > MAX_HEADER_BYTES:
        raise Refused(431, "headers_too_large", f"at most {MAX_HEADERS} headers of {MAX_HEADER_BYTES} bytes in all")
    if _values(headers, b"transfer-encoding"):
        raise Refused(400, "transfer_encoding", "Transfer-Encoding is not accepted", "send a Content-Length")


def check_place(headers: Headers, allowed_hosts: Collection[str]) -> None:
    """Refuse a request that is meant for another host than one of ``allowed_hosts`` (none: any), or a browser's."""
    hosts = _values(headers, b"host")
    if len(hosts) > 1:
        raise Refused(400, "host", "there is more than one Host")
    if allowed_hosts and (not hosts or host_name(hosts[0]) not in allowed_hosts):
        raise Refused(400, "host", "this agent does not go by that name", "ask it by a name of its --allowed-host")
    if _values(headers, b"origin"):
        raise Refused(403, "origin", "requests of web pages are not answered", "leave out the header Origin")


def host_name(value: bytes) -> str:
    """The name in a Host header, without its port, in lower case."""
    return HOST_PORT.sub("", value.decode("latin-1")).lower()


def needs_token(path: str) -> bool:
    """Whether ``path`` is for those only who show a token, whether or not there is anything at it."""
    return path == "/v1" or path.startswith("/v1/")


def admit(headers: Headers, tokens: Tokens, now: str) -> Entry:
    """The entry of the token that the request shows, valid at ``now``."""
    try:
        entries = tokens.entries()
    except NoTokens as error:
        raise Refused(503, error.code, error.message, error.hint, headers=RETRY_AFTER) from None
    presented = _values(headers, b"authorization")
    bearer = BEARER.fullmatch(presented[0]) if len(presented) == 1 else None
    entry = authenticate(entries, bearer[1], now) if bearer else None
    if entry is None:
        # The same words for all causes: which one it was helps only someone who guesses.
        raise Refused(
            401,
            "unauthorized",
            "a valid bearer token is needed",
            "send one header 'Authorization: Bearer TOKEN' with a token of this agent's tokens file",
            headers={"WWW-Authenticate": "Bearer"},
        )
    return entry


def check_failures(source: str, failures: Rates) -> None:
    """Refuse to say more to a ``source`` that showed no valid token too often."""
    wait = failures.take(source)
    if wait:
        raise too_many("too many requests without a valid token came from where this one does", wait)


def check_pulls(entry: Entry, pulls: Rates) -> None:
    """Refuse another pull to a bearer who asked for too many."""
    wait = pulls.take(entry.id)
    if wait:
        raise too_many(f"token {entry.id!r} asked for too many pulls; polling goes on", wait)


def too_many(message: str, wait: float) -> Refused:
    """The refusal of what may be asked for again after ``wait`` seconds."""
    seconds = math.ceil(wait)
    return Refused(429, "too_many", message, f"ask again in {seconds} s", headers={"Retry-After": str(seconds)})


def check_announced(headers: Headers) -> None:
    """Refuse a body by what its headers say of it, before any of it is read."""
    if any(value.lower() != b"identity" for value in _values(headers, b"content-encoding")):
        raise Refused(415, "content_encoding", "Content-Encoding is not accepted", "send the JSON as it is")
    for length in _values(headers, b"content-length"):
        if not length.isdigit():
            raise Refused(400, "malformed", "Content-Length is not a number")
        if int(length) > MAX_REQUEST:
            raise too_large()


def check_media_type(headers: Headers) -> None:
    """Refuse a body that is not said to be JSON."""
    given = _values(headers, b"content-type")
    if len(given) != 1 or given[0].partition(b";")[0].strip().lower() != b"application/json":
        raise Refused(415, "content_type", "the body has to be JSON", "send 'Content-Type: application/json'")


def too_large() -> Refused:
    """The refusal of a body that is too long."""
    return Refused(413, "too_large", f"a request has at most {MAX_REQUEST} bytes")


def failed(error: DagferryError) -> Refused:
    """The answer to a request whose pull failed."""
    statuses: tuple[tuple[type[DagferryError], int], ...] = (
        (Usage, 404),
        (Conflict, 409),
        (BadData, 422),
        (DeliveryFailed, 503),
    )
    status = next((status for kind, status in statuses if isinstance(error, kind)), 500)
    return Refused(status, error.code, error.message, error.hint, headers=RETRY_AFTER if status == 503 else None)


def _values(headers: Headers, name: bytes) -> list[bytes]:
    return [value for found, value in headers if found == name]
