"""The Python that has production's Airflow, and how the probe is run in it.

``lint.python`` is one word, the path of an interpreter on this machine; or several, a command prefix that ends in one
somewhere else (``docker run --rm -i IMAGE python``, ``ssh build-host python3``). Somewhere else sees neither our disk
nor our environment, so the probe and the tree go through stdin, and what it needs to know is in its request. On this
machine it is the same, because each probe needs a copy of the tree that is its own.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import select
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dagferry_schemas.errors import MachineFault, Usage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .checkout import Checkout

_BOOT: Final = (
    "import os\n"
    "n = s = b''\n"
    "while not n.endswith(b'\\n'): n += os.read(0, 1)\n"
    "while len(s) < int(n): s += os.read(0, int(n) - len(s))\n"
    "exec(compile(s, 'dagferry-probe', 'exec'), {'__name__': '__main__'})\n"
)
_SEEDED: Final = (
    "import os, sys\n"
    "os.environ['PYTHONHASHSEED'] = {seed!r}\n"
    "os.execv(sys.executable, [sys.executable, '-c', {boot!r}])\n"
)
PATIENCE: Final = 300.0
"""Seconds that an interpreter gets to start, with an image to pull and an Airflow to import."""
GRACE: Final = 2.0
"""Seconds that a probe gets to end by itself."""
SHOWN: Final = 1500
"""Characters of an interpreter's complaints that are shown, the last ones."""


def probe_source() -> bytes:
    """The probe's source: all that is sent."""
    return resources.files(__package__).joinpath("probe.py").read_bytes()


@dataclass(frozen=True)
class Interpreter:
    """A Python: the words that start it, and whether it is on this machine, with our environment."""

    command: tuple[str, ...]
    local: bool

    def __str__(self) -> str:
        return shlex.join(self.command)


def find_interpreter(named: str | None, base: Path) -> Interpreter | None:
    """The Python that ``lint.python`` names (relative paths are below ``base``), or else ours if it has an Airflow.

    None if none is named and ours has no Airflow. Raises `Usage` for a name that is no program.
    """
    if named is None:
        found = importlib.util.find_spec("airflow") is not None
        return Interpreter((sys.executable,), local=True) if found else None
    try:
        words = shlex.split(named)
    except ValueError as error:
        raise Usage(f"lint.python is not a command: {error}", "quote it as for a shell", code="lint_python") from None
    if not words:
        raise Usage("lint.python is empty", "name an interpreter, or leave it out", code="lint_python")
    program = words[0] if "/" not in words[0] else str(base / Path(words[0]).expanduser())
    if shutil.which(program) is None:
        raise Usage(
            f"lint.python names {words[0]!r}, and there is no such program",
            "give the path of a Python, or a command that ends in one: docker run --rm -i IMAGE python",
            code="lint_python",
        )
    return Interpreter((program, *words[1:]), local=len(words) == 1)


class Conversation:
    """A probe at work: requests go in as lines of JSON, answers come out as lines of JSON."""

    def __init__(self, interpreter: Interpreter, seed: int) -> None:
        self._interpreter = interpreter
        self._buffer = b""
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115 (it lives as long as the process)
        code = _BOOT if interpreter.local else _SEEDED.format(seed=str(seed), boot=_BOOT)
        self._process = subprocess.Popen(
            [*interpreter.command, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            env={**os.environ, "PYTHONHASHSEED": str(seed)},
            start_new_session=True,
        )
        source = probe_source()
        self.send(b"%d\n" % len(source) + source)

    def environment(self) -> dict[str, Any]:
        """What the interpreter is: ``{airflow, python, state, variables}``. To be asked first, if at all.

        Raises `Usage` if it does not run as a Python, or has no Airflow.
        """
        self.send({"mode": "environment"})
        answer = self.receive(PATIENCE)
        if answer is None:
            raise Usage(
                f"lint.python, {self._interpreter}, does not run as a Python: {self.complaint() or 'it said nothing'}",
                "try it by hand: it has to take `-c CODE`, and to keep stdin open (docker run needs -i)",
                code="lint_python",
            )
        if not answer.get("airflow"):
            raise Usage(
                f"lint.python, {self._interpreter}, is Python {answer.get('python')} and has no Airflow",
                "name the interpreter that production runs",
                code="lint_python",
            )
        return answer

    def load(self, request: Mapping[str, Any]) -> None:
        """Have it import Airflow. What comes of that is the answer to the tree."""
        self.send({"mode": "load", **request})

    def give_tree(self, checkout: Checkout, *, lists: bool, preload: Sequence[str]) -> list[dict[str, Any]]:
        """Send the tree; the DAG files in it, if it ``lists`` them. Raises `MachineFault` if the Airflow does not work.

        What the files of ``preload`` import of Airflow is loaded before anything is imported.
        """
        listed = [(path, file.size) for path, file in checkout.files.items()]
        self.send({"mode": "tree", "files": listed, "list": lists, "preload": preload})
        for path in checkout.files:
            with (checkout.folder / path).open("rb") as body:
                for piece in iter(partial(body.read, 1024 * 1024), b""):
                    self.send(piece, flush=False)
        self.send(b"")
        answer = self.receive(PATIENCE)
        if answer is None or "ready" not in answer:
            said = str((answer or {}).get("broken", "")) or self.complaint()
            raise MachineFault(
                f"the Airflow of {self._interpreter} cannot be used: {said or 'it ended without a word'}",
                f"try it by hand: {self._interpreter} -c 'import airflow'",
                code="airflow_broken",
            )
        files: list[dict[str, Any]] = answer["ready"]["files"]
        return files

    def send(self, data: bytes | Mapping[str, Any], *, flush: bool = True) -> None:
        """Say something; if nobody listens any more, `receive` will tell."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(data if isinstance(data, bytes) else _line(data))
            if flush:
                self._process.stdin.flush()

    def receive(self, seconds: float) -> dict[str, Any] | None:
        """The next answer; None if the probe ended, or says nothing for so long."""
        assert self._process.stdout is not None
        deadline = time.monotonic() + seconds
        while b"\n" not in self._buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._process.stdout], [], [], left)[0]:
                return None
            piece = os.read(self._process.stdout.fileno(), 1024 * 1024)
            if not piece:
                return None
            self._buffer += piece
        line, _, self._buffer = self._buffer.partition(b"\n")
        try:
            answer = json.loads(line)
        except ValueError:
            return None
        return answer if isinstance(answer, dict) else None

    def complaint(self) -> str:
        """The end of what the probe, or whatever was to start it, wrote to stderr."""
        self._complaints.seek(0)
        return self._complaints.read().decode("utf-8", "replace").strip()[-SHOWN:]

    def kill(self) -> None:
        """End it now, with all that it started; whoever waits for an answer gets none.

        SIGTERM comes first: a command prefix may pass it on to where SIGKILL does not lead, and a probe cleans up.
        """
        self._signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=GRACE)
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    def close(self) -> None:
        """End it, in peace if it is idle, and with all that it started."""
        assert self._process.stdin is not None and self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=GRACE)
        self.kill()
        self._process.wait()
        self._process.stdout.close()
        self._complaints.close()


def _line(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document).encode("utf-8", "surrogateescape") + b"\n"
