"""`GcsStore` on our own server: the contract, and what only a server can do to a client."""

from __future__ import annotations

import io
import secrets
import subprocess
import sys
import threading
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import google.auth
import google.auth.exceptions
import pytest

from dagferry_schemas.errors import BadData, DagferryError, DeliveryFailed, Forbidden
from dagferry_storage import bucket, gcs
from dagferry_storage.gcs import GcsAddress, GcsStore
from dagferry_storage.probe import probe
from dagferry_storage.retrying import ATTEMPTS, Passing, attempt
from dagferry_storage.store import Absent, Exists, Missing, Superseded
from tests.storage import contract, gcs_server
from tests.storage.contract import LIMIT, StoreContract
from tests.storage.faults import ALWAYS, Fault, Proxy
from tests.storage.servers import ACCOUNT, SKEWED, write_key_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from dagferry_storage.section import Section
    from tests.storage.racers import Crew, Opener

BUCKET = "artifacts"
CAUGHT = (AssertionError, pytest.fail.Exception)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    command = [sys.executable, "-m", "tests.storage.gcs_server"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        make_bucket(port)
        yield port
        process.kill()


def make_bucket(port: int) -> None:
    GcsStore(GcsAddress(BUCKET, emulator=f"http://127.0.0.1:{port}"))._client.create_bucket(BUCKET)


def address_on(url: str) -> GcsAddress:
    return GcsAddress(BUCKET, f"{secrets.token_hex(4)}/", url)


@pytest.fixture
def address(port: int) -> GcsAddress:
    return address_on(f"http://127.0.0.1:{port}")


@pytest.fixture
def proxy(port: int) -> Iterator[Proxy]:
    with Proxy(port) as proxy:
        yield proxy


@pytest.fixture
def store(proxy: Proxy) -> GcsStore:
    """Behind the proxy, and with one object that is there already."""
    store = GcsStore(address_on(proxy.url))
    store.create("a/there", b"there")
    proxy.requests.clear()
    return store


@pytest.fixture(autouse=True)
def in_no_hurry_but_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dagferry_storage.retrying.FIRST_PAUSE", 0.01)


class TestGcsStore(StoreContract):
    server = "GCS on our server"

    @pytest.fixture
    def opener(self, address: GcsAddress) -> Opener:
        return partial(GcsStore, address)


def test_the_probe_passes(address: GcsAddress) -> None:
    assert [check for check in probe(GcsStore(address), "team/", "n1", time.time) if not check.ok] == []


def test_names_come_in_pages_and_without_folders(address: GcsAddress) -> None:
    store = GcsStore(address)
    keys = [f"a/{number}" for number in range(2 * gcs_server.PAGE + 1)]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda key: store.create(key, b""), keys))
    store._client.bucket(BUCKET).blob(f"{address.prefix}a/folder/").upload_from_string(b"")
    assert sorted(store.names("a/")) == sorted(keys)


def test_folders_come_in_pages_and_cost_by_folders(address: GcsAddress) -> None:
    store = GcsStore(address)
    keys = [f"{folder}/{number}" for folder in range(gcs_server.PAGE + 1) for number in range(2)]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda key: store.create(key, b""), keys))
    assert sorted(store.folders(""), key=int) == [str(folder) for folder in range(gcs_server.PAGE + 1)]


def test_a_read_is_one_request(store: GcsStore, proxy: Proxy) -> None:
    token = store.read("a/there", limit=LIMIT).token
    assert store.read_if_changed("a/there", token, limit=LIMIT) is None
    assert proxy.requests == {"GET": 2}


def test_no_request_goes_out_behind_the_stores_back(proxy: Proxy) -> None:
    store = GcsStore(address_on(proxy.url))
    store.create("a/b", b"x")
    time.sleep(0.3)
    assert proxy.requests == {"POST": 1}


def test_every_object_says_no_store(store: GcsStore, address: GcsAddress) -> None:
    store.replace("a/there", b"new", store.read("a/there", limit=LIMIT).token)
    blob = store._blob("a/there")
    blob.reload()
    assert blob.cache_control == "no-store"


@pytest.mark.parametrize("token", ["0", "00", "-1", "", "latest", "١", "1" * 30])
def test_what_is_no_generation_replaces_nothing_and_creates_nothing(store: GcsStore, proxy: Proxy, token: str) -> None:
    for key in ("a/there", "a/missing"):
        with pytest.raises(Superseded):
            store.replace(key, b"x", token)
    assert not proxy.requests
    assert list(store.names("a/")) == ["a/there"]


class Sparse(io.RawIOBase):
    """A large file that takes no room."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._at = 0

    def seek(self, offset: int, whence: int = 0, /) -> int:
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, size: int | None = -1, /) -> bytes:
        left = self._size - self._at
        size = left if size is None or size < 0 else min(size, left)
        self._at += size
        return bytes(size)


def test_a_large_file_is_uploaded_and_streamed_in_parts_with_flat_memory(address: GcsAddress) -> None:
    store, size = GcsStore(address), 100 * 1024 * 1024 + 7
    store.create("a/small", b"")
    tracemalloc.start()
    try:
        file: Any = Sparse(size + 10)
        file.seek(10)
        token = store.create("a/large", file)
        with store.stream("a/large") as chunks:
            assert sum(map(len, chunks)) == size
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 5 * gcs.PART
    assert token == store._look("a/large")[1]


def test_a_large_create_is_conditional_when_it_begins_and_when_it_ends(store: GcsStore, proxy: Proxy) -> None:
    large: Any = Sparse(gcs.PART + 1)
    with pytest.raises(Exists):
        store.create("a/there", large)
    assert proxy.requests == {"POST": 1}

    class Slow(Sparse):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() == gcs.PART:
                store.create("a/raced", b"faster")
            return super().read(size)

    slow: Any = Slow(gcs.PART + 1)
    with pytest.raises(Exists):
        store.create("a/raced", slow)
    assert store.read("a/raced", limit=LIMIT).body == b"faster"


def test_a_stream_stays_with_the_state_in_which_it_began(store: GcsStore) -> None:
    store.create("a/large", io.BytesIO(bytes(gcs.PART + 1)))
    with store.stream("a/large") as chunks:
        next(chunks)
        store.replace("a/large", b"other", store._look("a/large")[1])
        with pytest.raises(DeliveryFailed, match="replaced meanwhile"):
            list(chunks)


# Writes: after a lost reply the writer does not know, and nothing is repeated in its name.


def lost_replies_are_told(store: GcsStore, proxy: Proxy) -> None:
    token = store.read("a/there", limit=LIMIT).token
    writes: dict[str, Callable[[], object]] = {
        "a/new": lambda: store.create("a/new", b"new"),
        "a/there": lambda: store.replace("a/there", b"new", token),
    }
    for key, write in writes.items():
        proxy.requests.clear()
        proxy.fault = Fault("POST", lose=True)
        with pytest.raises(DagferryError) as caught:
            write()
        assert isinstance(caught.value, Passing), "the writer was told something that is not known"
        assert proxy.requests["POST"] == 1, "a conditional write was repeated blindly"
        assert store.read(key, limit=LIMIT).body == b"new"


def test_a_lost_reply_is_told_and_the_write_is_not_repeated(store: GcsStore, proxy: Proxy) -> None:
    lost_replies_are_told(store, proxy)


@pytest.mark.parametrize("lost", ["POST", "PUT"])
def test_a_lost_reply_of_an_upload_in_parts(store: GcsStore, proxy: Proxy, lost: str) -> None:
    proxy.fault = Fault(lost, lose=True)
    with pytest.raises(Passing):
        store.create("a/large", io.BytesIO(bytes(gcs.PART + 1)))
    assert proxy.requests == ({"POST": 1} if lost == "POST" else {"POST": 1, "PUT": 1})
    with pytest.raises(Missing):
        store.read("a/large", limit=LIMIT)


@pytest.mark.parametrize("status", [409, 500, 502, 503])
def test_a_write_is_not_repeated_after_an_answer_that_leaves_it_open(
    store: GcsStore, proxy: Proxy, status: int
) -> None:
    proxy.fault = Fault("POST", status=status, body=b"oops")
    with pytest.raises(DeliveryFailed, match=f"{status}"):
        store.create("a/new", b"new")
    assert proxy.requests == {"POST": 1}


@pytest.mark.parametrize(
    "fault",
    [
        Fault("POST", status=429, body=b"slow down", times=2),
        Fault("POST", status=403, body=b'{"error": {"message": "no", "errors": [{"reason": "rateLimitExceeded"}]}}'),
    ],
)
def test_a_write_that_was_put_off_is_repeated(store: GcsStore, proxy: Proxy, fault: Fault) -> None:
    proxy.fault = fault
    file = io.BytesIO(b"header|new")
    file.seek(7)
    token = store.create("a/new", file)
    assert proxy.requests == {"POST": fault.times + 1}
    proxy.fault = fault
    store.replace("a/new", b"newer", token)
    assert store.read("a/new", limit=LIMIT).body == b"newer"


def test_a_write_is_put_off_only_so_often(store: GcsStore, proxy: Proxy) -> None:
    proxy.fault = Fault("POST", status=429, times=ALWAYS)
    with pytest.raises(DeliveryFailed, match="busy"):
        store.create("a/new", b"new")
    assert proxy.requests == {"POST": ATTEMPTS}


# Reads: repeated after whatever may pass, and the bytes are the right ones or none.

BAD_READS = {
    "busy": Fault("GET", status=503),
    "throttled": Fault("GET", status=429),
    "lost": Fault("GET", lose=True),
    "cut": Fault("GET", cut=3, path="alt=media"),
    "cut_at_once": Fault("GET", cut=0, path="alt=media"),
    "garbled": Fault("GET", garble=True, path="alt=media"),
    "garbled_and_cut": Fault("GET", garble=True, cut=4, path="alt=media"),
}


@pytest.mark.parametrize("name", BAD_READS)
def test_a_read_that_went_wrong_is_repeated(store: GcsStore, proxy: Proxy, name: str) -> None:
    proxy.fault = BAD_READS[name]
    assert store.read("a/there", limit=LIMIT).body == b"there"
    assert proxy.requests == {"GET": 2}
    proxy.fault = BAD_READS[name]
    assert store.read_if_changed("a/there", "1", limit=LIMIT) == store.read("a/there", limit=LIMIT)
    proxy.fault = None
    assert sorted(store.names("a/")) == ["a/there"]


@pytest.mark.parametrize("name", BAD_READS)
def test_a_read_that_always_goes_wrong_fails(store: GcsStore, proxy: Proxy, name: str) -> None:
    fault = BAD_READS[name]
    proxy.fault = Fault(**(vars(fault) | {"times": ALWAYS}))
    with pytest.raises(DeliveryFailed):
        store.read("a/there", limit=LIMIT)
    assert proxy.requests == {"GET": ATTEMPTS}


@pytest.mark.parametrize("name", [name for name in BAD_READS if "garbled" not in name])
def test_a_part_of_a_stream_that_went_wrong_is_repeated(store: GcsStore, proxy: Proxy, name: str) -> None:
    content = secrets.token_bytes(gcs.PART + 1000)
    store.create("a/large", io.BytesIO(content))
    with store.stream("a/large") as chunks:
        proxy.fault = BAD_READS[name]
        assert b"".join(chunks) == content


def test_listing_and_deleting_are_repeated(store: GcsStore, proxy: Proxy) -> None:
    proxy.fault = Fault("GET", lose=True)
    assert list(store.names("a/")) == ["a/there"]
    proxy.fault = Fault("DELETE", lose=True)
    store.delete("a/there")
    assert list(store.names("a/")) == []


def test_a_slow_body_arrives(store: GcsStore, proxy: Proxy) -> None:
    proxy.fault = Fault("GET", delay=0.1, pause=0.05)
    assert store.read("a/there", limit=LIMIT).body == b"there"
    assert proxy.requests == {"GET": 1}


@pytest.mark.parametrize("fault", [Fault("GET", delay=1.5), Fault("GET", pause=1.5, piece=3)])
def test_a_body_that_does_not_come_is_a_time_out(
    store: GcsStore, proxy: Proxy, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bucket, "READ_SECONDS", 0.3)
    proxy.fault = fault
    assert store.read("a/there", limit=LIMIT).body == b"there"
    assert proxy.requests == {"GET": 2}


def test_a_server_without_generations_is_none_for_a_store(store: GcsStore, proxy: Proxy) -> None:
    proxy.fault = Fault("GET", status=200, body=b"there")
    with pytest.raises(BadData, match="no generation") as caught:
        store.read("a/there", limit=LIMIT)
    assert caught.value.code == "unfit_store"


def test_a_server_that_ignores_ranges_is_told(store: GcsStore, proxy: Proxy) -> None:
    store.create("a/large", io.BytesIO(bytes(gcs.PART + 1)))
    with store.stream("a/large") as chunks:
        proxy.fault = Fault("GET", status=200, body=bytes(gcs.PART + 1))
        with pytest.raises(DeliveryFailed, match="ignores ranges"):
            next(chunks)


# Who may not, and what is not there: each says so in its own words.


def each_method_of(store: GcsStore, token: str = "1") -> dict[str, Callable[[], object]]:
    return {
        "read": lambda: store.read("a/b", limit=LIMIT),
        "read_if_changed": lambda: store.read_if_changed("a/b", token, limit=LIMIT),
        "modified": lambda: store.modified("a/b"),
        "stream": lambda: store.stream("a/b").__enter__(),
        "create": lambda: store.create("a/b", b"x"),
        "create_large": lambda: store.create("a/b", io.BytesIO(bytes(gcs.PART + 1))),
        "replace": lambda: store.replace("a/b", b"x", token),
        "names": lambda: list(store.names("a/")),
        "folders": lambda: list(store.folders("")),
        "delete": lambda: store.delete("a/b"),
    }


METHODS = sorted(each_method_of(GcsStore(GcsAddress(BUCKET))))


@pytest.mark.parametrize("method", METHODS)
def test_a_missing_bucket(port: int, method: str) -> None:
    store = GcsStore(GcsAddress("no-such-bucket", emulator=f"http://127.0.0.1:{port}"))
    with pytest.raises(Absent, match=r"gs://no-such-bucket.*no such bucket.*a client without credentials"):
        each_method_of(store)[method]()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("status", "words", "code"),
    [
        (403, "a client without credentials may not .*storage.objects.get", "forbidden"),
        (401, "credentials of a client without credentials are not accepted", "no_credentials"),
    ],
)
def test_a_refused_identity(store: GcsStore, proxy: Proxy, method: str, status: int, words: str, code: str) -> None:
    said = b'{"error": {"message": "Anonymous caller does not have storage.objects.get access"}}'
    proxy.fault = Fault(status=status, body=said, times=ALWAYS)
    with pytest.raises(Forbidden, match=words) as caught:
        each_method_of(store)[method]()
    assert (caught.value.code, sum(proxy.requests.values())) == (code, 1)
    assert store.url in caught.value.message


@pytest.mark.parametrize("method", METHODS)
def test_a_server_that_is_not_there(method: str) -> None:
    store = GcsStore(address_on("http://127.0.0.1:9"))
    with pytest.raises(Passing, match=r"gs://artifacts/.*cannot .*refused"):
        each_method_of(store)[method]()


INSIDES = ("HTTPConnection", "Max retries", "Errno", "Remote", "(", "\n", "<")


def check_plain(caught: pytest.ExceptionInfo[Passing], *said: str) -> None:
    """One line in words of people."""
    assert [word for word in said if word not in caught.value.message] == []
    assert [word for word in INSIDES if word in caught.value.message] == []


def test_an_outage_names_the_server_and_the_plain_reason(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dagferry_storage.retrying.ATTEMPTS", 1)
    for url, said in (
        ("http://127.0.0.1:9", "127.0.0.1:9: connection refused"),
        ("http://no-such-host.invalid", "no-such-host.invalid:80: the host's name is not known"),
        (proxy.url.replace("http:", "https:"), f"{proxy.url.removeprefix('http://')}: TLS failed"),
    ):
        with pytest.raises(Passing) as caught:
            GcsStore(address_on(url)).read("a/there", limit=LIMIT)
        check_plain(caught, said)


def test_a_connection_that_drops_or_hangs_is_told_in_words(
    store: GcsStore, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = proxy.url.removeprefix("http://")
    proxy.fault = Fault(lose=True, times=ALWAYS)
    with pytest.raises(Passing) as caught:
        store.read("a/there", limit=LIMIT)
    check_plain(caught, f"{address}: connection closed")
    monkeypatch.setattr("dagferry_storage.bucket.READ_SECONDS", 0.2)
    proxy.fault = Fault(delay=0.6, times=ALWAYS)
    with pytest.raises(Passing) as caught:
        store.read("a/there", limit=LIMIT)
    check_plain(caught, f"{address}: timed out")


@pytest.mark.parametrize(
    "page",
    [
        b"<html>\n<style>p { x }</style>\n<body><h1>Oops</h1>\n<p>wrong &amp; gone</p></body></html>",
        b'<?xml version="1.0"?>\n<Error>\n<Code>Oops</Code><Message>wrong &amp; gone</Message></Error>',
        b"Oops\n\n  wrong & gone\r\n",
    ],
)
def test_a_page_of_another_server_is_told_as_one_line_of_words(store: GcsStore, proxy: Proxy, page: bytes) -> None:
    proxy.fault = Fault(status=503, body=page, times=ALWAYS)
    with pytest.raises(Passing) as caught:
        store.read("a/there", limit=LIMIT)
    check_plain(caught, f"{proxy.url.removeprefix('http://')} answers HTTP 503 Oops wrong & gone")


def test_a_404_of_another_server_is_not_taken_for_a_missing_bucket(store: GcsStore, proxy: Proxy) -> None:
    proxy.fault = Fault(status=404, body=b"<html><body>File not found</body></html>", times=ALWAYS)
    for method, call in each_method_of(store).items():
        with pytest.raises(DeliveryFailed, match=r"no server of Google Cloud Storage.*File not found") as caught:
            call()
        assert caught.value.code != "no_store", method
        assert "STORAGE_EMULATOR_HOST" in caught.value.hint


class Account(google.auth.credentials.Credentials):
    """A service account; its tokens last as long as the test wants."""

    service_account_email = ACCOUNT

    def __init__(self, *, ends: Exception | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._ends = ends

    def refresh(self, request: object) -> None:
        if self._ends:
            raise self._ends
        self.token = "token"


def as_account(account: Account, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> GcsStore:
    """A store that finds the account in its environment, and the server where Google's would be."""
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    monkeypatch.setattr(google.auth, "default", lambda **_: (account, None))
    monkeypatch.setattr("google.cloud.storage._http.Connection.DEFAULT_API_ENDPOINT", proxy.url)
    return GcsStore(GcsAddress(BUCKET, f"{secrets.token_hex(4)}/"))


def test_a_forbidden_account_is_named(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    store = as_account(Account(), proxy, monkeypatch)
    store.create("a/b", b"x")
    proxy.fault = Fault(status=403, body=b'{"error": {"message": "denied: storage.objects.create"}}')
    with pytest.raises(Forbidden, match=rf"{Account.service_account_email} may not .*objects\.create"):
        store.create("a/c", b"x")


def test_an_account_that_is_not_accepted_is_named(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    store = as_account(Account(), proxy, monkeypatch)
    proxy.fault = Fault(status=401, body=b'{"error": {"message": "Invalid Credentials"}}', times=2)
    store.create("a/b", b"x")  # with a new token
    proxy.fault = Fault(status=401, body=b'{"error": {"message": "Invalid Credentials"}}', times=ALWAYS)
    with pytest.raises(Forbidden, match=rf"{Account.service_account_email} are not accepted .*Invalid") as caught:
        store.create("a/c", b"x")
    assert caught.value.code == "expired_credentials"


def test_credentials_that_cannot_be_renewed(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    account = Account(ends=google.auth.exceptions.RefreshError("invalid_grant: the key was deleted"))  # type: ignore[no-untyped-call]
    store = as_account(account, proxy, monkeypatch)
    with pytest.raises(Forbidden, match=rf"{account.service_account_email} are not accepted .*deleted") as caught:
        store.read("a/b", limit=LIMIT)
    assert caught.value.code == "expired_credentials"


def test_the_server_of_credentials_is_out_of_reach(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    account = Account(ends=google.auth.exceptions.TransportError("no route"))  # type: ignore[no-untyped-call]
    with pytest.raises(Passing, match="no route"):
        as_account(account, proxy, monkeypatch).read("a/b", limit=LIMIT)


@pytest.fixture
def key_file(proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The environment names the key of a service account, whose server of tokens is the proxy."""
    path = write_key_file(tmp_path / "key.json", proxy.url)
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "project")
    return path


def test_the_identity_is_the_account_and_never_its_key(key_file: Path, proxy: Proxy) -> None:
    proxy.fault = Fault("POST", status=200, body=b'{"access_token": "a-secret", "expires_in": 3600}')
    told = GcsStore(GcsAddress(BUCKET)).identity()
    assert told.startswith(f"{Account.service_account_email} (service account credentials, {key_file}")
    assert "a-secret" not in told
    assert proxy.requests == {"POST": 1}


def test_a_clock_that_googles_server_of_tokens_refuses_is_told(key_file: Path, proxy: Proxy) -> None:
    proxy.fault = Fault("POST", status=400, times=ALWAYS, body=SKEWED)
    store = GcsStore(GcsAddress(BUCKET))
    for call in (store.identity, lambda: store.read("a/b", limit=LIMIT)):
        with pytest.raises(DeliveryFailed, match=f"clock.*{Account.service_account_email}") as caught:
            call()
        assert caught.value.code == "clock_skew"
        assert "NTP" in caught.value.hint


def test_a_grant_that_is_refused_for_another_reason_is_no_matter_of_the_clock(key_file: Path, proxy: Proxy) -> None:
    body = b'{"error": "invalid_grant", "error_description": "Invalid JWT Signature."}'
    proxy.fault = Fault("POST", status=400, times=ALWAYS, body=body)
    with pytest.raises(Forbidden, match=Account.service_account_email) as caught:
        GcsStore(GcsAddress(BUCKET)).identity()
    assert caught.value.code == "expired_credentials"


def test_the_identity_behind_an_emulator_is_nobody(store: GcsStore, proxy: Proxy) -> None:
    assert "without credentials" in store.identity()
    assert not proxy.requests


def test_a_server_that_tells_no_times_is_none_for_a_store(store: GcsStore, proxy: Proxy) -> None:
    proxy.fault = Fault("GET", status=200, body=b'{"name": "a/there", "generation": "1", "size": "5"}')
    with pytest.raises(DeliveryFailed, match="no times"):
        store.modified("a/there")


def test_no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(**_: object) -> None:
        raise google.auth.exceptions.DefaultCredentialsError("none were found\nread more")  # type: ignore[no-untyped-call]

    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    monkeypatch.setattr(google.auth, "default", none)
    with pytest.raises(Forbidden, match=r"gs://artifacts: cannot read a/b: none were found$") as caught:
        GcsStore(GcsAddress(BUCKET)).read("a/b", limit=LIMIT)
    assert caught.value.code == "no_credentials"


def test_an_emulator_may_be_named_by_the_environment(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{port}")
    store = GcsStore(GcsAddress(BUCKET, f"{secrets.token_hex(4)}/"))
    store.create("a/b", b"x")
    assert list(store.names("a/")) == ["a/b"]


# Planted bugs, in the client and in the server.


class RepeatsBlindly(GcsStore):
    """What Google's client does by default: a conditional write looks as if it could be repeated safely."""

    def _put(self, key: str, content: Section, generation: int) -> str:
        return attempt(lambda: super(RepeatsBlindly, self)._put(key, content, generation), again_after=Passing)


class ForgetsTheCondition(GcsStore):
    """Heads and all else are written without a condition."""

    def _put(self, key: str, content: Section, generation: int) -> str:
        content.seek(0)
        blob = self._blob(key)
        blob.upload_from_file(content, size=content.size)
        return self._token(blob)


class LooksBeforeItWrites(ForgetsTheCondition):
    """Asks for the generation, and then writes without a condition."""

    def _put(self, key: str, content: Section, generation: int) -> str:
        found = self._client.bucket(BUCKET).get_blob(self._address.prefix + key)
        if (found.generation if found else 0) != generation:
            raise bucket.Unmet
        return super()._put(key, content, generation)


@pytest.mark.planted
def test_planted_blind_repetition_is_caught(store: GcsStore, proxy: Proxy) -> None:
    with pytest.raises(CAUGHT):
        lost_replies_are_told(_as(RepeatsBlindly, store), proxy)


@pytest.mark.planted
def test_planted_read_that_keeps_its_blob_is_caught(store: GcsStore) -> None:
    class KeepsItsBlob(GcsStore):
        def _blob(self, key: str, **options: int) -> Any:  # noqa: ANN401
            blobs = self.__dict__.setdefault("blobs", {})
            return blobs.setdefault(key, super()._blob(key)) if not options else super()._blob(key, **options)

    with pytest.raises((*CAUGHT, DagferryError)):
        contract.replace_needs_the_token_of_the_present_state(_as(KeepsItsBlob, store))


@pytest.mark.planted
@pytest.mark.parametrize(
    ("planted", "checks"),
    [
        (ForgetsTheCondition, ["create_only", "compare_and_swap"]),
        (LooksBeforeItWrites, ["create_only"]),
    ],
)
def test_the_probe_catches(planted: type[GcsStore], checks: list[str], address: GcsAddress) -> None:
    found = probe(planted(address), "team/", "n1", time.time)
    assert [check.name for check in found if not check.ok] == checks


@pytest.mark.planted
@pytest.mark.parametrize(
    "race", [contract.of_racing_creates_exactly_one_wins, contract.of_racing_replaces_with_one_token_exactly_one_wins]
)
def test_a_race_catches(race: Callable[[Opener, Crew], None], address: GcsAddress, crew: Crew) -> None:
    with pytest.raises(CAUGHT):
        race(partial(LooksBeforeItWrites, address), crew)


@pytest.mark.planted
def test_the_probe_catches_a_server_that_ignores_conditions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gcs_server.Buckets, "check", lambda *_, **__: None)
    server = gcs_server.Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        make_bucket(server.server_port)
        found = probe(GcsStore(address_on(f"http://127.0.0.1:{server.server_port}")), "", "n1", time.time)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    refused = [check.name for check in found if not check.ok]
    assert refused == ["create_only", "compare_and_swap", "conditional_read"]


def _as(planted: type[GcsStore], store: GcsStore) -> GcsStore:
    return planted(store._address)
