"""Planted bugs in releases that go live in steps: on the channel, in their gates, and on the pods."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from tests.planting import FAILED, Bug, copy_of_source, outcome

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.planted
TESTS: Final = ("tests/builder/test_staged.py", "tests/builder/test_waves.py", "tests/agent/test_candidates.py")

BUGS: Final = {
    "a record says nothing critical of its candidate": Bug(
        "record", 'kept["critical"] += (CRITICAL,) if candidate is not None else ()', "pass", "is_critical", "schemas"
    ),
    "who is no target serves it": Bug(
        "rollout", "is_target(candidate.targets, agent_id, labels)", "True", "no_target_has_it_ready", "schemas"
    ),
    "labels name nobody": Bug(
        "rollout", "any(label in targets for label in labels)", "False", "target_serves_it", "schemas"
    ),
    "it never lapses": Bug("rollout", "moment(now) < moment(found.until)", "True", "time_is_over", "schemas"),
    "what is bad is served": Bug("rollout", "found.live.version in record.bad", "False", "called_bad_is", "schemas"),
    "what is live may be bad": Bug(
        "trust", "if record.live.version in record.bad:", "if False:", "changes_nothing", "schemas"
    ),
    "it is tidied away": Bug("retention", "state.channel_tree, candidate)", "state.channel_tree)", "tidied_away"),
    "what was verified once is believed": Bug(
        "waiting", "self._watch is not None and self._watch.is_quiet() and", "", "written_to_it_meanwhile"
    ),
    "a candidate that fails fails the pull": Bug(
        "ahead",
        "        except DagferryError as error:\n",
        "        except ZeroDivisionError as error:\n",
        "cannot_be_had",
    ),
    "another is promoted meanwhile": Bug(
        "channel",
        "        if candidate is not None:\n            raise Conflict(",
        "        if False:\n            raise Conflict(",
        "nothing_else_is_promoted",
        "builder",
    ),
    "what was called bad is promoted": Bug(
        "channel", "in head.record.bad and not allow_bad:", "in () and not allow_bad:", "is_bad_and_holds", "builder"
    ),
    "withdrawn without a hold": Bug(
        "channel",
        '{"candidate": None, **self._hold_fields(reason, hold)}',
        '{"candidate": None}',
        "is_bad_and_holds",
        "builder",
    ),
    "a hold is passed over": Bug(
        "staged", "        if record.hold is not None:", "        if False:", "comes_in_between", "builder"
    ),
    "another candidate is finished": Bug(
        "staged",
        "if record.candidate is None or record.candidate.live.version != version:",
        "if record.candidate is None:",
        "is_not_the_one_that_was_meant",
        "builder",
    ),
    "a rollback pops in the middle of a rollout": Bug(
        "channel",
        "if candidate is not None and to in (None, live.version)",
        "if False and to in (None, live.version)",
        "takes_back_what",
        "builder",
    ),
    "new import errors do not count": Bug(
        "wave_gate", 'if errors["after"] > errors["before"]:', "if False:", "gate_does_not_hold", "builder"
    ),
    "who does not answer is content": Bug(
        "wave_gate",
        "for agent in sorted(targets):",
        "for agent in sorted(set(targets) & set(found)):",
        "gate_does_not_hold",
        "builder",
    ),
    "an old word of Airflow counts": Bug(
        "wave_gate",
        'if report is None or report["version"] != version:',
        "if report is None:",
        "gate_does_not_hold",
        "builder",
    ),
}


def test_source_without_a_bug_passes(tmp_path: Path) -> None:
    assert outcome(copy_of_source(tmp_path), TESTS, [bug.test for bug in BUGS.values()]) == 0


@pytest.mark.parametrize("bug", BUGS.values(), ids=BUGS)
def test_planted_bug_is_found(bug: Bug, tmp_path: Path) -> None:
    source = copy_of_source(tmp_path)
    bug.plant(source)
    assert outcome(source, TESTS, [bug.test]) == FAILED
