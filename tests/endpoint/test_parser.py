"""Bytes that are hardly HTTP let nobody in, do nothing twice, and leave the agent as it was; sent to a real one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .parsed import PARSED, Parsed, check
from .rows import HOST, bearer
from .wire import Reply, connect, new_source, read
from .world import Source, World, named, running

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def world(source: Source) -> Iterator[World]:
    with running(source, "parser", named()) as world:
        yield world
        assert "Traceback" not in world.agent.log
        assert "\x1b" not in world.agent.log
        assert not [token for token in (world.tokens["all"], "Bearer") if token in world.agent.log]


@pytest.mark.parametrize("row", PARSED, ids=[row.id for row in PARSED])
def test_row(world: World, row: Parsed) -> None:
    check(row, world)


def test_every_row_has_a_name_of_its_own() -> None:
    assert len({row.id for row in PARSED}) == len({row.attack for row in PARSED}) == len(PARSED)


def test_http_2_by_an_upgrade_is_answered_505_and_nothing_else(world: World) -> None:
    upgrade = (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQAAP__")
    lines = (b"GET /v1/status HTTP/1.1", b"Host: " + HOST, bearer(), *upgrade)
    with connect(world.port, new_source()) as connection:
        connection.settimeout(1)  # the server keeps it for its next stream, which it refuses
        connection.sendall(world.fill(b"\r\n".join(lines) + b"\r\n\r\n"))
        reply: Reply = read(connection)
    assert b"http_version" in reply.raw
    assert b"agent_id" not in reply.raw


def test_random_bytes_never_get_more_than_a_refusal(world: World) -> None:
    import random

    rng = random.Random(20261123)
    before = world.pulls()
    for _ in range(150):
        data = bytearray(world.fill(b"POST /v1/pull HTTP/1.1\r\nHost: agent.example\r\nContent-Length: 0\r\n\r\n"))
        for _ in range(rng.randrange(1, 12)):
            where = rng.randrange(len(data) - 4)
            data[where : where + rng.randrange(3)] = rng.randbytes(rng.randrange(4))
        reply = world.ask(bytes(data.rstrip()) + b"\r\n\r\n")
        assert reply.status is None or 400 <= reply.status < 600, (data, reply)
        assert reply.status != 500, (data, reply)
    assert world.pulls() == before
    world.answers()
