"""New times for files of the live release, so that Airflow parses once more what a switch changed; on real folders."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dagferry_agent.drift import find_drift
from dagferry_agent.releases import Mark, Release

from .test_delivery import DELTAS, EXECUTABLE, ONE, TWO, Pod

if TYPE_CHECKING:
    from pathlib import Path

SECOND = 1_000_000_000
THREE = {**TWO, "dag_b.py": b"b = 3\n", "run.sh": b"#!/bin/sh\nexit 3\n"}


@pytest.fixture
def pod(tmp_path: Path) -> Pod:
    made = Pod(tmp_path)
    made.restart(keep_releases=9)
    for version, files in (("v1", ONE), ("v2", TWO)):
        made.shelf.ship(version, files, EXECUTABLE)
        made.delivery.pull()
        made.clock.now += 10
    return made


def times(pod: Pod) -> dict[str, int]:
    return {path: pod.mtime(path) for path in ONE}


def live(pod: Pod) -> Release:
    """The live release, which is whole, and whose marks are its files'."""
    root = pod.delivery.root
    release = root.find(root.live() or "")
    assert release is not None
    assert find_drift(release) == ()
    assert [mark for _, mark in release.files()] == [
        Mark.of((release.folder / one.path).stat()) for one in release.tree.files
    ]
    return release


def newer(pod: Pod, before: dict[str, int]) -> set[str]:
    """The files that are newer than they were, by a second at the least."""
    after = times(pod)
    assert all(after[path] == before[path] or after[path] >= before[path] + SECOND for path in before)
    return {path for path in before if after[path] != before[path]}


def test_what_the_switch_changed_gets_a_new_time_and_nothing_else(pod: Pod) -> None:
    before, file = times(pod), pod.root / "current" / "dag_a.py"
    found = file.stat()
    assert found.st_nlink == (2 if DELTAS == "prepared" else 1), "what is prepared has it too"
    assert pod.delivery.show_again() == 1
    assert newer(pod, before) == {"dag_a.py"}
    replaced = pod.inode("dag_a.py") != found.st_ino
    assert replaced == (found.st_nlink > 1), "an inode of its own is not replaced, and a shared one is"
    assert pod.mtime("dag_a.py") // SECOND == int(pod.clock.now)
    live(pod)
    assert pod.delivery.show_again() == 0, "once is enough"


def test_what_changes_over_several_switches_is_shown_altogether(pod: Pod) -> None:
    pod.shelf.ship("v3", THREE, EXECUTABLE)
    pod.delivery.pull()
    pod.clock.now += 10
    before, shared = times(pod), pod.inode("dag_a.py")
    assert pod.delivery.show_again() == 2
    assert newer(pod, before) == {"dag_a.py", "dag_b.py"}, "a script is nothing that Airflow parses"
    assert pod.inode("dag_a.py") != shared, "v2 has it, too, and keeps its time"
    live(pod)
    pod.clock.now += 10
    assert pod.delivery.activate("v2").version == "v2"
    live(pod)


def test_way_back_is_shown_too(pod: Pod) -> None:
    pod.delivery.show_again()
    pod.delivery.activate("v1")
    pod.clock.now += 10
    before = times(pod)
    assert pod.delivery.show_again() == 1
    assert newer(pod, before) == {"dag_a.py"}


def test_release_that_is_linked_to_one_that_was_shown_links_everything(pod: Pod) -> None:
    pod.delivery.show_again()
    pod.shelf.ship("v3", {**TWO, "dag_b.py": b"b = 3\n"}, EXECUTABLE)
    reply = pod.delivery.pull()
    assert (reply.files_written, reply.files_linked) == (1, len(TWO) - 1)


def test_first_release_of_a_pod_is_new_to_airflow_anyway(tmp_path: Path) -> None:
    pod = Pod(tmp_path)
    pod.shelf.ship("v1", ONE)
    pod.delivery.pull()
    assert pod.delivery.show_again() == 0


def test_file_that_was_edited_stays_as_it_is(pod: Pod) -> None:
    path = pod.root / "current" / "dag_a.py"
    path.chmod(0o644)
    path.write_bytes(b"a = 9\n")
    edited = path.stat().st_mtime_ns
    pod.delivery.show_again()
    assert path.stat().st_mtime_ns == edited
    assert pod.delivery.verify() == ("dag_a.py",), "it is drift, as before"


def test_release_before_that_is_gone_is_no_reason_to_fail(pod: Pod) -> None:
    root = pod.delivery.root
    (before,) = set(root.names()) - {root.live()}
    assert root.remove(before)
    assert pod.delivery.show_again() == 0


def test_live_release_that_is_gone_is_no_reason_to_fail(pod: Pod) -> None:
    root = pod.delivery.root
    live = root.live()
    assert live is not None
    (pod.root / "releases" / live).rename(pod.root / "releases" / "elsewhere")
    assert pod.delivery.show_again() == 0
