"""Server programs as processes of this machine: started, waited for, and ended with the test or its process.

Each has a log of its own, and an environment with nothing of the user's in it. One that ends by itself, or that does
not answer in time, fails the test with what it wrote last.
"""

from __future__ import annotations

import os
import socket
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

PATIENCE: Final = 60.0  # seconds for whatever takes a few
# Linux ends the server when the process that started it ends, also when that is killed.
_WITH_US: Final = ("setpriv", "--pdeathsig", "KILL", "--")


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        port: int = trial.getsockname()[1]
        return port


@contextmanager
def running(
    command: Sequence[str | Path], folder: Path, ready: Callable[[], bool], **environment: str
) -> Iterator[None]:
    """``command`` runs in ``folder`` and is ready."""
    log = folder / f"{os.path.basename(command[0])}.log"  # noqa: PTH119 (of a path or a name)
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), "TMPDIR": str(folder), "LANG": "C.UTF-8", **environment}
    with (
        log.open("wb") as said,
        subprocess.Popen([*_WITH_US, *command], cwd=folder, env=env, stdout=said, stderr=said) as process,
    ):
        try:
            _wait(process, ready, log)
            yield
        finally:
            process.kill()


def listens(port: int) -> bool:
    """Whether somebody takes connections on a port of the loopback interface."""
    with socket.socket() as trial:
        return trial.connect_ex(("127.0.0.1", port)) == 0


def _wait(process: subprocess.Popen[bytes], ready: Callable[[], bool], log: Path) -> None:
    until = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < until:
        if ready():
            return
        time.sleep(0.05)
    how = "does not answer" if process.returncode is None else f"ended with {process.returncode}"
    raise AssertionError(f"{log.stem} {how}; it said: {log.read_text(errors='replace')[-2000:]}")
