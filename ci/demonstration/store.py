"""The store that the demo publishes to: one of its own, which goes when it goes, or one that the user names.

* Its own is a folder, or a bucket on a server that is started here and listens on loopback only. The commands then
  know nothing of this machine's cloud: their environment is made from scratch, with credentials that open nothing.
* A store of the user's is used below a fresh prefix, with the user's environment, and what was put there stays.
"""

from __future__ import annotations

import argparse
import os
import re
import secrets
import sys
import time
import urllib.error
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.storage import servers

from dagferry_schemas.errors import Usage
from dagferry_storage.stores import open_store

from .processes import PATIENCE, start
from .story import Broken

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping
    from contextlib import ExitStack

    from .story import Story

OWN: Final = ("file", "s3", "gs")
_NAMES: Final = {"s3": "S3", "gs": "Google Cloud Storage"}
_PORT: Final = re.compile(r"^([0-9]+)\n", re.MULTILINE)
_STEERING: Final = ("DAGFERRY_", "GIT_", "PYTHON")
"""Variables of the user's that would steer the demo itself instead of the way to the store."""
_CLOUD: Final = ("AWS_", "HTTP_PROXY", "ALL_PROXY")
"""Variables that would steer clients of the demo's own servers away from them, whatever is exported besides."""


@dataclass(frozen=True)
class DemoStore:
    """A store to publish to."""

    url: str
    folder: Path | None = None
    """Where its files are, if it is a folder."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """What its clients need to know besides its URL."""
    surroundings: Mapping[str, str] = field(default_factory=dict)
    """The user's environment, as far as commands get it; nothing where the store is the demo's own."""
    server: subprocess.Popen[bytes] | None = None
    stays: bool = False

    def in_the_way(self) -> list[str]:
        """The user's variables that the demo kept from its commands, and that would lead them elsewhere."""
        prefixes = _STEERING if self.stays else (*_STEERING, *_CLOUD)
        return sorted(name for name in os.environ if name.upper().startswith(prefixes))


def choice(word: str) -> str:
    """One of `OWN`, or the user's URL with a prefix added that nobody used. For argparse, which exits with 2."""
    if word in OWN:
        return word
    if word and "/" not in word:
        raise argparse.ArgumentTypeError(
            f"there is no kind of store {word!r}: choose from {', '.join(OWN)}, or give a URL "
            "(s3://BUCKET/PREFIX, gs://BUCKET/PREFIX) or a path with a slash (./DIR)"
        )
    try:
        open_store(word)
    except Usage as error:
        raise argparse.ArgumentTypeError(f"{error}; {error.hint}") from None
    fresh = f"dagferry-demo-{secrets.token_hex(6)}"
    if ":" in word.partition("/")[0]:
        address, question, options = word.partition("?")
        return f"{address.rstrip('/')}/{fresh}{question}{options}"
    return str(Path(word).expanduser().absolute() / fresh)


def open_chosen(chosen: str, folder: Path, story: Story, ends: ExitStack) -> DemoStore:
    """The store that `choice` gave; the demo's own is made below ``folder``. Raises `Broken`."""
    if chosen == "file":
        return DemoStore(str(folder / "store"), folder / "store")
    if chosen in OWN:
        return _serve(chosen, folder, story, ends)
    mine = {name: value for name, value in os.environ.items() if not name.startswith(_STEERING)}
    path = Path(chosen) if chosen.startswith("/") else None
    return DemoStore(chosen, path, surroundings=mine, stays=True)


def _serve(kind: str, folder: Path, story: Story, ends: ExitStack) -> DemoStore:
    story.step(f"In place of {_NAMES[kind]}: a server here that speaks its language and keeps its conditions")
    words = ["-B", "-m", servers.MODULES[kind]]
    story.command("python", *words[1:], "&")
    log = folder / "store.log"
    environment = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(folder), "TMPDIR": str(folder)}
    server = start([sys.executable, *words], cwd=servers.TOP, env=environment, log=log, ends=ends)
    address = f"http://127.0.0.1:{_port(server, log)}"
    story.said(f"SERVER={address}")
    try:
        servers.make_bucket(kind, address)
    except (urllib.error.URLError, OSError) as error:
        raise Broken(f"the {kind} server makes no bucket: {error}\n{log.read_text()}") from None
    story.said(f"(and the bucket {servers.BUCKET!r}, which is empty)")
    if kind == "s3":
        url = f"s3://{servers.BUCKET}/demo?endpoint={address}"
        return DemoStore(url, variables=servers.CREDENTIALS, server=server)
    return DemoStore(f"gs://{servers.BUCKET}/demo", variables={servers.EMULATOR: address}, server=server)


def _port(server: subprocess.Popen[bytes], log: Path) -> int:
    """The port, which the server prints as a line of its own."""
    deadline = time.monotonic() + PATIENCE
    while True:
        if told := _PORT.search(log.read_text()):
            return int(told[1])
        if server.poll() is not None or time.monotonic() > deadline:
            raise Broken(f"the store's server did not start:\n{log.read_text()}")
        time.sleep(0.02)
