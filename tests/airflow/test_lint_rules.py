"""What lint says of Airflow 3 by looking at the text is what a real Airflow 3 does."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from dagferry_builder.lint import python, secrets
from dagferry_builder.lint.finding import Severity
from dagferry_builder.lint.python_rules import STILL_THERE
from dagferry_builder.lint.settings import Settings
from tests.lint.test_python import AIRFLOW
from tests.lint.trees import tree

if TYPE_CHECKING:
    from pathlib import Path

    from tests.airflow.real import Airflow

pytestmark = pytest.mark.airflow


def outcome(airflow: Airflow, text: str) -> int:
    """How a Python that has Airflow ends with ``text``."""
    done = subprocess.run(
        [airflow.python, "-I", "-c", text],
        cwd=airflow.home,
        env=airflow.environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    return done.returncode


def test_the_examples_of_airflow_have_no_errors(airflow: Airflow, tmp_path: Path) -> None:
    files = {path: place.read_bytes() for path, (place, _) in airflow.examples().items()}
    checkout = tree(tmp_path, files)
    findings = python.check(checkout, Settings(python_version="3.10"), airflow_version="3.3")
    assert len(files) > 50
    assert [one for one in findings if one.severity is Severity.ERROR] == []
    assert secrets.check(checkout, Settings()) == []


@pytest.mark.parametrize("code", ["AIR301", "AIR302"])
def test_what_is_called_gone_is_gone(airflow: Airflow, code: str) -> None:
    bad, good = AIRFLOW[code]
    assert outcome(airflow, bad) == 1
    assert outcome(airflow, good) == 0


@pytest.mark.parametrize("name", STILL_THERE)
def test_what_ruff_calls_gone_by_mistake_is_there(airflow: Airflow, name: str) -> None:
    module, _, item = name.rpartition(".")
    assert outcome(airflow, f"from {module} import {item}") == 0
