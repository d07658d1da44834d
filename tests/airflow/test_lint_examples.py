"""Lint on the example DAGs of an Airflow's own wheel: no false alarm, and the inventory is what its DagBag holds."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dagferry_builder.lint.finding import Severity
from tests.airflow.linted import ids, lint_files
from tests.airflow.real import EXAMPLES_PLUGINS, Airflow

if TYPE_CHECKING:
    from dagferry_builder.lint.result import Result

pytestmark = pytest.mark.airflow

BAG = Path(__file__).with_name("bag.py")
FIND = "import importlib.util; print(importlib.util.find_spec('airflow').submodule_search_locations[0])"
MISSING = re.compile(r"DAG '([^']+)', task '([^']+)', [^:]+: there is no file '([^']+)'")


@dataclass(frozen=True)
class Examples:
    """The examples of one version: what lint says of them, and what Airflow does."""

    version: str
    result: Result
    bag: dict[str, Any]


def example_files(airflow: Airflow) -> dict[str, bytes]:
    done = subprocess.run(
        [airflow.python, "-I", "-c", FIND], env=airflow.environment(), capture_output=True, text=True, check=True
    )
    folder = Path(done.stdout.strip()) / "example_dags"
    found = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def bag_of(airflow: Airflow, folder: Path) -> dict[str, Any]:
    airflow.migrate()
    result = airflow.home / "bag.json"
    subprocess.run(
        [airflow.python, "-I", str(BAG), str(result), str(folder)],
        cwd=airflow.home,
        env=airflow.environment(core__dags_folder=folder),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
        timeout=120,
    )
    found: dict[str, Any] = json.loads(result.read_text())
    return found


@pytest.fixture(scope="module")
def examples(lint_python: tuple[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Examples:
    version, python = lint_python
    folder = tmp_path_factory.mktemp("examples")
    airflow = Airflow(python, folder / "home")
    (airflow.home / "plugins").mkdir(parents=True)
    (airflow.home / "plugins" / "examples.py").write_text(EXAMPLES_PLUGINS)
    files = example_files(airflow)
    assert len(files) > 40
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_HOME", str(airflow.home))
        result = lint_files(folder / "clone", files, python)
    return Examples(version, result, bag_of(airflow, folder / "clone" / "dags"))


def test_every_error_is_one_that_airflow_makes_too(examples: Examples) -> None:
    errors = [one for one in examples.result.findings if one.severity is Severity.ERROR]
    proved = {tuple(problem) for problem in examples.bag["unrendered"]}
    for one in errors:
        named = MISSING.match(one.message)
        assert one.rule == "template-missing", one
        assert named is not None, one
        assert named.groups() in proved, one
    assert len(errors) == {"2.11": 1, "3.3": 0}[examples.version]


def test_every_template_that_airflow_misses_is_found(examples: Examples) -> None:
    named = [MISSING.match(one.message) for one in examples.result.findings if one.rule == "template-missing"]
    assert {one.groups() for one in named if one} == {tuple(problem) for problem in examples.bag["unrendered"]}


def test_inventory_has_the_dags_that_airflow_has(examples: Examples) -> None:
    assert examples.bag["errors"] == {}
    wanted = {name for name, dag in examples.bag["dags"].items() if not dag["subdag"]}
    assert len(wanted) > 40
    assert ids(examples.result) - examples.bag["dags"].keys() == set()
    assert wanted - ids(examples.result) == set()


def test_inventory_has_the_tasks_and_edges_that_airflow_has(examples: Examples) -> None:
    ours = {
        dag.id: (len(dag.tasks), sorted([above, task.id] for task in dag.tasks for above in task.upstream))
        for dag in examples.result.inventory or ()
    }
    theirs = {name: (dag["tasks"], dag["edges"]) for name, dag in examples.bag["dags"].items() if name in ours}
    assert ours == theirs
    assert sum(len(edges) for _, edges in ours.values()) > 100
