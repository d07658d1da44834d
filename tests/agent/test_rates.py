"""How often each of many may: no process, no clock but one that the test sets."""

from __future__ import annotations

import pytest

from dagferry_agent.rates import OTHERS, Rates, source_of


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def taken(rates: Rates, who: str, times: int) -> int:
    return sum(not rates.take(who) for _ in range(times))


@pytest.mark.parametrize("per_minute", [1, 7, 30, 120, 977])
def test_a_minutes_worth_is_there_at_once_and_not_one_more(clock: Clock, per_minute: int) -> None:
    assert taken(Rates(per_minute, clock), "a", 2000) == per_minute


@pytest.mark.parametrize("per_minute", [1, 7, 30, 120])
def test_who_waits_as_long_as_was_said_gets_through_once(clock: Clock, per_minute: int) -> None:
    rates = Rates(per_minute, clock)
    taken(rates, "a", 2000)
    for _ in range(500):
        clock.now += rates.take("a")
        assert rates.take("a") == 0
        assert rates.take("a") > 0


def test_what_is_refused_costs_nothing(clock: Clock) -> None:
    rates = Rates(60, clock)
    taken(rates, "a", 100_000)
    clock.now += 60
    assert taken(rates, "a", 1000) == 60


def test_in_the_long_run_it_is_the_rate(clock: Clock) -> None:
    rates = Rates(30, clock)
    passed = 0
    for _ in range(36_000):  # an hour
        clock.now += 0.1
        passed += not rates.take("a")
    assert passed == 30 + 30 * 60 - 1


def test_each_has_a_rate_of_their_own(clock: Clock) -> None:
    rates = Rates(5, clock)
    assert [taken(rates, name, 10) for name in "abc"] == [5, 5, 5]


def test_memory_is_bounded_and_those_who_find_no_room_share_one_rate(clock: Clock) -> None:
    rates = Rates(5, clock, most=100)
    passed = sum(taken(rates, f"source {number}", 10) for number in range(10_000))
    assert len(rates) == 101
    assert passed == 100 * 5 + 5
    assert rates.take(OTHERS) > 0
    assert rates.take("source 7") > 0, "who was known stays known"


def test_who_needs_not_be_remembered_makes_room(clock: Clock) -> None:
    rates = Rates(5, clock, most=100)
    for number in range(200):
        taken(rates, f"source {number}", 10)
    clock.now += 61
    assert taken(rates, "new", 10) == 5
    assert len(rates) == 1


@pytest.mark.parametrize(
    ("address", "source"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("", ""),
        ("a pipe", "a pipe"),
    ],
)
def test_a_source_is_an_address_or_a_network_of_one_machine(address: str, source: str) -> None:
    assert source_of(address) == source
