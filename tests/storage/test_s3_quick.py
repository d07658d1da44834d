"""The quick reader of S3: when it reads, as whom, and that boto3 has the last word."""

from __future__ import annotations

import json
import os
import secrets
import ssl
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Final

import pytest
import trustme

from dagferry_schemas.errors import DeliveryFailed
from dagferry_storage.s3 import S3Store
from dagferry_storage.s3_address import S3Address
from dagferry_storage.s3_quick import IN_VAIN, QuickS3Store, is_plain
from dagferry_storage.store import Missing
from dagferry_storage.stores import open_store
from tests.storage import servers
from tests.storage.faults import ALWAYS, Fault, Proxy
from tests.storage.test_s3 import open_quick, open_s3

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEYS: Final = {"AWS_ACCESS_KEY_ID": "AKIATEST", "AWS_SECRET_ACCESS_KEY": "secret"}
ROLE: Final = {"AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/agent", "AWS_WEB_IDENTITY_TOKEN_FILE": "/token"}
POD: Final = {
    "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://169.254.170.23/v1/credentials",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": "/token",
}
NO_FILES: Final = {"HOME": "/no/home", "PATH": os.environ["PATH"]}


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with servers.s3() as address:
        yield address


@pytest.fixture
def proxy(endpoint: str) -> Iterator[Proxy]:
    with Proxy(int(endpoint.rpartition(":")[2])) as between:
        yield between


@pytest.fixture
def address(proxy: Proxy) -> S3Address:
    return S3Address(servers.BUCKET, f"{secrets.token_hex(4)}/", proxy.url)


@pytest.mark.parametrize(
    ("environment", "plain"),
    [
        (KEYS, True),
        (ROLE, True),
        (POD, True),
        ({**ROLE, "AWS_REGION": "eu-west-3", "AWS_STS_REGIONAL_ENDPOINTS": "regional"}, True),
        ({**KEYS, "AWS_SESSION_TOKEN": "t", "AWS_DEFAULT_REGION": "eu-west-3"}, True),
        ({**KEYS, "AWS_PROFILE": ""}, True),
        ({}, False),
        ({"AWS_ACCESS_KEY_ID": "AKIATEST"}, False),
        ({**KEYS, "AWS_PROFILE": "team"}, False),
        ({**KEYS, "AWS_ENDPOINT_URL": "https://example.org"}, False),
        ({**KEYS, "AWS_CA_BUNDLE": "/ca.pem"}, False),
        ({**KEYS, "REQUESTS_CA_BUNDLE": "/ca.pem"}, False),
        ({**KEYS, "AWS_USE_FIPS_ENDPOINT": "true"}, False),
        ({**KEYS, "AWS_CONFIG_FILE": __file__}, False),
        ({**KEYS, "AWS_SHARED_CREDENTIALS_FILE": __file__}, False),
        ({**KEYS, "AWS_CONFIG_FILE": os.devnull}, True),
    ],
)
def test_only_where_the_environment_names_all_that_counts(environment: dict[str, str], plain: bool) -> None:
    assert is_plain({**NO_FILES, **environment}, None) is plain
    assert is_plain({**NO_FILES, **environment}, "https://server") is plain


@pytest.mark.parametrize("name", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"])
def test_whom_to_believe_does_not_matter_without_tls(name: str) -> None:
    assert is_plain({**NO_FILES, **KEYS, name: "/ca.pem"}, "http://server")


def test_files_in_their_usual_places_are_boto3s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_") or name.endswith("CA_BUNDLE")]:
        monkeypatch.delenv(name)
    for name, value in {**KEYS, "HOME": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    assert isinstance(open_store("s3://bucket"), QuickS3Store)
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "credentials").write_text("[default]\n")
    assert isinstance(open_store("s3://bucket"), S3Store)


def test_without_boto3_it_is_not_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dagferry_storage.s3_quick.find_spec", lambda _: None)
    with pytest.raises(ModuleNotFoundError, match="boto3"):
        QuickS3Store(S3Address("bucket"))


def program(body: str, environment: dict[str, str]) -> str:
    """What a process of its own prints."""
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{body}"],
        env={**NO_FILES, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


READ: Final = """
from dagferry_storage.stores import open_store
store = open_store({url!r})
first = store.read("a/object", limit=99)
assert store.read_if_changed("a/object", first.token, limit=99) is None
with store.stream("a/object") as chunks:
    assert b"".join(chunks) == first.body
loaded = {{"boto3", "botocore", "google"}} & set(sys.modules)
print(type(store).__name__, first.body.decode(), *loaded)
"""


def test_reading_loads_no_other_client(address: S3Address) -> None:
    open_s3(address).create("a/object", b"bytes")
    assert program(READ.format(url=address.url), KEYS) == "QuickS3Store bytes"


def test_a_read_is_one_request_and_a_refused_one_is_asked_again(address: S3Address, proxy: Proxy) -> None:
    store = open_quick(address)
    token = store.create("a/object", b"1")
    proxy.requests.clear()
    store.read("a/object", limit=9)
    assert store.read_if_changed("a/object", token, limit=9) is None
    assert proxy.requests == {"GET": 2}
    with pytest.raises(Missing):
        store.read("a/other", limit=9)
    assert proxy.requests == {"GET": 4}


def test_what_only_boto3_could_read_is_left_to_it_after_a_while(address: S3Address, proxy: Proxy) -> None:
    store = open_quick(address)
    store.create("a/object", b"1")
    for _ in range(IN_VAIN):
        proxy.fault = Fault("GET", status=403, body=b"<Error><Code>AccessDenied</Code></Error>")
        assert store.read("a/object", limit=9).body == b"1"
    proxy.requests.clear()
    proxy.fault = Fault("GET", status=403, body=b"<Error><Code>AccessDenied</Code></Error>")
    with pytest.raises(DeliveryFailed):
        store.read("a/object", limit=9)
    assert proxy.requests == {"GET": 1}, "boto3's only"


def test_an_outage_does_not_give_it_up(address: S3Address, proxy: Proxy) -> None:
    store = open_quick(address)
    store.create("a/object", b"1")
    proxy.fault = Fault("GET", times=ALWAYS, status=501, body=b"")
    for _ in range(IN_VAIN + 1):
        with pytest.raises(DeliveryFailed):
            store.read("a/object", limit=9)
    proxy.fault = None
    proxy.requests.clear()
    proxy.fault = Fault("GET", status=501, body=b"")
    assert store.read("a/object", limit=9).body == b"1"
    assert proxy.requests == {"GET": 2}, "obstore's in vain, and boto3's"


FORKED: Final = """
import os, signal
from dagferry_storage.stores import open_store
before = open_store({url!r})
before.read("a/object", limit=99)
child = os.fork()
if child == 0:
    signal.alarm(30)
    for store in (before, open_store({url!r})):
        assert store.read("a/object", limit=99).body == b"bytes"
    os._exit(0 if "boto3" in sys.modules else 3)
print(os.waitpid(child, 0)[1])
"""


def test_a_forked_process_reads_too(address: S3Address) -> None:
    """obstore's threads are those of the parent: in the child, a request of theirs would never end."""
    open_s3(address).create("a/object", b"bytes")
    assert program(FORKED.format(url=address.url), KEYS) == "0"


class Roles(BaseHTTPRequestHandler):
    """Gives credentials to whoever asks: by a GET as EKS Pod Identity's agent, by a POST as Amazon's STS."""

    seen: list[str]

    def do_GET(self) -> None:
        self.seen.append(f"GET {self.headers['Authorization']}")
        given = {"AccessKeyId": "ASIAPOD", "SecretAccessKey": "s", "Token": "t", "Expiration": "2090-01-01T00:00:00Z"}
        self.reply(json.dumps(given).encode())

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.seen.append(f"POST {'AssumeRoleWithWebIdentity' in self.path and 'a.b.c' in self.path}")
        given = "".join(
            f"<{name}>{value}</{name}>"
            for name, value in (
                ("AccessKeyId", "ASIAROLE"),
                ("SecretAccessKey", "s"),
                ("SessionToken", "t"),
                ("Expiration", "2090-01-01T00:00:00Z"),
            )
        )
        answer = (
            f"<AssumeRoleWithWebIdentityResult><Credentials>{given}</Credentials></AssumeRoleWithWebIdentityResult>"
        )
        self.reply(f"<AssumeRoleWithWebIdentityResponse>{answer}</AssumeRoleWithWebIdentityResponse>".encode())

    def reply(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def roles(certificate: trustme.LeafCert | None) -> Iterator[tuple[int, list[str]]]:
    """Such a server: its port, and what was asked of it."""
    seen: list[str] = []
    with ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Roles,), {"seen": seen})) as server:
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            certificate.configure_cert(context)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            yield server.server_port, seen
        finally:
            server.shutdown()
            serving.join()


ASK: Final = """
from dagferry_storage.s3_quick import QuickS3Store
from dagferry_storage.s3_address import S3Address
store = QuickS3Store(S3Address({bucket!r}, {prefix!r}, {endpoint!r}))
print(store.read("a/object", limit=99).body.decode(), *({{"boto3", "botocore"}} & set(sys.modules)))
"""


@pytest.mark.parametrize("chain", ["pod identity", "web identity"])
def test_it_finds_the_credentials_of_a_pod(chain: str, address: S3Address, tmp_path: Path) -> None:
    """That boto3 finds the same is in test_s3; an STS of one's own is asked by obstore over TLS only."""
    open_s3(address).create("a/object", b"bytes")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    (tmp_path / "token").write_text("a.b.c")
    body = ASK.format(bucket=address.bucket, prefix=address.prefix, endpoint=address.endpoint)
    with roles(authority.issue_cert("localhost") if chain == "web identity" else None) as (port, seen):
        if chain == "web identity":
            environment = {
                "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/agent",
                "AWS_WEB_IDENTITY_TOKEN_FILE": str(tmp_path / "token"),
                "AWS_ENDPOINT_URL_STS": f"https://localhost:{port}",
                "SSL_CERT_FILE": str(tmp_path / "ca.pem"),
            }
        else:
            environment = {
                "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"http://127.0.0.1:{port}/v1/credentials",
                "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(tmp_path / "token"),
            }
        assert program(body, environment) == "bytes"
    assert seen == ["POST True" if chain == "web identity" else "GET a.b.c"]
