"""A run keeps the code that it began with, seen from a whole Airflow whose DAGs come by our bundle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pytest

from tests.airflow.standing import BUNDLE, Standing
from tests.e2e.harness import Operator, Repository, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.airflow.real import Airflow

pytestmark = pytest.mark.airflow

PROOF: Final = """\
import os
import time
from datetime import datetime
from pathlib import Path

from airflow.sdk import dag, task, get_current_context
from early import WORD

NOTES = Path({notes!r})


def note(task_name):
    import late

    run_id = get_current_context()["dag_run"].run_id
    with (NOTES / "said").open("a") as said:
        said.write(f"{{run_id}} {{task_name}} {{WORD}} {{late.WORD}} {{Path(__file__).parent.name}}\\n")
    return run_id


@dag(schedule=None, start_date=datetime(2026, 1, 1), tags=[WORD])
def proof():
    @task
    def first():
        run_id = note("first")
        while not (NOTES / f"go-{{run_id}}").exists():
            time.sleep(0.1)

    @task
    def second():
        note("second")

    first() >> second()


proof()
"""


@dataclass
class Story:
    """An Airflow, what it runs, and what its tasks said."""

    airflow: Standing
    repository: Repository
    operator: Operator
    notes: Path

    def ship(self, word: str) -> str:
        """Make a version whose code says ``word``, and what the channel says; its name."""
        files = {f"dags/{name}.py": f'WORD = "{word}"\n' for name in ("early", "late")}
        self.repository.change(files, word)
        version: str = self.operator.ship("HEAD", "--no-lint")["version"]
        return version

    def go(self, run_id: str) -> None:
        """Let the first task of a run end."""
        (self.notes / f"go-{run_id}").touch()

    def said(self, run_id: str) -> list[tuple[str, ...]]:
        """What the tasks of a run said: task, word at import, word imported in the task, folder."""
        path = self.notes / "said"
        lines = path.read_text().splitlines() if path.exists() else []
        return [tuple(line.split()[1:]) for line in lines if line.split()[0] == run_id]

    def wait_until_said(self, run_id: str, count: int) -> None:
        """Wait until the tasks of a run have said so many things."""
        self_said = lambda: len(self.said(run_id)) >= count or None  # noqa: E731
        wait_for(self_said, f"{run_id} to say {count} things", seconds=120)


@pytest.fixture(scope="module")
def story(airflow: Airflow, site: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("bundle")
    notes = folder / "notes"
    notes.mkdir()
    repository = Repository(folder / "clone")
    repository.change({"dags/proof.py": PROOF.format(notes=str(notes))})
    operator = Operator(repository.path, (folder / "store").as_uri()).on("prod")
    (bundle,) = operator.run("airflow-config", "--refresh-seconds", "2")["bundles"]
    standing = Standing(airflow.python, folder / "home", site, bundle["kwargs"])
    story = Story(standing, repository, operator, notes)
    try:
        yield story
    finally:
        standing.stop()


def test_a_run_keeps_the_code_it_began_with(story: Story) -> None:
    airflow = story.airflow
    one = story.ship("one")
    airflow.start()
    airflow.wait_for_dag("proof", one)
    airflow.trigger("proof", "a")
    story.wait_until_said("a", 1)
    two = story.ship("two")
    airflow.wait_for_dag("proof", two)
    airflow.trigger("proof", "b")
    story.wait_until_said("b", 1)
    for run_id in ("a", "b"):
        story.go(run_id)
        airflow.wait_for_run(run_id)
    assert story.said("a") == [(task, "one", "one", one) for task in ("first", "second")]
    assert story.said("b") == [(task, "two", "two", two) for task in ("first", "second")]
    assert (airflow.version_of_run("a"), airflow.version_of_run("b")) == (one, two)
    airflow.clear("proof", "a")
    story.wait_until_said("a", 4)
    airflow.wait_for_run("a")
    assert {words[1:] for words in story.said("a")} == {("one", "one", one)}


def test_a_rollback_right_after_a_promotion_reaches_new_runs_and_leaves_others_alone(story: Story) -> None:
    airflow = story.airflow
    three = story.ship("three")
    airflow.wait_for_dag("proof", three)
    airflow.trigger("proof", "c")
    story.wait_until_said("c", 1)
    rolled = story.operator.run("rollback", "--reason", "three is bad")
    back = rolled["version"]
    airflow.wait_for_dag("proof", back)  # long before files are read again that have not changed
    airflow.trigger("proof", "d")
    story.wait_until_said("d", 1)
    for run_id in ("c", "d"):
        story.go(run_id)
        airflow.wait_for_run(run_id)
    assert {words[1:] for words in story.said("c")} == {("three", "three", three)}
    assert {words[1:] for words in story.said("d")} == {("two", "two", back)}
    # What Airflow shows comes to it too, although it takes no second change of a DAG within half a minute.
    wait_for(lambda: airflow.shows("proof", "two") or None, "the DAG to be shown as it was", seconds=120)


def test_a_store_that_is_away_stops_nothing_that_is_there(story: Story) -> None:
    airflow = story.airflow
    store = story.repository.path.parent / "store"
    store.rename(store.with_name("away"))
    try:
        airflow.stop("dag-processor")
        airflow.start("dag-processor")
        airflow.trigger("proof", "e")
        story.go("e")
        airflow.wait_for_run("e")
        wait_for(
            lambda: "stays at version" in airflow.log("dag-processor") or None, "the log to say why nothing is new"
        )
        airflow.check_all_run()
    finally:
        store.with_name("away").rename(store)
    story.operator.run("resume", "--reason", "mended")
    five = story.ship("five")
    airflow.wait_for_dag("proof", five)
    assert airflow.rows("SELECT * FROM import_error") == []
    assert (airflow.versions / five).is_dir()


def test_a_new_pod_without_the_version_waits_for_the_store_and_says_why(story: Story, tmp_path: Path) -> None:
    airflow = story.airflow
    six = story.ship("six")
    airflow.wait_for_dag("proof", six)
    store = story.repository.path.parent / "store"
    store.rename(store.with_name("away"))
    try:
        airflow.stop("scheduler")
        airflow.settings = {"dag_processor__dag_bundle_storage_path": tmp_path / "disk"}
        airflow.start("scheduler")  # which runs the tasks
        airflow.trigger("proof", "f")
        why = f"version {six} of {BUNDLE} is not to be had yet"
        wait_for(lambda: why in airflow.task_logs("f") or None, "the task to say why it waits", seconds=120)
        assert airflow.rows("SELECT state FROM dag_run WHERE run_id = 'f'") == [("running",)]
        assert story.said("f") == []
    finally:
        store.with_name("away").rename(store)
    story.go("f")
    airflow.wait_for_run("f")
    assert story.said("f") == [(task, "six", "six", six) for task in ("first", "second")]
