"""Planted bugs in what agents say in the store, and in who waits for it: the tests find each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from tests.planting import FAILED, Bug, copy_of_source, outcome

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.planted
TESTS: Final = ("tests/agent/test_acknowledging.py", "tests/builder/test_acknowledged.py")

BUGS: Final = {
    "goodbye is said for another process": Bug(
        "acknowledging", "if other and said.gone:", "if False:", "does_not_silence_another"
    ),
    "two processes with one name go unnoticed": Bug(
        "acknowledging", "disputed=other and self._written", "disputed=False", "find_each_other_out"
    ),
    "a process that starts again disputes its own name": Bug(
        "acknowledging", "disputed=other and self._written", "disputed=other", "takes_its_object_over"
    ),
    "a lost reply is taken for another state": Bug(
        "acknowledging", "left.process != self.process and ", "", "is_no_dispute"
    ),
    "every poll is said": Bug("acknowledging", "if news != self._news:", "if True:", "not_said_again"),
    "a refusal is tried at every poll": Bug("acknowledging", "if news != self._news:", "if True:", "tries_after"),
    "every refusal is a warning": Bug(
        "acknowledging", "logging.DEBUG if self._in_trouble else logging.WARNING", "logging.WARNING", "one_warning"
    ),
    "an agent that stands by speaks": Bug("acknowledging", 'status.role == "standby"', "False", "stands_by"),
    "who asks that nothing is written is not heard": Bug(
        "acknowledging", "if self._settings.acknowledge:", "if True:", "without_the_option"
    ),
    "the end waits for the store": Bug("acknowledging", "self._thread.join(seconds)", "self._thread.join()", "no_end"),
    "an older generation is success": Bug(
        "acknowledged", "(status.generation or 0) >= generation", "True", "serves_it_or_a_newer", "builder"
    ),
    "who turns up late is not waited for": Bug(
        "acknowledged", "absence == SILENT and agent not in awaited", "agent not in awaited and spent > 0.2",
        "turns_up_late", "builder",
    ),
    "who falls silent counts as followed": Bug(
        "acknowledged", "absence == GONE or (absence == SILENT and agent not in awaited)", "absence",
        "falls_silent_while", "builder",
    ),
    "nobody at all is success": Bug(
        "acknowledged", "        raise failure or self._nobody()", "        return []", "nobody_at_all", "builder"
    ),
    "the silent are waited for": Bug(
        "acknowledgement", "now - self.moment > MISSED * self.every", "False", "within_three_times", "schemas"
    ),
    "a disputed name is believed": Bug("acknowledged", "if said.disputed:", "if False:", "nobodys_word", "builder"),
    "an object is believed wherever it lies": Bug(
        "acknowledgement", "if said != (bundle, channel, agent):", "if False:", "hides_nobody", "schemas"
    ),
    "all are read at every look": Bug(
        "acknowledged", "if agent not in settled]", "]", "not_read_again", "builder"
    ),
}  # fmt: skip


def test_source_without_a_bug_passes(tmp_path: Path) -> None:
    assert outcome(copy_of_source(tmp_path), TESTS, [bug.test for bug in BUGS.values()]) == 0


@pytest.mark.parametrize("bug", BUGS.values(), ids=BUGS)
def test_planted_bug_is_found(bug: Bug, tmp_path: Path) -> None:
    source = copy_of_source(tmp_path)
    bug.plant(source)
    assert outcome(source, TESTS, [bug.test]) == FAILED
