"""Processes that run beside the demo, and what a signal may do to it.

* What was started is known to whoever ends it before a signal can end the demo.
* They are sessions of their own: Ctrl-C reaches the demo alone, which then ends them.
* While the demo tidies up, a second Ctrl-C does not keep it from that.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import ExitStack
    from pathlib import Path

PATIENCE: Final = 30.0
"""Seconds for whatever should take one."""
_ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def start(
    words: Sequence[str], *, cwd: Path, env: Mapping[str, str], log: Path, ends: ExitStack
) -> subprocess.Popen[bytes]:
    """Start a process that writes to ``log``; ``ends`` stops it."""
    with log.open("wb") as file, undisturbed():
        process = subprocess.Popen(
            words,
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        ends.callback(stop, process)
    return process


def stop(process: subprocess.Popen[bytes]) -> int:
    """End the process by SIGTERM, if it runs, and by force if that does not help; its exit code."""
    process.terminate()
    try:
        return process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def end_on_signals() -> None:
    """SIGTERM and SIGHUP end the program in good order, as SIGINT does anyway."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)


def ignore_signals() -> None:
    for number in _ENDING:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Signals that come inside wait for its end."""
    came: list[int] = []
    before = {number: signal.signal(number, lambda number, _: came.append(number)) for number in _ENDING}
    try:
        yield
    finally:
        for number, action in before.items():
            signal.signal(number, action)
    for one in came:
        signal.raise_signal(one)


def _end(number: int, _frame: object) -> NoReturn:
    sys.exit(128 + number)
