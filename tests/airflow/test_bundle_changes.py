"""Promotions while an Airflow reads 300 DAG files of our bundle: no DAG is lost, none sees two versions at once."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Final

import pytest

from tests.airflow.standing import BUNDLE, Standing
from tests.e2e.harness import Operator, Repository, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.airflow.real import Airflow

pytestmark = pytest.mark.airflow

FILES: Final = 300
PROMOTIONS: Final = 20
PAUSE_SECONDS: Final = 3.0
ALL_READ_SECONDS: Final = 240.0
VERSIONS: Final = 50
DAG_FILE: Final = """\
from airflow.sdk import DAG
from shop_words import WORD

if WORD != "{word}":
    raise ImportError(f"this file is of {word}, and its helper of {{WORD}}")
dag = DAG("{dag_id}", schedule=None, tags=[WORD])
"""
DAG_IDS: Final = frozenset(f"shop_{number:03}" for number in range(FILES))


def files(word: str, dag_ids: frozenset[str] = DAG_IDS) -> dict[str, str]:
    """DAG files and the module that all of them import; each says which release it is of."""
    found = {f"dags/{dag_id}.py": DAG_FILE.format(word=word, dag_id=dag_id) for dag_id in dag_ids}
    return found | {"dags/shop_words.py": f'WORD = "{word}"\n'}


@dataclass
class Witness:
    """What was seen at all looks together, while it watches."""

    airflow: Standing
    lost: set[str] = field(default_factory=set)
    import_errors: set[str] = field(default_factory=set)
    looks: int = 0

    def __post_init__(self) -> None:
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Witness:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(0.1):
            self.lost |= DAG_IDS - self.active()
            self.import_errors |= {str(row) for row in self.airflow.rows("SELECT stacktrace FROM import_error")}
            self.looks += 1

    def active(self) -> set[str]:
        return {dag_id for (dag_id,) in self.airflow.rows("SELECT dag_id FROM dag WHERE NOT is_stale")}


TIDY: Final = {
    "dag_processor__stale_bundle_cleanup_interval": 5,
    "dag_processor__stale_bundle_cleanup_min_versions": 3,
    "dag_processor__stale_bundle_cleanup_age_threshold": 5,
}


@pytest.fixture
def standing(airflow: Airflow, site: Path, tmp_path: Path) -> Iterator[Standing]:
    kwargs = {"store": (tmp_path / "store").as_uri(), "refresh_interval": 1, "keep_days": 0}
    standing = Standing(
        airflow.python, tmp_path / "home", site, kwargs, {"core__min_serialized_dag_update_interval": 5}
    )
    try:
        yield standing
    finally:
        standing.stop()


def operator_of(tmp_path: Path) -> tuple[Repository, Operator]:
    repository = Repository(tmp_path / "clone")
    return repository, Operator(repository.path, (tmp_path / "store").as_uri()).on("prod")


def is_there(folder: Path) -> bool | None:
    return folder.is_dir() or None


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_nothing_is_lost_while_twenty_promotions_go_by(standing: Standing, tmp_path: Path) -> None:
    repository, operator = operator_of(tmp_path)
    repository.change(files("w0"))
    operator.ship("HEAD", "--no-lint")
    standing.start("dag-processor")

    def all_at(word: str) -> bool | None:
        standing.check_all_run()
        rows = standing.rows("SELECT count(*) FROM dag_tag WHERE name = ?", word)
        return rows == [(FILES,)] or None

    wait_for(lambda: all_at("w0"), "all files to be read", seconds=ALL_READ_SECONDS)
    with Witness(standing) as witness:
        for number in range(1, PROMOTIONS + 1):
            repository.change(files(f"w{number}"))
            operator.ship("HEAD", "--no-lint")
            time.sleep(PAUSE_SECONDS)
        wait_for(lambda: all_at(f"w{PROMOTIONS}"), "all files of the last release", seconds=ALL_READ_SECONDS)
    assert witness.looks > PROMOTIONS
    assert not witness.lost
    assert not witness.import_errors


def test_fifty_versions_come_and_go_and_what_a_run_needs_stays(standing: Standing, tmp_path: Path) -> None:
    repository, operator = operator_of(tmp_path)
    standing = replace(standing, settings=TIDY)
    notes = tmp_path / "go"
    waiting = f"""\
import os, time
from airflow.sdk import dag, task

@dag(schedule=None)
def waiting():
    @task
    def until():
        while not os.path.exists({str(notes)!r}):
            time.sleep(0.1)

    @task
    def word():
        from words import WORD
        open({str(tmp_path / "said")!r}, "w").write(WORD)

    until() >> word()

waiting()
"""
    repository.change({"dags/waiting.py": waiting, "dags/words.py": 'WORD = "w0"\n'})
    first: str = operator.ship("HEAD", "--no-lint")["version"]
    standing.start()
    standing.wait_for_dag("waiting", first)
    standing.trigger("waiting", "long")
    standing.wait_for_run("long", "running")
    most = 0
    for number in range(1, VERSIONS + 1):
        repository.change({"dags/words.py": f'WORD = "w{number}"\n'})
        version: str = operator.ship("HEAD", "--no-lint")["version"]
        wait_for(partial(is_there, standing.versions / version), version, seconds=60)
        kept = names(standing.versions)
        assert first in kept
        most = max(most, len(kept))
    standing.wait_for_dag("waiting", version)

    def tidy() -> bool | None:
        return len(names(standing.versions)) <= 4 or None

    wait_for(tidy, "the versions that nobody needs to go", seconds=60)
    assert most <= 30
    assert {first, version} <= (names(standing.versions))
    notes.touch()
    standing.wait_for_run("long")
    assert (tmp_path / "said").read_text() == "w0"
    for number in range(VERSIONS + 1, VERSIONS + 5):  # it was used just now, and three of those stay
        repository.change({"dags/words.py": f'WORD = "w{number}"\n'})
        operator.ship("HEAD", "--no-lint")
        time.sleep(PAUSE_SECONDS)
    wait_for(lambda: not (standing.versions / first).exists() or None, "the first version to go", seconds=60)
    log = standing.log("dag-processor")
    assert "checking for stale bundle versions" in log, "Airflow's own clean-up has not had its turn"
    # Only what concerns bundles: SQLite with several writers may be busy, and is no business of ours.
    assert not [line for line in log.splitlines() if "[error" in line and "bundle" in line.lower()]
    assert "FileNotFoundError" not in log
    assert "IsADirectoryError" not in log
    tracked = names(standing.bundles / "_tracking" / BUNDLE)
    assert tracked <= (names(standing.versions))
