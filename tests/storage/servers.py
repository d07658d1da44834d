"""Servers that tests of stores talk to: real ones, started as processes on this machine, and ended with the test."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

BUCKET: Final = "artifacts"
EMULATOR: Final = "STORAGE_EMULATOR_HOST"
MODULES: Final = {"s3": "tests.storage.moto_atomic", "gs": "tests.storage.gcs_server"}
"""The servers by the scheme of their URLs; each prints its port first."""
TOP: Final = Path(__file__).resolve().parents[2]
CREDENTIALS: Final = {
    "AWS_ACCESS_KEY_ID": "AKIATEST",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}
"""What a client of `s3` needs in its environment; nothing of this machine's own AWS configuration is used."""


@contextmanager
def s3() -> Iterator[str]:
    """The endpoint of an S3 server with an empty bucket `BUCKET`."""
    with _served(MODULES["s3"]) as port:
        endpoint = f"http://127.0.0.1:{port}"
        make_bucket("s3", endpoint)
        yield endpoint


@contextmanager
def gcs() -> Iterator[str]:
    """The address of a server with an empty bucket `BUCKET`; ``STORAGE_EMULATOR_HOST`` names it meanwhile."""
    with _served(MODULES["gs"]) as port:
        address = f"http://127.0.0.1:{port}"
        make_bucket("gs", address)
        os.environ[EMULATOR] = address
        try:
            yield address
        finally:
            del os.environ[EMULATOR]


def make_bucket(kind: str, address: str) -> None:
    """Make `BUCKET` on the server of that kind. Plain HTTP, past any proxy: no client, and no configuration of one."""
    if kind == "s3":
        request = urllib.request.Request(f"{address}/{BUCKET}", method="PUT")
    else:
        body = json.dumps({"name": BUCKET}).encode()
        request = urllib.request.Request(
            f"{address}/storage/v1/b?project=p", body, {"Content-Type": "application/json"}
        )
    urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10).close()


@contextmanager
def _served(module: str) -> Iterator[int]:
    """The port of a server that prints it first; the module is run from the checkout."""
    command = [sys.executable, "-m", module]
    with subprocess.Popen(command, cwd=TOP, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline())
        finally:
            process.kill()
