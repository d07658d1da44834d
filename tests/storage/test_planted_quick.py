"""Planted bugs in the quick reader of S3: its own tests, and those of every S3 store, find each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from tests.planting import FAILED, Bug, copy_of_source, outcome

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.planted
TESTS: Final = ("tests/storage/test_s3_quick.py", "tests/storage/test_s3.py")


def bug(old: str, new: str, test: str) -> Bug:
    return Bug("s3_quick", old, new, test, "storage")


BUGS: Final = {
    "obstore reads in a forked process": bug(" or _begun - {os.getpid()}", "", "a_forked_process"),
    "boto3 is never left to read alone": bug("self._in_vain >= IN_VAIN or ", "", "left_to_it_after_a_while"),
    "an outage counts as obstore's fault": bug(
        "            found = self._store.read(key, limit=limit)\n            self._in_vain += 1\n",
        "            self._in_vain += 1\n            found = self._store.read(key, limit=limit)\n",
        "does_not_give_it_up",
    ),
    "any size is taken": bug('if answer.meta["size"] > limit:', "if False:", "a_limit_is_inclusive"),
    "a condition is left out": bug("if token is None:", "if True:", "one_request"),
    "a profile is not looked at": bug("bool(chain) and said <= known", "bool(chain)", "names_all_that_counts"),
    "files are not looked at": bug(" and not any(file.is_file() for file in files)", "", "usual_places"),
    "what breaks off is the end": bug(
        "            except Exception as error:\n",
        "            except Exception as error:\n                return\n",
        "breaks_off",
    ),
}


def test_source_without_a_bug_passes(tmp_path: Path) -> None:
    assert outcome(copy_of_source(tmp_path), TESTS, [bug.test for bug in BUGS.values()]) == 0


@pytest.mark.parametrize("name", BUGS)
def test_planted_bug_is_caught(tmp_path: Path, name: str) -> None:
    source = copy_of_source(tmp_path)
    BUGS[name].plant(source)
    assert outcome(source, TESTS, [BUGS[name].test]) == FAILED, name
