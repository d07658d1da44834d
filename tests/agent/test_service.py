"""When the agent pulls: single file, coalesced, in time, and never dead."""

from __future__ import annotations

import logging
import random
import threading
import time
from typing import TYPE_CHECKING

import pytest

from dagferry_agent.service import Delivery, Draining, Job, PullService, pause_before_poll
from dagferry_schemas.errors import DeliveryFailed, MachineFault, Untrusted
from tests.e2e.harness import wait_for

from .fake import FakeDelivery, wait_for_pulls

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dagferry_schemas.endpoint import PullReply


@pytest.fixture
def delivery() -> FakeDelivery:
    return FakeDelivery()


@pytest.fixture
def service(delivery: FakeDelivery) -> Iterator[PullService]:
    found = made(delivery)
    yield found
    delivery.may_end.set()
    assert found.stop(10)


def made(delivery: Delivery) -> PullService:
    return PullService(delivery, clock=time.monotonic, rng=random.Random(7))


def reply_of(job: Job) -> PullReply:
    return job.done.result(timeout=10)


def test_it_begins_with_a_pull(delivery: FakeDelivery, service: PullService) -> None:
    service.start()
    delivery.wait_until_begun()
    wait_for_pulls(service)
    assert service.last is not None
    assert service.last.reply is not None
    assert service.last.reply.generation == 1


def test_a_request_during_a_pull_gets_the_next_one_and_so_sees_the_promotion(
    delivery: FakeDelivery, service: PullService
) -> None:
    delivery.may_end.clear()
    service.start()
    delivery.wait_until_begun()
    delivery.head = 2
    jobs = [service.request() for _ in range(5)]
    assert len({job.id for job in jobs}) == 1, "what comes meanwhile shares one job"
    delivery.may_end.set()
    assert {reply_of(job).generation for job in jobs} == {2}
    assert delivery.pulls == 2


def test_many_threads_never_pull_side_by_side_and_all_get_an_answer(
    delivery: FakeDelivery, service: PullService
) -> None:
    service.start()
    replies: list[PullReply] = []
    askers = [threading.Thread(target=lambda: replies.append(reply_of(service.request()))) for _ in range(40)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join(10)
    assert len(replies) == 40
    assert delivery.pulls <= 41


def test_a_failure_ends_up_in_the_job_and_the_next_pull_works(delivery: FakeDelivery, service: PullService) -> None:
    delivery.failure = DeliveryFailed("no route to the store")
    service.start()
    failed = service.request().done.exception(timeout=10)
    assert failed is delivery.failure
    assert service.last is not None
    assert service.last.error is failed
    assert service.last_success is None
    assert service.stale_seconds is None
    delivery.failure = None
    assert reply_of(service.request()).generation == 1
    assert service.stale_seconds is not None


def test_a_bug_in_a_pull_is_logged_with_its_traceback_and_does_not_end_the_thread(
    delivery: FakeDelivery, service: PullService, caplog: pytest.LogCaptureFixture
) -> None:
    delivery.failure = ZeroDivisionError("a bug")
    service.start()
    assert isinstance(service.request().done.exception(timeout=10), ZeroDivisionError)
    assert "Traceback" in caplog.text
    delivery.failure = None
    assert reply_of(service.request()).changed


@pytest.mark.parametrize(
    ("failure", "level"), [(DeliveryFailed("gone\x1b[2J\nforged"), logging.WARNING), (Untrusted("no"), logging.ERROR)]
)
def test_each_outcome_is_one_line_whose_level_says_what_it_means(
    delivery: FakeDelivery, service: PullService, caplog: pytest.LogCaptureFixture, failure: Exception, level: int
) -> None:
    with caplog.at_level(logging.DEBUG, "dagferry_agent"):
        delivery.may_end.clear()
        service.start()
        delivery.wait_until_begun()
        delivery.may_end.set()
        delivery.failure = failure
        wait_for_pulls(service)
        delivery.failure = None
        wait_for_pulls(service)
    assert [record.levelno for record in caplog.records] == [logging.INFO, level, logging.DEBUG]
    assert not any("\n" in line or "\x1b" in line for line in caplog.messages)


def test_nobody_who_gives_up_can_cancel_a_job_for_the_others(delivery: FakeDelivery, service: PullService) -> None:
    job = service.request()
    assert not job.done.cancel()
    service.start()
    assert reply_of(job).generation == 1


def test_the_next_release_is_prepared_piece_by_piece_after_each_pull(
    delivery: FakeDelivery, service: PullService
) -> None:
    delivery.pieces = 5
    service.start()
    wait_for(lambda: len(delivery.prepared_after) == 5 or None, "five pieces")
    delivery.pieces = 1
    reply_of(service.request())
    wait_for(lambda: len(delivery.prepared_after) == 6 or None, "one more")
    time.sleep(0.1)
    assert delivery.prepared_after == [1, 1, 1, 1, 1, 2], "and nothing when there is nothing to do"


def test_a_request_goes_before_all_pieces_that_are_left(delivery: FakeDelivery, service: PullService) -> None:
    delivery.pieces = 1_000_000_000
    service.start()
    wait_for(lambda: len(delivery.prepared_after) > 3 or None, "some pieces")
    for number in range(2, 12):
        reply_of(service.request())
        assert delivery.pulls == number
    assert delivery.pieces > 0


@pytest.mark.parametrize("failure", [MachineFault("the disk is full"), KeyError("a bug")])
def test_preparing_that_fails_ends_nothing_and_is_tried_after_the_next_pull(
    delivery: FakeDelivery, service: PullService, failure: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    delivery.prepare_failure = failure
    service.start()
    wait_for(lambda: delivery.prepared_after or None, "a piece")
    assert reply_of(service.request()).generation == 1
    wait_for(lambda: 2 in delivery.prepared_after or None, "another piece")
    assert delivery.prepared_after == [1, 2]
    assert ("a bug in dagferry" in caplog.text) == isinstance(failure, KeyError)


def test_stop_lets_the_running_pull_end_and_refuses_the_queued_one(
    delivery: FakeDelivery, service: PullService
) -> None:
    delivery.may_end.clear()
    service.start()
    delivery.wait_until_begun()
    queued = service.request()
    assert not service.stop(0)
    assert isinstance(queued.done.exception(timeout=1), Draining)
    with pytest.raises(Draining):
        service.request()
    delivery.may_end.set()
    assert service.stop(10)
    assert delivery.pulls == 1


def test_stop_waits_no_longer_than_it_was_told(delivery: FakeDelivery, service: PullService) -> None:
    delivery.may_end.clear()
    service.start()
    delivery.wait_until_begun()
    before = time.monotonic()
    assert not service.stop(0.1)
    assert time.monotonic() - before < 2


def test_a_service_that_never_started_stops(service: PullService) -> None:
    assert service.stop(0)


def test_it_polls_and_zero_means_never() -> None:
    polling, silent = FakeDelivery(poll_seconds=0.01), FakeDelivery(poll_seconds=0.0)
    services = [made(polling), made(silent)]
    for service in services:
        service.start()
    polling.wait_until_begun(5)
    assert silent.pulls == 1
    for service in services:
        assert service.stop(10)


def test_a_request_is_not_delayed_by_the_pause_after_failures() -> None:
    delivery = FakeDelivery(poll_seconds=200.0)
    delivery.failure = DeliveryFailed("down")
    service = made(delivery)
    service.start()
    delivery.wait_until_begun()
    delivery.failure = None
    assert reply_of(service.request()).generation == 1
    assert service.stop(10)


@pytest.mark.parametrize("draw", [0.0, 0.5, 0.999])
def test_the_pause_is_jittered_doubles_after_failures_and_has_an_end(draw: float) -> None:
    pauses = [pause_before_poll(15.0, failures, draw) or 0.0 for failures in range(12)]
    assert 12.0 <= pauses[0] <= 18.0
    assert pauses[:5] == pytest.approx([pauses[0] * 2**failures for failures in range(5)], rel=0.1)
    assert pauses == sorted(pauses)
    assert 160.0 <= pauses[-1] <= 300.0
    assert pause_before_poll(15.0, 10_000, draw) == pauses[-1]


def test_the_pause_keeps_its_jitter_at_its_end_so_that_a_fleet_stays_spread() -> None:
    assert pause_before_poll(15.0, 20, 0.0) != pause_before_poll(15.0, 20, 0.9)


def test_a_long_poll_interval_is_not_shortened_by_a_failure() -> None:
    assert pause_before_poll(3600.0, 3, 0.5) == pytest.approx(3600.0)


def test_zero_poll_seconds_never_poll_after_failures_either() -> None:
    assert pause_before_poll(0.0, 3, 0.5) is None


def settling(seconds: float) -> FakeDelivery:
    return FakeDelivery(settle_seconds=seconds)


def test_what_a_switch_changed_is_shown_once_more_a_while_later() -> None:
    delivery = settling(0.05)
    service = made(delivery)
    service.start()
    assert delivery.show_began.acquire(timeout=10)
    reply_of(service.request())
    assert service.stop(10)
    assert delivery.shown == [1], "once, and not after a pull that switched nothing"


def test_another_switch_begins_the_while_anew() -> None:
    delivery = settling(0.5)
    service = made(delivery)
    service.start()
    wait_for_pulls(service)
    for generation in (2, 3, 4):
        delivery.head = generation
        assert reply_of(service.request()).changed
    assert delivery.show_began.acquire(timeout=10)
    assert service.stop(10)
    assert delivery.shown == [4]


def test_a_pull_goes_before_what_is_to_be_shown_once_more() -> None:
    delivery = settling(0.05)
    service = made(delivery)
    delivery.may_end.clear()
    service.start()
    delivery.wait_until_begun()
    delivery.head = 2
    job = service.request()
    delivery.may_end.set()
    assert reply_of(job).generation == 2
    assert delivery.show_began.acquire(timeout=10)
    assert service.stop(10)
    assert delivery.shown == [2]


def test_nothing_is_shown_once_more_where_that_is_switched_off() -> None:
    delivery = settling(0.0)
    service = made(delivery)
    service.start()
    for generation in (2, 3):
        delivery.head = generation
        reply_of(service.request())
    assert service.stop(10)
    assert delivery.shown == []


@pytest.mark.parametrize("failure", [MachineFault("the disk is gone"), ZeroDivisionError("the disk is gone")])
def test_a_failure_to_show_something_once_more_is_told_and_pulls_go_on(
    failure: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    delivery = settling(0.05)
    delivery.show_failure = failure
    service = made(delivery)
    service.start()
    assert delivery.show_began.acquire(timeout=10)
    delivery.head = 2
    assert reply_of(service.request()).generation == 2
    assert service.stop(10)
    assert "was not shown to Airflow once more: " in caplog.text
    assert "the disk is gone" in caplog.text
