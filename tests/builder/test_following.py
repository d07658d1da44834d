"""Following a log, on a real store: nothing is told that is not believed, and nothing that is new is left out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dagferry_builder.following import Follower, Position, StateFile
from dagferry_schemas import layout, trust
from dagferry_schemas.errors import Conflict, Corrupt, DeliveryFailed, Malformed
from dagferry_storage.local import LocalStore
from tests.builder import writers
from tests.builder.checks import BUNDLE, CHANNEL

if TYPE_CHECKING:
    from dagferry_storage.store import Stored

HEAD = layout.head(BUNDLE, CHANNEL)


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    """A store with four versions, and a channel without a record."""
    store = LocalStore(tmp_path / "store")
    writers.publish_documents(store, writers.commits(4))
    return store


def follower(store: LocalStore, position: Position | None = None) -> Follower:
    return Follower(store, BUNDLE, CHANNEL, lambda: trust.Policy.UNSIGNED, position)


def look(one: Follower) -> list[int]:
    """The generations that are new; they are told then."""
    news = one.look()
    if news:
        one.position = news[-1].position
    return [each.record.generation for each in news]


def path_of(store: LocalStore, key: str) -> Path:
    return Path(store.url.removeprefix("file://")) / key


def test_each_record_is_told_once_with_the_one_before(store: LocalStore) -> None:
    one = follower(store)
    assert look(one) == []
    writers.promote(store, "v1")
    writers.promote(store, "v2")
    news = one.look()
    assert [(each.record.live.version, each.before and each.before.live.version) for each in news] == [
        ("v1", None), ("v2", "v1")
    ]  # fmt: skip
    one.position = news[0].position  # somebody died after the first
    assert look(follower(store, one.position)) == [2]
    one.position = news[1].position
    assert look(one) == []
    writers.channel(store).hold("stop")
    assert look(one) == [3]


def test_what_is_skipped_is_not_told(store: LocalStore) -> None:
    writers.promote(store, "v1")
    one = follower(store)
    one.skip()
    writers.promote(store, "v2")
    assert look(one) == [2]


class Forgetful(LocalStore):
    """A store that cannot be asked for log objects as long as it is ``away``."""

    away = False

    def read(self, key: str, *, limit: int) -> Stored:
        if self.away and "/log/" in key:
            raise DeliveryFailed("the store does not answer")
        return super().read(key, limit=limit)


def test_what_could_not_be_read_is_told_when_it_can(tmp_path: Path) -> None:
    store = Forgetful(tmp_path / "store")
    writers.publish_documents(store, writers.commits(4))
    writers.promote(store, "v1")
    one = follower(store)
    assert look(one) == [1]
    writers.promote(store, "v2")
    writers.promote(store, "v3")
    store.away = True
    with pytest.raises(DeliveryFailed):
        one.look()
    store.away = False
    assert look(one) == [2, 3]


def test_a_head_that_went_back_is_not_believed(store: LocalStore) -> None:
    writers.promote(store, "v1")
    old = path_of(store, HEAD).read_bytes()
    writers.promote(store, "v2")
    one = follower(store)
    look(one)
    path_of(store, HEAD).write_bytes(old)
    with pytest.raises(Corrupt) as caught:
        one.look()
    assert caught.value.code == "went_back"


def test_a_head_that_is_gone_is_not_taken_for_quiet(store: LocalStore) -> None:
    writers.promote(store, "v1")
    one = follower(store)
    look(one)
    path_of(store, HEAD).unlink()
    with pytest.raises(Corrupt) as caught:
        one.look()
    assert caught.value.code == "lost_head"


def test_another_history_is_not_believed(store: LocalStore, tmp_path: Path) -> None:
    writers.promote(store, "v1")
    writers.promote(store, "v2")
    one = follower(store)
    look(one)
    other = LocalStore(tmp_path / "other")
    writers.publish_documents(other, writers.commits(4))
    for version in ("v1", "v3", "v4"):
        writers.promote(other, version)
    stranger = Follower(other, BUNDLE, CHANNEL, lambda: trust.Policy.UNSIGNED, one.position)
    with pytest.raises(Corrupt) as caught:
        stranger.look()
    assert caught.value.code == "forked_log"


def test_after_a_lost_head_the_new_epoch_is_told_and_nothing_twice(store: LocalStore) -> None:
    for version in ("v1", "v2", "v3"):
        writers.promote(store, version)
    one = follower(store)
    assert look(one) == [1, 2, 3]
    path_of(store, HEAD).unlink()  # generation 3 was in the head alone
    writers.channel(store).recover("backup")
    news = one.look()
    assert [(each.record.epoch, each.record.generation, each.record.action) for each in news] == [(2, 3, "recover")]
    assert news[0].before is not None
    assert news[0].before.live.version == "v2"


def test_state_is_what_was_written_and_belongs_to_one_webhook(tmp_path: Path) -> None:
    file = StateFile(tmp_path / "state", BUNDLE, CHANNEL, "key")
    assert not file.exists()
    for position in (None, Position(1, 2, "sha256:" + "0" * 64)):
        file.write(position)
        assert file.read() == position
    with pytest.raises(Conflict):
        StateFile(tmp_path / "state", BUNDLE, CHANNEL, "other").read()
    (tmp_path / "state").write_bytes(b"{")
    with pytest.raises(Malformed):
        file.read()
