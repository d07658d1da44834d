"""What an agent tells, with real receivers and a real root: nothing waits, nothing that was written down is lost."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from dagferry_agent import events
from dagferry_agent.metrics import Meters
from dagferry_agent.outcome import Outcome
from dagferry_agent.reporting import Reporter
from dagferry_agent.settings import Settings
from dagferry_schemas.endpoint import AgentStatus, PullReply
from dagferry_schemas.errors import DeliveryFailed
from dagferry_storage.webhook import open_webhooks
from tests.e2e.harness import wait_for
from tests.receiver import SECRET, Answer, receiving, secret_file

from .fake import FakeDelivery

if TYPE_CHECKING:
    from pathlib import Path

TREES = ["sha256:" + f"{number:064x}" for number in range(4)]
QUIET: AgentStatus = replace(FakeDelivery().status(), drift=())


def reply(number: int, *, changed: bool = True) -> Outcome:
    return Outcome(
        0.0,
        PullReply("etl", "prod", number, f"v{number}", TREES[number], None, changed, 1, 2, 3, 4, 0.5),
    )


FAILED = Outcome(0.0, error=DeliveryFailed("gone"))


def names(found: list[events.Happened]) -> list[str]:
    return [one.name for one in found]


def test_only_a_switch_is_told_and_each_is() -> None:
    told = events.Told("o")
    seen = []
    for outcome in (reply(1), reply(1, changed=False), reply(2), reply(1)):
        told, found = events.of_outcome(told, outcome)
        seen.append(names(found))
    assert seen == [["activated"], [], ["activated"], ["activated"]]


def test_failures_are_told_at_their_beginning_and_at_their_end() -> None:
    told = events.Told("o", tree=TREES[1])
    seen = []
    for outcome in (FAILED, FAILED, reply(1, changed=False), FAILED, reply(2), Outcome(0.0, error=ValueError("x"))):
        told, found = events.of_outcome(told, outcome)
        seen.append(names(found))
    assert seen == [["pull_failed"], [], ["pull_recovered"], ["pull_failed"], ["pull_recovered", "activated"],
                    ["pull_failed"]]  # fmt: skip


def test_a_status_is_told_where_it_differs_from_what_was_told() -> None:
    told, seen = events.Told("o"), []
    for status in (
        QUIET,
        replace(QUIET, drift=("odd-\udcff.py",) * 50, alarms=("expires_soon",)),
        replace(QUIET, drift=("b.py",), alarms=("expires_soon",)),
        replace(QUIET, alarms=("expired",)),
    ):
        told, found = events.of_status(told, status)
        seen.append(found)
        assert events.of_status(told, status) == (told, [])
    assert [names(one) for one in seen] == [
        [], ["drifted", "alarm_raised"], [], ["mended", "alarm_raised", "alarm_cleared"]
    ]  # fmt: skip
    assert seen[1][0].facts == {"count": 50, "paths": ["odd-\\udcff.py"] * events.PATHS}


def test_what_is_kept_is_what_is_read() -> None:
    told = events.Told("o", 7, TREES[0], "unreachable", True, ("expired",))
    assert events.Told.from_bytes(told.to_bytes()) == told


class Site:
    """A root, and reporters of it."""

    def __init__(self, root: Path, *urls: str) -> None:
        self.root = root
        hooks = open_webhooks(urls, secret_file(root.parent), None)
        self.settings = Settings("file:///x", "etl", "prod", root, "pod-1", webhooks=hooks, durability="none")
        self.meters = Meters()
        self.status = QUIET

    def reporter(self) -> Reporter:
        return Reporter(self.settings, lambda: self.status, self.meters, look_seconds=0.05)

    def waiting(self) -> list[dict[str, Any]]:
        return [json.loads(path.read_bytes()) for path in sorted(self.root.glob("events/*/*.json"))]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


def test_noting_an_outcome_never_waits_whatever_the_receiver_and_the_disk_do(folder: Path) -> None:
    with receiving([Answer(seconds=60)]) as hanging:
        site = Site(folder, hanging.url)
        reporter = site.reporter()
        reporter.start()
        reporter.ended(FAILED)
        wait_for(lambda: hanging.requests or None, "a request that hangs")
        began = time.monotonic()
        for number in range(200):
            reporter.ended(reply(number % 2))
        assert time.monotonic() - began < 0.5
        wait_for(lambda: len(site.waiting()) > 100 or None, "what happened on the disk")
        began = time.monotonic()
        reporter.stop(2.0)
        assert time.monotonic() - began < 2.5


def test_what_is_on_the_disk_is_told_by_the_next_process(folder: Path) -> None:
    with receiving([Answer(500)]) as receiver:
        site = Site(folder, receiver.url)
        first = site.reporter()
        first.start()
        for number in (1, 2, 3):
            first.ended(reply(number))
        wait_for(lambda: len(site.waiting()) >= 3 or None, "three events on the disk")
        first.stop(2.0)
        kept = site.waiting()
        receiver.answers[:] = [Answer()]
        second = site.reporter()
        second.start()
        wait_for(lambda: not site.waiting() or None, "an empty spool")
        second.stop(2.0)
    assert receiver.taken == kept


def test_what_was_told_is_remembered_after_it_is_on_the_disk(folder: Path) -> None:
    """A disk that takes the memory, and no event: what happened is not forgotten."""
    with receiving() as receiver:
        reporter = Site(folder, receiver.url).reporter()
        reporter.start()
        reporter.ended(reply(1))
        wait_for(lambda: receiver.of("agent.activated") or None, "the first")
        (spool,) = (path for path in (folder / "events").iterdir() if path.is_dir())
        spool.rename(folder / "aside")
        reporter.ended(reply(2))
        time.sleep(0.5)
        assert events.Told.from_bytes((folder / "events/told.json").read_bytes()).tree == TREES[1]
        (folder / "aside").rename(spool)
        wait_for(lambda: len(receiver.of("agent.activated")) == 2 or None, "the second")
        reporter.stop(2.0)


def test_a_webhook_that_is_configured_no_longer_leaves_nothing_behind(folder: Path) -> None:
    with receiving([Answer(500)]) as old, receiving() as new:
        first = Site(folder, old.url).reporter()
        first.start()
        first.ended(reply(1))
        wait_for(lambda: old.requests or None, "a request")
        first.stop(2.0)
        site = Site(folder, new.url)
        second = site.reporter()
        second.start()
        second.ended(reply(2))
        wait_for(lambda: new.taken or None, "the new one's event")
        second.stop(2.0)
        wait_for(lambda: not site.waiting() or None, "an empty spool")
    assert [one["subject"] for one in new.taken] == ["v2"]


def test_ids_of_two_roots_differ_although_all_else_is_the_same(tmp_path: Path) -> None:
    ids = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        with receiving() as receiver:
            reporter = Site(tmp_path / name, receiver.url).reporter()
            reporter.start()
            reporter.ended(reply(1))
            wait_for(lambda: receiver.taken or None, "the event")
            reporter.stop(2.0)
            ids += receiver.ids
    assert len(set(ids)) == 2


def test_the_log_says_a_failure_once_and_no_secret(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), receiving([Answer(500)]) as receiver:
        reporter = Site(folder, receiver.url).reporter()
        reporter.start()
        reporter.ended(reply(1))
        wait_for(lambda: len(receiver.requests) >= 3 or None, "three requests")
        reporter.stop(2.0)
    ours = "\n".join(one.getMessage() for one in caplog.records if one.name.startswith("dagferry"))
    assert ours.count("was not told") == 1
    assert "t0ken" not in ours
    assert SECRET.removeprefix("whsec_") not in caplog.text
