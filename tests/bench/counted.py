"""A relay on loopback that counts what goes through: requests, and bytes each way, headers included."""

from __future__ import annotations

import re
import socket
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

_REQUEST: Final = re.compile(rb"(?:GET|HEAD|PUT|POST|DELETE) [^ \r\n]+ HTTP/1\.1\r\n")
_CHUNK: Final = 65536


class Traffic(NamedTuple):
    """What went through: HTTP requests, connections, and bytes to the server and back."""

    requests: int = 0
    connections: int = 0
    sent: int = 0
    received: int = 0

    def since(self, before: Traffic) -> Traffic:
        """What came after ``before``."""
        return Traffic(*(now - then for now, then in zip(self, before, strict=True)))


class Relay:
    """Hands connections to ``port`` on to ``upstream``, both on loopback."""

    def __init__(self, upstream: int) -> None:
        self._upstream = upstream
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._traffic = Traffic()

    @property
    def traffic(self) -> Traffic:
        """All that went through so far."""
        with self._lock:
            return self._traffic

    def serve(self) -> None:
        """Accept until `close`."""
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._upstream))
                self._count(Traffic(connections=1))
                for source, target, asks in ((client, server, True), (server, client, False)):
                    threading.Thread(target=self._hand_on, args=(source, target, asks), daemon=True).start()

    def close(self) -> None:
        """End; connections that are open go on."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _hand_on(self, source: socket.socket, target: socket.socket, asks: bool) -> None:
        with suppress(OSError):
            while chunk := source.recv(_CHUNK):
                if asks:
                    self._count(Traffic(requests=len(_REQUEST.findall(chunk)), sent=len(chunk)))
                else:
                    self._count(Traffic(received=len(chunk)))
                target.sendall(chunk)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def _count(self, more: Traffic) -> None:
        with self._lock:
            self._traffic = Traffic(*(one + other for one, other in zip(self._traffic, more, strict=True)))


@contextmanager
def relay(upstream: int) -> Iterator[Relay]:
    """A relay to a port of this machine."""
    found = Relay(upstream)
    thread = threading.Thread(target=found.serve, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        found.close()
        thread.join()
