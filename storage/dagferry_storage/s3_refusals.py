"""What boto3 raises, as the errors that callers of a store know: what was asked, of which store, by whom, and why not.

Servers that speak S3's language differ in their codes, and a refused HEAD has none: then the status stands for it.
Only a code says that an object is missing: any other server says 404 as well.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import botocore.exceptions as refusals

from dagferry_schemas.errors import DagferryError, DeliveryFailed, Forbidden, Usage

from . import bucket
from .retrying import Passing
from .store import SET_THE_CLOCK, Absent, Missing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .s3_connection import Connection

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


_RIGHTS: Final = {
    "HeadObject": "GetObject",
    "ListObjectsV2": "ListBucket",
    "CreateMultipartUpload": "PutObject",
    "UploadPart": "PutObject",
    "CompleteMultipartUpload": "PutObject",
}
"""Actions of a policy that are not called as the request is."""


class Refusals:
    """Those of the store ``url``, which is asked over ``connection``."""

    def __init__(self, url: str, connection: Connection) -> None:
        self._url = url
        self._connection = connection

    @contextmanager
    def telling(self, action: str, key: str) -> Iterator[None]:
        """Turn what boto3 raises into the errors that callers know, or into `Unchanged` or `Unmet` of `bucket`."""
        what = f"store {self._url}: cannot {action} {key}"
        try:
            yield
        except refusals.ClientError as error:
            raise self._refused(error, what) from error
        except (
            refusals.NoCredentialsError,
            refusals.PartialCredentialsError,
            refusals.CredentialRetrievalError,
            refusals.SSOError,
        ) as error:
            raise Forbidden(
                f"{what} as {self._connection.who}: {error}",
                "give this process AWS credentials: environment, profile, web identity or pod identity",
                code="no_credentials",
            ) from error
        except (refusals.ProfileNotFound, refusals.InvalidRegionError, refusals.ParamValidationError) as error:
            raise Usage(f"store {self._url}: {error}", "correct the AWS configuration") from error
        except (refusals.BotoCoreError, OSError) as error:
            raise Passing(f"{what}: {error}", "look at the network and the endpoint, then try again") from error

    def _refused(self, error: refusals.ClientError, what: str) -> Exception:
        code = error.response.get("Error", {}).get("Code", "")
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if status == 304:
            return bucket.Unchanged()
        if code in ("PreconditionFailed", "412") or status == 412:
            return bucket.Unmet()
        if code == "NoSuchBucket":
            told = f"there is no such bucket (asked as {self._connection.who})"
            return Absent(f"{what}: {told}", "check --store, or create the bucket")
        if code == "NoSuchKey":
            return Missing(
                f"{what}: there is no such object in it", "check the name, and that the store is the right one"
            )
        return self._denied(error, code, status, what) or self._failed(error, code, status, what)

    def _denied(self, error: refusals.ClientError, code: str, status: int, what: str) -> DagferryError | None:
        told, who = error.response.get("Error", {}), self._connection.who
        if code in _EXPIRED:
            return Forbidden(f"{what}: the credentials of {who} have expired", "renew them", code="expired_credentials")
        if code == "RequestTimeTooSkewed":
            times = ", ".join(f"{name} {told[name]}" for name in ("RequestTime", "ServerTime") if told.get(name))
            said = f"{what}: this machine's clock is too far from the server's, which refuses {who}"
            return DeliveryFailed(f"{said} ({times or code})", SET_THE_CLOCK, code="clock_skew")
        if error.operation_name in _IDENTIFYING and status in (400, 401, 403):
            return Forbidden(
                f"{what}: {who} is not given ({error.operation_name}: {code} {told.get('Message', '')})",
                "look at the role, at whom it trusts, and at the token that this process shows for it",
                code="no_credentials",
            )
        return bucket.may_not(what, who, f"{code}; it takes {_right(error)}") if code in _DENIED else None

    def _failed(self, error: refusals.ClientError, code: str, status: int, what: str) -> DeliveryFailed:
        headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        region = headers.get("x-amz-bucket-region") or error.response.get("Error", {}).get("Region")
        if code in _ELSEWHERE and region:
            return DeliveryFailed(
                f"{what} as {self._connection.who}: the bucket is in {region}",
                f"add ?region={region} to the store's URL",
                code="wrong_region",
            )
        if code in _NOT_DONE or status in (409, 429):
            return bucket.busy(what, code)
        said = error.response.get("Error", {}).get("Message", "")
        kind = Passing if status >= 500 and status != 501 else DeliveryFailed
        if code == str(status):  # botocore's stand-in for the error document that every S3 server sends
            return kind(
                f"{what}: the answer is no S3 server's: HTTP {status} {said}".rstrip(),
                "look at ?endpoint= of the store's URL, and at what is in between",
            )
        return kind(f"{what}: HTTP {status} {code} {said}".rstrip(), "try again; look at the server's state")


def _right(error: refusals.ClientError) -> str:
    """The action of a policy that allows what was refused."""
    return f"s3:{_RIGHTS.get(error.operation_name, error.operation_name)}"
