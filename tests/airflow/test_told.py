"""An agent tells a real Airflow 3 of its switches, and reports what that cannot import."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.airflow.standing import BUNDLE, Standing
from tests.e2e.harness import Agent, Operator, Pod, Repository, wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from tests.airflow.real import Airflow

pytestmark = pytest.mark.airflow

LOCAL: Final = "airflow.dag_processing.bundles.local.LocalDagBundle"
DAG_FILE = """\
from airflow.sdk import DAG

with DAG("{name}", schedule=None, tags=["{word}"]):
    {body}
"""


def dag(name: str, word: str, body: str = "pass") -> str:
    return DAG_FILE.format(name=name, word=word, body=body)


class Desk:
    """A repository that is shipped, a pod's agent, and an Airflow that is told of its switches."""

    def __init__(self, airflow: Airflow, site: Path, folder: Path, *, plain: bool) -> None:
        self.repository, self.store = Repository(folder / "clone"), (folder / "store").as_uri()
        self.operator = Operator(self.repository.path, self.store).on("prod")
        self.pod = Pod(folder / "root", self.store, "prod")
        self.plain = plain
        kwargs = {
            "agent_root": str(self.pod.root),
            "bundle": self.pod.bundle,
            "channel": "prod",
            "refresh_interval": 600,
        }
        settings: dict[str, object] = {}
        if plain:
            listed = [{"name": "dags-folder", "classpath": LOCAL, "kwargs": {"path": str(self.pod.current)}}]
            settings["dag_processor__dag_bundle_config_list"] = json.dumps(listed)
        self.standing = Standing(airflow.python, folder / "home", site, kwargs, settings)
        self.agent: Agent | None = None

    def __enter__(self) -> Desk:
        return self

    def __exit__(self, *_: object) -> None:
        if self.agent is not None:
            self.agent.stop()
        self.standing.stop()

    def start(self) -> None:
        """Airflow, and then the agent that knows of it."""
        self.standing.start("api-server", "dag-processor")
        for dag_id in ("a", "b"):
            self.wait_for_tag(dag_id, "one")
        name = "dags-folder" if self.plain else BUNDLE
        self.agent = Agent(self.pod, f"--airflow-url={self.standing.url}", f"--airflow-bundle={name}")

    def ship(self, files: dict[str, str]) -> str:
        """A new version with these files as well."""
        self.repository.change({f"dags/{name}": text for name, text in files.items()})
        version: str = self.operator.ship("HEAD", "--no-lint")["version"]
        return version

    def wait_for_tag(self, dag_id: str, word: str) -> None:
        """Wait until Airflow has that tag of a DAG, and runs it."""
        query = "SELECT name FROM dag_tag JOIN dag USING (dag_id) WHERE dag_id = ? AND NOT is_stale"

        def there() -> bool | None:
            self.standing.check_all_run()
            return self.standing.rows(query, dag_id) == [(word,)] or None

        said = self.agent.log if self.agent is not None else ""
        wait_for(there, f"{dag_id} to say {word}; {said}", seconds=180)

    def switch(self, files: dict[str, str]) -> dict[str, Any]:
        """Ship and pull; what the agent reports that Airflow made of it."""
        agent, version = self.agent, self.ship(files)
        assert agent is not None
        agent.pull()

        def found() -> dict[str, Any] | None:
            self.standing.check_all_run()
            report: dict[str, Any] | None = agent.status()["airflow"]
            return report if report and report["version"] == version else None

        try:
            return wait_for(found, f"what Airflow made of {version}", seconds=120)
        except AssertionError as error:
            raise AssertionError(f"{error}; {agent.log}") from None


@pytest.mark.parametrize("plain", [False, True], ids=["a bundle", "a plain folder"])
def test_airflow_takes_a_switch_at_once_and_its_import_errors_are_reported(
    airflow: Airflow, site: Path, tmp_path: Path, plain: bool
) -> None:
    with Desk(airflow, site, tmp_path, plain=plain) as desk:
        desk.ship({"a.py": dag("a", "one"), "b.py": dag("b", "one")})
        desk.pod.pull()
        desk.start()
        assert desk.agent is not None
        report = desk.switch({"a.py": dag("a", "two"), "b.py": dag("b", "two", "raise KeyError('no such thing')")})
        desk.wait_for_tag("a", "two")
        errors = report["import_errors"]
        assert (errors["before"], errors["after"]) == (0, 1), desk.agent.log
        (new,) = errors["new"]
        assert new["file"].endswith("b.py")
        assert "no such thing" in new["reason"]
        assert "Airflow cannot import" in desk.agent.log
        report = desk.switch({"a.py": dag("a", "three")})
        desk.wait_for_tag("a", "three")
        assert report["import_errors"] == {"before": 1, "after": 1, "new": []}, "what was broken before is no news"
        assert report["parsed"], desk.agent.log
        report = desk.switch({"b.py": dag("b", "four")})
        desk.wait_for_tag("b", "four")  # which Airflow does not run as long as its file cannot be imported
        assert report["import_errors"] == {"before": 1, "after": 0, "new": []}, desk.agent.log
