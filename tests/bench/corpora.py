"""Repositories of DAG files, made the same way each time: so many files of four kilobytes, five to a folder or so."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

SIZES: Final = {"S": 1_000, "L": 10_000, "XL": 50_000}
_WORDS: Final = [
    f"{verb}_{noun}"
    for verb in ("load", "clean", "join", "check", "export", "rank", "merge", "split", "count", "fetch")
    for noun in ("orders", "users", "events", "prices", "stock", "sessions", "refunds", "invoices", "carts", "visits")
]


def path_of(number: int) -> str:
    """Where a file is."""
    return f"team_{number % 217:03}/flow_{number // 217 % 10}/dag_{number:05}.py"


def files(count: int, *, changed: frozenset[int] = frozenset(), word: str = "") -> Iterator[tuple[str, str]]:
    """Path and text of each file; those of ``changed`` end with ``word``."""
    for number in range(count):
        yield path_of(number), text_of(number) + (word if number in changed else "")


def text_of(number: int) -> str:
    """A file that reads like a DAG: imports, a schedule, tasks with names and numbers."""
    drawn = random.Random(number)
    lines = ["from airflow.sdk import DAG, task", "", f'with DAG("dag_{number:05}", schedule="{number % 60} 3 * * *"):']
    for task in range(26):
        name, other = drawn.choice(_WORDS), drawn.choice(_WORDS)
        lines += [
            f"    @task(retries={drawn.randint(0, 5)})",
            f"    def {name}_{task}(limit: int = {drawn.randint(1, 10**6)}) -> int:",
            f'        """Take {other} of the day before, at most ``limit`` of them."""',
            f"        return limit + {drawn.randint(1, 10**9)}",
            "",
        ]
    return "\n".join(lines) + "\n"
