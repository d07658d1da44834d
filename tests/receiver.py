"""A webhook's receiver: a real HTTP server that checks signatures as Standard Webhooks describes it, by itself.

What it answers is a list of `Answer`, one for each request, the last one for all that follow. It keeps what it took,
and what it refused.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator, Sequence
    from pathlib import Path

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
OTHER_SECRET = "whsec_" + base64.b64encode(bytes(range(32, 64))).decode()
TOLERANCE = 300


@dataclass(frozen=True)
class Answer:
    """What one request gets: a status after so many seconds."""

    status: int = 204
    seconds: float = 0.0
    headers: tuple[tuple[str, str], ...] = ()


@dataclass
class Receiver:
    """What came, in order."""

    url: str
    secret: str
    answers: list[Answer]
    taken: list[dict[str, Any]] = field(default_factory=list)
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    forged: list[bytes] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)

    @property
    def types(self) -> list[str]:
        """The types of what was taken, without what they have in common."""
        return [one["type"].removeprefix("io.dagferry.") for one in self.taken]

    @property
    def ids(self) -> list[str]:
        """The ids of what was taken."""
        return [one["id"] for one in self.taken]

    def of(self, kind: str) -> list[dict[str, Any]]:
        """What was taken of that type."""
        return [one for one in self.taken if one["type"] == f"io.dagferry.{kind}"]


def is_signed(secret: str, headers: dict[str, str], body: bytes) -> bool:
    """Whether one of the signatures is over exactly this message, and is not old."""
    stamp = headers.get("webhook-timestamp", "0")
    key = base64.b64decode(secret.removeprefix("whsec_"))
    message = b".".join([headers.get("webhook-id", "").encode(), stamp.encode(), body])
    expected = base64.b64encode(hmac.new(key, message, hashlib.sha256).digest()).decode()
    given = [one.partition(",") for one in headers.get("webhook-signature", "").split()]
    fresh = abs(time.time() - int(stamp)) < TOLERANCE
    return fresh and any(kind == "v1" and hmac.compare_digest(one, expected) for kind, _, one in given)


@contextmanager
def receiving(
    answers: Sequence[Answer] = (Answer(),), *, secret: str = SECRET, port: int = 0, tls: ssl.SSLContext | None = None
) -> Iterator[Receiver]:
    """A receiver on a port of this machine."""

    class Requests(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            answer = found.answers[min(len(found.requests), len(found.answers) - 1)]
            found.requests.append((headers, body))
            if answer.seconds:
                found.released.wait(answer.seconds)
            status = answer.status
            if not is_signed(found.secret, headers, body):
                found.forged.append(body)
                status = 401
            elif 200 <= status < 300:
                assert headers["content-type"].startswith("application/cloudevents+json")
                event = json.loads(body)
                assert event["id"] == headers["webhook-id"]
                found.taken.append(event)
            try:
                self.send_response(status)
                for name, value in answer.headers:
                    self.send_header(name, value)
                self.send_header("content-length", "0")
                self.end_headers()
            except OSError:  # whoever asked has no more patience
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True
        allow_reuse_address = True

        def handle_error(self, *_: object) -> None:
            pass

    with Quiet(("127.0.0.1", port), Requests) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        scheme, host = ("http", "127.0.0.1") if tls is None else ("https", "localhost")
        found = Receiver(f"{scheme}://{host}:{server.server_port}/hook/t0ken", secret, list(answers))
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield found
        finally:
            found.released.set()
            server.shutdown()
            thread.join(10)


def secret_file(folder: Path, *secrets: str) -> Path:
    """A file with these secrets, or with that of all receivers."""
    path = folder / "webhook.secret"
    path.write_text("".join(f"{one}\n" for one in secrets or (SECRET,)))
    return path
