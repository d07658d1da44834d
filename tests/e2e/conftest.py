from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

# The asserts of the harness are outside test modules; without this a failing one would not say what it saw.
pytest.register_assert_rewrite("tests.e2e.harness")

from tests.e2e.harness import Agent, Operator, Pod, Repository  # noqa: E402  after the registration
from tests.storage import servers  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def store_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An empty store for the whole run, of the kind in ``DAGFERRY_TEST_STORE``: file (the default), s3 or gs."""
    kind = os.environ.get("DAGFERRY_TEST_STORE", "file")
    if kind == "s3":
        with servers.s3() as endpoint:
            yield f"s3://{servers.BUCKET}/e2e?endpoint={endpoint}"
    elif kind == "gs":
        with servers.gcs():
            yield f"gs://{servers.BUCKET}/e2e"
    else:
        assert kind == "file", f"DAGFERRY_TEST_STORE={kind} is not a kind of store"
        yield (tmp_path_factory.mktemp("stores") / "store").as_uri()


@dataclass(frozen=True)
class Team:
    """A repository with three published commits, one after the other, and a branch that left after the first."""

    repository: Repository
    operator: Operator
    commits: tuple[str, str, str]
    first: str
    second: str
    third: str
    aside: str


@pytest.fixture(scope="session")
def team(store_url: str, tmp_path_factory: pytest.TempPathFactory) -> Team:
    """The commits and versions that most tests deliver, each on a channel of its own. Tests do not change it."""
    repository = Repository(tmp_path_factory.mktemp("team") / "clone")
    repository.write("dags/tool.sh", "#!/bin/sh\nexit 0\n", executable=True)
    repository.write("README.md", "Not below the root, so it is not delivered.\n")
    common = {
        "dags/common/__init__.py": "",
        "dags/common/names.py": "TEAM = 'etl'\n",
        "dags/data/größe.sql": "SELECT 1",
    }
    first = repository.change({"dags/daily.py": "VERSION = 1\n", **common}, "first")
    repository.git("tag", "v1.0")
    repository.git("checkout", "--quiet", "-b", "aside")
    aside = repository.change({"dags/daily.py": "VERSION = 'aside'\n"}, "aside")
    repository.git("checkout", "--quiet", "main")
    second = repository.change({"dags/daily.py": "VERSION = 2\n", "dags/hourly.py": "NEW = True\n"}, "second")
    (repository.path / "dags/hourly.py").unlink()
    third = repository.change({"dags/daily.py": "VERSION = 3\n"}, "third")
    operator = Operator(repository.path, store_url)
    versions = [operator.publish(commit) for commit in (first, second, third, aside)]
    return Team(repository, operator, (first, second, third), *versions)


@pytest.fixture
def channel(request: pytest.FixtureRequest) -> str:
    """A channel that no other test uses."""
    return re.sub(r"[^A-Za-z0-9]+", "-", request.node.name).strip("-")[-60:].strip("-")


@pytest.fixture
def operator(team: Team, channel: str) -> Operator:
    """Someone who moves this test's channel."""
    return team.operator.on(channel)


@pytest.fixture
def pod(tmp_path: Path, store_url: str, channel: str) -> Pod:
    """A pod with an empty disk that follows this test's channel."""
    return Pod(tmp_path / "pod", store_url, channel)


@pytest.fixture
def start(pod: Pod) -> Iterator[Callable[..., Agent]]:
    """Starts agents, by default on `pod`; ends those that still run."""
    agents: list[Agent] = []

    def start_agent(*arguments: str, on: Pod = pod, **settings: float | Path | None) -> Agent:
        agents.append(Agent(on, *arguments, **settings))  # type: ignore[arg-type]
        return agents[-1]

    yield start_agent
    for agent in agents:
        agent.stop()
