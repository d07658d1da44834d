"""Servers of others: one that passes the contract, and those that are refused because they ignore what they are asked.

The marker `servers` is for what ``ci/store-servers-env`` installs; moto is among the tests' own packages.
"""

from __future__ import annotations

import secrets
from functools import partial
from typing import TYPE_CHECKING

import pytest

from dagferry_storage.gcs import GcsAddress, GcsStore
from dagferry_storage.s3_address import S3Address
from tests.e2e.harness import Operator, Repository
from tests.storage import contract, pinned, refused, servers
from tests.storage.contract import StoreContract
from tests.storage.test_s3 import open_quick, open_s3

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from dagferry_storage.store import Store
    from tests.storage.racers import Crew, Opener

CAUGHT = (AssertionError, pytest.fail.Exception)
PAUSE = 0.05  # seconds between moto's look at a condition and its write


def opener_on(endpoint: str, opened: Callable[[S3Address], Store] = open_s3) -> Opener:
    return partial(opened, S3Address(servers.BUCKET, f"{secrets.token_hex(4)}/", endpoint))


@pytest.fixture(scope="module")
def ministack() -> Iterator[str]:
    with pinned.ministack() as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def rclone() -> Iterator[str]:
    with pinned.rclone() as endpoint:
        yield endpoint


@pytest.fixture
def emulator() -> Iterator[str]:
    with pinned.gcs_emulator() as address:
        yield address


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    """Someone with a repository, and no store yet."""
    repository = Repository(tmp_path / "clone")
    repository.change({"dags/daily.py": "VERSION = 1\n"})
    return Operator(repository.path, None)


@pytest.mark.servers
class TestMinistack(StoreContract):
    server = "S3 on ministack"

    @pytest.fixture
    def opener(self, ministack: str) -> Opener:
        return opener_on(ministack)

    def test_the_probe_passes(self, opener: Opener) -> None:
        assert refused.broken_promises(opener()) == {}


@pytest.mark.servers
class TestQuickOnMinistack(StoreContract):
    server = "S3 on ministack, read by obstore"

    @pytest.fixture
    def opener(self, ministack: str) -> Opener:
        return opener_on(ministack, open_quick)


def commands_refuse(operator: Operator, url: str, *words: str) -> None:
    """What writes to a store ends with exit code 1 and says which promise is broken, also the second time."""
    for command in ("publish", "publish", "init-store", "publish"):
        error = operator.fail(1, command, "--store", url)
        assert error["code"] == "unfit_store"
        assert all(word in error["message"] for word in words), error


@pytest.mark.servers
def test_rclone_is_refused_by_the_probe(rclone: str) -> None:
    assert refused.broken_promises(opener_on(rclone)()) == refused.SAID[refused.RCLONE]


@pytest.mark.servers
def test_rclone_is_refused_by_the_commands(rclone: str, operator: Operator) -> None:
    commands_refuse(operator, f"s3://{servers.BUCKET}/cli?endpoint={rclone}", "create_only", "compare_and_swap")


@pytest.mark.servers
@pytest.mark.parametrize(
    "promise",
    [
        contract.a_second_create_is_refused_and_the_first_bytes_stay,
        contract.replace_needs_the_token_of_the_present_state,
        contract.replace_never_creates,
    ],
)
def test_rclone_is_caught_by_the_contract(rclone: str, promise: Callable[[Store], None]) -> None:
    with pytest.raises(CAUGHT):
        promise(opener_on(rclone)())


@pytest.mark.servers
def test_the_emulator_of_googles_storage_is_refused_by_the_probe(emulator: str) -> None:
    store = GcsStore(GcsAddress(servers.BUCKET, "a/", emulator))
    assert refused.broken_promises(store) == refused.SAID[refused.GCS_EMULATOR]


@pytest.mark.servers
def test_the_emulator_of_googles_storage_is_refused_by_the_commands(emulator: str, operator: Operator) -> None:
    commands_refuse(operator, f"gs://{servers.BUCKET}/cli", "the server tells no generation")


@pytest.mark.servers
def test_the_emulator_of_googles_storage_ignores_what_it_is_asked(emulator: str) -> None:
    """Why it is no store, whatever it tells of generations: of this the probe has no need to hear."""
    store = GcsStore(GcsAddress(servers.BUCKET, "a/", emulator))
    token = store.create("a/object", b"first")
    assert store.create("a/object", b"second")
    assert store.replace("a/object", b"third", token)
    assert store.replace("a/object", b"fourth", token)


@pytest.fixture
def moto(request: pytest.FixtureRequest) -> Iterator[str]:
    with servers.stock_moto(request.param) as endpoint:
        yield endpoint


@pytest.mark.parametrize("moto", [0.0, PAUSE], indirect=True, ids=["stock", "with_a_pause"])
def test_the_probe_is_one_writer_and_lets_motos_gap_pass(moto: str) -> None:
    """What the probe cannot see: a server that looks at a condition, and then writes. Only races tell."""
    assert refused.broken_promises(opener_on(moto)()) == {}


@pytest.mark.planted
@pytest.mark.parametrize("moto", [PAUSE], indirect=True)
@pytest.mark.parametrize("race", contract.RACES[:2], ids=lambda race: race.__name__)
def test_a_race_catches_motos_gap(moto: str, race: Callable[[Opener, Crew], None], crew: Crew) -> None:
    with pytest.raises(AssertionError, match="was won by"):
        race(opener_on(moto), crew)
