"""An S3 server that enforces rights, and the people who come to it."""

from __future__ import annotations

import json
import secrets
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import boto3

from tests.policies.jobs import Identity
from tests.storage import servers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.policies.files import Policy

EVERYTHING = {"Version": "2012-10-17", "Statement": [{"Sid": "All", "Effect": "Allow", "Action": "*", "Resource": "*"}]}


class GuardedS3:
    """The server's administrator, who makes users and looks into the bucket."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self._iam = self._client("iam", "a", "b")
        self._client("s3", "a", "b").create_bucket(Bucket=servers.BUCKET)
        administrator = self.user(EVERYTHING)
        enforce = urllib.request.Request(f"{endpoint}/moto-api/reset-auth", b"0", {"Content-Type": "text/plain"})
        urllib.request.urlopen(enforce, timeout=10).close()
        keys = (str(administrator.env["AWS_ACCESS_KEY_ID"]), str(administrator.env["AWS_SECRET_ACCESS_KEY"]))
        self._iam, self.bucket = self._client("iam", *keys), self._client("s3", *keys)

    def _client(self, service: str, access_key: str, secret: str) -> Any:  # noqa: ANN401 (boto3 has no types)
        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=access_key,
            aws_secret_access_key=secret,
        )

    def user(self, *policies: Policy) -> Identity:
        """A new user with these policies and no others."""
        name = f"user-{secrets.token_hex(4)}"
        self._iam.create_user(UserName=name)
        for number, policy in enumerate(policies):
            self._iam.put_user_policy(UserName=name, PolicyName=f"p{number}", PolicyDocument=json.dumps(policy))
        key = self._iam.create_access_key(UserName=name)["AccessKey"]
        env = {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
        return Identity(env, f"access key {key['AccessKeyId']}")

    def client(self, who: Identity) -> Any:  # noqa: ANN401
        """The plain client of a user: what someone can do who does not use our commands."""
        return self._client("s3", str(who.env["AWS_ACCESS_KEY_ID"]), str(who.env["AWS_SECRET_ACCESS_KEY"]))

    def keys(self, prefix: str) -> list[str]:
        """The objects below a prefix."""
        found = self.bucket.list_objects_v2(Bucket=servers.BUCKET, Prefix=prefix)
        return [one["Key"] for one in found.get("Contents", ())]


@contextmanager
def guarded_s3(bucket_policy: Policy, folder: Path) -> Iterator[GuardedS3]:
    """A server with an empty bucket that has the policy; nobody has any rights but its administrator."""
    file = folder / "bucket-policy.json"
    file.write_text(json.dumps(bucket_policy))
    with servers.served("tests.policies.moto_enforcing", str(file)) as port:
        yield GuardedS3(f"http://127.0.0.1:{port}")
