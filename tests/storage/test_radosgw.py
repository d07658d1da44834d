"""`S3Store` on Ceph's radosgw, which compares ETags without their quotes: with ``etag_quotes=strip`` it is a store."""

from __future__ import annotations

import secrets
from functools import partial
from typing import TYPE_CHECKING

import pytest

from dagferry_storage.s3_address import S3Address
from tests.storage import refused, servers
from tests.storage.contract import StoreContract
from tests.storage.radosgw import radosgw
from tests.storage.test_s3 import open_s3

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.storage.racers import Opener

pytestmark = pytest.mark.radosgw


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with radosgw() as address:
        yield address


def opener_on(endpoint: str, *, strip: bool) -> Opener:
    address = S3Address(servers.BUCKET, f"{secrets.token_hex(4)}/", endpoint, strip_quotes=strip)
    return partial(open_s3, address)


class TestRadosgw(StoreContract):
    server = "S3 on radosgw, quotes stripped"

    @pytest.fixture
    def opener(self, endpoint: str) -> Opener:
        return opener_on(endpoint, strip=True)


def test_the_probe_passes_with_quotes_stripped(endpoint: str) -> None:
    assert refused.broken_promises(opener_on(endpoint, strip=True)()) == {}


def test_the_probe_refuses_it_with_quotes(endpoint: str) -> None:
    store = opener_on(endpoint, strip=False)()
    assert refused.broken_promises(store) == refused.SAID[refused.RADOSGW]
