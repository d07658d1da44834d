"""A plain HTTP server of a folder."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Plain(SimpleHTTPRequestHandler):
    """Files, without a word, and without waiting for more to send (Nagle)."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    request_queue_size = 128  # OSTree opens eight at once


@contextmanager
def serving(folder: Path) -> Iterator[int]:
    """The port of a server of ``folder``."""
    server = _Server(("127.0.0.1", 0), partial(Plain, directory=str(folder)))
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
