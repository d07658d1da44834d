"""The main job on real input: example DAGs of Airflow's own wheel, from a git repository to an Airflow that reads them.

The Python that runs these tests has no Airflow; DAGFERRY_AIRFLOW_PYTHON names one that has (see ci/airflow-env).
"""

from __future__ import annotations

import hashlib
import re
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING

import pytest

from tests.airflow.real import STALE_SECONDS, Airflow, DagProcessor, Parsed, Watch
from tests.e2e.harness import Agent, Content, Operator, Pod, Repository, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.airflow

SWITCH_SECONDS = 60.0  # for what takes a few; a bound on waiting, not a promise
FIRST_READ_SECONDS = 180.0  # all files of the first release are read once
AN_HOUR = 3600

RENAMED = "example_simplest_dag"
REMOVED = "tutorial_dag"
ADDED_DAG = """\
from airflow.sdk import DAG, task
from shared_names import ADDED

with DAG(ADDED):
    task(lambda: None, task_id="nothing")()
"""


@dataclass(frozen=True)
class Release:
    """One published commit: the files of its DAG folder, and what Airflow finds in a checkout of it."""

    version: str
    content: Content
    parsed: Parsed


@dataclass(frozen=True)
class Team:
    """A repository of the example DAGs, with two published releases."""

    operator: Operator
    store_url: str
    first: Release
    second: Release


@dataclass(frozen=True)
class Delivery:
    """One pod on a channel of its own, and the operator who moves the channel."""

    operator: Operator
    pod: Pod
    agent: Agent

    def promote(self, release: Release) -> datetime:
        """Make ``release`` live on the channel, and have the agent pull it; when the agent was asked."""
        return self._pull(self.operator.run("promote", release.version), release)

    def roll_back_to(self, release: Release) -> datetime:
        """Take the channel back by one, which has to be ``release``, and have the agent pull it."""
        return self._pull(self.operator.run("rollback"), release)

    def switches(self, team: Team) -> list[tuple[str, Callable[[Release], datetime], Release]]:
        """What happens to a pod that serves the first release."""
        return [("second version", self.promote, team.second), ("rollback", self.roll_back_to, team.first)]

    def _pull(self, moved: dict[str, object], release: Release) -> datetime:
        assert moved["version"] == release.version
        asked = datetime.now(timezone.utc)
        reply = self.agent.pull(expect_generation=moved["generation"], wait_seconds=15)
        assert reply["version"] == release.version
        return asked


@pytest.fixture(scope="module")
def team(airflow: Airflow, tmp_path_factory: pytest.TempPathFactory) -> Team:
    """Version v1.0.0 is the examples as they are; the commit after it adds, renames and removes a DAG."""
    folder = tmp_path_factory.mktemp("team")
    store_url = (folder / "store").as_uri()
    repository = Repository(folder / "clone", config="")
    operator = Operator(repository.path, store_url)

    for path, (executable, content) in wheel_content(airflow).items():
        repository.write(f"dags/{path}", content, executable=executable)
    operator.run("init", "--bundle", "etl")
    repository.commit("the examples of the wheel")
    repository.git("tag", "v1.0.0")
    first = publish(airflow, repository, operator, folder / "first")

    simplest = repository.path / f"dags/core/{RENAMED}.py"
    simplest.write_text(simplest.read_text().replace(RENAMED, "renamed"))
    (repository.path / f"dags/core/{REMOVED}.py").unlink()
    repository.change({"dags/shared_names.py": 'ADDED = "added"\n', "dags/added_dag.py": ADDED_DAG})
    second = publish(airflow, repository, operator, folder / "second")
    return Team(operator, store_url, first, second)


def wheel_content(airflow: Airflow) -> Content:
    """The example DAG files as they are installed."""
    places = {path: place for path, (place, _) in airflow.examples().items()}
    return {path: (bool(place.stat().st_mode & 0o111), place.read_bytes()) for path, place in places.items()}


def publish(airflow: Airflow, repository: Repository, operator: Operator, checkout: Path) -> Release:
    """Publish the newest commit, and let Airflow read a checkout of it."""
    repository.git("worktree", "add", "--quiet", "--detach", str(checkout), "HEAD")
    return Release(operator.publish(), repository.content(), airflow.parse(checkout / "dags"))


@pytest.fixture
def delivery(team: Team, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Delivery]:
    """A pod with an empty disk and a running agent that pulls only when it is asked."""
    channel = re.sub(r"[^A-Za-z0-9]+", "-", request.node.name).strip("-")[-60:].strip("-")
    pod = Pod(tmp_path / "pod", team.store_url, channel)
    agent = Agent(pod)
    yield Delivery(team.operator.on(channel), pod, agent)
    assert agent.stop() == 0


@pytest.fixture
def start_dag_processor(
    airflow: Airflow, team: Team, delivery: Delivery, tmp_path: Path
) -> Iterator[Callable[[int], DagProcessor]]:
    """Starts a dag-processor on what the agent delivers, which is the first release, and waits until it is seen."""
    with ExitStack() as at_the_end:

        def start(reread_seconds: int) -> DagProcessor:
            delivery.promote(team.first)
            home = tmp_path / "airflow"
            processor = DagProcessor(airflow, home, delivery.pod.current, reread_seconds=reread_seconds)
            at_the_end.callback(processor.stop)
            processor.wait_until_seen(team.first.parsed.dag_ids, seconds=FIRST_READ_SECONDS)
            return processor

        yield start


def test_example_dags_of_the_wheel_are_delivered_unchanged(airflow: Airflow, team: Team, delivery: Delivery) -> None:
    delivery.promote(team.first)

    live = delivery.pod.live()
    assert team.first.version.startswith("v1.0.0-0-g")
    assert live == wheel_content(airflow)
    recorded = {path: digest for path, (_, digest) in airflow.examples().items()}
    assert {path: hashlib.sha256(content).hexdigest() for path, (_, content) in live.items()} == recorded

    found = airflow.parse(delivery.pod.current)
    assert len(team.first.parsed.dag_ids) > 20
    assert found.dag_ids == team.first.parsed.dag_ids
    assert found.import_errors == team.first.parsed.import_errors


def test_a_second_version_is_parsed_after_the_switch(airflow: Airflow, team: Team, delivery: Delivery) -> None:
    before, after = team.first.parsed.dag_ids, team.second.parsed.dag_ids
    assert before - after == {RENAMED, REMOVED}
    assert after - before == {"renamed", "added"}
    delivery.promote(team.first)
    assert airflow.parse(delivery.pod.current).dag_ids == before

    delivery.promote(team.second)

    assert delivery.pod.live() == team.second.content
    found = airflow.parse(delivery.pod.current)
    assert found.dag_ids == after
    assert found.import_errors == team.second.parsed.import_errors
    assert outside(delivery.pod.current, found.filelocs.values()) == []


def test_after_the_rollback_airflow_sees_the_first_version_again(
    airflow: Airflow, team: Team, delivery: Delivery
) -> None:
    delivery.promote(team.first)
    delivery.promote(team.second)
    assert airflow.parse(delivery.pod.current).dag_ids == team.second.parsed.dag_ids

    delivery.roll_back_to(team.first)

    assert delivery.pod.live() == team.first.content
    found = airflow.parse(delivery.pod.current)
    assert found.dag_ids == team.first.parsed.dag_ids
    assert found.import_errors == team.first.parsed.import_errors


def test_a_real_dag_processor_follows_two_switches_without_losing_a_dag(
    team: Team,
    delivery: Delivery,
    start_dag_processor: Callable[[int], DagProcessor],
    record_property: Callable[[str, object], None],
) -> None:
    processor = start_dag_processor(STALE_SECONDS + 2)
    with Watch(processor, team.first.parsed.dag_ids & team.second.parsed.dag_ids) as watch:
        for switch, move, release in delivery.switches(team):
            asked = move(release)
            processor.wait_until_seen(release.parsed.dag_ids, seconds=SWITCH_SECONDS)
            record_property(f"seconds from pull to seen, {switch}", seconds_since(asked))
            processor.wait_until_all_is_read_since(asked, seconds=SWITCH_SECONDS)
            assert processor.active().keys() == release.parsed.dag_ids
            assert processor.import_errors() == {}
    assert watch.looks > 0
    assert watch.lost == set()
    assert outside(delivery.pod.current, processor.active().values()) == []


def test_a_dag_processor_that_goes_by_file_times_reads_what_changed_and_nothing_else(
    team: Team,
    delivery: Delivery,
    start_dag_processor: Callable[[int], DagProcessor],
    record_property: Callable[[str, object], None],
) -> None:
    processor = start_dag_processor(AN_HOUR)
    started = datetime.now(timezone.utc)
    for switch, move, release in delivery.switches(team):
        wait_until_a_rename_would_be_noticed(processor)
        asked = move(release)
        processor.wait_until_seen(release.parsed.dag_ids, seconds=SWITCH_SECONDS)
        record_property(f"seconds from pull to seen, {switch}", seconds_since(asked))
    assert processor.read_since(started) == team.first.parsed.dag_ids ^ team.second.parsed.dag_ids


def wait_until_a_rename_would_be_noticed(processor: DagProcessor) -> None:
    """Airflow takes an id for gone only if its file is read again, some seconds after it was last found there."""

    def long_ago() -> bool | None:
        return seconds_since(processor.last_read(f"core/{RENAMED}.py")) > STALE_SECONDS or None

    wait_for(long_ago, "the last reading of a file to be some seconds old")


def seconds_since(moment: datetime) -> float:
    """Rounded for people."""
    return round((datetime.now(timezone.utc) - moment).total_seconds(), 1)


def outside(folder: Path, places: Iterable[str]) -> list[str]:
    """The places that Airflow does not reach by ``folder``; a DAG whose place changes is another DAG to Airflow."""
    return [place for place in places if not place.startswith(f"{folder}/")]
