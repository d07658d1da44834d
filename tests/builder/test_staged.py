"""A channel whose releases go live in steps, on a real store: what may follow what, and who wins."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from dagferry_builder.channel import MOST_BAD
from dagferry_builder.staged import Overtaken, StagedChannel
from dagferry_schemas.errors import Conflict, Held, Unknown
from dagferry_storage import published
from dagferry_storage.local import LocalStore
from tests.builder import writers
from tests.builder.checks import BUNDLE, CHANNEL, stored_records

if TYPE_CHECKING:
    from pathlib import Path

    from dagferry_builder.channel import Change
    from dagferry_schemas.record import Record

UNTIL = "2026-11-02T00:00:00Z"


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    """A store with six versions whose channel went from the first to the second."""
    store = LocalStore(tmp_path / "store")
    writers.publish_documents(store, writers.commits(6))
    for version in ("v1", "v2"):
        writers.promote(store, version)
    return store


@pytest.fixture
def channel(store: LocalStore) -> StagedChannel:
    return channel_of(store)


def channel_of(store: LocalStore, actor: str = "ada", **options: Any) -> StagedChannel:  # noqa: ANN401
    return StagedChannel(store, BUNDLE, CHANNEL, actor=actor, clock=lambda: writers.NOW, **options)


def stage(channel: StagedChannel, version: str, *targets: str, **options: Any) -> Change:  # noqa: ANN401
    chosen = published.read(channel._store, BUNDLE, version)
    return channel.stage(chosen, targets or ("pod-0",), until=UNTIL, **options)


def head(channel: StagedChannel) -> Record:
    return channel.existing_head().record


def test_candidate_is_critical_and_what_is_live_stays(channel: StagedChannel) -> None:
    record = stage(channel, "v3", "pod-0", "zone=a").record
    assert (record.live.version, record.action, record.critical) == ("v2", "stage", ("candidate",))
    assert record.candidate is not None
    assert (record.candidate.live.version, record.candidate.targets) == ("v3", ("pod-0", "zone=a"))


def test_targets_grow_and_in_the_end_it_is_live(channel: StagedChannel, store: LocalStore) -> None:
    stage(channel, "v3", "pod-0")
    record = channel.widen("v3", ["pod-1", "pod-0"], until=UNTIL).record
    assert record.candidate is not None
    assert record.candidate.targets == ("pod-0", "pod-1")
    record = channel.finish("v3").record
    assert (record.live.version, record.candidate, record.critical, record.action) == ("v3", None, (), "promote")
    assert [one["live"]["version"] for _, one in stored_records(store)][-1] == "v3"
    assert channel.rollback().record.live.version == "v2"


def test_candidate_that_is_staged_again_is_left_as_it_is(channel: StagedChannel) -> None:
    stage(channel, "v3", "pod-0")
    again = stage(channel, "v3", "pod-1")
    assert (again.written, again.record.generation) == (False, 3)
    assert not stage(channel, "v2").written, "it is live"


def test_nothing_else_is_promoted_meanwhile(channel: StagedChannel, store: LocalStore) -> None:
    stage(channel, "v3")
    for work in (partial(writers.promote, store), partial(stage, channel)):
        with pytest.raises(Conflict) as refused:
            work("v4")
        assert refused.value.code == "rollout_under_way"
    assert head(channel).generation == 3


def test_what_may_not_be_promoted_may_not_be_staged(channel: StagedChannel) -> None:
    with pytest.raises(Conflict) as refused:
        stage(channel, "v1")
    assert refused.value.code == "older_commit"
    channel.hold("lunch")
    with pytest.raises(Held):
        stage(channel, "v3")
    assert head(channel).candidate is None


def test_withdrawn_release_is_bad_and_holds_the_channel(channel: StagedChannel, store: LocalStore) -> None:
    stage(channel, "v3")
    record = channel.withdraw("v3", "step 1 did not hold").record
    assert (record.live.version, record.candidate, record.bad, record.action) == ("v2", None, ("v3",), "withdraw")
    assert record.hold is not None
    assert (record.hold.reason, record.reason, record.critical) == ("step 1 did not hold", "step 1 did not hold", ())
    channel.resume()
    for work in (partial(writers.promote, store), partial(stage, channel)):
        with pytest.raises(Conflict) as refused:
            work("v3")
        assert refused.value.code == "bad_version"
    assert stage(channel, "v3", allow_bad=True).record.bad == ()
    channel.withdraw("v3", "again")
    channel.resume()
    assert writers.promote(store, "v3", allow_bad=True).record.bad == ()


def test_bad_versions_are_handed_on_and_bounded(channel: StagedChannel, store: LocalStore) -> None:
    stage(channel, "v3")
    channel.withdraw("v3", "", hold=False)
    assert writers.promote(store, "v4").record.bad == ("v3",)
    many = tuple(f"w{number}" for number in range(MOST_BAD))
    channel._advance(channel.existing_head(), "refresh", "", bad=many)
    stage(channel, "v5")
    assert channel.withdraw("v5", "").record.bad == (*many[1:], "v5")


def test_rollback_takes_back_what_is_going_live(channel: StagedChannel) -> None:
    stage(channel, "v3")
    record = channel.rollback(reason="3 a.m.").record
    assert (record.live.version, record.candidate, record.bad, record.action) == ("v2", None, ("v3",), "withdraw")
    channel.resume()
    stage(channel, "v4")
    assert channel.rollback(from_version="v4").record.bad == ("v3", "v4")
    channel.resume()
    stage(channel, "v5")
    record = channel.rollback(to="v1").record
    assert (record.live.version, record.candidate, record.critical) == ("v1", None, ())


def test_rollback_passes_over_what_is_bad(channel: StagedChannel, store: LocalStore) -> None:
    writers.promote(store, "v3")
    channel._advance(channel.existing_head(), "refresh", "", bad=("v2",))
    assert channel.rollback().record.live.version == "v1"


def test_hold_of_somebody_else_stops_every_step(channel: StagedChannel, store: LocalStore) -> None:
    stage(channel, "v3")
    channel_of(store, "bob").hold("wait")
    with pytest.raises(Held, match="held by bob: wait"):
        channel.widen("v3", ["pod-1"], until=UNTIL)
    with pytest.raises(Held, match="held by bob: wait"):
        channel.finish("v3")


@pytest.mark.parametrize("next_one", [None, "v4"])
def test_candidate_that_is_not_the_one_that_was_meant_is_left_alone(
    next_one: str | None, channel: StagedChannel, store: LocalStore
) -> None:
    stage(channel, "v3")
    other = channel_of(store, "bob")
    other.withdraw("v3", "no", hold=False)
    if next_one is not None:
        stage(other, next_one)
    with pytest.raises(Overtaken):
        channel.widen("v3", ["pod-1"], until=UNTIL)
    with pytest.raises(Overtaken):
        channel.finish("v3")
    with pytest.raises(Conflict) as refused:
        channel.withdraw("v3", "late")
    assert refused.value.code == "no_candidate"
    assert head(channel).live.version == "v2"


def test_channel_without_a_candidate_says_so(channel: StagedChannel) -> None:
    with pytest.raises(Unknown) as refused:
        channel.candidate()
    assert refused.value.code == "no_candidate"


class HeldMeanwhile(LocalStore):
    """Somebody holds the channel just before the first head is replaced."""

    waits = True

    def replace(self, key: str, body: bytes, token: str) -> str:
        if self.waits and key == writers.HEAD:
            self.waits = False
            channel_of(LocalStore(self._root), "bob").hold("at once")
        return super().replace(key, body, token)


@pytest.mark.parametrize("step", ["widen", "finish"])
def test_hold_that_comes_in_between_is_seen(step: str, tmp_path: Path, channel: StagedChannel) -> None:
    stage(channel, "v3")
    raced = channel_of(HeldMeanwhile(tmp_path / "store"))
    with pytest.raises(Held):
        raced.widen("v3", ["pod-1"], until=UNTIL) if step == "widen" else raced.finish("v3")
    assert (head(channel).live.version, head(channel).generation) == ("v2", 4)


def test_refresh_and_hold_keep_the_candidate(channel: StagedChannel) -> None:
    stage(channel, "v3")
    record = channel.hold().record
    assert record.candidate is not None
    assert record.critical == ("candidate",)
