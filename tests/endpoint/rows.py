"""The table of attacks on the application, as data: what is sent, and the one answer that is right.

`check` sends a row to an agent and judges what came back and what happened. In a request ``<name>`` stands for the
token of that name; `HOST` is the name that the agent goes by.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from tests.e2e.harness import wait_for

if TYPE_CHECKING:
    from .world import World

HOST: Final = b"agent.example"
TOKEN: Final = re.compile(rb"<([a-z-]+)>")
CLOSED: Final[dict[str, str]] = {"connection": "close"}
CHALLENGE: Final = {"www-authenticate": "Bearer"}
PULL_SECONDS: Final = 0.05
"""Within which a pull that should not have begun has ended, and been counted."""
LATER: Final = {"retry-after": "[1-9][0-9]*"}


@dataclass(frozen=True)
class Row:
    """One attack. ``headers`` are patterns; ``pulls``: how often the agent may have pulled by the end of it."""

    id: str
    attack: str
    request: bytes
    status: int
    code: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    pulls: int = 0

    @property
    def answer(self) -> str:
        """Status and code, for people."""
        return f"{self.status} `{self.code}`" if self.code else str(self.status)


def check(row: Row, world: World) -> None:
    """Fail unless the agent answers as the row says, does no more than that, and closes."""
    before = world.pulls()
    reply = world.ask(row.request)
    assert reply.status == row.status, (row.id, reply)
    assert reply.answers == 1, (row.id, reply)
    assert reply.closed, (row.id, "the connection is still open")
    for name, pattern in {**row.headers, **CLOSED}.items():
        assert re.fullmatch(pattern, reply.headers.get(name, "")), (row.id, name, reply)
    if row.code is not None and not row.request.startswith(b"HEAD"):
        assert reply.code == row.code, (row.id, reply)
    # A pull is counted at its end, which whoever did not wait for it has no part in.
    wait_for(lambda: world.pulls() - before >= row.pulls or None, f"{row.id}: the pull to be counted")
    if not row.pulls:
        time.sleep(PULL_SECONDS)
    assert world.pulls() - before == row.pulls, (row.id, "the agent has pulled")


def request(method: str, target: str, *headers: bytes, body: bytes = b"", host: bytes = HOST) -> bytes:
    """The bytes of a request."""
    return b"\r\n".join((f"{method} {target} HTTP/1.1".encode(), b"Host: " + host, *headers)) + b"\r\n\r\n" + body


def bearer(token: str = "all") -> bytes:
    return f"Authorization: Bearer <{token}>".encode()


def post(body: bytes = b"", *headers: bytes, token: str = "all", media_type: bytes = b"application/json") -> bytes:
    """A pull that is in order but for what the row says."""
    usual = (bearer(token), b"Content-Type: " + media_type, b"Content-Length: %d" % len(body))
    return request("POST", "/v1/pull", *usual, *headers, body=body)


def announced(length: bytes, *headers: bytes) -> bytes:
    """A pull whose body is announced and does not come."""
    return request("POST", "/v1/pull", b"Content-Type: application/json", b"Content-Length: " + length, *headers)


def unauthorized(name: str, attack: str, sent: bytes) -> Row:
    return Row(name, attack, sent, 401, "unauthorized", CHALLENGE)


def shown(*values: bytes) -> bytes:
    """A request with these values of Authorization."""
    return request("GET", "/v1/status", *(b"Authorization: " + value for value in values))


def malformed(name: str, attack: str, body: bytes) -> Row:
    return Row(name, attack, post(body), 400, "malformed")


def invalid(name: str, attack: str, body: bytes) -> Row:
    return Row(name, attack, post(body), 422, "invalid_field")


def other_type(name: str, attack: str, media_type: bytes) -> Row:
    return Row(name, attack, post(b"{}", media_type=media_type), 415, "content_type")


def wrong_method(method: str) -> Row:
    return Row(
        f"method-{method.lower()}",
        f"`{method} /v1/pull` with a token",
        request(method, "/v1/pull", bearer()),
        405,
        "wrong_method",
        {"allow": "POST"},
    )


def forbidden(name: str, attack: str, sent: bytes) -> Row:
    return Row(name, attack, sent, 403, "scope")


WITHOUT_TOKEN: Final = (
    unauthorized("no-authorization", "no Authorization; the body is announced and kept back", announced(b"2")),
    unauthorized("large-body", "no Authorization, a body of 10 MiB announced and kept back", announced(b"10485760")),
    unauthorized(
        "expect-continue", "no Authorization, `Expect: 100-continue`", announced(b"9", b"Expect: 100-continue")
    ),
    unauthorized("empty-authorization", "an empty Authorization", shown(b"")),
    unauthorized("basic", "`Basic` in place of `Bearer`", shown(b"Basic YWxsOmFsbA==")),
    unauthorized("bare-bearer", "`Bearer` without a token", shown(b"Bearer")),
    unauthorized("no-scheme", "the token without `Bearer`", shown(b"<all>")),
    unauthorized("token-in-target", "the token in the target", request("GET", "/v1/status?access_token=<all>")),
    unauthorized("token-in-body", "the token in the body", post(b'{"token": "<all>"}', token="wrong")),
    unauthorized("token-in-cookie", "the token in a cookie", request("GET", "/v1/status", b"Cookie: token=<all>")),
    unauthorized(
        "two-authorizations", "two Authorization headers, both right", shown(b"Bearer <all>", b"Bearer <all>")
    ),
    unauthorized("wrong-and-right", "two Authorization headers, one right", shown(b"Bearer no", b"Bearer <all>")),
    unauthorized("list-of-tokens", "two tokens in one Authorization", shown(b"Bearer <all>, Bearer <all>")),
    unauthorized("not-ascii", "a token with bytes that are not ASCII", shown(b"Bearer \xc3\xa9\xff")),
    unauthorized("long-token", "a token of 10,000 characters", shown(b"Bearer " + b"a" * 10_000)),
    unauthorized("wrong-token", "a token that nobody has", shown(b"Bearer <wrong>")),
    unauthorized("token-cut-short", "a right token without its last character", shown(b"Bearer <cut>")),
    unauthorized("token-and-more", "a right token with one more character", shown(b"Bearer <all>A")),
    unauthorized("digest-as-token", "the digest of a right token", shown(b"Bearer <digest>")),
    unauthorized("expired", "a token whose time is over", shown(b"Bearer <expired>")),
    unauthorized("not-yet", "a token whose time has not come", shown(b"Bearer <future>")),
    unauthorized("unknown-path", "an unknown path below /v1", request("GET", "/v1/nothing")),
    unauthorized("wrong-method", "a wrong method below /v1", request("DELETE", "/v1/pull")),
    unauthorized("coded-path", "`/%76%31/pull`", request("POST", "/%76%31/pull", b"Content-Length: 0")),
    unauthorized("dots", "`/v1/../healthz`", request("GET", "/v1/../healthz")),
    unauthorized("coded-dots", "`/v1/%2e%2e/healthz`", request("GET", "/v1/%2e%2e/healthz")),
)
PLACES: Final = (
    Row("not-there", "an unknown path, with a token", request("GET", "/v1/nothing", bearer()), 404, "not_found"),
    Row("dots-into-v1", "`/healthz/../v1/pull`", request("POST", "/healthz/../v1/pull"), 404, "not_found"),
    Row("two-slashes", "`//v1/pull`", request("POST", "//v1/pull"), 404, "not_found"),
    Row("upper-case", "`/V1/pull`", request("POST", "/V1/pull"), 404, "not_found"),
    Row("whole-url", "a target that is a whole URL", request("POST", "http://a/v1/pull"), 404, "not_found"),
    Row("slash-behind", "`/v1/pull/`, with a token", request("POST", "/v1/pull/", bearer()), 404, "not_found"),
    *map(wrong_method, ("GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "GARBAGE")),
    Row(
        "post-status",
        "`POST /v1/status`",
        request("POST", "/v1/status", bearer()),
        405,
        "wrong_method",
        {"allow": "GET"},
    ),
    Row("post-healthz", "`POST /healthz`", request("POST", "/healthz"), 405, "wrong_method", {"allow": "GET"}),
)
SCOPES: Final = (
    forbidden("pull-by-status", "a pull by a token for status", post(b"{}", token="status")),
    forbidden("status-by-pull", "status by a token for pulls", request("GET", "/v1/status", bearer("pull"))),
    forbidden("other-channel", "a pull by a token for another channel", post(b"{}", token="other-channel")),
    forbidden("other-bundle", "a pull by a token for another bundle", post(b"{}", token="other-bundle")),
    forbidden("other-bundles-all", "a pull by a token for all of another bundle", post(b"{}", token="other-all")),
)
FRAMES: Final = (
    Row("over-4-kib", "4097 bytes announced and kept back", announced(b"4097", bearer()), 413, "too_large"),
    Row("huge-length", "a length of 18 digits", announced(b"9" * 18, bearer()), 413, "too_large"),
    Row(
        "chunked",
        "`Transfer-Encoding: chunked`",
        request("POST", "/v1/pull", bearer(), b"Transfer-Encoding: chunked", body=b"2\r\n{}\r\n0\r\n\r\n"),
        400,
        "transfer_encoding",
    ),
    Row(
        "length-and-chunked",
        "Content-Length and Transfer-Encoding, and a second request in the difference",
        request(
            "POST",
            "/v1/pull",
            bearer(),
            b"Content-Length: 6",
            b"Transfer-Encoding: chunked",
            body=b"0\r\n\r\n" + request("POST", "/v1/pull", bearer()),
        ),
        400,
        "transfer_encoding",
    ),
    Row("long-target", "a target of 2 KiB", request("GET", "/healthz?" + "x" * 2048), 414, "target_too_long"),
    Row("many-headers", "60 headers", request("GET", "/healthz", *[b"X: y"] * 60), 431, "headers_too_large"),
    Row("http-1.2", "`HTTP/1.2`", request("GET", "/healthz").replace(b"HTTP/1.1", b"HTTP/1.2"), 505, "http_version"),
    Row(
        "second-request",
        "a second request right behind the first",
        request("GET", "/healthz") + post(b"{}"),
        200,
    ),
)
ORIGINS: Final = (
    Row("other-host", "a Host that is not allowed", request("GET", "/healthz", host=b"evil.example"), 400, "host"),
    Row(
        "other-host-with-token",
        "the same with a token",
        request("GET", "/v1/status", bearer(), host=b"evil.example:8470"),
        400,
        "host",
    ),
    Row(
        "longer-host",
        "an allowed Host with more behind it",
        request("GET", "/healthz", host=HOST + b".evil"),
        400,
        "host",
    ),
    Row(
        "host-in-user",
        "an allowed Host as a user's name",
        request("GET", "/healthz", host=HOST + b"@evil"),
        400,
        "host",
    ),
    Row("no-host", "`HTTP/1.0` without Host", b"GET /v1/status HTTP/1.0\r\n" + b"\r\n", 400, "host"),
    Row(
        "allowed-host",
        "an allowed Host, in capitals and with a port",
        request("GET", "/healthz", host=b"AGENT.Example:80"),
        200,
    ),
    Row("origin", "an Origin, with a token", post(b"{}", b"Origin: https://evil.example"), 403, "origin"),
    Row("null-origin", "`Origin: null`", request("GET", "/metrics", b"Origin: null"), 403, "origin"),
    Row(
        "preflight",
        "a browser's question whether it may",
        request("OPTIONS", "/v1/pull", b"Origin: https://evil.example", b"Access-Control-Request-Method: POST"),
        403,
        "origin",
    ),
)
BODIES: Final = (
    other_type("form", "a form", b"application/x-www-form-urlencoded"),
    other_type("text", "plain text, as a web page may send it", b"text/plain"),
    Row(
        "no-type", "a body without a type", request("POST", "/v1/pull", bearer(), b"Content-Length: 2", body=b"{}"), 415
    ),
    Row("gzip", "`Content-Encoding: gzip`", post(b"{}", b"Content-Encoding: gzip"), 415, "content_encoding"),
    malformed("no-json", "a body that is no JSON", b"{"),
    malformed("not-utf-8", "bytes that are not UTF-8", b'{"\xff": 1}'),
    malformed("twice", "a key twice", b'{"wait_seconds": 0, "wait_seconds": 1}'),
    malformed("nan", "`NaN`", b'{"wait_seconds": NaN}'),
    malformed("deep", "nesting of 2000 levels", b'{"a":' + b"[" * 2000 + b"]" * 2000 + b"}"),
    malformed("array", "an array in place of an object", b"[]"),
    invalid("unknown-field", "an unknown field", b'{"force": true}'),
    invalid("url", "a URL to fetch from", b'{"url": "http://169.254.169.254/"}'),
    invalid("bucket", "a bucket", b'{"bucket": "other"}'),
    invalid("path", "a path", b'{"path": "../../etc"}'),
    invalid("version", "a version that was not promoted", b'{"version": "v9"}'),
    invalid("other-channel-named", "another channel", b'{"channel": "staging"}'),
    invalid("text-for-number", "text in place of a number", b'{"expect_generation": "1"}'),
    invalid("negative", "a negative number", b'{"expect_generation": -1}'),
    invalid(
        "control-characters",
        "a field's name that forges a line and colours a terminal",
        rb'{"\u001b[31m\r\nERROR x": 1}',
    ),
)
ANSWERS: Final = (
    Row(
        "superseded",
        "a generation that was superseded is expected",
        post(b'{"expect_generation": 1}'),
        200,
        None,
        {},
        1,
    ),
    Row(
        "promised",
        "a generation that nobody promoted",
        post(b'{"expect_generation": 99, "wait_seconds": 0}'),
        202,
        None,
        {},
        1,
    ),
)
ROWS: Final = (*WITHOUT_TOKEN, *PLACES, *SCOPES, *FRAMES, *ORIGINS, *BODIES, *ANSWERS)
