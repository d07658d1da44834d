"""The socket in the root, through which somebody in the pod tells the agent that runs there what to do.

One question a connection: one line of JSON each way. Only the agent's own user (and root) may connect, so that there
is no token. A file system that has no sockets costs this way and nothing else: commands then do it themselves, under
the root's lock.

A socket's address has at most 108 bytes (unix(7)), a root's path may have more: it is named from its open folder.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from dagferry_schemas import fields as reading
from dagferry_schemas.errors import EXIT_BUG, DagferryError, DeliveryFailed, Malformed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping
    from pathlib import Path

    Answer = Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]]

FILE: Final = "agent.sock"
MAX_LINE: Final = 64 * 1024
"""Bytes of a question, and of an answer."""
QUESTION_SECONDS: Final = 5.0

_log = logging.getLogger(__name__)


class Told(DagferryError):
    """What the running agent answered in place of a result."""

    def __init__(self, error: Mapping[str, Any], exit_code: int) -> None:
        super().__init__(str(error["message"]), str(error["hint"]), code=str(error["code"]))
        self.exit_code = exit_code


@contextmanager
def _named(folder: Path) -> Iterator[str]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{FILE}"
    finally:
        os.close(descriptor)


def ask(folder: Path, question: Mapping[str, Any], seconds: float) -> dict[str, Any] | None:
    """What the agent that runs in ``folder`` answers, None if none does. Raises `Told`, `DeliveryFailed`."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection, _named(folder) as address:
        connection.settimeout(seconds)
        try:
            connection.connect(address)
        except (FileNotFoundError, ConnectionRefusedError, PermissionError):
            return None  # none runs, it has just ended, or it is another user's: the lock decides
        try:
            connection.sendall(json.dumps(question).encode() + b"\n")
            with connection.makefile("rb") as reply:
                line = reply.readline(MAX_LINE)
        except OSError as error:
            raise DeliveryFailed(
                f"the agent that runs in {folder} does not answer: {error}", "`status` tells what was done"
            ) from error
    if not line:
        raise DeliveryFailed(f"the agent that runs in {folder} ended before it answered", "try again")
    answer = json.loads(line)
    if "error" in answer:
        raise Told(answer["error"], answer["exit_code"])
    return dict(answer)


def is_there(folder: Path) -> bool:
    """Whether an agent runs in ``folder`` that listens there; one of another user counts."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        try:
            with _named(folder) as address:
                connection.connect(address)
        except PermissionError:
            return True
        except OSError:
            return False
        return True


class Control:
    """Answers questions in ``folder`` with what ``answer`` says; what that raises is an error for who asked."""

    def __init__(self, folder: Path, answer: Answer) -> None:
        self._folder = folder
        self._answer = answer
        self._server: asyncio.AbstractServer | None = None

    async def start(self) -> None:
        """Begin to listen; to be called by the active agent alone, since it takes an older socket away."""
        try:
            with _named(self._folder) as address:
                with suppress(FileNotFoundError):
                    os.unlink(address)  # noqa: PTH108 (a name in an open folder)
                mask = os.umask(0o177)
                try:
                    self._server = await asyncio.start_unix_server(self._talk, path=address, limit=MAX_LINE)
                finally:
                    os.umask(mask)
        except OSError as error:
            _log.warning("no socket in %s (%s): `activate` works all the same", self._folder, error.strerror)

    async def stop(self) -> None:
        """Listen no more, and take the socket away."""
        if self._server is not None:
            self._server.close()
            with suppress(FileNotFoundError):
                (self._folder / FILE).unlink()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            line = await asyncio.wait_for(reader.readline(), QUESTION_SECONDS)
            writer.write(json.dumps(await self._reply(line)).encode("utf-8", "replace") + b"\n")
            await writer.drain()
        except (OSError, ValueError, asyncio.TimeoutError) as error:
            _log.debug("%s: %s", FILE, error)
        finally:
            writer.close()

    async def _reply(self, line: bytes) -> Mapping[str, Any]:
        try:
            question = reading.load(line, "question", limit=MAX_LINE).rest()
            return await self._answer(question)
        except DagferryError as error:
            return {"error": error.to_dict(), "exit_code": error.exit_code}
        except Exception as error:  # noqa: BLE001 (whoever asked gets an answer; it is logged)
            _log.exception("%s: a bug in dagferry, please report it", FILE)
            told = {"code": "bug", "message": str(error), "hint": "the agent's log has more"}
            return {"error": told, "exit_code": EXIT_BUG}


def read_question(question: Mapping[str, Any]) -> tuple[str, str | None]:
    """What to do, and with which version. Raises `Malformed`."""
    done, version = question.get("do"), question.get("version")
    if done not in ("activate", "resume") or (done == "activate") != isinstance(version, str):
        raise Malformed(f"no question that this agent knows: {dict(question)!r}")
    return str(done), version
