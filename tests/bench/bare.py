"""A process with nothing but a store's client, which makes conditional reads that find nothing new.

    python -m tests.bench.bare CLIENT ENDPOINT KEY ETAG [COUNT]

CLIENT is ``boto3``, set up as our store sets it up, or ``obstore``. Before the reads that are counted it makes one
more, for the connection, if there are many. It prints its processor seconds for each of them.
"""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

BUCKET: Final = "artifacts"


def _boto3(endpoint: str, key: str, token: str) -> Callable[[], bool]:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import ClientError

    config = Config(
        retries={"total_max_attempts": 1, "mode": "standard"},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={"addressing_style": "path"},
    )
    client = boto3.session.Session().client("s3", endpoint_url=endpoint, region_name="us-east-1", config=config)

    def read() -> bool:
        try:
            client.get_object(Bucket=BUCKET, Key=key, IfNoneMatch=token)
        except ClientError as error:
            return bool(error.response["ResponseMetadata"]["HTTPStatusCode"] == 304)
        return False

    return read


def _obstore(endpoint: str, key: str, token: str) -> Callable[[], bool]:
    import obstore
    from obstore.exceptions import NotModifiedError
    from obstore.store import S3Store

    store = S3Store(
        BUCKET,
        endpoint=endpoint,
        region="us-east-1",
        access_key_id=os.environ["AWS_ACCESS_KEY_ID"],
        secret_access_key=os.environ["AWS_SECRET_ACCESS_KEY"],
        virtual_hosted_style_request=False,
        client_options={"allow_http": True},
    )

    def read() -> bool:
        try:
            obstore.get(store, key, options={"if_none_match": token})
        except NotModifiedError:
            return True
        return False

    return read


def main() -> None:
    """Read, and print."""
    client, endpoint, key, token, *rest = sys.argv[1:]
    read = {"boto3": _boto3, "obstore": _obstore}[client](endpoint, key, token)
    count = int(rest[0]) if rest else 1
    if count > 1:
        assert read()
    began = time.process_time()
    assert all(read() for _ in range(count))
    sys.stdout.write(f"{(time.process_time() - began) / count}\n")


if __name__ == "__main__":
    main()
