"""S3 stores on moto's server: the contract, and what servers and networks do to a client; with boto3 alone, and with
obstore as the client that reads."""

from __future__ import annotations

import io
import os
import re
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config

from dagferry_schemas.errors import DeliveryFailed, Forbidden
from dagferry_storage.probe import probe
from dagferry_storage.retrying import ATTEMPTS
from dagferry_storage.s3 import S3Store
from dagferry_storage.s3_address import S3Address
from dagferry_storage.s3_quick import QuickS3Store
from dagferry_storage.store import Absent, Exists, Store
from dagferry_storage.stores import open_store
from tests.storage import contract, servers
from tests.storage.contract import StoreContract
from tests.storage.faults import ALWAYS, Fault, Proxy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.storage.racers import Opener


def open_s3(address: S3Address) -> S3Store:
    """A store with credentials of its own, in whatever process this is."""
    os.environ.update(servers.CREDENTIALS)
    return S3Store(address)


def open_quick(address: S3Address) -> QuickS3Store:
    """The same store, as its URL is opened where the environment names the credentials."""
    os.environ.update(servers.CREDENTIALS)
    store = open_store(address.url)
    assert isinstance(store, QuickS3Store)
    return store


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with servers.s3() as address:
        yield address


class TestS3Store(StoreContract):
    server = "S3 on locked moto"

    @pytest.fixture
    def opener(self, endpoint: str) -> Opener:
        return partial(open_s3, S3Address(servers.BUCKET, f"{secrets.token_hex(4)}/", endpoint))


class TestQuickS3Store(StoreContract):
    server = "S3 on locked moto, read by obstore"

    @pytest.fixture
    def opener(self, endpoint: str) -> Opener:
        return partial(open_quick, S3Address(servers.BUCKET, f"{secrets.token_hex(4)}/", endpoint))


Build = Callable[[S3Address], S3Store]


@pytest.fixture
def proxy(endpoint: str) -> Iterator[Proxy]:
    with Proxy(int(endpoint.rpartition(":")[2])) as between:
        yield between


@pytest.fixture
def boto(proxy: Proxy) -> S3Store:
    return open_s3(S3Address(servers.BUCKET, f"{secrets.token_hex(4)}/", proxy.url))


@pytest.fixture(params=[open_s3, open_quick])
def store(request: pytest.FixtureRequest, proxy: Proxy) -> Store:
    opened: Store = request.param(S3Address(servers.BUCKET, f"{secrets.token_hex(4)}/", proxy.url))
    return opened


def refusal(status: int, code: str, *, times: int = 1, **headers: str) -> Fault:
    body = f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()
    return Fault(times=times, status=status, body=body, headers=headers)


def a_write_whose_reply_was_lost_is_not_repeated(store: Store, proxy: Proxy) -> None:
    """It was done, the client cannot know, and asking again would only learn of its own first try."""
    proxy.fault = Fault("PUT", lose=True)
    with pytest.raises(DeliveryFailed):
        store.create("a/created", b"1")
    assert proxy.requests["PUT"] == 1
    token = store.read("a/created", limit=10).token
    proxy.fault = Fault("PUT", lose=True)
    with pytest.raises(DeliveryFailed):
        store.replace("a/created", b"2", token)
    assert proxy.requests["PUT"] == 2
    assert store.read("a/created", limit=10).body == b"2"


def test_a_write_whose_reply_was_lost_is_not_repeated(store: Store, proxy: Proxy) -> None:
    a_write_whose_reply_was_lost_is_not_repeated(store, proxy)


@pytest.mark.parametrize(
    ("status", "code"),
    [(409, "ConditionalRequestConflict"), (503, "SlowDown"), (429, "TooManyRequests"), (400, "Throttling")],
)
def test_a_write_that_was_not_done_is_tried_again(store: Store, proxy: Proxy, status: int, code: str) -> None:
    proxy.fault = refusal(status, code, times=2)
    token = store.create("a/object", b"1")
    assert proxy.requests["PUT"] == 3
    proxy.fault = refusal(status, code)
    store.replace("a/object", b"2", token)
    assert store.read("a/object", limit=10).body == b"2"


def test_a_write_that_nobody_ever_does_ends(store: Store, proxy: Proxy) -> None:
    proxy.fault = refusal(503, "SlowDown", times=ALWAYS)
    with pytest.raises(DeliveryFailed, match="SlowDown"):
        store.create("a/object", b"1")
    assert proxy.requests["PUT"] == ATTEMPTS


@pytest.mark.parametrize(("status", "code"), [(500, "InternalError"), (502, "BadGateway"), (503, "ServiceUnavailable")])
def test_a_write_that_may_have_been_done_is_not_tried_again(store: Store, proxy: Proxy, status: int, code: str) -> None:
    proxy.fault = refusal(status, code)
    with pytest.raises(DeliveryFailed, match=code):
        store.create("a/object", b"1")
    assert proxy.requests["PUT"] == 1


def test_a_slow_body_arrives(store: Store, proxy: Proxy) -> None:
    store.create("a/object", b"whole body")
    proxy.fault = Fault("GET", delay=0.1, pause=0.05, piece=5)
    assert store.read("a/object", limit=10).body == b"whole body"
    assert proxy.requests["GET"] == 1


@pytest.mark.parametrize("fault", [Fault("GET", delay=1.5), Fault("GET", pause=1.5, piece=5)])
def test_a_body_that_does_not_come_is_a_time_out(
    store: Store, proxy: Proxy, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dagferry_storage.bucket.READ_SECONDS", 0.3)
    store.create("a/object", b"whole body")
    proxy.fault = fault
    assert store.read("a/object", limit=10).body == b"whole body"
    assert proxy.requests["GET"] == 2


@pytest.mark.parametrize(
    "fault", [refusal(500, "InternalError"), refusal(503, "SlowDown"), Fault(lose=True), Fault(cut=3)]
)
def test_a_read_that_failed_is_tried_again(store: Store, proxy: Proxy, fault: Fault) -> None:
    token = store.create("a/object", b"whole body")
    proxy.fault = fault
    assert store.read("a/object", limit=10).body == b"whole body"
    proxy.fault = fault
    assert store.read_if_changed("a/object", token, limit=10) is None
    proxy.fault = replace(fault, cut=None)
    with store.stream("a/object") as chunks:
        assert b"".join(chunks) == b"whole body"


def test_a_stream_that_breaks_off_is_an_error_and_never_a_shorter_object(store: Store, proxy: Proxy) -> None:
    store.create("a/object", b"x" * 100_000)
    proxy.fault = Fault(cut=50_000)
    with pytest.raises(DeliveryFailed), store.stream("a/object") as chunks:
        b"".join(chunks)


@pytest.mark.parametrize(
    ("fault", "kind", "code", "said"),
    [
        (
            refusal(403, "AccessDenied", times=ALWAYS),
            Forbidden,
            "forbidden",
            "AKIATEST (env) may not (AccessDenied; it takes s3:",
        ),
        (refusal(403, "InvalidAccessKeyId", times=ALWAYS), Forbidden, "forbidden", "access key AKIATEST"),
        (refusal(403, "SignatureDoesNotMatch", times=ALWAYS), Forbidden, "forbidden", "access key AKIATEST"),
        (refusal(400, "ExpiredToken", times=ALWAYS), Forbidden, "expired_credentials", "access key AKIATEST"),
        (
            refusal(404, "NoSuchBucket", times=ALWAYS),
            Absent,
            "no_store",
            "no such bucket (asked as access key AKIATEST (env))",
        ),
        (
            refusal(301, "PermanentRedirect", times=ALWAYS, **{"x-amz-bucket-region": "eu-west-3"}),
            DeliveryFailed,
            "wrong_region",
            "as access key AKIATEST (env): the bucket is in eu-west-3",
        ),
        (refusal(403, "RequestTimeTooSkewed", times=ALWAYS), DeliveryFailed, "clock_skew", "clock"),
    ],
    ids=lambda value: value.body.decode().split("<")[3][5:] if isinstance(value, Fault) else "",
)
def test_a_refusal_says_what_who_and_what_next(
    store: Store, proxy: Proxy, fault: Fault, kind: type[DeliveryFailed], code: str, said: str
) -> None:
    proxy.fault = fault
    calls: tuple[Callable[[], object], ...] = (
        lambda: store.read("a/object", limit=10),
        lambda: store.modified("a/object"),
        lambda: store.create("a/object", b"1"),
    )
    for call in calls:
        with pytest.raises(kind) as caught:
            call()
        assert caught.value.code == code
        assert said in caught.value.message
        assert "access key AKIATEST" in caught.value.message
        assert store.url in caught.value.message
        assert caught.value.hint


def test_a_missing_bucket(endpoint: str) -> None:
    store = open_s3(S3Address("no-such-bucket", "", endpoint))
    calls: tuple[Callable[[], object], ...] = (
        lambda: store.read("a/b", limit=10),
        lambda: store.create("a/b", b"x"),
        lambda: store.replace("a/b", b"x", '"0"'),
        lambda: store.modified("a/b"),
        lambda: list(store.names("a/")),
        lambda: list(store.folders("")),
        lambda: store.delete("a/b"),
    )
    for call in calls:
        with pytest.raises(Absent, match=r"s3://no-such-bucket.*no such bucket.*access key AKIATEST \(env\)"):
            call()


def test_both_clocks_are_told_where_the_server_tells_them(store: Store, proxy: Proxy) -> None:
    body = (
        b"<Error><Code>RequestTimeTooSkewed</Code><Message>no</Message><RequestTime>20260101T000000Z</RequestTime>"
        b"<ServerTime>2026-11-22T10:00:00Z</ServerTime></Error>"
    )
    proxy.fault = Fault(times=ALWAYS, status=403, body=body)
    with pytest.raises(DeliveryFailed, match="RequestTime 20260101T000000Z, ServerTime 2026-11-22T10:00:00Z") as caught:
        store.read("a/object", limit=10)
    assert "NTP" in caught.value.hint


def test_a_file_that_is_redirected_is_stored_from_its_present_position(store: Store, proxy: Proxy) -> None:
    """boto3 follows by itself, and begins the body anew."""
    file = io.BytesIO(b"header|content")
    file.seek(7)
    proxy.fault = refusal(301, "PermanentRedirect", times=1, **{"x-amz-bucket-region": "eu-west-3"})
    store.create("a/object", file)
    assert proxy.requests["PUT"] == 2
    assert store.read("a/object", limit=20).body == b"content"


def test_the_identity_is_the_access_key_and_never_its_secret(store: Store, proxy: Proxy) -> None:
    assert store.identity() == "access key AKIATEST (env)"
    assert not proxy.requests


def test_the_time_of_an_object_is_asked_for_by_head(store: Store, proxy: Proxy) -> None:
    store.create("a/object", b"1")
    store.modified("a/object")
    assert proxy.requests == {"PUT": 1, "HEAD": 1}


@pytest.fixture
def without_keys(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> S3Store:
    """A store in an environment that names no access key."""
    store = open_s3(S3Address(servers.BUCKET, f"{secrets.token_hex(4)}/", endpoint))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    return store


def test_nobody_is_an_error_of_its_own(without_keys: S3Store) -> None:
    for call in (without_keys.identity, lambda: without_keys.read("a/object", limit=10)):
        with pytest.raises(Forbidden, match="a client without credentials") as caught:
            call()
        assert caught.value.code == "no_credentials"


ROLE = "arn:aws:iam::123456789012:role/agent"


def as_role(proxy: Proxy, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials come from a token and the server of roles, as in a pod; that server is behind the proxy."""
    (folder / "token").write_text("a.b.c")
    monkeypatch.setenv("AWS_ROLE_ARN", ROLE)
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(folder / "token"))
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", proxy.url)


def test_the_identity_of_a_role_is_the_key_that_it_was_given(
    without_keys: S3Store, proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_role(proxy, tmp_path, monkeypatch)
    assert re.fullmatch(r"access key \w+ \(assume-role-with-web-identity\)", without_keys.identity())
    assert proxy.requests == {"POST": 1}
    without_keys.create("a/object", b"1")
    assert proxy.requests == {"POST": 1}


@pytest.mark.parametrize(
    ("status", "code", "ends"),
    [(400, "InvalidIdentityToken", "no_credentials"), (403, "AccessDenied", "no_credentials"),
     (400, "ExpiredTokenException", "expired_credentials")],
)  # fmt: skip
def test_a_role_that_is_refused_is_not_taken_for_a_refusal_of_the_store(
    without_keys: S3Store,
    proxy: Proxy,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    code: str,
    ends: str,
) -> None:
    as_role(proxy, tmp_path, monkeypatch)
    body = f"<ErrorResponse><Error><Code>{code}</Code><Message>no</Message></Error></ErrorResponse>".encode()
    proxy.fault = Fault(times=ALWAYS, status=status, body=body)
    for call in (without_keys.identity, lambda: without_keys.read("a/object", limit=10)):
        with pytest.raises(Forbidden, match="assume-role-with-web-identity") as caught:
            call()
        assert caught.value.code == ends


def test_a_login_that_is_over_is_not_taken_for_the_network(
    without_keys: S3Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = (
        "start_url = https://login.invalid",
        "region = us-east-1",
        "account_id = 123456789012",
        "role_name = agent",
    )
    (tmp_path / "config").write_text("[default]\n" + "".join(f"sso_{line}\n" for line in lines))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("HOME", str(tmp_path))
    for call in (without_keys.identity, lambda: without_keys.read("a/object", limit=10)):
        with pytest.raises(Forbidden, match="SSO") as caught:
            call()
        assert caught.value.code == "no_credentials"


def test_a_server_of_something_else_is_told_as_such(tmp_path: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Silent, directory=str(tmp_path))) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            store = open_s3(S3Address("bucket", "", f"http://127.0.0.1:{server.server_port}"))
            calls: tuple[Callable[[], object], ...] = (
                lambda: store.read("a/b", limit=10),
                lambda: store.modified("a/b"),
                lambda: store.create("a/b", b"x"),
                lambda: store.replace("a/b", b"x", '"0"'),
                lambda: list(store.names("a/")),
                lambda: store.delete("a/b"),
            )
            for call in calls:
                with pytest.raises(DeliveryFailed, match="no S3 server's") as caught:
                    call()
                assert "endpoint" in caught.value.hint
        finally:
            server.shutdown()
            serving.join()


class Silent(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.mark.parametrize("call", [lambda store: store.read("a", limit=99), lambda store: store.create("a", b"x")])
def test_an_answer_without_an_etag_is_no_s3_servers(
    call: Callable[[Store], object], store: Store, proxy: Proxy
) -> None:
    proxy.fault = Fault("GET PUT", times=ALWAYS, status=200, body=b"<html>hello</html>")
    with pytest.raises(DeliveryFailed, match="no ETag") as caught:
        call(store)
    assert "endpoint" in caught.value.hint


def test_a_server_that_is_away_is_unreachable() -> None:
    store = open_s3(S3Address(servers.BUCKET, "", "http://127.0.0.1:1"))
    with pytest.raises(DeliveryFailed, match="127"):
        store.read("a/object", limit=10)


def test_a_folder_of_amazons_console_is_no_object(boto: S3Store) -> None:
    boto.create("a/object", b"1")
    prefix = boto._address.prefix
    boto._client.put_object(Bucket=servers.BUCKET, Key=f"{prefix}a/folder/", Body=b"")
    assert list(boto.names("a/")) == ["a/object"]
    boto._client.put_object(Bucket=servers.BUCKET, Key=f"{prefix}/stray", Body=b"")
    assert list(boto.folders("")) == ["a"], "a component without a name is none of a key"


def test_the_probe_passes(store: Store) -> None:
    assert [check.name for check in probe(store, "b/", "0123", time.time) if not check.ok] == []
    assert list(store.names("b/")) == []


def test_etags_are_sent_without_quotes_where_a_server_wants_them_so(endpoint: str) -> None:
    store = open_s3(S3Address(servers.BUCKET, f"{secrets.token_hex(4)}/", endpoint, strip_quotes=True))
    token = store.create("a/object", b"1")
    assert token.startswith('"')
    assert store.read_if_changed("a/object", token, limit=1) is None
    store.replace("a/object", b"2", token)


class Repeating(S3Store):
    """Planted: boto3's own retries, as they are by default."""

    @property
    def _client(self) -> Any:  # noqa: ANN401
        return boto3.client(
            "s3",
            endpoint_url=super()._client.meta.endpoint_url,
            region_name="us-east-1",
            config=Config(retries={"total_max_attempts": 4, "mode": "standard"}),
        )


class Unconditional(S3Store):
    """Planted: a head that is written without its condition, as by a server that ignores it."""

    def _put(self, key: str, body: Any, condition: dict[str, str]) -> str:  # noqa: ANN401
        return super()._put(key, body, {})


@pytest.mark.planted
def test_planted_client_that_repeats_by_itself_is_caught(proxy: Proxy) -> None:
    os.environ.update(servers.CREDENTIALS)
    store = Repeating(S3Address(servers.BUCKET, f"{secrets.token_hex(4)}/", proxy.url))
    with pytest.raises((AssertionError, Exists)):
        a_write_whose_reply_was_lost_is_not_repeated(store, proxy)


@pytest.mark.planted
def test_planted_server_that_ignores_conditions_is_refused_by_the_probe(proxy: Proxy) -> None:
    os.environ.update(servers.CREDENTIALS)
    store = Unconditional(S3Address(servers.BUCKET, f"{secrets.token_hex(4)}/", proxy.url))
    assert {"create_only", "compare_and_swap"} <= {
        check.name for check in probe(store, "b/", "0123", time.time) if not check.ok
    }
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        contract.a_second_create_is_refused_and_the_first_bytes_stay(store)
