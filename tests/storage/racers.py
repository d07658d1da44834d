"""Twenty real processes that meet at a gate, and what they do once it opens.

The processes are started once and serve every race: starting twenty costs more than all races together. What runs in
them is a function of this module (it is pickled by name) that takes its own store, its number and the gate.

A racer does what every writer has to do after a write that failed and may have been done all the same: it reads again,
and finds its own bytes or not. Some servers answer losers of a race with 500.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from dagferry_storage.retrying import Passing
from dagferry_storage.store import Exists, Store, Superseded

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection
    from multiprocessing.synchronize import Barrier

SIZE = 20
ROUNDS = 6
INCREMENTS = 5
LIMIT = 1 << 20
PATIENCE = 120  # seconds; twenty processes import a cloud client on as many cores as there are

Opener = Callable[[], Store]
Gate = Callable[[], object]
T = TypeVar("T")
Task = Callable[[Store, int, Gate], T]


class Crew:
    """Twenty waiting processes; `race` sends them all through one task."""

    def __init__(self) -> None:
        # Not fork: a store that is inherited half-open would be another test.
        spawn = multiprocessing.get_context("spawn")
        self._barrier = spawn.Barrier(SIZE, timeout=PATIENCE)
        self._lines: list[Connection[Any, Any]] = []
        self._processes = []
        for number in range(SIZE):
            ours, theirs = spawn.Pipe()
            process = spawn.Process(target=_work, args=(number, theirs, self._barrier), daemon=True)
            process.start()
            theirs.close()
            self._lines.append(ours)
            self._processes.append(process)

    def race(self, task: Task[T], opener: Opener) -> list[T]:
        """What each process returned, by its number. A task that failed fails the race with its traceback."""
        for line in self._lines:
            line.send((task, opener))
        answers: list[Any] = [line.recv() if line.poll(PATIENCE) else (False, "no answer") for line in self._lines]
        failures = [answer for done, answer in answers if not done]
        if failures:
            self._barrier.reset()
            raise RuntimeError("\n".join(failures))
        return [answer for _, answer in answers]

    def dismiss(self) -> None:
        for line in self._lines:
            line.close()
        for process in self._processes:
            process.join(PATIENCE)
            process.close()


def _work(number: int, line: Connection[Any, Any], barrier: Barrier) -> None:
    while True:
        try:
            task, opener = line.recv()
        except EOFError:
            return
        try:
            line.send((True, task(opener(), number, barrier.wait)))
        except Exception:  # noqa: BLE001  whatever it is, the test has to show it
            barrier.abort()
            line.send((False, traceback.format_exc()))


def body_of(number: int, size: int = 100_000) -> bytes:
    """A body that belongs to one racer, and that shows when it is not whole."""
    return f"{number:02}".encode() * (size // 2)


def create_each(store: Store, number: int, gate: Gate) -> list[bool]:
    """Create one object a round; in which rounds this racer won."""
    body = body_of(number)
    return [_won(store, key, body, partial(store.create, key, body)) for key in _rounds(gate)]


def replace_each(store: Store, number: int, gate: Gate) -> list[bool]:
    """Replace one object a round with the token that everyone read before; in which rounds this racer won."""
    tokens = {key: store.read(key, limit=LIMIT).token for key in race_keys()}
    body = body_of(number)
    return [_won(store, key, body, partial(store.replace, key, body, tokens[key])) for key in _rounds(gate)]


def count_up(store: Store, number: int, gate: Gate) -> None:
    """Add a line of one's own to the counter, five times, each until it is there."""
    gate()
    for turn in range(INCREMENTS):
        while not _add(store, line_of(number, turn)):
            pass


def read_while_written(store: Store, number: int, gate: Gate) -> int:
    """Half of the racers replace an object all the time, the others read it; how many bodies were not whole."""
    gate()
    if number % 2:
        for turn in range(10):
            token = store.read("race/torn", limit=LIMIT).token
            with suppress(Superseded, Passing):
                store.replace("race/torn", sealed(number + turn), token)
        return 0
    return sum(not whole(store.read("race/torn", limit=LIMIT).body) for _ in range(30))


def race_keys() -> list[str]:
    return [f"race/{turn}" for turn in range(ROUNDS)]


def whole(body: bytes) -> bool:
    """Whether this is all of a `sealed` body."""
    return hashlib.sha256(body[64:]).hexdigest().encode() == body[:64]


def sealed(number: int) -> bytes:
    """A body that proves that it is whole; sizes differ from number to number."""
    content = body_of(number, 50_000 + 1000 * number)
    return hashlib.sha256(content).hexdigest().encode() + content


def _rounds(gate: Gate) -> Iterator[str]:
    """One object after the other, each when all racers are ready for it."""
    for key in race_keys():
        gate()
        yield key


def line_of(number: int, turn: int) -> bytes:
    """What a racer adds to the counter in its turn; never twice the same, so that a writer can recognise its own."""
    return f"{number} {turn}\n".encode()


def _won(store: Store, key: str, body: bytes, write: Callable[[], object]) -> bool:
    try:
        write()
    except (Exists, Superseded):
        return False
    except Passing:
        return store.read(key, limit=LIMIT).body == body
    return True


def _add(store: Store, line: bytes) -> bool:
    """Whether the line was added, now or by a try before that was told to have failed."""
    stored = store.read("race/counter", limit=LIMIT)
    if line in stored.body.splitlines(keepends=True):
        return True
    try:
        store.replace("race/counter", stored.body + line, stored.token)
    except (Superseded, Passing):
        return False
    return True
