"""`dagferry-agent doctor` as a command in a pod: beside the agent that runs there, and as people see it."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from tests.e2e.harness import COMMANDS, Agent, Operator, Pod, Repository, environment, run

if TYPE_CHECKING:
    from pathlib import Path

QUIET = {"PYTHONPYCACHEPREFIX": None}


@pytest.fixture
def pod(tmp_path: Path) -> Pod:
    """A pod in which a release is live."""
    repository = Repository(tmp_path / "clone")
    repository.change({"dags/daily.py": "VERSION = 1\n"})
    store = (tmp_path / "store").as_uri()
    Operator(repository.path, store).on("prod").ship("HEAD", "--no-lint")
    pod = Pod(tmp_path / "root", store, "prod")
    pod.pull()
    return pod


def test_agent_that_runs_is_seen_and_left_alone(pod: Pod, tmp_path: Path) -> None:
    agent = Agent(pod)
    try:
        before = agent.status()
        listen = f"--listen={urlsplit(agent.url).netloc}"
        arguments = [*pod.options, listen, f"--dags-folder={pod.current}"]
        outcome = run("dagferry-agent", "doctor", *arguments, cwd=tmp_path, env=QUIET)
        checks = {one["name"]: one for one in outcome.document["checks"]}
        assert outcome.document["ok"] is True
        assert "it is taken to be its own" in checks["port"]["detail"]
        assert "an agent is active in it" in checks["root"]["detail"]
        after = agent.status()
        assert {**after, "disk": None, "last_check": None} == {**before, "disk": None, "last_check": None}
        assert agent.pull()["changed"] is False
        assert "WARNING" not in agent.log.replace("no --keyring", "")
    finally:
        agent.stop()


def test_what_people_see_says_what_failed_and_what_to_do(pod: Pod, tmp_path: Path) -> None:
    command = [*COMMANDS["dagferry-agent"], "doctor", *pod.options, "--listen=127.0.0.1:8793"]
    surroundings = environment(**QUIET, AIRFLOW__CORE__DAGS_FOLDER=str(pod.root))
    done = subprocess.run(command, cwd=tmp_path, env=surroundings, capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines()
    assert done.returncode == 1
    assert [line.split()[2].rstrip(":") for line in lines if line.startswith("NOT OK")] == ["dags_folder", "port"]
    assert f"set dags_folder to {pod.current}" in done.stdout
    assert "2 of the checks failed: dags_folder, port" in done.stderr
