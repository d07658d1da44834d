"""A folder of many DAG files that changes from release to release, and Airflows that say what they saw of it.

* Every release is planned from a seed: one file changes in each; some add a DAG file, remove one, or change the module
  that all of them import.
* What Airflow saw is read from its metadata database and nowhere else: which DAGs are active, the import errors, when
  each DAG's file was last read (``dag.last_parsed_time``), and what is in ``serialized_dag``.
* `min_file_process_interval` is as in a large installation, so a file that was read again before it was due was read
  because of its time.
"""

from __future__ import annotations

import random
import threading
import time
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Final

from tests.airflow.real import Airflow, Running
from tests.e2e.harness import wait_for

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from pathlib import Path

HELPER: Final = "shop_words.py"
FOLDERS: Final = 20
REREAD_SECONDS: Final = 300  # min_file_process_interval
LIST_SECONDS: Final = 1  # how often files are looked for; 300 by default, and then added and removed files take as long
LOOK_SECONDS: Final = 0.1
FIRST_READ_SECONDS: Final = 300.0
SEEN_SECONDS: Final = 120.0  # for what takes a few; a bound on waiting, not a promise
PYTHONS: Final = {"2.11": "DAGFERRY_AIRFLOW2_PYTHON", "3.3": "DAGFERRY_AIRFLOW_PYTHON"}

DAG_FILE: Final = """\
from airflow import DAG
from shop_words import WORD

dag = DAG("{dag_id}", schedule=None, tags=["{marker}", WORD])
"""
HELPER_FILE: Final = 'WORD = "{word}"\n'


@dataclass(frozen=True)
class Release:
    """One release: its DAGs, what it changed, and the words that tell it from others."""

    number: int
    dag_ids: frozenset[str]
    changed: str
    added: str | None
    removed: str | None
    word: str
    helper_changed: bool

    @property
    def marker(self) -> str:
        """The tag that the files which this release wrote have."""
        return f"release-{self.number}."

    @property
    def written(self) -> frozenset[str]:
        """The DAGs whose files this release wrote."""
        return frozenset(filter(None, (self.changed, self.added)))

    def edits(self) -> dict[str, str]:
        """The files that differ from the release before, by path."""
        found = {path_of(dag_id): dag_file(dag_id, self.marker) for dag_id in self.written}
        return found | ({HELPER: HELPER_FILE.format(word=self.word)} if self.helper_changed else {})

    @property
    def kind(self) -> str:
        """What it does, for people."""
        also = {"a file added": self.added, "a file removed": self.removed, "the helper changed": self.helper_changed}
        return ", ".join(["one file changed", *(words for words, wanted in also.items() if wanted)])


def path_of(dag_id: str) -> str:
    """Where the file of a DAG is."""
    return f"team_{int(dag_id[-4:]) % FOLDERS:02}/{dag_id}.py"


def dag_file(dag_id: str, marker: str) -> str:
    """A file with one DAG."""
    return DAG_FILE.format(dag_id=dag_id, marker=marker)


def first_files(count: int) -> dict[str, str]:
    """The files of the first release, by path."""
    dag_ids = [f"shop_{number:04}" for number in range(count)]
    return {path_of(dag_id): dag_file(dag_id, "release-0.") for dag_id in dag_ids} | {
        HELPER: HELPER_FILE.format(word="word-0.")
    }


def plan(count: int, releases: int, *, seed: int) -> Iterator[Release]:
    """The releases after the first one, which has ``count`` DAGs: in turn all that a release may do."""
    source = random.Random(seed)
    dag_ids = {f"shop_{number:04}" for number in range(count)}
    word = "word-0."
    for number in range(1, releases + 1):
        changed, other = source.sample(sorted(dag_ids), 2)
        added = f"shop_{count + number:04}" if number % 5 in (1, 4) else None
        removed = other if number % 5 in (2, 4) else None
        helper_changed = number % 5 == 3
        word = f"word-{number}." if helper_changed else word
        dag_ids = (dag_ids - {removed} if removed else dag_ids) | ({added} if added else set())
        yield Release(number, frozenset(dag_ids), changed, added, removed, word, helper_changed)


class Reader(Running):
    """An Airflow of either version that reads ``folder``.

    Airflow 2.11 refuses a standalone dag-processor on SQLite, so there its scheduler starts the processor, and has it
    read one file in each of its own rounds, of which it makes as many as it can.
    """

    def __init__(
        self,
        version: str,
        airflow: Airflow,
        folder: Path,
        *,
        reread_seconds: int = REREAD_SECONDS,
        too_soon_seconds: int = 0,
    ) -> None:
        self.version = version
        self._active = "is_active" if version == "2.11" else "NOT is_stale"
        if version == "2.11":
            super().__init__(
                airflow,
                "scheduler",
                "--skip-serve-logs",
                core__dags_folder=folder,
                core__min_serialized_dag_update_interval=too_soon_seconds,
                scheduler__min_file_process_interval=reread_seconds,
                scheduler__dag_dir_list_interval=LIST_SECONDS,
                scheduler__scheduler_idle_sleep_time=0.05,
            )
        else:
            super().__init__(
                airflow,
                "dag-processor",
                core__dags_folder=folder,
                core__min_serialized_dag_update_interval=too_soon_seconds,
                dag_processor__min_file_process_interval=reread_seconds,
                dag_processor__refresh_interval=LIST_SECONDS,
                dag_processor__bundle_refresh_check_interval=LIST_SECONDS,
            )

    def dags(self, database: sqlite3.Connection) -> dict[str, tuple[bool, datetime]]:
        """Each DAG that the database knows: whether it is active, and when its file was last read."""
        rows = database.execute(f"SELECT dag_id, {self._active}, last_parsed_time FROM dag")
        return {dag_id: (bool(active), _moment(read)) for dag_id, active, read in rows if read}

    def shows(self, dag_id: str, word: str) -> bool:
        """Whether the newest serialized form of the DAG has that word."""
        question = "SELECT data FROM serialized_dag WHERE dag_id = ? ORDER BY last_updated DESC LIMIT 1"
        with closing(self.connect()) as database:
            return any(f'"{word}"' in str(data) for (data,) in database.execute(question, (dag_id,)))

    def holds(self, dag_id: str, *words: str) -> bool:
        """Whether the serialized DAG has all of ``words``."""
        having = " AND ".join(["data LIKE ?"] * len(words))
        with closing(self.connect()) as database:
            question = f"SELECT count(*) FROM serialized_dag WHERE dag_id = ? AND {having}"
            ((found,),) = database.execute(question, (dag_id, *(f'%"{word}"%' for word in words)))
        return bool(found)


def _moment(written: str) -> datetime:
    return datetime.fromisoformat(written).replace(tzinfo=timezone.utc)


@dataclass
class Seen:
    """What was seen at all looks together."""

    looks: int = 0
    lost: set[str] = field(default_factory=set)
    import_errors: set[str] = field(default_factory=set)
    reads: dict[str, list[datetime]] = field(default_factory=dict)


class Witness:
    """Looks at a reader's database several times a second, from the moment at which all of ``dag_ids`` are active."""

    def __init__(self, reader: Reader, dag_ids: frozenset[str]) -> None:
        self.reader = reader
        self.seen = Seen()
        self.kept = dag_ids  # that must be active at every look; set anew before each switch
        self._active: frozenset[str] = frozenset()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def wait_for_the_first_release(self) -> None:
        """Until all DAGs were read once."""

        def all_active() -> bool | None:
            assert self.reader.runs, f"Airflow {self.reader.version} ended: {self.reader.last_words}"
            self._look(frozenset())
            return (self._active == self.kept) or None

        wait_for(all_active, f"Airflow {self.reader.version} to read all files", seconds=FIRST_READ_SECONDS)

    def __enter__(self) -> Witness:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(LOOK_SECONDS):
            self._look(self.kept)
            self.seen.looks += 1

    def _look(self, kept: frozenset[str]) -> None:
        with closing(self.reader.connect()) as database:
            dags = self.reader.dags(database)
            errors = [stacktrace for (stacktrace,) in database.execute("SELECT stacktrace FROM import_error")]
        self._active = frozenset(dag_id for dag_id, (active, _) in dags.items() if active)
        self.seen.lost |= kept - self._active
        self.seen.import_errors.update(errors)
        for dag_id, (_, read) in dags.items():
            reads = self.seen.reads.setdefault(dag_id, [])
            if read not in reads[-1:]:
                reads.append(read)

    @property
    def active(self) -> frozenset[str]:
        """The DAGs that users saw at the last look."""
        return self._active

    def first_look(self) -> frozenset[str]:
        """The DAGs that are active, once one is."""
        return wait_for(lambda: self._active or None, f"Airflow {self.reader.version} to have a DAG")

    def wait_until_seen(self, release: Release) -> float:
        """Until users see ``release``; when its changed DAG was in ``serialized_dag``, in seconds since 1970."""
        version = self.reader.version

        def changed() -> float | None:
            found = self.reader.holds(release.changed, release.marker, release.word)
            return time.time() if found else None

        def listed() -> bool | None:
            return (self._active == release.dag_ids) or None

        moment = wait_for(changed, f"Airflow {version} to read {release.changed}", seconds=SEEN_SECONDS)
        wait_for(listed, f"Airflow {version} to list release {release.number}", seconds=SEEN_SECONDS)
        return moment

    def reads_before_due(self, began: float, ended: float) -> list[str]:
        """The DAGs whose files were read between two moments although they were read shortly before, or were new."""
        found = []
        for dag_id, reads in sorted(self.seen.reads.items()):
            for before, read in zip([None, *reads], reads, strict=False):
                due = before is not None and (read - before).total_seconds() >= REREAD_SECONDS
                if began < read.timestamp() <= ended and not due:
                    found.append(dag_id)
        return found


def wait_until_quiet(witness: Witness, seconds: float, *, patience: float) -> None:
    """Until no file was read for some seconds."""

    def count() -> int:
        return sum(map(len, witness.seen.reads.values()))

    last = [count(), time.monotonic()]

    def quiet() -> bool | None:
        if count() != last[0]:
            last[:] = [count(), time.monotonic()]
        return (time.monotonic() - last[1] >= seconds) or None

    wait_for(quiet, f"Airflow {witness.reader.version} to have nothing to read", seconds=patience)


def switched_at(link: Path) -> float:
    """When the link was made, which the agent does right before it renames it into place; in seconds since 1970."""
    return link.lstat().st_mtime
