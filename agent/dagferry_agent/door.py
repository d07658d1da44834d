"""The door of the endpoint: a listening socket that lets in no more connections than the process can bear.

1. There are at most `most` connections. For one more the oldest is shut that has no request in work: it is silent or
   slow, or was answered and does not leave. Whoever floods the port shuts connections of that flood, and one that
   comes with its request at once is heard.
2. A connection whose request is in work is never shut for another. If all are, the new one is closed at once.
3. The server closes connections itself, a few turns of its loop after they were shut; here they are only counted. So
   it has to accept few in each turn (`AT_ONCE`), while the kernel may keep more of them waiting (`BACKLOG`).
"""

from __future__ import annotations

import errno
import gc
import socket
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from dagferry_schemas.errors import MachineFault, Usage

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST: Final = 128
"""Connections at once. With TLS each takes up to a third of a mebibyte."""
BACKLOG: Final = 128
AT_ONCE: Final = 4
COLLECT_AFTER: Final = 64
"""Connections shut for others after which garbage is collected: asyncio's part in a connection with TLS has a buffer of
256 KiB, and ends in a cycle. Without this a flood of handshakes takes the process from 50 MiB to 600."""


class Door(socket.socket):
    """Takes the descriptor of a listening ``socket``; to be used by one thread."""

    def __init__(self, listener: socket.socket, *, most: int = MOST) -> None:
        family, kind, protocol = listener.family, listener.type, listener.proto
        super().__init__(family, kind, protocol, fileno=listener.detach())
        self._most = most
        self._inside: dict[Any, socket.socket] = {}
        """By the peer's host and port, oldest first."""
        self._working: set[Any] = set()
        self._shut = 0

    def listen(self, _backlog: int = 0, /) -> None:
        """Listen with `BACKLOG`: asyncio has one number for this and for how many it accepts in a turn."""
        super().listen(BACKLOG)

    def accept(self) -> tuple[socket.socket, Any]:
        """The next connection, after room was made for it. Raises what `socket.socket.accept` does."""
        connection, peer = super().accept()
        if len(self._inside) >= self._most:
            self._make_room()
        if len(self._inside) < self._most:
            # Last in the order, also if this peer's port was one of a connection before.
            self._inside.pop(peer[:2], None)
            self._inside[peer[:2]] = connection
        else:
            _shut(connection)
        return connection, peer

    @contextmanager
    def working(self, peer: tuple[str, int]) -> Iterator[None]:
        """While a request of ``peer``, host and port, is in work."""
        self._working.add(peer)
        try:
            yield
        finally:
            self._working.discard(peer)

    def _make_room(self) -> None:
        self._inside = {peer: found for peer, found in self._inside.items() if found.fileno() >= 0}
        if len(self._inside) < self._most:
            return
        oldest = next((peer for peer in self._inside if peer not in self._working), None)
        if oldest is not None:
            _shut(self._inside.pop(oldest))
            self._shut += 1
            if self._shut % COLLECT_AFTER == 0:
                gc.collect()


def _shut(connection: socket.socket) -> None:
    # Not closed: the server has its descriptor and does so when it finds that there is nothing more to read.
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def listen(host: str, port: int) -> socket.socket:
    """A socket bound to ``host`` and ``port``, not listening yet; port 0 takes a free one.

    Raises `MachineFault` if the address is in use or not this machine's, `Usage` if there is no such host.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise Usage(f"--listen: there is no host {host!r}: {error.strerror}") from None
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        in_use = error.errno == errno.EADDRINUSE
        raise MachineFault(
            f"cannot listen on {host}:{port}: {'the port is in use' if in_use else error.strerror}",
            "choose another one with --listen" + (", or end the other agent" if in_use else ""),
            code="port_in_use" if in_use else None,
        ) from None
    return listener
