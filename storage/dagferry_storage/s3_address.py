"""Where a store in a bucket of S3 is, and how it is named."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class S3Address:
    """Bucket, prefix (empty, or ending in ``/``), and what is not the AWS environment's default.

    ``strip_quotes``: send ETags without their quotes, for servers that compare them so (Ceph, DigitalOcean).
    """

    bucket: str
    prefix: str = ""
    endpoint: str | None = None
    region: str | None = None
    strip_quotes: bool = False

    @property
    def url(self) -> str:
        """``s3://bucket/prefix``, with the options that were given."""
        options = {
            "endpoint": self.endpoint,
            "region": self.region,
            "etag_quotes": self.strip_quotes and "strip",
        }
        query = "&".join(f"{name}={value}" for name, value in options.items() if value)
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/") + (f"?{query}" if query else "")

    def sent(self, token: str) -> str:
        """A token as the server wants to be told it."""
        return token.strip('"') if self.strip_quotes else token
