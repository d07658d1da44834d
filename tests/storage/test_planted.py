"""Stores with a planted bug, each of a kind that real stores have had; the suite and the probe must catch them."""

from __future__ import annotations

import hashlib
import secrets
import time
from functools import partial
from typing import TYPE_CHECKING, BinaryIO

import pytest

from dagferry_storage.local import LocalStore
from dagferry_storage.probe import probe
from dagferry_storage.store import Exists, Superseded
from tests.storage import contract

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.storage.racers import Crew, Opener

pytestmark = pytest.mark.planted

# A promise fails by an assert, or by an inner pytest.raises that saw nothing raised.
CAUGHT = (AssertionError, pytest.fail.Exception)


class LooksBeforeItCreates(LocalStore):
    """Create-only by asking first: right in every test that has one writer."""

    def create(self, key: str, body: bytes | BinaryIO) -> str:
        path = self._path(key)
        if path.exists():
            raise Exists(f"store {self.url}: {key} exists already", "nothing was written")
        time.sleep(0.002)
        return put(path, body if isinstance(body, bytes) else body.read())


class IgnoresTheToken(LocalStore):
    """What a store does that knows no condition on a write: it answers as if all were well."""

    def replace(self, key: str, body: bytes, token: str) -> str:
        return put(self._path(key), body)


class ComparesWithoutALock(LocalStore):
    """Compare-and-swap in two steps: right in every test that has one writer."""

    def replace(self, key: str, body: bytes, token: str) -> str:
        if self.read(key, limit=contract.LIMIT).token != token:
            raise Superseded(f"store {self.url}: {key} is in another state", "nothing was written")
        time.sleep(0.002)
        return put(self._path(key), body)


class WritesInPlace(LocalStore):
    """Locks and compares as it should, and then writes into the very file that others read."""

    def replace(self, key: str, body: bytes, token: str) -> str:
        path = self._path(key)
        with self._locked(path.parent):
            if self.read(key, limit=contract.LIMIT).token != token:
                raise Superseded(f"store {self.url}: {key} is in another state", "nothing was written")
            with path.open("wb", buffering=0) as file:
                file.write(body[:1000])
                time.sleep(0.002)
                file.write(body[1000:])
        return hashlib.sha256(body).hexdigest()


def put(path: Path, body: bytes) -> str:
    """Give a finished file its name, whoever has it now."""
    path.parent.mkdir(parents=True, exist_ok=True)
    written = path.with_name(f".tmp-{secrets.token_hex(8)}")
    written.write_bytes(body)
    written.replace(path)
    return hashlib.sha256(body).hexdigest()


@pytest.mark.parametrize(
    ("planted", "promise"),
    [
        (LooksBeforeItCreates, contract.a_create_is_decided_when_its_body_has_been_read),
        (IgnoresTheToken, contract.replace_needs_the_token_of_the_present_state),
        (IgnoresTheToken, contract.replace_never_creates),
        (IgnoresTheToken, contract.equal_bytes_may_share_a_token_and_a_nonce_tells_them_apart),
        (IgnoresTheToken, contract.errors_say_where_what_and_what_next),
    ],
)
def test_a_promise_catches(planted: type[LocalStore], promise: Callable[[LocalStore], None], tmp_path: Path) -> None:
    with pytest.raises(CAUGHT):
        promise(planted(tmp_path / "store"))


@pytest.mark.parametrize(
    ("planted", "race"),
    [
        (LooksBeforeItCreates, contract.of_racing_creates_exactly_one_wins),
        (IgnoresTheToken, contract.of_racing_replaces_with_one_token_exactly_one_wins),
        (ComparesWithoutALock, contract.of_racing_replaces_with_one_token_exactly_one_wins),
        (ComparesWithoutALock, contract.a_counter_loses_no_increment),
        (WritesInPlace, contract.a_reader_never_sees_part_of_a_replace),
    ],
)
def test_a_race_catches(
    planted: type[LocalStore], race: Callable[[Opener, Crew], None], tmp_path: Path, crew: Crew
) -> None:
    with pytest.raises(CAUGHT):
        race(partial(planted, tmp_path / "store"), crew)


@pytest.mark.parametrize(
    ("planted", "check"), [(LooksBeforeItCreates, "create_only"), (IgnoresTheToken, "compare_and_swap")]
)
def test_the_probe_catches(planted: type[LocalStore], check: str, tmp_path: Path) -> None:
    checks = probe(planted(tmp_path / "store"), "team/", "n1", time.time)
    assert [found.name for found in checks if not found.ok] == [check]
