"""The door, with real sockets and without a server behind it: who is shut when there are too many."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from dagferry_agent.door import Door

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST = 4


class Building:
    """A door and the connections that came through it, both ends of each."""

    def __init__(self, stack: ExitStack, host: str) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.bind((host, 0))
        self.door = stack.enter_context(Door(listener, most=MOST))
        self.door.listen()
        self._stack = stack

    def come(self) -> tuple[socket.socket, socket.socket]:
        """The client's end of a new connection, and the server's."""
        family, address = self.door.family, self.door.getsockname()
        client = self._stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
        client.connect(address)
        client.settimeout(0.2)
        served, _ = self.door.accept()
        return client, self._stack.enter_context(served)


@pytest.fixture(params=["127.0.0.1", "::1"])
def building(request: pytest.FixtureRequest) -> Iterator[Building]:
    with ExitStack() as stack:
        try:
            yield Building(stack, request.param)
        except OSError:
            if request.param != "::1":
                raise
            pytest.skip("there is no IPv6 here")


def is_open(client: socket.socket) -> bool:
    try:
        return client.recv(1) != b""
    except TimeoutError:
        return True


def test_the_oldest_is_shut_for_one_too_many(building: Building) -> None:
    clients = [building.come()[0] for _ in range(MOST + 2)]
    assert [is_open(client) for client in clients] == [False, False, True, True, True, True]


def test_one_whose_request_is_in_work_is_not_shut_and_is_again_when_that_is_over(building: Building) -> None:
    clients = [building.come()[0] for _ in range(MOST)]
    with building.door.working(clients[0].getsockname()[:2]):
        clients.append(building.come()[0])
        assert [is_open(client) for client in clients] == [True, False, True, True, True]
    clients.append(building.come()[0])
    assert not is_open(clients[0])


def test_if_all_are_in_work_the_new_one_is_shut(building: Building) -> None:
    with ExitStack() as work:
        clients = [building.come()[0] for _ in range(MOST)]
        for client in clients:
            work.enter_context(building.door.working(client.getsockname()[:2]))
        clients.append(building.come()[0])
        assert [is_open(client) for client in clients] == [True] * MOST + [False]


def test_those_that_were_closed_need_no_room(building: Building) -> None:
    ends = [building.come() for _ in range(MOST)]
    for _, served in ends[1:]:
        served.close()
    for _ in range(MOST - 1):
        ends.append(building.come())
    assert is_open(ends[0][0])
