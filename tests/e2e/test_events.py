"""What happens reaches webhooks: from the command at once, from whoever follows the log at least once; and audits."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.receiver import OTHER_SECRET, SECRET, Answer, receiving, secret_file

from .harness import COMMANDS, PATIENCE, SIGNED, Operator, environment, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from tests.receiver import Receiver

    from .conftest import Team
    from .harness import Agent

    Start = Callable[..., Agent]

TELLING = 5.0
"""Seconds that a command waits for its webhooks at the most."""


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    return secret_file(tmp_path)


def options(receiver: Receiver, secret: Path) -> tuple[str, str]:
    return f"--webhook={receiver.url}", f"--webhook-secret-file={secret}"


def told(operator: Operator, receiver: Receiver, secret: Path, *arguments: str) -> dict[str, Any]:
    """The document of a command that tells the receiver."""
    return operator.run(*arguments, *options(receiver, secret))


class Following:
    """A command that runs until it is ended, and its lines on stdout and stderr."""

    def __init__(self, operator: Operator, folder: Path, *arguments: str) -> None:
        self._out, self._log = folder / f"out-{time.monotonic_ns()}", folder / f"log-{time.monotonic_ns()}"
        every = {"DAGFERRY_STORE": operator.store_url, **operator.options}
        with self._out.open("wb") as stdout, self._log.open("wb") as stderr:
            self.process = subprocess.Popen(
                [*COMMANDS["dagferry"], *arguments],
                cwd=operator.folder,
                env=environment(**every),
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
            )

    @property
    def lines(self) -> list[str]:
        return self._out.read_text().splitlines()

    @property
    def log(self) -> str:
        return self._log.read_text()

    def end(self, number: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(PATIENCE)


@pytest.fixture
def follow(operator: Operator, tmp_path: Path) -> Iterator[Callable[..., Following]]:
    """Starts commands that run until they are ended; ends those that still run."""
    started: list[Following] = []

    def start(*arguments: str) -> Following:
        started.append(Following(operator, tmp_path, *arguments))
        return started[-1]

    yield start
    for one in started:
        one.end(signal.SIGKILL)


def events_command(receiver: Receiver, secret: Path, state: Path, *more: str) -> Sequence[str]:
    return ("events", *options(receiver, secret), f"--state={state}", "--interval=0.1", *more)


# --- from the command


def test_what_a_command_does_to_a_channel_is_told_at_once_and_signed(
    team: Team, operator: Operator, secret: Path, channel: str
) -> None:
    with receiving() as receiver:
        document = told(operator, receiver, secret, "promote", team.first, "--reason=a new ärrival")
        told(operator, receiver, secret, "promote", team.second)
        told(operator, receiver, secret, "hold", "--reason=stop")
        told(operator, receiver, secret, "resume")
        told(operator, receiver, secret, "rollback", "--reason=bad figures")
    name = receiver.url.removesuffix("/hook/t0ken")
    assert document["webhooks"] == [{"url": name, "ok": True, "told": 1, "events": 1, "error": None}]
    assert receiver.types == [f"channel.{one}" for one in ("promoted", "promoted", "held", "resumed", "rolled_back")]
    assert receiver.forged == []
    first, second, *_, back = receiver.taken
    assert (first["specversion"], first["datacontenttype"]) == ("1.0", "application/json")
    assert first["source"] == f"/dagferry/etl/{channel}"
    assert (first["subject"], second["subject"], back["subject"]) == (team.first, team.second, team.first)
    assert first["data"]["reason"] == "a new ärrival"
    assert (first["data"]["previous_version"], second["data"]["previous_version"]) == (None, team.first)
    assert back["data"]["hold"]["reason"] == "bad figures"
    assert len(set(receiver.ids)) == 5


def test_a_command_that_changes_nothing_and_a_dry_run_tell_nothing(
    team: Team, operator: Operator, secret: Path
) -> None:
    operator.run("promote", team.first)
    with receiving() as receiver:
        again = told(operator, receiver, secret, "promote", team.first)
        told(operator, receiver, secret, "promote", team.second, "--dry-run")
    assert (again["changed"], again["webhooks"][0]["events"]) == (False, 0)
    assert receiver.requests == []


def test_a_receiver_that_hangs_costs_a_promotion_no_more_than_the_bound(
    team: Team, operator: Operator, secret: Path
) -> None:
    began = time.monotonic()
    operator.run("promote", team.first)
    usual = time.monotonic() - began
    with receiving([Answer(seconds=60)]) as receiver:
        began = time.monotonic()
        outcome = operator.outcome("promote", team.second, *options(receiver, secret))
        seconds = time.monotonic() - began
    assert seconds < usual + TELLING + 3
    (hook,) = outcome.document["webhooks"]
    assert (hook["ok"], hook["told"], hook["events"]) == (False, 0, 1)
    assert hook["error"] in outcome.stderr
    assert operator.run("status")["version"] == team.second


@pytest.mark.parametrize("answers", [[Answer(500)], [Answer(302, headers=(("location", "http://127.0.0.1:1/"),))]])
def test_a_receiver_that_refuses_is_a_warning_and_not_the_commands_failure(
    team: Team, operator: Operator, secret: Path, answers: list[Answer]
) -> None:
    with receiving(answers) as receiver:
        outcome = operator.outcome("promote", team.first, *options(receiver, secret))
        assert 2 <= len(receiver.requests) <= 20
    assert f"HTTP {answers[0].status}" in outcome.document["webhooks"][0]["error"]
    assert "WARNING" in outcome.stderr
    for secret_part in (SECRET, SECRET.removeprefix("whsec_"), "t0ken"):
        assert secret_part not in outcome.stderr + outcome.stdout


def test_an_event_is_sent_again_after_a_failure_under_the_same_id(team: Team, operator: Operator, secret: Path) -> None:
    with receiving([Answer(500), Answer(503), Answer()]) as receiver:
        assert told(operator, receiver, secret, "promote", team.first)["webhooks"][0]["ok"]
    assert len(receiver.requests) == 3
    assert len({headers["webhook-id"] for headers, _ in receiver.requests}) == 1
    assert len({body for _, body in receiver.requests}) == 1
    assert receiver.types == ["channel.promoted"]


def test_one_receiver_that_is_away_keeps_nothing_from_another(team: Team, operator: Operator, secret: Path) -> None:
    with receiving() as receiver:
        away = "--webhook=http://127.0.0.1:1/x"
        found = operator.run("promote", team.first, away, *options(receiver, secret))["webhooks"]
    assert [(one["ok"], one["told"]) for one in found] == [(False, 0), (True, 1)]


def test_ship_tells_whether_all_agents_followed(team: Team, operator: Operator, secret: Path, start: Start) -> None:
    agent = start()
    agents = (f"--agents={agent.url}", f"--token-file={agent.token_file}")
    with receiving() as receiver:
        told(operator, receiver, secret, "ship", "--no-lint", f"--rev={team.commits[0]}", *agents)
        late = operator.outcome(
            "notify", f"--agents={agent.url},http://127.0.0.1:1", f"--token-file={agent.token_file}", "--timeout=1",
            *options(receiver, secret), expect=4,
        )  # fmt: skip
    assert receiver.types == ["channel.promoted", "channel.converged", "channel.not_converged"]
    _, converged, not_converged = (one["data"] for one in receiver.taken)
    assert (converged["asked"], converged["late"], converged["version"]) == (1, 0, team.first)
    assert (not_converged["asked"], not_converged["late"]) == (2, 1)
    assert not_converged["agents"][0]["url"] == "http://127.0.0.1:1"
    assert late.document["webhooks"][0]["ok"]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--webhook=ftp://host/x"], "ftp://host"),
        (["--webhook=http://me:hunter2@host/x"], "http://host"),
        (["--webhook=http://host:99999/x"], "http://host"),
        (["--webhook=http://host/x"], "--webhook-secret-file"),
        (["--webhook=http://host/x", "--webhook-secret-file=/nowhere/secret"], "/nowhere/secret"),
    ],
)
def test_a_webhook_that_cannot_be_used_is_said_before_anything_is_done(
    team: Team, operator: Operator, arguments: list[str], named: str
) -> None:
    more = [] if "secret" in named else [f"--webhook-secret-file={__file__}"]
    error = operator.fail(2, "promote", team.first, *arguments, *more)
    assert named in error["message"] + error["hint"]
    assert "hunter2" not in error["message"] + error["hint"]
    assert operator.fail(2, "status")["code"] == "unknown_channel"


def test_a_file_that_holds_no_secret_is_refused_and_not_quoted(team: Team, operator: Operator, tmp_path: Path) -> None:
    bad = secret_file(tmp_path, "hunter2-hunter2")
    error = operator.fail(2, "promote", team.first, "--webhook=http://127.0.0.1:1", f"--webhook-secret-file={bad}")
    assert "hunter2" not in str(error)
    assert "whsec_" in error["hint"]


def test_two_secrets_are_both_signed_with_so_that_a_receiver_can_change_over(
    team: Team, operator: Operator, tmp_path: Path
) -> None:
    both = secret_file(tmp_path, OTHER_SECRET, SECRET)
    for secret_of_receiver in (SECRET, OTHER_SECRET):
        with receiving(secret=secret_of_receiver) as receiver:
            operator.run("hold" if operator_has_record(operator) else "promote", *version(team, operator),
                         *options(receiver, both))  # fmt: skip
        assert len(receiver.taken) == 1
        assert receiver.forged == []


def operator_has_record(operator: Operator) -> bool:
    return operator.outcome("channels").document["channels"] != [] and any(
        one["channel"] == operator.options["DAGFERRY_CHANNEL"] for one in operator.run("channels")["channels"]
    )


def version(team: Team, operator: Operator) -> list[str]:
    return [] if operator_has_record(operator) else [team.first]


# --- from the log


def test_who_follows_the_log_tells_what_a_command_told_under_the_same_ids(
    team: Team, operator: Operator, secret: Path, tmp_path: Path
) -> None:
    with receiving() as receiver:
        told(operator, receiver, secret, "promote", team.first)
        told(operator, receiver, secret, "promote", team.second)
        told(operator, receiver, secret, "rollback")
        quick, receiver.taken = receiver.taken, []
        command = events_command(receiver, secret, tmp_path / "state", "--from-start", "--once")
        found = operator.run(*command)
        assert receiver.taken == quick
        assert [one["type"] for one in found["events"]] == [one["type"] for one in quick]
        assert operator.run(*command)["events"] == []


def test_without_from_start_only_what_comes_is_told(
    team: Team, operator: Operator, secret: Path, tmp_path: Path
) -> None:
    with receiving() as receiver:
        command = events_command(receiver, secret, tmp_path / "state", "--once")
        assert operator.run(*command)["events"] == []
        operator.run("promote", team.first)
        operator.run("promote", team.second)
        assert len(operator.run(*command)["events"]) == 2
        operator.run("hold")
        assert len(operator.run(*command)["events"]) == 1
    assert receiver.types == ["channel.promoted", "channel.promoted", "channel.held"]


def test_a_follower_that_is_killed_again_and_again_loses_nothing_and_keeps_the_order(
    team: Team, operator: Operator, secret: Path, tmp_path: Path, follow: Callable[..., Following]
) -> None:
    state = tmp_path / "state"
    # Every other request is answered late, or with an error: the kills come before, during and after deliveries.
    answers = [Answer(), Answer(500), Answer(seconds=0.4), Answer(503)] * 20
    with receiving(answers) as receiver:
        operator.run("promote", team.first)
        operator.run(*events_command(receiver, secret, state, "--from-start", "--once"))
        for number in range(4):
            follower = follow(*events_command(receiver, secret, state))
            for command in (["hold", f"--reason={number}"], ["resume"]):
                operator.run(*command)
            follower.end(signal.SIGKILL)
        follower = follow(*events_command(receiver, secret, state))
        wait_for(lambda: {one["data"]["generation"] for one in receiver.taken} == set(range(1, 10)) or None, "the rest")
        follower.end()
    generations = [one["data"]["generation"] for one in receiver.taken]
    assert list(dict.fromkeys(generations)) == list(range(1, 10))
    assert generations == sorted(generations), "what is told twice is told at once"
    by_generation = {one["data"]["generation"]: one["id"] for one in receiver.taken}
    assert {(one["data"]["generation"], one["id"]) for one in receiver.taken} == set(by_generation.items())


def test_a_follower_whose_receiver_is_away_waits_for_it(
    team: Team, operator: Operator, secret: Path, tmp_path: Path, follow: Callable[..., Following]
) -> None:
    with receiving() as receiver:
        port = int(receiver.url.split(":")[2].partition("/")[0])
        operator.run(*events_command(receiver, secret, tmp_path / "state", "--once"))
        follower = follow(*events_command(receiver, secret, tmp_path / "state"))
    operator.run("promote", team.first)
    wait_for(lambda: "no connection" in follower.log or None, "a warning")
    with receiving(port=port) as receiver:
        wait_for(lambda: receiver.taken or None, "the event")
        wait_for(lambda: follower.lines or None, "its line")
        assert follower.end() == 143
    assert receiver.types == ["channel.promoted"]
    assert "t0ken" not in follower.log


def test_once_says_so_if_the_receiver_is_away_and_tells_it_the_next_time(
    team: Team, operator: Operator, secret: Path, tmp_path: Path
) -> None:
    operator.run("promote", team.first)
    with receiving([Answer(500)]) as receiver:
        command = events_command(receiver, secret, tmp_path / "state", "--from-start", "--once")
        assert operator.fail(4, *command)["code"] == "webhook_failed"
        receiver.answers.append(Answer())
        receiver.answers[:-1] = [Answer()]
        assert len(operator.run(*command)["events"]) == 1


def test_a_state_of_another_channel_or_webhook_is_refused(
    team: Team, operator: Operator, secret: Path, tmp_path: Path
) -> None:
    operator.run("promote", team.first)
    state = tmp_path / "state"
    with receiving() as one, receiving() as other:
        operator.run(*events_command(one, secret, state, "--once"))
        assert operator.fail(3, *events_command(other, secret, state, "--once"))["code"] == "other_state"
        state.write_text("{}")
        assert operator.fail(1, *events_command(one, secret, state, "--once"))["code"] == "bad_state"


def test_events_tells_one_webhook(team: Team, operator: Operator, secret: Path, tmp_path: Path) -> None:
    with receiving() as one, receiving() as other:
        more = f"--webhook={other.url}"
        assert operator.fail(2, *events_command(one, secret, tmp_path / "state", more, "--once"))["code"] == "usage"


# --- for people, and for collectors


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_log_follow_prints_each_record_as_it_comes_and_ends_when_told(
    team: Team, operator: Operator, follow: Callable[..., Following], number: int, code: int
) -> None:
    operator.run("promote", team.first)
    operator.run("promote", team.second)
    follower = follow("log", "--follow", "--limit=1", "--interval=0.1")
    wait_for(lambda: follower.lines or None, "the newest record")
    assert team.second in follower.lines[0]
    operator.run("hold", "--reason=why not")
    operator.run("resume")
    wait_for(lambda: len(follower.lines) == 3 or None, "what came")
    assert "hold" in follower.lines[1]
    assert "why not" in follower.lines[1]
    assert "resume" in follower.lines[2]
    assert follower.end(number) == code
    assert "Traceback" not in follower.log


def test_log_follow_as_json_is_one_object_a_line(
    team: Team, operator: Operator, follow: Callable[..., Following]
) -> None:
    operator.run("promote", team.first)
    follower = follow("log", "-f", "--interval=0.1", "-o", "json")
    wait_for(lambda: follower.lines or None, "the record")
    operator.run("hold")
    wait_for(lambda: len(follower.lines) == 2 or None, "the next")
    shown = operator.run("log")["records"]
    assert [json.loads(line) for line in follower.lines] == shown[::-1]


def test_log_follow_of_a_channel_that_is_not_there_is_an_error(operator: Operator, team: Team) -> None:
    assert operator.fail(2, "log", "--follow")["code"] == "unknown_channel"


def test_audit_is_json_lines_with_digests_that_chain_oldest_first(team: Team, operator: Operator) -> None:
    operator.run("promote", team.first)
    operator.run("promote", team.second, "--reason=line\nbreak")
    operator.run("rollback")
    channel = operator.options["DAGFERRY_CHANNEL"]
    rows = [json.loads(line) for line in operator.text("audit", f"--channel={channel}").splitlines()]
    assert [(row["generation"], row["action"]) for row in rows] == [(1, "promote"), (2, "promote"), (3, "rollback")]
    for before, row in zip([None, *rows], rows, strict=False):
        expected = None if before is None else {"generation": before["generation"], "sha256": before["sha256"]}
        assert row["previous"] == expected
        assert row["bundle"] == "etl"
        assert row["actor"]
    assert rows[1]["reason"] == "line\nbreak"
    assert operator.run("audit")["records"] == rows
    if os.environ.get(SIGNED):
        assert all([one["name"] for one in row["signed_by"]] == ["ci"] for row in rows)
    else:
        assert all((row["signed_by"], row["signatures"]) == (None, 0) for row in rows)


def test_audit_takes_all_channels_by_default(team: Team, channel: str) -> None:
    for name in ("a", "b"):
        team.operator.on(f"{channel[:50]}-{name}").run("promote", team.first)
    names = [row["channel"] for row in team.operator.run("audit")["records"]]
    assert names == sorted(names)
    assert {f"{channel[:50]}-a", f"{channel[:50]}-b"} <= set(names)
