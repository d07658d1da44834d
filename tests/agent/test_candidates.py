"""Releases that go live in steps, as an agent sees them: who serves the candidate, and who has it ready."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dagferry_agent.drift import find_drift
from dagferry_schemas.errors import Untrusted
from dagferry_schemas.names import short_tree
from dagferry_schemas.record import Candidate

from .test_delivery import DELTAS, EXECUTABLE, ONE, TWO, Pod

if TYPE_CHECKING:
    from pathlib import Path

    from dagferry_schemas.record import Live, Record

LATER = "2999-01-01T00:00:00Z"


@pytest.fixture
def pod(tmp_path: Path) -> Pod:
    made = Pod(tmp_path)
    made.restart(labels={"zone": "a"})
    made.shelf.ship("v1", ONE, EXECUTABLE)
    made.delivery.pull()
    return made


def stage(pod: Pod, *targets: str, version: str = "v2", until: str | None = LATER) -> Live:
    """Make ``version`` the channel's candidate for ``targets``."""
    live = pod.shelf.publish(version, TWO, EXECUTABLE)
    pod.shelf.put(follow(pod.shelf.record, pod, candidate=Candidate(live, targets, until), action="stage"))
    return live


def follow(record: Record, pod: Pod, **changes: object) -> Record:
    return record.succeed(head=pod.shelf.seal(record), nonce=f"n{record.generation + 1}", **changes)


def state(pod: Pod) -> str | None:
    told = pod.delivery.status().candidate
    return None if told is None else told["state"]


def test_who_is_no_target_has_it_ready_and_serves_what_is_live(pod: Pod) -> None:
    live = stage(pod, "another-agent", "zone=b")
    reply = pod.delivery.pull()
    assert (reply.version, reply.generation, reply.changed, pod.live()) == ("v1", 2, False, ONE)
    release = pod.delivery.root.find(short_tree(live.content.tree))
    assert release is not None
    assert not find_drift(release)
    assert pod.delivery.status().candidate == {"version": "v2", "tree": live.content.tree, "state": "ready"}


@pytest.mark.parametrize("target", ["agent-1", "zone=a"])
def test_target_serves_it_until_it_is_withdrawn(target: str, pod: Pod) -> None:
    stage(pod, "another-agent", target)
    reply = pod.delivery.pull()
    assert (reply.version, reply.generation, pod.live(), state(pod)) == ("v2", 2, TWO, "served")
    pod.shelf.put(follow(pod.shelf.record, pod, candidate=None, bad=("v2",), action="withdraw"))
    reply = pod.delivery.pull()
    assert (reply.version, reply.generation, pod.live(), state(pod)) == ("v1", 3, ONE, None)


def test_switch_to_what_is_ready_asks_the_store_for_the_head_alone(pod: Pod) -> None:
    live = stage(pod, "another-agent")
    pod.delivery.pull()
    pod.clock.now += 60
    pod.shelf.put(follow(pod.shelf.record, pod, live=live, action="promote"))
    reply = pod.delivery.pull()
    assert (reply.version, reply.changed, reply.requests, pod.live()) == ("v2", True, 1, TWO)
    assert pod.mtime("dag_a.py") // 10**9 == int(pod.clock.now), "Airflow has parsed what was there before, since"
    assert state(pod) is None


def test_what_was_written_to_it_meanwhile_is_noticed(pod: Pod) -> None:
    live = stage(pod, "another-agent")
    pod.delivery.pull()
    file = pod.root / "releases" / short_tree(live.content.tree) / "dag_a.py"
    file.chmod(0o644)
    file.write_bytes(b"x" * len(TWO["dag_a.py"]))
    pod.shelf.put(follow(pod.shelf.record, pod, live=live, action="promote"))
    assert pod.delivery.pull().version == "v2"
    assert pod.live() == TWO


def test_nothing_is_tidied_away_that_is_a_candidate(pod: Pod) -> None:
    pod.restart(keep_releases=1, grace_hours=0.0)
    live = stage(pod, "another-agent")
    pod.delivery.pull()
    pod.clock.now += 100_000
    pod.delivery.pull()
    assert short_tree(live.content.tree) in pod.delivery.root.names()
    pod.restart(keep_releases=1, grace_hours=0.0)
    pod.delivery.pull()
    assert (short_tree(live.content.tree) in pod.delivery.root.names(), state(pod)) == (True, "ready")


def test_candidate_whose_time_is_over_is_served_by_nobody(pod: Pod) -> None:
    stage(pod, "agent-1", until="2026-11-22T12:00:00Z")
    assert pod.clock.now < 1_795_348_800, "the test's clock is before that"
    assert pod.delivery.pull().version == "v2"
    pod.clock.now = 1_795_348_800.0
    reply = pod.delivery.pull()
    assert (reply.version, pod.live(), state(pod)) == ("v1", ONE, None)


def test_candidate_that_is_called_bad_is_served_by_nobody(pod: Pod) -> None:
    stage(pod, "agent-1")
    pod.shelf.put(follow(pod.shelf.record, pod, bad=("v2",)))
    assert (pod.delivery.pull().version, state(pod)) == ("v1", None)


def test_live_version_that_is_called_bad_changes_nothing(pod: Pod) -> None:
    live = pod.shelf.publish("v2", TWO, EXECUTABLE)
    pod.shelf.put(follow(pod.shelf.record, pod, live=live, bad=("v2",)))
    with pytest.raises(Untrusted) as refused:
        pod.delivery.pull()
    assert (refused.value.code, pod.live()) == ("bad_release", ONE)


def test_candidate_that_cannot_be_had_costs_nothing_and_is_told(pod: Pod) -> None:
    live = stage(pod, "another-agent")
    objects = [*(pod.store_folder / "dags" / "trees" / live.content.tree.removeprefix("sha256:")).iterdir()]
    objects += (pod.store_folder / "dags" / "deltas").glob("*")
    kept = {path: path.read_bytes() for path in objects}
    for path in kept:
        path.unlink()
    reply = pod.delivery.pull()
    assert (reply.version, reply.generation, pod.live(), state(pod)) == ("v1", 2, ONE, "failed")
    assert pod.delivery.status().last_error is None
    for path, content in kept.items():
        path.write_bytes(content)
    pod.delivery.pull()
    assert state(pod) == "ready"


def test_what_is_pinned_by_hand_stays(pod: Pod) -> None:
    pod.shelf.ship("v2", TWO, EXECUTABLE)
    pod.delivery.pull()
    pod.delivery.activate("v1")
    live = pod.shelf.publish("v3", {**TWO, "dag_b.py": b"b = 3\n"}, EXECUTABLE)
    pod.shelf.put(follow(pod.shelf.record, pod, candidate=Candidate(live, ("another-agent",), LATER)))
    assert (pod.delivery.pull().version, pod.live()) == ("v1", ONE)


def test_next_release_is_prepared_again_once_there_is_no_candidate(pod: Pod) -> None:
    if DELTAS != "prepared":
        pytest.skip("nothing is prepared here")
    stage(pod, "another-agent")
    pod.delivery.pull()
    assert not pod.delivery.prepare_next(60.0)
    pod.shelf.put(follow(pod.shelf.record, pod, candidate=None))
    pod.delivery.pull()
    pod.shelf.ship("v3", {**ONE, "dag_b.py": b"b = 3\n"}, EXECUTABLE)
    assert pod.delivery.pull().files_written == 1


def test_status_tells_the_labels(pod: Pod) -> None:
    assert pod.delivery.status().labels == ("zone=a",)
