"""Where CI reaches no pod: agents poll, and say in the store what they serve; the list reads as the specification.

Every agent is a real process that nobody asks anything: it polls every second, and acknowledges every second.
"""

from __future__ import annotations

import json
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.harness import BUNDLE, Agent, Operator, Pod, run, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.conftest import Team

    Start = Callable[..., Agent]
    Said = Callable[[str], dict[str, Any] | None]

SAYS = ("--acknowledge", "--acknowledge-seconds=1")


@pytest.fixture
def said(store_url: str, channel: str) -> Callable[[str], dict[str, Any] | None]:
    """What an agent says in the store, if it does; on other stores than a directory, nothing can be looked at."""
    if not store_url.startswith("file:"):
        pytest.skip("the test looks into a local store")

    def look(agent: str) -> dict[str, Any] | None:
        file = acknowledgements(store_url, channel) / f"{agent}.json"
        return json.loads(file.read_bytes()) if file.exists() else None

    return look


def acknowledgements(store_url: str, channel: str) -> Path:
    """The folder of the channel's acknowledgements in a local store."""
    return Path(store_url.removeprefix("file://")) / BUNDLE / "channels" / channel / "agents"


@pytest.fixture
def follow(start: Start, pod: Pod) -> Callable[..., Agent]:
    """Starts an agent of that name with a disk of its own, that polls and acknowledges every second."""

    def follow(name: str, *arguments: str) -> Agent:
        on = Pod(pod.root.with_name(name), pod.store_url, pod.channel)
        return start(*SAYS, f"--agent-id={name}", *arguments, on=on, poll_seconds=1)

    return follow


def rows(operator: Operator) -> dict[str, dict[str, Any]]:
    """What `status` says of each agent."""
    return {one["url"]: one for one in operator.run("status")["agents"]}


def until_said(operator: Operator, agent: str, what: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """What `status` says of the agent, once it is ``what`` was waited for."""

    def look() -> dict[str, Any] | None:
        row = rows(operator).get(f"store:{agent}")
        return row if row is not None and what(row) else None

    return wait_for(look, f"{agent} in the status")


def test_ship_waits_for_agents_that_it_cannot_reach(
    team: Team, operator: Operator, follow: Callable[..., Agent]
) -> None:
    operator.run("promote", team.first)
    agents = [follow(name) for name in ("pod-1", "pod-2")]
    for agent in agents:
        until_said(operator, agent.pod.root.name, lambda row: row["generation"] == 1)
    shipped = operator.ship(team.commits[1], "--wait")
    assert [(one["url"], one["ok"], one["generation"], one["version"]) for one in shipped["agents"]] == [
        ("store:pod-1", True, 2, team.second),
        ("store:pod-2", True, 2, team.second),
    ]
    for agent in agents:
        assert agent.pod.live() == team.repository.content(team.commits[1])
    status = operator.run("status")
    assert (status["converged"], [one["agree"] for one in status["agents"]]) == (True, [True, True])


def test_agent_that_begins_while_ship_waits_is_waited_for(
    team: Team, operator: Operator, follow: Callable[..., Agent]
) -> None:
    operator.run("promote", team.first)
    shipped: dict[str, Any] = {}
    job = threading.Thread(target=lambda: shipped.update(operator.ship(team.commits[1], "--wait")))
    job.start()
    time.sleep(1)
    follow("pod-1")
    job.join(30)
    assert [(one["url"], one["ok"], one["generation"]) for one in shipped["agents"]] == [("store:pod-1", True, 2)]


def test_notify_waits_without_asking_anybody(team: Team, operator: Operator, follow: Callable[..., Agent]) -> None:
    operator.run("promote", team.first)
    follow("pod-1")
    told = operator.run("notify", "--wait")
    assert [(one["url"], one["ok"], one["generation"]) for one in told["agents"]] == [("store:pod-1", True, 1)]
    operator.fail(2, "notify")


def test_wait_where_nobody_acknowledges_is_an_error_that_says_how(team: Team, operator: Operator) -> None:
    found = operator.outcome("ship", f"--rev={team.commits[0]}", "--wait", "--timeout=2", expect=4)
    assert found.error["code"] == "no_acknowledgements"
    assert "--acknowledge" in found.error["hint"]
    assert (found.document["generation"], found.document["agents"]) == (1, [])
    assert operator.run("status")["agents"] == []


def test_agent_that_is_stuck_is_named_with_what_it_said_last(
    team: Team, operator: Operator, follow: Callable[..., Agent]
) -> None:
    operator.run("promote", team.first)
    follow("pod-1")
    stuck = follow("pod-2", "--acknowledge-seconds=60")
    for name in ("pod-1", "pod-2"):
        until_said(operator, name, lambda row: row["generation"] == 1)
    stuck.process.send_signal(signal.SIGSTOP)
    try:
        found = operator.outcome("ship", f"--rev={team.commits[1]}", "--wait", "--timeout=6", expect=4)
    finally:
        stuck.process.send_signal(signal.SIGCONT)
    assert found.error["code"] == "not_converged"
    assert "store:pod-2: serves generation 1 (said at " in found.error["message"]
    assert "pod-1" not in found.error["message"]
    assert [(one["url"], one["ok"]) for one in found.document["agents"]] == [
        ("store:pod-1", True),
        ("store:pod-2", False),
    ]
    operator.run("notify", "--wait")


def test_agent_that_is_killed_is_silent_and_holds_nobody_up(
    team: Team, operator: Operator, follow: Callable[..., Agent]
) -> None:
    operator.run("promote", team.first)
    killed, _ = follow("pod-1"), follow("pod-2")
    for name in ("pod-1", "pod-2"):
        until_said(operator, name, lambda row: row["generation"] == 1)
    killed.process.kill()
    silent = until_said(operator, "pod-1", lambda row: row["absent"] == "silent")
    assert "silent since" in silent["error"]
    assert team.first in silent["error"]
    assert operator.run("status")["converged"] is True
    done = operator.outcome("ship", f"--rev={team.commits[1]}", "--wait")
    assert [(one["url"], one["ok"]) for one in done.document["agents"]] == [("store:pod-2", True)]
    assert "store:pod-1 is not waited for: silent since" in done.stderr


def test_agent_that_is_killed_while_ship_waits_has_not_followed(
    team: Team, operator: Operator, follow: Callable[..., Agent]
) -> None:
    operator.run("promote", team.first)
    killed, _ = follow("pod-1"), follow("pod-2")
    for name in ("pod-1", "pod-2"):
        until_said(operator, name, lambda row: row["generation"] == 1)
    killed.process.kill()  # a moment ago it was there
    found = operator.outcome("ship", f"--rev={team.commits[1]}", "--wait", "--no-lint", expect=4)
    assert "store:pod-1: s" in found.error["message"], "silent, or still with what it served"
    assert [(one["url"], one["ok"]) for one in found.document["agents"]] == [
        ("store:pod-1", False),
        ("store:pod-2", True),
    ]


def test_agent_that_ends_says_goodbye_and_is_not_waited_for(
    team: Team, operator: Operator, said: Said, follow: Callable[..., Agent]
) -> None:
    operator.run("promote", team.first)
    ended, _ = follow("pod-1", "--acknowledge-seconds=600"), follow("pod-2")
    for name in ("pod-1", "pod-2"):
        until_said(operator, name, lambda row: row["generation"] == 1)
    assert ended.stop() == 0
    last = said("pod-1")
    assert last is not None
    assert (last["gone"], last["version"]) == (True, team.first)
    assert rows(operator)["store:pod-1"]["absent"] == "gone"
    shipped = operator.ship(team.commits[1], "--wait")
    assert [one["url"] for one in shipped["agents"]] == ["store:pod-2"]


def test_standby_says_nothing_until_it_takes_over(team: Team, operator: Operator, start: Start, pod: Pod) -> None:
    operator.run("promote", team.first)
    first = start(*SAYS, "--agent-id=active", poll_seconds=1)
    first.wait_until_ready()
    start(*SAYS, "--agent-id=standby", poll_seconds=1).wait_until_ready()
    until_said(operator, "active", lambda row: row["generation"] == 1)
    time.sleep(2)
    assert "store:standby" not in rows(operator)
    first.stop()
    until_said(operator, "standby", lambda row: row["generation"] == 1)


def test_two_agents_with_one_name_are_found_out(
    team: Team, operator: Operator, start: Start, follow: Callable[..., Agent], pod: Pod
) -> None:
    operator.run("promote", team.first)
    one = follow("pod-1")
    other = start(
        *SAYS, "--agent-id=pod-1", on=Pod(pod.root.with_name("copy"), pod.store_url, pod.channel), poll_seconds=1
    )
    row = until_said(operator, "pod-1", lambda row: bool(row["error"]))
    assert "two agents call themselves pod-1" in row["error"]
    assert row["agree"] is False
    found = operator.outcome("notify", "--wait", "--timeout=2", expect=4)
    assert "--agent-id" in found.error["message"]
    other.stop()
    assert "another agent calls itself pod-1" in one.log
    until_said(operator, "pod-1", lambda row: row["ok"])


def test_agent_called_head_is_no_channel(team: Team, operator: Operator, follow: Callable[..., Agent]) -> None:
    operator.run("promote", team.first)
    follow("head")
    until_said(operator, "head", lambda row: row["generation"] == 1)
    assert "agents" not in {one["channel"] for one in operator.run("channels")["channels"]}
    assert operator.ship(team.commits[1], "--wait")["generation"] == 2
    assert [one["generation"] for one in operator.run("log")["records"]] == [2, 1]


def test_one_pull_says_what_it_left_and_that_it_is_over(team: Team, operator: Operator, said: Said, pod: Pod) -> None:
    operator.run("promote", team.first)
    pod.pull("--acknowledge", "--label=zone=a")
    last = said("pod-1")
    assert last is not None
    assert (last["generation"], last["gone"], last["labels"]) == (1, True, ["zone=a"])
    operator.run("promote", team.second)
    pod.pull("--acknowledge")
    again = said("pod-1")
    assert again is not None
    assert (again["generation"], again["version"]) == (2, team.second)


def test_pull_says_why_it_failed(team: Team, operator: Operator, said: Said, pod: Pod) -> None:
    operator.run("promote", team.first)
    run("dagferry-agent", "pull", *pod.options, "--acknowledge", "--version=no-such", cwd=pod.root.parent, expect=2)
    last = said("pod-1")
    assert last is not None
    assert last["last_error"]["code"] == "unknown_version"


def test_without_the_option_nothing_is_written(team: Team, operator: Operator, said: Said, pod: Pod) -> None:
    operator.run("promote", team.first)
    pod.pull()
    assert said("pod-1") is None


def test_people_see_that_it_is_a_claim(team: Team, operator: Operator, pod: Pod) -> None:
    operator.run("promote", team.first)
    pod.pull("--acknowledge")
    text = operator.text("status")
    assert "agents, as they say in the store (nobody signs that):" in text
    assert "1 more said goodbye" in text


def test_what_cannot_be_read_is_an_error_of_its_own(
    team: Team, operator: Operator, said: Said, pod: Pod, follow: Callable[..., Agent]
) -> None:
    operator.run("promote", team.first)
    follow("pod-1")
    until_said(operator, "pod-1", lambda row: row["ok"])
    assert said("odd") is None
    (acknowledgements(pod.store_url, pod.channel) / "odd.json").write_bytes(b'{"format": 1}\x1b[31m')
    found = operator.outcome("notify", "--wait", "--timeout=2", expect=4)
    assert "store:odd: what it says cannot be read" in found.error["message"]
    assert [one["ok"] for one in found.document["agents"]] == [False, True]
