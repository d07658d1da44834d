"""All attacks, each in processes of its own: ``python -m tests.evil.sweep [--only NAME …] [--share N/M]``.

The agent of a case is a process, forked from this one, whose peak is what the agent took. One that does not end in time
is killed. The facts come out as JSON, a line each.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import pickle
import resource
import select
import shutil
import signal
import sys
import tempfile
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from .attack import STARTS, Case, Start
from .vectors import VECTORS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from .vector import Setting

DEADLINE: Final = 60.0
"""Seconds for one process, which needs a fraction of one."""
MOST_BYTES: Final = 256 * 1024 * 1024
"""The largest file that one process can write, and not the whole disk, if it does what it must not."""


def cases() -> list[tuple[str, Setting, Start]]:
    """All cases."""
    return [(name, setting, start) for name, vector in VECTORS.items() for setting in vector.make for start in STARTS]


def in_child(work: Callable[[], Any], deadline: float = DEADLINE) -> tuple[Any, int]:
    """What ``work`` returns in a process of its own, and that process's peak in KiB. Raises `RuntimeError`."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _answer(work, writing)
    os.close(writing)
    with os.fdopen(reading, "rb", buffering=0) as pipe:
        in_time = bool(select.select([pipe], [], [], deadline)[0])
        if not in_time:
            os.kill(child, signal.SIGKILL)
        answer = pipe.readall()
    _, status, usage = os.wait4(child, 0)
    if not in_time or status != 0:
        raise RuntimeError(
            answer.decode(errors="replace") or f"no answer after at most {deadline:g} s, status {status}"
        )
    return pickle.loads(answer), usage.ru_maxrss


def _answer(work: Callable[[], Any], writing: int) -> NoReturn:
    """Do the work, write what it comes to, and end: nothing of the parent runs in here."""
    code = 1
    resource.setrlimit(resource.RLIMIT_FSIZE, (MOST_BYTES, MOST_BYTES))
    try:
        answer = pickle.dumps(work())
        code = 0
    except BaseException:  # noqa: BLE001 (reported to the parent, which fails)
        answer = traceback.format_exc()[-4000:].encode()
    with os.fdopen(writing, "wb") as pipe:
        pipe.write(answer)
    os._exit(code)


def attack(folder: Path, name: str, setting: Setting, start: Start, deadline: float) -> dict[str, Any]:
    """The facts of one case, or under ``broken`` why there are none."""
    case = Case(folder)
    try:
        case.prepare(start)
        tampered = case.publish_evil(VECTORS[name], setting)
        facts, peak = in_child(lambda: asdict(case.attack(start, tampered=tampered)), deadline)
    except RuntimeError as error:
        return {"broken": str(error)}
    return {**facts, "peak_kib": peak}


def sweep(chosen: Sequence[tuple[str, Setting, Start]], deadline: float = DEADLINE) -> Iterator[dict[str, Any]]:
    """The facts of each case."""
    with tempfile.TemporaryDirectory(prefix="dagferry-evil-") as top:
        for number, (name, setting, start) in enumerate(chosen):
            folder = Path(top) / f"{number}"
            yield {"name": name, "setting": setting, "start": start, **attack(folder, name, setting, start, deadline)}
            shutil.rmtree(folder)


def main(arguments: Sequence[str]) -> None:
    """Print the facts."""
    parser = argparse.ArgumentParser(prog="python -m tests.evil.sweep", description=__doc__)
    parser.add_argument("--only", nargs="*", choices=sorted(VECTORS), metavar="NAME", help="of these vectors alone")
    parser.add_argument("--share", default="1/1", metavar="N/M", help="every M-th case, from the N-th on")
    parser.add_argument("--deadline", type=float, default=DEADLINE, metavar="SECONDS", help="for one process")
    asked = parser.parse_args(arguments)
    first, step = map(int, asked.share.split("/"))
    gc.freeze()  # what is there stays shared with the children
    chosen = [case for case in cases() if case[0] in (asked.only or VECTORS)][first - 1 :: step]
    for facts in sweep(chosen, asked.deadline):
        print(json.dumps(facts), flush=True)  # noqa: T201 (it is what this program is for)


if __name__ == "__main__":
    main(sys.argv[1:])
