"""Networks of a test's own: a bridge on this machine, and processes behind it that can be cut off.

Nothing leaves the machine: the bridge leads nowhere else, and goes with the test.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

NET: Final = "10.231.7"
TOP: Final = Path(__file__).resolve().parents[2]
HERE: Final = f"{NET}.1"
"""This machine, as those behind the bridge see it."""


def need_networks() -> None:
    """Skip the test with a word on why it cannot be made here."""
    if shutil.which("ip") is None:
        pytest.skip("ip not installed: apt-get install iproute2")
    if os.geteuid() != 0:
        pytest.skip("only root can make a network")
    if subprocess.run(["ip", "netns", "add", "dagferry-probe"], capture_output=True, check=False).returncode:
        pytest.skip("network namespaces cannot be made here")
    _ip("netns", "del", "dagferry-probe")


@contextmanager
def bridge() -> Iterator[str]:
    """A bridge; its name."""
    name = "dagferry0"
    _ip("link", "add", name, "type", "bridge")
    try:
        _ip("addr", "add", f"{HERE}/24", "dev", name)
        _ip("link", "set", name, "up")
        yield name
    finally:
        _ip("link", "del", name)


class Behind:
    """A network namespace with one address behind a bridge."""

    def __init__(self, bridge: str, number: int) -> None:
        self.name = f"dagferry{number}"
        self.address = f"{NET}.{number + 10}"
        self._outside, inside = f"dagf{number}o", f"dagf{number}i"
        _ip("netns", "add", self.name)
        _ip("link", "add", self._outside, "type", "veth", "peer", "name", inside)
        _ip("link", "set", self._outside, "master", bridge, "up")
        _ip("link", "set", inside, "netns", self.name)
        for command in (
            ["addr", "add", f"{self.address}/24", "dev", inside],
            ["link", "set", inside, "up"],
            ["link", "set", "lo", "up"],
        ):
            _ip("-n", self.name, *command)

    @property
    def command(self) -> list[str]:
        """What starts a program there."""
        return ["ip", "netns", "exec", self.name]

    def cut(self) -> None:
        """Nothing goes through any more."""
        _ip("link", "set", self._outside, "down")

    def heal(self) -> None:
        """All goes through again."""
        _ip("link", "set", self._outside, "up")

    def remove(self) -> None:
        """Take it away."""
        _ip("netns", "del", self.name)


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, (arguments, done.stderr)


@contextmanager
def forwarded(port: int) -> Iterator[int]:
    """A port of `HERE` that leads to that port of this machine's loopback, by a process of its own."""
    command = [sys.executable, "-m", "tests.faults.networks", str(port)]
    process = subprocess.Popen(command, cwd=TOP, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


async def _forward(port: int) -> None:
    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while chunk := await reader.read(65536):
                writer.write(chunk)
                await writer.drain()
        writer.close()

    async def lead(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(copy(reader, back), copy(there, writer))

    server = await asyncio.start_server(lead, HERE, 0)
    print(server.sockets[0].getsockname()[1], flush=True)  # noqa: T201 (whoever started it reads that)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_forward(int(sys.argv[1])))
