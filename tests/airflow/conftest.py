from __future__ import annotations

import os
from pathlib import Path

import pytest

# Their asserts are outside test modules; without this a failing one would not say what it saw.
pytest.register_assert_rewrite("tests.e2e.harness", "tests.airflow.real", "tests.airflow.standing")

from tests.airflow.real import Airflow  # noqa: E402  after the registration
from tests.airflow.standing import install  # noqa: E402

MEASURED = "seconds "


@pytest.fixture(scope="session")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Airflow:
    """The installation that DAGFERRY_AIRFLOW_PYTHON names, with a home of its own. A missing one is a failure."""
    python = Path(os.environ.get("DAGFERRY_AIRFLOW_PYTHON", ""))
    if not python.is_file():
        run = 'DAGFERRY_AIRFLOW_PYTHON="$(ci/airflow-env)" pytest -m airflow'
        pytest.fail(f"no real Airflow: DAGFERRY_AIRFLOW_PYTHON names no Python; run {run}", pytrace=False)
    return Airflow(python.absolute(), tmp_path_factory.mktemp("airflow"))


@pytest.fixture(scope="session")
def site(airflow: Airflow, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which dagferry is installed with its extra `airflow`, for that Airflow's Python."""
    return install(airflow.python, tmp_path_factory.mktemp("site"))


LINTED = {"2.11": "DAGFERRY_AIRFLOW2_PYTHON", "3.3": "DAGFERRY_AIRFLOW_PYTHON"}
"""The Airflows that lint is tried with, and the variables that name their Pythons."""


@pytest.fixture(scope="module", params=sorted(LINTED))
def lint_python(request: pytest.FixtureRequest) -> tuple[str, Path]:
    """An Airflow's version, and its Python. A missing one is a failure."""
    python = Path(os.environ.get(LINTED[request.param], ""))
    if not python.is_file():
        pytest.fail(f"no Airflow {request.param}: {LINTED[request.param]} names no Python", pytrace=False)
    return request.param, python.absolute()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what the tests measured; nothing depends on it."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            if name.startswith(MEASURED):
                terminalreporter.write_line(f"{report.head_line}: {name.removeprefix(MEASURED)}: {value} s")
