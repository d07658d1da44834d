"""A real Airflow in its own virtual environment, used as child processes that share nothing with the tests' Python."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import threading
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.e2e.harness import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterable

INSIDE = Path(__file__).with_name("inside.py")
BUNDLE = "dags-folder"  # what Airflow calls the bundle that it makes of [core] dags_folder
COMMAND_SECONDS = 120.0  # for what takes 3 to 7 s on two idle cores
SAMPLE_SECONDS = 0.05
SIGTERMS, SIGTERM_SECONDS = 4, 12.0  # it takes 5 to 10 s to end
STALE_SECONDS = 3  # a DAG is gone when its file was read this much later than the DAG was last found in it

# The examples' own timetable and weight rule; Airflow registers them by itself only together with its own copy of the
# example DAGs, and a DAG that uses an unregistered one is an import error.
EXAMPLES_PLUGINS = """\
from airflow.example_dags.plugins.decreasing_priority_weight_strategy import DecreasingPriorityWeightStrategyPlugin
from airflow.example_dags.plugins.workday import WorkdayTimetablePlugin
"""


@dataclass(frozen=True)
class Parsed:
    """What Airflow found in a folder. Errors are by path below the folder, and do not name the folder."""

    filelocs: dict[str, str]
    import_errors: dict[str, str]

    @property
    def dag_ids(self) -> frozenset[str]:
        """The ids of all DAGs."""
        return frozenset(self.filelocs)


@dataclass(frozen=True)
class Airflow:
    """An installation, and the home it runs with."""

    python: Path
    home: Path

    def parse(self, folder: Path) -> Parsed:
        """What Airflow finds in ``folder``, which is not resolved on the way."""
        return Parsed(**self._inside("parse", str(folder)))

    def examples(self) -> dict[str, tuple[Path, str]]:
        """The wheels' example DAG files: place and recorded sha256, by a path without collisions."""
        found = self._inside("examples")
        return {path: (Path(facts["place"]), facts["sha256"]) for path, facts in found.items()}

    def _inside(self, *command: str) -> dict[str, Any]:
        result = self.home / "result.json"
        result.unlink(missing_ok=True)
        name, *arguments = command
        self._run(str(INSIDE), name, str(result), *arguments)
        found: dict[str, Any] = json.loads(result.read_text())
        return found

    def migrate(self) -> None:
        """Make the metadata database."""
        self._run("-m", "airflow", "db", "migrate")

    def _run(self, *arguments: str) -> None:
        done = subprocess.run(
            [self.python, "-I", *arguments],
            cwd=self.home,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"{arguments}: {done.stdout.decode(errors='replace')}"

    def environment(self, **settings: object) -> dict[str, str]:
        """An environment with nothing of this machine's Airflow or Python; settings as ``section__key=value``."""
        wanted = {"core__load_examples": False, "usage_data_collection__enabled": False, **settings}
        found = {f"AIRFLOW__{name.upper()}": str(value) for name, value in wanted.items()}
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "AIRFLOW_HOME": str(self.home),
            **found,
        }


class Running:
    """A command of Airflow that runs until it is stopped, with a metadata database of its own in its home."""

    def __init__(self, airflow: Airflow, *command: str, **settings: object) -> None:
        airflow.home.mkdir(parents=True, exist_ok=True)
        airflow.migrate()
        self._database = airflow.home / "airflow.db"
        self._log = airflow.home / f"{command[0]}.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [airflow.python, "-I", "-m", "airflow", *command],
                cwd=airflow.home,
                env=airflow.environment(**settings),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def stop(self) -> None:
        """End it by SIGTERM, as a pod does.

        Airflow 3.3.2 forgets a SIGTERM that arrives while it forks (the exit that its handler raises is swallowed by
        Python's callback after a fork), now and then when it reads all the time; so it is asked again.
        """
        try:
            for _ in range(SIGTERMS):
                self._process.terminate()
                with suppress(subprocess.TimeoutExpired):
                    self._process.wait(SIGTERM_SECONDS)
                    return
            raise AssertionError(f"SIGTERM did not end Airflow: {self.last_words}")
        finally:
            self._process.kill()
            self._process.wait()

    @property
    def runs(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    @property
    def last_words(self) -> str:
        """The end of its log."""
        return self._log.read_text(errors="replace")[-4000:]

    def connect(self) -> sqlite3.Connection:
        """A connection to the metadata database that cannot write."""
        return sqlite3.connect(f"{self._database.as_uri()}?mode=ro", uri=True)


class DagProcessor(Running):
    """A running `airflow dag-processor` that reads ``folder``.

    It lists the files every second. One whose time has not changed is read again after ``reread_seconds``.
    """

    def __init__(self, installation: Airflow, home: Path, folder: Path, *, reread_seconds: int) -> None:
        plugins = home / "plugins"
        plugins.mkdir(parents=True)
        (plugins / "examples.py").write_text(EXAMPLES_PLUGINS)
        super().__init__(
            replace(installation, home=home),
            "dag-processor",
            core__dags_folder=folder,
            dag_processor__refresh_interval=1,
            dag_processor__bundle_refresh_check_interval=1,
            dag_processor__min_file_process_interval=reread_seconds,
            dag_processor__stale_dag_threshold=STALE_SECONDS,
            scheduler__parsing_cleanup_interval=1,
        )

    def active(self) -> dict[str, str]:
        """The DAGs that users see, which are those that are not stale: their files by id."""
        with closing(self.connect()) as database:
            return active_dags(database)

    def import_errors(self) -> dict[str, str]:
        """The import errors that users see."""
        with closing(self.connect()) as database:
            return dict(database.execute("SELECT filename, stacktrace FROM import_error"))

    def last_read(self, file: str) -> datetime:
        """When ``file``, by its path below the folder, was last read and found to have a DAG."""
        with closing(self.connect()) as database:
            question = "SELECT max(last_parsed_time) FROM dag WHERE relative_fileloc = ?"
            ((found,),) = database.execute(question, (file,))
        return datetime.fromisoformat(f"{found}+00:00")

    def read_since(self, moment: datetime) -> set[str]:
        """The DAGs, active or not, whose files were read since then."""
        with closing(self.connect()) as database:
            written = moment.strftime("%Y-%m-%d %H:%M:%S.%f")  # as SQLAlchemy writes a time in UTC
            rows = database.execute("SELECT dag_id FROM dag WHERE last_parsed_time > ?", (written,))
            return {dag_id for (dag_id,) in rows}

    def wait_until_all_is_read_since(self, moment: datetime, *, seconds: float) -> None:
        """Until the file of every active DAG was read since then."""

        def all_read() -> bool | None:
            return self.active().keys() <= self.read_since(moment) or None

        wait_for(all_read, "every DAG file to be read again", seconds=seconds)

    def wait_until_seen(self, dag_ids: Iterable[str], *, seconds: float) -> None:
        """Until users see exactly these DAGs and no import error."""
        wanted = set(dag_ids)

        def seen() -> bool | None:
            assert self.runs, "the dag-processor ended"
            return (self.active().keys() == wanted and not self.import_errors()) or None

        try:
            wait_for(seen, "Airflow to see the release", seconds=seconds)
        except AssertionError as error:
            found = self.active().keys()
            differ = f"not seen: {sorted(wanted - found)}; still seen: {sorted(found - wanted)}"
            raise AssertionError(f"{error}; {differ}; {self.import_errors()}; {self.last_words}") from None


def active_dags(database: sqlite3.Connection) -> dict[str, str]:
    """The files of the DAGs that are not stale, by id."""
    rows = database.execute("SELECT dag_id, fileloc FROM dag WHERE NOT is_stale AND bundle_name = ?", (BUNDLE,))
    return dict(rows)


class Watch:
    """Looks at the metadata database without a pause, and notes which of ``dag_ids`` were not active at any look."""

    def __init__(self, processor: DagProcessor, dag_ids: Iterable[str]) -> None:
        self._processor = processor
        self._dag_ids = frozenset(dag_ids)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self.lost: set[str] = set()
        self.looks = 0

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _look(self) -> None:
        with closing(self._processor.connect()) as database:
            while not self._done.wait(SAMPLE_SECONDS):
                self.lost |= self._dag_ids - active_dags(database).keys()
                self.looks += 1
