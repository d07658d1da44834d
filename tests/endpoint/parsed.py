"""The table of attacks on the parser, as data: bytes that are hardly HTTP, each around a pull with a valid token.

Which status it is, is the parser's business; where it is lenient, that is written down here. `check` insists that there
is one answer at the most, that a pull happens once at the most and only where the row says so, and that the connection
ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from .rows import HOST, bearer, post, request

if TYPE_CHECKING:
    from .world import World

LINE: Final = b"\r\n"
SMUGGLED: Final = post(b"{}")
"""What must not be read as a request where it is part of something else."""


@dataclass(frozen=True)
class Parsed:
    """One attack. None among ``statuses`` is a connection that is closed without an answer."""

    id: str
    attack: str
    request: bytes
    statuses: tuple[int | None, ...] = (400,)
    pulls: tuple[int, ...] = (0,)

    @property
    def answer(self) -> str:
        """What may come back, for people."""
        found = " or ".join("closed" if status is None else str(status) for status in self.statuses)
        return found + (", pulls once at the most" if 1 in self.pulls else "")


def check(row: Parsed, world: World) -> None:
    """Fail unless the agent answers as the row allows, and does no more than that."""
    before = world.pulls()
    reply = world.ask(row.request)
    assert reply.status in row.statuses, (row.id, reply)
    assert reply.answers <= 1, (row.id, reply)
    assert reply.closed, (row.id, "the connection is still open")
    assert world.pulls() - before in row.pulls, (row.id, "the agent has pulled")
    world.answers()


def pull(*headers: bytes, body: bytes = b"", end: bytes = LINE) -> bytes:
    """A pull with a valid token and these headers."""
    lines = (b"POST /v1/pull HTTP/1.1", b"Host: " + HOST, bearer(), *headers)
    return end.join(lines) + 2 * end + body


def head(*lines: bytes) -> bytes:
    """A request of these lines."""
    return LINE.join(lines) + 2 * LINE


def length(name: str, value: bytes, body: bytes = b"") -> Parsed:
    shown = value.decode() if len(value) < 20 else f"{len(value)} digits"
    return Parsed(f"length-{name}", f"`Content-Length: {shown}`", pull(b"Content-Length: " + value, body=body))


def coding(name: str, value: bytes) -> Parsed:
    sent = pull(b"Transfer-Encoding: " + value, body=b"0\r\n\r\n")
    return Parsed(f"coding-{name}", f"`Transfer-Encoding: {value.decode()}`", sent, (400, 501))


def chunk(name: str, attack: str, body: bytes) -> Parsed:
    # Read together with the head, it may be the parser that objects.
    return Parsed(f"chunk-{name}", attack, pull(b"Transfer-Encoding: chunked", body=body), (400, 431))


TYPE: Final = b"Content-Type: application/json"
PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
PARSED: Final = (
    length("signed", b"+4", b"1234"),
    length("negative", b"-1"),
    length("hexadecimal", b"0x2", b"{}"),
    length("empty", b""),
    length("huge", b"9" * 400),
    Parsed(
        "two-lengths", "two Content-Length that differ", pull(b"Content-Length: 0", b"Content-Length: 9", body=SMUGGLED)
    ),
    Parsed("list-of-lengths", "`Content-Length: 0, 9`", pull(b"Content-Length: 0, 9", body=SMUGGLED)),
    Parsed(
        "same-length-twice",
        "Content-Length twice, the same",
        pull(TYPE, b"Content-Length: 2", b"Content-Length: 2", body=b"{}" + SMUGGLED),
        (200, 400),
        (0, 1),
    ),
    coding("unknown", b"xchunked"),
    coding("identity", b"identity"),
    coding("two", b"gzip, chunked"),
    coding("quoted", b'"chunked"'),
    Parsed(
        "two-codings",
        "Transfer-Encoding twice",
        pull(b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity", body=b"0\r\n\r\n"),
        (400, 501),
    ),
    Parsed(
        "coding-in-http-1.0",
        "chunks in HTTP/1.0",
        pull(b"Transfer-Encoding: chunked", body=b"0\r\n\r\n" + SMUGGLED).replace(b"HTTP/1.1", b"HTTP/1.0", 1),
    ),
    chunk("huge", "a chunk of 2^68 bytes", b"F" * 17 + b"\r\n" + SMUGGLED),
    chunk("negative", "a chunk of -1 bytes", b"-1\r\n" + SMUGGLED),
    chunk("no-number", "a chunk's size that is no number", b"zz\r\n" + SMUGGLED),
    chunk("extension", "a chunk's extension of 64 KiB", b"2;" + b"x" * 65536 + b"\r\n{}\r\n0\r\n\r\n"),
    chunk("trailer", "an Authorization in the trailer", b"0\r\nAuthorization: Bearer <all>\r\n\r\n"),
    Parsed("no-host", "HTTP/1.1 without Host", head(b"POST /v1/pull HTTP/1.1", bearer())),
    Parsed("two-hosts", "Host twice", pull(b"Host: " + HOST, b"Content-Length: 0")),
    Parsed("space-before-colon", "a space before a colon", head(b"GET /v1/status HTTP/1.1", b"Host : a", bearer())),
    Parsed("no-colon", "a header without a colon", pull(b"Nonsense")),
    Parsed("nul", "a NUL in a header", pull(b"X: a\x00b")),
    Parsed("lone-cr", "a lone CR in a header", pull(b"X: a\rContent-Length: 9")),
    Parsed("fold-first", "a folded line before the first header", head(b"GET / HTTP/1.1", b" Host: a")),
    Parsed(
        "obs-fold",
        "a folded Authorization, which the parser joins before anybody sees it",
        head(b"POST /v1/pull HTTP/1.1", b"Host: " + HOST, b"Content-Length: 0", b"Authorization: Bearer", b" <all>"),
        (200, 400),
        (0, 1),
    ),
    Parsed(
        "bare-lf",
        "lines that end with LF alone, which the parser takes",
        pull(b"Content-Length: 0", end=b"\n") + SMUGGLED,
        (200, 400),
        (0, 1),
    ),
    Parsed("http-0.9", "HTTP/0.9", b"GET /v1/status\r\n\r\n"),
    Parsed("space-in-target", "a space in the target", head(b"GET /v1/ status HTTP/1.1", b"Host: a", bearer())),
    Parsed("escape-in-target", "an escape character in the target", head(b"GET /\x1b[31m HTTP/1.1", b"Host: a")),
    Parsed("split-answer", "CR and LF in the target, coded", request("GET", "/%0d%0aX-Forged:%201"), (404,)),
    Parsed(
        "surrogate-target", "bytes in the target that are not UTF-8, coded", request("GET", "/%ff%fe%ed%a0%80"), (404,)
    ),
    Parsed("long-head", "a head of 20 KiB", pull(b"X: " + b"x" * 20_000), (431,)),
    Parsed("no-end", "64 KiB without an end of line", b"x" * 65536, (400, 431)),
    Parsed("hello", "a TLS handshake on the port of HTTP", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"),
    Parsed("garbage", "bytes of no meaning", bytes(range(128, 256)) * 8 + b"\r\n\r\n"),
    Parsed(
        "http-2",
        "the beginning of HTTP/2, and a request in it",
        PREFACE + b"\0\0\0\4\0\0\0\0\0" + b"\0\0\6\1\5\0\0\0\1\x82\x86\x84\x41\x01a",
        (None,),
    ),
    Parsed(
        "websocket",
        "a WebSocket",
        head(
            b"GET /v1/pull HTTP/1.1",
            b"Host: " + HOST,
            bearer(),
            b"Connection: Upgrade",
            b"Upgrade: websocket",
            b"Sec-WebSocket-Version: 13",
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        ),
        (403,),
    ),
    Parsed(
        "pipelined",
        "three pulls in a row",
        3 * post(b"{}"),
        (200,),
        (1,),
    ),
    Parsed(
        "shorter-length",
        "a body that is longer than announced: a second pull",
        pull(TYPE, b"Content-Length: 2", body=b"{}" + SMUGGLED),
        (200,),
        (1,),
    ),
    Parsed(
        "behind-401",
        "a pull in the body of a request without a token",
        request("POST", "/v1/pull", b"Content-Length: %d" % len(SMUGGLED), body=SMUGGLED),
        (401,),
    ),
    Parsed(
        "behind-405",
        "a pull in the body of a GET",
        request("GET", "/healthz", b"Content-Length: 9", body=SMUGGLED),
        (200,),
    ),
)
