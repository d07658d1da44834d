"""Who waits for what agents say in the store: for whom, how long, and what is said of the others."""

from __future__ import annotations

import secrets
import threading
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest

from dagferry_builder.access import Access
from dagferry_builder.acknowledged import Acknowledgements, reach
from dagferry_schemas import layout
from dagferry_schemas.acknowledgement import Acknowledgement
from dagferry_schemas.endpoint import AgentStatus
from dagferry_schemas.errors import Forbidden, Malformed, NotConverged
from dagferry_storage.local import LocalStore
from dagferry_storage.s3_address import S3Address
from tests.storage import servers
from tests.storage.faults import ALWAYS, Fault, Proxy
from tests.storage.test_s3 import open_s3

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from dagferry_builder.agents import Answer
    from dagferry_storage.store import Store

FOLLOWED = ("etl", "prod")
TREE = "sha256:" + "ab" * 32
NOW = time.mktime(time.strptime("2026-11-20", "%Y-%m-%d"))
NO_ACCESS = Access()


def utc(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def status(agent: str, generation: int | None, **facts: Any) -> AgentStatus:  # noqa: ANN401
    return AgentStatus(
        agent, "etl", "prod", generation, f"v{generation}" if generation else None, TREE, None, None,
        facts.pop("pinned", None), verifying=False, last_check=None, last_error=facts.pop("last_error", None),
    )  # fmt: skip


@dataclass
class Fleet:
    """Agents that say things in ``store``; ``now`` is the time of the one who waits."""

    store: Store
    now: float = NOW
    told: list[Answer] = field(default_factory=list)

    def say(
        self, agent: str, generation: int | None, *, age: float = 0.0, every: float = 60.0, gone: bool = False,
        disputed: bool = False, **facts: Any,  # noqa: ANN401
    ) -> None:  # fmt: skip
        """The agent says that it serves ``generation``."""
        made = Acknowledgement(
            status(agent, generation, **facts), utc(self.now - age), every, "p", gone=gone, disputed=disputed
        )
        self.put(agent, made.to_bytes())

    def put(self, agent: str, body: bytes) -> None:
        """The agent's object, whatever was there."""
        key = layout.acknowledgement("etl", "prod", agent)
        if key in list(self.store.names(layout.acknowledgements("etl", "prod"))):
            self.store.replace(key, body, self.store.read(key, limit=10**6).token)
        else:
            self.store.create(key, body)

    def read(self, **settings: float) -> Acknowledgements:
        return Acknowledgements(
            self.store, "etl", "prod", clock=lambda: self.now, pauses=(0.02, 0.04),
            first_seconds=settings.pop("first_seconds", 0.5),
        )  # fmt: skip

    def wait(self, generation: int = 2, timeout: float = 5.0, **settings: float) -> dict[str, Answer]:
        """The answers by agent."""
        answers = self.read(**settings).pull(FOLLOWED, generation, timeout, self.told.append)
        return {answer.url.removeprefix("store:"): answer for answer in answers}

    def while_waiting(self, act: Callable[[], None], **settings: float) -> dict[str, Answer]:
        """The answers, where ``act`` is done while they are waited for."""
        later = threading.Timer(0.3, act)
        later.start()
        try:
            return self.wait(**settings)  # type: ignore[arg-type]
        finally:
            later.join()


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    (tmp_path / "store").mkdir()
    return Fleet(LocalStore(tmp_path / "store"))


def late(answers: dict[str, Answer]) -> dict[str, str | None]:
    return {agent: answer.error for agent, answer in answers.items() if not answer.ok}


def test_waiting_ends_when_the_last_one_serves_it_or_a_newer_one(fleet: Fleet) -> None:
    fleet.say("pod-1", 3)
    fleet.say("pod-2", 1)
    answers = fleet.while_waiting(lambda: fleet.say("pod-2", 2))
    assert [(agent, one.ok, one.generation, one.version) for agent, one in answers.items()] == [
        ("pod-1", True, 3, "v3"),
        ("pod-2", True, 2, "v2"),
    ]
    assert answers["pod-1"].seconds < 0.3 <= answers["pod-2"].seconds
    assert [one.url for one in fleet.told] == ["store:pod-1", "store:pod-2"]


def test_who_does_not_follow_is_named_with_what_it_said_last(fleet: Fleet) -> None:
    fleet.say("pod-1", 2)
    fleet.say("pod-2", 1, last_error={"code": "no_room", "message": "the disk is full"})
    fleet.say("pod-3", 1, pinned="v1")
    fleet.say("pod-4", None)
    said = late(fleet.wait(timeout=0.3))
    assert set(said) == {"pod-2", "pod-3", "pod-4"}
    when = f" (said at {utc(NOW)})"
    assert said["pod-2"] == f"serves generation 1; its last pull failed: no_room: the disk is full{when}"
    assert said["pod-3"] == f"serves generation 1, and v1 is pinned there{when}"
    assert said["pod-4"] == f"serves nothing yet{when}"


def test_who_turns_up_late_is_waited_for(fleet: Fleet) -> None:
    fleet.say("pod-1", 1)

    def turn_up() -> None:
        fleet.say("pod-2", 1)
        time.sleep(0.2)
        fleet.say("pod-1", 2)

    assert set(late(fleet.while_waiting(turn_up, timeout=1.0))) == {"pod-2"}


def test_the_first_one_may_take_its_time(fleet: Fleet) -> None:
    assert fleet.while_waiting(lambda: fleet.say("pod-1", 2), first_seconds=5.0)["pod-1"].ok


@pytest.mark.parametrize(("age", "every", "waited"), [(179, 60, True), (181, 60, False), (10**7, 0, True)])
def test_heard_of_is_who_said_something_within_three_times(
    fleet: Fleet, age: float, every: float, *, waited: bool
) -> None:
    fleet.say("pod-1", 2)
    fleet.say("old", 1, age=age, every=every)
    answers = fleet.wait(timeout=0.3)
    assert ("old" in answers) is waited
    if not waited:
        (told,) = [one for one in fleet.told if one.url == "store:old"]
        assert told.absent == "silent"
        served = f"silent since {utc(NOW - age)}, when it served v1 (generation 1)"
        assert told.error == f"{served}; something was due every 60 s"


def test_who_falls_silent_while_it_is_waited_for_has_not_followed(fleet: Fleet) -> None:
    fleet.say("pod-1", 2)
    fleet.say("pod-2", 1, age=170)

    def time_goes_by() -> None:
        fleet.now += 20

    answers = fleet.while_waiting(time_goes_by)
    assert answers["pod-1"].ok
    assert (answers["pod-2"].ok, answers["pod-2"].absent) == (False, "silent")


def test_who_says_goodbye_is_waited_for_no_longer(fleet: Fleet) -> None:
    fleet.say("pod-1", 2)
    fleet.say("pod-2", 1)
    assert set(fleet.while_waiting(lambda: fleet.say("pod-2", 1, gone=True))) == {"pod-1"}


def test_fleet_that_is_replaced_meanwhile_is_waited_for(fleet: Fleet) -> None:
    fleet.say("old", 1)

    def replace_it() -> None:
        fleet.say("old", 1, gone=True)
        time.sleep(0.7)
        fleet.say("new", 2)

    assert set(fleet.while_waiting(replace_it, first_seconds=0.1)) == {"new"}


def test_what_comes_while_we_wait_is_heard_whatever_the_clocks_say(fleet: Fleet) -> None:
    fleet.say("pod-1", 1, age=10_000)
    answers = fleet.while_waiting(lambda: fleet.say("pod-1", 2, age=10_000), first_seconds=5.0)
    assert answers["pod-1"].ok


def test_nobody_at_all_is_an_error(fleet: Fleet) -> None:
    with pytest.raises(NotConverged, match="no agent acknowledges channel 'prod'") as refused:
        fleet.wait()
    assert refused.value.code == "no_acknowledgements"
    assert "--acknowledge" in refused.value.hint


def test_only_the_silent_and_the_gone_is_an_error_that_names_them(fleet: Fleet) -> None:
    for number in range(6):
        fleet.say(f"pod-{number}", 2, age=10_000)
    fleet.say("pod-6", 2, gone=True)
    with pytest.raises(NotConverged, match=r"heard of any more: store:pod-0 silent since .*; and 2 more") as refused:
        fleet.wait()
    assert "clocks" in refused.value.hint


def test_disputed_name_is_nobodys_word(fleet: Fleet) -> None:
    fleet.say("pod-1", 2, disputed=True)
    assert late(fleet.wait(timeout=0.2)) == {
        "pod-1": "two agents call themselves pod-1: each needs an --agent-id of its own"
    }


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"odd", "not JSON"),
        (b"x" * (layout.MAX_DOCUMENT + 1), "more than the"),
        (Acknowledgement(status("other", 2), utc(NOW), 60, "p").to_bytes(), "is of agent 'other'"),
        (
            Acknowledgement(status("odd", 2), utc(NOW), 60, "p").to_bytes().replace(b'"format":1', b'"format":2'),
            "has format 2",
        ),
    ],
    ids=["no document", "too large", "another agent's", "of a later format"],
)
def test_what_cannot_be_read_hides_nobody(fleet: Fleet, body: bytes, problem: str) -> None:
    fleet.say("pod-1", 2)
    fleet.put("odd", body)
    answers = fleet.wait(timeout=0.2)
    assert answers["pod-1"].ok
    error = answers["odd"].error
    assert error is not None
    assert problem in error


def test_objects_of_other_names_are_nobodys(fleet: Fleet) -> None:
    fleet.say("pod-1", 2)
    prefix = layout.acknowledgements("etl", "prod")
    for name in ("notes.txt", "pod-2.json.bak", "deep/pod-2.json", "a b.json"):
        fleet.store.create(prefix + name, b"odd")
    assert set(fleet.wait()) == {"pod-1"}


def test_statuses_are_what_is_said_now_with_the_absent_ones_apart(fleet: Fleet) -> None:
    fleet.say("c", 1, gone=True)
    fleet.say("a", 2)
    fleet.say("b", 1, age=10_000)
    found = fleet.read().statuses()
    assert [(answer.url, answer.ok, answer.absent, said is not None) for answer, said in found] == [
        ("store:a", True, None, True),
        ("store:b", False, "silent", False),
        ("store:c", False, "gone", False),
    ]
    assert found[0][1] == replace(status("a", 2))


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with servers.s3() as endpoint, Proxy(int(endpoint.rpartition(":")[2])) as between:
        yield between


@pytest.fixture
def bucket(proxy: Proxy) -> Fleet:
    return Fleet(open_s3(S3Address(servers.BUCKET, f"{secrets.token_hex(4)}/", proxy.url)))


def test_who_has_followed_is_not_read_again(bucket: Fleet, proxy: Proxy) -> None:
    for number in range(20):
        bucket.say(f"pod-{number}", 2)
    bucket.say("late", 1)
    proxy.requests.clear()
    answers = bucket.while_waiting(lambda: bucket.say("late", 2))
    assert all(answer.ok for answer in answers.values())
    looks = 0.3 / 0.02 + 5
    assert proxy.requests["GET"] <= 21 + 2 * looks + 5, "one list and one read for each look"


def test_store_that_fails_for_a_while_ends_no_waiting(bucket: Fleet, proxy: Proxy) -> None:
    bucket.say("pod-1", 1)

    def fail_and_mend() -> None:
        bucket.say("pod-1", 2)
        proxy.fault = Fault("GET", status=503, body=b"<Error><Code>SlowDown</Code></Error>", times=8)

    assert bucket.while_waiting(fail_and_mend, timeout=20.0)["pod-1"].ok


def test_who_may_not_look_is_told_at_once_with_what_was_done(bucket: Fleet, proxy: Proxy) -> None:
    body = b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>"
    proxy.fault = Fault("GET", status=403, body=body, times=ALWAYS)
    result: dict[str, Any] = {"generation": 2}
    with pytest.raises(Forbidden) as refused:
        reach(result, (), NO_ACCESS, bucket.read(), FOLLOWED, 60.0, bucket.told.append)
    assert refused.value.result == {"generation": 2, "agents": []}


@pytest.mark.parametrize("when", ["2026-02-30T00:00:00Z", "2026-02-31T23:59:60Z"])
def test_day_that_there_is_not_is_refused(when: str) -> None:
    raw = Acknowledgement(status("a", 1), "2026-02-28T00:00:00Z", 60, "p").to_bytes()
    with pytest.raises(Malformed, match="is no day"):
        Acknowledgement.from_bytes(raw.replace(b"2026-02-28T00:00:00Z", when.encode()))


def test_leap_second_is_read() -> None:
    made = Acknowledgement(status("a", 1), "2016-12-31T23:59:60.5Z", 60, "p")
    assert Acknowledgement.from_bytes(made.to_bytes()).moment == 1483228799.0
