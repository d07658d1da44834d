"""moto's S3 with rights: ``python -m tests.policies.moto_enforcing BUCKET-POLICY`` prints its port and serves.

moto checks the signature, and whether the user's policies allow the action on the resource; it does so as soon as
``/moto-api/reset-auth`` has set the number of free requests to 0. What it leaves out is added here, after its own
answer, by `s3_rules`:

* conditions of the user's policies;
* the bucket's policy (moto's own cannot have conditions that depend on a request), which is in the file;
* a missing object is 404 only for those who may list, with the object's key as the prefix, and 403 for others.

There is no https here; every request counts as one that came by it.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from moto import settings
from moto.iam.access_control import IAMUserAccessKey
from moto.s3.exceptions import BucketAccessDeniedError
from moto.s3.responses import S3Response

from tests.policies.s3_rules import Request, denied, permitted
from tests.storage import moto_atomic

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.policies.files import Policy

HEADERS = {"If-None-Match": "s3:if-none-match", "If-Match": "s3:if-match"}


def _request(response: Any, bucket: str, key: str | None) -> Request:  # noqa: ANN401 (moto's)
    """The request as Amazon's policies see it."""
    query = dict(parse_qsl(urlsplit(response.uri).query, keep_blank_values=True))
    keys = {"aws:SecureTransport": "true"}
    action = response.data["Action"]
    if action == "ListBucket" and "prefix" in query:
        keys["s3:prefix"] = query["prefix"]
    if action == "PutObject":
        keys |= {name: response.headers[header] for header, name in HEADERS.items() if header in response.headers}
        creates = not {"uploads", "partNumber"} & query.keys()
        keys["s3:ObjectCreationOperation"] = "true" if creates else "false"
    arn = f"arn:aws:s3:::{bucket}" + (f"/{key}" if key else "")
    return Request(f"s3:{action}", arn, keys)


def _policies_of(response: Any) -> list[Policy]:  # noqa: ANN401
    access_key = response.headers["Authorization"].partition("Credential=")[2].partition("/")[0]
    user = IAMUserAccessKey(response.current_account, "aws", access_key, response.headers)
    return [json.loads(one["policy_document"]) for one in user.collect_policies()]


def _with_conditions(original: Callable[..., None], bucket_policy: Policy) -> Callable[..., None]:
    def authorize(response: Any, bucket_name: str = "", key_name: str | None = None) -> None:  # noqa: ANN401
        original(response, bucket_name, key_name)
        if math.isinf(settings.INITIAL_NO_AUTH_ACTION_COUNT):  # nobody is asked for anything yet
            return
        policies = _policies_of(response)
        request = _request(response, bucket_name, key_name)
        listing = Request("s3:ListBucket", f"arn:aws:s3:::{bucket_name}", {"s3:prefix": key_name or ""})
        hidden = request.action == "s3:GetObject" and not permitted(policies, listing)
        missing = hidden and response.backend.get_object(bucket_name, key_name) is None
        if missing or denied([bucket_policy], request) or not permitted(policies, request):
            raise BucketAccessDeniedError(bucket=bucket_name)

    return authorize


def main() -> None:
    bucket_policy = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    name = "_authenticate_and_authorize_s3_action"
    setattr(S3Response, name, _with_conditions(getattr(S3Response, name), bucket_policy))
    moto_atomic.main()


if __name__ == "__main__":
    main()
