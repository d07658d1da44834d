"""Minutes of pulls on a real agent, with an eye on what it takes: ``python -m tests.soak.run --minutes 10 --out DIR``.

1. The channel moves, the agent is notified over HTTP, and has to serve what was promoted; as often as there is time.
2. Every so often the agent is ended, by SIGTERM and by SIGKILL in turns, and begun again: a life.
3. Every so often the store's folder is away for two seconds, or the channel's head is garbage for a moment. The agent
   stays ready meanwhile, and its pulls fail.
4. Every two seconds: resident memory, descriptors, threads, and what the root takes on its file system.

It ends with 1, and says of which life, if something grew: the medians of the first and of the last third of a life are
compared, after its first samples (`WARM_SECONDS`) and with the slack of `Judged`. Written to DIR: ``samples.csv``,
``soak.md`` and ``soak.svg``.
"""

from __future__ import annotations

import argparse
import csv
import os
import random
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dagferry_schemas import layout
from tests.agent.shelf import BUNDLE, CHANNEL
from tests.e2e.harness import Agent, Pod
from tests.torture.switches import Publisher

from .plot import plot

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SAMPLE_SECONDS: Final = 2.0
WARM_SECONDS: Final = 10.0
"""The age at which a life is looked at: modules, pools of threads and the first arenas are there by then."""
LEAST_SAMPLES: Final = 6
LIFE_MINUTES: Final = 2.0
AWAY_SECONDS: Final = 2.0


@dataclass(frozen=True)
class Sample:
    """What the agent and its root take at one moment. ``at``: seconds since the start; ``life``: which process."""

    at: float
    life: int
    age: float
    rss_kib: int
    descriptors: int
    threads: int
    root_kib: int
    root_inodes: int


@dataclass(frozen=True)
class Judged:
    """A figure that has to stay flat, with the growth between two thirds of a life that is none."""

    name: str
    slack: Callable[[float], float]
    why: str


JUDGED: Final = (
    Judged("rss_kib", lambda first: max(2048.0, first / 20), "5 %: arenas that are not given back at once"),
    Judged(
        "descriptors", lambda _: 4.0, "a connection, a spool file and two folders may be open at a moment of sampling"
    ),
    Judged("threads", lambda _: 1.0, "a pool's thread that a later request begins"),
    Judged("root_kib", lambda first: first / 2, "one release more or less, of three or four"),
    Judged("root_inodes", lambda first: first / 2, "one release more or less, of three or four"),
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True, help="the folder for the figures")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="dagferry-soak-") as folder:
        soak = Soak(Path(folder), random.Random(asked.seed), asked.minutes * 60)
        try:
            soak.run()
        finally:
            soak.end()
    rows = judge(soak.samples)
    report = table(soak, rows)
    with (asked.out / "samples.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Sample)])
        writer.writeheader()
        writer.writerows(asdict(sample) for sample in soak.samples)
    (asked.out / "soak.md").write_text(report)
    names = [one.name for one in JUDGED]
    (asked.out / "soak.svg").write_text(
        plot([(one.at, one.life, [float(getattr(one, name)) for name in names]) for one in soak.samples], names)
    )
    sys.stdout.write(report)
    if not rows:
        sys.stdout.write(f"no life had {LEAST_SAMPLES} samples after {WARM_SECONDS:.0f} s: take more minutes\n")
    return 0 if rows and all(row.flat for row in rows) else 1


class Soak:
    """One run: a store, a root, an agent at a time, and what was counted."""

    def __init__(self, folder: Path, chosen: random.Random, seconds: float) -> None:
        self.samples: list[Sample] = []
        self.counts: Counter[str] = Counter()
        self.began = time.monotonic()
        self._seconds = seconds
        self._chosen = chosen
        self._store = folder / "store"
        self._store.mkdir()
        self._shelf = Publisher(self._store)
        self._shelf.promote(self._shelf.trees[0])
        self._pod = Pod(folder / "root", str(self._store), CHANNEL, BUNDLE)
        self._over = threading.Event()
        self._agent: Agent | None = None
        self._life = 0
        self._born = 0.0
        self._sampler = threading.Thread(target=self._sample_on, daemon=True)

    def run(self) -> None:
        """Pull for as long as there is time. Raises `AssertionError` where the agent does not do what it should."""
        life = self._seconds / max(2, round(self._seconds / 60 / LIFE_MINUTES))
        self._start()
        self._sampler.start()
        next_life, next_fault = self._passed() + life, self._passed() + life / 3
        while self._passed() < self._seconds:
            self._switch()
            if self._passed() >= next_fault:
                self.counts["faults"] += 1
                (self._store_away if self.counts["faults"] % 2 else self._garbage)()
                next_fault = self._passed() + life / 3
            if self._passed() >= next_life and self._seconds - self._passed() > life / 2:
                self._restart()
                next_life = self._passed() + life

    def end(self) -> None:
        """End the agent and the sampling, however far they are."""
        self._over.set()
        if self._sampler.ident is not None:
            self._sampler.join()
        if self._agent is not None:
            self._agent.process.kill()
            self._agent.process.wait()

    def _passed(self) -> float:
        return time.monotonic() - self.began

    def _start(self) -> Agent:
        options = ("--keep-releases=1", "--grace-hours=0", "--pulls-per-minute=1000000")
        agent = Agent(self._pod, *options, poll_seconds=1)
        agent.wait_until_ready()
        self._life, self._born, self._agent = self._life + 1, time.monotonic(), agent
        return agent

    def _restart(self) -> None:
        agent, self._agent = self._agent, None
        assert agent is not None
        self.counts["restarts"] += 1
        if self.counts["restarts"] % 2:
            assert agent.stop() == 0, agent.log
        else:
            agent.process.send_signal(signal.SIGKILL)
            agent.process.wait()
        self._start()

    def _switch(self) -> None:
        agent = self._agent
        assert agent is not None
        live = self._chosen.choice(self._shelf.trees)
        generation = self._shelf.promote(live).generation
        reply = agent.pull(expect_generation=generation, wait_seconds=15)
        assert reply["version"] == live.version, reply
        self.counts["pulls"] += 1
        self.counts["switches"] += bool(reply["changed"])

    def _store_away(self) -> None:
        elsewhere = self._store.with_name("away")
        self._store.rename(elsewhere)
        try:
            self._pull_in_vain(time.monotonic() + AWAY_SECONDS)
        finally:
            elsewhere.rename(self._store)

    def _garbage(self) -> None:
        head = self._store / layout.head(BUNDLE, CHANNEL)
        good = head.read_bytes()
        _put(head, b'{"payload": "garbage')
        try:
            self._pull_in_vain(time.monotonic())
        finally:
            _put(head, good)

    def _pull_in_vain(self, until: float) -> None:
        agent = self._agent
        assert agent is not None
        while True:
            assert agent.post({"wait_seconds": 5}).status_code >= 400, "a pull went well without a store"
            assert agent.ready()[0], "the agent is not ready while the store is away"
            self.counts["pulls in vain"] += 1
            if time.monotonic() >= until:
                return
            time.sleep(0.1)

    def _sample_on(self) -> None:
        while not self._over.wait(SAMPLE_SECONDS):
            agent, life, born = self._agent, self._life, self._born
            if agent is None:
                continue
            try:
                taken = taken_by(agent.process.pid)
            except (FileNotFoundError, ProcessLookupError):
                continue  # it is being ended
            root = taken_on_disk(self._pod.root)
            self.samples.append(Sample(round(self._passed(), 1), life, time.monotonic() - born, *taken, *root))


def _put(path: Path, body: bytes) -> None:
    temporary = path.with_name("head.garbage")
    temporary.write_bytes(body)
    temporary.replace(path)


def taken_by(pid: int) -> tuple[int, int, int]:
    """Resident KiB, open descriptors and threads of a process."""
    process = Path("/proc") / str(pid)
    status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
    if "VmRSS" not in status:
        raise ProcessLookupError(pid)
    return int(status["VmRSS"].split()[0]), len(list((process / "fd").iterdir())), int(status["Threads"])


def taken_on_disk(folder: Path) -> tuple[int, int]:
    """KiB and inodes of all below ``folder``, each inode once; what goes meanwhile does not count."""
    sizes: dict[int, int] = {}
    for parent, folders, names in os.walk(folder):
        for name in (*folders, *names):
            try:
                found = (Path(parent) / name).lstat()
            except FileNotFoundError:
                continue
            sizes[found.st_ino] = found.st_blocks * 512
    return sum(sizes.values()) // 1024, len(sizes)


@dataclass(frozen=True)
class Row:
    """One figure of one life: medians of its first and last third."""

    life: int
    name: str
    samples: int
    first: float
    last: float
    slack: float

    @property
    def flat(self) -> bool:
        """Whether it did not grow."""
        return self.last - self.first <= self.slack


def judge(samples: Sequence[Sample]) -> list[Row]:
    """Each figure of each life that was long enough."""
    rows = []
    for life in sorted({sample.life for sample in samples}):
        warm = [sample for sample in samples if sample.life == life and sample.age >= WARM_SECONDS]
        if len(warm) < LEAST_SAMPLES:
            continue
        third = len(warm) // 3
        for one in JUDGED:
            first = statistics.median(float(getattr(sample, one.name)) for sample in warm[:third])
            last = statistics.median(float(getattr(sample, one.name)) for sample in warm[-third:])
            rows.append(Row(life, one.name, len(warm), first, last, one.slack(first)))
    return rows


def table(soak: Soak, rows: Sequence[Row]) -> str:
    """The report, as Markdown."""
    counts = ", ".join(f"{value} {name}" for name, value in sorted(soak.counts.items()))
    lines = [
        f"{counts}; {len(soak.samples)} samples",
        "",
        "| life | figure | samples | first third | last third | slack | |",
    ]
    lines += ["| --- | --- | --- | --- | --- | --- | --- |"]
    lines += [
        f"| {row.life} | {row.name} | {row.samples} | {row.first:.0f} | {row.last:.0f} | {row.slack:.0f} "
        f"| {'flat' if row.flat else '**grew**'} |"
        for row in rows
    ]
    lines += ["", *(f"* {one.name}: {one.why}" for one in JUDGED)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
