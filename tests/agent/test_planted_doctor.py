"""Planted bugs in the doctor: its tests find each. Each is an edit in a copy of the source that the tests import."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pytest

from tests.e2e.harness import CHECKOUT

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.planted
COMPONENTS: Final = ("schemas", "storage", "builder", "agent")
FAILED: Final = 1
"""What pytest ends with when tests fail."""


@dataclass(frozen=True)
class Planted:
    """A bug: an edit in a module of the agent, and words in the name of the test that has to find it."""

    module: str
    old: str
    new: str
    test: str


BUGS: Final = {
    "every folder follows the switch": Planted(
        "doctor_airflow",
        "        return False\n\n    def _release_at",
        "        return True\n\n    def _release_at",
        "not_at_the_link",
    ),
    "a release is not known by its inode": Planted(
        "doctor_airflow", "for name in self._root.names():", "for name in ():", "release_itself"
    ),
    "what nobody signed is believed": Planted(
        "doctor_store",
        "policy, state = self._keyring.policy(utc(self._clock())), self._state()",
        "policy, state = KeyringFolder(None).policy(utc(self._clock())), self._state()",
        "nobody_signed",
    ),
    "what was accepted before is forgotten": Planted(
        "doctor_store", "policy, state.floor, keeps", "policy, None, keeps", "put_back"
    ),
    "a trial stays": Planted("doctor_volume", "erase(folder)", "pass", "left_as_it_was"),
    "a look that may not write does": Planted(
        "doctor_volume",
        "        if self._read_only:\n            raise",
        "        if False:\n            raise",
        "nothing_is_written",
    ),
    "a failed check does no harm": Planted("doctor", "if finding.fails]", "if False]", "make_the_pod_unfit"),
    "a token that is over counts": Planted("doctor_endpoint", "if is_valid(entry, now)]", "]", "tokens_that_are_over"),
}


def test_source_without_a_bug_passes(tmp_path: Path) -> None:
    assert _outcome(_copy(tmp_path), " or ".join(bug.test for bug in BUGS.values())) == 0


@pytest.mark.parametrize("bug", BUGS.values(), ids=BUGS)
def test_planted_bug_is_found(bug: Planted, tmp_path: Path) -> None:
    source = _copy(tmp_path)
    file = source / "agent" / "dagferry_agent" / f"{bug.module}.py"
    text = file.read_text()
    assert text.count(bug.old) == 1, f"{bug.module} has no longer one {bug.old!r}"
    file.write_text(text.replace(bug.old, bug.new))
    assert _outcome(source, bug.test) == FAILED


def _copy(folder: Path) -> Path:
    source = folder / "source"
    for component in COMPONENTS:
        shutil.copytree(CHECKOUT / component, source / component, ignore=shutil.ignore_patterns("__pycache__"))
    return source


def _outcome(source: Path, words: str) -> int:
    """What pytest ends with for those tests, which import what is in ``source``."""
    path = os.pathsep.join([*(str(source / one) for one in COMPONENTS), str(CHECKOUT)])
    environment = {**os.environ, "PYTHONPATH": path}
    environment.pop("DAGFERRY_TEST_INSTALLED", None)
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-k", words]
    file = str(CHECKOUT / "tests" / "agent" / "test_doctor.py")
    return subprocess.run(
        [*command, file], cwd=CHECKOUT, env=environment, capture_output=True, timeout=120, check=False
    ).returncode
