"""What a pull of one changed file costs, counted and not timed: the same for a tree of any size."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest

from dagferry_storage.local import LocalStore
from tests.agent.shelf import Shelf
from tests.e2e.harness import CHECKOUT, environment, wait_for

from .volumes import need

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.faults

CHILD: Final = """
import json, os, sys, time
from pathlib import Path
from dagferry_agent.delivery import Delivery
from dagferry_agent.root import Root
from dagferry_agent.settings import Settings
from dagferry_storage.local import LocalStore

store, root, durability = sys.argv[1:]
settings = Settings(store, "dags", "prod", Path(root), "counted", durability=durability)
delivery = Delivery(settings, LocalStore(Path(store)), Root(Path(root)), time.time)
delivery.prepare()
delivery.claim()
delivery.pull()
while delivery.prepare_next(1.0):
    pass
print("prepared", flush=True)
sys.stdin.readline()
reply = delivery.pull()
print(json.dumps([reply.requests, reply.files_written, reply.files_linked]), flush=True)
os._exit(0)
"""
SMALL, LARGE = 100, 1_500
FLUSHES: Final = ("fsync", "fdatasync", "syncfs")
MAKES: Final = ("link", "linkat", "mkdir", "mkdirat", "unlink", "unlinkat", "rename", "renameat", "renameat2")


class Count(NamedTuple):
    """System calls of one pull, by name."""

    calls: dict[str, int]
    reply: str

    def of(self, *names: str) -> int:
        return sum(self.calls.get(name, 0) for name in names)


def files(count: int, word: str = "") -> dict[str, bytes]:
    """A tree of so many files, ten to a folder; one of them ends with ``word``."""
    found = {}
    for number in range(count):
        lines = "".join(f"# {hashlib.sha256(f'{number} {line}'.encode()).hexdigest()}\n" for line in range(5))
        found[f"team_{number // 10}/dag_{number}.py"] = lines.encode()
    found["team_3/dag_33.py"] += word.encode()
    return found


def counted(folder: Path, count: int, durability: str) -> Count:
    """One changed file of so many, pulled by an agent that has prepared for it, under strace."""
    (folder / "store").mkdir(parents=True)
    shelf = Shelf(LocalStore(folder / "store"), deltas=True)
    shelf.ship("v1", files(count))
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(folder / "store"), str(folder / "root"), durability],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=CHECKOUT,
        env=environment(),
    )
    assert child.stdin is not None
    assert child.stdout is not None
    with child, child.stdin, child.stdout:
        assert child.stdout.readline() == "prepared\n"
        shelf.ship("v2", files(count, "x = 1\n"))
        log = folder / "counts"
        strace = subprocess.Popen(
            ["strace", "-f", "-c", "-o", str(log), "-p", str(child.pid)], stderr=subprocess.PIPE, text=True
        )
        status = f"/proc/{child.pid}/status"

        def traced() -> bool | None:
            with open(status, encoding="utf-8") as file:  # noqa: PTH123 (of the kernel)
                return "TracerPid:\t0\n" not in file.read() or None

        wait_for(traced, "strace to attach")
        time.sleep(0.2)  # to each of its threads
        child.stdin.write("\n")
        child.stdin.flush()
        reply = child.stdout.readline().strip()
        strace.communicate(timeout=30)
    calls = {
        found[2]: int(found[1])
        for found in re.finditer(r"^ *[\d.]+ +[\d.]+ +\d+ +(\d+) +(?:\d+ +)?(\w+)$", log.read_text(), re.MULTILINE)
        if found[2] != "total"
    }
    return Count(calls, reply)


@pytest.mark.parametrize("durability", ["auto", "none"])
def test_one_changed_file_costs_the_same_in_trees_of_any_size(tmp_path: Path, durability: str) -> None:
    need("strace")
    small, large = (counted(tmp_path / str(count), count, durability) for count in (SMALL, LARGE))
    assert small.reply == f"[2, 1, {SMALL - 1}]"
    assert large.reply == f"[2, 1, {LARGE - 1}]"
    totals = [sum(count.calls.values()) for count in (small, large)]
    print(f"{durability}: {totals} calls; {small.calls}")  # noqa: T201
    assert totals[1] <= totals[0] + 10, (small.calls, large.calls)
    assert totals[0] < 160, small.calls
    for count in (small, large):
        assert count.of(*MAKES) <= 16, count.calls
        assert count.of(*FLUSHES) <= (12 if durability == "auto" else 0), count.calls
