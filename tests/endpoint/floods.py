"""The table of attacks on connections: what is done to an agent, for how long, and what has to hold meanwhile.

Each is a function that attacks a `World` and asks it for something valid in between. `survives`, around all of them,
holds the agent to its memory and descriptors, to its polls, and to an answer within ten seconds of the attack's end.
"""

from __future__ import annotations

import selectors
import socket
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tests.e2e.harness import wait_for

from .rows import HOST, bearer, post, request
from .wire import Reply, connect, new_source, read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .world import World

MOST_CONNECTIONS: Final = 128
DESCRIPTORS: Final = 40
"""Files and sockets beside the connections."""
RECOVERY: Final = 10.0
"""Seconds after the attack in which a valid request has to be answered."""
PARTIAL: Final = b"POST /v1/pull HTTP/1.1\r\nHost: " + HOST + b"\r\nX-Slow: "
SECONDS: Final = 12.0
"""How long an attack lasts that goes on and on."""


@dataclass(frozen=True)
class Flood:
    """One attack, what is claimed, and the attack itself."""

    id: str
    attack: str
    claim: str
    run: Callable[[World], None]
    secure: bool = False
    """Whether it is done to an agent that speaks https."""


FLOODS: Final[list[Flood]] = []


def flood(
    attack: str, claim: str, *, secure: bool = False
) -> Callable[[Callable[[World], None]], Callable[[World], None]]:
    """Enter a function into the table, under its name."""

    def enter(run: Callable[[World], None]) -> Callable[[World], None]:
        FLOODS.append(Flood(run.__name__.replace("_", "-"), attack, claim, run, secure))
        return run

    return enter


@contextmanager
def survives(world: World) -> Iterator[None]:
    """Around an attack: the agent stays small, goes on polling, and answers afterwards."""
    world.answers()
    pulls, memory = world.pulls(), world.memory
    try:
        yield
        look(world, memory)
    finally:
        ended = time.monotonic()
    wait_for(lambda: world.pulls() > pulls + 1 or None, "polls", seconds=RECOVERY)
    world.answers()
    assert time.monotonic() - ended < RECOVERY
    wait_for(lambda: world.descriptors <= DESCRIPTORS or None, "descriptors to be closed")
    look(world, memory)


def look(world: World, memory: int) -> None:
    """The process is not larger than it may be."""
    assert world.memory - memory < world.MAY_GROW, (memory, world.memory)
    assert world.descriptors < MOST_CONNECTIONS + DESCRIPTORS, world.descriptors


def opened(world: World, count: int, data: bytes, stack: ExitStack) -> list[socket.socket]:
    """So many connections on which ``data`` was sent."""
    found = []
    for _ in range(count):
        found.append(stack.enter_context(connect(world.port)))
        with suppress(OSError):  # shut in favour of another one
            found[-1].sendall(data)
    return found


def all_end(connections: list[socket.socket]) -> list[Reply]:
    """What came on connections that the agent has to close by itself."""
    replies = [read(one) for one in connections]
    assert all(reply.closed for reply in replies)
    return replies


@flood("200 connections that send nothing", "a valid request is answered meanwhile; all are closed after 5 s")
def silent(world: World) -> None:
    with ExitStack() as stack:
        connections = opened(world, 200, b"", stack)
        world.answers()
        assert {reply.raw for reply in all_end(connections)} == {b""}


@flood("50 heads, a byte every 50 ms", "a valid request is answered meanwhile; all are closed after 5 s")
def header_drip(world: World) -> None:
    with ExitStack() as stack:
        connections = opened(world, 50, PARTIAL, stack)
        until = time.monotonic() + SECONDS
        while connections:
            assert time.monotonic() < until, f"{len(connections)} are still open"
            world.answers()
            time.sleep(0.05)
            connections = [one for one in connections if still_takes(one, b"x")]


def still_takes(connection: socket.socket, data: bytes) -> bool:
    """Whether the other side has not closed; the data is sent if not."""
    connection.setblocking(False)
    try:
        connection.sendall(data)
        return connection.recv(1000) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


@flood("20 bodies with a valid token, a byte every 500 ms", "a valid request is answered meanwhile; 408 after 10 s")
def body_drip(world: World) -> None:
    usual = (bearer(), b"Content-Type: application/json", b"Content-Length: 4000")
    sent = world.fill(request("POST", "/v1/pull", *usual))
    with ExitStack() as stack:
        connections = opened(world, 20, sent, stack)
        for _ in range(16):
            world.answers()
            time.sleep(0.5)
            for one in connections:
                one.sendall(b" ")
        replies = all_end(connections)
        assert {(reply.status, reply.code) for reply in replies} == {(408, "too_slow")}


@flood(
    "200 half-open connections, each opened again as soon as it is closed, for 12 s",
    "valid requests are answered all the time; no more than 128 connections are in",
)
def half_open(world: World) -> None:
    keep_half_open(world, PARTIAL)


@flood("the same with 15 KiB of a head in each", "as above")
def half_open_and_heavy(world: World) -> None:
    keep_half_open(world, PARTIAL + b"x" * 15_000)


@flood("the same with the beginning of HTTP/2 in each", "as above")
def half_open_http_2(world: World) -> None:
    keep_half_open(world, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")


@flood("the same with handshakes of TLS that stall in the middle", "as above", secure=True)
def stalled_handshakes(world: World) -> None:
    keep_half_open(world, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")


@flood(
    "200 handshakes of TLS of which nothing comes", "a valid request is answered; all are closed after 5 s", secure=True
)
def silent_handshakes(world: World) -> None:
    silent(world)


def keep_half_open(world: World, data: bytes) -> None:
    memory, asked = world.memory, 0
    reopened = 0
    until = time.monotonic() + SECONDS
    with selectors.DefaultSelector() as selector:
        try:
            for _ in range(200):
                add(selector, world.port, data)
            while time.monotonic() < until:
                for key, _ in selector.select(0.01):
                    connection = key.fileobj
                    assert isinstance(connection, socket.socket)
                    if not still_takes(connection, b""):
                        selector.unregister(connection)
                        connection.close()
                        add(selector, world.port, data)
                        reopened += 1
                if reopened >= 20 * asked:
                    world.answers()
                    asked += 1
                    look(world, memory)
        finally:
            for key in list(selector.get_map().values()):
                assert isinstance(key.fileobj, socket.socket)
                key.fileobj.close()
    assert reopened > 200, reopened
    assert asked > 10, asked


def add(selector: selectors.BaseSelector, port: int, data: bytes) -> None:
    connection = connect(port)
    with suppress(OSError):
        connection.sendall(data)
    selector.register(connection, selectors.EVENT_READ)


@flood("60 bodies of 4 MiB without a token", "401 to each; nothing of them stays in memory")
def unread_bodies(world: World) -> None:
    memory = world.memory
    sent = request("POST", "/v1/pull", b"Content-Length: 4194304", body=b"x" * 4_194_304)
    for _ in range(60):
        reply = world.ask(sent)
        # A client that does not read before it has sent all may find the connection reset.
        assert reply.status in (401, None), reply
        look(world, memory)
    world.answers()


@flood("60 bodies of 4 MiB in chunks, without a token", "400 to each; nothing of them stays in memory")
def endless_chunks(world: World) -> None:
    memory = world.memory
    body = (b"10000\r\n" + b"x" * 65536 + b"\r\n") * 64
    for _ in range(60):
        reply = world.ask(request("POST", "/v1/pull", b"Transfer-Encoding: chunked", body=body))
        assert reply.status in (400, None), reply
        look(world, memory)
    world.answers()


@flood("200 requests whose answers nobody reads", "a valid request is answered meanwhile; all are closed")
def unread_answers(world: World) -> None:
    with ExitStack() as stack:
        connections = opened(world, 200, request("GET", "/openapi.json"), stack)
        world.answers()
        all_end(connections)


@flood(
    "100 pulls with a valid token that wait for a generation that does not come",
    "64 wait, the others get 202 at once; other requests are answered meanwhile",
)
def waiting_pulls(world: World) -> None:
    sent = world.fill(post(b'{"expect_generation": 99, "wait_seconds": 300}'))
    with ExitStack() as stack:
        connections = opened(world, 100, sent, stack)
        wait_for(lambda: sum(not still_takes(one, b"") for one in connections) == 36 or None, "36 answers")
        world.answers()
        assert world.ask(request("GET", "/healthz")).status == 200


@flood("3000 wrong tokens from 300 addresses", "401, then 429; a valid token is heard meanwhile")
def wrong_tokens(world: World) -> None:
    memory = world.memory
    guess = request("GET", "/v1/status", bearer("wrong"))
    for _ in range(60):
        sources = [new_source() for _ in range(5)]
        for number in range(10):
            assert {world.ask(guess, source).status for source in sources} == {401}, number
        world.answers()
    one = new_source()
    assert [world.ask(guess, one).status for _ in range(31)][-1] in (401, 429)
    look(world, memory)
