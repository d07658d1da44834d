"""A canary with a real Airflow behind it: a release that cannot be imported goes no further, and back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.airflow.standing import BUNDLE
from tests.airflow.test_told import Desk, dag
from tests.e2e.harness import Agent, Pod, new_token

if TYPE_CHECKING:
    from pathlib import Path

    from tests.airflow.real import Airflow

pytestmark = pytest.mark.airflow


@pytest.mark.parametrize("plain", [False, True], ids=["a bundle", "a plain folder"])
def test_release_with_an_import_error_stops_at_the_canary(
    airflow: Airflow, site: Path, tmp_path: Path, plain: bool
) -> None:
    with Desk(airflow, site, tmp_path, plain=plain) as desk:
        first = desk.ship({"a.py": dag("a", "one"), "b.py": dag("b", "one")})
        desk.pod.pull()
        desk.start()
        canary = desk.agent
        assert canary is not None
        other_folder = tmp_path / "other"
        other_folder.mkdir()
        token, entry = new_token()
        tokens = tmp_path / "tokens.json"
        tokens.write_text(json.dumps([entry]))
        canary.stop()
        name = "dags-folder" if plain else BUNDLE
        told = [f"--airflow-url={desk.standing.url}", f"--airflow-bundle={name}", "--agent-id=canary-0"]
        desk.agent = canary = Agent(desk.pod, *told, tokens_file=tokens)
        other = Agent(Pod(other_folder / "root", desk.store, "prod"), "--agent-id=pod-1", tokens_file=tokens)
        try:
            for agent in (canary, other):
                agent.token = token
                agent.wait_until_ready()
            token_file = tmp_path / "token"
            token_file.write_text(token)
            reach = (f"--agents={canary.url},{other.url}", f"--token-file={token_file}", "--canary=1")
            broken = dag("b", "two", "import no_such_module")
            desk.repository.change({"dags/a.py": dag("a", "two"), "dags/b.py": broken})
            error = desk.operator.fail(1, "ship", "--no-lint", *reach)
            assert error["code"] == "gate_failed"
            assert "No module named 'no_such_module'" in error["message"]
            desk.wait_for_tag("a", "one")
            record = desk.operator.run("log", "--limit=1")["records"][0]
            assert (record["action"], record["version"], len(record["bad"])) == ("withdraw", first, 1)
            assert "no_such_module" in record["reason"]
            assert record["hold"] is not None
            assert {agent.status()["version"] for agent in (canary, other)} == {first}
            served = [version for one in other.status()["releases"] for version in one["versions"]]
            assert served == [first], "the other agent never served it"
            desk.operator.run("resume")
            desk.repository.change({"dags/a.py": dag("a", "three"), "dags/b.py": dag("b", "three")})
            good = desk.operator.run("ship", "--no-lint", *reach, "--min-dags=2")["version"]
            assert {agent.status()["version"] for agent in (canary, other)} == {good}
            for dag_id in ("a", "b"):
                desk.wait_for_tag(dag_id, "three")
        finally:
            other.stop()
