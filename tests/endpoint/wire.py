"""A client that sends bytes and looks at what comes back; no HTTP library would send most of what the tests do."""

from __future__ import annotations

import itertools
import json
import re
import socket
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

PATIENCE: Final = 15.0
"""Seconds for an answer that should come at once."""
_STATUS: Final = re.compile(rb"HTTP/1\.1 ([0-9]{3}) ")
_SOURCES: Final = itertools.count(0x7F010001)


def new_source() -> str:
    """An address of this machine from which nobody came before."""
    return ".".join(str(part) for part in next(_SOURCES).to_bytes(4, "big"))


@dataclass(frozen=True)
class Reply:
    """All that came back on one connection: the first answer but 100, and what there was besides."""

    raw: bytes
    closed: bool
    statuses: tuple[int, ...] = ()
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @classmethod
    def of(cls, raw: bytes, *, closed: bool) -> Reply:
        """Take apart what came."""
        rest, interim = raw, []
        while (found := _STATUS.match(rest)) and found[1].startswith(b"1"):
            interim.append(int(found[1]))
            rest = rest.partition(b"\r\n\r\n")[2]
        head, _, body = rest.partition(b"\r\n\r\n")
        found = _STATUS.match(head)
        lines = (line.partition(b": ") for line in head.split(b"\r\n")[1:])
        headers = {name.decode().lower(): value.decode() for name, _, value in lines}
        return cls(raw, closed, (*interim, int(found[1])) if found else tuple(interim), headers, body)

    @property
    def status(self) -> int | None:
        """The status of the answer; None without one."""
        return self.statuses[-1] if self.statuses and self.statuses[-1] >= 200 else None

    @property
    def answers(self) -> int:
        """How many answers there were."""
        return len([found for found in re.findall(rb"HTTP/1\.1 ([0-9]{3}) ", self.raw) if not found.startswith(b"1")])

    @property
    def json(self) -> Any:  # noqa: ANN401 (JSON is dynamic)
        """The body."""
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of an error; it has exactly the agreed fields, or this fails."""
        error = self.json["error"]
        assert set(error) == {"code", "message", "hint"}, error
        return str(error["code"])


def connect(port: int, source: str = "127.0.0.1") -> socket.socket:
    """A connection to the agent from one of this machine's addresses."""
    return socket.create_connection(("127.0.0.1", port), PATIENCE, source_address=(source, 0))


def ask(port: int, data: bytes, source: str = "127.0.0.1") -> Reply:
    """Send ``data`` and read until the agent closes."""
    with connect(port, source) as connection:
        with suppress(OSError):  # it may close before it has read all
            connection.sendall(data)
        return read(connection)


def read(connection: socket.socket) -> Reply:
    """Everything that comes, until the other side closes or nothing more comes for `PATIENCE` seconds."""
    found, closed = b"", False
    try:
        while piece := connection.recv(65536):
            found += piece
        closed = True
    except ConnectionResetError:
        closed = True
    except TimeoutError:
        pass
    return Reply.of(found, closed=closed)
