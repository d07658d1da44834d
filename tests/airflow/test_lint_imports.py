"""How DAG files are imported with a real Airflow: which Python, what it sees, what is kept, how it is interrupted."""

from __future__ import annotations

import http.server
import os
import secrets
import shlex
import shutil
import signal
import subprocess
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from dagferry_builder.lint.interpreter import find_interpreter
from tests.airflow.linted import below_dags, dag, ids, lint_clone, lint_command, lint_files, rules_by_file
from tests.builder.repositories import Clone
from tests.e2e import harness

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dagferry_builder.lint.interpreter import Interpreter
    from tests.airflow.real import Airflow

pytestmark = pytest.mark.airflow

MARK: Final = "LINT_TEST_MARK"
IS_UNMARKED: Final = f"import os\nassert {MARK!r} not in os.environ"
VARIABLE: Final = """
try:
    from airflow.sdk import Variable
except ImportError:
    from airflow.models import Variable
REGION = Variable.get("region")
"""
CONNECTION: Final = """
try:
    from airflow.sdk import BaseHook
except ImportError:
    from airflow.hooks.base import BaseHook
HOST = BaseHook.get_connection("crm").host
assert HOST == "crm.example.com", HOST
"""


def interpreter(command: str) -> Interpreter:
    found = find_interpreter(command, Path("/"))
    assert found is not None
    return found


def script(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    path.chmod(0o755)
    return path


# Which Python.


def test_python_of_one_word_has_our_environment_and_a_prefix_has_its_own(
    lint_python: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(MARK, "1")
    python = lint_python[1]
    clone = Clone(tmp_path / "clone")
    clone.commit(below_dags({"a.py": dag("a", above=IS_UNMARKED)}))
    here = lint_clone(clone, interpreter(str(python)))
    assert rules_by_file(here) == {"a.py": {"import-error"}}
    home = tmp_path / "home"
    home.mkdir()
    words = ["env", "-i", f"PATH={os.environ['PATH']}", f"HOME={home}", str(python)]
    away = lint_clone(clone, interpreter(shlex.join(words)))
    assert rules_by_file(away) == {}
    assert ids(away) == {"a"}
    assert away.checked.environment is not None
    assert away.checked.environment.airflow.startswith(lint_python[0])


def test_prefix_may_say_what_it_likes_on_stderr(airflow: Airflow, tmp_path: Path) -> None:
    banner = 'for number in 1 2 3 4 5; do echo "Pulling layer $number ..." >&2; done'
    prefix = script(tmp_path / "run", banner, 'exec "$@"')
    result = lint_files(tmp_path / "clone", {"a.py": dag("a")}, interpreter(f"{prefix} {airflow.python}"))
    assert rules_by_file(result) == {}
    assert ids(result) == {"a"}


# What a DAG file sees.


SET_BY: Final = {
    "a_before": "",
    "b_environment": "import os\nos.environ['AIRFLOW__CORE__MAX_ACTIVE_TASKS_PER_DAG'] = '7'",
    "c_conf": "from airflow.configuration import conf\nconf.read_dict({'core': {'max_active_tasks_per_dag': '7'}})",
    "d_after": "",
}
SAYS: Final = "work.override(task_id='work_%d' % conf.getint('core', 'max_active_tasks_per_dag'))()"
"""A task that is named after the setting."""


def test_setting_that_a_file_changes_has_its_new_value_at_once(lint_python: tuple[str, Path], tmp_path: Path) -> None:
    ask = "from airflow.configuration import conf\nconf.getint('core', 'max_active_tasks_per_dag')"
    files = {f"{name}.py": dag(name, above=f"{ask}\n{change}", inside=SAYS) for name, change in SET_BY.items()}
    result = lint_files(tmp_path / "clone", files, lint_python[1])
    assert rules_by_file(result) == {}
    assert result.inventory is not None
    tasks = {one.id: {task.id for task in one.tasks} - {"work"} for one in result.inventory}
    assert tasks["a_before"] == tasks["d_after"] == {"work_16"}
    assert tasks["b_environment"] == tasks["c_conf"] == {"work_7"}


def test_stubs_stand_for_what_production_has(lint_python: tuple[str, Path], tmp_path: Path) -> None:
    files = {
        "variable.py": dag("variable", above=VARIABLE + "assert REGION == 'eu', REGION"),
        "connection.py": dag("connection", above=CONNECTION),
    }
    clone = Clone(tmp_path / "clone")
    clone.commit(below_dags(files))
    without = lint_clone(clone, lint_python[1])
    hints = {one.path: one.hint for one in without.findings if one.rule == "import-error"}
    assert "lint.variables" in hints["dags/variable.py"]
    assert "lint.connections" in hints["dags/connection.py"]
    assert ids(without) == set()
    variables, connections = {"region": "eu"}, {"crm": "http://crm.example.com"}
    given = lint_clone(clone, lint_python[1], variables=variables, connections=connections)
    assert rules_by_file(given) == {"variable.py": {"variable-at-import"}, "connection.py": {"connection-at-import"}}
    assert ids(given) == {"variable", "connection"}


@contextmanager
def counting_server() -> Iterator[tuple[str, list[str]]]:
    """A server on loopback that says `from_the_network`, and the paths that it was asked for."""
    asked: list[str] = []

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"from_the_network")

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/name", asked
        finally:
            server.shutdown()
            thread.join()


def test_network_is_let_through_only_if_allowed(lint_python: tuple[str, Path], tmp_path: Path) -> None:
    with counting_server() as (url, asked):
        fetch = (
            "import urllib.request\n"
            "OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))\n"
            f"assert OPENER.open({url!r}).read() == b'from_the_network'"
        )
        clone = Clone(tmp_path / "clone")
        clone.commit(below_dags({"a.py": dag("a", above=fetch)}))
        refused = lint_clone(clone, lint_python[1])
        assert asked == []
        assert "network-at-import" in rules_by_file(refused)["a.py"]
        assert ids(refused) == set()
        allowed = lint_clone(clone, lint_python[1], allow_network=True)
        assert set(asked) == {"/name"}
        assert rules_by_file(allowed) == {"a.py": {"network-at-import"}}
        assert ids(allowed) == {"a"}


# What is kept.


class Recorded:
    """A Python that writes down each start, and what each start imported."""

    def __init__(self, folder: Path, python: Path) -> None:
        self._log = folder / "starts"
        self._imports = folder / "imports"
        self._python = folder / "python-path"
        self.use(python)
        lines = [
            f"echo start >> {shlex.quote(str(self._log))}",
            f'exec "$(cat {shlex.quote(str(self._python))})" -X importtime "$@" 2>> {shlex.quote(str(self._imports))}',
        ]
        self.path = script(folder / "python", *lines)

    def use(self, python: Path) -> None:
        """From now on it is that one."""
        self._python.write_text(f"{python}\n")

    def since(self) -> tuple[int, bool]:
        """Starts since the last time this was asked, and whether any of them imported Airflow."""
        starts = len(self._log.read_text().splitlines())
        airflow = any("| airflow." in " ".join(line.split()) for line in self._imports.read_text().splitlines())
        self._log.write_text("")
        self._imports.write_text("")
        return starts, airflow


class Kept:
    """A tree that is linted again and again with one cache, and the Python that does it."""

    FILES: Final = {
        "plain.py": dag("plain"),
        "one.py": dag("one", above="from common.rates import RATE"),
        "two.py": dag("two", above="import common.rates"),
        "optional.py": dag("optional", above="try:\n    import extras\nexcept ImportError:\n    extras = None"),
        "query.py": dag("query", above="from pathlib import Path\nSQL = (Path(__file__).parent / 'q.sql').read_text()"),
        "q.sql": b"select 1\n",
        "common/__init__.py": b"",
        "common/rates.py": b"RATE = 1\n",
    }
    DAG_FILES: Final = 5

    def __init__(self, folder: Path, python: Path) -> None:
        self.python = Recorded(folder, python)
        self.cache = folder / "cache"
        self.clone = Clone(folder / "clone")
        self.clone.commit(below_dags(self.FILES))

    def lint(self) -> tuple[int, int, set[str]]:
        """(results from the cache, DAG files, ids)"""
        result = lint_clone(self.clone, self.python.path, cache=self.cache)
        return result.checked.cached, result.checked.dag_files, ids(result)

    def change(self, path: str, body: bytes | None) -> None:
        if body is None:
            (self.clone.folder / "dags" / path).unlink()
        self.clone.commit({f"dags/{path}": body} if body is not None else {})


IDS: Final = {"plain", "one", "two", "optional", "query"}


@pytest.fixture(scope="module")
def linted_once(lint_python: tuple[str, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Kept, Path]:
    """A tree whose results are in its cache, and a copy of that cache."""
    folder = tmp_path_factory.mktemp("kept")
    kept = Kept(folder, lint_python[1])
    assert kept.lint() == (0, kept.DAG_FILES, IDS)
    starts, airflow = kept.python.since()
    assert starts > 1
    assert airflow
    shutil.copytree(kept.cache, folder / "saved")
    return kept, folder / "saved"


@pytest.fixture
def kept(linted_once: tuple[Kept, Path]) -> Iterator[Kept]:
    """The tree with its cache as they are after one run."""
    tree, saved = linted_once
    before = tree.clone.git("rev-parse", "HEAD")
    tree.python.since()
    yield tree
    tree.clone.git("reset", "-q", "--hard", before)
    shutil.rmtree(tree.cache)
    shutil.copytree(saved, tree.cache)


def test_second_run_imports_nothing(kept: Kept) -> None:
    assert kept.lint() == (5, 5, IDS)
    assert kept.python.since() == (1, False), "only the question about the environment is asked"


def test_changed_helper_imports_its_importers_again(kept: Kept) -> None:
    kept.change("common/rates.py", b"RATE = 2\n")
    assert kept.lint() == (3, 5, IDS)
    assert kept.python.since()[1]


def test_changed_file_that_was_read_imports_its_reader_again(kept: Kept) -> None:
    kept.change("q.sql", b"select 2\n")
    assert kept.lint() == (4, 5, IDS)


def test_new_module_that_was_looked_for_imports_who_looked_again(kept: Kept) -> None:
    kept.change("extras.py", b"LEVEL = 3\n")
    assert kept.lint() == (4, 5, IDS)


def test_changed_airflowignore_takes_files_out_and_back(kept: Kept) -> None:
    kept.change(".airflowignore", b"two.py\n")
    assert kept.lint()[1:] == (4, IDS - {"two"})
    kept.change(".airflowignore", b"one.py\n")
    assert kept.lint()[1:] == (4, IDS - {"one"})


def test_removed_file_is_no_longer_reported(kept: Kept) -> None:
    kept.change("plain.py", None)
    assert kept.lint() == (4, 4, IDS - {"plain"})


def test_damaged_cache_is_no_cache(kept: Kept) -> None:
    (file,) = kept.cache.glob("lint-*")
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    assert kept.lint() == (0, 5, IDS)
    assert kept.lint() == (5, 5, IDS), "and it is put right"


def test_other_airflow_behind_the_same_command_has_results_of_its_own(
    kept: Kept, lint_python: tuple[str, Path]
) -> None:
    other = "DAGFERRY_AIRFLOW_PYTHON" if lint_python[0] == "2.11" else "DAGFERRY_AIRFLOW2_PYTHON"
    kept.python.use(Path(os.environ[other]).absolute())
    try:
        assert kept.lint() == (0, 5, IDS)
    finally:
        kept.python.use(lint_python[1])


def test_cache_folder_that_cannot_be_written_costs_only_time(
    kept: Kept, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    result = lint_clone(kept.clone, kept.python.path, cache=tmp_path / "file" / "cache")
    assert (result.checked.cached, ids(result)) == (0, IDS)
    assert "writing the cache of lint" in caplog.text


def test_result_that_depends_on_the_moment_is_not_kept(airflow: Airflow, tmp_path: Path) -> None:
    clone = Clone(tmp_path / "clone")
    clone.commit(below_dags({"a.py": dag("a"), "slow.py": dag("slow", above="import time\ntime.sleep(60)")}))
    for cached in (0, 1):
        result = lint_clone(clone, airflow.python, cache=tmp_path / "cache", import_timeout=1)
        assert rules_by_file(result) == {"slow.py": {"import-timeout"}}
        assert result.checked.cached == cached


# How it is interrupted.


def marked(mark: str) -> dict[int, str]:
    """The living processes whose environment has the mark, and what they are."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"{MARK}={mark}\0".encode() in (process / "environ").read_bytes():
                found[int(process.name)] = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()[:120]
        except OSError:
            continue
    return found


@pytest.mark.parametrize(
    ("number", "whole_group", "code"),
    [(signal.SIGINT, True, 130), (signal.SIGINT, False, 130), (signal.SIGTERM, False, 143)],
    ids=["interrupt of the group", "interrupt of dagferry alone", "termination"],
)
def test_interrupted_run_leaves_nothing_behind(
    airflow: Airflow, tmp_path: Path, number: signal.Signals, whole_group: bool, code: int
) -> None:
    mark = secrets.token_hex(8)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    begun = scratch / "begun"
    forever = f"import time\nopen({str(begun)!r}, 'w').close()\nwhile True: time.sleep(1)"
    clone = Clone(tmp_path / "clone")
    table = b"[lint]\nimport_timeout = 300\n"
    clone.commit(
        {**below_dags({"a.py": dag("a", above=forever)}), "dagferry.toml": table + b'[bundles.etl]\nroot = "dags"\n'}
    )
    process = subprocess.Popen(
        lint_command(airflow.python, "--no-cache"),
        cwd=clone.folder,
        env=harness.environment(TMPDIR=str(scratch), **{MARK: mark}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        harness.wait_for(lambda: begun.exists() or None, "the import", seconds=60)
        (os.killpg if whole_group else os.kill)(process.pid, number)
        stdout, stderr = process.communicate(timeout=60)
        assert process.returncode == code, (stdout, stderr)
        assert "Traceback" not in stdout + stderr
        harness.wait_for(lambda: not marked(mark) or None, f"the end of {marked(mark)}", seconds=10)
        assert [path.name for path in scratch.iterdir() if path != begun] == []
    finally:
        for pid in marked(mark):
            os.kill(pid, signal.SIGKILL)
        process.communicate()
