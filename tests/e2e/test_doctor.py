"""`dagferry doctor` and `init-store` as processes: on a directory, S3 and Google Cloud Storage, well and unwell.

The servers are this file's own, each behind a proxy that does to it what is asked.
"""

from __future__ import annotations

import json
import subprocess
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import boto3
import pytest

from tests.e2e.harness import COMMANDS, Operator, Outcome, Repository, environment
from tests.e2e.test_bad_input import remount, small_disk
from tests.storage import servers
from tests.storage.faults import ALWAYS, Fault, Proxy

if TYPE_CHECKING:
    from collections.abc import Iterator

PROMISES = ["create", "create_only", "compare_and_swap", "conditional_read", "list"]
ALL = ["credentials", "read", *PROMISES, "clock", "verdict"]
WRITES = "PUT POST DELETE"
DENIED = {
    "s3": b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>",
    "gs": b'{"error": {"message": "it does not have storage.objects.create access"}}',
}
IDENTITY = {"s3": "access key AKIATEST (env)", "gs": "a client without credentials"}


@dataclass(frozen=True)
class Place:
    """A store, who looks at it, and the proxy in front of it; no proxy in front of a directory."""

    kind: str
    operator: Operator
    proxy: Proxy | None

    @property
    def url(self) -> str:
        return self.operator.store_url or ""

    def faulty(self, fault: Fault) -> None:
        assert self.proxy is not None
        self.proxy.fault = fault

    def deny(self, methods: str) -> None:
        self.faulty(Fault(methods, times=ALWAYS, status=403, body=DENIED[self.kind]))

    def objects(self) -> list[str]:
        """What is in the store, asked without our own client."""
        top = urlsplit(self.url)
        if self.kind == "file":
            return sorted(path.name for path in Path(top.path).rglob("*") if path.is_file() and path.name[0] != ".")
        assert self.proxy is not None
        server, prefix = f"http://127.0.0.1:{self.proxy.upstream_port}", top.path.lstrip("/")
        if self.kind == "s3":
            keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b", "region_name": "us-east-1"}
            listed = boto3.client("s3", endpoint_url=server, **keys).list_objects_v2(
                Bucket=servers.BUCKET, Prefix=prefix
            )
            return [one["Key"] for one in listed.get("Contents", ())]
        with urllib.request.urlopen(f"{server}/storage/v1/b/{servers.BUCKET}/o?prefix={prefix}", timeout=10) as reply:
            return [one["name"] for one in json.load(reply)["items"]]


@pytest.fixture(scope="module")
def s3_port() -> Iterator[int]:
    with servers.s3() as endpoint:
        yield int(endpoint.rpartition(":")[2])


@pytest.fixture(scope="module")
def gs_port() -> Iterator[int]:
    with servers.gcs() as address:
        yield int(address.rpartition(":")[2])


def place_on(kind: str, proxy: Proxy, folder: Path) -> Place:
    prefix = folder.name
    url, env = f"s3://{servers.BUCKET}/{prefix}?endpoint={proxy.url}", {}
    if kind == "gs":
        url, env = f"gs://{servers.BUCKET}/{prefix}", {servers.EMULATOR: proxy.url}
    return Place(kind, Operator(folder, url, {"DAGFERRY_BUNDLE": "shop", **env}), proxy)


@pytest.fixture(params=["s3", "gs"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """A fresh place on a server of each kind, behind a proxy."""
    with Proxy(request.getfixturevalue(f"{request.param}_port")) as proxy:
        yield place_on(request.param, proxy, tmp_path)


@pytest.fixture
def directory(tmp_path: Path) -> Place:
    """A directory that is there, and empty."""
    (tmp_path / "store").mkdir()
    return Place("file", Operator(tmp_path, (tmp_path / "store").as_uri(), {"DAGFERRY_BUNDLE": "shop"}), None)


@pytest.fixture(params=["file", "s3", "gs"])
def any_place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """One of the three kinds in turn."""
    if request.param == "file":
        yield request.getfixturevalue("directory")
        return
    with Proxy(request.getfixturevalue(f"{request.param}_port")) as proxy:
        yield place_on(request.param, proxy, tmp_path)


def checks_of(outcome: Outcome) -> dict[str, dict[str, Any]]:
    """The checks of a document by name; each says something, and none a secret."""
    assert "secret" not in (outcome.stdout + outcome.stderr).lower()
    checks = {check["name"]: check for check in outcome.document["checks"]}
    assert all(check["detail"] for check in checks.values()), outcome
    assert outcome.document["ok"] is all(check["ok"] for check in checks.values())
    return checks


def failed(outcome: Outcome) -> list[str]:
    return [name for name, check in checks_of(outcome).items() if not check["ok"]]


def test_doctor_finds_a_good_store_well_and_leaves_it_as_it_was(any_place: Place) -> None:
    outcome = any_place.operator.outcome("doctor")
    assert list(checks_of(outcome)) == ALL
    assert failed(outcome) == []
    assert any_place.objects() == []
    assert IDENTITY.get(any_place.kind, "uid") in checks_of(outcome)["credentials"]["detail"]
    assert "init-store" in checks_of(outcome)["verdict"]["detail"]
    assert failed(any_place.operator.outcome("init-store")) == []
    before = any_place.objects()
    assert len(before) == 1
    assert "all promises were kept" in checks_of(any_place.operator.outcome("doctor"))["verdict"]["detail"]
    assert any_place.objects() == before


def test_reader_is_found_well_and_writes_nothing(place: Place) -> None:
    place.operator.run("init-store")
    place.deny(WRITES)
    assert place.proxy is not None
    place.proxy.requests.clear()
    outcome = place.operator.outcome("doctor", "--read-only")
    assert list(checks_of(outcome)) == ["credentials", "read", "clock", "verdict"]
    assert failed(outcome) == []
    assert set(place.proxy.requests) <= {"GET", "HEAD"}


def test_reader_that_looks_as_a_writer_is_told_who_refused_and_how_to_look(place: Place) -> None:
    place.operator.run("init-store")
    place.deny(WRITES)
    outcome = place.operator.outcome("doctor", expect=4)
    assert outcome.error["code"] == "forbidden"
    assert "--read-only" in outcome.error["hint"]
    assert IDENTITY[place.kind] in outcome.error["message"]
    assert failed(outcome) == ALL[2:]
    assert "may not" in checks_of(outcome)["create"]["detail"]
    assert checks_of(outcome)["list"] == {"name": "list", "ok": False, "detail": "not tried", "tried": False}


def test_reader_of_a_directory_that_is_mounted_read_only(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "size=1m"):
        operator = Operator(tmp_path, str(tmp_path / "disk/store"), {"DAGFERRY_BUNDLE": "shop"})
        operator.run("init-store")
        remount(tmp_path / "disk", "ro")
        assert failed(operator.outcome("doctor", "--read-only")) == []
        outcome = operator.outcome("doctor", expect=5)
        assert failed(outcome) == ALL[2:]
        assert "--read-only" in outcome.error["hint"]
        assert "Read-only" in outcome.error["message"]


def test_identity_that_may_nothing_is_named(place: Place) -> None:
    place.deny("GET HEAD PUT POST DELETE")
    for arguments in (("doctor",), ("doctor", "--read-only"), ("init-store",)):
        outcome = place.operator.outcome(*arguments, expect=4)
        assert outcome.error["code"] == "forbidden"
        assert IDENTITY[place.kind] in outcome.error["message"]
        assert "--read-only" not in outcome.error["hint"] or arguments == ("init-store",)
        assert checks_of(outcome)["credentials"]["ok"]
        assert len(failed(outcome)) == len(checks_of(outcome)) - 1


@pytest.mark.parametrize("arguments", [("doctor",), ("doctor", "--read-only")])
def test_store_that_is_out_of_reach_ends_with_4(arguments: tuple[str, ...], place: Place) -> None:
    nowhere = {
        "DAGFERRY_STORE": f"{place.url.partition('?')[0]}?endpoint=http://127.0.0.1:1"
        if place.kind == "s3"
        else place.url,
        servers.EMULATOR: "http://127.0.0.1:1",
    }
    outcome = place.operator.outcome(*arguments, expect=4, env=nowhere)
    assert outcome.error["code"] == "unreachable"
    assert checks_of(outcome)["credentials"]["ok"]


@pytest.mark.parametrize("arguments", [("doctor",), ("doctor", "--read-only")])
def test_bucket_that_does_not_exist_ends_with_4(arguments: tuple[str, ...], place: Place) -> None:
    other = place.url.replace(servers.BUCKET, "no-such-bucket")
    outcome = place.operator.outcome(*arguments, expect=4, env={"DAGFERRY_STORE": other})
    assert outcome.error["code"] == "no_store"
    assert IDENTITY[place.kind] in outcome.error["message"]


@pytest.mark.parametrize("arguments", [("doctor",), ("doctor", "--read-only")])
def test_directory_that_does_not_exist_is_not_made(
    arguments: tuple[str, ...], directory: Place, tmp_path: Path
) -> None:
    outcome = directory.operator.outcome(*arguments, expect=4, env={"DAGFERRY_STORE": str(tmp_path / "not-mounted")})
    assert outcome.error["code"] == "no_store"
    assert checks_of(outcome)["credentials"]["ok"]
    assert not (tmp_path / "not-mounted").exists()


def test_credentials_that_have_expired_end_with_4(place: Place) -> None:
    expired = {"s3": (400, b"<Error><Code>ExpiredToken</Code></Error>"), "gs": (401, b'{"error": {"message": "no"}}')}
    status, body = expired[place.kind]
    place.faulty(Fault(times=ALWAYS, status=status, body=body))
    outcome = place.operator.outcome("doctor", expect=4)
    assert outcome.error["code"] == {"s3": "expired_credentials", "gs": "no_credentials"}[place.kind]
    assert "--read-only" not in outcome.error["hint"]
    assert IDENTITY[place.kind] in outcome.error["message"]


def test_nobody_is_found_out_before_anything_else(s3_port: int, tmp_path: Path) -> None:
    with Proxy(s3_port) as proxy:
        place = place_on("s3", proxy, tmp_path)
        nobody = {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}
        outcome = place.operator.outcome("doctor", expect=4, env=nobody)
        assert outcome.error["code"] == "no_credentials"
        assert failed(outcome) == ALL
        assert not proxy.requests


def test_profile_that_does_not_exist_is_a_wrong_configuration(s3_port: int, tmp_path: Path) -> None:
    with Proxy(s3_port) as proxy:
        place = place_on("s3", proxy, tmp_path)
        for command in ("doctor", "init-store"):
            outcome = place.operator.outcome(command, expect=2, env={"AWS_PROFILE": "no-such-profile"})
            assert "no-such-profile" in outcome.error["message"]
            assert failed(outcome) == list(checks_of(outcome))
        assert not proxy.requests


def test_nobody_is_found_out_on_google_too(tmp_path: Path) -> None:
    operator = Operator(tmp_path, "gs://bucket/prefix", {"DAGFERRY_BUNDLE": "shop"})
    env = {servers.EMULATOR: None, "GOOGLE_APPLICATION_CREDENTIALS": str(tmp_path / "no-such-key.json")}
    outcome = operator.outcome("doctor", expect=4, env=env)
    assert outcome.error["code"] == "no_credentials"
    assert "no-such-key.json" in outcome.error["message"]
    assert failed(outcome) == ALL


def test_ignored_conditions_are_found_and_such_a_store_is_not_used(place: Place, tmp_path: Path) -> None:
    ignored = Fault(WRITES, times=ALWAYS, forget=("If-Match", "If-None-Match", "ifGenerationMatch"))
    place.faulty(ignored)
    outcome = place.operator.outcome("doctor", expect=1)
    assert outcome.error["code"] == "unfit_store"
    assert {"create_only", "compare_and_swap"} == set(failed(outcome))
    assert place.objects() == []
    outcome = place.operator.outcome("init-store", expect=1)
    assert outcome.error["code"] == "unfit_store"
    assert {"create_only", "compare_and_swap"} == set(failed(outcome))
    place.faulty(Fault(times=0))
    outcome = place.operator.outcome("doctor", "--read-only", expect=1)
    assert (outcome.error["code"], failed(outcome)) == ("unfit_store", ["verdict"])
    repository = Repository(tmp_path / "clone", config='[bundles.shop]\nroot = "dags"\n')
    repository.change({"dags/a.py": "A = 1\n"})
    refused = Operator(repository.path, place.url, place.operator.options).fail(1, "publish")
    assert refused["code"] == "unfit_store"


def test_clock_of_s3_that_is_an_hour_ahead_is_found(s3_port: int, tmp_path: Path) -> None:
    with Proxy(s3_port) as proxy:
        place = place_on("s3", proxy, tmp_path)
        proxy.fault = Fault("HEAD", times=ALWAYS, rewrite={"last-modified": "Thu, 01 Jan 2099 00:00:00 GMT"})
        for arguments in (("doctor",), ("init-store",), ("doctor", "--read-only")):
            outcome = place.operator.outcome(*arguments, expect=1)
            assert (outcome.error["code"], failed(outcome)) == ("clock_skew", ["clock"])
            assert "behind the store's" in outcome.error["message"]
            assert "NTP" in outcome.error["hint"]
        proxy.fault = Fault("HEAD", times=ALWAYS, rewrite={"last-modified": "Thu, 01 Jan 2026 00:00:00 GMT"})
        assert "ahead of the store's" in place.operator.outcome("doctor", expect=1).error["message"]
        assert failed(place.operator.outcome("doctor", "--read-only")) == []


@pytest.mark.parametrize(("ahead", "side"), [(3600, "behind"), (-3600, "ahead of")])
def test_clock_of_google_that_is_off_is_found(ahead: int, side: str, tmp_path: Path, gs_port: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(servers.EMULATOR)
        with servers.gcs(ahead=ahead) as address:
            env = {"DAGFERRY_BUNDLE": "shop", servers.EMULATOR: address}
            outcome = Operator(tmp_path, f"gs://{servers.BUCKET}/off", env).outcome("doctor", expect=1)
        patch.setenv(servers.EMULATOR, f"http://127.0.0.1:{gs_port}")
    assert (outcome.error["code"], failed(outcome)) == ("clock_skew", ["clock"])
    assert side in outcome.error["message"]
    assert "3600 s" in outcome.error["message"] or "3599 s" in outcome.error["message"]


def test_clock_that_the_store_itself_refuses_ends_with_4(s3_port: int, tmp_path: Path) -> None:
    with Proxy(s3_port) as proxy:
        body = b"<Error><Code>RequestTimeTooSkewed</Code><ServerTime>2026-11-22T10:00:00Z</ServerTime></Error>"
        proxy.fault = Fault(times=ALWAYS, status=403, body=body)
        outcome = place_on("s3", proxy, tmp_path).operator.outcome("doctor", expect=4)
    assert outcome.error["code"] == "clock_skew"
    assert "2026-11-22T10:00:00Z" in outcome.error["message"]
    assert "NTP" in outcome.error["hint"]
    assert failed(outcome) == ALL[1:]


def test_clock_that_googles_server_of_tokens_refuses_ends_with_4(gs_port: int, tmp_path: Path) -> None:
    with Proxy(gs_port) as proxy:
        proxy.fault = Fault(times=ALWAYS, status=400, body=servers.SKEWED)
        key = servers.write_key_file(tmp_path / "key.json", proxy.url)
        env = {servers.EMULATOR: None, "GOOGLE_APPLICATION_CREDENTIALS": str(key), "GOOGLE_CLOUD_PROJECT": "p"}
        operator = Operator(tmp_path, "gs://bucket/prefix", {"DAGFERRY_BUNDLE": "shop"})
        outcome = operator.outcome("doctor", expect=4, env=env)
    assert outcome.error["code"] == "clock_skew"
    assert servers.ACCOUNT in outcome.error["message"]
    assert failed(outcome) == ALL


def test_first_publication_goes_on_with_a_clock_that_is_off_and_says_so(s3_port: int, tmp_path: Path) -> None:
    repository = Repository(tmp_path / "clone", config='[bundles.shop]\nroot = "dags"\n')
    repository.change({"dags/a.py": "A = 1\n"})
    with Proxy(s3_port) as proxy:
        proxy.fault = Fault("HEAD", times=ALWAYS, rewrite={"last-modified": "Thu, 01 Jan 2099 00:00:00 GMT"})
        place = place_on("s3", proxy, tmp_path)
        outcome = Operator(repository.path, place.url).outcome("publish")
    assert outcome.document["created"] is True
    assert "behind the store's" in outcome.stderr


def test_no_verdict_is_left_by_a_line_that_went_dead(s3_port: int, tmp_path: Path) -> None:
    with Proxy(s3_port) as proxy:
        place = place_on("s3", proxy, tmp_path)
        proxy.fault = Fault("PUT", times=1, lose=True)
        outcome = place.operator.outcome("init-store", expect=4)
        assert outcome.error["code"] == "unreachable"
        assert place.objects() == []


def test_for_people_all_checks_are_on_stdout_and_the_error_on_stderr(directory: Place) -> None:
    told = {}
    for url in (directory.url, directory.url + "-that-is-away"):
        done = subprocess.run(
            [*COMMANDS["dagferry"], "doctor", "--store", url, "--bundle", "shop"],
            cwd=directory.operator.folder,
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        told[done.returncode] = done
    assert sorted(told) == [0, 4]
    assert [line.split()[:2] for line in told[0].stdout.splitlines()[1:]] == [["ok", f"{name}:"] for name in ALL]
    assert told[0].stderr == ""
    assert "NOT OK read: the store" in told[4].stdout
    assert "error: the store" in told[4].stderr
    assert "hint: " in told[4].stderr
