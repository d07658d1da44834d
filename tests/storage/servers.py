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

ACCOUNT: Final = "builder@project.iam.gserviceaccount.com"
SKEWED: Final = json.dumps(
    {
        "error": "invalid_grant",
        "error_description": "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable "
        "timeframe. Check your iat and exp values in the JWT claim.",
    }
).encode()
"""What Google's server of tokens answers, with 400, to a key whose signature is not of this hour."""


def write_key_file(path: Path, token_url: str) -> Path:
    """The key of the service account `ACCOUNT`, made for this file, whose server of tokens is at ``token_url``."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    facts = {
        "type": "service_account",
        "client_email": ACCOUNT,
        "private_key_id": "1",
        "token_uri": f"{token_url}/token",
    }
    path.write_text(json.dumps({**facts, "private_key": key.decode()}))
    return path


@contextmanager
def s3() -> Iterator[str]:
    """The endpoint of an S3 server with an empty bucket `BUCKET`."""
    with served(MODULES["s3"]) as port:
        make_bucket("s3", f"http://127.0.0.1:{port}")
        yield f"http://127.0.0.1:{port}"


@contextmanager
def stock_moto(pause: float = 0.0) -> Iterator[str]:
    """As `s3`, but moto without our lock, with a pause of so many seconds between its check and its write."""
    with served("tests.storage.moto_stock", str(pause)) as port:
        make_bucket("s3", f"http://127.0.0.1:{port}")
        yield f"http://127.0.0.1:{port}"


def make_bucket_signed(endpoint: str) -> None:
    """Make `BUCKET` on an S3 server that looks at signatures, with `CREDENTIALS`."""
    import boto3

    key, secret = CREDENTIALS["AWS_ACCESS_KEY_ID"], CREDENTIALS["AWS_SECRET_ACCESS_KEY"]
    client = boto3.client(
        "s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id=key, aws_secret_access_key=secret
    )
    client.create_bucket(Bucket=BUCKET)
    client.close()


@contextmanager
def gcs(*, ahead: float = 0) -> Iterator[str]:
    """The address of a server with an empty bucket `BUCKET`; ``STORAGE_EMULATOR_HOST`` names it meanwhile.

    Its clock is so many seconds ahead of this machine's.
    """
    with served(MODULES["gs"], str(ahead)) as port:
        address = f"http://127.0.0.1:{port}"
        make_bucket("gs", address)
        with naming_an_emulator(address):
            yield address


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
def naming_an_emulator(address: str) -> Iterator[str]:
    """``STORAGE_EMULATOR_HOST`` names this server of Google's storage, here and in processes that are started."""
    os.environ[EMULATOR] = address
    try:
        yield address
    finally:
        del os.environ[EMULATOR]


@contextmanager
def served(module: str, *arguments: str) -> Iterator[int]:
    """The port of a server that prints it first; the module is run from the checkout."""
    command = [sys.executable, "-m", module, *arguments]
    with subprocess.Popen(command, cwd=TOP, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline())
        finally:
            process.kill()
