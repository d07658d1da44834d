"""Runs inside the Airflow environment, on its Python alone: nothing of dagferry or of the tests is importable there.

    python -I inside.py examples RESULT          where the wheels' example DAGs are, and what pip's record says of them
    python -I inside.py parse RESULT FOLDER      what Airflow finds in FOLDER

The result is JSON in a file, because Airflow and DAG files write on stdout.
"""

from __future__ import annotations

import base64
import json
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

WHEELS = {"apache-airflow-core": "core", "apache-airflow-providers-standard": "standard"}


def examples() -> dict[str, Any]:
    """Each example file by the path that the tests give it, with its place and the digest in the wheel's RECORD."""
    found = {}
    for wheel, folder in WHEELS.items():
        for file in metadata.files(wheel) or []:
            _, below, name = file.as_posix().rpartition("/example_dags/")
            if below and file.suffix != ".pyc":
                assert file.hash is not None, file
                assert file.hash.mode == "sha256", file
                digest = base64.urlsafe_b64decode(file.hash.value + "==").hex()
                found[f"{folder}/{name}"] = {"place": str(file.locate()), "sha256": digest}
    return found


def parse(folder: str) -> dict[str, Any]:
    """The DAGs and import errors of ``folder``, which is read as the dag-processor reads a local bundle."""
    sys.addaudithook(_stay_offline)
    from airflow.dag_processing.dagbag import BundleDagBag  # type: ignore[import-not-found]

    bag = BundleDagBag(folder, bundle_path=Path(folder), bundle_name="tests")
    return {
        "filelocs": {dag_id: dag.fileloc for dag_id, dag in bag.dags.items()},
        "import_errors": {path: error.replace(folder, "<folder>") for path, error in bag.import_errors.items()},
    }


def _stay_offline(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "socket.connect" and isinstance(arguments[1], tuple):
        raise RuntimeError(f"a test's parse went to the network: {arguments[1]}")


if __name__ == "__main__":
    question, result, *folders = sys.argv[1:]
    Path(result).write_text(json.dumps(parse(*folders) if question == "parse" else examples()))
