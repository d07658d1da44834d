"""Runs inside an Airflow of any version, on its Python alone: what its own DagBag says of a folder.

    python -I bag.py RESULT FOLDER

The result is JSON in a file, because Airflow and DAG files write on stdout: ids of DAGs and sub-DAGs, the number of
each one's tasks, its edges, and the tasks whose templates cannot be rendered.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def bag(folder: str) -> dict[str, Any]:
    """What a DagBag of ``folder`` holds."""
    try:
        from airflow.dag_processing.dagbag import DagBag  # type: ignore[import-not-found]
    except ImportError:
        from airflow.models.dagbag import DagBag  # type: ignore[import-not-found]

    found = DagBag(folder)
    return {
        "errors": found.import_errors,
        "dags": {name: facts(dag) for name, dag in found.dags.items()},
        "unrendered": [problem for dag in found.dags.values() for task in dag.tasks for problem in render(dag, task)],
    }


def facts(dag: Any) -> dict[str, Any]:  # noqa: ANN401 (Airflow has no types here)
    """One DAG."""
    edges = [[above, task.task_id] for task in dag.tasks for above in task.upstream_task_ids]
    return {"tasks": len(dag.tasks), "edges": sorted(edges), "subdag": bool(getattr(dag, "is_subdag", False))}


def render(dag: Any, task: Any) -> list[list[str]]:  # noqa: ANN401
    """The template that is missing when Airflow renders the task's fields, as before a run."""
    from jinja2 import TemplateNotFound

    try:
        task.render_template_fields({"params": dag.params})
    except TemplateNotFound as error:
        return [[dag.dag_id, task.task_id, str(error.name)]]
    except Exception:  # noqa: BLE001 (there is no run to take values from)
        return []
    return []


if __name__ == "__main__":
    result, folder = sys.argv[1:]
    Path(result).write_text(json.dumps(bag(folder)))
