"""A proxy that does to an HTTP server's replies what networks and busy servers do to them.

`Proxy` forwards to a port of this machine and counts the requests by method. While a `Fault` is set, it falls on the
next requests that it fits, as many as it says; the others pass unharmed.
"""

from __future__ import annotations

import http.client
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "date", "server"})
ALWAYS = 1_000_000


@dataclass(frozen=True)
class Fault:
    """What befalls a request, or the reply to it. The parts may be combined.

    * ``status`` (with ``body`` and ``headers``): the proxy answers so itself; the server never hears of the request.
    * ``lose``: the server does its work, and the connection drops before the first byte of its reply.
    * ``cut``: the connection drops after so many bytes of the reply's body.
    * ``garble``: the first byte of the reply's body is another one.
    * ``delay``: seconds before the reply.
    * ``pause``: seconds before each of the pieces, ``piece`` bytes long, in which the reply's body comes.
    * ``hesitate``: seconds before each of the pieces, ``piece`` bytes long, in which the request's body is taken.
    * ``forget``: headers and query parameters of the request that the server never hears of.
    * ``rewrite``: headers of the server's reply, in small letters, that come with other values.
    """

    methods: str = "GET POST PUT DELETE HEAD"
    times: int = 1
    spare: int = 0
    """So many of the requests that it would fall on pass unharmed first."""
    path: str = ""
    """Falls only on requests whose path contains it."""
    status: int = 0
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    lose: bool = False
    cut: int | None = None
    garble: bool = False
    delay: float = 0.0
    pause: float = 0.0
    piece: int = 1
    hesitate: float = 0.0
    forget: tuple[str, ...] = ()
    rewrite: Mapping[str, str] = field(default_factory=dict)


class Proxy:
    """A proxy to ``127.0.0.1:upstream_port``; a context manager. ``fault`` may be set at any time."""

    def __init__(self, upstream_port: int) -> None:
        self.upstream_port = upstream_port
        self.requests: Counter[str] = Counter()
        """How many requests came, by method; those that a fault answered too."""
        self._lock = threading.Lock()
        self._fault: Fault | None = None
        self._left = 0
        self._server = _Server(("127.0.0.1", 0), type("BoundHandler", (_Handler,), {"proxy": self}))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        """What a client is given instead of the server's address."""
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def fault(self) -> Fault | None:
        """The fault that was set last; its count is not in it."""
        return self._fault

    @fault.setter
    def fault(self, fault: Fault | None) -> None:
        with self._lock:
            self._fault, self._left = fault, fault.spare + fault.times if fault else 0

    def __enter__(self) -> Proxy:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def befalls(self, method: str, path: str) -> Fault | None:
        """Count a request; the fault that falls on it."""
        with self._lock:
            self.requests[method] += 1
            fault = self._fault
            if fault is None or not self._left or method not in fault.methods.split() or fault.path not in path:
                return None
            self._left -= 1
            return fault if self._left < fault.times else None


class _Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no event; anything else is."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    proxy: Proxy

    def answer(self) -> None:
        if self.headers.get("Expect", "").lower() == "100-continue":
            self.headers.replace_header("Expect", "")  # the base class has answered it
        fault = self.proxy.befalls(self.command, self.path)
        body = self._take(int(self.headers.get("Content-Length") or 0), fault)
        if fault is not None and fault.status:
            time.sleep(fault.delay)
            self._reply(fault.status, list(fault.headers.items()), fault.body, None)
            return
        status, headers, reply = self._forward(body, fault.forget if fault else ())
        if fault is not None:
            time.sleep(fault.delay)
            headers = [(name, fault.rewrite.get(name.lower(), value)) for name, value in headers]
            if fault.lose:
                self.close_connection = True
                return
            if fault.garble and reply:
                reply = bytes([reply[0] ^ 1]) + reply[1:]
        self._reply(status, headers, reply, fault)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = answer

    def _take(self, size: int, fault: Fault | None) -> bytes:
        if fault is None or not fault.hesitate:
            return self.rfile.read(size)
        taken = b""
        while len(taken) < size:
            time.sleep(fault.hesitate)
            taken += self.rfile.read(min(fault.piece, size - len(taken)))
        return taken

    def _forward(self, body: bytes, forgotten: tuple[str, ...]) -> tuple[int, list[tuple[str, str]], bytes]:
        # Host stays the client's: addresses in replies lead back here, and signatures stay right.
        connection = http.client.HTTPConnection("127.0.0.1", self.proxy.upstream_port, timeout=60)
        try:
            path, _, query = self.path.partition("?")
            query = "&".join(part for part in query.split("&") if part.partition("=")[0] not in forgotten)
            target = f"{path}?{query}" if query else path
            connection.putrequest(self.command, target, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in _HOP and name not in forgotten and value:
                    connection.putheader(name, value)
            connection.endheaders(body or None)
            reply = connection.getresponse()
            return reply.status, reply.getheaders(), reply.read()
        finally:
            connection.close()

    def _reply(self, status: int, headers: list[tuple[str, str]], body: bytes, fault: Fault | None) -> None:
        self.send_response(status)
        for name, value in headers:
            if name.lower() not in _HOP | {"content-length"}:
                self.send_header(name, value)
        told = {name.lower(): value for name, value in headers}.get("content-length", str(len(body)))
        if status not in (204, 304):
            self.send_header("Content-Length", told if self.command == "HEAD" else str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return  # a body would be taken for the next reply of this connection
        if fault is not None and fault.cut is not None:
            body, self.close_connection = body[: fault.cut], True
        if fault is None or not fault.pause:
            self.wfile.write(body)
            return
        for start in range(0, len(body), fault.piece):
            time.sleep(fault.pause)
            self.wfile.write(body[start : start + fault.piece])

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""
