"""Repositories of DAG files, made the same way each time, and a real one: Airflow's own wheel, unpacked.

A generated repository has files of five kilobytes or so; in S each is alone in its folder, in L there are five in one.
What a release changes in a file depends on the file as it was at first and on the number of the release, and on nothing
in between.
"""

from __future__ import annotations

import random
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SIZES: Final = {"S": 1_000, "L": 10_000, "XL": 50_000}
REAL: Final = "R"
TASKS: Final = 26
_WORDS: Final = [
    f"{verb}_{noun}"
    for verb in ("load", "clean", "join", "check", "export", "rank", "merge", "split", "count", "fetch")
    for noun in ("orders", "users", "events", "prices", "stock", "sessions", "refunds", "invoices", "carts", "visits")
]


@dataclass(frozen=True)
class Corpus:
    """The files of a repository: their paths, and the bytes of each by its number."""

    name: str
    paths: tuple[str, ...]
    content: Callable[[int], bytes]


def generated(name: str) -> Corpus:
    """The corpus of that size; of `SIZES`."""
    return Corpus(name, tuple(map(path_of, range(SIZES[name]))), lambda number: text_of(number).encode())


def real(wheel: Path) -> Corpus:
    """The files of a wheel, without those that a change of a line would break."""
    with zipfile.ZipFile(wheel) as opened:
        files = {name: opened.read(name) for name in sorted(opened.namelist()) if name.endswith(".py")}
    paths = tuple(files)
    return Corpus(REAL, paths, lambda number: files[paths[number]])


def path_of(number: int) -> str:
    """Where a generated file is."""
    return f"team_{number % 217:03}/flow_{number // 217 % 10}/dag_{number:05}.py"


def text_of(number: int) -> str:
    """A file that reads like a DAG: imports, a schedule, tasks with names and numbers."""
    drawn = random.Random(number)
    lines = ["from airflow.sdk import DAG, task", "", f'with DAG("dag_{number:05}", schedule="{number % 60} 3 * * *"):']
    for task in range(TASKS):
        name, other = drawn.choice(_WORDS), drawn.choice(_WORDS)
        lines += [
            f"    @task(retries={drawn.randint(0, 5)})",
            f"    def {name}_{task}(limit: int = {drawn.randint(1, 10**6)}) -> int:",
            f'        """Take {other} of the day before, at most ``limit`` of them."""',
            f"        return limit + {drawn.randint(1, 10**9)}",
            "",
        ]
    return "\n".join(lines) + "\n"


def appended(content: bytes, release: int) -> bytes:
    """A file with one line more."""
    return content + b"# release %d\n" % release


def edited(content: bytes, release: int) -> bytes:
    """A generated file in which lines in the middle differ: one task's retries, another task's argument renamed."""
    lines = content.decode().split("\n")
    first, second = (3 + 5 * ((release + apart) % TASKS) for apart in (0, TASKS // 3))
    lines[first] = f"    @task(retries={6 + release})"
    for number in range(second, second + 4):
        lines[number] = lines[number].replace("limit", f"at_most_{release}")
    return "\n".join(lines).encode()
