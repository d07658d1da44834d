"""The contract that every store passes: one function for each promise of `dagferry_storage.store`.

A new store's test file is a `StoreContract` subclass with a name, ``server``, and one fixture, ``opener``. `PROMISES`
take a store that is empty; `RACES` take twenty processes too. They are plain functions, so that a planted bug can be
shown to fail one.
"""

from __future__ import annotations

import io
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, ClassVar

import pytest

from dagferry_schemas.errors import DagferryError
from dagferry_storage.store import Exists, Missing, Store, Superseded, TooLarge
from tests.storage import racers

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.storage.racers import Crew, Opener

LIMIT = racers.LIMIT


def a_missing_object_cannot_be_read(store: Store) -> None:
    store.create("a/there", b"x")
    for key in ("a/missing", "a/deeper/missing", "elsewhere"):
        with pytest.raises(Missing, match=key):
            store.read(key, limit=LIMIT)
        with pytest.raises(Missing, match=key):
            store.read_if_changed(key, "any", limit=LIMIT)
        with pytest.raises(Missing, match=key):
            store.modified(key)
        with pytest.raises(Missing, match=key), store.stream(key):
            pytest.fail("a stream of a missing object was entered")


def a_created_object_reads_back_with_its_token(store: Store) -> None:
    token = store.create("a/b/object", b"bytes \x00\xff")
    stored = store.read("a/b/object", limit=LIMIT)
    assert stored.body == b"bytes \x00\xff"
    assert stored.token == token


def a_limit_is_inclusive(store: Store) -> None:
    token = store.create("a/object", b"12345")
    assert store.read("a/object", limit=5).body == b"12345"
    with pytest.raises(TooLarge, match="a/object"):
        store.read("a/object", limit=4)
    with pytest.raises(TooLarge):
        store.read_if_changed("a/object", f"not {token}", limit=4)


def an_empty_object_is_an_object(store: Store) -> None:
    store.create("a/empty", b"")
    store.create("a/empty-file", io.BytesIO())
    for key in ("a/empty", "a/empty-file"):
        assert store.read(key, limit=0).body == b""
        with store.stream(key) as chunks:
            assert b"".join(chunks) == b""


def a_second_create_is_refused_and_the_first_bytes_stay(store: Store) -> None:
    token = store.create("a/object", b"first")
    for body in (b"second", b"first", io.BytesIO(b"third")):
        with pytest.raises(Exists, match="a/object"):
            store.create("a/object", body)
    stored = store.read("a/object", limit=LIMIT)
    assert (stored.body, stored.token) == (b"first", token)


def a_create_is_decided_when_its_body_has_been_read(store: Store) -> None:
    class Slow(io.BytesIO):
        read_before = False  # a client may read a body twice: once in order to sign it

        def read(self, size: int | None = -1, /) -> bytes:
            if not self.read_before:
                self.read_before = True
                store.create("a/object", b"faster")
            return super().read(size)

    with pytest.raises(Exists):
        store.create("a/object", Slow(b"slower"))
    assert store.read("a/object", limit=LIMIT).body == b"faster"


def a_file_is_stored_from_its_present_position(store: Store) -> None:
    file = io.BytesIO(b"header|content")
    file.seek(7)
    token = store.create("a/object", file)
    stored = store.read("a/object", limit=LIMIT)
    assert (stored.body, stored.token) == (b"content", token)


def large_content_streams_in_small_chunks(store: Store) -> None:
    content = bytes(range(256)) * (13 * 1024) + b"the end"
    store.create("a/large", io.BytesIO(content))
    with store.stream("a/large") as chunks:
        seen = list(chunks)
    assert b"".join(seen) == content
    assert 0 < max(map(len, seen)) <= 1024 * 1024


def a_stream_may_be_left_early_and_passes_the_readers_own_errors(store: Store) -> None:
    store.create("a/large", bytes(3 * 1024 * 1024))
    with store.stream("a/large") as chunks:
        assert next(chunks)[:1] == b"\0"
    with pytest.raises(OSError, match="the reader's own disk"), store.stream("a/large"):
        raise OSError("the reader's own disk")


def replace_needs_the_token_of_the_present_state(store: Store) -> None:
    first = store.create("a/object", b"one")
    second = store.replace("a/object", b"two", first)
    stored = store.read("a/object", limit=LIMIT)
    assert (stored.body, stored.token) == (b"two", second)
    assert second != first
    with pytest.raises(Superseded, match="a/object"):
        store.replace("a/object", b"three", first)
    assert store.read("a/object", limit=LIMIT) == stored
    assert store.replace("a/object", b"three", second)
    assert store.read("a/object", limit=LIMIT).body == b"three"


def replace_never_creates(store: Store) -> None:
    token = store.create("a/other", b"one")
    for key in ("a/missing", "b/missing"):
        with pytest.raises(Superseded):
            store.replace(key, b"two", token)
        with pytest.raises(Missing):
            store.read(key, limit=LIMIT)


def a_conditional_read_tells_changed_from_unchanged(store: Store) -> None:
    first = store.create("a/object", b"one")
    assert store.read_if_changed("a/object", first, limit=LIMIT) is None
    second = store.replace("a/object", b"two", first)
    changed = store.read_if_changed("a/object", first, limit=LIMIT)
    assert changed is not None
    assert (changed.body, changed.token) == (b"two", second)
    assert store.read_if_changed("a/object", second, limit=LIMIT) is None


def equal_bytes_may_share_a_token_and_a_nonce_tells_them_apart(store: Store) -> None:
    """A to B and back to A: a store may take the first A's token for the second, but never half of it."""
    first = store.create("a/object", b"A")
    back = store.replace("a/object", b"A", store.replace("a/object", b"B", first))
    try:
        store.replace("a/object", b"C", first)
    except Superseded:
        assert back != first
        assert store.read("a/object", limit=LIMIT).body == b"A"
    else:
        assert back == first
        assert store.read("a/object", limit=LIMIT).body == b"C"
    stale = store.create("a/nonce", b"A nonce 1")
    store.replace("a/nonce", b"A nonce 2", stale)
    with pytest.raises(Superseded):
        store.replace("a/nonce", b"C nonce 3", stale)


def modified_tells_when_the_present_state_was_written(store: Store) -> None:
    """The server is on this machine; the fraction of its second may be left out."""
    began = time.time()
    token = store.create("a/object", b"one")
    created = store.modified("a/object")
    assert began - 1.1 < created < time.time() + 0.1
    time.sleep(1.1)
    assert store.modified("a/object") == created
    store.replace("a/object", b"one", token)
    assert created < store.modified("a/object") < time.time() + 0.1


def the_identity_is_told_without_the_store(store: Store) -> None:
    assert store.identity()
    assert store.identity() == store.identity()


def names_are_exactly_the_keys_below_a_prefix(store: Store) -> None:
    keys = {"a/1", "a/2.json", "a/b/c/3", "a/b/4", "ab/5"}
    tokens = {key: store.create(key, b"x") for key in keys}
    store.replace("a/1", b"y", tokens["a/1"])
    with pytest.raises(Exists):
        store.create("a/b/4", b"z")
    store.create("a/gone", b"x")
    store.delete("a/gone")
    assert sorted(store.names("a/")) == sorted(keys - {"ab/5"})
    assert sorted(store.names("a/b/")) == ["a/b/4", "a/b/c/3"]
    assert list(store.names("ab/")) == ["ab/5"]
    assert list(store.names("nothing/")) == []


def folders_are_the_next_parts_of_the_keys_below_a_prefix(store: Store) -> None:
    for key in ("a/1", "a/b/2", "a/b/c/3", "a/d/4", "ab/5", "a.b/6"):
        store.create(key, b"x")
    assert sorted(store.folders("")) == ["a", "a.b", "ab"]
    assert sorted(store.folders("a/")) == ["b", "d"]
    assert list(store.folders("a/b/")) == ["c"]
    assert list(store.folders("ab/")) == []
    assert list(store.folders("nothing/")) == []
    with pytest.raises(ValueError, match="ends in '/'"):
        list(store.folders("a"))


def delete_removes_one_object_and_may_be_repeated(store: Store) -> None:
    token = store.create("a/object", b"one")
    store.create("a/other", b"two")
    store.delete("a/object")
    store.delete("a/object")
    store.delete("never/was")
    with pytest.raises(Missing):
        store.read("a/object", limit=LIMIT)
    with pytest.raises(Superseded):
        store.replace("a/object", b"three", token)
    assert store.read("a/other", limit=LIMIT).body == b"two"
    store.create("a/object", b"four")
    assert store.read("a/object", limit=LIMIT).body == b"four"


def threads_may_share_one_store(store: Store) -> None:
    def create(number: int) -> bool:
        try:
            store.create("a/object", racers.body_of(number))
        except Exists:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(create, range(8)))
    assert sum(won) == 1
    assert store.read("a/object", limit=LIMIT).body == racers.body_of(won.index(True))


def errors_say_where_what_and_what_next(store: Store) -> None:
    token = store.create("a/object", b"12345")
    attempts: tuple[Callable[[], object], ...] = (
        lambda: store.read("a/missing", limit=1),
        lambda: store.modified("a/missing"),
        lambda: store.read("a/object", limit=1),
        lambda: store.create("a/object", b""),
        lambda: store.replace("a/object", b"", f"not {token}"),
    )
    for attempt in attempts:
        with pytest.raises(DagferryError) as caught:
            attempt()
        assert store.url in caught.value.message
        assert "a/" in caught.value.message
        assert caught.value.hint


def of_racing_creates_exactly_one_wins(opener: Opener, crew: Crew) -> None:
    won = crew.race(racers.create_each, opener)
    _one_winner_each_round(opener(), won)


def of_racing_replaces_with_one_token_exactly_one_wins(opener: Opener, crew: Crew) -> None:
    for key in racers.race_keys():
        opener().create(key, b"the state that all have read")
    won = crew.race(racers.replace_each, opener)
    _one_winner_each_round(opener(), won)


def a_counter_loses_no_increment(opener: Opener, crew: Crew) -> None:
    opener().create("race/counter", b"")
    crew.race(racers.count_up, opener)
    lines = opener().read("race/counter", limit=LIMIT).body.splitlines(keepends=True)
    added = [racers.line_of(number, turn) for number in range(racers.SIZE) for turn in range(racers.INCREMENTS)]
    assert sorted(lines) == sorted(added)


def a_reader_never_sees_part_of_a_replace(opener: Opener, crew: Crew) -> None:
    opener().create("race/torn", racers.sealed(0))
    assert sum(crew.race(racers.read_while_written, opener)) == 0


def _one_winner_each_round(store: Store, won: list[list[bool]]) -> None:
    for turn, key in enumerate(racers.race_keys()):
        winners = [number for number, rounds in enumerate(won) if rounds[turn]]
        assert len(winners) == 1, f"{key} was won by {winners}"
        assert store.read(key, limit=LIMIT).body == racers.body_of(winners[0])
    assert sorted(store.names("race/")) == racers.race_keys()


PROMISES: tuple[Callable[[Store], None], ...] = (
    a_missing_object_cannot_be_read,
    a_created_object_reads_back_with_its_token,
    a_limit_is_inclusive,
    an_empty_object_is_an_object,
    a_second_create_is_refused_and_the_first_bytes_stay,
    a_create_is_decided_when_its_body_has_been_read,
    a_file_is_stored_from_its_present_position,
    large_content_streams_in_small_chunks,
    a_stream_may_be_left_early_and_passes_the_readers_own_errors,
    replace_needs_the_token_of_the_present_state,
    replace_never_creates,
    a_conditional_read_tells_changed_from_unchanged,
    equal_bytes_may_share_a_token_and_a_nonce_tells_them_apart,
    modified_tells_when_the_present_state_was_written,
    the_identity_is_told_without_the_store,
    names_are_exactly_the_keys_below_a_prefix,
    folders_are_the_next_parts_of_the_keys_below_a_prefix,
    delete_removes_one_object_and_may_be_repeated,
    threads_may_share_one_store,
    errors_say_where_what_and_what_next,
)
RACES: tuple[Callable[[Opener, Crew], None], ...] = (
    of_racing_creates_exactly_one_wins,
    of_racing_replaces_with_one_token_exactly_one_wins,
    a_counter_loses_no_increment,
    a_reader_never_sees_part_of_a_replace,
)


class StoreContract:
    """Subclass it as ``TestSomething`` and give ``server`` and the fixture ``opener``."""

    server: ClassVar[str]
    """What the store is on: the name of its column in the table of docs/stores.md."""

    @pytest.fixture
    def opener(self) -> Opener:
        """Opens the same store at each call, empty at first; it is pickled, so a partial of something importable."""
        raise NotImplementedError

    @pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
    def test_promise(self, promise: Callable[[Store], None], opener: Opener) -> None:
        promise(opener())

    @pytest.mark.parametrize("race", RACES, ids=lambda race: race.__name__)
    def test_race(self, race: Callable[[Opener, Crew], None], opener: Opener, crew: Crew) -> None:
        race(opener, crew)
