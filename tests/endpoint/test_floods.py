"""Silent, slow and endless connections leave an agent at work; a real one, for a few minutes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from .floods import FLOODS, Flood, survives
from .rows import post
from .secure import Authority, secured
from .wire import connect, read
from .world import Source, World, running

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.endpoint


@pytest.fixture(scope="module")
def world(source: Source) -> Iterator[World]:
    with running(source, "floods", poll_seconds=0.5) as world:
        yield world
        left_no_trace(world)


@pytest.fixture(scope="module")
def secure_world(source: Source, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    authority = Authority(tmp_path_factory.mktemp("authority"))
    authority.put(*authority.issue())
    with secured(source, "floods-tls", authority, poll_seconds=0.5) as world:
        yield world
        left_no_trace(world)


def left_no_trace(world: World) -> None:
    assert "Traceback" not in world.agent.log
    assert world.tokens["all"] not in world.agent.log
    assert len(world.agent.log.splitlines()) < 100, "an attack fills the log"


@pytest.mark.parametrize("flood", FLOODS, ids=[flood.id for flood in FLOODS])
def test_flood(request: pytest.FixtureRequest, flood: Flood) -> None:
    world: World = request.getfixturevalue("secure_world" if flood.secure else "world")
    with survives(world):
        flood.run(world)


def test_requests_in_work_are_not_shut_for_a_flood(world: World) -> None:
    with connect(world.port) as waiting:
        waiting.sendall(world.fill(post(b'{"expect_generation": 99, "wait_seconds": 4}')))
        time.sleep(0.5)
        flood = [connect(world.port) for _ in range(300)]
        try:
            assert read(waiting).status == 202
        finally:
            for one in flood:
                one.close()
