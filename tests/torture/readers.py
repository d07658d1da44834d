"""Readers of a root, each a process of its own: ``python -m tests.torture.readers KIND ROOT SEED``, until stdin ends.

Standard library only. At its end a reader prints what it saw, as one JSON object.

``resolved`` does what a reader does that wants a guarantee: it resolves ``current`` once, takes the release's lock
(shared), sees to it that the lock is still the release's, and reads the whole release, sometimes slowly. In every other
round it takes any release that is there, live or not: what stands in ``releases`` is whole.

``through_the_link`` reads all files that every tree has by their path below ``current``, as an Airflow does that was
given that folder. It may see two trees in one round, but none of these files is ever missing or torn.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import json
import os
import random
import select
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

from tests.torture import trees

SLOW_SECONDS: Final = 0.3
"""The longest pause of a slow reader, in the middle of a release: time for several switches."""
BREATH_SECONDS: Final = 0.001
"""Between two rounds, so that readers do not keep the agent from switching."""


class Reader:
    """What all readers have in common: the root, and what they saw."""

    def __init__(self, root: Path, seed: int) -> None:
        self.root = root
        self.random = random.Random(seed)
        self.seen: Counter[str] = Counter()
        self.faults: list[str] = []
        self.window = 0.0

    def fault(self, kind: str, what: str) -> None:
        self.seen[kind] += 1
        if len(self.faults) < 5:
            self.faults.append(f"{kind}: {what}")

    def number(self, path: str, found: bytes) -> int | None:
        """The tree that these bytes are of."""
        try:
            return trees.number_in(path, found)
        except ValueError:
            self.fault("torn", f"{path} has {len(found)} bytes that begin {found[:20]!r}")
            return None

    def live(self) -> str | None:
        """The release that the link names; that there is no link is a fault."""
        try:
            return (self.root / "current").readlink().name
        except FileNotFoundError:
            self.fault("missing", "current")
            return None

    def round(self) -> None:
        raise NotImplementedError

    def report(self) -> dict[str, Any]:
        return {**self.seen, "window": self.window, "faults": self.faults}


class Resolved(Reader):
    """Reads one release as a whole, under its lock."""

    def round(self) -> None:
        self.seen["rounds"] += 1
        name = self.live() if self.seen["rounds"] % 2 else self._any()
        if name is None:
            return
        lock = self._lock(name)
        if lock is not None:
            try:
                self._read(name)
            finally:
                os.close(lock)

    def _any(self) -> str | None:
        names = sorted(entry.name for entry in (self.root / "releases").iterdir())
        return self.random.choice(names) if names else None

    def _lock(self, name: str) -> int | None:
        """The lock of a release that is there; None if it went before the lock was ours."""
        release, path = self.root / "releases" / name, self.root / "locks" / name
        try:
            lock = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            # A release goes before its lock does, so one that is there without a lock never had one.
            if release.is_dir() and not path.exists() and release.is_dir():
                self.fault("unlocked", f"{name} has no lock file")
            self.seen["went before the lock"] += 1
            return None
        fcntl.flock(lock, fcntl.LOCK_SH)
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_ino == os.fstat(lock).st_ino and release.is_dir():
                return lock
        os.close(lock)
        self.seen["went before the lock"] += 1
        return None

    def _read(self, name: str) -> None:
        top = self.root / "releases" / name
        wanted = [str((Path(parent) / one).relative_to(top)) for parent, _, names in os.walk(top) for one in names]
        pause_at = self.random.randrange(4 * len(trees.VERSIONED))  # beyond the last file: no pause
        numbers: set[int] = set()
        for place, path in enumerate(sorted({*wanted, *trees.VERSIONED})):
            if place == pause_at:
                time.sleep(self.random.uniform(0, SLOW_SECONDS))
            try:
                found = self.number(path, (top / path).read_bytes())
            except FileNotFoundError:
                self.fault("missing", f"{name}/{path}")
                continue
            if found is not None:
                numbers.add(found)
        self.seen["releases read"] += 1
        if len(numbers) > 1:
            self.fault("mixed", f"{name} has files of trees {sorted(numbers)}")
        elif numbers and (absent := trees.paths(min(numbers)) - set(wanted)):
            self.fault("missing", f"{name}: {sorted(absent)}")


class ThroughTheLink(Reader):
    """Reads every file by its path below the link."""

    def round(self) -> None:
        self.seen["rounds"] += 1
        reads: list[tuple[int, float]] = []
        for path in (*trees.VERSIONED, *trees.SHARED):
            began = time.monotonic()
            try:
                found = self.number(path, (self.root / "current" / path).read_bytes())
            except OSError as error:
                self.fault("missing" if error.errno == errno.ENOENT else "unreadable", f"current/{path}: {error}")
                continue
            if found is not None:
                reads.append((found, began))
        self.seen["pairs"] += max(0, len(reads) - 1)
        self.seen["mixed pairs"] += sum(one[0] != other[0] for one, other in itertools.pairwise(reads))
        if len({number for number, _ in reads}) > 1:
            self.seen["mixed rounds"] += 1
            self.window = max(self.window, reads[-1][1] - reads[0][1])


KINDS: Final = {"resolved": Resolved, "through_the_link": ThroughTheLink}


def main(kind: str, root: str, seed: str) -> None:
    reader = KINDS[kind](Path(root), int(seed))
    while not select.select([sys.stdin], [], [], 0)[0]:
        reader.round()
        time.sleep(BREATH_SECONDS)
    sys.stdout.write(json.dumps(reader.report()))


if __name__ == "__main__":
    main(*sys.argv[1:])
