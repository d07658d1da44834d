"""A channel in a bucket, and the answer to the write of its head is lost: the writer finds out that it had won."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import pytest

from dagferry_storage.gcs import GcsAddress, GcsStore
from dagferry_storage.s3_address import S3Address
from tests.builder import writers
from tests.builder.checks import check_log
from tests.storage import servers
from tests.storage.faults import Fault, Proxy
from tests.storage.test_s3 import open_s3

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dagferry_storage.store import Store


@pytest.fixture(params=["s3", "gcs"])
def proxy(request: pytest.FixtureRequest) -> Iterator[Proxy]:
    with getattr(servers, request.param)() as address, Proxy(int(address.rpartition(":")[2])) as between:
        yield between


@pytest.fixture
def store(request: pytest.FixtureRequest, proxy: Proxy) -> Store:
    prefix = f"{secrets.token_hex(4)}/"
    if request.node.callspec.params["proxy"] == "gcs":
        return GcsStore(GcsAddress(servers.BUCKET, prefix, proxy.url))
    return open_s3(S3Address(servers.BUCKET, prefix, proxy.url))


def test_a_writer_whose_reply_was_lost_finds_out_that_it_had_won(store: Store, proxy: Proxy) -> None:
    writers.publish_documents(store, writers.commits(2))
    proxy.fault = Fault("PUT POST", lose=True)
    first = writers.promote(store, "v1")
    proxy.fault = Fault("PUT POST", lose=True, spare=1)  # from now on the log is written before the head
    second = writers.promote(store, "v2")
    proxy.fault = Fault("PUT POST", lose=True, spare=1)
    back = writers.channel(store).rollback()
    assert [change.record.generation for change in (first, second, back)] == [1, 2, 3]
    assert all(change.changed for change in (first, second, back))
    assert [record["live"]["version"] for record in check_log(store)] == ["v1", "v2", "v1"]
    assert (proxy.requests["PUT"] or proxy.requests["POST"]) == 2 + 1 + 2 + 2, "a write was repeated blindly"
