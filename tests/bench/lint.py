"""How long lint takes on a thousand DAG files, beside ruff alone and a plain DagBag in one process.

    python -m tests.bench.lint PYTHON [--files 1000] [--rounds 5]

PYTHON has the Airflow. All is measured as whole processes, interleaved in each round, so that the ratios hold on a
machine that is busy with something else; single figures do not. Cold: no result is known. Warm: nothing changed. One
changed: a comment was added to one DAG file. The import cost is that of an Airflow alone, with what a DagBag needs.
Kingfisher keeps its compiled rules beside our results; they are there in all rounds, as in a CI that keeps its cache.
Set TMPDIR to a file system in memory: on ext4 each new file takes up to 1 ms for as long as thousands of others, of the
round before, have just been removed, and that is not what is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.builder.repositories import Clone

if TYPE_CHECKING:
    from collections.abc import Callable

DAG: Final = '''\
"""Loads what shop {number} has sold."""

from datetime import datetime, timedelta

{imports}

DEFAULT_ARGS = {{"owner": "team_{team:02}", "retries": 2, "retry_delay": timedelta(minutes=5)}}

with DAG(
    "shop_{number:04}",
    schedule="{minute} 3 * * *",
    start_date=datetime(2025, 1, 1),
    catchup=False,
    default_args=DEFAULT_ARGS,
    tags=["shop", "team_{team:02}"],
) as dag:
    extract = BashOperator(task_id="extract", bash_command="extract --day {{{{ ds }}}} --shop {number}")
    load = BashOperator(task_id="load", bash_command="load --shop {number}")

    @task
    def transform(rows):
        return [row for row in rows if row]

    @task
    def check(rows):
        return len(rows) > 0

    extract >> check(transform([{number}])) >> load
'''
IMPORTS: Final = """\
try:
    from airflow.sdk import DAG, task
    from airflow.providers.standard.operators.bash import BashOperator
except ImportError:
    from airflow import DAG
    from airflow.decorators import task
    from airflow.operators.bash import BashOperator
"""
BAG: Final = """\
import sys
try:
    from airflow.dag_processing.dagbag import DagBag
    options = {}
except ImportError:
    from airflow.models.dagbag import DagBag
    options = {"include_examples": False}
if len(sys.argv) > 1:
    bag = DagBag(sys.argv[1], **options)
    assert len(bag.dags) == int(sys.argv[2]) and not bag.import_errors, bag.import_errors
"""
LINT: Final = "from dagferry_builder.cli import main; main()"


class Bench:
    """A repository of generated DAGs, and the commands that are timed on it."""

    def __init__(self, scratch: Path, python: str, files: int) -> None:
        self._python = python
        self._files = files
        self._cache = scratch / "cache"
        self._clone = Clone(scratch / "repository")
        generated = {f"dags/team_{number % 20:02}/shop_{number:04}.py": _source(number) for number in range(files)}
        self._clone.commit({"dagferry.toml": b'[bundles.shops]\nroot = "dags"\n', **generated})
        self._environment = {
            **os.environ,
            "AIRFLOW_HOME": str(scratch / "airflow"),
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        }
        # What is installed has bytecode, dagferry too; a fresh clone of DAGs has none, and a DagBag must leave none.
        self._environment.pop("PYTHONDONTWRITEBYTECODE", None)

    def import_alone(self) -> None:
        self._run(self._python, "-B", "-c", BAG)

    def bag(self) -> None:
        self._run(self._python, "-B", "-c", BAG, str(self._clone.folder / "dags"), str(self._files))

    def ruff(self) -> None:
        command = ["check", "--isolated", "--no-cache", "--select", "F821,F823", str(self._clone.folder / "dags")]
        self._run(sys.executable, "-m", "ruff", *command)

    def cold(self) -> None:
        for result in self._cache.glob("*.json.zst"):
            result.unlink()
        assert self._lint()["cached"] == 0

    def warm(self) -> None:
        assert self._lint()["cached"] == self._files

    def one_changed(self) -> None:
        assert self._lint()["cached"] == self._files - 1

    def change_one(self) -> None:
        path = "dags/team_00/shop_0000.py"
        before = (self._clone.folder / path).read_bytes()
        self._clone.commit({path: before + b"# once more\n"})

    def _lint(self) -> dict[str, int]:
        options = ["lint", "-o", "json", "--python", self._python, "--cache-dir", str(self._cache)]
        said = self._run(sys.executable, "-c", LINT, *options)
        result = json.loads(said)
        assert result["findings"] == [], result["findings"][:3]
        checked: dict[str, int] = result["checked"]
        assert checked["dags"] == self._files
        return checked

    def _run(self, *command: str) -> str:
        done = subprocess.run(
            command, cwd=self._clone.folder, env=self._environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        return done.stdout


def _source(number: int) -> bytes:
    return DAG.format(number=number, team=number % 20, minute=number % 60, imports=IMPORTS).encode()


def _seconds(action: Callable[[], None]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def main() -> None:
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("python", help="a Python that has an Airflow")
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    scratch = Path(tempfile.mkdtemp(prefix="dagferry-bench-"))
    try:
        bench = Bench(scratch, arguments.python, arguments.files)
        bench.cold()  # the first run of everything writes bytecode and compiled rules
        bench.bag()
        steps = {
            "an Airflow imported": bench.import_alone,
            "plain DagBag": bench.bag,
            "ruff alone": bench.ruff,
            "lint, cold": bench.cold,
            "lint, warm": bench.warm,
            "lint, one changed": bench.one_changed,
        }
        taken: dict[str, list[float]] = {name: [] for name in steps}
        for _ in range(arguments.rounds):
            for name, step in steps.items():
                if step == bench.one_changed:
                    bench.change_one()
                taken[name].append(_seconds(step))
        _print(taken, arguments.files)
    finally:
        shutil.rmtree(scratch)


def _print(taken: dict[str, list[float]], files: int) -> None:
    bag, alone = (taken[name] for name in ("plain DagBag", "an Airflow imported"))
    sys.stdout.write(f"{files} DAG files, {len(bag)} rounds; medians, and medians of the ratios in each round\n")
    for name, seconds in taken.items():
        to_bag = statistics.median(one / other for one, other in zip(seconds, bag, strict=True))
        to_import = statistics.median(one / other for one, other in zip(seconds, alone, strict=True))
        row = f"{name:22}{statistics.median(seconds):8.2f} s  (min {min(seconds):6.2f}, max {max(seconds):6.2f})"
        sys.stdout.write(f"{row}   x {to_bag:5.2f} of the DagBag   x {to_import:5.2f} of an import\n")


if __name__ == "__main__":
    main()
