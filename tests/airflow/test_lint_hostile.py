"""DAG files that act against the process which imports them: the run ends, and no other file's result suffers."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.airflow.linted import (
    HOSTILE,
    below_dags,
    dag,
    ids,
    lint_command,
    lint_files,
    process_namespace,
    rules_by_file,
)
from tests.builder.repositories import Clone
from tests.e2e import harness

if TYPE_CHECKING:
    from pathlib import Path

    from dagferry_builder.lint.result import Result

pytestmark = pytest.mark.airflow

HARMLESS: Final = {
    "alarm": "Airflow's own time limit is over by then",
    "change_process": "the environment, the folder and the path of the process are put back",
    "close_stdout": "nothing is printed afterwards",
    "dag_without_text": "Airflow takes it",
    "exit_at_the_end": "what runs when the interpreter ends is not run",
    "flood_descriptors": "standard output leads nowhere",
    "full_disk_limit": "nothing is written",
    "no_more_files": "the next file has a process of its own",
    "patch_serialization": "its own serialization is all that it spoils",
    "thread_forever": "it ends with the process",
    "trace_ended": "nothing traces",
}
"""Files of which nothing has to be said, and why."""
FOUND: Final[dict[str, set[str]]] = {
    "alarm_cancelled": {"import-timeout"},
    "allocation": {"memory-limit"},
    "allocation_swallowed": {"import-timeout", "memory-limit"},
    "base_exception": {"import-error"},
    "child_outlives": {"process-at-import"},
    "child_outlives_fork": {"process-at-import"},
    "child_returns": {"process-at-import"},
    "close_every_descriptor": {"import-crash"},
    "dag_with_properties": {"exit-at-import"},
    "endless_loop": {"import-timeout"},
    "endless_sleep": {"import-timeout"},
    "exception_huge": {"import-error"},
    "exception_without_end": {"import-timeout", "import-error"},
    "exception_without_text": {"import-error"},
    "exit": {"exit-at-import"},
    "exit_without_cleanup": {"import-crash"},
    "flood": {"output-at-import"},
    "keyboard_interrupt": {"import-error"},
    "kill_parent": {"signal-at-import"},
    "kill_parent_native": {"import-crash"},
    "kill_parent_proc": {"import-crash"},
    "kill_parent_process": {"import-crash"},
    "kill_parent_shell": {"import-crash"},
    "patch_builtins": {"import-crash", "invalid-dag", "import-error"},
    "patch_dag_class": {"invalid-dag"},
    "recursion": {"import-crash", "import-error", "import-timeout", "memory-limit"},
    "recursion_native": {"import-crash"},
    "replace_stdout": {"import-error", "invalid-dag"},
    "signals_ignored": {"import-timeout"},
    "write_every_descriptor": {"result-tampered"},
}
"""By file: the rules of which one has to speak."""
QUIET_ON_2: Final = {"replace_stdout"}
"""Files that Airflow 2.11 imports, because it prints nothing itself."""
ON_2: Final = {
    "allocation",
    "base_exception",
    "dag_with_properties",
    "endless_sleep",
    "exit",
    "exit_without_cleanup",
    "flood",
    "kill_parent",
    "kill_parent_native",
    "no_more_files",
    "recursion_native",
    "replace_stdout",
    "trace_ended",
    "write_every_descriptor",
}
"""The files that 2.11 is tried with; 3.3 gets all."""
ENDED: Final = {
    "exit-at-import",
    "import-crash",
    "import-timeout",
    "memory-limit",
    "result-tampered",
    "signal-at-import",
}
"""Rules by which a file's import did not come to its end."""
NEIGHBOURS: Final = (
    "aa_first",
    "ce_second",
    "end_third",
    "fa_fourth",
    "kill_n_fifth",
    "o_sixth",
    "s_seventh",
    "zz_last",
)


def neighbours() -> dict[str, bytes]:
    return {f"{name}.py": dag(name) for name in NEIGHBOURS}


def tried(version: str) -> set[str]:
    return ON_2 if version == "2.11" else FOUND.keys() | HARMLESS.keys()


@pytest.fixture(scope="module")
def linted(lint_python: tuple[str, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Result]:
    version, python = lint_python
    files = {f"{name}.py": (HOSTILE / f"{name}.py").read_bytes() for name in tried(version)}
    folder = tmp_path_factory.mktemp("hostile") / "clone"
    return version, lint_files(folder, {**files, **neighbours()}, python, import_timeout=4, memory_mb=512)


def test_every_hostile_file_is_judged_here() -> None:
    assert {path.stem for path in HOSTILE.glob("*.py")} == FOUND.keys() | HARMLESS.keys()


def test_every_act_has_its_finding(linted: tuple[str, Result]) -> None:
    version, result = linted
    found = rules_by_file(result)
    wanted = tried(version) & FOUND.keys() - (QUIET_ON_2 if version == "2.11" else set())
    missed = {name: found.get(f"{name}.py") for name in wanted if not FOUND[name] & found.get(f"{name}.py", set())}
    assert missed == {}


def test_nothing_is_said_of_what_does_no_harm(linted: tuple[str, Result]) -> None:
    version, result = linted
    quiet = tried(version) & HARMLESS.keys()
    found = rules_by_file(result)
    assert {name: found[f"{name}.py"] for name in quiet if f"{name}.py" in found} == {}


def test_neighbours_are_as_if_they_were_alone(linted: tuple[str, Result]) -> None:
    _, result = linted
    found = rules_by_file(result)
    assert {name: found[f"{name}.py"] for name in NEIGHBOURS if f"{name}.py" in found} == {}
    assert ids(result) >= set(NEIGHBOURS)


def test_inventory_has_no_dag_of_a_file_that_was_ended(linted: tuple[str, Result]) -> None:
    _, result = linted
    ended = {path.removesuffix(".py") for path, rules in rules_by_file(result).items() if rules & ENDED}
    assert ended
    assert ids(result) & {f"hostile_{name}" for name in ended} == set()
    assert ids(result) >= {f"hostile_{name}" for name in HARMLESS.keys() & tried(linted[0])}


# What would hurt more than one process runs where there is nothing else to hurt.

DEEP: Final[dict[str, set[str]]] = {
    "kill_all": {"signal-at-import"},
    "kill_group": {"signal-at-import"},
    "overwrite_other_files": {"change-at-import"},
    "remove_files_native": {"change-at-import"},
    "remove_tree": {"change-at-import"},
    "remove_tree_shell": {"change-at-import"},
}
BELOW: Final = ("sh", "-c", '"$@"; exit $?', "sh")
"""Puts a command below a shell: the first process of a namespace cannot be killed from inside it."""


@pytest.fixture
def apart() -> list[str]:
    words = process_namespace()
    if not words:
        reason = "only root can make a process namespace, with unshare"
        if os.environ.get("CI"):
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    return words


def deep_findings(document: dict[str, Any]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for one in document["findings"]:
        found.setdefault(str(one["path"]).removeprefix("dags/").removesuffix(".py"), set()).add(one["rule"])
    return found


def test_files_that_destroy_are_found_and_destroy_nothing(
    lint_python: tuple[str, Path], tmp_path: Path, apart: list[str]
) -> None:
    clone = Clone(tmp_path / "clone")
    files = {f"{name}.py": (HOSTILE / "deep" / f"{name}.py").read_bytes() for name in DEEP}
    committed = below_dags({**files, **neighbours(), "between/k.py": dag("between")})
    clone.commit(committed)
    done = subprocess.run(
        [*apart, *BELOW, *lint_command(lint_python[1], "--no-cache")],
        cwd=clone.folder,
        env=harness.environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1, done
    found = deep_findings(json.loads(done.stdout))
    assert found.keys() == DEEP.keys()
    assert {name: found[name] for name in DEEP if not DEEP[name] & found[name]} == {}
    assert {path: (clone.folder / path).read_bytes() for path in committed} == committed
