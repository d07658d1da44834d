"""Planted bugs in what makes a pull quick: what edits a prepared copy, and what is not judged again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from tests.planting import FAILED, Bug, copy_of_source, outcome

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.planted
TESTS: Final = ("tests/agent/test_deltas.py", "tests/agent/test_activation.py")
NEXT: Final = """\
            name = next((name for name in names if name not in done), None)
            if name is None:
                return
            done.add(name)
            yield from retention.removing(self._root, name)
"""
ALL: Final = """\
            for name in names:
                yield from retention.removing(self._root, name)
            return
"""

BUGS: Final = {
    "what was judged once is removed, whatever is live by then": Bug("activation", NEXT, ALL, "becomes_live_again"),
    "an edit of the live release is not looked for": Bug(
        "spare",
        "if self._at_once or (self._watch is not None and self._watch.is_quiet()):",
        "if True:",
        "never_spreads",
    ),
    "a file is linked as it is": Bug(
        "spare", "found.st_size == size and Mark.of(found) == mark\n\n\ndef", "True\n\n\ndef", "as_they_were_left"
    ),
    "the kernel's word is not waited for": Bug("edit_watch", "return not os.read", "return os.read", "asked_at_once"),
    "folders keep the time of the copy": Bug(
        "editing",
        '            stamp_folder(folder, stamp, sync=flushing == "fsync")',
        "            pass",
        "times_are_as",
    ),
    "a folder stays without files": Bug(
        "editing", "            (spare.folder / folder).rmdir()\n", "            pass\n", "one_after_the_other"
    ),
    "a new file has the time of its second": Bug(
        "editing", "fresh_mtime(stamp * 1_000_000, before[path])", "stamp * 1_000_000", "within_a_second"
    ),
    "the list that another release is told by goes": Bug(
        "root", "            self.lists.settle_those_on(short, self.releases)\n", "", "another_is_told_may_go"
    ),
    "marks of what was written are those of the release before": Bug(
        "releases", "mark = self.changed.get(file.path)", "mark: Mark | None = None", "one_after_the_other"
    ),
    "a copy is not settled": Bug(
        "spare",
        "        if not self._settled:\n            marks",
        "        if False:\n            marks",
        "there_was_time",
    ),
    "what was accepted once is accepted whatever the floor": Bug(
        "head", "asked = (stored, policy, floor, keeps)", "asked = (stored, policy, None, keeps)", "floor_is_above_it"
    ),
    "what was remembered once is remembered": Bug(
        "activation", "or self._kept[0] != seen:", "or False:", "another_agent_remembers"
    ),
    "what was prepared has the marks of before": Bug(
        "spare",
        "        self.release = Release(self.release.folder, self.release.tree, renewed.marks)\n",
        "",
        "kernel_does_not_tell",
    ),
    "what is known of the live release outlives its files": Bug(
        "providing",
        "self._edited = self._spare, None, None, None",
        "self._edited = self._spare, None, None, self._edited",
        "was_shown_again",
    ),
    "who stands by prepares": Bug("delivery", "if not self._leads or live is None", "if live is None", "standby"),
    "without a delta there is no release": Bug(
        "providing",
        '            log.warning("no delta is used, the whole tarball serves: %s", error.message)\n'
        "            return None",
        "            raise",
        "that_lies",
    ),
    "whoever begins on a root takes what is prepared away by and by": Bug(
        "root", "if path.name.startswith(PREPARED) else path", "if False else path", "half_removed"
    ),
}


def test_source_without_a_bug_passes(tmp_path: Path) -> None:
    assert outcome(copy_of_source(tmp_path), TESTS, [bug.test for bug in BUGS.values()]) == 0


@pytest.mark.parametrize("bug", BUGS.values(), ids=BUGS)
def test_planted_bug_is_found(bug: Bug, tmp_path: Path) -> None:
    source = copy_of_source(tmp_path)
    bug.plant(source)
    assert outcome(source, TESTS, [bug.test]) == FAILED
