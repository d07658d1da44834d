"""What a change of one DAG file costs Airflow: delivered by the agent, and as a fresh checkout behind a link.

    python -m tests.bench.switch_airflow [--files 300] [--changes 5]

DAGFERRY_AIRFLOW_PYTHON and DAGFERRY_AIRFLOW2_PYTHON name the Pythons that have Airflow 3.3 and 2.11. The fresh checkout
is what git-sync makes: a worktree of the commit, in which every file is as old as the checkout, and one rename of a
link. Each way has an Airflow of its own, with the same settings; both deliver the same commits, one after the other in
each round, and the next switch waits until no file was read for some seconds. Counted are the readings in the metadata
database (``dag.last_parsed_time``) after the switch; timed is from the link's own time to the first look, ten a second,
at which ``serialized_dag`` holds the changed DAG. `min_file_process_interval` is an hour, so that nothing is read
because it is due, and `min_serialized_dag_update_interval` is 0. The machine is idle.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.airflow.real import Airflow
from tests.airflow.switching import (
    PYTHONS,
    Reader,
    Release,
    Witness,
    first_files,
    switched_at,
    wait_until_quiet,
)
from tests.e2e.harness import Operator, Pod, Repository

if TYPE_CHECKING:
    from collections.abc import Callable

AN_HOUR: Final = 3600
QUIET_SECONDS: Final = 4.0
PATIENCE: Final = 900.0


class Agent:
    """The commit is published and promoted, and the agent pulls it."""

    name: Final = "dagferry-agent"

    def __init__(self, folder: Path, operator: Operator) -> None:
        self._operator = operator
        self._pod = Pod(folder / "pod", str(operator.store_url), "prod")
        self.link = self._pod.current
        self.dags = self.link

    def deliver(self, _number: int) -> None:
        """Switch to the newest commit."""
        self._operator.run("promote", self._operator.publish("HEAD", "--no-lint"))
        self._pod.pull()


class Checkout:
    """The commit is checked out afresh, and a link renamed."""

    name: Final = "fresh checkout"

    def __init__(self, folder: Path, repository: Repository) -> None:
        self._repository = repository
        self._folder = folder / "checkouts"
        self._folder.mkdir()
        self.link = self._folder / "current"
        self.dags = self.link / "dags"

    def deliver(self, number: int) -> None:
        """Switch to the newest commit."""
        self._repository.git("worktree", "add", "--quiet", "--detach", str(self._folder / str(number)), "HEAD")
        temporary = self._folder / "next"
        temporary.symlink_to(str(number))
        temporary.rename(self.link)


@dataclass(frozen=True)
class Cost:
    """What one change came to."""

    read: int
    seconds: float
    until_quiet: float


def _measure(way: Agent | Checkout, witness: Witness, release: Release) -> Cost:
    way.deliver(release.number)
    began = switched_at(way.link)
    seen = witness.wait_until_seen(release) - began
    wait_until_quiet(witness, QUIET_SECONDS, patience=PATIENCE)
    read = [moment.timestamp() for moments in witness.seen.reads.values() for moment in moments]
    after = [moment - began for moment in read if moment > began]
    return Cost(len(after), seen, max(after))


def _rounds(version: str, folder: Path, files: int, changes: int) -> dict[str, list[Cost]]:
    """The costs of each way with one version of Airflow."""
    dag_ids = frozenset(f"shop_{number:04}" for number in range(files))
    repository = Repository(folder / "clone")
    repository.change({f"dags/{path}": text for path, text in first_files(files).items()})
    operator = Operator(repository.path, (folder / "store").as_uri()).on("prod")
    ways: tuple[Agent | Checkout, ...] = (Agent(folder, operator), Checkout(folder, repository))
    found: dict[str, list[Cost]] = {way.name: [] for way in ways}
    with ExitStack() as at_the_end:
        witnesses = []
        for way in ways:
            way.deliver(0)
            python = Path(os.environ[PYTHONS[version]]).absolute()
            reader = Reader(version, Airflow(python, folder / way.name), way.dags, reread_seconds=AN_HOUR)
            at_the_end.callback(reader.stop)
            witnesses.append(Witness(reader, dag_ids))
        for witness in witnesses:
            witness.wait_for_the_first_release()
            at_the_end.enter_context(witness)
            wait_until_quiet(witness, QUIET_SECONDS, patience=PATIENCE)
        for number, changed in enumerate(random.Random(3).sample(sorted(dag_ids), changes), start=1):
            release = Release(number, dag_ids, changed, None, None, "word-0.", helper_changed=False)
            repository.change({f"dags/{path}": text for path, text in release.edits().items()})
            for way, witness in zip(ways, witnesses, strict=True):
                found[way.name].append(_measure(way, witness, release))
    return found


def _print(version: str, costs: dict[str, list[Cost]]) -> None:
    figures: dict[str, Callable[[Cost], float]] = {
        "files read": lambda cost: cost.read,
        "s until the changed one is seen": lambda cost: cost.seconds,
        "s until the last is read": lambda cost: cost.until_quiet,
    }
    for way, measured in costs.items():
        sys.stdout.write(f"Airflow {version}, {way}, {len(measured)} changes\n")
        for what, figure in figures.items():
            values = [figure(cost) for cost in measured]
            low, middle, high = min(values), statistics.median(values), max(values)
            sys.stdout.write(f"  {middle:8.1f}  {what}  (min {low:.1f}, max {high:.1f})\n")
    sys.stdout.flush()


def main() -> None:
    """Measure both versions, one after the other, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=300)
    parser.add_argument("--changes", type=int, default=5)
    arguments = parser.parse_args()
    for version, variable in PYTHONS.items():
        if not Path(os.environ.get(variable, "")).is_file():
            parser.error(f"{variable} names no Python with Airflow {version}; ci/airflow-env makes one")
    began = time.monotonic()
    for version in PYTHONS:
        scratch = Path(tempfile.mkdtemp(prefix="dagferry-bench-"))
        try:
            _print(version, _rounds(version, scratch, arguments.files, arguments.changes))
        finally:
            shutil.rmtree(scratch)
    sys.stdout.write(f"{arguments.files} DAG files; {time.monotonic() - began:.0f} s in all\n")


if __name__ == "__main__":
    main()
