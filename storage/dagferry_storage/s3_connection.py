"""The connection of an S3 store: its client, and as whom it asks.

* boto3 would repeat a conditional write after a lost reply and then report the refusal of the second one, although the
  first was stored. So the client never repeats anything.
* Checksums that Amazon adds by default break other servers, and their answers break boto3: with an endpoint of one's
  own they are sent and checked only where required. What is read is checked against its pins in any case.
* One client, and with it one pool of connections, per store; it is made on first use and shared by all threads.
"""

from __future__ import annotations

import threading
from typing import Any

import boto3
import botocore.exceptions as refusals
from botocore.config import Config

from . import bucket


class Connection:
    """To ``endpoint``, or to Amazon; credentials, profile and region come from where boto3 looks for them."""

    def __init__(self, endpoint: str | None, region: str | None) -> None:
        self._endpoint = endpoint
        self._region = region
        self._made = threading.Lock()
        self._client: Any = None
        self._credentials: Any = None

    @property
    def client(self) -> Any:  # noqa: ANN401 (boto3 makes its classes at run time)
        """boto3's client. Raises what boto3 raises if its configuration is wrong."""
        with self._made:
            if self._client is None:
                self._client = self._make_client()
            return self._client

    @property
    def who(self) -> str:
        """Who is named in a message. It asks nobody, because asking may be what has failed."""
        if self._credentials is None:
            return "a client without credentials"
        known = vars(self._credentials)  # the attribute of the same name may fetch new ones
        key, method = known.get("_access_key") or known.get("access_key"), known.get("method")
        return f"access key {key} ({method})" if key else f"the identity of {method}"

    def prove(self) -> None:
        """Get credentials. Raises what boto3 raises if there are none."""
        if self.client is None or self._credentials is None:
            raise refusals.NoCredentialsError
        self._credentials.get_frozen_credentials()  # those of a role are fetched only now

    def _make_client(self) -> Any:  # noqa: ANN401
        own = self._endpoint is not None
        config = Config(
            connect_timeout=bucket.CONNECT_SECONDS,
            read_timeout=bucket.READ_SECONDS,
            max_pool_connections=bucket.CONNECTIONS,
            retries={"total_max_attempts": 1, "mode": "standard"},
            request_checksum_calculation="when_required" if own else None,
            response_checksum_validation="when_required" if own else None,
            s3={"addressing_style": "path"} if own else None,
        )
        session = boto3.session.Session()
        self._credentials = session.get_credentials()
        region = self._region or session.region_name or "us-east-1"
        return session.client("s3", endpoint_url=self._endpoint, region_name=region, config=config)
