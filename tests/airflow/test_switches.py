"""What Airflow sees while the agent switches release after release under it: 300 DAG files, Airflow 2.11 and 3.3.

Both versions read the same `current` at the same time, and see the same switches. The releases are those of a seeded
plan: one changed file in each, now and then a file more or less, or another helper module.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import pytest

from tests.airflow.real import Airflow
from tests.airflow.switching import (
    PYTHONS,
    Reader,
    Release,
    Witness,
    first_files,
    path_of,
    plan,
    switched_at,
    wait_until_quiet,
)
from tests.e2e.harness import BUNDLE, CHECKOUT, Operator, Pod, Repository, environment, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.airflow

FILES: Final = 300
SWITCHES: Final = 20
SEED: Final = 6
QUIET_SECONDS: Final = 5.0  # both versions look for changed files every second

Edit = tuple[str, str]
"""What one file of the agent has, and what a planted bug has in its place."""

EVERY_FILE_IS_WRITTEN: Final[Edit] = (
    "        if known != file or mark is None:\n            return False\n",
    "        return False\n",
)
AWAY: Final = "(self.path / CURRENT).unlink(); import time; time.sleep(5); "
THE_LINK_IS_AWAY_FOR_A_WHILE: Final[Edit] = (
    "            temporary.rename(self.path / CURRENT)\n",
    f"            {AWAY}temporary.rename(self.path / CURRENT)\n",
)


@dataclass
class Switch:
    """A switch to ``release``: when the link was made, and how long each Airflow took to see the changed DAG."""

    release: Release
    began: float
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass
class Journey:
    """A pod whose agent went from release to release, and what each Airflow saw of it."""

    operator: Operator
    repository: Repository
    pod: Pod
    witnesses: dict[str, Witness]
    switches: list[Switch] = field(default_factory=list)
    ended: float = 0.0

    def publish(self, release: Release, before: frozenset[str]) -> str:
        """Commit and publish what ``release`` changes; its version."""
        for dag_id in before - release.dag_ids:
            (self.repository.path / "dags" / path_of(dag_id)).unlink()
        self.repository.change({f"dags/{path}": text for path, text in release.edits().items()}, release.kind)
        return self.operator.publish("HEAD", "--no-lint")

    def go_to(self, release: Release, version: str, before: frozenset[str]) -> None:
        """Have the agent switch to ``release``, and wait until both Airflows see it."""
        for witness in self.witnesses.values():
            witness.kept = before & release.dag_ids
        self.operator.run("promote", version)
        reply = self.pod.pull()
        assert reply["version"] == version
        assert reply["files_written"] == len(release.edits())
        assert reply["changed"]
        switch = Switch(release, switched_at(self.pod.current))
        self.switches.append(switch)
        for name, witness in self.witnesses.items():
            switch.seconds[name] = round(witness.wait_until_seen(release) - switch.began, 2)


@contextmanager
def pod_and_readers(folder: Path, count: int) -> Iterator[Journey]:
    """A pod that serves the first release of ``count`` DAGs, and both Airflows, which have begun to read it."""
    repository = Repository(folder / "clone")
    store_url = (folder / "store").as_uri()
    operator = Operator(repository.path, store_url).on("prod")
    repository.change({f"dags/{path}": text for path, text in first_files(count).items()})
    operator.run("promote", operator.publish("HEAD", "--no-lint"))
    pod = Pod(folder / "pod", store_url, "prod")
    pod.pull()
    with ExitStack() as at_the_end:
        witnesses = {}
        for version, variable in PYTHONS.items():
            python = Path(os.environ.get(variable, ""))
            if not python.is_file():
                pytest.fail(f"no Airflow {version}: {variable} names no Python; run ci/test airflow", pytrace=False)
            reader = Reader(version, Airflow(python.absolute(), folder / version), pod.current)
            at_the_end.callback(reader.stop)
            witnesses[version] = Witness(reader, frozenset(f"shop_{number:04}" for number in range(count)))
        yield Journey(operator, repository, pod, witnesses)


@pytest.fixture(scope="module")
def journey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Journey]:
    """The agent has made all switches, and the Airflows still run."""
    with pod_and_readers(tmp_path_factory.mktemp("switches"), FILES) as found:
        releases = list(plan(FILES, SWITCHES, seed=SEED))
        first = next(iter(found.witnesses.values())).kept
        dag_ids = [first, *(release.dag_ids for release in releases)]
        # While Airflow reads the first release.
        versions = [found.publish(release, before) for before, release in zip(dag_ids, releases, strict=False)]
        for witness in found.witnesses.values():
            witness.wait_for_the_first_release()
        with ExitStack() as watching:
            for witness in found.witnesses.values():
                watching.enter_context(witness)
                wait_until_quiet(witness, QUIET_SECONDS, patience=60)
            for before, release, version in zip(dag_ids, releases, versions, strict=False):
                found.go_to(release, version, before)
            for witness in found.witnesses.values():
                witness.kept = releases[-1].dag_ids
                wait_until_quiet(witness, QUIET_SECONDS, patience=60)
        found.ended = time.time()
        yield found


@pytest.mark.parametrize("version", PYTHONS)
def test_no_dag_of_two_releases_is_ever_lost_and_no_import_fails(journey: Journey, version: str) -> None:
    seen = journey.witnesses[version].seen
    assert len(journey.switches) == SWITCHES
    assert seen.looks > 2 * SWITCHES
    assert seen.lost == set()
    assert seen.import_errors == set()


@pytest.mark.parametrize("version", PYTHONS)
def test_every_dag_of_the_last_release_is_there_and_no_other(journey: Journey, version: str) -> None:
    witness = journey.witnesses[version]
    assert witness.active == journey.switches[-1].release.dag_ids
    for switch in journey.switches:
        newer = {
            written
            for later in journey.switches
            if later.release.number > switch.release.number
            for written in later.release.written
        }
        for dag_id in switch.release.written & witness.active - newer:
            assert witness.reader.holds(dag_id, switch.release.marker, switch.release.word), dag_id


@pytest.mark.parametrize("version", PYTHONS)
def test_after_a_switch_airflow_reads_what_it_wrote_and_nothing_else(
    journey: Journey, version: str, record_property: Callable[[str, object], None]
) -> None:
    witness = journey.witnesses[version]
    ends = [*(switch.began for switch in journey.switches[1:]), journey.ended]
    for switch, ended in zip(journey.switches, ends, strict=True):
        read = witness.reads_before_due(switch.began, ended)
        assert read == sorted(switch.release.written), switch.release
    seconds = [switch.seconds[version] for switch in journey.switches]
    record_property("seconds from the link to serialized_dag, median", round(statistics.median(seconds), 2))
    record_property("seconds from the link to serialized_dag, longest", max(seconds))


@pytest.fixture
def pull_by_planted(journey: Journey, tmp_path: Path) -> Iterator[Callable[[Edit], float]]:
    """Has an agent with one edit switch to another release; when it began. The witnesses look on anew."""
    last = journey.switches[-1].release
    releases = list(plan(FILES, last.number + 1, seed=SEED))
    release = releases[-1]
    journey.operator.run("promote", journey.publish(release, last.dag_ids))
    # Whole: what is planted is in what makes a release of a tarball.
    shutil.rmtree(Path(urlsplit(str(journey.operator.store_url)).path) / BUNDLE / "deltas")
    with ExitStack() as watching:
        for version, witness in journey.witnesses.items():
            fresh = watching.enter_context(Witness(witness.reader, frozenset()))
            fresh.kept = fresh.first_look() & release.dag_ids
            journey.witnesses[version] = fresh

        def pull(edit: Edit) -> float:
            began = time.time()
            run_planted(journey.pod, edit, tmp_path / "source")
            journey.switches.append(Switch(release, began))
            return began

        yield pull


def run_planted(pod: Pod, edit: Edit, source: Path) -> None:
    """One pull of a copy of the agent that has one edit."""
    for component in ("schemas", "storage", "agent"):
        shutil.copytree(CHECKOUT / component, source / component, ignore=shutil.ignore_patterns("__pycache__", "build"))
    files = [file for file in (source / "agent").rglob("*.py") if edit[0] in file.read_text()]
    assert len(files) == 1, f"the agent has no longer {edit[0]!r}"
    files[0].write_text(files[0].read_text().replace(*edit))
    path = os.pathsep.join(str(folder) for folder in source.iterdir())
    done = subprocess.run(
        [sys.executable, "-c", "from dagferry_agent.cli import main; main()", "pull", *pod.options],
        cwd=source,
        env=environment(PYTHONPATH=path, PYTHONPYCACHEPREFIX=None, PYTHONDONTWRITEBYTECODE="1"),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("version", PYTHONS)
def test_planted_new_time_of_every_file_makes_airflow_read_files_that_did_not_change(
    journey: Journey, version: str, pull_by_planted: Callable[[Edit], float]
) -> None:
    began = pull_by_planted(EVERY_FILE_IS_WRITTEN)

    def more_than_was_written() -> bool | None:
        read = journey.witnesses[version].reads_before_due(began, time.time())
        return bool(set(read) - journey.switches[-1].release.written) or None

    wait_for(more_than_was_written, "Airflow to read what did not change")


@pytest.mark.parametrize("version", PYTHONS)
def test_planted_switch_that_takes_the_link_away_first_loses_dags(
    journey: Journey, version: str, pull_by_planted: Callable[[Edit], float]
) -> None:
    pull_by_planted(THE_LINK_IS_AWAY_FOR_A_WHILE)
    wait_for(lambda: journey.witnesses[version].seen.lost or None, "Airflow to lose a DAG")
