"""Planted bugs in the doctor: its tests find each. Each is an edit in a copy of the source that the tests import."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from tests.planting import FAILED, Bug, copy_of_source, outcome

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.planted
TESTS: Final = ("tests/agent/test_doctor.py",)

BUGS: Final = {
    "every folder follows the switch": Bug(
        "doctor_airflow",
        "        return False\n\n    def _release_at",
        "        return True\n\n    def _release_at",
        "not_at_the_link",
    ),
    "a release is not known by its inode": Bug(
        "doctor_airflow", "for name in self._root.names():", "for name in ():", "release_itself"
    ),
    "what nobody signed is believed": Bug(
        "doctor_store",
        "policy, state = self._keyring.policy(utc(self._clock())), self._state()",
        "policy, state = KeyringFolder(None).policy(utc(self._clock())), self._state()",
        "nobody_signed",
    ),
    "what was accepted before is forgotten": Bug(
        "doctor_store", "policy, state.floor, keeps", "policy, None, keeps", "put_back"
    ),
    "a trial stays": Bug("doctor_volume", "erase(folder)", "pass", "left_as_it_was"),
    "a look that may not write does": Bug(
        "doctor_volume",
        "        if self._read_only:\n            raise",
        "        if False:\n            raise",
        "nothing_is_written",
    ),
    "a failed check does no harm": Bug("doctor", "if finding.fails]", "if False]", "make_the_pod_unfit"),
    "a token that is over counts": Bug("doctor_endpoint", "if is_valid(entry, now)]", "]", "tokens_that_are_over"),
}


def test_source_without_a_bug_passes(tmp_path: Path) -> None:
    assert outcome(copy_of_source(tmp_path), TESTS, [bug.test for bug in BUGS.values()]) == 0


@pytest.mark.parametrize("bug", BUGS.values(), ids=BUGS)
def test_planted_bug_is_found(bug: Bug, tmp_path: Path) -> None:
    source = copy_of_source(tmp_path)
    bug.plant(source)
    assert outcome(source, TESTS, [bug.test]) == FAILED
