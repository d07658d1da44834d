"""A store in a bucket of Amazon S3, or of a server that speaks its language and keeps its conditions.

* Create-only is ``If-None-Match: *``, compare-and-swap ``If-Match: <ETag>``; the token is the ETag. The server decides
  (Amazon does so since 2024; `probe` finds those that ignore a condition and answer 200).
* The client never repeats anything (`s3_connection` says why). Reads are repeated here (`retrying`), and a conditional
  write only after an answer which says that it was not done (409 ConditionalRequestConflict, 503 SlowDown).
* What is larger than a request may be is sent in parts (`s3_parts`).
* What boto3 raises is turned into the errors of a `Store` by `s3_refusals`.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO

from botocore.exceptions import ClientError

from dagferry_schemas.errors import DeliveryFailed

from . import bucket, s3_parts
from .keys import require_key, require_prefix
from .retrying import NotDone, Passing, attempt
from .s3_connection import Connection
from .s3_parts import Parts
from .s3_refusals import Refusals
from .section import Section
from .store import CHUNK, TOP, Missing, Stored, too_large

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .s3_address import S3Address


class S3Store:
    """The `Store` protocol on S3. Credentials, profile and region come from where boto3 looks for them."""

    def __init__(self, address: S3Address, parts: Parts | None = None) -> None:
        self._address = address
        self._parts = parts or Parts()
        self._connection = Connection(address.endpoint, address.region)
        self._telling = Refusals(self.url, self._connection).telling

    @property
    def url(self) -> str:
        """``s3://bucket/prefix``, with the options that were given."""
        return self._address.url

    def identity(self) -> str:
        """The access key, and how boto3 found it. Raises `Forbidden` if there is none."""
        with self._telling("find", "credentials"):
            self._connection.prove()
        return self._connection.who

    def read(self, key: str, *, limit: int) -> Stored:
        """The object's bytes, at most ``limit`` of them. Raises `Missing`, `TooLarge`."""
        found = attempt(lambda: self._get(key, limit, {}), again_after=Passing)
        assert found is not None
        return found

    def read_if_changed(self, key: str, token: str, *, limit: int) -> Stored | None:
        """None if the object is still in the state ``token``, else as `read`."""
        condition = {"IfNoneMatch": self._address.sent(token)}
        return attempt(lambda: self._get(key, limit, condition), again_after=Passing)

    def _get(self, key: str, limit: int, condition: dict[str, str]) -> Stored | None:
        try:
            with self._telling("read", key):
                found = self._client.get_object(**self._name(key), **condition)
                if found["ContentLength"] > limit:
                    found["Body"].close()
                    raise too_large(self.url, key, limit)
                body: bytes = found["Body"].read()
        except bucket.Unchanged:
            return None
        return Stored(body, self._token(found, key))

    def _token(self, answer: Mapping[str, Any], key: str) -> str:
        """The ETag of an answer. Raises `DeliveryFailed`: whatever answers without one is not what was asked for."""
        if "ETag" not in answer:
            raise DeliveryFailed(
                f"store {self.url}: the answer for {key} is no S3 server's: it has no ETag",
                "look at ?endpoint= of the store's URL, and at what is in between",
            )
        return str(answer["ETag"])

    def modified(self, key: str) -> float:
        """When the object's present state was written, by the server's clock, in whole seconds. Raises `Missing`."""
        return attempt(lambda: self._modified(key), again_after=Passing)

    def _modified(self, key: str) -> float:
        with self._telling("read", key):
            try:
                found = self._client.head_object(**self._name(key))
            except ClientError:
                # A refused HEAD has no body: whether bucket or object is missing, or why not, only a GET is told.
                found = self._client.get_object(**self._name(key))
                found["Body"].close()
            return float(found["LastModified"].timestamp())

    @contextmanager
    def stream(self, key: str) -> Iterator[Iterator[bytes]]:
        """The object in chunks of at most 1 MiB. Raises `Missing` on entering."""
        body = attempt(lambda: self._open(key), again_after=Passing)
        try:
            yield self._chunks(key, body)
        finally:
            body.close()

    def _open(self, key: str) -> Any:  # noqa: ANN401 (botocore's body)
        with self._telling("read", key):
            return self._client.get_object(**self._name(key))["Body"]

    def _chunks(self, key: str, body: Any) -> Iterator[bytes]:  # noqa: ANN401
        while True:
            with self._telling("read", key):
                chunk: bytes = body.read(CHUNK)
            if not chunk:
                return
            yield chunk

    def create(self, key: str, body: bytes | BinaryIO) -> str:
        """Store a new object and return its token. Raises `Exists`."""
        try:
            if isinstance(body, bytes):
                return attempt(lambda: self._put(key, body, {"IfNoneMatch": "*"}), again_after=NotDone)
            token = self._create_from(key, Section.rest_of(body))
        except bucket.Unmet:
            token = None
        if token is None:
            raise bucket.exists(self.url, key)
        return token

    def _create_from(self, key: str, content: Section) -> str | None:
        if content.size > self._parts.beyond:
            return s3_parts.upload(partial(self._ask, key), content, self._parts, partial(self._exists, key))

        def put() -> str:
            content.seek(0)
            return self._put(key, content, {"IfNoneMatch": "*"})

        return attempt(put, again_after=NotDone)

    def _ask(self, key: str, method: str, **options: Any) -> dict[str, Any]:  # noqa: ANN401 (boto3's options)
        with self._telling("write", key):
            answer: dict[str, Any] = getattr(self._client, method)(**self._name(key), **options)
        return answer

    def _exists(self, key: str) -> bool:
        try:
            self.modified(key)
        except Missing:
            return False
        return True

    def replace(self, key: str, body: bytes, token: str) -> str:
        """Replace the object if it is still in the state ``token``. Raises `Superseded`."""
        try:
            return attempt(lambda: self._put(key, body, {"IfMatch": self._address.sent(token)}), again_after=NotDone)
        except (bucket.Unmet, Missing):
            raise bucket.superseded(self.url, key) from None

    def _put(self, key: str, body: bytes | Section, condition: dict[str, str]) -> str:
        return self._token(self._ask(key, "put_object", Body=body, CacheControl="no-store", **condition), key)

    def names(self, prefix: str) -> Iterator[str]:
        """The keys that begin with ``prefix``."""
        require_prefix(prefix)
        cut = len(self._address.prefix)
        for found in self._listed(prefix):
            yield from bucket.without_folders(one["Key"][cut:] for one in found.get("Contents", ()))

    def folders(self, prefix: str) -> Iterator[str]:
        """What stands between ``prefix`` and the next ``/``."""
        if prefix:
            require_prefix(prefix)
        for found in self._listed(prefix, Delimiter="/"):
            yield from bucket.last_parts(one["Prefix"] for one in found.get("CommonPrefixes", ()))

    def _listed(self, prefix: str, **options: str) -> Iterator[dict[str, Any]]:
        after: dict[str, str] | None = {}
        while after is not None:
            found = attempt(partial(self._page, prefix, options | after), again_after=Passing)
            yield found
            after = {"ContinuationToken": found["NextContinuationToken"]} if found.get("IsTruncated") else None

    def _page(self, prefix: str, options: dict[str, str]) -> dict[str, Any]:
        with self._telling("list", prefix or TOP):
            found: dict[str, Any] = self._client.list_objects_v2(
                Bucket=self._address.bucket, Prefix=self._address.prefix + prefix, **options
            )
        return found

    def delete(self, key: str) -> None:
        """Remove the object; no error if there is none."""
        attempt(lambda: self._delete(key), again_after=Passing)

    def _delete(self, key: str) -> None:
        with self._telling("delete", key):
            self._client.delete_object(**self._name(key))

    def _name(self, key: str) -> dict[str, str]:
        require_key(key)
        return {"Bucket": self._address.bucket, "Key": self._address.prefix + key}

    @property
    def _client(self) -> Any:  # noqa: ANN401 (boto3 makes its classes at run time)
        return self._connection.client
