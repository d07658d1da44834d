"""Telling webhooks beside a command, and from its log: who waits, for how long, and what is remembered when."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from dagferry_builder.announcing import Announcer
from dagferry_builder.following import Follower, StateFile
from dagferry_builder.retelling import retell
from dagferry_schemas import events, trust
from dagferry_storage.local import LocalStore
from dagferry_storage.webhook import NotTaken, open_webhooks
from tests.builder import writers
from tests.builder.checks import BUNDLE, CHANNEL
from tests.receiver import Answer, receiving, secret_file

if TYPE_CHECKING:
    from pathlib import Path

    from dagferry_builder.following import News
    from dagferry_storage.webhook import Webhook

LONG = 60.0


@pytest.fixture
def news(tmp_path: Path) -> list[News]:
    """Three promotions."""
    store = LocalStore(tmp_path / "store")
    writers.publish_documents(store, writers.commits(3))
    for version in ("v1", "v2", "v3"):
        writers.promote(store, version)
    return Follower(store, BUNDLE, CHANNEL, lambda: trust.Policy.UNSIGNED).look()


def hooks(folder: Path, *urls: str) -> tuple[Webhook, ...]:
    return open_webhooks(urls, secret_file(folder), None)


def tell(announcer: Announcer, news: list[News]) -> None:
    for one in news:
        for event in events.of_record(one.record, one.before):
            announcer.tell(event)


def generations(taken: list[dict[str, dict[str, int]]]) -> list[int]:
    return [one["data"]["generation"] for one in taken]


def test_all_events_come_in_order_although_some_are_refused_at_first(news: list[News], tmp_path: Path) -> None:
    with receiving([Answer(), Answer(500), Answer(503), Answer()]) as receiver:
        announcer = Announcer(hooks(tmp_path, receiver.url))
        tell(announcer, news)
        (told,) = announcer.finish()
    assert (told.told, told.events, told.error) == (3, 3, None)
    assert generations(receiver.taken) == [1, 2, 3]


def test_telling_waits_for_nobody_and_the_end_for_no_longer_than_its_patience(news: list[News], tmp_path: Path) -> None:
    with receiving([Answer(seconds=LONG)]) as hanging, receiving() as prompt:
        announcer = Announcer(hooks(tmp_path, hanging.url, "http://127.0.0.1:1/x", prompt.url), patience=1.0)
        began = time.monotonic()
        tell(announcer, news)
        assert time.monotonic() - began < 0.5
        found = announcer.finish()
        assert time.monotonic() - began < 2.5
        assert announcer.finish() == found
    assert [(one.told, one.error is None) for one in found] == [(0, False), (0, False), (3, True)]


def test_nothing_to_tell_is_nobody_asked(tmp_path: Path) -> None:
    with receiving() as receiver:
        (told,) = Announcer(hooks(tmp_path, receiver.url)).finish()
    assert (told.told, told.events, told.error) == (0, 0, None)
    assert receiver.requests == []


def test_a_record_is_remembered_once_it_was_told_and_not_before(news: list[News], tmp_path: Path) -> None:
    memory = StateFile(tmp_path / "state", BUNDLE, CHANNEL, "key")
    with receiving([Answer(), Answer(500)]) as receiver:
        (hook,) = hooks(tmp_path, receiver.url)
        retell(hook, news[0], memory, 0.0)
        with pytest.raises(NotTaken):
            retell(hook, news[1], memory, 0.0)
        assert memory.read() == news[0].position
        receiver.answers[:] = [Answer(500), Answer()]
        receiver.requests.clear()
        (told,) = retell(hook, news[1], memory, LONG)
        assert memory.read() == news[1].position
    assert generations(receiver.taken) == [1, 2]
    assert told["id"] == receiver.taken[-1]["id"]
