"""What init-store and the doctor find out, on stores of all three kinds, and how each finding ends."""

from __future__ import annotations

import os
import secrets
import time
from typing import TYPE_CHECKING, BinaryIO

import pytest

from dagferry_builder import catalog
from dagferry_builder.fitness import diagnose, diagnose_reading, init_store, require_fit
from dagferry_schemas import fields, layout
from dagferry_schemas.errors import BadData, DagferryError, DeliveryFailed, Forbidden, MachineFault
from dagferry_storage import probe
from dagferry_storage.local import LocalStore
from dagferry_storage.metered import MeteredStore
from dagferry_storage.probe import PROMISES, Check
from dagferry_storage.stores import open_store
from tests.storage import servers
from tests.storage.faults import ALWAYS, Fault, Proxy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from dagferry_storage.store import Store

    Diagnose = Callable[[Store, str, str, Callable[[], float]], tuple[Check, ...]]

BUNDLE = "shop"
NOW = "2026-11-22T10:00:00Z"
ALL = ["credentials", "read", *PROMISES, "clock", "verdict"]
UNCONDITIONAL = ("If-Match", "If-None-Match", "ifGenerationMatch")


@pytest.fixture(scope="module", params=["file", "s3", "gs"])
def folder_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A place for stores, of each kind in turn."""
    if request.param == "file":
        yield tmp_path_factory.mktemp("stores").as_uri() + "/{}"
    elif request.param == "s3":
        with servers.s3() as endpoint:
            os.environ.update(servers.CREDENTIALS)
            yield f"s3://{servers.BUCKET}/{{}}?endpoint={endpoint}"
    else:
        with servers.gcs():
            yield f"gs://{servers.BUCKET}/{{}}"


@pytest.fixture
def store(folder_url: str) -> Store:
    """A store with one object of somebody else in it."""
    store = open_store(folder_url.format(secrets.token_hex(4)))
    store.create("other/object", b"x")
    return store


def found(checks: tuple[Check, ...]) -> dict[str, Check]:
    assert all(check.detail for check in checks)
    return {check.name: check for check in checks}


def ending(store: Store, checks: tuple[Check, ...]) -> DagferryError:
    """The error that the checks amount to."""
    with pytest.raises(DagferryError) as caught:
        require_fit(store, checks, {"checks": [check.to_dict() for check in checks]})
    assert [check["name"] for check in caught.value.result["checks"]] == [check.name for check in checks]
    assert caught.value.hint
    return caught.value


def test_the_doctor_leaves_nothing(store: Store) -> None:
    checks = diagnose(store, BUNDLE, "n1", time.time)
    assert [check.name for check in checks] == ALL
    assert all(check.ok for check in checks)
    require_fit(store, checks, {})
    assert "there is none yet" in found(checks)["verdict"].detail
    assert list(store.names(f"{BUNDLE}/")) == []
    assert list(store.names("other/")) == ["other/object"]


def test_the_doctor_does_not_touch_the_verdict(store: Store) -> None:
    assert [check.name for check in init_store(store, BUNDLE, NOW, "n1", time.time)] == [
        "credentials",
        *PROMISES,
        "clock",
    ]
    before = store.read(layout.store_json(BUNDLE), limit=layout.MAX_DOCUMENT)
    assert NOW in found(diagnose(store, BUNDLE, "n2", time.time))["verdict"].detail
    assert store.read(layout.store_json(BUNDLE), limit=layout.MAX_DOCUMENT) == before
    assert list(store.names(f"{BUNDLE}/")) == [layout.store_json(BUNDLE)]


def test_a_reader_learns_what_it_can(store: Store) -> None:
    checks = found(diagnose_reading(store, BUNDLE, time.time))
    assert list(checks) == ["credentials", "read", "clock", "verdict"]
    assert all(check.ok for check in checks.values())
    assert "no shop/store.json yet" in checks["read"].detail
    assert "without writing" in checks["clock"].detail
    init_store(store, BUNDLE, NOW, "n1", time.time)
    checks = found(diagnose_reading(store, BUNDLE, time.time))
    assert all(check.ok for check in checks.values())
    assert NOW in checks["verdict"].detail
    assert "more cannot be told without writing" in checks["clock"].detail


@pytest.mark.parametrize(("ahead", "side"), [(3600, "ahead of"), (-3600, "behind")])
def test_a_clock_that_is_off_is_no_fault_of_the_store(store: Store, ahead: float, side: str) -> None:
    checks = init_store(store, BUNDLE, NOW, "n1", lambda: time.time() + ahead)
    assert [check.name for check in checks if not check.ok] == ["clock"]
    error = ending(store, checks)
    assert (error.code, error.exit_code) == ("clock_skew", 1)
    assert side in error.message
    assert catalog.check_store(store, BUNDLE)
    assert ending(store, diagnose(store, BUNDLE, "n2", lambda: time.time() + ahead)).code == "clock_skew"


def test_a_reader_is_told_of_a_clock_only_what_is_proven(store: Store) -> None:
    init_store(store, BUNDLE, NOW, "n1", time.time)
    error = ending(store, diagnose_reading(store, BUNDLE, lambda: time.time() - 3600))
    assert (error.code, error.exit_code) == ("clock_skew", 1)
    assert "behind" in error.message
    late = found(diagnose_reading(store, BUNDLE, lambda: time.time() + 3600))
    assert late["clock"].ok
    near = found(diagnose_reading(store, BUNDLE, lambda: time.time() - 30))
    assert "s behind" in near["clock"].detail


def test_the_verdict_is_said_by_the_doctor_too(store: Store) -> None:
    checks = [{"name": "create_only", "ok": False, "detail": "no"}]
    bad = {"format": 1, "bundle": BUNDLE, "checked": NOW, "ok": False, "checks": checks}
    store.create(layout.store_json(BUNDLE), fields.dump(bad))
    for seen in (diagnose(store, BUNDLE, "n1", time.time), diagnose_reading(store, BUNDLE, time.time)):
        assert [check.name for check in seen if not check.ok] == ["verdict"]
        error = ending(store, seen)
        assert (error.code, error.exit_code) == ("unfit_store", 1)
        assert "create_only" in error.message
    assert all(check.ok for check in init_store(store, BUNDLE, NOW, "n2", time.time))
    assert all(check.ok for check in diagnose(store, BUNDLE, "n3", time.time))


@pytest.mark.parametrize(("body", "code"), [(b'{"format": 2}', "newer_format"), (b"{", "malformed")])
def test_a_verdict_that_cannot_be_read_keeps_its_own_error(store: Store, body: bytes, code: str) -> None:
    store.create(layout.store_json(BUNDLE), body)
    for seen in (diagnose(store, BUNDLE, "n1", time.time), diagnose_reading(store, BUNDLE, time.time)):
        assert [check.name for check in seen if not check.ok] == ["verdict"]
        assert ending(store, seen).code == code


def test_a_metered_store_passes_identity_and_time_on(store: Store) -> None:
    metered = MeteredStore(store)
    assert metered.identity() == store.identity()
    assert metered.modified("other/object") == store.modified("other/object")
    assert metered.requests == 1


def test_the_doctor_makes_no_store(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "not-mounted")
    for checks in (diagnose(store, BUNDLE, "n1", time.time), diagnose_reading(store, BUNDLE, time.time)):
        error = ending(store, checks)
        assert (error.code, error.exit_code) == ("no_store", 4)
    assert not (tmp_path / "not-mounted").exists()


@pytest.mark.parametrize(
    ("refusal", "code", "exit_code"),
    [(Forbidden("may not write", "ask for it"), "forbidden", 4), (MachineFault("read-only", "remount"), "machine", 5)],
)
def test_who_may_not_write_is_told_how_a_reader_looks(
    tmp_path: Path, refusal: DeliveryFailed, code: str, exit_code: int
) -> None:
    class Guarded(LocalStore):
        def create(self, key: str, body: bytes | BinaryIO) -> str:
            raise refusal

    (tmp_path / "store").mkdir()
    checks = diagnose(Guarded(tmp_path / "store"), BUNDLE, "n1", time.time)
    assert [check.name for check in checks if check.ok] == ["credentials", "read"]
    assert found(checks)["create"].detail == refusal.message
    error = ending(Guarded(tmp_path / "store"), checks)
    assert (error.code, error.exit_code) == (code, exit_code)
    assert "--read-only" in error.hint


def test_no_verdict_is_left_on_a_store_that_could_not_be_asked_to_the_end(tmp_path: Path) -> None:
    class Broken(LocalStore):
        def read_if_changed(self, key: str, token: str, *, limit: int) -> None:
            raise DeliveryFailed("the line went dead", "try again")

    store = Broken(tmp_path / "store")
    checks = init_store(store, BUNDLE, NOW, "n1", time.time)
    assert ending(store, checks).message == "the line went dead"
    assert catalog.verdict(store, BUNDLE) is None


# Conditions that a server ignores, on its way through a proxy that forgets them.


def an_ignored_condition_is_found(diagnosis: Diagnose, forgotten: tuple[str, ...], broken: set[str]) -> None:
    with servers.s3() as endpoint, Proxy(int(endpoint.rpartition(":")[2])) as proxy:
        os.environ.update(servers.CREDENTIALS)
        proxy.fault = Fault("PUT", times=ALWAYS, forget=forgotten)
        store = open_store(f"s3://{servers.BUCKET}/ignored?endpoint={proxy.url}")
        checks = diagnosis(store, BUNDLE, "n1", time.time)
    assert {check.name for check in checks if not check.ok} == broken
    error = ending(store, checks)
    assert isinstance(error, BadData)
    assert (error.code, error.exit_code) == ("unfit_store", 1)
    assert all(name in error.message for name in broken)


@pytest.mark.parametrize(
    ("forgotten", "broken"), [(("If-Match",), {"compare_and_swap"}), (("If-None-Match",), {"create_only"})]
)
def test_an_ignored_condition_is_found(forgotten: tuple[str, ...], broken: set[str]) -> None:
    an_ignored_condition_is_found(diagnose, forgotten, broken)


def test_a_server_of_google_that_ignores_conditions_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    with servers.gcs() as address, Proxy(int(address.rpartition(":")[2])) as proxy:
        monkeypatch.setenv(servers.EMULATOR, proxy.url)
        proxy.fault = Fault("POST", times=ALWAYS, forget=UNCONDITIONAL)
        store = open_store(f"gs://{servers.BUCKET}/ignored")
        checks = diagnose(store, BUNDLE, "n1", time.time)
    assert {"create_only", "compare_and_swap"} == {check.name for check in checks if not check.ok}
    assert ending(store, checks).code == "unfit_store"


@pytest.mark.planted
def test_planted_doctor_that_believes_an_ignored_if_match_is_caught() -> None:
    def believing(store: Store, bundle: str, nonce: str, clock: Callable[[], float]) -> tuple[Check, ...]:
        """Planted: a replace that is answered by 200 is taken for a compare-and-swap."""
        with probe.trying(store, f"{bundle}/", nonce, clock) as steps:

            def believes() -> str:
                key = f"{bundle}/probe/{nonce}"
                store.replace(key, b"replaced", store.read(key, limit=4096).token)
                return "a replace took place"

            return probe.examine({**steps, "compare_and_swap": believes})

    with pytest.raises((AssertionError, pytest.fail.Exception)):
        an_ignored_condition_is_found(believing, ("If-Match",), {"compare_and_swap"})
