"""A whole Airflow 3 whose DAGs come by our bundle: api-server, scheduler with a local executor, dag-processor.

It runs as a deployment does: dagferry is installed with its extra `airflow`, by this Airflow's own pip, and found on
the path. Runs are made and cleared through the public API.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import shutil
import socket
import sqlite3
import subprocess
from contextlib import closing, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import requests

from tests.e2e.harness import CHECKOUT, COMPONENTS, wait_for

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

BUNDLE: Final = "etl"
REFRESH_SECONDS: Final = 2
REREAD_SECONDS: Final = 300
START_SECONDS: Final = 180.0
RUN_SECONDS: Final = 120.0
STOP_SECONDS: Final = 20.0
COMPONENT_NAMES: Final = ("api-server", "scheduler", "dag-processor")


def install(python: Path, folder: Path) -> Path:
    """Install dagferry with its extra `airflow` into a folder for that Python; the folder."""
    source, site = folder / "source", folder / "site"
    names = [*COMPONENTS, "setup.cfg", "pyproject.toml", "README.md", "LICENSE"]
    for name in names:
        place = CHECKOUT / name
        if place.is_dir():
            shutil.copytree(place, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            source.mkdir(exist_ok=True)
            shutil.copy(place, source / name)
    options = ["--quiet", "--disable-pip-version-check", f"--target={site}"]
    command = [str(python), "-m", "pip", "install", *options, f"{source}[airflow]"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return site


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


@dataclass
class Standing:
    """An Airflow in ``home`` whose only bundle is ours, with these ``kwargs``."""

    python: Path
    home: Path
    site: Path
    kwargs: Mapping[str, Any]
    settings: Mapping[str, object] = field(default_factory=dict)
    _processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _port: int = field(default_factory=free_port)
    _log_port: int = field(default_factory=free_port)
    _secrets: tuple[str, str] = field(
        default_factory=lambda: (secrets.token_hex(32), base64.urlsafe_b64encode(os.urandom(32)).decode())
    )

    @property
    def bundles(self) -> Path:
        """Where Airflow keeps what bundles have on its disk."""
        return self.home / "bundles"

    @property
    def versions(self) -> Path:
        """The folder of our versions."""
        return self.bundles / BUNDLE / "versions"

    @property
    def url(self) -> str:
        """Where its API answers."""
        return f"http://127.0.0.1:{self._port}"

    def environment(self) -> dict[str, str]:
        """The environment of every component."""
        listed = [
            {
                "name": BUNDLE,
                "classpath": "dagferry_agent.airflow_bundle.DagferryBundle",
                "kwargs": {"refresh_interval": REFRESH_SECONDS, **self.kwargs},
            }
        ]
        api = f"http://127.0.0.1:{self._port}"
        settings = {
            "core__load_examples": False,
            "core__executor": "LocalExecutor",
            "core__parallelism": 4,
            "core__simple_auth_manager_all_admins": True,
            "core__dags_are_paused_at_creation": False,
            "core__fernet_key": self._secrets[1],
            "core__execution_api_server_url": f"{api}/execution/",
            "api__port": self._port,
            "api__host": "127.0.0.1",
            "api__workers": 1,
            "api__base_url": api,
            "api_auth__jwt_secret": self._secrets[0],
            "api_auth__jwt_issuer": "tests",
            "usage_data_collection__enabled": False,
            "dag_processor__dag_bundle_storage_path": self.bundles,
            "dag_processor__dag_bundle_config_list": json.dumps(listed),
            "dag_processor__bundle_refresh_check_interval": 1,
            "dag_processor__min_file_process_interval": REREAD_SECONDS,
            "logging__worker_log_server_port": self._log_port,
            **self.settings,
        }
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "AIRFLOW_HOME": str(self.home),
            "PYTHONPATH": str(self.site),
            **{f"AIRFLOW__{name.upper()}": str(value) for name, value in settings.items()},
        }

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command of Airflow to its end."""
        return subprocess.run(
            [self.python, "-m", "airflow", *arguments],
            cwd=self.home,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def python_says(self, code: str) -> str:
        """What a program prints that runs where a component of Airflow would."""
        done = subprocess.run(
            [self.python, "-c", code],
            cwd=self.home,
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    def start(self, *components: str) -> None:
        """Start components, all by default, and wait until the API answers, if that is one of them."""
        self.home.mkdir(parents=True, exist_ok=True)
        if not (self.home / "airflow.db").exists():
            done = self.command("db", "migrate")
            assert done.returncode == 0, done.stderr[-2000:]
        for name in components or COMPONENT_NAMES:
            with (self.home / f"{name}.log").open("ab") as log:
                self._processes[name] = subprocess.Popen(
                    [self.python, "-m", "airflow", name],
                    cwd=self.home,
                    env=self.environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        if "api-server" in self._processes:
            wait_for(self._answers, "the API to answer", seconds=START_SECONDS)

    def stop(self, *components: str) -> None:
        """End components, all by default."""
        for name in components or tuple(self._processes):
            process = self._processes.pop(name)
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                pass
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, 9)
                process.wait()

    def log(self, name: str) -> str:
        """What a component wrote."""
        return (self.home / f"{name}.log").read_text(errors="replace")

    def task_logs(self, run_id: str) -> str:
        """What the tasks of a run wrote so far."""
        logs = sorted((self.home / "logs").glob(f"dag_id=*/run_id={run_id}/**/*.log"))
        return "".join(path.read_text(errors="replace") for path in logs)

    def check_all_run(self) -> None:
        """Fail unless every component that was started still runs."""
        for name, process in self._processes.items():
            assert process.poll() is None, f"{name} ended: {self.log(name)[-3000:]}"

    def _answers(self) -> bool | None:
        self.check_all_run()
        with suppress(requests.RequestException):
            return requests.get(f"http://127.0.0.1:{self._port}/api/v2/version", timeout=5).ok or None
        return None

    def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:  # noqa: ANN401 (JSON)
        """What the public API says."""
        address = f"http://127.0.0.1:{self._port}"
        token = requests.get(f"{address}/auth/token", timeout=30).json()["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        reply = requests.request(method, f"{address}/api/v2/{path}", json=body, headers=headers, timeout=30)
        assert reply.ok, (method, path, reply.status_code, reply.text[:2000])
        return reply.json() if reply.content else None

    def trigger(self, dag_id: str, run_id: str) -> None:
        """Begin a run."""
        self.ask("POST", f"dags/{dag_id}/dagRuns", {"dag_run_id": run_id, "logical_date": None})

    def clear(self, dag_id: str, run_id: str) -> None:
        """Let all tasks of a run run again."""
        self.ask("POST", f"dags/{dag_id}/dagRuns/{run_id}/clear", {"dry_run": False})

    def rows(self, question: str, *values: object) -> list[tuple[Any, ...]]:
        """What the metadata database says."""
        with closing(
            sqlite3.connect(f"{(self.home / 'airflow.db').as_uri()}?mode=ro", timeout=60, uri=True)
        ) as database:
            return database.execute(question, values).fetchall()

    def version_of_run(self, run_id: str) -> str:
        """The bundle version that a run is pinned to."""
        ((version,),) = self.rows("SELECT bundle_version FROM dag_run WHERE run_id = ?", run_id)
        return str(version)

    def shows(self, dag_id: str, word: str) -> bool:
        """Whether the newest serialized form of the DAG has that word."""
        question = "SELECT data FROM serialized_dag WHERE dag_id = ? ORDER BY last_updated DESC LIMIT 1"
        return any(f'"{word}"' in str(data) for (data,) in self.rows(question, dag_id))

    def wait_for_dag(self, dag_id: str, version: str) -> None:
        """Wait until the DAG was parsed at that version."""

        def parsed() -> bool | None:
            self.check_all_run()
            rows = self.rows("SELECT bundle_version FROM dag WHERE dag_id = ? AND NOT is_stale", dag_id)
            return rows == [(version,)] or None

        try:
            wait_for(parsed, f"{dag_id} at {version}", seconds=START_SECONDS)
        except AssertionError as error:
            errors = self.rows("SELECT filename, stacktrace FROM import_error")
            raise AssertionError(f"{error}; {errors}; {self.log('dag-processor')[-3000:]}") from None

    def wait_for_run(self, run_id: str, state: str = "success") -> None:
        """Wait until a run is in that state."""

        def done() -> bool | None:
            self.check_all_run()
            return self.rows("SELECT state FROM dag_run WHERE run_id = ?", run_id) == [(state,)] or None

        try:
            wait_for(done, f"run {run_id} to be {state}", seconds=RUN_SECONDS)
        except AssertionError as error:
            tasks = self.rows("SELECT task_id, state, try_number FROM task_instance WHERE run_id = ?", run_id)
            raise AssertionError(f"{error}; {tasks}; {self.log('scheduler')[-3000:]}") from None
