"""A channel that moves, an agent that follows and is killed, and readers: ``python -m tests.torture.switches``.

Prints one JSON object: ``switches``, those by ``deltas``, ``kills``, ``seconds``, and what each kind of reader saw,
summed up. It runs with whatever dagferry is on the path, so that a copy with a planted bug can be tried.

1. Retention is at its minimum: one release is kept beside the one before, and there is no grace.
2. One process moves the channel and pulls. It is killed by SIGKILL at moments that a seed decides, and begun again: the
   channel's head and the root are all that its successor knows.
3. Readers hold a release's lock while they read it; see `readers`.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.sharedctypes import RawValue
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dagferry_agent.delivery import Delivery
from dagferry_agent.root import Root
from dagferry_agent.settings import Settings
from dagferry_schemas import layout
from dagferry_schemas.trust import Policy, read_record
from dagferry_storage.local import LocalStore
from dagferry_storage.store import Missing
from tests.agent.shelf import BUNDLE, CHANNEL, Shelf
from tests.torture import readers, trees

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dagferry_schemas.record import Live

READERS: Final = ("resolved", "resolved", "through_the_link")
BY_DELTA: Final = 2
"""Requests of a pull that brings a release by one delta: a kept one takes one, a whole one three."""
CHECKOUT: Final = Path(__file__).parents[2]
_FORK: Final = multiprocessing.get_context("fork")


class Publisher(Shelf):
    """A shelf that goes on where the store's head is, with all trees published."""

    def __init__(self, folder: Path) -> None:
        super().__init__(LocalStore(folder), deltas=True)
        self.trees: list[Live] = [self.publish(f"v{number}", trees.files(number)) for number in range(trees.TREES)]
        try:
            head = self.store.read(layout.head(BUNDLE, CHANNEL), limit=layout.MAX_DOCUMENT)
        except Missing:
            return
        record = read_record(head.body, bundle=BUNDLE, channel=CHANNEL, policy=Policy.UNSIGNED)
        self._head = (record, head.body, head.token)


def settings(store: Path, root: Path) -> Settings:
    """Retention at its minimum. Not durable: a kill loses nothing that was written."""
    return Settings(str(store), BUNDLE, CHANNEL, root, "torture", keep_releases=1, grace_hours=0, durability="none")


def follow(store: Path, root: Path, seed: int, switches: Any, deltas: Any) -> None:  # noqa: ANN401 (ctypes integers)
    """Move the channel and pull, and count the switches, and those by a delta, for ever.

    By the seed there are deltas, and the next release is prepared, or not.
    """
    chosen = random.Random(seed)
    shelf = Publisher(store)
    shelf.deltas, prepares = chosen.random() < 0.6, chosen.random() < 0.5
    delivery = Delivery(settings(store, root), LocalStore(store), Root(root), time.time)
    delivery.prepare()
    while True:
        live = chosen.choice(shelf.trees)
        shelf.promote(live)
        reply = delivery.pull()
        if reply.tree != live.content.tree:
            raise AssertionError(f"{live.version} was promoted, and {reply.version} is live")
        switches.value += reply.changed
        deltas.value += reply.changed and reply.requests == BY_DELTA
        while prepares and delivery.prepare_next(0.002):
            pass


@dataclass(frozen=True)
class Driven:
    """How a drive went."""

    switches: int
    deltas: int
    kills: int


def drive(store: Path, root: Path, wanted: int, seed: int) -> Driven:
    """Have the channel followed until there were so many switches, with kills in between."""
    chosen = random.Random(seed)
    switches, deltas = RawValue("l", 0), RawValue("l", 0)
    kills = 0
    while switches.value < wanted:
        process = _FORK.Process(target=follow, args=(store, root, chosen.randrange(1 << 30), switches, deltas))
        process.start()
        try:
            goal = min(wanted, switches.value + chosen.randint(1, 30))
            while switches.value < goal and process.exitcode is None:
                time.sleep(0.001)
            time.sleep(chosen.uniform(0, 0.015))
        finally:
            process.kill()
            process.join()
        if process.exitcode != -signal.SIGKILL:
            raise AssertionError(f"the agent's process ended by itself with {process.exitcode}")
        kills += 1
    return Driven(switches.value, deltas.value, kills)


@contextmanager
def reading(root: Path, seed: int) -> Iterator[dict[str, Any]]:
    """Readers of ``root`` during the block; filled at its end with what each kind saw."""
    module = f"{readers.__name__}"
    command = [sys.executable, "-m", module]
    processes = [
        (
            kind,
            subprocess.Popen(
                [*command, kind, str(root), str(seed + number)],
                cwd=CHECKOUT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            ),
        )
        for number, kind in enumerate(READERS)
    ]
    found: dict[str, Any] = {}
    try:
        yield found
        for kind, process in processes:
            out, _ = process.communicate(timeout=20)
            if process.returncode != 0:
                raise AssertionError(f"the reader {kind} ended with {process.returncode}")
            merge(found.setdefault(kind, {"window": 0.0, "faults": []}), json.loads(out))
    finally:
        for _, process in processes:
            process.kill()
            process.wait()


def merge(into: dict[str, Any], other: dict[str, Any]) -> None:
    """Add up what two readers of a kind saw; the window is the longer one."""
    window, faults = max(into["window"], other["window"]), [*into["faults"], *other["faults"]]
    counts = Counter({name: value for name, value in into.items() if name not in ("window", "faults")})
    counts.update({name: value for name, value in other.items() if name not in ("window", "faults")})
    into.update({**counts, "window": window, "faults": faults})


def torture(folder: Path, switches: int, seed: int) -> dict[str, Any]:
    """One drive with readers; what came of it."""
    store, root = folder / "store", folder / "root"
    store.mkdir()
    shelf = Publisher(store)
    shelf.promote(shelf.trees[0])
    first = Delivery(settings(store, root), LocalStore(store), Root(root), time.time)
    first.prepare()
    first.pull()
    began = time.monotonic()
    with reading(root, seed) as found:
        driven = drive(store, root, switches, seed)
    seconds = round(time.monotonic() - began, 1)
    last = Publisher(store)
    for live in last.trees[:2]:
        last.promote(live)
        first.pull()
    left = len(os.listdir(root / "releases"))  # noqa: PTH208
    return {**vars(driven), "seconds": seconds, "left": left, **found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--switches", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dagferry-torture-") as folder:
        sys.stdout.write(json.dumps(torture(Path(folder), asked.switches, asked.seed)) + "\n")


if __name__ == "__main__":
    main()
