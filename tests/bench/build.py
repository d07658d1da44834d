"""How long a build of ten thousand files takes, cold, warm and with one file changed, beside a plain pipe.

    TMPDIR=/dev/shm python -m tests.bench.build [--files 10000] [--rounds 7]

All is measured as whole processes, interleaved in each round, so that the ratios hold on a machine that is busy with
something else; single figures do not. TMPDIR should name a file system in memory: what is measured is our work and not
the moods of a disk. The repository was packed by ``git gc``, and its index was refreshed, as in a clone that is in use.

Cold, no cache: `--no-cache`. Cold: the cache is empty, and is filled. Warm: nothing changed. One changed: a line was
added to one file and committed. The target of that is about what the build itself takes, as the command reports it
(``seconds``); the starts of Python and of git's first answers, which are the same cold and warm, are in the times of
whole processes beside it. The peer reads and compresses the same files and names no digest of any of them:
``git archive | zstd -3``. The target of a cold build is a multiple of it, both as whole processes. The bytes
of each warm build and of each after a change are compared with those of a build without a cache, outside what is
timed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.builder.repositories import Clone

if TYPE_CHECKING:
    from collections.abc import Callable

DAGFERRY: Final = "from dagferry_builder.cli import main; main()"
FOLDERS: Final = 2169
TARGET: Final = 0.35
"""Of a cold build: what one with one changed file may take."""
PEER_TARGET: Final = 1.5
"""Of the peer: what a cold build may take, both as whole processes."""
PEER, COLDEST, COLD, CHANGED = "git archive | zstd -3", "cold, no cache", "cold", "one changed"
OWN: Final = ", the build alone"
NOUNS: Final = ("customer", "extract", "load", "metric", "order", "owner", "query", "rate", "region", "row", "shop")


class Bench:
    """A repository of generated files, and the commands that are timed on it."""

    def __init__(self, scratch: Path, files: int, run: Callable[..., str] | None = None) -> None:
        """``run`` runs a command in ``cwd``, and returns what it wrote on stdout."""
        self._scratch = scratch
        self._runs = run or _told
        self._cache = scratch / "cache"
        self._clone = Clone(scratch / "repository")
        self._changes = 0
        source = random.Random(11)
        self._clone.git("config", "gc.auto", "0")
        bodies = {_path(number): _body(source, number) for number in range(files)}
        self._clone.commit({"dagferry.toml": b'[bundles.shops]\nroot = "dags"\n', **bodies})
        self._clone.git("gc", "--quiet")
        self._clone.git("status")
        self.megabytes = sum(map(len, bodies.values())) / 1e6

    def cold_without(self) -> float:
        return self._build("--no-cache", out="without")

    def empty(self) -> None:
        shutil.rmtree(self._cache, ignore_errors=True)

    def cached(self) -> float:
        return self._build("--cache-dir", str(self._cache), out="cached")

    def peer(self) -> None:
        self._run("sh", "-c", 'git archive HEAD dags | zstd -3 -q -f -o "$0"', str(self._scratch / "peer.tar.zst"))

    def change_one(self) -> None:
        self._changes += 1
        path = _path(self._changes * 37)
        before = (self._clone.folder / path).read_bytes()
        self._clone.commit({path: before + b"CHANGED = True\n"})

    def compare(self) -> None:
        """The build that was just timed wrote what one without a cache writes."""
        self.cold_without()
        found = [sorted((self._scratch / out).iterdir()) for out in ("cached", "without")]
        assert [path.name for path in found[0]] == [path.name for path in found[1]]
        assert len(found[0]) == 3
        for one, other in zip(*found, strict=True):
            assert one.read_bytes() == other.read_bytes(), f"{one.name} depends on the cache"

    def _build(self, *options: str, out: str) -> float:
        """Build, and return the seconds that the build says it took."""
        shutil.rmtree(self._scratch / out, ignore_errors=True)
        said = self._run(
            sys.executable, "-c", DAGFERRY, "build", "-o", "json", "--out", str(self._scratch / out), *options
        )
        return float(json.loads(said)["seconds"])

    def _run(self, *command: str) -> str:
        return self._runs(*command, cwd=self._clone.folder)


def _told(*command: str, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def _path(number: int) -> str:
    folder = number % FOLDERS
    return f"dags/team_{folder % 40:02}/area_{folder:04}/dag_{number:05}.py"


def _body(source: random.Random, number: int) -> bytes:
    """About 5 KB of Python; one file in 500 is large, one in 100 has a part that cannot be compressed."""
    length = 150_000 if number % 500 == 499 else source.lognormvariate(8.3, 0.6)
    lines = [f'"""What shop {number} has sold."""']
    while length > 0:
        one, other, third = source.choices(NOUNS, k=3)
        lines.append(f"{one}_{other} = {third}({source.randrange(10_000)}, retries={source.randrange(5)})")
        length -= len(lines[-1]) + 1
    lines += [f"KEY = '{source.randbytes(8000).hex()}'"] if number % 100 == 99 else []
    return "\n".join(lines).encode() + b"\n"


def _timed(name: str, build: Callable[[], float]) -> dict[str, float]:
    """The seconds of a whole process, and those that the build in it says it took."""
    began = time.perf_counter()
    own = build()
    return {name: time.perf_counter() - began, name + OWN: own}


def _round(bench: Bench) -> dict[str, float]:
    """One round: the seconds of each step."""
    began = time.perf_counter()
    bench.peer()
    taken = {PEER: time.perf_counter() - began, **_timed(COLDEST, bench.cold_without)}
    bench.empty()
    taken |= _timed(COLD, bench.cached)
    taken |= _timed("warm", bench.cached)
    bench.compare()
    bench.change_one()
    taken |= _timed(CHANGED, bench.cached)
    bench.compare()
    return taken


def main() -> None:
    """Run the rounds and print the table; exit code 1 if the target was missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    scratch = Path(tempfile.mkdtemp(prefix="dagferry-bench-"))
    os.environ["PYTHONPYCACHEPREFIX"] = str(scratch / "compiled")
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    try:
        bench = Bench(scratch, arguments.files)
        bench.cached()  # the first run of everything writes bytecode
        rounds = [_round(bench) for _ in range(arguments.rounds)]
    finally:
        shutil.rmtree(scratch)
    sys.stdout.write(f"{arguments.files} files, {bench.megabytes:.0f} MB, {len(rounds)} rounds; ")
    sys.exit(_print(rounds))


def _print(rounds: list[dict[str, float]]) -> int:
    sys.stdout.write("medians\n")
    for name in rounds[0]:
        seconds = [one[name] for one in rounds]
        low, high = min(seconds), max(seconds)
        sys.stdout.write(f"{name:30}{statistics.median(seconds):8.3f} s  (min {low:6.3f}, max {high:6.3f})\n")
    sys.stdout.write("and of the ratios in each round\n")
    for name in (CHANGED, CHANGED + OWN):
        for other in (COLDEST, COLD):
            other += OWN if name.endswith(OWN) else ""
            sys.stdout.write(f"{_ratio(rounds, name, other):8.2f}  {name} / {other}\n")
    sys.stdout.write(f"{_ratio(rounds, CHANGED, PEER):8.2f}  {CHANGED} / {PEER}\n")
    for name in (COLDEST, COLD):
        sys.stdout.write(f"{_ratio(rounds, name, PEER):8.2f}  {name} / {PEER}\n")
    fast = _ratio(rounds, COLDEST, PEER) <= PEER_TARGET
    sys.stdout.write(f"at most {PEER_TARGET} of {PEER}, a cold build as a whole process: {_said(fast)}\n")
    met = max(_ratio(rounds, CHANGED + OWN, cold + OWN) for cold in (COLDEST, COLD)) <= TARGET
    sys.stdout.write(f"at most {TARGET} of a cold build, the build alone: {_said(met)}\n")
    return int(not (met and fast))


def _said(met: bool) -> str:
    return "met" if met else "missed"


def _ratio(rounds: list[dict[str, float]], name: str, other: str) -> float:
    return statistics.median(one[name] / one[other] for one in rounds)


if __name__ == "__main__":
    main()
