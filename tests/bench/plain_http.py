"""A plain HTTP server of a folder, as a process: ``python -m tests.bench.plain_http FOLDER`` prints its port first."""

from __future__ import annotations

import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer


class Plain(SimpleHTTPRequestHandler):
    """Files, without a word, and without waiting for more to send (Nagle)."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # a reply's headers in one piece

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    request_queue_size = 128  # OSTree opens eight at once
    daemon_threads = True


def main() -> None:
    """Serve until the process is ended."""
    server = _Server(("127.0.0.1", 0), partial(Plain, directory=sys.argv[1]))
    sys.stdout.write(f"{server.server_port}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main()
