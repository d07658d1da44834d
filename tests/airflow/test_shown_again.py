"""A way back right after a release: Airflow takes no second change of a DAG within 30 s, so it is shown once more.

Three real Airflows with their usual interval read what three agents deliver; one of the agents shows nothing again.
"""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest

from tests.airflow.real import Airflow
from tests.airflow.switching import FIRST_READ_SECONDS, PYTHONS, SEEN_SECONDS, Reader, first_files, plan
from tests.e2e.harness import Agent, Operator, Pod, Repository, wait_for

pytestmark = pytest.mark.airflow

TOO_SOON_SECONDS: Final = 30  # Airflow's default
LATER_SECONDS: Final = 20.0  # after the others saw it; files are read again by themselves after five minutes


def test_rollback_right_after_a_promotion_is_seen_and_would_not_be_without(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "clone")
    store_url = (tmp_path / "store").as_uri()
    operator = Operator(repository.path, store_url).on("prod")
    repository.change({f"dags/{path}": text for path, text in first_files(3).items()})
    operator.ship("HEAD", "--no-lint")
    (release,) = plan(3, 1, seed=1)
    with ExitStack() as at_the_end:

        def begin(name: str, version: str, *options: str) -> tuple[Agent, Reader]:
            pod = Pod(tmp_path / name / "root", store_url, "prod")
            pod.root.parent.mkdir()
            agent = Agent(pod, *options)
            at_the_end.callback(agent.stop)
            agent.pull()
            python = Path(os.environ.get(PYTHONS[version], "")).absolute()
            home = Airflow(python, tmp_path / name / "home")
            reader = Reader(version, home, pod.current, too_soon_seconds=TOO_SOON_SECONDS)
            at_the_end.callback(reader.stop)
            return agent, reader

        shown = [begin("three", "3.3"), begin("two", "2.11")]
        everybody = [*shown, begin("control", "3.3", "--airflow-settle-seconds=0")]

        def see(pairs: list[tuple[Agent, Reader]], word: str, seconds: float) -> None:
            for agent, reader in pairs:

                def sees(reader: Reader = reader) -> bool | None:
                    assert reader.runs, reader.last_words
                    return reader.shows(release.changed, word) or None

                wait_for(sees, f"Airflow {reader.version} to show {word}; {agent.log}", seconds=seconds)

        see(everybody, "release-0.", FIRST_READ_SECONDS)
        time.sleep(TOO_SOON_SECONDS + 1)  # or the first change would come too soon, too
        repository.change({f"dags/{path}": text for path, text in release.edits().items()})
        operator.ship("HEAD", "--no-lint")
        for agent, _ in everybody:
            agent.pull()
        see(everybody, release.marker, SEEN_SECONDS)
        operator.run("rollback", "--reason", "bad")
        for agent, _ in everybody:
            assert agent.pull()["changed"]
        see(shown, "release-0.", SEEN_SECONDS)
        _, control = everybody[-1]
        time.sleep(LATER_SECONDS)
        assert control.shows(release.changed, release.marker), "it still shows what was taken back"
