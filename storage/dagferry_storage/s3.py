"""A store in a bucket of Amazon S3, or of a server that speaks its language and keeps its conditions.

* Create-only is ``If-None-Match: *``, compare-and-swap ``If-Match: <ETag>``; the token is the ETag. The server decides
  (Amazon does so since 2024; `probe` finds those that ignore a condition and answer 200).
* boto3 would repeat a conditional write after a lost reply and then report the refusal of the second one, although the
  first was stored. So the client never repeats anything; reads are repeated here (`retrying`), and a conditional write
  only after an answer which says that it was not done (409 ConditionalRequestConflict, 503 SlowDown).
* Checksums that Amazon adds by default break other servers, and their answers break boto3: with an endpoint of one's
  own they are sent and checked only where required. What is read is checked against its pins in any case.
* What is larger than a request may be is sent in parts (`s3_parts`).
* One client, and with it one pool of connections, per store; it is made on first use and shared by all threads.
"""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import boto3
import botocore.exceptions as refusals
from botocore.config import Config

from dagferry_schemas.errors import DagferryError, DeliveryFailed, Forbidden, Usage

from . import s3_parts
from .retrying import NotDone, Passing, attempt
from .s3_parts import Parts
from .store import SET_THE_CLOCK, Absent, Exists, Missing, Stored, Superseded, TooLarge

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TypeVar

    T = TypeVar("T")

CHUNK: Final = 1024 * 1024
CONNECT_SECONDS: Final = 5
READ_SECONDS: Final = 30
CONNECTIONS: Final = 32
_NO_KEY: Final = frozenset({"NoSuchKey", "404", "NotFound"})
_DENIED: Final = frozenset(
    {
        "AccessDenied",
        "403",
        "Forbidden",
        "InvalidAccessKeyId",
        "SignatureDoesNotMatch",
        "InvalidToken",
        "AllAccessDisabled",
    }
)
_EXPIRED: Final = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"})
_ELSEWHERE: Final = frozenset(
    {"PermanentRedirect", "301", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "400"}
)
_IDENTIFYING: Final = frozenset({"AssumeRole", "AssumeRoleWithWebIdentity", "GetRoleCredentials"})
"""Requests by which boto3 gets credentials, before it asks the store for anything."""
_NOT_DONE: Final = frozenset(
    {"ConditionalRequestConflict", "OperationAborted", "SlowDown", "Throttling", "RequestLimitExceeded"}
)


@dataclass(frozen=True)
class S3Address:
    """Where the store is: bucket, prefix (empty, or ending in ``/``), and what is not the AWS environment's default.

    ``strip_quotes``: send ETags without their quotes, for servers that compare them so (Ceph, DigitalOcean).
    """

    bucket: str
    prefix: str = ""
    endpoint: str | None = None
    region: str | None = None
    strip_quotes: bool = False


class S3Store:
    """The `Store` protocol on S3. Credentials, profile and region come from where boto3 looks for them."""

    def __init__(self, address: S3Address, parts: Parts | None = None) -> None:
        self._address = address
        self._parts = parts or Parts()
        self._made = threading.Lock()
        self._client_made: Any = None
        self._credentials: Any = None

    @property
    def url(self) -> str:
        """``s3://bucket/prefix``, with the options that were given."""
        address = self._address
        options = {
            "endpoint": address.endpoint,
            "region": address.region,
            "etag_quotes": address.strip_quotes and "strip",
        }
        query = "&".join(f"{name}={value}" for name, value in options.items() if value)
        return f"s3://{address.bucket}/{address.prefix}".rstrip("/") + (f"?{query}" if query else "")

    def identity(self) -> str:
        """The access key, and how boto3 found it. Raises `Forbidden` if there is none."""
        with self._telling("find", "credentials"):
            if self._client is None or self._credentials is None:
                raise refusals.NoCredentialsError
            self._credentials.get_frozen_credentials()  # those of a role are fetched only now
        return self._who

    @property
    def _who(self) -> str:
        """Who is named in a message. It asks nobody, because asking may be what has failed."""
        if self._credentials is None:
            return "a client without credentials"
        known = vars(self._credentials)  # the attribute of the same name may fetch new ones
        key, method = known.get("_access_key") or known.get("access_key"), known.get("method")
        return f"access key {key} ({method})" if key else f"the identity of {method}"

    def read(self, key: str, *, limit: int) -> Stored:
        """The object's bytes, at most ``limit`` of them. Raises `Missing`, `TooLarge`."""
        found = attempt(lambda: self._get(key, limit, {}), again_after=Passing)
        assert found is not None
        return found

    def read_if_changed(self, key: str, token: str, *, limit: int) -> Stored | None:
        """None if the object is still in the state ``token``, else as `read`."""
        condition = {"IfNoneMatch": self._sent(token)}
        return attempt(lambda: self._get(key, limit, condition), again_after=Passing)

    def _get(self, key: str, limit: int, condition: dict[str, str]) -> Stored | None:
        try:
            with self._telling("read", key):
                found = self._client.get_object(**self._name(key), **condition)
                if found["ContentLength"] > limit:
                    found["Body"].close()
                    raise TooLarge(
                        f"store {self.url}: {key} has {found['ContentLength']} bytes, at most {limit} are allowed here",
                        "objects of dagferry are smaller than that; look at who wrote it",
                    )
                body: bytes = found["Body"].read()
        except _Unchanged:
            return None
        return Stored(body, found["ETag"])

    def modified(self, key: str) -> float:
        """When the object's present state was written, by the server's clock, in whole seconds. Raises `Missing`."""
        return attempt(lambda: self._modified(key), again_after=Passing)

    def _modified(self, key: str) -> float:
        with self._telling("read", key):
            try:
                found = self._client.head_object(**self._name(key))
            except refusals.ClientError:
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
            token = self._create_from(key, body)
        except _Refused:
            token = None
        if token is None:
            raise Exists(f"store {self.url}: {key} is there already", "it was not touched")
        return token

    def _create_from(self, key: str, file: BinaryIO) -> str | None:
        start = file.tell()
        large = file.seek(0, os.SEEK_END) - start > self._parts.beyond
        file.seek(start)
        if large:
            return s3_parts.upload(partial(self._ask, key), file, self._parts, partial(self._exists, key))

        def put() -> str:
            file.seek(start)
            return self._put(key, file, {"IfNoneMatch": "*"})

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
            return attempt(lambda: self._put(key, body, {"IfMatch": self._sent(token)}), again_after=NotDone)
        except (_Refused, Missing):
            raise Superseded(f"store {self.url}: {key} was changed by somebody else", "read it again") from None

    def _put(self, key: str, body: bytes | BinaryIO, condition: dict[str, str]) -> str:
        return str(self._ask(key, "put_object", Body=body, CacheControl="no-store", **condition)["ETag"])

    def names(self, prefix: str) -> Iterator[str]:
        """The keys that begin with ``prefix``."""
        if not prefix.endswith("/"):
            raise ValueError(f"the prefix {prefix!r} does not end in /")
        after: dict[str, str] | None = {}
        while after is not None:
            page, after = attempt(partial(self._page, prefix, after), again_after=Passing)
            yield from page

    def _page(self, prefix: str, after: dict[str, str]) -> tuple[list[str], dict[str, str] | None]:
        cut = len(self._address.prefix)
        with self._telling("list", prefix):
            found = self._client.list_objects_v2(
                Bucket=self._address.bucket, Prefix=self._address.prefix + prefix, **after
            )
        names = [one["Key"][cut:] for one in found.get("Contents", ())]
        following = {"ContinuationToken": found["NextContinuationToken"]} if found.get("IsTruncated") else None
        # What Amazon's console calls a folder is an empty object whose name ends in a slash.
        return [name for name in names if not name.endswith("/")], following

    def delete(self, key: str) -> None:
        """Remove the object; no error if there is none."""
        attempt(lambda: self._delete(key), again_after=Passing)

    def _delete(self, key: str) -> None:
        with self._telling("delete", key):
            self._client.delete_object(**self._name(key))

    def _name(self, key: str) -> dict[str, str]:
        if not key or any(not part or part.startswith(".") for part in key.split("/")):
            raise ValueError(f"{key!r} is not a key of the layout")
        return {"Bucket": self._address.bucket, "Key": self._address.prefix + key}

    def _sent(self, token: str) -> str:
        return token.strip('"') if self._address.strip_quotes else token

    @property
    def _client(self) -> Any:  # noqa: ANN401 (boto3 makes its classes at run time)
        with self._made:
            if self._client_made is None:
                self._client_made = self._make_client()
            return self._client_made

    def _make_client(self) -> Any:  # noqa: ANN401
        own = self._address.endpoint is not None
        config = Config(
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            max_pool_connections=CONNECTIONS,
            retries={"total_max_attempts": 1, "mode": "standard"},
            request_checksum_calculation="when_required" if own else None,
            response_checksum_validation="when_required" if own else None,
            s3={"addressing_style": "path"} if own else None,
        )
        session = boto3.session.Session()
        self._credentials = session.get_credentials()
        region = self._address.region or session.region_name or "us-east-1"
        return session.client("s3", endpoint_url=self._address.endpoint, region_name=region, config=config)

    @contextmanager
    def _telling(self, action: str, key: str) -> Iterator[None]:
        """Turn what boto3 raises into the errors that callers know."""
        try:
            yield
        except refusals.ClientError as error:
            raise self._refused(error, f"store {self.url}: cannot {action} {key}") from error
        except (
            refusals.NoCredentialsError,
            refusals.PartialCredentialsError,
            refusals.CredentialRetrievalError,
            refusals.SSOError,
        ) as error:
            raise Forbidden(
                f"store {self.url}: cannot {action} {key} as {self._who}: {error}",
                "give this process AWS credentials: environment, profile, web identity or pod identity",
                code="no_credentials",
            ) from error
        except (refusals.ProfileNotFound, refusals.InvalidRegionError, refusals.ParamValidationError) as error:
            raise Usage(f"store {self.url}: {error}", "correct the AWS configuration") from error
        except (refusals.BotoCoreError, OSError) as error:
            raise Passing(
                f"store {self.url}: cannot {action} {key}: {error}",
                "look at the network and the endpoint, then try again",
            ) from error

    def _refused(self, error: refusals.ClientError, what: str) -> Exception:
        code = error.response.get("Error", {}).get("Code", "")
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if status == 304:
            return _Unchanged()
        if code in ("PreconditionFailed", "412") or status == 412:
            return _Refused()
        if code == "NoSuchBucket":
            return Absent(
                f"{what}: there is no such bucket (asked as {self._who})", "check --store, or create the bucket"
            )
        if code in _NO_KEY:
            return Missing(
                f"{what}: there is no such object in it", "check the name, and that the store is the right one"
            )
        return self._denied(error, code, status, what) or self._failed(error, code, status, what)

    def _denied(self, error: refusals.ClientError, code: str, status: int, what: str) -> DagferryError | None:
        told = error.response.get("Error", {})
        if code in _EXPIRED:
            return Forbidden(
                f"{what}: the credentials of {self._who} have expired", "renew them", code="expired_credentials"
            )
        if code == "RequestTimeTooSkewed":
            times = ", ".join(f"{name} {told[name]}" for name in ("RequestTime", "ServerTime") if told.get(name))
            said = f"{what}: this machine's clock is too far from the server's, which refuses {self._who}"
            return DeliveryFailed(f"{said} ({times or code})", SET_THE_CLOCK, code="clock_skew")
        if error.operation_name in _IDENTIFYING and status in (400, 401, 403):
            return Forbidden(
                f"{what}: {self._who} is not given ({error.operation_name}: {code} {told.get('Message', '')})",
                "look at the role, at whom it trusts, and at the token that this process shows for it",
                code="no_credentials",
            )
        if code in _DENIED:
            return Forbidden(
                f"{what}: {self._who} may not ({code})",
                "give it the rights that docs/policies.md lists for its part",
            )
        return None

    def _failed(self, error: refusals.ClientError, code: str, status: int, what: str) -> DeliveryFailed:
        headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        region = headers.get("x-amz-bucket-region") or error.response.get("Error", {}).get("Region")
        if code in _ELSEWHERE and region:
            return DeliveryFailed(
                f"{what} as {self._who}: the bucket is in {region}",
                f"add ?region={region} to the store's URL",
                code="wrong_region",
            )
        if code in _NOT_DONE or status in (409, 429):
            return NotDone(f"{what}: the server is busy with it ({code})", "try again in a moment")
        said = error.response.get("Error", {}).get("Message", "")
        kind = Passing if status >= 500 else DeliveryFailed
        return kind(f"{what}: HTTP {status} {code} {said}".rstrip(), "try again; look at the server's state")


class _Unchanged(Exception):
    """304: the object is still in the state of the token."""


class _Refused(Exception):
    """412: the condition does not hold."""
