"""`ShownStore`: a store like any other, that tells how far its long transfers are."""

from __future__ import annotations

import io
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, BinaryIO

import pytest

from dagferry_storage.local import LocalStore
from dagferry_storage.shown import ShownStore
from dagferry_storage.store import Exists
from tests.storage.contract import PROMISES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from dagferry_storage.shown import SoFar
    from dagferry_storage.store import Store


class Log:
    """All that was shown."""

    def __init__(self) -> None:
        self.begun: list[tuple[str, int]] = []
        self.news: list[int] = []
        self.ended = 0

    @contextmanager
    def show(self, action: str, size: int) -> Iterator[SoFar]:
        self.begun.append((action, size))
        try:
            yield self.news.append
        finally:
            self.ended += 1


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def store(tmp_path: Path, log: Log) -> ShownStore:
    return ShownStore(LocalStore(tmp_path / "store"), log.show, 3_000_000)


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
def test_promise(promise: Callable[[Store], None], tmp_path: Path) -> None:
    promise(ShownStore(LocalStore(tmp_path / "store"), lambda *_: nullcontext(lambda _: None)))


def test_a_file_is_followed_to_its_end(store: ShownStore, log: Log) -> None:
    file = io.BytesIO(b"head" + bytes(3_000_000))
    file.seek(4)
    store.create("a/object", file)
    assert log.begun == [("uploading", 3_000_000)]
    assert sorted(log.news) == log.news
    assert log.news[-1] == 3_000_000
    assert len(log.news) > 2
    assert log.ended == 1
    assert not file.closed


def test_a_stream_is_followed_to_its_end(store: ShownStore, log: Log) -> None:
    store.create("a/object", bytes(3_000_000))
    assert log.begun == []
    with store.stream("a/object") as chunks:
        assert sum(map(len, chunks)) == 3_000_000
    assert log.begun == [("downloading", 3_000_000)]
    assert log.news == [1 << 20, 2 << 20, 3_000_000]
    assert log.ended == 1


def test_a_transfer_that_fails_is_ended_too(store: ShownStore, log: Log) -> None:
    store.create("a/object", bytes(3_000_000))
    with pytest.raises(Exists):
        store.create("a/object", io.BytesIO(bytes(3_000_000)))
    with pytest.raises(OSError, match="the reader's own disk"), store.stream("a/object"):
        raise OSError("the reader's own disk")
    assert log.ended == 2


def test_a_body_that_is_read_again_begins_anew(tmp_path: Path, log: Log) -> None:
    class Signing(LocalStore):
        """Reads a body twice, as clients do that sign it."""

        def create(self, key: str, body: bytes | BinaryIO) -> str:
            assert not isinstance(body, bytes)
            body.read()
            body.seek(0)
            return super().create(key, body)

    ShownStore(Signing(tmp_path / "store"), log.show).create("a/object", io.BytesIO(bytes(3_000_000)))
    assert log.news[:2] == [3_000_000, 1 << 20]
    assert log.news[-1] == 3_000_000
