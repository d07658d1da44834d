"""Planted bugs in the bundle as Airflow sees it: loading it finds each. Edits in a copy of what is installed."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pytest

from tests.airflow.test_bundle_loads import (
    test_a_bundle_that_cannot_be_had_says_why_as_airflow_wants_it as says_why,
)
from tests.airflow.test_bundle_loads import test_the_commands_of_airflow_see_what_the_channel_says as loads

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.airflow.real import Airflow

pytestmark = pytest.mark.airflow


@dataclass(frozen=True)
class Planted:
    """A bug: an edit of the bundle, and the test that has to fail."""

    old: str
    new: str
    test: Callable[[Airflow, Path, Path], None]


BUGS: Final = {
    "a run's bundle follows the channel": Planted(
        "            if self.version is not None:\n                self._have(self.version)\n            else:\n",
        "            if True:\n                self.version = None\n",
        loads,
    ),
    "a run's bundle may be refreshed": Planted(
        '                raise Usage(f"{self.name} is at version {self.version}, and stays there")',
        "                return",
        loads,
    ),
    "an error is not Airflow's": Planted(
        '        raise AirflowException(f"{name}: {error.message} ({error.hint})") from error',
        "        raise",
        says_why,
    ),
}


@pytest.mark.parametrize("bug", BUGS.values(), ids=BUGS)
def test_planted_bug_is_found(bug: Planted, airflow: Airflow, site: Path, tmp_path: Path) -> None:
    planted = tmp_path / "site"
    shutil.copytree(site, planted, symlinks=True)
    file = planted / "dagferry_agent" / "airflow_bundle.py"
    text = file.read_text()
    assert text.count(bug.old) == 1, f"the bundle has no longer one {bug.old!r}"
    file.write_text(text.replace(bug.old, bug.new))
    (tmp_path / "trial").mkdir()
    with pytest.raises(AssertionError):
        bug.test(airflow, planted, tmp_path / "trial")
