"""An agent says in real stores what it serves: when, in whose place, and what happens where the store refuses."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dagferry_agent.acknowledging import Acknowledger, OwnObject, acknowledge_once
from dagferry_agent.clock import utc
from dagferry_agent.outcome import Outcome
from dagferry_agent.settings import Settings
from dagferry_schemas import layout
from dagferry_schemas.acknowledgement import Acknowledgement, read_own
from dagferry_schemas.endpoint import AgentStatus, PullReply
from dagferry_schemas.errors import DeliveryFailed
from dagferry_storage.gcs import GcsAddress, GcsStore
from dagferry_storage.local import LocalStore
from dagferry_storage.s3_address import S3Address
from tests.e2e.harness import wait_for
from tests.storage import servers
from tests.storage.faults import ALWAYS, Fault, Proxy
from tests.storage.test_s3 import open_s3

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dagferry_storage.store import Store

TREE = "sha256:" + "ab" * 32
NAMED = {"bundle": "etl", "channel": "prod", "agent": "pod-1"}
KEY = layout.acknowledgement("etl", "prod", "pod-1")
SETTINGS = Settings(
    "file:///nowhere", "etl", "prod", Path("nowhere"), "pod-1",
    acknowledge=True, acknowledge_seconds=600.0, labels={"zone": "a"},
)  # fmt: skip
REFUSED = b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>"


def reply(generation: int) -> PullReply:
    return PullReply("etl", "prod", generation, f"v{generation}", TREE, None, True, 1, 2, 3, 4, 0.5)


class Agent:
    """What is served, and who says so; ``says`` is its status."""

    def __init__(self, store: Store, settings: Settings = SETTINGS) -> None:
        self.store = store
        self.role = "active"
        self.generation: int | None = None
        self.error: dict[str, str] | None = None
        self.stored = 0
        self.acknowledger = Acknowledger(settings, self.says, opened=lambda: store, stored=self._count)

    def says(self) -> AgentStatus:
        served = self.generation
        return AgentStatus(
            "pod-1", "etl", "prod", served, f"v{served}" if served else None, TREE if served else None, None, None,
            None, verifying=False, last_check=None, last_error=self.error, role=self.role, alarms=("not_verifying",),
            labels=("zone=a",),
        )  # fmt: skip

    def pull(self, generation: int) -> None:
        """A pull has ended well."""
        self.generation, self.error = generation, None
        self.acknowledger.pulled(Outcome(0.0, reply=reply(generation)))

    def fail(self, code: str) -> None:
        """A pull has failed."""
        self.error = {"code": code, "message": "it failed"}
        self.acknowledger.pulled(Outcome(0.0, error=DeliveryFailed("it failed", code=code)))

    def heard(self) -> Acknowledgement | None:
        return heard(self.store)

    def _count(self) -> None:
        self.stored += 1


def heard(store: Store) -> Acknowledgement | None:
    if KEY not in list(store.names(layout.acknowledgements("etl", "prod"))):
        return None
    return read_own(store.read(KEY, limit=layout.MAX_DOCUMENT).body, KEY, **NAMED)


def until(store: Store, what: Callable[[Acknowledgement], bool]) -> Acknowledgement:
    """What the agent says, once it is ``what`` is waited for."""

    def look() -> Acknowledgement | None:
        found = heard(store)
        return found if found is not None and what(found) else None

    return wait_for(look, "an acknowledgement")


@pytest.fixture(scope="module")
def proxy() -> Iterator[Proxy]:
    """In front of an S3 server."""
    with servers.s3() as endpoint, Proxy(int(endpoint.rpartition(":")[2])) as between:
        yield between


@pytest.fixture
def s3(proxy: Proxy) -> Iterator[Store]:
    proxy.requests.clear()
    yield open_s3(S3Address(servers.BUCKET, f"{secrets.token_hex(4)}/", proxy.url))
    proxy.fault = None


@pytest.fixture(params=["local", "s3", "gcs"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "local":
        (tmp_path / "store").mkdir()
        yield LocalStore(tmp_path / "store")
    elif request.param == "s3":
        yield request.getfixturevalue("s3")
    else:
        with servers.gcs() as address:
            yield GcsStore(GcsAddress(servers.BUCKET, "", address))


@pytest.fixture
def local(tmp_path: Path) -> Store:
    (tmp_path / "store").mkdir()
    return LocalStore(tmp_path / "store")


@pytest.fixture
def start() -> Iterator[Callable[..., Agent]]:
    agents: list[Agent] = []

    def start_agent(store: Store, settings: Settings = SETTINGS) -> Agent:
        agents.append(Agent(store, settings))
        agents[-1].acknowledger.start()
        return agents[-1]

    yield start_agent
    for agent in agents:
        agent.acknowledger.stop(5)


def test_what_is_served_is_said_after_each_pull_that_changed_something(
    store: Store, start: Callable[..., Agent]
) -> None:
    agent = start(store)
    agent.pull(1)
    first = until(store, lambda said: said.status.generation == 1)
    assert (first.status.version, first.status.labels, first.every, first.gone) == ("v1", ("zone=a",), 600.0, False)
    assert abs(first.moment - time.time()) < 5
    agent.pull(2)
    second = until(store, lambda said: said.status.generation == 2)
    agent.fail("unreachable")
    third = until(store, lambda said: said.status.last_error is not None)
    assert (third.status.last_error, third.status.generation) == ({"code": "unreachable", "message": "it failed"}, 2)
    assert first.process == second.process == third.process
    assert not third.disputed


def test_what_is_the_same_is_not_said_again_before_it_is_due(
    s3: Store, proxy: Proxy, start: Callable[..., Agent]
) -> None:
    agent = start(s3)
    agent.pull(1)
    until(s3, lambda said: said.status.generation == 1)
    for _ in range(5):
        agent.pull(1)
    time.sleep(0.3)
    assert (proxy.requests["PUT"], agent.stored) == (1, 1)
    often = start(s3, replace(SETTINGS, acknowledge_seconds=0.2))
    often.pull(1)
    wait_for(lambda: often.stored > 3 or None, "several acknowledgements")


def test_without_the_option_nobody_is_asked(s3: Store, proxy: Proxy, start: Callable[..., Agent]) -> None:
    agent = start(s3, replace(SETTINGS, acknowledge=False))
    agent.pull(1)
    assert agent.acknowledger.stop(1)
    assert not proxy.requests


def test_no_pull_waits_for_a_slow_store_and_the_newest_is_said_last(
    s3: Store, proxy: Proxy, start: Callable[..., Agent]
) -> None:
    agent = start(s3)
    proxy.fault = Fault("PUT", delay=1.0, times=ALWAYS)
    began = time.monotonic()
    agent.pull(1)
    wait_for(lambda: proxy.requests["PUT"] or None, "the first write")
    for generation in range(2, 30):
        agent.pull(generation)
    assert time.monotonic() - began < 0.9
    until(s3, lambda said: said.status.generation == 29)
    assert proxy.requests["PUT"] <= 3, "what came meanwhile is one write"


def test_store_that_refuses_the_write_costs_one_warning(
    s3: Store, proxy: Proxy, start: Callable[..., Agent], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    proxy.fault = Fault("PUT", path="/agents/", status=403, body=REFUSED, times=ALWAYS)
    agent = start(s3)
    agent.pull(1)
    wait_for(lambda: proxy.requests["PUT"] > 2 or None, "a third try")
    warned = [one for one in caplog.records if "does not acknowledge" in one.getMessage()]
    assert [one.levelname for one in warned] == ["WARNING"]
    assert agent.heard() is None
    proxy.fault = None
    until(s3, lambda said: said.status.generation == 1)
    wait_for(lambda: "this agent acknowledges again" in caplog.text or None, "a word that it works again")


def test_tries_after_a_failure_are_few(s3: Store, proxy: Proxy, start: Callable[..., Agent]) -> None:
    proxy.fault = Fault("PUT", path="/agents/", status=403, body=REFUSED, times=ALWAYS)
    agent = start(s3)
    for _ in range(20):
        agent.pull(1)  # a poll that finds nothing new hastens nothing
        time.sleep(0.05)
    assert proxy.requests["PUT"] <= 2


def test_lost_reply_is_found_out_and_is_no_dispute(s3: Store, proxy: Proxy, start: Callable[..., Agent]) -> None:
    agent = start(s3)
    agent.pull(1)
    wait_for(lambda: agent.stored or None, "the first one")
    proxy.fault = Fault("PUT", lose=True)
    agent.pull(2)
    wait_for(lambda: agent.stored == 2 or None, "the next try")
    said = until(s3, lambda said: said.status.generation == 2)
    assert not said.disputed


def test_process_that_starts_again_takes_its_object_over(local: Store, start: Callable[..., Agent]) -> None:
    killed = start(local)
    killed.pull(1)
    before = until(local, lambda said: said.status.generation == 1)
    again = start(local)
    for generation in (2, 3):
        again.pull(generation)
        after = until(local, lambda said, wanted=generation: said.status.generation == wanted)  # type: ignore[misc]
        assert not after.disputed
    assert before.process != after.process


def test_two_processes_with_one_name_find_each_other_out(
    local: Store, start: Callable[..., Agent], caplog: pytest.LogCaptureFixture
) -> None:
    often = replace(SETTINGS, acknowledge_seconds=0.2)
    one, other = start(local, often), start(local, often)
    one.pull(1)
    until(local, lambda said: said.status.generation == 1)
    other.pull(2)
    until(local, lambda said: said.disputed)
    wait_for(lambda: "another agent calls itself pod-1" in caplog.text or None, "the warning")
    assert other.acknowledger.stop(5)
    until(local, lambda said: said.status.generation == 1 and not said.disputed and not said.gone)


def test_goodbye_does_not_silence_another_process(local: Store, start: Callable[..., Agent]) -> None:
    old, new = start(local), start(local)
    old.pull(1)
    until(local, lambda said: said.status.generation == 1)
    new.pull(2)
    until(local, lambda said: said.status.generation == 2)
    assert old.acknowledger.stop(5)
    said = heard(local)
    assert said is not None
    assert (said.gone, said.status.generation) == (False, 2)


def test_goodbye_is_the_last_word(local: Store, start: Callable[..., Agent]) -> None:
    agent = start(local)
    agent.pull(1)
    until(local, lambda said: said.status.generation == 1)
    assert agent.acknowledger.stop(5)
    agent.pull(2)
    said = heard(local)
    assert said is not None
    assert (said.gone, said.status.generation) == (True, 1)


def test_store_that_does_not_answer_delays_no_end(s3: Store, proxy: Proxy, start: Callable[..., Agent]) -> None:
    agent = start(s3)
    agent.pull(1)
    until(s3, lambda said: said.status.generation == 1)
    proxy.fault = Fault("PUT", delay=3.0, times=ALWAYS)
    began = time.monotonic()
    assert not agent.acknowledger.stop(0.3)
    assert time.monotonic() - began < 1.5


def test_agent_that_stands_by_says_nothing(local: Store, start: Callable[..., Agent]) -> None:
    agent = start(local, replace(SETTINGS, acknowledge_seconds=0.1))
    agent.role = "standby"
    agent.pull(1)
    time.sleep(0.4)
    assert agent.heard() is None
    agent.role = "active"
    until(local, lambda said: said.status.generation == 1)
    agent.role = "standby"
    assert agent.acknowledger.stop(5)


def test_what_is_in_the_way_is_replaced(local: Store, start: Callable[..., Agent]) -> None:
    local.create(KEY, b"odd")
    agent = start(local)
    agent.pull(1)
    assert not until_readable(local).disputed


def until_readable(store: Store) -> Acknowledgement:
    wait_for(lambda: store.read(KEY, limit=100_000).body != b"odd" or None, "another object")
    found = heard(store)
    assert found is not None
    return found


def test_object_that_was_removed_is_made_again(local: Store, start: Callable[..., Agent]) -> None:
    agent = start(local)
    agent.pull(1)
    until(local, lambda said: said.status.generation == 1)
    local.delete(KEY)
    agent.pull(2)
    until(local, lambda said: said.status.generation == 2)


def said_now(process_status: AgentStatus, *, gone: bool = False, when: float | None = None) -> Acknowledgement:
    return Acknowledgement(process_status, utc(when if when is not None else time.time()), 60.0, "p", gone=gone)


@pytest.mark.parametrize(
    ("gone", "age", "replaced"),
    [(False, 0.0, False), (False, 1000.0, True), (True, 0.0, True)],
    ids=["a living one", "one that is silent", "one that is gone"],
)
def test_one_pull_leaves_what_a_living_agent_says(tmp_path: Path, *, gone: bool, age: float, replaced: bool) -> None:
    (tmp_path / "store").mkdir()
    store = LocalStore(tmp_path / "store")
    agent = Agent(store)
    agent.generation = 1
    store.create(KEY, said_now(agent.says(), gone=gone, when=time.time() - age).to_bytes())
    agent.generation = 2
    acknowledge_once(replace(SETTINGS, store=str(tmp_path / "store")), agent.says)
    said = heard(store)
    assert said is not None
    assert (said.status.generation, said.gone) == ((2, True) if replaced else (1, False))


def test_bug_in_the_status_does_not_end_it(local: Store, caplog: pytest.LogCaptureFixture) -> None:
    agent = Agent(local)
    failures = [RuntimeError("a bug")]

    def says() -> AgentStatus:
        if failures:
            raise failures.pop()
        return agent.says()

    acknowledger = Acknowledger(SETTINGS, says, opened=lambda: local)
    acknowledger.start()
    acknowledger.pulled(Outcome(0.0, reply=reply(1)))
    wait_for(lambda: "please report it" in caplog.text or None, "the traceback in the log")
    acknowledger.pulled(Outcome(0.0, reply=reply(2)))
    until(local, lambda said: not said.gone)
    assert acknowledger.stop(5)


def test_one_write_at_a_time_wins_the_race_for_an_object(local: Store) -> None:
    """Twenty processes with one name: whatever they do to each other, what is there is whole and one of theirs."""
    agents = [OwnObject(local, SETTINGS, time.time) for _ in range(20)]
    said = [replace(said_now(Agent(local).says()), process=one.process) for one in agents]
    lost: list[Exception] = []

    def write(index: int) -> None:
        try:
            agents[index].write(said[index])
        except Exception as error:  # noqa: BLE001 (looked at below)
            lost.append(error)

    threads = [threading.Thread(target=write, args=(index,)) for index in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    found = heard(local)
    assert found is not None
    assert found.process in {one.process for one in agents}
    assert {getattr(error, "code", error) for error in lost} <= {"superseded", "exists"}
