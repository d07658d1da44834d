"""What changed comes by a delta, with and without a prepared copy: the delivered tree is the one that was committed."""

from __future__ import annotations

import gc
import os
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dagferry_agent.drift import find_drift
from dagferry_agent.edit_watch import EditWatch
from dagferry_agent.lists import Lists
from dagferry_agent.releases import Mark, collected
from dagferry_agent.renewing import show_again
from dagferry_agent.root import PREPARED, Root
from dagferry_agent.spare import Spare, Unfit
from dagferry_schemas import compression, layout
from dagferry_schemas.errors import DagferryError
from dagferry_schemas.names import digest_of, short_tree
from dagferry_schemas.pins import Pin

from .shelf import BUNDLE
from .test_delivery import EXECUTABLE, ONE, TWO, Pod

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dagferry_agent.releases import Release
    from dagferry_schemas.record import Record

THREE = {"dag_a.py": b"a = 3\n", "dag_b.py": b"b = 1\n", "other/new.py": b"n = 1\n", "run.sh": b"#!/bin/sh\n"}


@pytest.fixture(params=["linked", "prepared"])
def pod(request: pytest.FixtureRequest, tmp_path: Path) -> Pod:
    """An agent that serves `ONE`, of a channel whose records name deltas."""
    made = Pod(tmp_path, deltas=request.param)
    made.shelf.ship("v1", ONE, EXECUTABLE)
    made.delivery.pull()
    made.clock.now += 10
    return made


def check_sound(pod: Pod) -> Release:
    """The live release is what it must be, its marks are those of its files, and so it is after a restart."""
    release = check_live(Root(pod.root))
    assert find_drift(release) == ()
    for file, mark in release.files():
        found = (release.folder / file.path).stat()
        assert mark == Mark.of(found)
        assert stat.S_IMODE(found.st_mode) == (0o555 if file.executable else 0o444)
    folders = [path for path in release.folder.rglob("*") if path.is_dir()]
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o755 for path in [release.folder, *folders])
    assert all(any(path.iterdir()) for path in folders), "no folder is left without files"
    return release


def test_a_change_costs_two_requests_and_few_bytes(pod: Pod) -> None:
    record = pod.shelf.ship("v2", TWO, EXECUTABLE)
    reply = pod.delivery.pull()
    assert pod.live() == TWO
    assert (reply.requests, reply.files_written, reply.files_linked, reply.changed) == (2, 1, 3, True)
    head = (pod.store_folder / layout.head(BUNDLE, "prod")).stat().st_size
    assert reply.bytes_fetched == head + record.deltas[0].pin.size
    check_sound(pod)
    assert pod.restart().ready()


def test_what_comes_by_deltas_one_after_the_other_is_what_was_shipped(pod: Pod) -> None:
    for number, files in enumerate((TWO, THREE, ONE, THREE, TWO)):
        pod.clock.now += 10
        pod.shelf.ship(f"w{number}", files, EXECUTABLE)
        pod.delivery.pull()
        assert pod.live() == files
        check_sound(pod)
    assert pod.restart().ready()


def test_missed_generations_are_caught_up_with_by_a_chain(pod: Pod) -> None:
    pod.shelf.ship("v2", TWO, EXECUTABLE)
    pod.shelf.ship("v3", THREE, EXECUTABLE)
    pod.shelf.ship("v4", {**THREE, "run.sh": b"#!/bin/bash\n"}, EXECUTABLE)
    reply = pod.delivery.pull()
    assert (reply.version, reply.requests) == ("v4", 4)
    assert pod.live() == {**THREE, "run.sh": b"#!/bin/bash\n"}
    check_sound(pod)


def test_a_rollback_comes_by_the_delta_back_where_the_release_is_gone(pod: Pod) -> None:
    first = pod.shelf.record.live
    pod.shelf.ship("v2", TWO, EXECUTABLE)
    pod.delivery.pull()
    while pod.delivery.prepare_next(60.0):
        pass
    assert pod.delivery.root.remove(short_tree(first.content.tree))
    pod.shelf.promote(first, "rollback")
    reply = pod.delivery.pull()
    assert (reply.version, reply.requests, reply.files_written) == ("v1", 2, 1)
    assert pod.live() == ONE
    check_sound(pod)


def test_times_are_as_in_a_whole_release(pod: Pod) -> None:
    before = {path: (pod.mtime(path), pod.inode(path)) for path in ONE}
    folders = {pod.mtime(path) for path in (".", "team")}
    pod.shelf.ship("v2", {**TWO, "team/more.py": b"m = 1\n"}, EXECUTABLE)
    pod.delivery.pull()
    for path in ("dag_b.py", "team/helper.py", "run.sh"):
        assert (pod.mtime(path), pod.inode(path)) == before[path], "what did not change keeps its time and inode"
    assert pod.mtime("dag_a.py") // 10**9 > before["dag_a.py"][0] // 10**9
    after = {pod.mtime(path) for path in (".", "team")}
    assert not after & folders, "no time of a folder is used twice"
    assert {mtime % 1_000_000 for mtime in after} == {0}, "nor one that another may have by chance"


def test_change_within_a_second_gets_a_time_of_the_next_second(pod: Pod) -> None:
    pod.clock.now -= 10
    before = pod.mtime("dag_a.py")
    pod.shelf.ship("v2", TWO, EXECUTABLE)
    pod.delivery.pull()
    assert pod.mtime("dag_a.py") // 10**9 == before // 10**9 + 1


# Edits


def edit_in_place(path: Path) -> None:
    """As somebody with the rights does: same size, and the time put back."""
    found = path.stat()
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.write(b"b = 9")
    path.chmod(0o444)
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


def test_an_edited_file_never_spreads(pod: Pod) -> None:
    edit_in_place(pod.root / "current" / "dag_b.py")
    (pod.root / "current" / "dag_b.py").touch()
    pod.shelf.ship("v2", TWO, EXECUTABLE)
    reply = pod.delivery.pull()
    assert pod.live() == TWO
    assert reply.files_linked == 2, "the whole tarball served"
    check_sound(pod)


def test_an_edit_that_keeps_its_time_never_spreads_where_the_kernel_tells_of_it(tmp_path: Path) -> None:
    pod = Pod(tmp_path, deltas="prepared")
    pod.shelf.ship("v1", ONE)
    pod.delivery.pull()
    assert prepared(pod)
    (pod.root / "current" / "dag_b.py").chmod(0o644)
    (pod.root / "current" / "dag_b.py").write_bytes(b"b = 9\n")
    pod.shelf.ship("v2", TWO)
    pod.delivery.pull()
    assert pod.live() == TWO


@pytest.mark.parametrize("edited", [False, True])
def test_where_the_kernel_does_not_tell_every_file_is_looked_at_again(tmp_path: Path, edited: bool) -> None:
    pod = Pod(tmp_path, deltas="linked")
    pod.shelf.ship("v1", ONE)
    pod.delivery.pull()
    root = pod.delivery.root
    spare = Spare(root, check_live(root), 1, durable=False)
    while spare.advance(60.0):
        pass
    if edited:
        (pod.root / "current" / "dag_b.py").chmod(0o644)
        (pod.root / "current" / "dag_b.py").write_bytes(b"b = 9\n")
        with pytest.raises(Unfit, match="edited"):
            spare.take()
    else:
        assert len(spare.take()) == len(ONE)
    spare.drop()
    assert pod.left() == []


def check_live(root: Root) -> Release:
    release = root.find(root.live() or "")
    assert release is not None
    return release


def test_the_kernel_is_asked_at_once_and_links_are_no_edits(tmp_path: Path) -> None:
    folder, file = tmp_path / "folder", tmp_path / "folder" / "dag.py"
    folder.mkdir()
    file.write_bytes(b"x = 1\n")
    watch = EditWatch()
    watch.add(folder)
    os.link(file, tmp_path / "link")
    (tmp_path / "link").unlink()
    file.read_bytes()
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "dag.pyc").write_bytes(b"")
    assert watch.is_quiet()
    with file.open("r+b") as opened:
        opened.write(b"y")
    assert not watch.is_quiet()
    watch.close()


def test_watch_that_somebody_forgets_leaves_no_descriptor(tmp_path: Path) -> None:
    gc.collect()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(200):  # more than a user has instances of inotify, by default
        EditWatch().add(tmp_path)
    gc.collect()
    assert len(list(Path("/proc/self/fd").iterdir())) <= before


def prepared(pod: Pod) -> list[Path]:
    """What is prepared in staging."""
    return [path for path in (pod.root / "staging").iterdir() if path.name.startswith(PREPARED)]


# Shown to Airflow once more


@pytest.fixture
def changed(tmp_path: Path) -> Pod:
    """An agent that has taken `TWO` over by a delta, and has prepared nothing yet."""
    made = Pod(tmp_path, deltas="linked")
    for version, files in (("v1", ONE), ("v2", TWO)):
        made.shelf.ship(version, files, EXECUTABLE)
        made.delivery.pull()
        made.clock.now += 10
    return made


def take_next(pod: Pod, files: Mapping[str, bytes]) -> None:
    """The next change comes by a delta all the same."""
    pod.shelf.ship("v3", files, EXECUTABLE)
    assert pod.delivery.pull().requests == 2, "head and delta"
    assert pod.live() == files
    check_sound(pod)


def test_what_was_shown_again_before_the_next_release_was_prepared_is_no_edit(changed: Pod) -> None:
    assert changed.delivery.show_again() == 1
    while changed.delivery.prepare_next(60.0):
        pass
    assert prepared(changed)
    take_next(changed, THREE)


def test_what_was_shown_again_while_the_next_release_was_prepared_is_no_edit(changed: Pod) -> None:
    assert changed.delivery.prepare_next(0.0)
    assert changed.delivery.show_again() == 1
    assert prepared(changed) == []
    take_next(changed, THREE)


def test_a_prepared_release_stays_and_has_what_was_shown_again(changed: Pod) -> None:
    while changed.delivery.prepare_next(60.0):
        pass
    (copy,) = prepared(changed)
    folders = {copy.stat().st_mtime_ns, (copy / "team").stat().st_mtime_ns}
    before = (copy / "dag_a.py").stat()
    assert changed.delivery.show_again() == 1
    (same,) = prepared(changed)
    after = (copy / "dag_a.py").stat()
    assert same == copy
    assert after.st_ino == changed.inode("dag_a.py") != before.st_ino
    assert after.st_mtime_ns == changed.mtime("dag_a.py") > before.st_mtime_ns
    assert {copy.stat().st_mtime_ns, (copy / "team").stat().st_mtime_ns} == folders
    take_next(changed, {**TWO, "dag_b.py": b"b = 2\n"})
    assert changed.inode("dag_a.py") == after.st_ino


def test_a_prepared_release_has_what_was_shown_again_where_the_kernel_does_not_tell(changed: Pod) -> None:
    root = changed.delivery.root
    live = check_live(root)
    (other,) = set(root.names()) - {live.folder.name}
    spare = Spare(root, live, 1, durable=False)  # without a watch: every file is looked at again
    while spare.advance(60.0):
        pass
    before = root.find(other)
    assert before is not None
    renewed = show_again(root, live, [before], stamp=int(changed.clock.now * 1000), durability="none")
    assert set(renewed.files) == {"dag_a.py"}
    spare.follow(renewed)
    assert len(spare.take()) == len(TWO)
    spare.drop()


@pytest.mark.parametrize("how", ["before", "after"])
def test_an_edit_beside_what_was_shown_again_does_not_spread(changed: Pod, how: str) -> None:
    while changed.delivery.prepare_next(60.0):
        pass
    path = changed.root / "current" / "dag_a.py"
    if how == "after":
        changed.delivery.show_again()
    path.chmod(0o644)
    path.write_bytes(b"a = 9\n")
    if how == "before":
        changed.delivery.show_again()
    changed.shelf.ship("v3", {**TWO, "dag_b.py": b"b = 2\n"}, EXECUTABLE)
    changed.delivery.pull()
    assert changed.live() == {**TWO, "dag_b.py": b"b = 2\n"}
    check_sound(changed)


def test_a_prepared_release_stays_where_many_files_are_shown_again(changed: Pod) -> None:
    many = {f"team/dag_{number}.py": b"x = 1\n" for number in range(100)}
    changed.shelf.ship("v3", many)
    changed.delivery.pull()
    changed.clock.now += 10
    while changed.delivery.prepare_next(60.0):
        pass
    assert changed.delivery.show_again() == len(many)
    assert len(prepared(changed)) == 1
    check_sound(changed)


# What goes wrong


def spoiled(record: Record, change: Callable[[bytes], bytes], pod: Pod) -> None:
    """The newest record names a delta that was changed, as somebody would who may sign."""
    entry = record.deltas[0]
    stored = change((pod.store_folder / layout.delta(BUNDLE, entry.pin.sha256)).read_bytes())
    lie = replace(entry, pin=Pin(digest_of(stored), len(stored)))
    pod.shelf.store.create(layout.delta(BUNDLE, lie.pin.sha256), stored)
    pod.shelf.put(replace(record, deltas=(lie, *record.deltas[1:])))


LIES: Mapping[str, Callable[[bytes], bytes]] = {
    "altered": lambda stored: stored[:-3] + bytes([stored[-3] ^ 1]) + stored[-2:],
    "cut": lambda stored: stored[:-1],
    "nothing of a delta": lambda stored: b"\0" * len(stored),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_delta_that_lies_is_refused_and_the_whole_serves(
    pod: Pod, lie: str, caplog: pytest.LogCaptureFixture
) -> None:
    spoiled(pod.shelf.ship("v2", TWO, EXECUTABLE), LIES[lie], pod)
    reply = pod.delivery.pull()
    assert pod.live() == TWO
    assert reply.requests == 4, "head, delta, list, tarball"
    assert "no delta is used, the whole tarball serves" in caplog.text
    check_sound(pod)
    assert pod.left() == []


def test_a_delta_of_another_base_is_refused(pod: Pod) -> None:
    record = pod.shelf.ship("v2", TWO, EXECUTABLE)
    other = pod.shelf.ship("v3", THREE, EXECUTABLE)
    lie = replace(record.deltas[0], pin=other.deltas[0].pin)
    pod.shelf.put(replace(other, deltas=(other.deltas[0], lie)))
    pod.delivery.pull()
    assert pod.live() == THREE
    check_sound(pod)


def test_a_delta_that_is_gone_or_was_altered_in_the_store_is_no_reason_to_fail(pod: Pod) -> None:
    for number, change in enumerate(("gone", "altered")):
        record = pod.shelf.ship(f"w{number}", {**TWO, "dag_a.py": b"a = 1%d\n" % number}, EXECUTABLE)
        path = pod.store_folder / layout.delta(BUNDLE, record.deltas[0].pin.sha256)
        path.unlink()
        if change == "altered":
            path.write_bytes(b"other")
        assert pod.delivery.pull().changed
        assert pod.live()["dag_a.py"] == b"a = 1%d\n" % number
    check_sound(pod)


def test_what_was_prepared_and_is_gone_is_no_reason_to_fail(tmp_path: Path) -> None:
    pod = Pod(tmp_path, deltas="prepared")
    pod.shelf.ship("v1", ONE)
    pod.delivery.pull()
    Root(pod.root).clean()  # as another process does that begins on this root
    assert prepared(pod) == []
    pod.shelf.ship("v2", TWO)
    pod.delivery.pull()
    assert pod.live() == TWO
    check_sound(pod)


def test_what_another_process_has_half_removed_is_not_taken_for_the_whole(tmp_path: Path) -> None:
    """It is out of the way before the first of its files is gone."""
    pod = Pod(tmp_path, deltas="prepared")
    pod.shelf.ship("v1", ONE)
    pod.delivery.pull()
    (folder,) = prepared(pod)
    beginning = "from pathlib import Path; import sys, os; from dagferry_agent import root; "
    dying = (
        "root.erase = lambda path: ((path / 'dag_b.py').unlink(), os._exit(9)); root.Root(Path(sys.argv[1])).clean()"
    )
    done = subprocess.run([sys.executable, "-c", beginning + dying, str(pod.root)], check=False)
    assert done.returncode == 9
    assert not folder.exists()
    pod.shelf.ship("v2", TWO)
    pod.delivery.pull()
    assert pod.live() == TWO
    check_sound(pod)


def test_no_release_is_prepared_where_files_are_not_as_they_were_left(tmp_path: Path) -> None:
    pod = Pod(tmp_path, deltas="linked")
    pod.shelf.ship("v1", ONE)
    pod.delivery.pull()
    (pod.root / "current" / "dag_b.py").touch()
    while pod.delivery.prepare_next(60.0):
        pass
    assert prepared(pod) == []
    assert not pod.delivery.prepare_next(60.0), "and it is not tried again and again"


def test_a_standby_prepares_nothing(tmp_path: Path) -> None:
    pod = Pod(tmp_path, deltas="linked")
    pod.shelf.ship("v1", ONE)
    assert pod.delivery.claim()
    pod.delivery.pull()
    first = pod.delivery
    standby = pod.restart()
    assert not standby.claim()
    assert not standby.prepare_next(60.0)
    assert first.prepare_next(60.0)


def test_release_that_becomes_live_again_while_others_are_removed_stays(tmp_path: Path) -> None:
    """What nobody needed a moment ago is judged again when its turn comes."""
    pod = Pod(tmp_path, deltas="linked")
    pod.restart(keep_releases=1, grace_hours=0.0)
    assert pod.delivery.claim()
    lives = []
    for number in range(6):
        files = {f"team_{folder}/dag_{number}.py": b"x = %d\n" % number for folder in range(40)}
        lives.append(pod.shelf.ship(f"v{number}", files).live)
        pod.delivery.pull()
        pod.clock.now += 10
    removed = len(pod.delivery.root.names())
    while len(pod.delivery.root.names()) == removed:
        assert pod.delivery.prepare_next(0.0), "it has begun to remove what nobody needs"
    (name, *_) = [name for name in pod.delivery.root.names() if name != pod.delivery.root.live()]
    again = next(live for live in lives if short_tree(live.content.tree) == name)
    pod.shelf.promote(again, "rollback")
    pod.delivery.pull()
    while pod.delivery.prepare_next(60.0):
        pass
    assert pod.delivery.root.live() == name
    check_sound(pod)
    assert len(pod.delivery.root.names()) == 2, "what is live, and what was before"


# The lists


def test_until_there_was_time_a_release_is_told_by_what_changed(tmp_path: Path) -> None:
    pod = Pod(tmp_path, deltas="linked")
    pod.shelf.ship("v1", ONE, EXECUTABLE)
    pod.delivery.pull()
    pod.shelf.ship("v2", THREE, EXECUTABLE)
    pod.delivery.pull()
    kinds = sorted(path.suffix for path in (pod.root / "lists").iterdir())
    assert kinds == [".change", ".marks", ".zst"]
    before = check_sound(pod)
    while pod.delivery.prepare_next(60.0):
        pass
    kinds = sorted(path.suffix for path in (pod.root / "lists").iterdir())
    assert kinds == [".marks", ".marks", ".zst", ".zst"]
    after = check_sound(pod)
    assert list(after.files()) == list(before.files())
    assert after.tree == before.tree


def test_a_release_by_which_another_is_told_may_go(tmp_path: Path) -> None:
    pod = Pod(tmp_path, deltas="linked")
    first = pod.shelf.ship("v1", ONE, EXECUTABLE).live
    pod.delivery.pull()
    pod.shelf.ship("v2", TWO, EXECUTABLE)
    pod.delivery.pull()
    assert pod.delivery.root.remove(short_tree(first.content.tree))
    check_sound(pod)


class Settling(Lists):
    """Lists of which a change gives way to a list in the moment between a look for it and its reading."""

    def _changed(self, folder: Path, listed: Path) -> Release | None:
        if listed.exists():
            release = super()._changed(folder, listed)
            assert release is not None
            self.settle(release.tree.digest, release.tree.files.stored, collected(release) or b"", durable=False)
        return super()._changed(folder, listed)


def test_who_looks_while_a_release_is_settled_finds_it(tmp_path: Path) -> None:
    pod = Pod(tmp_path, deltas="linked")
    pod.shelf.ship("v1", ONE, EXECUTABLE)
    pod.delivery.pull()
    pod.shelf.ship("v2", TWO, EXECUTABLE)
    pod.delivery.pull()
    found = Settling(pod.root / "lists").find((pod.root / "current").resolve())
    assert found is not None
    assert find_drift(found) == ()


DAMAGES: Mapping[str, Callable[[bytes], bytes]] = {
    "cut": lambda body: body[:-4],
    "garbage": lambda _body: b"garbage",
    "another text": lambda body: compression.compress(compression.decompress(body, "test", limit=10**6) + b"x\n"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_release_whose_change_is_damaged_is_verified_anew(tmp_path: Path, damage: str) -> None:
    pod = Pod(tmp_path, deltas="linked")
    pod.shelf.ship("v1", ONE, EXECUTABLE)
    pod.delivery.pull()
    pod.shelf.ship("v2", TWO, EXECUTABLE)
    pod.delivery.pull()
    (change,) = (pod.root / "lists").glob("*.change")
    change.write_bytes(DAMAGES[damage](change.read_bytes()))
    assert not pod.restart().ready()
    pod.delivery.pull()
    assert pod.delivery.ready()
    assert pod.live() == TWO


# Any tree, any edit

COMPONENT = st.sampled_from(["a", "b", "c.py", "run.sh", "ä b"])
PATHS = st.lists(COMPONENT, min_size=1, max_size=3).map("/".join)
CONTENT = st.tuples(st.binary(max_size=200), st.booleans())
TREES = st.dictionaries(PATHS, CONTENT, min_size=1, max_size=8)


def as_files(drawn: Mapping[str, tuple[bytes, bool]]) -> tuple[dict[str, bytes], frozenset[str]]:
    kept = {path: one for path, one in drawn.items() if not any(other.startswith(path + "/") for other in drawn)}
    return {path: body for path, (body, _) in kept.items()}, frozenset(path for path, (_, x) in kept.items() if x)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(TREES, min_size=2, max_size=5), st.lists(st.booleans(), min_size=5, max_size=5))
def test_the_delivered_tree_is_the_committed_one_always(
    tmp_path_factory: pytest.TempPathFactory, caplog: pytest.LogCaptureFixture, trees: list[Any], pulls: list[bool]
) -> None:
    """Whatever changes, whether a pull comes at once or was prepared, and whichever generations are missed."""
    pod = Pod(tmp_path_factory.mktemp("pod"), deltas="linked")
    for number, (drawn, is_prepared) in enumerate(zip(trees, pulls, strict=False)):
        files, executable = as_files(drawn)
        live = pod.shelf.publish(f"v{number}", files, executable)
        pod.shelf.promote(live)
        pod.clock.now += 1
        if not is_prepared and 0 < number < len(trees) - 1:
            continue  # this generation is missed
        pod.delivery.pull()
        assert pod.live() == files
        release = check_sound(pod)
        assert release.tree.digest == live.content.tree
        assert "no delta is used" not in caplog.text
        while is_prepared and pod.delivery.prepare_next(60.0):
            pass


def test_an_error_of_the_store_during_a_delta_leaves_the_live_release(pod: Pod) -> None:
    record = pod.shelf.ship("v2", TWO, EXECUTABLE)
    for key in (layout.delta(BUNDLE, record.deltas[0].pin.sha256), layout.tarball(BUNDLE, record.live.content.tree)):
        (pod.store_folder / key).unlink()
    with pytest.raises(DagferryError):
        pod.delivery.pull()
    assert pod.live() == ONE
    assert pod.delivery.ready()
