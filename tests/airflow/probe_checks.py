"""What must hold of every import by the probe, in one small tree; a program, so that planted bugs can be tried on it.

    python -m tests.airflow.probe_checks PYTHON FOLDER

Prints the names of the checks that fail, one a line. The dagferry that is tried is the one that can be imported.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.airflow.corpus import files_of
from tests.airflow.linted import below_dags, dag, ids, lint_clone, rules_by_file
from tests.builder.repositories import Clone

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagferry_builder.lint.result import Result

DIRTY: Final = (
    b"# a DAG of airflow\nimport json\njson.left_behind = 1\nraise RuntimeError('no further file in this process')\n"
)
LOOKS: Final = "'left_behind' if hasattr(__import__('json'), 'left_behind') else {!r}"
FILES: Final = {
    "a_plain.py": dag("a_plain"),
    "b_changes.py": dag("b_changes", above="open(__file__ + '.new', 'w').close()"),
    "b_signals.py": dag("b_signals", above="import os\nos.kill(os.getppid(), 0)"),
    "c_ends.py": dag("c_ends", inside="import os; os._exit(0)"),
    "d_1_dirty.py": DIRTY,
    "d_2_looks.py": dag("", expression=LOOKS.format("d_2")),
    "d_3_dirty.py": DIRTY,
    "d_4_looks.py": dag("", expression=LOOKS.format("d_4")),
    "e_random.py": dag("e_random", inside="import random; work.override(task_id=f'work_{random.random()}')()"),
    "f_helped.py": dag("", above="from helper import NAME", expression="NAME"),
    "helper.py": b"NAME = 'f_before'\n",
    **files_of("faults", "not_serializable_timetable"),
}
HELPED: Final = {"helper.py": b"NAME = 'f_after'\n"}
"""What the tree is changed by before it is linted again, with what was kept."""
Runs = tuple["Result", "Result"]


def check_changes_and_signals_are_refused(runs: Runs) -> None:
    found = rules_by_file(runs[0])
    assert "change-at-import" in found["b_changes.py"]
    assert "signal-at-import" in found["b_signals.py"]
    assert not ids(runs[0]) & {"b_changes", "b_signals"}


def check_end_of_a_process_is_reported(runs: Runs) -> None:
    assert "import-crash" in rules_by_file(runs[0]).get("c_ends.py", set())


def check_second_import_shows_what_changes(runs: Runs) -> None:
    assert "unstable-structure" in rules_by_file(runs[0]).get("e_random.py", set())


def check_definitions_are_serialized(runs: Runs) -> None:
    assert "not-serializable" in rules_by_file(runs[0]).get("not_serializable_timetable.py", set())


def check_process_in_which_a_file_failed_takes_no_other(runs: Runs) -> None:
    assert ids(runs[0]) >= {"d_2", "d_4"}
    assert rules_by_file(runs[0]).keys() & {"d_2_looks.py", "d_4_looks.py"} == set()


def check_result_holds_only_as_long_as_what_was_read(runs: Runs) -> None:
    assert "f_before" in ids(runs[0])
    assert "f_after" in ids(runs[1])


def check_plain_file_is_fine(runs: Runs) -> None:
    for run in runs:
        assert "a_plain" in ids(run)
        assert "a_plain.py" not in rules_by_file(run)


CHECKS: Final[tuple[Callable[[Runs], None], ...]] = (
    check_changes_and_signals_are_refused,
    check_end_of_a_process_is_reported,
    check_second_import_shows_what_changes,
    check_definitions_are_serialized,
    check_process_in_which_a_file_failed_takes_no_other,
    check_result_holds_only_as_long_as_what_was_read,
    check_plain_file_is_fine,
)


def runs(python: Path, folder: Path) -> Runs:
    """The tree linted, and linted again after a change."""
    clone = Clone(folder / "clone")
    found = []
    for files in (FILES, HELPED):
        clone.commit(below_dags(files))
        # What a busy machine makes slow is not kept in the cache: with the usual budget that would be chance.
        found.append(lint_clone(clone, python, cache=folder / "cache", import_budget=100))
    return found[0], found[1]


def failing(python: Path, folder: Path) -> list[str]:
    """The checks that do not pass."""
    seen = runs(python, folder)
    names = []
    for check in CHECKS:
        try:
            check(seen)
        except (AssertionError, KeyError):
            names.append(check.__name__)
    return names


if __name__ == "__main__":
    sys.stdout.writelines(f"{name}\n" for name in failing(Path(sys.argv[1]), Path(sys.argv[2])))
