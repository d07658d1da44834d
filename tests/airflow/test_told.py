"""An agent tells a real Airflow 3 of its switches, and reports what that cannot import."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.airflow.standing import BUNDLE, Standing
from tests.e2e.harness import Agent, Operator, Pod, Repository, wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from tests.airflow.real import Airflow

pytestmark = pytest.mark.airflow

DAG_FILE = """\
from airflow.sdk import DAG

with DAG("{name}", schedule=None, tags=["{word}"]):
    {body}
"""


def dag(name: str, word: str, body: str = "pass") -> str:
    return DAG_FILE.format(name=name, word=word, body=body)


def test_airflow_takes_a_switch_at_once_and_its_import_errors_are_reported(
    airflow: Airflow, site: Path, tmp_path: Path
) -> None:
    repository, store = Repository(tmp_path / "clone"), (tmp_path / "store").as_uri()
    operator = Operator(repository.path, store).on("prod")

    def ship(files: dict[str, str]) -> str:
        repository.change({f"dags/{name}": text for name, text in files.items()})
        version: str = operator.ship("HEAD", "--no-lint")["version"]
        return version

    one = ship({"a.py": dag("a", "one"), "b.py": dag("b", "one")})
    pod = Pod(tmp_path / "root", store, "prod")
    kwargs = {"agent_root": str(pod.root), "bundle": pod.bundle, "channel": "prod", "refresh_interval": 600}
    pod.pull()
    standing = Standing(airflow.python, tmp_path / "home", site, kwargs)
    standing.start("api-server", "dag-processor")
    agent = None
    try:
        standing.wait_for_dag("a", one)
        standing.wait_for_dag("b", one)
        agent = Agent(pod, f"--airflow-url={standing.url}", f"--airflow-bundle={BUNDLE}")

        def reported(version: str) -> dict[str, Any]:
            def found() -> dict[str, Any] | None:
                standing.check_all_run()
                report = agent.status()["airflow"] if agent is not None else None
                return report if report and report["version"] == version else None

            try:
                return wait_for(found, f"what Airflow made of {version}", seconds=120)
            except AssertionError as error:
                raise AssertionError(f"{error}; {agent.log if agent is not None else ''}") from None

        two = ship({"a.py": dag("a", "two"), "b.py": dag("b", "two", "raise KeyError('no such thing')")})
        agent.pull()
        standing.wait_for_dag("a", two)
        errors = reported(two)["import_errors"]
        assert (errors["before"], errors["after"]) == (0, 1), agent.log
        (new,) = errors["new"]
        assert new["file"].endswith("b.py")
        assert "no such thing" in new["reason"]
        assert "Airflow cannot import" in agent.log
        three = ship({"a.py": dag("a", "three")})
        agent.pull()
        standing.wait_for_dag("a", three)
        report = reported(three)
        assert report["import_errors"] == {"before": 1, "after": 1, "new": []}, "what was broken before is no news"
        assert report["parsed"], agent.log
    finally:
        if agent is not None:
            agent.stop()
        standing.stop()
