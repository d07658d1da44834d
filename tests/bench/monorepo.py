"""What the rest of a large repository costs: 300 DAG files among 100,000 others, beside the same 300 alone.

    TMPDIR=/dev/shm python -m tests.bench.monorepo [--others 100000] [--rounds 7]

Builds without a cache are measured as whole processes, interleaved in each round. Both commits have the same root, byte
for byte, with a link to a folder outside of it and files of attributes above it; the tarballs are compared.
"""

from __future__ import annotations

import argparse
import os
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
    from collections.abc import Iterator

DAGFERRY: Final = "from dagferry_builder.cli import main; main()"
TARGET: Final = 1.5
"""Of the same root alone: what a build in the monorepo may take."""
CONFIG: Final = b'[bundles.shop]\nroot = "team/dags"\n'
ROOT_FILES: Final = 300


def _root() -> Iterator[tuple[str, str, bytes]]:
    yield "100644", "dagferry.toml", CONFIG
    yield "100644", ".gitattributes", b"*.md export-ignore\n*.sql text eol=lf\n"
    yield "120000", "team/dags/lib", b"../../shared/lib"
    for number in range(ROOT_FILES):
        yield "100644", f"team/dags/area_{number % 20:02}/dag_{number:03}.py", b"SHOP = %d\n" % number * 400
    for number in range(10):
        yield "100644", f"shared/lib/part_{number}.py", b"PART = %d\n" % number


def _others(count: int) -> Iterator[tuple[str, str, bytes]]:
    for number in range(count):
        folder = f"services/group_{number % 97:02}/service_{number % 2003:04}"
        yield "100644", f"{folder}/source_{number:06}.go", b"package service // %d\n" % number


def _repository(folder: Path, *parts: Iterator[tuple[str, str, bytes]]) -> Path:
    clone = Clone(folder)
    lines = [b"commit refs/heads/main\ncommitter Ada <ada@example.com> 1767225600 +0000\ndata 0\n"]
    for part in parts:
        lines += [
            b"M %s inline %s\ndata %d\n%s\n" % (mode.encode(), path.encode(), len(body), body)
            for mode, path, body in part
        ]
    subprocess.run(["git", "fast-import", "--quiet"], cwd=clone.folder, input=b"".join(lines), check=True)
    clone.git("reset", "--quiet", "--hard")
    clone.git("gc", "--quiet")
    clone.git("status")
    return clone.folder


def _build(clone: Path, out: Path) -> float:
    shutil.rmtree(out, ignore_errors=True)
    began = time.perf_counter()
    command = [sys.executable, "-c", DAGFERRY, "build", "--no-cache", "--out", str(out)]
    done = subprocess.run(command, cwd=clone, capture_output=True, text=True, check=False)
    taken = time.perf_counter() - began
    assert done.returncode == 0, done.stderr[-2000:]
    return taken


def _tarball(out: Path) -> bytes:
    return next(out.glob("*.tar.zst")).read_bytes()


def main() -> None:
    """Run the rounds and print the table; exit code 1 if the target was missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--others", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    scratch = Path(tempfile.mkdtemp(prefix="dagferry-bench-"))
    os.environ["PYTHONPYCACHEPREFIX"] = str(scratch / "compiled")
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    try:
        alone = _repository(scratch / "alone", _root())
        among = _repository(scratch / "among", _root(), _others(arguments.others))
        for clone in (alone, among):
            _build(clone, scratch / clone.name / "out")  # the first run of everything writes bytecode
        rounds = []
        for _ in range(arguments.rounds):
            rounds.append((_build(alone, scratch / "one"), _build(among, scratch / "other")))
            assert _tarball(scratch / "one") == _tarball(scratch / "other")
    finally:
        shutil.rmtree(scratch)
    ratio = statistics.median(among / alone for alone, among in rounds)
    for name, seconds in zip(("the root alone", "in the monorepo"), zip(*rounds, strict=True), strict=True):
        sys.stdout.write(
            f"{name:16}{statistics.median(seconds):7.3f} s  (min {min(seconds):.3f}, max {max(seconds):.3f})\n"
        )
    sys.stdout.write(f"{arguments.others} other files, {len(rounds)} rounds: x {ratio:.2f} (target {TARGET})\n")
    sys.exit(int(ratio > TARGET))


if __name__ == "__main__":
    main()
