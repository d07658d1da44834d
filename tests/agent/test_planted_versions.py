"""Planted bugs in what has a bundle's versions on the disk: its tests find each, without an Airflow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from tests.planting import FAILED, Bug, copy_of_source, outcome

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.planted
TESTS: Final = tuple(f"tests/agent/test_version_{name}.py" for name in ("folders", "settling", "sources"))

BUGS: Final = {
    "what a run needs is removed": Bug(
        "version_cleanup",
        "if version in needed or last[version] > before",
        "if last[version] > before",
        "what_is_needed_stay",
    ),
    "what was used lately is removed": Bug(
        "version_cleanup", "if version in needed or last[version] > before", "if version in needed", "used_lately"
    ),
    "what a task holds is removed": Bug(
        "version_use",
        "        except BlockingIOError:\n            yield False\n",
        "        except BlockingIOError:\n            yield True\n",
        "what_a_task_holds_stays",
    ),
    "a lock is held on a file that was removed": Bug(
        "version_use", "if _is_at(descriptor, path):", "if True:", "made_anew"
    ),
    "a version without a tracking file has no age": Bug(
        "version_cleanup", "use.last(version) or folders.made(version)", "use.last(version) or 0.0", "never_heard_of"
    ),
    "a version is filled where everybody sees it": Bug(
        "version_folders",
        'fresh = self._staging / f"{os.urandom(8).hex()}"\n        fresh.mkdir()',
        "fresh = self.path(version)\n        fresh.mkdir()",
        "one_that_is_killed",
    ),
    "a version may become another tree": Bug(
        "version_folders", "self.require_same(version, tree)\n                ", "", "never_changes"
    ),
    "files are not as new as their version": Bug(
        "version_folders", "os.utime(self.path(version) / file, (now, now))", "pass", "gets_the_present"
    ),
    "a release is copied without a look": Bug(
        "version_sources", "if hashed.hexdigest() != file.sha256:", "if False:", "damaged_release"
    ),
    "a link is followed out of a release": Bug("version_sources", "os.O_NOFOLLOW | ", "", "damaged_release"),
    "a key that was taken away still vouches": Bug(
        "version_sources",
        "if not still_vouch(served.signers, bundle=bundle, channel=channel, policy=policy):",
        "if policy is None:",
        "taken_away",
    ),
    "a version that nobody signed is taken": Bug(
        "version_sources", "fetch.statement(self._store, found, policy)", "()", "without_a_statement"
    ),
    "an old record is taken for a new one": Bug(
        "version_sources", "self._policy(), state.floor, keeps", "self._policy(), None, keeps", "never_goes_back"
    ),
    "a parse in the old folder counts": Bug(
        "version_settling", "elsewhere = not parse.place.startswith(self._folder)", "elsewhere = False", "one_file"
    ),
    "a failure in the old folder counts": Bug(
        "version_settling", "if self._folder in failure.told:", "if True:", "fails_in_the_old_folder"
    ),
    "a change that came too soon is forgotten": Bug(
        "version_settling", "missed = elsewhere or too_soon", "missed = elsewhere", "one_file"
    ),
}


def test_source_without_a_bug_passes(tmp_path: Path) -> None:
    assert outcome(copy_of_source(tmp_path), TESTS, [bug.test for bug in BUGS.values()]) == 0


@pytest.mark.parametrize("bug", BUGS.values(), ids=BUGS)
def test_planted_bug_is_found(bug: Bug, tmp_path: Path) -> None:
    source = copy_of_source(tmp_path)
    bug.plant(source)
    assert outcome(source, TESTS, [bug.test]) == FAILED
