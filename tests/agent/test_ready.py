"""The switch to a release that is ready: it touches what differs, reads no list, and trusts nothing that was edited."""

from __future__ import annotations

import dataclasses
import os
import shutil
from typing import TYPE_CHECKING

import pytest

from dagferry_agent.delivery import Delivery
from dagferry_agent.drift import find_drift
from dagferry_agent.releases import Mark
from dagferry_agent.root import Root
from dagferry_schemas.names import short_tree
from dagferry_schemas.record import Candidate
from dagferry_storage.local import LocalStore

from .test_candidates import LATER, follow
from .test_delivery import EXECUTABLE, ONE, Pod

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BEFORE = {**ONE, "deep/er/mod.py": b"m = 1\n"}
NEXT = {**BEFORE, "dag_a.py": b"a = 2\n", "team/new.py": b"n = 1\n"}
del NEXT["dag_b.py"]


@pytest.fixture(params=["", "linked", "prepared"], ids=["whole", "by a delta", "by a prepared delta"])
def pod(request: pytest.FixtureRequest, tmp_path: Path) -> Pod:
    """It serves `BEFORE`, and has `NEXT` ready."""
    made = Pod(tmp_path, deltas=request.param)
    made.shelf.ship("v1", BEFORE, EXECUTABLE)
    made.delivery.pull()
    live = made.shelf.publish("v2", NEXT, EXECUTABLE)
    record = made.shelf.record
    deltas = made.shelf._deltas(record, live) if request.param else ()
    made.shelf.put(follow(record, made, candidate=Candidate(live, ("another",), LATER), deltas=deltas))
    made.delivery.pull()
    told = made.delivery.status().candidate
    assert (told and told["state"], made.live()) == ("ready", BEFORE)
    made.clock.now += 60
    return made


def ready(pod: Pod) -> Path:
    """The folder of the release that is ready."""
    candidate = pod.shelf.record.candidate
    assert candidate is not None
    return pod.root / "releases" / short_tree(candidate.live.content.tree)


def finish(pod: Pod) -> None:
    """Make the candidate live."""
    record = pod.shelf.record
    assert record.candidate is not None
    pod.shelf.put(follow(record, pod, live=record.candidate.live, candidate=None, action="promote"))


def marks_agree(pod: Pod) -> bool:
    """Whether what is told of the live release is what is on the disk, for who begins anew."""
    live = pod.delivery.root.live()
    assert live is not None
    release = pod.delivery.root.find(live)
    assert release is not None
    assert not find_drift(release)
    return all(mark == Mark.of((release.folder / file.path).stat()) for file, mark in release.files())


def test_only_what_differs_is_touched_and_what_is_told_of_it_is_so(pod: Pod) -> None:
    folder = ready(pod)
    before = {path: path.stat() for path in folder.rglob("*") if path.is_file()}
    finish(pod)
    reply = pod.delivery.pull()
    assert (reply.version, reply.changed, reply.requests, reply.files_written) == ("v2", True, 1, 2)
    assert pod.live() == NEXT
    fresh = {
        str(path.relative_to(folder)) for path, was in before.items() if path.stat().st_mtime_ns != was.st_mtime_ns
    }
    assert fresh == {"dag_a.py", "team/new.py"}
    assert {pod.mtime(path) // 10**9 for path in fresh} == {int(pod.clock.now)}
    assert marks_agree(pod)
    assert not pod.left()


def test_next_release_comes_by_a_delta_of_it(pod: Pod) -> None:
    finish(pod)
    pod.delivery.pull()
    pod.clock.now += 60
    pod.shelf.ship("v3", {**NEXT, "dag_a.py": b"a = 3\n"}, EXECUTABLE)
    reply = pod.delivery.pull()
    assert (reply.files_written, pod.live()["dag_a.py"]) == (1, b"a = 3\n")
    assert marks_agree(pod)


def test_agent_that_begins_anew_after_it_finds_what_it_left(pod: Pod) -> None:
    finish(pod)
    pod.delivery.pull()
    pod.restart()
    pod.delivery.pull()
    assert (pod.live(), pod.delivery.ready(), marks_agree(pod)) == (NEXT, True, True)


def test_it_reads_no_list(pod: Pod) -> None:
    finish(pod)
    for path in (pod.root / "lists").iterdir():
        path.write_bytes(b"nothing that can be read")
    reply = Delivery.pull(pod.delivery)  # without what is done when there is time
    assert (reply.requests, reply.files_written, pod.live()) == (1, 2, NEXT)


def remove(file: Path) -> None:
    file.unlink()


def write(file: Path) -> None:
    file.chmod(0o644)
    file.write_bytes(b"x" * file.stat().st_size)


def replace(file: Path) -> None:
    other = file.parent / "other"
    other.write_bytes(b"y" * file.stat().st_size)
    other.rename(file)


def add(file: Path) -> None:
    (file.parent / "stray.py").write_bytes(b"")


def add_where_there_are_folders_alone(file: Path) -> None:
    (file.parents[1] / "deep" / "stray.py").write_bytes(b"")


def rename_folder(file: Path) -> None:
    file.parent.rename(file.parent.with_name("elsewhere"))


def remove_all(file: Path) -> None:
    shutil.rmtree(file.parents[1])


@pytest.mark.parametrize(
    "done", [remove, write, replace, add, add_where_there_are_folders_alone, rename_folder, remove_all]
)
def test_what_was_done_to_it_meanwhile_is_not_served(done: Callable[[Path], None], pod: Pod) -> None:
    done(ready(pod) / "team" / "helper.py")
    finish(pod)
    assert pod.delivery.pull().version == "v2"
    assert pod.live() == NEXT
    assert marks_agree(pod)


def test_another_process_switched_meanwhile(pod: Pod) -> None:
    candidate = pod.shelf.record.candidate
    assert candidate is not None
    other = pod.shelf.publish("v0", {**NEXT, "run.sh": b"#!/bin/bash\n"}, EXECUTABLE)
    pod.shelf.put(follow(pod.shelf.record, pod, live=other, candidate=None, deltas=()))
    settings = dataclasses.replace(pod.settings, keep_releases=9, grace_hours=1.0)
    Delivery(settings, LocalStore(pod.store_folder), Root(pod.root), pod.clock).pull()
    pod.clock.now += 60
    pod.shelf.put(follow(pod.shelf.record, pod, live=candidate.live, deltas=()))
    reply = pod.delivery.pull()
    assert (reply.version, reply.requests, pod.live()) == ("v2", 1, NEXT)
    assert pod.mtime("run.sh") // 10**9 == int(pod.clock.now), "it differs from what was live just now"
    assert marks_agree(pod)


def test_file_that_other_releases_have_too_keeps_its_time_there(pod: Pod) -> None:
    file = ready(pod) / "dag_a.py"
    other = pod.root / "other"
    os.link(file, other)
    was = other.stat().st_mtime_ns
    finish(pod)
    pod.delivery.pull()
    assert (other.stat().st_mtime_ns, pod.live()) == (was, NEXT)
    assert pod.mtime("dag_a.py") // 10**9 == int(pod.clock.now)
    assert marks_agree(pod)
