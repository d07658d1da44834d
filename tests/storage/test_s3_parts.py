"""Uploads in parts, on moto's server: the whole contract, and what a network does to them."""

from __future__ import annotations

import io
import os
import secrets
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO

import pytest

from dagferry_schemas.errors import DeliveryFailed
from dagferry_storage.s3 import S3Store
from dagferry_storage.s3_address import S3Address
from dagferry_storage.s3_parts import Parts
from dagferry_storage.store import Exists
from tests.storage import contract, servers
from tests.storage.contract import StoreContract
from tests.storage.faults import ALWAYS, Fault, Proxy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.storage.racers import Opener

FAILED = Fault(status=500, body=b"<Error><Code>InternalError</Code><Message>no</Message></Error>")
BUSY = Fault(status=503, body=b"<Error><Code>SlowDown</Code><Message>no</Message></Error>")
PART = 5 * 1024**2


class InParts(S3Store):
    """Sends every object that is created in parts, of the least size that Amazon takes."""

    def __init__(self, address: S3Address) -> None:
        super().__init__(address, Parts(beyond=0, size=PART))

    def create(self, key: str, body: bytes | BinaryIO) -> str:
        return super().create(key, io.BytesIO(body) if isinstance(body, bytes) else body)


def open_in_parts(address: S3Address) -> InParts:
    os.environ.update(servers.CREDENTIALS)
    return InParts(address)


class TestS3StoreInParts(StoreContract):
    server = "S3 on locked moto, in parts"

    @pytest.fixture
    def opener(self, endpoint: str) -> Opener:
        return partial(open_in_parts, S3Address(servers.BUCKET, f"{secrets.token_hex(4)}/", endpoint))


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with servers.s3() as address:
        yield address


@pytest.fixture
def proxy(endpoint: str) -> Iterator[Proxy]:
    with Proxy(int(endpoint.rpartition(":")[2])) as between:
        yield between


@pytest.fixture
def parted(proxy: Proxy) -> InParts:
    return open_in_parts(S3Address(servers.BUCKET, f"{secrets.token_hex(4)}/", proxy.url))


def left_uploads(store: S3Store) -> list[Any]:
    """Uploads that were begun in the store's bucket and neither finished nor aborted."""
    uploads: list[Any] = store._client.list_multipart_uploads(Bucket=servers.BUCKET).get("Uploads", [])
    return uploads


def test_a_large_file_is_sent_in_parts_from_its_present_position(parted: InParts, proxy: Proxy) -> None:
    content = secrets.token_bytes(2 * PART + 1)
    file = io.BytesIO(b"before" + content)
    file.seek(len(b"before"))
    token = parted.create("a/large", file)
    assert proxy.requests["PUT"] == 3
    stored = parted.read("a/large", limit=len(content))
    assert (stored.body, stored.token) == (content, token)
    assert not file.closed
    assert not left_uploads(parted)


@pytest.mark.parametrize("fault", [Fault(lose=True), FAILED, BUSY])
def test_a_part_that_failed_is_sent_again(parted: InParts, proxy: Proxy, fault: Fault) -> None:
    content = secrets.token_bytes(PART + 1)
    proxy.fault = replace(fault, methods="PUT")
    parted.create("a/large", io.BytesIO(content))
    assert proxy.requests["PUT"] == 3
    assert parted.read("a/large", limit=len(content)).body == content


def test_an_upload_in_parts_that_fails_leaves_nothing(parted: InParts, proxy: Proxy) -> None:
    proxy.fault = replace(FAILED, methods="PUT", times=ALWAYS)
    with pytest.raises(DeliveryFailed):
        parted.create("a/large", io.BytesIO(b"x"))
    proxy.fault = None
    assert not left_uploads(parted)
    assert list(parted.names("a/")) == []


def test_parts_whose_putting_together_had_no_reply_are_not_put_together_again(parted: InParts, proxy: Proxy) -> None:
    proxy.fault = Fault("POST", path="uploadId", lose=True)
    with pytest.raises(DeliveryFailed):
        parted.create("a/large", io.BytesIO(b"content"))
    assert proxy.requests["POST"] == 2  # one began the upload
    assert parted.read("a/large", limit=10).body == b"content"
    with pytest.raises(Exists):
        parted.create("a/large", io.BytesIO(b"other"))


def test_an_object_that_is_there_costs_no_upload_in_parts(parted: InParts, proxy: Proxy) -> None:
    parted.create("a/large", io.BytesIO(b"first"))
    before = dict(proxy.requests)
    with pytest.raises(Exists):
        parted.create("a/large", io.BytesIO(b"second"))
    assert {name: count - before.get(name, 0) for name, count in proxy.requests.items()} == {
        **dict.fromkeys(proxy.requests, 0),
        "HEAD": 1,
    }


class PutsPartsTogetherUnconditionally(InParts):
    """Looks before it uploads, and then puts the parts together whatever has happened meanwhile."""

    def __init__(self, address: S3Address) -> None:
        super().__init__(address)
        self.looked = 0

    def _exists(self, key: str) -> bool:
        self.looked += 1
        return self.looked == 1 and super()._exists(key)

    def _ask(self, key: str, method: str, **options: Any) -> dict[str, Any]:  # noqa: ANN401
        options.pop("IfNoneMatch", None)
        return super()._ask(key, method, **options)


@pytest.mark.planted
def test_planted_upload_in_parts_without_a_condition_is_caught(endpoint: str) -> None:
    os.environ.update(servers.CREDENTIALS)
    planted = PutsPartsTogetherUnconditionally(S3Address(servers.BUCKET, f"{secrets.token_hex(4)}/", endpoint))
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        contract.a_create_is_decided_when_its_body_has_been_read(planted)
