"""A client that talks ASGI to an application directly, and sees how much of the body it asked for."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.types import ASGIApp, Message

Header = tuple[bytes, bytes]


@dataclass(frozen=True)
class Answer:
    """One reply, and how often the application asked for a piece of the body before it answered."""

    status: int
    headers: dict[str, str]
    body: bytes
    pieces_read: int

    @property
    def json(self) -> Any:  # noqa: ANN401 (JSON is dynamic)
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of an error; it has exactly the agreed fields, or this fails."""
        document = self.json
        assert set(document) == {"error"}
        assert set(document["error"]) == {"code", "message", "hint"}
        code: str = document["error"]["code"]
        return code


async def ask(
    app: ASGIApp,
    method: str,
    target: str,
    headers: Sequence[Header] = (),
    pieces: Sequence[bytes] = (),
    *,
    unfinished: bool = False,
    leave_after: float | None = None,
    http_version: str = "1.1",
) -> Answer:
    """Send one request and return the answer. ``unfinished``: the body never ends. ``leave_after`` so many seconds
    after its body the client hangs up.
    """
    path, _, query = target.partition("?")
    scope = {
        "type": "http",
        "http_version": http_version,
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": list(headers),
        "scheme": "http",
        "client": ("192.0.2.1", 1),
        "server": ("127.0.0.1", 80),
    }
    left = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    if not unfinished:
        left.append({"type": "http.request", "body": b"", "more_body": False})
    sent: list[Message] = []
    read = 0

    async def receive() -> Message:
        nonlocal read
        if left:
            if not sent:
                read += 1
            return left.pop(0)
        await asyncio.sleep(3600 if leave_after is None else leave_after)
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    start = sent[0]
    found = {name.decode().lower(): value.decode() for name, value in start["headers"]}
    return Answer(start["status"], found, b"".join(message.get("body", b"") for message in sent[1:]), read)
