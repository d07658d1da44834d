"""What happens on a pod reaches webhooks, whatever becomes of them and of the agent; and no pull waits for one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from tests.receiver import SECRET, Answer, receiving, secret_file

from .harness import Pod, away, run, wait_for
from .test_observed import scrape, scrape_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.receiver import Receiver

    from .conftest import Team
    from .harness import Agent, Operator

    Start = Callable[..., Agent]


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    return secret_file(tmp_path)


def options(receiver: Receiver, secret: Path) -> tuple[str, str]:
    return f"--webhook={receiver.url}", f"--webhook-secret-file={secret}"


def await_types(receiver: Receiver, *types: str) -> list[dict[str, Any]]:
    """What was taken, once that is of these types."""

    def look() -> list[dict[str, Any]] | None:
        found = distinct(receiver)
        return found if [one["type"] for one in found] == [f"io.dagferry.agent.{name}" for name in types] else None

    try:
        return wait_for(look, f"events {types}")
    except AssertionError as error:
        raise AssertionError(f"{error}, but for {receiver.types}") from None


def distinct(receiver: Receiver) -> list[dict[str, Any]]:
    """What a receiver makes of what it took: an id counts once. Without the alarm of an agent that has no keyring."""
    known = {one["id"]: one for one in reversed(receiver.taken)}
    found = [known.pop(one["id"]) for one in receiver.taken if one["id"] in known]
    return [one for one in found if one["data"].get("alarm") != "not_verifying"]


def spooled(pod: Pod) -> list[dict[str, Any]]:
    return [json.loads(path.read_bytes()) for path in sorted(pod.root.glob("events/*/*.json"))]


def test_switches_are_told_with_who_and_what_and_from_what(
    team: Team, operator: Operator, pod: Pod, secret: Path, start: Start
) -> None:
    operator.run("promote", team.first)
    with receiving() as receiver:
        agent = start("--label=zone=a", *options(receiver, secret))
        agent.wait_until_ready()
        operator.run("promote", team.second)
        agent.pull()
        agent.pull()  # nothing new
        first, second = await_types(receiver, "activated", "activated")
        found = scrape_until(agent, "events_waiting", 0)
    assert receiver.forged == []
    assert first["source"] == f"/dagferry/etl/{pod.channel}/agents/pod-1"
    assert (first["subject"], second["subject"]) == (team.first, team.second)
    assert second["data"]["agent_id"] == "pod-1"
    assert second["data"]["labels"] == ["zone=a"]
    assert (second["data"]["generation"], second["data"]["previous_version"]) == (2, team.first)
    assert second["data"]["seconds"] > 0
    assert (found["events_sent_total"], found["events_dropped_total"]) == (len(receiver.taken), 0)


def test_a_restart_repeats_nothing_and_tells_what_was_switched_without_it(
    team: Team, operator: Operator, pod: Pod, secret: Path, start: Start
) -> None:
    operator.run("promote", team.first)
    with receiving() as receiver:
        agent = start(*options(receiver, secret))
        await_types(receiver, "activated")
        agent.stop()
        start(*options(receiver, secret)).stop()
        operator.run("promote", team.second)
        pod.pull()  # as an init container does
        start(*options(receiver, secret))
        _, second = await_types(receiver, "activated", "activated")
    assert second["subject"] == team.second
    assert second["data"]["previous_version"] == team.first


def test_the_first_failure_and_its_end_are_told_once(
    team: Team, operator: Operator, pod: Pod, secret: Path, start: Start
) -> None:
    with receiving() as receiver:
        agent = start(*options(receiver, secret))  # the channel has no record yet
        for _ in range(3):
            agent.post()
        operator.run("promote", team.first)
        agent.pull()
        failed, recovered, _ = await_types(receiver, "pull_failed", "pull_recovered", "activated")
    assert failed["data"]["code"] == recovered["data"]["code"] == "unknown_channel"
    assert pod.channel in failed["data"]["message"]


def test_edits_and_their_mending_are_told(team: Team, operator: Operator, pod: Pod, secret: Path, start: Start) -> None:
    operator.run("promote", team.first)
    pod.pull()
    edited = pod.current / "daily.py"
    edited.unlink()
    edited.write_text("EDITED = True\n")
    with receiving() as receiver:
        agent = start(*options(receiver, secret), on=Pod(pod.root, away(pod.store_url), pod.channel))
        wait_for(lambda: receiver.of("agent.drifted") or None, "drifted")
        agent.stop()
        start(*options(receiver, secret))
        wait_for(lambda: receiver.of("agent.mended") or None, "mended")
    (drifted,) = receiver.of("agent.drifted")
    assert (drifted["data"]["count"], drifted["data"]["paths"]) == (1, ["daily.py"])


def test_an_expiry_that_is_near_is_told_and_so_is_its_end(team: Team, pod: Pod, secret: Path, start: Start) -> None:
    keys = pod.root.parent / "keys"
    run("dagferry", "keys", "generate", "--name=ci", f"--out={keys}", cwd=pod.root.parent)
    operator = team.operator.on(pod.channel)
    signed = {"DAGFERRY_SIGNER": f"{keys}/ci.pem", "DAGFERRY_KEYRING": str(keys)}
    operator.run("publish", f"--rev={team.commits[0]}", "--no-lint", env=signed)
    operator.run("promote", team.first, "--expires-days=2", env=signed)
    with receiving() as receiver:
        agent = start(f"--keyring={keys}", *options(receiver, secret))
        wait_for(lambda: receiver.of("agent.alarm_raised") or None, "the alarm")
        operator.run("refresh", "--expires-days=30", env=signed)
        agent.pull()
        wait_for(lambda: receiver.of("agent.alarm_cleared") or None, "its end")
    (raised,) = receiver.of("agent.alarm_raised")
    assert raised["data"]["alarm"] == "expires_soon"
    assert raised["data"]["expires"]


def test_a_receiver_that_hangs_or_fails_keeps_up_no_pull_and_no_end(
    team: Team, operator: Operator, pod: Pod, secret: Path, start: Start
) -> None:
    operator.run("promote", team.first)
    with receiving([Answer(seconds=60)]) as hanging:
        agent = start(*options(hanging, secret))
        agent.wait_until_ready()
        wait_for(lambda: hanging.requests or None, "a request that hangs")
        began = time.monotonic()
        operator.run("promote", team.second)
        assert agent.pull()["version"] == team.second
        assert time.monotonic() - began < 5
        wait_for(lambda: len(spooled(pod)) >= 2 or None, "both events on the disk")
        began = time.monotonic()
        assert agent.stop() == 0
        assert time.monotonic() - began < 5


def test_a_killed_agent_loses_no_event_that_was_on_the_disk(
    team: Team, operator: Operator, pod: Pod, secret: Path, start: Start
) -> None:
    operator.run("promote", team.first)
    with receiving([Answer(500)]) as receiver:
        agent = start(*options(receiver, secret))
        agent.wait_until_ready()
        for command in (["promote", team.second], ["rollback"], ["resume"], ["promote", team.third]):
            operator.run(*command)
            agent.pull()

        def kept() -> list[dict[str, Any]] | None:
            found = [one for one in spooled(pod) if one["type"].endswith("activated")]
            return found if len(found) == 4 else None

        waiting = wait_for(kept, "four switches on the disk")
        agent.process.send_signal(signal.SIGKILL)
        agent.process.wait()
        receiver.answers[:] = [Answer()]
        start(*options(receiver, secret))
        found = await_types(receiver, *["activated"] * 4)
        wait_for(lambda: not spooled(pod) or None, "an empty spool")
    assert found == waiting
    assert [one["subject"] for one in found] == [team.first, team.second, team.first, team.third]


def test_what_is_told_twice_after_a_kill_has_one_id(
    team: Team, operator: Operator, pod: Pod, secret: Path, start: Start
) -> None:
    operator.run("promote", team.first)
    with receiving([Answer(seconds=2.0)]) as receiver:
        agent = start(*options(receiver, secret))
        wait_for(lambda: receiver.requests or None, "a request")
        agent.process.send_signal(signal.SIGKILL)
        agent.process.wait()
        wait_for(lambda: receiver.taken or None, "the event of the killed agent")
        receiver.answers[:] = [Answer()]
        start(*options(receiver, secret))
        wait_for(lambda: not spooled(pod) or None, "an empty spool")
        wait_for(lambda: receiver.of("agent.activated") or None, "the switch")
    assert len(receiver.ids) == len(set(receiver.ids)) + 1
    assert receiver.taken[0] == receiver.taken[1]


def test_the_secret_and_the_url_are_in_no_log_and_on_no_metric(
    team: Team, operator: Operator, secret: Path, start: Start
) -> None:
    operator.run("promote", team.first)
    with receiving([Answer(500)]) as receiver:
        agent = start(*options(receiver, secret))
        wait_for(lambda: "an event was not told" in agent.log or None, "a warning")
        wait_for(lambda: scrape(agent)["events_failed_total"] >= 2 or None, "failures that are counted")
        shown = agent.log + str(scrape(agent))
    assert SECRET.removeprefix("whsec_") not in shown
    assert "t0ken" not in shown
    assert shown.count("an event was not told") == 1, "it is said once"


def test_a_secret_that_is_missing_is_waited_for_and_pulls_go_on(
    team: Team, operator: Operator, tmp_path: Path, start: Start
) -> None:
    operator.run("promote", team.first)
    with receiving() as receiver:
        agent = start(f"--webhook={receiver.url}", f"--webhook-secret-file={tmp_path}/webhook.secret")
        agent.wait_until_ready()
        wait_for(lambda: "cannot be read" in agent.log or None, "a warning")
        assert receiver.requests == []
        secret_file(tmp_path)
        await_types(receiver, "activated")


def test_a_webhook_without_a_secret_file_is_wrong_usage(pod: Pod) -> None:
    error = run("dagferry-agent", "status", *pod.options, "--webhook=http://127.0.0.1:1", cwd=pod.root.parent,
                expect=None)  # fmt: skip
    assert error.code == 0, "what only reads the disk needs no webhook"
    refused = run(
        "dagferry-agent", "serve", *pod.options, "--webhook=http://127.0.0.1:1", cwd=pod.root.parent, expect=2
    )
    assert "--webhook-secret-file" in refused.error["message"]


def test_https_is_checked_with_the_ca_file(
    team: Team, operator: Operator, secret: Path, tmp_path: Path, start: Start
) -> None:
    import ssl

    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    trusted = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(trusted))
    operator.run("promote", team.first)
    with receiving(tls=context) as receiver:
        agent = start(*options(receiver, secret))
        wait_for(lambda: "its certificate is not trusted" in agent.log or None, "a refusal")
        assert receiver.requests == []
        agent.stop()
        start(f"--webhook-ca-file={trusted}", *options(receiver, secret))
        await_types(receiver, "activated")


def test_a_standby_tells_nothing_until_it_takes_over(
    team: Team, operator: Operator, pod: Pod, secret: Path, start: Start
) -> None:
    operator.run("promote", team.first)
    with receiving() as receiver:
        active = start(*options(receiver, secret))
        active.wait_until_ready()
        standby = start(*options(receiver, secret))
        await_types(receiver, "activated")
        operator.run("promote", team.second)
        active.pull()
        await_types(receiver, "activated", "activated")
        active.stop()
        wait_for(lambda: "taking over" in standby.log or None, "the take-over")
        operator.run("promote", team.third)
        wait_for(lambda: standby.pull()["version"] == team.third or None, "the third")
        found = await_types(receiver, *["activated"] * 3)
    assert [one["subject"] for one in found] == [team.first, team.second, team.third]
    assert len(set(receiver.ids)) == len(receiver.ids)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can mount")
def test_a_full_disk_for_events_keeps_up_no_pull_and_they_are_told_once_there_is_room(
    team: Team, operator: Operator, pod: Pod, secret: Path, start: Start
) -> None:
    operator.run("promote", team.first)
    folder = pod.root / "events"
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("this machine cannot mount")
    try:
        with receiving() as receiver:
            filler = folder / ".filler"
            agent = start(*options(receiver, secret))
            await_types(receiver, "activated")
            with pytest.raises(OSError, match="No space"):
                filler.write_bytes(bytes(128 * 1024))
            operator.run("promote", team.second)
            assert agent.pull()["version"] == team.second
            wait_for(lambda: "events cannot be kept" in agent.log or None, "a warning")
            operator.run("promote", team.third)
            assert agent.pull()["version"] == team.third
            filler.unlink()
            found = await_types(receiver, *["activated"] * 3)
            assert agent.log.count("events cannot be kept") == 1, "it is said once"
            agent.stop()
    finally:
        subprocess.run(["umount", str(folder)], check=True)
    assert [one["subject"] for one in found] == [team.first, team.second, team.third]
