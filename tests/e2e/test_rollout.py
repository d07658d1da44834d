"""Releases that go live in steps: a canary, batches, everybody, and back when a gate does not hold; real agents."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.agent.airflow_api import FakeAirflow, serving

from .harness import COMMANDS, Agent, Operator, Pod, Repository, environment, new_token, run, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class ParsingAirflow(FakeAirflow):
    """Parses what it is asked to parse, at once; ``breaks``: from then on it cannot import that."""

    breaks = False

    def reply(self, method: str, path: str, *rest: Any) -> tuple[int, Any]:  # noqa: ANN401
        """Status and document of one request."""
        answer = super().reply(method, path, *rest)
        if method == "PUT":
            time.sleep(1.1)  # its times are whole seconds
            moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            self.dags = dict.fromkeys(self.dags, moment)
            if self.breaks:
                self.errors = {"daily.py": (moment, "Traceback\nModuleNotFoundError: No module named 'pandsa'\n")}
        return answer


@dataclass
class Fleet:
    """Four running agents of one channel, the first of them with an Airflow, and who ships to them."""

    repository: Repository
    operator: Operator
    agents: list[Agent]
    airflow: ParsingAirflow
    reach: tuple[str, ...]

    def commit(self, number: int) -> str:
        self.repository.change({"dags/daily.py": f"VERSION = {number}\n"}, f"change {number}")
        return self.operator.publish("HEAD", "--no-lint")

    def ship(self, *arguments: str, expect: int = 0) -> dict[str, Any]:
        document = self.operator.outcome("ship", "--no-lint", *self.reach, *arguments, expect=expect).document
        return dict(document)

    def versions(self) -> list[str]:
        return [str(agent.status()["version"]) for agent in self.agents]

    def history(self, number: int) -> list[str]:
        """Each version that an agent ever served."""
        releases = self.agents[number].status()["releases"]
        return [version for one in releases for version in one["versions"]]

    def head(self) -> dict[str, Any]:
        return dict(self.operator.run("log", "--limit=1")["records"][0])


@pytest.fixture
def fleet(store_url: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Fleet]:
    repository = Repository(tmp_path / "clone")
    repository.change({"dags/daily.py": "VERSION = 1\n", "dags/team/other.py": "OTHER = 1\n"}, "first")
    channel = f"rollout.{request.node.name.partition('[')[0][-40:].strip('_-.')}"
    store = f"{store_url}/{channel}"
    operator = Operator(repository.path, store).on(channel)
    token, entry = new_token()
    tokens, token_file, credentials = tmp_path / "tokens.json", tmp_path / "token", tmp_path / "airflow.json"
    tokens.write_text(json.dumps([entry]))
    token_file.write_text(token)
    credentials.write_text(json.dumps({"token": "given"}))
    operator.run("ship", "--no-lint")
    with ExitStack() as stack:
        airflow = stack.enter_context(serving(ParsingAirflow(dags={"daily.py": "2020-01-01T00:00:00Z"})))
        assert isinstance(airflow, ParsingAirflow)
        agents = []
        for number in range(4):
            folder = tmp_path / f"pod-{number}"
            folder.mkdir()
            more = [f"--agent-id=pod-{number}", f"--label=zone={'ab'[number % 2]}"]
            if number == 0:
                more += [f"--airflow-url={airflow.url}", f"--airflow-credentials-file={credentials}"]
            agent = Agent(Pod(folder / "root", store, channel), *more, tokens_file=tokens)
            agent.token = token
            stack.callback(agent.stop)
            agent.wait_until_ready()
            agents.append(agent)
        wait_for(lambda: airflow.asked["GET /api/v2/importErrors"] or None, "what there was before")
        urls = ",".join(agent.url for agent in agents)
        yield Fleet(repository, operator, agents, airflow, (f"--agents={urls}", f"--token-file={token_file}"))


def test_release_goes_live_step_by_step(fleet: Fleet) -> None:
    before = fleet.operator.run("log")["records"][0]["version"]
    version = fleet.commit(2)
    document = fleet.ship("--canary=1", "--batch=50%", "--pause=1s", "--min-dags=100%")
    assert fleet.versions() == [version] * 4
    steps = document["rollout"]["steps"]
    assert [step["targets"] for step in steps] == [["pod-0"], ["pod-0", "pod-1", "pod-2"]]
    assert all(step["held"] for step in steps)
    records = fleet.operator.run("log")["records"]
    assert [(one["action"], one["version"]) for one in records[:3]] == [
        ("promote", version),
        ("stage", before),
        ("stage", before),
    ]
    assert fleet.operator.run("rollback")["version"] == before, "the way back is to what was live before"


def test_release_with_an_import_error_stops_at_the_canary_and_undoes_itself(fleet: Fleet) -> None:
    before = fleet.versions()[0]
    fleet.airflow.breaks = True
    version = fleet.commit(2)
    document = fleet.ship("--canary=1", "--batch=50%", expect=1)
    assert document["error"]["code"] == "gate_failed"
    assert "ModuleNotFoundError: No module named 'pandsa'" in document["error"]["message"]
    assert fleet.versions() == [before] * 4
    assert version in fleet.history(0)
    assert not any(version in fleet.history(number) for number in (1, 2, 3)), "the others never served it"
    head = fleet.head()
    assert (head["action"], head["version"], head["bad"], head["candidate"]) == ("withdraw", before, [version], None)
    assert "pandsa" in head["reason"]
    assert "pandsa" in head["hold"]["reason"]
    fleet.operator.run("resume")
    assert fleet.operator.fail(3, "promote", version)["code"] == "bad_version"
    assert fleet.operator.run("promote", version, "--allow-bad")["bad"] == []


def test_command_that_does_not_agree_takes_it_back(fleet: Fleet) -> None:
    fleet.commit(2)
    document = fleet.ship("--canary=zone=b", '--gate-command=echo "$DAGFERRY_ROLLOUT_AGENTS is slow"; exit 3', expect=1)
    assert "ended with 3: pod-1,pod-3 is slow" in document["error"]["message"]
    assert len(set(fleet.versions())) == 1


def test_rollout_that_was_interrupted_is_resumed_or_aborted_by_anyone(fleet: Fleet) -> None:
    before = fleet.versions()[0]
    version = fleet.commit(2)
    interrupt(fleet, "--canary=1", "--pause=60s")
    assert fleet.versions() == [version, before, before, before]
    for agent in fleet.agents[1:]:
        wait_for(lambda agent=agent: agent.status()["candidate"]["state"] == "ready" or None, "the candidate")  # type: ignore[misc]
    third = fleet.commit(3)
    assert fleet.operator.fail(3, "promote", third)["code"] == "rollout_under_way"
    document = fleet.operator.run("rollout", "resume", *fleet.reach, "--batch=2")
    assert (document["version"], fleet.versions()) == (version, [version] * 4)
    steps = [step["targets"] for step in document["rollout"]["steps"]]
    assert steps == [["pod-0"], ["pod-0", "pod-1", "pod-2"]], "nobody knew whether the first one held"
    interrupt(fleet, "--canary=1", "--pause=60s")
    assert fleet.versions() == [third, version, version, version]
    document = fleet.operator.run("rollout", "abort", "--reason=not today", "--not-bad", "--no-hold")
    assert (document["version"], document["candidate"], document["bad"], document["hold"]) == (version, None, [], None)
    fleet.operator.run("notify", *fleet.reach)
    assert fleet.versions() == [version] * 4


def interrupt(fleet: Fleet, *arguments: str) -> None:
    """Begin to ship, and end that by ^C in the pause after the first step."""
    command = [*COMMANDS["dagferry"], "ship", "--no-lint", *fleet.reach, *arguments]
    process = subprocess.Popen(
        command,
        cwd=fleet.repository.path,
        env=environment(DAGFERRY_STORE=fleet.operator.store_url, **fleet.operator.options),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(lambda: fleet.agents[0].status()["candidate"] or None, "the first step")
    wait_for(lambda: fleet.agents[0].status()["candidate"]["state"] == "served" or None, "the canary")
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert (process.returncode, "dagferry rollout resume" in said) == (130, True), said


def test_rollback_in_the_middle_of_it_takes_back_what_is_going_live(fleet: Fleet) -> None:
    before = fleet.versions()[0]
    version = fleet.commit(2)
    interrupt(fleet, "--canary=50%", "--pause=60s")
    document = fleet.operator.run("rollback", "--reason=3 a.m.")
    assert (document["version"], document["bad"], document["candidate"]) == (before, [version], None)
    assert document["hold"]["reason"] == "3 a.m."
    fleet.operator.run("notify", *fleet.reach)
    assert fleet.versions() == [before] * 4


def test_hold_stops_it_before_the_next_step(fleet: Fleet) -> None:
    fleet.commit(2)
    interrupt(fleet, "--canary=1", "--pause=60s")
    fleet.operator.run("hold", "--reason=wait for Ada")
    assert fleet.operator.fail(3, "rollout", "resume", *fleet.reach)["code"] == "held"
    fleet.operator.run("resume")
    fleet.operator.run("rollout", "resume", *fleet.reach)


def test_pod_that_somebody_pinned_is_no_canary(fleet: Fleet) -> None:
    first, second = fleet.versions()[0], fleet.commit(2)
    fleet.ship()
    run("dagferry-agent", "activate", f"--root={fleet.agents[0].pod.root}", first, cwd=fleet.repository.path)
    third = fleet.commit(3)
    document = fleet.ship("--canary=1")
    assert [step["targets"] for step in document["rollout"]["steps"]] == [["pod-1"]]
    assert fleet.versions() == [third] * 4, "what was pinned is so until the channel names another tree"
    assert second != third


def test_agent_of_the_first_format_does_not_activate_a_canary(fleet: Fleet, tmp_path: Path) -> None:
    """Its reader knows no candidate: the record is critical about it, so that it keeps what it has and says so."""
    before = fleet.versions()[0]
    fleet.commit(2)
    interrupt(fleet, "--canary=1", "--pause=60s")
    pod = fleet.agents[0].pod
    old = Pod(tmp_path / "old" / "root", pod.store_url, pod.channel)
    old.root.parent.mkdir()
    program = (
        "import sys\n"
        "from dagferry_schemas import record\n"
        "record.HONOURED -= {'candidate', 'bad'}\n"
        "from dagferry_agent.cli import main\n"
        "sys.argv[0] = 'dagferry-agent'\n"
        "main()\n"
    )
    fleet.operator.run("rollback")
    fleet.operator.run("notify", *fleet.reach)
    old.pull()
    fleet.operator.run("resume")
    fleet.commit(3)
    interrupt(fleet, "--canary=1", "--pause=60s")
    command = [sys.executable, "-c", program, "pull", *old.options, "--agent-id=pod-0", "-o", "json"]
    done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)
    assert (done.returncode, json.loads(done.stdout)["error"]["code"]) == (1, "unknown_critical"), done.stderr
    assert run("dagferry-agent", "status", f"--root={old.root}", cwd=tmp_path).document["version"] == before


def test_steps_need_agents_that_answer(fleet: Fleet) -> None:
    fleet.commit(2)
    generation = fleet.head()["generation"]
    for arguments, code in (
        (("--canary=1",), "no_agents"),
        (("--canary=1", "--agents=http://127.0.0.1:9"), "not_converged"),
        (("--canary=zone=moon", *fleet.reach), "no_canary"),
        (("--canary=half", *fleet.reach), "usage"),
        (("--batch=1", *fleet.reach), "usage"),
    ):
        outcome = fleet.operator.outcome("ship", "--no-lint", *arguments, expect=4 if code == "not_converged" else 2)
        assert outcome.error["code"] == code
    assert fleet.head()["generation"] == generation
