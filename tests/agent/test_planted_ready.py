"""Planted bugs in the switch to a release that is ready."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from tests.planting import FAILED, Bug, copy_of_source, outcome

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.planted
TESTS: Final = ("tests/agent/test_ready.py",)
BUGS: Final = {
    "what was done to it is not asked for": Bug(
        "waiting", "self._watch is not None and self._watch.is_quiet() and", "True and", "write or replace or remove"
    ),
    "files that come and go are not noticed": Bug(
        "waiting", "open_watch(entries=True)", "open_watch()", "remove or replace or add"
    ),
    "folders without files are not watched": Bug("waiting", "folder = folder.parent", "break", "folders_alone"),
    "it is compared with what was live then": Bug(
        "waiting", "return self._beside == live", "return True", "another_process"
    ),
    "all that is linked elsewhere gets its time": Bug(
        "renewing", "if found.st_nlink > 1:", "if False:", "other_releases_have_too"
    ),
    "its new marks are not told": Bug(
        "renewing", "if fresh and release.is_marked:", "if False:", "what_is_told_of_it or begins_anew"
    ),
    "marks are told at the wrong places": Bug(
        "releases", "number * MARK_BYTES, mark.inode", "(number - 1) * MARK_BYTES, mark.inode", "what_is_told_of_it"
    ),
    "Airflow is shown nothing": Bug(
        "providing", "waiting.release, waiting.differing, stamp", "waiting.release, (), stamp", "touched"
    ),
    "lists are read": Bug("providing", "if waiting.is_next_to(", "if False and waiting.is_next_to(", "reads_no_list"),
}


def test_source_without_a_bug_passes(tmp_path: Path) -> None:
    assert outcome(copy_of_source(tmp_path), TESTS, [bug.test for bug in BUGS.values()]) == 0


@pytest.mark.parametrize("bug", BUGS.values(), ids=BUGS)
def test_planted_bug_is_found(bug: Bug, tmp_path: Path) -> None:
    source = copy_of_source(tmp_path)
    bug.plant(source)
    assert outcome(source, TESTS, [bug.test]) == FAILED
