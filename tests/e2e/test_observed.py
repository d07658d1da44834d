"""What an operator sees of a running agent from outside: metrics and readiness, before, after, and without a store."""

from __future__ import annotations

import json
import re
import shutil
import time
from typing import TYPE_CHECKING, Any

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from .harness import PATIENCE, Pod, away, run, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from .conftest import Team
    from .harness import Agent, Operator

    Start = Callable[..., Agent]


def scrape(agent: Agent) -> dict[str, float]:
    """The samples by name, those of labels with them: as a Prometheus without a token gets them."""
    reply = requests.get(f"{agent.url}/metrics", timeout=PATIENCE)
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    found = {}
    for family in text_string_to_metric_families(reply.text):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found[sample.name.removeprefix("dagferry_agent_") + (f"{{{labels}}}" if labels else "")] = sample.value
    return found


def scrape_until(agent: Agent, name: str, value: float) -> dict[str, float]:
    """A scrape that shows this; what is live is looked up once a second."""

    def look() -> dict[str, float] | None:
        found = scrape(agent)
        return found if found.get(name) == value else None

    return wait_for(look, f"{name} {value:g}")


def records(agent: Agent) -> list[dict[str, Any]]:
    """The lines of its log; every one of them is a JSON object."""
    return [json.loads(line) for line in agent.log.splitlines()]


def promote(operator: Operator, version: str) -> None:
    operator.run("promote", version)


def test_metrics_before_and_after_a_pull(team: Team, operator: Operator, start: Start) -> None:
    agent = start()
    failed = scrape_until(agent, "failed_pulls_in_a_row", 1)  # the channel has no record yet
    assert (failed["ready"], failed["generation"], failed["switches_total"]) == (0, 0, 0)
    assert failed["last_success_timestamp_seconds"] == 0
    began = time.time()
    promote(operator, team.first)
    reply = agent.pull()
    found = scrape_until(agent, "generation", 1)
    assert (found["ready"], found["switches_total"], found["failed_pulls_in_a_row"]) == (1, 1, 0)
    assert found["fetched_bytes_total"] == reply["bytes_fetched"]
    assert found["files_written_total"] == reply["files_written"]
    assert found["pull_duration_seconds_sum{changed=true}"] == pytest.approx(reply["seconds"])
    assert began - 1 <= found["last_success_timestamp_seconds"] <= time.time()
    assert began - 1 <= found["activation_timestamp_seconds"] <= time.time()
    assert found["process_resident_memory_bytes"] > 0
    (info,) = (name for name in found if name.startswith("info"))
    assert f"version={team.first}" in info
    assert "agent_id=pod-1" in info


def test_metrics_and_readiness_while_the_store_is_away(team: Team, operator: Operator, pod: Pod, start: Start) -> None:
    promote(operator, team.first)
    pod.pull()
    # A restart of the agent on the same disk, without its store: it never hears from the channel.
    agent = start(on=Pod(pod.root, away(pod.store_url), pod.channel))
    assert agent.post().status_code == 503
    found = scrape_until(agent, "ready", 1)
    assert (found["generation"], found["last_success_timestamp_seconds"]) == (1, 0)
    failures = {name: value for name, value in found.items() if name.startswith("pull_failures_total")}
    assert sum(failures.values()) == found["failed_pulls_in_a_row"] >= 2
    ready, body = agent.ready()
    assert ready
    assert (body["verified"], body["version"], body["stale_seconds"]) == (True, team.first, None)
    assert body["unheard_seconds"] > 0
    assert f"pull_failures_total{{code={body['last_error']['code']}}}" in failures


def test_drift_is_shown_and_the_pod_is_not_ready(team: Team, operator: Operator, pod: Pod, start: Start) -> None:
    promote(operator, team.first)
    pod.pull()
    edited = pod.current / "daily.py"
    edited.unlink()
    edited.write_text("EDITED = True\n")
    agent = start(on=Pod(pod.root, away(pod.store_url), pod.channel))
    found = scrape_until(agent, "drifted_files", 1)
    assert (found["ready"], found["generation"]) == (0, 1)
    ready, body = agent.ready()
    assert not ready
    assert (body["verified"], body["version"]) == (False, team.first)


def test_an_edit_stays_in_what_is_shown_however_often_the_channel_says_nothing_new(
    team: Team, operator: Operator, pod: Pod, start: Start
) -> None:
    promote(operator, team.first)
    agent = start()
    agent.wait_until_ready()
    # What is edited before the kernel tells of the new folder is found by the next sweep only.
    wait_for(lambda: agent.status()["watching"] == "inotify" or None, "the new folder to be watched")
    edited = pod.current / "daily.py"
    edited.unlink()
    edited.write_text("EDITED = True\n")
    scrape_until(agent, "drifted_files", 1)
    for _ in range(3):
        assert agent.pull()["changed"] is False
    assert agent.status()["drift"] == ["daily.py"]
    assert wait_for(lambda: agent.ready()[1] if not agent.ready()[1]["verified"] else None, "a look")["ready"] is True
    promote(operator, team.second)
    agent.pull(expect_generation=2)
    assert agent.status()["drift"] == []


def test_a_live_release_that_vanished_is_told_and_brought_back(
    team: Team, operator: Operator, pod: Pod, start: Start
) -> None:
    promote(operator, team.first)
    agent = start()
    agent.wait_until_ready()
    content = pod.live()
    wait_for(lambda: agent.status()["watching"] == "inotify" or None, "the folder to be watched")
    shutil.rmtree(pod.current.resolve())
    wait_for(lambda: agent.ready()[0] is False or None, "an agent that is not ready")
    assert wait_for(lambda: agent.status()["drift"] or None, "the loss in its status") == ["."]
    assert pod.run("status")["drift"] == ["."]
    assert agent.pull()["files_written"] == len(content)
    assert pod.live() == content
    agent.wait_until_ready()
    # What is edited before the kernel tells of the new folder is found by the next sweep only.
    wait_for(lambda: agent.status()["watching"] == "inotify" or None, "the new folder to be watched")
    edited = pod.current / "daily.py"
    edited.unlink()
    wait_for(lambda: agent.status()["drift"] == ["daily.py"] or None, "an edit: the release is watched again")


def test_what_is_refused_by_hand_is_no_pull_that_failed(team: Team, operator: Operator, pod: Pod, start: Start) -> None:
    promote(operator, team.first)
    agent = start()
    agent.wait_until_ready()
    for arguments in (("nonsense",), ("--resume",)):
        run("dagferry-agent", "activate", f"--root={pod.root}", *arguments, cwd=pod.root, expect=2)
    found = scrape(agent)
    assert found["failed_pulls_in_a_row"] == 0
    assert [name for name in found if name.startswith("pull_failures_total")] == []


def test_the_log_has_the_facts_of_a_pull_as_fields(team: Team, operator: Operator, start: Start) -> None:
    agent = start()
    failed = wait_for(lambda: next((one for one in records(agent) if "code" in one), None), "a failed pull in the log")
    assert failed["level"] in ("warning", "error")
    promote(operator, team.first)
    reply = agent.pull()
    (pulled,) = (one for one in records(agent) if one["message"].startswith("pull: now serving"))
    for name, value in reply.items():
        assert pulled[name] == value, name
    assert agent.stop() == 0
    for one in records(agent):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", one["time"])
        assert (one["agent_id"], one["bundle"], one["channel"]) == ("pod-1", agent.pod.bundle, agent.pod.channel)
    assert agent.token not in agent.log
