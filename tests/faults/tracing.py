"""A command under strace: which of its calls change or flush a folder, and what it does when one of them fails.

* A point is one call: its name, and the how many-eth of that name it is in its thread, which is how strace counts.
* A fault is proved: strace's log has to show it at a call of that name below that folder, or it did not fall.
* Names with random parts are compared without them.
"""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

FLUSHES: Final = frozenset({"fsync", "fdatasync", "syncfs", "sync_file_range"})
_TRACED: Final = (  # ?: unless this machine has none of that name
    "?open,?openat,?openat2,?creat,?write,?writev,?pwrite64,?pwritev,?copy_file_range,?sendfile,"
    "?ftruncate,?truncate,?fallocate,?rename,?renameat,?renameat2,?link,?linkat,?symlink,?symlinkat,"
    "?mkdir,?mkdirat,?unlink,?unlinkat,?rmdir,?chmod,?fchmod,?fchmodat,?chown,?fchown,?utimensat,"
    "?setxattr,?fsetxattr,?flock,?fsync,?fdatasync,?syncfs,?sync_file_range"
)
_CALL: Final = re.compile(r"^(?P<thread>\d+) +(?P<name>\w+)\((?P<rest>.*)$")
_RANDOM: Final = re.compile(r"[0-9a-f]{16,}|#\d+")
KILL: Final = "KILL"
ERRORS: Final = ("ENOSPC", "EIO")


@dataclass(frozen=True)
class Point:
    """One call of a command that changes or flushes something below a folder."""

    call: str
    ordinal: int
    target: str
    """The paths that it names, below the folder and without random parts."""

    def __str__(self) -> str:
        return f"{self.call} #{self.ordinal} {self.target}"


@dataclass(frozen=True)
class Traced:
    """How a traced command ended."""

    code: int
    stdout: str
    stderr: str
    log: str


def trace(
    command: Sequence[str], environment: Mapping[str, str], log: Path, *, fault: tuple[Point, str] | None = None
) -> Traced:
    """Run ``command`` to its end under strace; ``fault`` kills it on entering a call, or lets that call fail."""
    options = ["-f", "-y", "-s", "8", "-o", str(log), "-e", f"trace={_TRACED}"]
    if fault is None or fault[1] != KILL:
        options.append("--seccomp-bpf")  # much faster, but strace 6.1 injects no signal with it
    if fault is not None:
        point, kind = fault
        effect = f"signal={kind}" if kind == KILL else f"error={kind}"
        options += ["-e", f"inject={point.call}:{effect}:when={point.ordinal}"]
    done = subprocess.run(
        ["strace", *options, *command],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return Traced(done.returncode, done.stdout, done.stderr, log.read_text(errors="replace"))


def points(log: str, folder: Path) -> list[Point]:
    """The calls in ``log`` that changed or flushed something below ``folder``, in their order."""
    counted: Counter[tuple[str, str]] = Counter()
    found = []
    for line in log.splitlines():
        call = _CALL.match(line)
        if call is None:
            continue
        counted[call["thread"], call["name"]] += 1
        target = _target(call["rest"], folder)
        if target and _changes(call) and " = -1 " not in call["rest"]:
            found.append(Point(call["name"], counted[call["thread"], call["name"]], target))
    return found


def fell(log: str, folder: Path, point: Point, kind: str) -> bool:
    """Whether ``log`` shows the fault at ``point``, and nowhere else: a call of that name that changes ``folder``.

    Which path it names is not compared: calls on several paths may come in any order, and each has its point.
    """
    calls = [call for call in map(_CALL.match, log.splitlines()) if call]
    if kind == KILL:
        struck = calls[-1:] if "+++ killed by SIGKILL +++" in log else []
    else:
        struck = [call for call in calls if call["rest"].endswith("(INJECTED)") and f" {kind} " in call["rest"]]
    below = [call for call in struck if _target(call["rest"], folder) and _changes(call)]
    return len(struck) == 1 and [call["name"] for call in below] == [point.call]


def _changes(call: re.Match[str]) -> bool:
    """Whether the call asks for a change: not where a file is opened that was there and stays as it is."""
    return not call["name"].startswith("open") or bool(re.search("O_CREAT|O_TMPFILE|O_TRUNC", call["rest"]))


def _target(rest: str, folder: Path) -> str:
    asked = re.split(r"\) += ", rest)[0]  # a call that failed names no file that it opened
    paths = re.findall(rf'{re.escape(str(folder))}(?=[/>"])([^>",]*)', asked)
    return _RANDOM.sub("*", " ".join(path or "/" for path in paths))
