"""Whether an agent is ready at every moment of a switch and of a take-over, asked by another thread all the time."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from dagferry_agent.delivery import Delivery
from dagferry_agent.root import Root
from dagferry_storage.local import LocalStore

from .test_delivery import ONE, TWO, Pod

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def pod(tmp_path: Path) -> Pod:
    return Pod(tmp_path)


@contextmanager
def asking(delivery: Delivery) -> Iterator[list[bool]]:
    """Ask in a loop; what was said."""
    said: list[bool] = []
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            said.append(delivery.ready())

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield said
    finally:
        over.set()
        thread.join()


def test_an_agent_is_ready_all_through_its_switches(pod: Pod) -> None:
    pod.shelf.ship("v0", ONE)
    pod.delivery.pull()
    with asking(pod.delivery) as said:
        for number in range(1, 101):
            pod.shelf.ship(f"v{number}", TWO if number % 2 else ONE)
            pod.delivery.pull()
    assert len(said) > 100
    assert all(said)


def test_a_standby_is_ready_all_through_its_take_over(pod: Pod) -> None:
    pod.shelf.ship("v1", {**ONE, "large.bin": bytes(64 << 20)})
    pod.delivery.pull()
    assert pod.delivery.claim()
    standby = Delivery(pod.settings, LocalStore(pod.store_folder), Root(pod.root), pod.clock)
    standby.prepare()
    assert not standby.claim()
    assert standby.ready()
    with asking(standby) as said:
        standby.take_over()
    assert said
    assert all(said)
