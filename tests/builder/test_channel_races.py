"""Many writers, slow writers, dead writers and lost replies: a channel has one history all the same."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import pytest

from dagferry_builder.channel import Channel
from dagferry_schemas import layout
from dagferry_schemas.errors import Conflict, DagferryError, DeliveryFailed
from dagferry_storage import published
from dagferry_storage.local import LocalStore
from dagferry_storage.store import Exists, Superseded
from tests.builder import writers
from tests.builder.checks import (
    BUNDLE,
    CHANNEL,
    Ended,
    check_forward,
    check_log,
    check_losers,
    check_winners,
    stored_records,
)
from tests.builder.writers import (
    DiesBeforeItsHeadWrite,
    LosesReplies,
    LosesRequests,
    NeverLooksAgain,
    SkipsTheLog,
    StopsAndIgnoresTheToken,
    StopsBeforeItsHeadWrite,
    Writer,
    promote,
)
from tests.e2e.harness import Repository, environment, wait_for

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

PROMOTERS = 20
LATE_START = """
import os, sys, time
ready, gate, *sys.argv[1:] = sys.argv[1:]
from dagferry_builder import build, catalog, channel, cli, git
open(ready, "w").close()
while not os.path.exists(gate):
    time.sleep(0.001)
cli.main()
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Where the store is."""
    return tmp_path / "store"


@pytest.fixture
def store(root: Path) -> LocalStore:
    """A store with six versions whose channel went from the first to the second."""
    store = LocalStore(root)
    writers.publish_documents(store, writers.commits(6))
    promote(store, "v1")
    promote(store, "v2")
    return store


def live(store: LocalStore) -> tuple[int, str]:
    """The generation and the version that the head says."""
    record = stored_records(store)[-1][1]
    return record["generation"], record["live"]["version"]


# --- twenty real processes


def race(folder: Path, place: Path, store: LocalStore, commands: Sequence[Sequence[str]]) -> list[Ended]:
    """Start a `dagferry` for each command, let all of them go at once, and see how they end."""
    env = environment(
        DAGFERRY_STORE=store.url, DAGFERRY_BUNDLE=BUNDLE, DAGFERRY_CHANNEL=CHANNEL, DAGFERRY_OUTPUT="json"
    )
    gate = folder / "gate"
    ready = [folder / f"ready-{number}" for number in range(len(commands))]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", LATE_START, str(there), str(gate), *command],
            cwd=place,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for there, command in zip(ready, commands, strict=True)
    ]
    try:
        wait_for(lambda: all(there.exists() for there in ready) or None, "all promoters", seconds=60)
        gate.touch()
        return [_ended(process, command) for process, command in zip(processes, commands, strict=True)]
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def _ended(process: subprocess.Popen[str], command: Sequence[str]) -> Ended:
    stdout, stderr = process.communicate(timeout=60)
    assert "Traceback" not in stderr, stderr
    document = json.loads(stdout)
    error = document.get("error", {"message": "", "hint": ""})
    return Ended(command[-1], process.returncode, f"{error['message']} {error['hint']}", document.get("generation"))


@pytest.mark.parametrize("with_clone", [True, False], ids=["git_is_asked", "documents_are_asked"])
def test_twenty_promoters_at_once_have_one_winner_per_generation(with_clone: bool, root: Path, tmp_path: Path) -> None:
    place, commits = tmp_path, writers.commits(PROMOTERS)
    if with_clone:
        repository = Repository(tmp_path / "clone")
        place, commits = repository.path, [repository.commit() for _ in range(PROMOTERS)]
    store = LocalStore(root)
    versions = writers.publish_documents(store, commits)
    order = random.Random(5).sample(versions, PROMOTERS)
    ended = race(tmp_path, place, store, [("promote", version) for version in order])
    records = check_log(store)
    check_winners(records, ended)
    check_losers(records, ended)
    check_forward(records, versions)
    assert records[-1]["live"]["version"] == versions[-1], "the newest version was not held up by anybody"


def test_twenty_promoters_that_allow_older_have_one_winner_per_generation(root: Path, tmp_path: Path) -> None:
    store = LocalStore(root)
    versions = writers.publish_documents(store, writers.commits(PROMOTERS))
    ended = race(tmp_path, tmp_path, store, [("promote", "--allow-older", version) for version in versions])
    records = check_log(store)
    check_winners(records, ended)
    check_losers(records, ended)
    assert len(records) >= 1


def test_of_many_rollbacks_at_once_one_takes_place(root: Path, tmp_path: Path) -> None:
    store = LocalStore(root)
    writers.publish_documents(store, writers.commits(3))
    for version in ("v1", "v2", "v3"):
        promote(store, version)
    ended = race(tmp_path, tmp_path, store, [("rollback", "--reason", "v2")] * 6)
    records = check_log(store)
    assert [one.code for one in ended].count(0) == 1
    assert {one.code for one in ended} == {0, 3}
    assert live(store) == (4, "v2")
    assert len(records) == 4


# --- a writer that is stopped before its head write


def check_stopped_writer(store: LocalStore, root: Path, kind: type[LocalStore]) -> Ended:
    """A promotion that is stopped, while others go further, and then goes on, moves nothing back."""
    writer = Writer(kind, root, "promote", "v3")
    writer.wait_until_stopped()
    promote(store, "v4")
    promote(store, "v5")
    ended = writer.go_on()
    check_log(store)
    assert live(store) == (4, "v5")
    return ended


def test_stopped_promoter_cannot_move_the_channel_back_and_is_told_who_won(store: LocalStore, root: Path) -> None:
    ended = check_stopped_writer(store, root, StopsBeforeItsHeadWrite)
    assert ended.code == 3
    assert "generation 4" in ended.message
    assert "v5" in ended.message


def test_stopped_promoter_of_a_newer_version_goes_on_over_the_others(store: LocalStore, root: Path) -> None:
    writer = Writer(StopsBeforeItsHeadWrite, root, "promote", "v6")
    writer.wait_until_stopped()
    promote(store, "v4")
    assert writer.go_on() == Ended("v6", 0, generation=4)
    assert [record["live"]["version"] for record in check_log(store)] == ["v1", "v2", "v4", "v6"]


def test_stopped_promoter_that_allows_older_decides_nothing_over_what_it_has_not_seen(
    store: LocalStore, root: Path
) -> None:
    writer = Writer(StopsBeforeItsHeadWrite, root, "promote", "v1", allow_older=True)
    writer.wait_until_stopped()
    promote(store, "v4")
    ended = writer.go_on()
    assert ended.code == 3
    assert "generation 3" in ended.message
    assert "v4" in ended.message
    check_log(store)
    assert live(store) == (3, "v4")


@pytest.mark.parametrize("action", ["rollback", "hold"])
def test_stopped_operator_changes_nothing_over_what_they_have_not_seen(
    action: str, store: LocalStore, root: Path
) -> None:
    writer = Writer(StopsBeforeItsHeadWrite, root, action)
    writer.wait_until_stopped()
    promote(store, "v4")
    ended = writer.go_on()
    assert ended.code == 3
    assert "v4" in ended.message
    check_log(store)
    assert live(store) == (3, "v4")


def test_stopped_promoter_finds_a_hold_that_was_set_meanwhile(store: LocalStore, root: Path) -> None:
    writer = Writer(StopsBeforeItsHeadWrite, root, "promote", "v4")
    writer.wait_until_stopped()
    writers.channel(store, "bob").rollback(reason="broken")
    ended = writer.go_on()
    assert ended.code == 3
    assert "bob" in ended.message
    assert live(store) == (3, "v1")


def test_stopped_first_promoter_finds_the_channel_that_another_made(root: Path) -> None:
    store = LocalStore(root)
    writers.publish_documents(store, writers.commits(3))
    writer = Writer(StopsBeforeItsHeadWrite, root, "promote", "v1")
    writer.wait_until_stopped()
    promote(store, "v2")
    ended = writer.go_on()
    assert ended.code == 3
    assert "v2" in ended.message
    check_log(store)
    assert live(store) == (1, "v2")


def test_two_promoters_of_one_version_both_succeed(store: LocalStore, root: Path) -> None:
    writer = Writer(StopsBeforeItsHeadWrite, root, "promote", "v3")
    writer.wait_until_stopped()
    promote(store, "v3")
    assert writer.go_on().code == 0
    assert len(check_log(store)) == 3


def test_writer_killed_between_log_and_head_leaves_the_channel_as_it_was(store: LocalStore, root: Path) -> None:
    head = store.read(writers.HEAD, limit=layout.MAX_DOCUMENT).body
    writer = Writer(DiesBeforeItsHeadWrite, root, "promote", "v3")
    writer.process.join(writers.PATIENCE)
    assert writer.process.exitcode == -9
    assert store.read(writers.HEAD, limit=layout.MAX_DOCUMENT).body == head
    assert store.read(layout.log(BUNDLE, CHANNEL, 2), limit=layout.MAX_DOCUMENT).body == head
    check_log(store)
    assert promote(store, "v4").record.generation == 3
    check_log(store)


# --- replies that are lost

REFUSALS = {
    "unanswered": DeliveryFailed("timed out", "try again"),
    "superseded": Superseded("another state", "read again"),
    "exists": Exists("exists", "read again"),
}


def check_lost_reply(root: Path, error: DagferryError, kind: type[Channel], *, on_top: bool = False) -> None:
    """A promotion whose head was written, and whose store says that it was not, knows better."""
    store = LocalStore(root)
    between = partial(promote, store, "v4") if on_top else lambda: None
    lossy = LosesReplies(root, writers.HEAD, error, between)
    chosen = published.read(store, BUNDLE, "v3")
    change = writers.channel(lossy, kind=kind).promote(chosen)
    assert (change.record.generation, change.record.live.version, change.changed) == (3, "v3", True)
    records = check_log(store)
    assert [record["live"]["version"] for record in records] == ["v1", "v2", "v3", *(["v4"] if on_top else [])]


@pytest.mark.parametrize("on_top", [False, True], ids=["nobody_came_after", "somebody_came_after"])
@pytest.mark.parametrize("refusal", REFUSALS)
def test_promotion_whose_reply_was_lost_is_a_success(refusal: str, on_top: bool, store: LocalStore, root: Path) -> None:
    check_lost_reply(root, REFUSALS[refusal], Channel, on_top=on_top)


@pytest.mark.parametrize("on_top", [False, True], ids=["nobody_came_after", "somebody_came_after"])
@pytest.mark.parametrize("refusal", REFUSALS)
def test_first_promotion_whose_reply_was_lost_is_a_success(refusal: str, on_top: bool, root: Path) -> None:
    store = LocalStore(root)
    writers.publish_documents(store, writers.commits(2))
    between = partial(promote, store, "v2") if on_top else lambda: None
    lossy = LosesReplies(root, writers.HEAD, REFUSALS[refusal], between)
    assert promote(lossy, "v1").record.generation == 1
    assert [record["live"]["version"] for record in check_log(store)] == (["v1", "v2"] if on_top else ["v1"])


def test_rollback_whose_reply_was_lost_is_done_once(store: LocalStore, root: Path) -> None:
    lossy = LosesReplies(root, writers.HEAD, REFUSALS["unanswered"])
    assert writers.channel(lossy).rollback().record.generation == 3
    check_log(store)
    assert live(store) == (3, "v1")


def test_lost_reply_of_the_log_write_loses_nothing(store: LocalStore, root: Path) -> None:
    lossy = LosesReplies(root, layout.log(BUNDLE, CHANNEL, 2), REFUSALS["unanswered"])
    ended = writers.ended("v3", lambda: promote(lossy, "v3"))
    assert ended.code in (0, 4)
    check_log(store)
    assert promote(store, "v4").record.live.version == "v4"
    check_log(store)


def test_promotion_that_never_reached_the_store_is_a_failure_and_changes_nothing(store: LocalStore, root: Path) -> None:
    ended = writers.ended("v3", lambda: promote(LosesRequests(root), "v3"))
    assert ended.code == 4
    assert live(store) == (2, "v2")
    check_log(store)


def test_log_that_holds_another_record_stops_every_change(store: LocalStore) -> None:
    store.create(layout.log(BUNDLE, CHANNEL, 2), b"{}")
    ended = writers.ended("v3", lambda: promote(store, "v3"))
    assert ended.code == 1
    assert "log/2" in ended.message
    assert live(store) == (2, "v2")


def check_overtaken(root: Path, kind: type[Channel]) -> None:
    """A promotion that is overtaken by that of a newer version changes nothing."""
    store = writers.IsOvertaken(root, "v4")
    with suppress(Conflict):
        writers.channel(store, kind=kind).promote(published.read(store, BUNDLE, "v3"))
    assert [record["live"]["version"] for record in check_log(store)] == ["v1", "v2", "v4"]


def test_promotion_that_is_overtaken_by_a_newer_one_changes_nothing(store: LocalStore, root: Path) -> None:
    check_overtaken(root, Channel)


@pytest.mark.parametrize("refusal", ["unanswered", "exists"])
def test_promotion_whose_log_write_had_no_reply_goes_on(refusal: str, store: LocalStore, root: Path) -> None:
    lossy = LosesReplies(root, layout.log(BUNDLE, CHANNEL, 2), REFUSALS[refusal])
    assert promote(lossy, "v3").record.generation == 3
    check_log(store)


# --- planted bugs: the checks above are known to bite


@pytest.mark.planted
def test_check_catches_a_store_that_ignores_the_token(store: LocalStore, root: Path) -> None:
    with pytest.raises(AssertionError):
        check_stopped_writer(store, root, StopsAndIgnoresTheToken)


@pytest.mark.planted
def test_check_catches_a_head_that_is_written_without_its_condition(store: LocalStore, root: Path) -> None:
    with pytest.raises(AssertionError):
        check_overtaken(root, writers.WritesBlindly)


@pytest.mark.planted
def test_check_catches_a_channel_that_skips_the_log(store: LocalStore) -> None:
    chosen = published.read(store, BUNDLE, "v3")
    writers.channel(store, kind=SkipsTheLog).promote(chosen)
    with pytest.raises(AssertionError):
        check_log(store)


@pytest.mark.planted
@pytest.mark.parametrize("refusal", REFUSALS)
def test_check_catches_a_channel_that_never_looks_again(refusal: str, store: LocalStore, root: Path) -> None:
    with pytest.raises((AssertionError, DeliveryFailed)):
        check_lost_reply(root, REFUSALS[refusal], NeverLooksAgain)


@pytest.mark.planted
def test_checks_catch_two_winners_a_loser_without_a_winner_and_a_step_back(store: LocalStore) -> None:
    records = check_log(store)
    with pytest.raises(AssertionError):
        check_winners(
            records, [Ended("v1", 0, generation=1), Ended("v2", 0, generation=2), Ended("v3", 0, generation=2)]
        )
    with pytest.raises(AssertionError):
        check_losers(records, [Ended("v3", 3, "somebody was first")])
    with pytest.raises(AssertionError):
        check_losers(records, [Ended("v3", 1, "generation 2 is v2")])
    with pytest.raises(AssertionError):
        check_forward(records, ["v2", "v1"])
