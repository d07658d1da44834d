"""Planted bugs in what imports DAG files: each is caught by the check that is about it, and by no other.

Each is one edit in a copy of the source, which a process of its own imports in place of what is installed. They need
an Airflow, so they have its marker, and not the one of the other planted bugs.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

pytestmark = pytest.mark.airflow

CHECKOUT: Final = Path(__file__).parents[2]
COMPONENTS: Final = ("schemas", "storage", "builder")
LINT: Final = "builder/dagferry_builder/lint"


@dataclass(frozen=True)
class Planted:
    """A bug: edits of one file, and the check that has to fail."""

    file: str
    edits: tuple[tuple[str, str], ...]
    check: str


BUGS: Final = {
    "changes and signals are recorded and let through": Planted(
        "probe.py",
        (
            (
                '        raise Refusal("dagferry lint: a DAG file that is imported may not change files',
                '        str("a DAG file that is imported may not change files',
            ),
            (
                '            raise Refusal("dagferry lint: a DAG file that is imported may not send signals")',
                "            return",
            ),
        ),
        "check_changes_and_signals_are_refused",
    ),
    "the end of a child is no problem": Planted(
        "probe.py",
        (('"problems": [] if task["skipped"] else [problem], "dags"', '"problems": [], "dags"'),),
        "check_end_of_a_process_is_reported",
    ),
    "nothing is imported a second time": Planted(
        "airflow.py",
        (("            if again:\n", "            if again and False:\n"),),
        "check_second_import_shows_what_changes",
    ),
    "nothing is serialized": Planted(
        "probe.py",
        (("            json.dumps(self._airflow.serializer.to_dict(dag))\n", "            pass\n"),),
        "check_definitions_are_serialized",
    ),
    "a child goes on after a file that failed": Planted(
        "probe.py",
        (
            ('        if not report["clean"]:\n            return\n', ""),
            (
                '                clean = bool(report.pop("clean", False))\n',
                '                clean = report.pop("clean", True) or True\n',
            ),
        ),
        "check_process_in_which_a_file_failed_takes_no_other",
    ),
    "the cache does not look at what a file read": Planted(
        "cache.py",
        (("if any(read not in files or files[read].content != content for", "if any(read not in files for"),),
        "check_result_holds_only_as_long_as_what_was_read",
    ),
}


def failing(source: Path, folder: Path) -> set[str]:
    """The checks that fail with the dagferry whose components are in ``source``."""
    python = Path(os.environ.get("DAGFERRY_AIRFLOW_PYTHON", ""))
    assert python.is_file(), "DAGFERRY_AIRFLOW_PYTHON names no Python"
    path = os.pathsep.join([*(str(source / one) for one in COMPONENTS), str(CHECKOUT)])
    done = subprocess.run(
        [sys.executable, "-m", "tests.airflow.probe_checks", str(python.absolute()), str(folder)],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def copy(tmp_path: Path) -> Path:
    for one in COMPONENTS:
        ignored = shutil.ignore_patterns("__pycache__", "build", "*.egg-info")
        shutil.copytree(CHECKOUT / one, tmp_path / "source" / one, ignore=ignored)
    return tmp_path / "source"


def test_source_without_a_planted_bug_passes_every_check(tmp_path: Path) -> None:
    assert failing(copy(tmp_path), tmp_path) == set()


@pytest.mark.parametrize("bug", BUGS.values(), ids=BUGS)
def test_planted_bug_fails_its_check(bug: Planted, tmp_path: Path) -> None:
    source = copy(tmp_path)
    file = source / LINT / bug.file
    text = file.read_text()
    for old, new in bug.edits:
        assert text.count(old) == 1, f"{bug.file} has no longer one {old!r}"
        text = text.replace(old, new)
    file.write_text(text)
    assert failing(source, tmp_path) == {bug.check}
