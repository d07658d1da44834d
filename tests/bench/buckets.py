"""The peers that compare a bucket with a folder: ``rclone sync`` and ``aws s3 sync``, and the bucket that they read.

DAGFERRY_RCLONE and DAGFERRY_AWS name the programs; without them, they are looked for on the path.
"""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

import boto3

from tests.storage import servers

if TYPE_CHECKING:
    from pathlib import Path

    from tests.bench.costs import Processes
    from tests.bench.counted import Relay
    from tests.bench.sites import Site

RCLONE, AWS = "rclone", "aws s3 sync"
PROGRAMS: Final = {RCLONE: ("DAGFERRY_RCLONE", "rclone"), AWS: ("DAGFERRY_AWS", "aws")}
PREFIX: Final = "plain"


def program(name: str) -> str | None:
    """Where a peer's program is, if there is one."""
    variable, command = PROGRAMS[name]
    return os.environ.get(variable) or shutil.which(command)


def client(endpoint: str) -> Any:  # noqa: ANN401 (boto3 makes its classes at run time)
    """boto3's, of the server."""
    return boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")


class Bucket:
    """The files of a site as objects."""

    def __init__(self, site: Site, endpoint: str) -> None:
        self._site, self._offered = site, 0
        self._client = client(endpoint)
        self._put({path: site.corpus.content(number) for number, path in enumerate(site.corpus.paths)})

    def offer(self) -> None:
        """What the last release changed goes there, once."""
        if self._offered != self._site.release:
            self._put(self._site.expected)
            self._offered = self._site.release

    def _put(self, files: dict[str, bytes]) -> None:
        def put(path: str) -> None:
            self._client.put_object(Bucket=servers.BUCKET, Key=f"{PREFIX}/{path}", Body=files[path])

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(put, files))


class Syncing:
    """One of the two, with a folder."""

    def __init__(self, name: str, site: Site, run: Processes, bucket: Bucket, counter: Relay) -> None:
        self.name, self.relay = name, counter
        self._run, self._bucket = run, bucket
        self._program = program(name) or ""
        self.folder = site.folder / name.partition(" ")[0]
        self.take()

    def offer(self) -> None:
        """See `Peer`."""
        self._bucket.offer()

    def take(self) -> Path:
        """See `Peer`."""
        self.sync(self.folder)
        return self.folder

    def sync(self, folder: Path) -> None:
        """Let a folder have what the bucket has."""
        endpoint = f"http://127.0.0.1:{self.relay.port}"
        if self.name == AWS:
            asked = ("s3", "sync", f"s3://{servers.BUCKET}/{PREFIX}", str(folder), "--endpoint-url", endpoint)
            self._run.run(self._program, *asked, "--delete", "--only-show-errors", cwd=folder.parent)
        else:
            remote = f":s3,provider=Other,env_auth=true,endpoint='{endpoint}':{servers.BUCKET}/{PREFIX}"
            self._run.run(self._program, "sync", remote, str(folder), "--config=", cwd=folder.parent)
