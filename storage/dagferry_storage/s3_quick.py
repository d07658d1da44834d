"""The same store, read by a client that starts at once: obstore takes a tenth of boto3's time, and half its memory.

1. It reads where the environment alone names the credentials (`is_plain`), which both clients then find in the same
   place. Profiles, files, single sign-on, instance metadata and anything else that is boto3's are left to boto3.
2. An object, or that it has not changed, is all that counts. Whatever else comes is asked again of `S3Store`: what a
   failure means, whether it passes, and who was refused, is told there and nowhere else.
3. After `IN_VAIN` reads in a row that only boto3 could do, boto3 does them all.
4. Everything but reading is `S3Store`'s, and boto3 is loaded then.
5. obstore's threads do not live on in a forked process, so boto3 reads there.
"""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from obstore.exceptions import NotModifiedError
from obstore.store import S3Store as Client

from . import bucket
from .keys import require_key
from .retrying import Passing
from .store import CHUNK, Stored, too_large

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from obstore import GetResult

    from .s3 import S3Store
    from .s3_address import S3Address

IN_VAIN: Final = 3
_CHAINS: Final = (
    {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"},
    {"AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE"},
    {"AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"},
)
"""What names credentials: keys, a role on a service account (IRSA), EKS Pod Identity. The first one counts."""
_FILES: Final = {"AWS_CONFIG_FILE": "~/.aws/config", "AWS_SHARED_CREDENTIALS_FILE": "~/.aws/credentials"}
_HARMLESS: Final = {
    "AWS_SESSION_TOKEN",
    "AWS_DEFAULT_REGION",
    "AWS_REGION",
    "AWS_ROLE_SESSION_NAME",
    "AWS_STS_REGIONAL_ENDPOINTS",
    "AWS_EC2_METADATA_DISABLED",
    *_FILES,
}
"""Variables that mean the same to both clients, or nothing for reading."""
_AUTHORITIES: Final = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
"""Whom boto3 believes instead of its own list; obstore believes the system's."""
_begun: set[int] = set()
"""The process that has read with obstore, if any did."""


def is_plain(environment: Mapping[str, str], endpoint: str | None) -> bool:
    """Whether ``environment`` alone says as whom and how ``endpoint`` is asked, in words that both clients know."""
    said = {name for name, value in environment.items() if value and name.startswith("AWS_")}
    chain: set[str] = next((one for one in _CHAINS if one <= said), set())
    known = _HARMLESS.union(*_CHAINS)
    if endpoint is not None and endpoint.startswith("http:"):
        known.add("AWS_CA_BUNDLE")
    elif any(environment.get(name) for name in _AUTHORITIES):
        return False
    files = (Path(environment.get(name) or path).expanduser() for name, path in _FILES.items())
    return bool(chain) and said <= known and not any(file.is_file() for file in files)


class QuickS3Store:
    """The `Store` protocol on S3, by `S3Store` where obstore does not do. Raises what that raises."""

    def __init__(self, address: S3Address) -> None:
        if find_spec("boto3") is None:
            raise ModuleNotFoundError("boto3 is not installed", name="boto3")
        self._address = address
        self._made = threading.Lock()
        self._whole: S3Store | None = None
        self._quick: Client | None = None
        self._in_vain = 0

    @property
    def url(self) -> str:
        """``s3://bucket/prefix``, with the options that were given."""
        return self._address.url

    def identity(self) -> str:
        """As `S3Store`: obstore would not tell."""
        return self._store.identity()

    def read(self, key: str, *, limit: int) -> Stored:
        """The object's bytes, at most ``limit`` of them. Raises `Missing`, `TooLarge`."""
        found = self._get(key, limit, None)
        if found is None:
            found = self._store.read(key, limit=limit)
            self._in_vain += 1
        return found

    def read_if_changed(self, key: str, token: str, *, limit: int) -> Stored | None:
        """None if the object is still in the state ``token``, else as `read`."""
        try:
            found = self._get(key, limit, token)
        except bucket.Unchanged:
            return None
        if found is None:
            found = self._store.read_if_changed(key, token, limit=limit)
            self._in_vain += 1
        return found

    def _get(self, key: str, limit: int, token: str | None) -> Stored | None:
        """The object, or None where boto3 has to say what is there. Raises `TooLarge`, `Unchanged`."""
        answer = self._ask(key, token)
        if answer is None or answer.meta["e_tag"] is None:
            return None
        if answer.meta["size"] > limit:
            raise too_large(self.url, key, limit)
        try:
            return Stored(bytes(answer.bytes()), answer.meta["e_tag"])
        except Exception:  # noqa: BLE001 (obstore has no common error for the ways in which a body breaks off)
            return None

    def _ask(self, key: str, token: str | None) -> GetResult | None:
        """The beginning of an answer that has an object, None if there is none. Raises `Unchanged`."""
        require_key(key)
        client = self._client
        if client is None:
            return None
        try:
            if token is None:
                answer = client.get(self._address.prefix + key)
            else:
                answer = client.get(self._address.prefix + key, options={"if_none_match": self._address.sent(token)})
        except NotModifiedError:
            self._in_vain = 0
            raise bucket.Unchanged from None
        except Exception:  # noqa: BLE001 (whatever it is, boto3 says it)
            return None
        self._in_vain = 0
        return answer

    @contextmanager
    def stream(self, key: str) -> Iterator[Iterator[bytes]]:
        """The object in chunks of at most 1 MiB. Raises `Missing` on entering."""
        answer = self._ask(key, None)
        if answer is not None:
            yield self._chunks(key, answer)
            return
        with self._store.stream(key) as chunks:
            self._in_vain += 1
            yield chunks

    def _chunks(self, key: str, answer: GetResult) -> Iterator[bytes]:
        chunks = answer.stream(min_chunk_size=CHUNK)
        while True:
            try:
                chunk = next(chunks, None)
            except Exception as error:
                reason = str(error).partition("\n")[0]
                raise Passing(
                    f"store {self.url}: cannot read {key}: {reason}",
                    "look at the network and the endpoint, then try again",
                ) from error
            if chunk is None:
                return
            whole = memoryview(chunk)
            for start in range(0, len(whole), CHUNK):
                yield bytes(whole[start : start + CHUNK])

    @property
    def _client(self) -> Client | None:
        """obstore's client; None where boto3 is to be asked."""
        if self._in_vain >= IN_VAIN or _begun - {os.getpid()}:
            return None
        with self._made:
            if self._quick is None:
                _begun.add(os.getpid())
                self._quick = self._make_client()
            return self._quick

    def _make_client(self) -> Client:
        address = self._address
        own = address.endpoint is not None
        return Client(
            address.bucket,
            endpoint=address.endpoint,
            region=address.region or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1",
            virtual_hosted_style_request=not own and "." not in address.bucket,
            client_options={
                "allow_http": True,
                "connect_timeout": timedelta(seconds=bucket.CONNECT_SECONDS),
                "read_timeout": timedelta(seconds=bucket.READ_SECONDS),
                "timeout": timedelta(days=1),
            },
            retry_config={"max_retries": 0},
        )

    @property
    def _store(self) -> S3Store:
        with self._made:
            if self._whole is None:
                from .s3 import S3Store

                self._whole = S3Store(self._address)
            return self._whole

    def modified(self, key: str) -> float:
        """As `S3Store`."""
        return self._store.modified(key)

    def create(self, key: str, body: bytes | BinaryIO) -> str:
        """As `S3Store`."""
        return self._store.create(key, body)

    def replace(self, key: str, body: bytes, token: str) -> str:
        """As `S3Store`."""
        return self._store.replace(key, body, token)

    def names(self, prefix: str) -> Iterator[str]:
        """As `S3Store`."""
        return self._store.names(prefix)

    def folders(self, prefix: str) -> Iterator[str]:
        """As `S3Store`."""
        return self._store.folders(prefix)

    def delete(self, key: str) -> None:
        """As `S3Store`."""
        self._store.delete(key)
