"""Our bundle is loaded and refreshed by any Airflow 3: `ci/test airflow-versions` runs this with others than one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.airflow.standing import BUNDLE, Standing
from tests.e2e.harness import Operator, Repository

if TYPE_CHECKING:
    from pathlib import Path

    from tests.airflow.real import Airflow

pytestmark = pytest.mark.airflow

DAG_FILE = """\
from airflow.sdk import DAG

dag = DAG("{dag_id}", schedule=None)
"""
SHOWN = """\
import json
from airflow.dag_processing.bundles.manager import DagBundlesManager

(tracking,) = DagBundlesManager().get_all_dag_bundles()
pinned = DagBundlesManager().get_bundle("etl", {version!r})
template = getattr(pinned, "view_url_template", None)
url = template().format(version=pinned.version, bundle=pinned.bundle) if template else pinned.view_url(pinned.version)
facts = {{"url": url}}
tracking.initialize()
pinned.initialize()
facts["paths"] = [str(tracking.path), str(pinned.path)]
found = [one.get_current_version() for one in (tracking, pinned)]
facts["versions"] = [getattr(one, "version", one) for one in found]
try:
    pinned.refresh()
except Exception as error:
    facts["refused"] = type(error).__name__
print("facts", json.dumps(facts))
"""


def test_the_commands_of_airflow_see_what_the_channel_says(airflow: Airflow, site: Path, tmp_path: Path) -> None:
    repository = Repository(tmp_path / "clone")
    operator = Operator(repository.path, (tmp_path / "store").as_uri()).on("prod")
    options = ("--view-url", "https://git.example/{bundle}/{version}")
    (bundle,) = operator.run("airflow-config", *options)["bundles"]
    standing = Standing(airflow.python, tmp_path / "home", site, bundle["kwargs"])
    standing.home.mkdir()
    assert standing.command("db", "migrate").returncode == 0
    versions = []
    for dag_ids in (["first"], ["first", "second"]):
        repository.change({f"dags/{dag_id}.py": DAG_FILE.format(dag_id=dag_id) for dag_id in dag_ids})
        versions.append(str(operator.ship("HEAD", "--no-lint")["version"]))
        done = standing.command("dags", "reserialize")
        assert done.returncode == 0, done.stderr[-3000:]
        assert standing.rows("SELECT dag_id, bundle_version FROM dag ORDER BY dag_id") == [
            (dag_id, versions[-1]) for dag_id in dag_ids
        ]
    said = standing.python_says(SHOWN.format(version=versions[0]))
    (line,) = [line for line in said.splitlines() if line.startswith("facts ")]
    assert json.loads(line.removeprefix("facts ")) == {
        "url": f"https://git.example/{BUNDLE}/{versions[0]}",
        "paths": [str(standing.versions / version) for version in reversed(versions)],
        "versions": versions[::-1],
        "refused": "AirflowException",
    }


def test_a_version_that_is_there_with_other_content_than_the_record_says_is_refused(
    airflow: Airflow, site: Path, tmp_path: Path
) -> None:
    repository = Repository(tmp_path / "clone")
    operator = Operator(repository.path, (tmp_path / "store").as_uri()).on("prod")
    repository.change({"dags/first.py": DAG_FILE.format(dag_id="first")})
    version = str(operator.ship("HEAD", "--no-lint")["version"])
    (bundle,) = operator.run("airflow-config")["bundles"]
    standing = Standing(airflow.python, tmp_path / "home", site, bundle["kwargs"])
    standing.home.mkdir()
    assert standing.command("db", "migrate").returncode == 0
    assert standing.command("dags", "reserialize").returncode == 0
    note = standing.versions.parent / "dagferry" / "notes" / version
    note.write_text(json.dumps({**json.loads(note.read_text()), "tree": "sha256:" + 64 * "0"}))
    done = standing.command("dags", "reserialize")
    assert f"was made of tree sha256:{64 * '0'}" in (done.stdout + done.stderr).replace("\n", " ")


def test_kwargs_of_another_kind_are_told_as_airflow_wants_it(airflow: Airflow, site: Path, tmp_path: Path) -> None:
    kwargs = {"store": (tmp_path / "store").as_uri(), "wait_seconds": "60"}
    standing = Standing(airflow.python, tmp_path / "home", site, kwargs)
    standing.home.mkdir()
    assert standing.command("db", "migrate").returncode == 0
    done = standing.command("dags", "reserialize")
    said = done.stdout + done.stderr
    assert "AirflowException" in said
    assert "wait_seconds '60' is not allowed" in said


def test_a_bundle_that_cannot_be_had_says_why_as_airflow_wants_it(airflow: Airflow, site: Path, tmp_path: Path) -> None:
    standing = Standing(airflow.python, tmp_path / "home", site, {"store": (tmp_path / "nowhere").as_uri()})
    standing.home.mkdir()
    assert standing.command("db", "migrate").returncode == 0
    done = standing.command("dags", "reserialize")
    assert done.returncode != 0
    said = done.stdout + done.stderr
    assert "AirflowException" in said
    assert "does not exist" in said
