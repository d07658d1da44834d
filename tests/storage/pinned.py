"""Object-store servers of others at the versions of ``ci/store-servers-env``, whose folder the environment names.

Each is a context manager that yields where an empty bucket `BUCKET` is, as `servers` does for our own.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.storage.processes import free_port, listens, running
from tests.storage.servers import BUCKET, CREDENTIALS, make_bucket_signed, naming_an_emulator

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER: Final = "DAGFERRY_STORE_SERVERS"


@contextmanager
def ministack() -> Iterator[str]:
    """The endpoint of ministack, an S3 server that keeps its conditions."""
    port = free_port()
    environment = {"GATEWAY_PORT": str(port), "BIND_HOST": "127.0.0.1", "SERVICES": "s3"}
    with _folder() as folder, running([_program("ministack")], folder, partial(listens, port), **environment):
        make_bucket_signed(f"http://127.0.0.1:{port}")
        yield f"http://127.0.0.1:{port}"


@contextmanager
def rclone() -> Iterator[str]:
    """The endpoint of ``rclone serve s3``, which answers 200 to conditions that it ignores."""
    port, key = free_port(), f"{CREDENTIALS['AWS_ACCESS_KEY_ID']},{CREDENTIALS['AWS_SECRET_ACCESS_KEY']}"
    with _folder() as folder:
        (folder / "buckets" / BUCKET).mkdir(parents=True)
        serve = ["serve", "s3", f"--addr=127.0.0.1:{port}", f"--auth-key={key}", "buckets"]
        with running([_program("rclone"), *serve], folder, partial(listens, port)):
            yield f"http://127.0.0.1:{port}"


@contextmanager
def gcs_emulator() -> Iterator[str]:
    """The address of gcp-storage-emulator, which ignores preconditions; `servers.EMULATOR` names it meanwhile."""
    port = free_port()
    options = ["start", "--host=127.0.0.1", f"--port={port}", f"--default-bucket={BUCKET}", "--in-memory"]
    with (
        _folder() as folder,
        running([_program("gcp-storage-emulator"), *options], folder, partial(listens, port)),
        naming_an_emulator(f"http://127.0.0.1:{port}") as address,
    ):
        yield address


def _program(name: str) -> Path:
    folder = os.environ.get(FOLDER, "")
    program = Path(folder, "bin", name)
    if not folder or not program.is_file():
        run = f'{FOLDER}="$(ci/store-servers-env)" pytest -m servers'
        raise AssertionError(f"there is no {name}: {FOLDER} names no folder that has it; run {run}")
    return program


@contextmanager
def _folder() -> Iterator[Path]:
    # A server that was just killed may still be writing.
    with tempfile.TemporaryDirectory(prefix="dagferry-server-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)
