"""What the manifests say is run: init containers, sidecars and the jobs, as written, with a directory for the bucket.
DAGs have to appear where Airflow is told to look."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests
import yaml

from tests.ci.manifests import CHARTED, PATCHED, TASK, Pod
from tests.ci.node import Node
from tests.ci.test_jobs import ACTION, GITLAB, jenkins_lines
from tests.e2e.harness import COMMANDS, PATIENCE, Operator, Repository, environment, new_token, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

CHANNEL = "prod"
BUNDLE = "shop"
DAG = "dags/daily.py"


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    """Somebody whose first version is live."""
    repository = Repository(tmp_path / "clone", config=f'[bundles.{BUNDLE}]\nroot = "dags"\n')
    repository.change({DAG: "NUMBER = 1\n"})
    found = Operator(repository.path, f"file://{tmp_path}/store").on(CHANNEL)
    found.ship()
    return found


def change(operator: Operator) -> None:
    """A second version is merged, and nothing more."""
    (operator.folder / DAG).write_text("NUMBER = 2\n")
    subprocess.run(
        ["git", "-c", "user.name=Ada", "-c", "user.email=ada@example.com", "commit", "--quiet", "--all", "-m", "two"],
        cwd=operator.folder,
        env=environment(),
        check=True,
    )


@pytest.fixture
def node(request: pytest.FixtureRequest, operator: Operator, tmp_path: Path) -> Iterator[Node]:
    pod: Pod = request.param
    found = Node(pod, tmp_path, str(operator.store_url))
    yield found
    found.stop()


# The other pods of the base and of the chart have the same containers (test_manifests.py).
served = [PATCHED[0], next(pod for pod in CHARTED if "dagferry" in pod.agents)]
tasks = [TASK, next(pod for pod in CHARTED if pod.labels["dagferry.agent"] == "pull")]


def with_pods(pods: list[Pod]) -> pytest.MarkDecorator:
    both = [(pod, pod) for pod in pods]
    return pytest.mark.parametrize(("node", "pod"), both, indirect=["node"], ids=[pod.name for pod in pods])


@with_pods([*served, *tasks])
def test_init_container_brings_the_dags_to_where_airflow_looks(node: Node, pod: Pod) -> None:
    (init,) = pod.spec["initContainers"]
    done = node.run(init)
    assert done.returncode == 0, done.stderr
    assert (node.dags / "daily.py").read_text() == "NUMBER = 1\n"


@with_pods(tasks)
def test_init_container_of_a_task_fails_where_there_is_no_store(node: Node, pod: Pod, operator: Operator) -> None:
    (init,) = pod.spec["initContainers"]
    nowhere = Node(pod, operator.folder.parent / "elsewhere", f"{operator.store_url}-that-is-away")
    done = nowhere.run(init)
    assert done.returncode == 4
    assert not nowhere.dags.exists()


@with_pods(served)
def test_sidecar_serves_what_ci_asks_for(node: Node, pod: Pod, operator: Operator, tmp_path: Path) -> None:
    (init,) = pod.spec["initContainers"]
    assert node.run(init).returncode == 0
    serving = pod.agents["dagferry"]
    token, entry = new_token()
    command = serving["command"]
    node.write(serving, command[command.index("--tokens-file") + 1], json.dumps([entry]))
    url = node.start(serving)
    for probe in ("livenessProbe", "readinessProbe"):
        path = serving[probe]["httpGet"]["path"]
        wait_for(lambda p=path: requests.get(url + p, timeout=PATIENCE).ok or None, path)  # type: ignore[misc]
    change(operator)
    (tmp_path / "token").write_text(token)
    operator.run("ship", f"--agents={url}", f"--token-file={tmp_path / 'token'}")
    assert (node.dags / "daily.py").read_text() == "NUMBER = 2\n"


@with_pods(served[:1])
def test_without_the_secret_nobody_may_ask_and_the_pod_is_ready(node: Node, pod: Pod) -> None:
    url = node.start(pod.agents["dagferry"])
    wait_for(lambda: requests.get(f"{url}/readyz", timeout=PATIENCE).ok or None, "a live release")
    assert requests.post(f"{url}/v1/pull", timeout=PATIENCE).status_code == 503


# --- the jobs


def github_script() -> str:
    """The action's last step: the first one installs what is installed here."""
    step = yaml.safe_load(ACTION.read_text(encoding="utf-8"))["runs"]["steps"][-1]
    assert step["name"] == "Ship"
    return str(step["run"])


def gitlab_script() -> str:
    return "\n".join(yaml.safe_load(GITLAB.read_text(encoding="utf-8"))["ship"]["script"])


def jenkins_script() -> str:
    return "\n".join(jenkins_lines()[0])


@pytest.fixture
def programs(tmp_path: Path) -> str:
    """A PATH that has our commands in front."""
    folder = tmp_path / "programs"
    folder.mkdir()
    for name, words in COMMANDS.items():
        (folder / name).write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
        (folder / name).chmod(0o755)
    return f"{folder}:{Path(sys.executable).parent}:{os.environ['PATH']}"


def variables(job: str, tmp_path: Path, token: str, url: str) -> dict[str, str]:
    """What the CI system sets: from its own, and from what the template's head asks for."""
    file = tmp_path / "the-token"
    file.write_text(token)
    if job == "github":
        return {
            "RUNNER_TEMP": str(tmp_path),
            "TOKEN": token,
            "REASON": "run 1",
            "AGENTS": url,
            "LINT_PYTHON": "",  # as a variable that nobody has set arrives
            "DAGFERRY_ON_HOLD": "fail",
            "DAGFERRY_TIMEOUT": "120",
            "DAGFERRY_CHANNEL": CHANNEL,
        }
    if job == "gitlab":
        found = yaml.safe_load(GITLAB.read_text(encoding="utf-8"))["ship"]["variables"]
        return {**found, "DAGFERRY_TOKEN_FILE": str(file), "CI_JOB_URL": "job 1", "AWS_TOKEN": "identity",
                "AWS_WEB_IDENTITY_TOKEN_FILE": str(tmp_path / "aws"), "CI_PROJECT_DIR": str(tmp_path / "clone"),
                "GIT_CONFIG_GLOBAL": str(tmp_path / "gitconfig")}  # fmt: skip
    return {"DAGFERRY_TOKEN_FILE": str(file), "BUILD_URL": "build 1", "DAGFERRY_AGENTS": url}


@pytest.mark.parametrize(
    ("job", "script"),
    [("github", github_script()), ("gitlab", gitlab_script()), ("jenkins", jenkins_script())],
    ids=["github", "gitlab", "jenkins"],
)
@pytest.mark.parametrize("node", served[:1], indirect=True, ids=["base"])
def test_a_green_job_means_that_the_pod_serves_it(
    job: str, script: str, node: Node, operator: Operator, programs: str, tmp_path: Path
) -> None:
    serving = served[0].agents["dagferry"]
    token, entry = new_token()
    node.write(serving, serving["command"][-1], json.dumps([entry]))
    url = node.start(serving)
    change(operator)
    told = variables(job, tmp_path, token, url)
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", script],
        cwd=operator.folder,
        env={
            **environment(**told),
            "PATH": programs,
            "DAGFERRY_STORE": str(operator.store_url),
            "DAGFERRY_AGENTS": url,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    assert (node.dags / "daily.py").read_text() == "NUMBER = 2\n"
    assert not (tmp_path / "token").exists()
    assert token not in done.stdout + done.stderr


def test_the_actions_step_ships_without_agents_and_without_a_token(
    operator: Operator, programs: str, tmp_path: Path
) -> None:
    change(operator)
    told = {**variables("github", tmp_path, "", ""), "PATH": programs}
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", github_script()],
        cwd=operator.folder,
        env={**environment(**told), "DAGFERRY_STORE": str(operator.store_url)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    assert operator.run("status")["generation"] == 2
