"""What a work used: of processes that end, as the kernel tells it with their end, and of one that stays.

* Processor time in seconds, user and system. Of processes that end, with all whom they waited for.
* Peak of memory in bytes: the largest resident set of one process. Of a pipeline, that of its largest process.
* Written, in bytes: what the process gave to the block layer (``ru_oublock``, ``write_bytes``), which is what it made
  dirty, metadata of the file system included.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

LAUNCHER: Final = Path(__file__).with_name("launcher.py")
QUIET_SECONDS: Final = 0.4
LATER_SECONDS: Final = 3.0
"""When the agents of the bench show Airflow once more what changed; 31 by default."""
Figures = dict[str, float]


@dataclass(frozen=True)
class Used:
    """Processor seconds, peak of memory and bytes written."""

    cpu: float = 0.0
    peak: float = 0.0
    written: float = 0.0

    def __add__(self, more: Used) -> Used:
        """Both, one after the other."""
        return Used(self.cpu + more.cpu, max(self.peak, more.peak), self.written + more.written)

    def figures(self) -> Figures:
        """By name."""
        return {"cpu": self.cpu, "peak": self.peak, "written": self.written}


class Processes:
    """Runs commands that have to succeed; ``used`` is the sum of all so far, `reset` begins anew."""

    def __init__(self, folder: Path, env: Mapping[str, str]) -> None:
        self._folder = folder
        self._env = dict(env)
        self.used = Used()
        command = [sys.executable, "-I", "-S", str(LAUNCHER)]
        self._launcher = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self, *command: str | Path, cwd: Path, env: Mapping[str, str] | None = None) -> str:
        """Run one; what it wrote on stdout."""
        said = {name: str(self._folder / name) for name in ("stdout", "stderr")}
        asked = {"command": list(map(str, command)), "cwd": str(cwd), "env": self._env | dict(env or {}), **said}
        assert self._launcher.stdin is not None
        assert self._launcher.stdout is not None
        self._launcher.stdin.write(json.dumps(asked) + "\n")
        self._launcher.stdin.flush()
        told = json.loads(self._launcher.stdout.readline())
        assert told["code"] == 0, (command, told["code"], Path(said["stderr"]).read_text(errors="replace")[-2000:])
        self.used += Used(told["cpu"], told["peak"], told["written"])
        return Path(said["stdout"]).read_text(errors="replace")

    def reset(self) -> None:
        """Count from nothing."""
        self.used = Used()

    def close(self) -> None:
        """End the launcher."""
        self._launcher.communicate()


class Resident:
    """A process that stays."""

    def __init__(self, process: int) -> None:
        self._process = process

    def cpu(self) -> float:
        """Processor seconds since its start: user and system, to the nanosecond (``clock_getcpuclockid(3)``)."""
        return time.clock_gettime((~self._process << 3) | 2)

    def used(self) -> Used:
        """Since its start; the peak is that since `forget_peak`."""
        return Used(self.cpu(), self._field("status", "VmHWM") * 1024, self._field("io", "write_bytes"))

    def forget_peak(self) -> None:
        """The peak begins anew at what it has now."""
        Path(f"/proc/{self._process}/clear_refs").write_text("5")

    def memory(self) -> Figures:
        """Bytes that are resident, and its proportional share of them."""
        return {
            "rss": self._field("status", "VmRSS") * 1024,
            "pss": self._field("smaps_rollup", "Pss") * 1024,
        }

    def settle(self, later_seconds: float = 0.0) -> None:
        """Wait so long, and then until it has done nothing for a while."""
        time.sleep(later_seconds)
        last, since = self.cpu(), time.monotonic()
        while time.monotonic() - since < QUIET_SECONDS:
            time.sleep(0.05)
            now = self.cpu()
            if now - last > 0.002:  # what threads that only wait take
                since = time.monotonic()
            last = now

    def _field(self, file: str, name: str) -> int:
        for line in Path(f"/proc/{self._process}/{file}").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1])
        raise AssertionError(f"/proc/{self._process}/{file} has no {name}")


def measured_resident(process: Resident, do: Callable[[], object]) -> Figures:
    """Seconds of a work that a resident process does, what it used for it, and then, idle, until it has settled."""
    process.forget_peak()
    before, began = process.used(), time.perf_counter()
    do()
    seconds = time.perf_counter() - began
    after = process.used()
    process.settle(LATER_SECONDS * 1.2)
    idle = process.used()
    return {
        "seconds": seconds,
        "cpu": after.cpu - before.cpu,
        "peak": after.peak,
        "written": after.written - before.written,
        "cpu with idle": idle.cpu - before.cpu,
        "written with idle": idle.written - before.written,
    }
