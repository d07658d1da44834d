"""How long a change takes to be live, whatever the size of the repository: ours beside git, OSTree and plain copies.

    python -m tests.bench.speed [--rounds 15] [--sizes S L XL] [--wheel FILE] [--json FILE] [--markdown FILE]
                                [--plots FOLDER]

All is on loopback and on one disk, below TMPDIR. In each round a commit changes each corpus, is published and promoted,
and then all take it over one after the other, in an order that turns from round to round; what takes longest is taken
in one round of three. Each take is checked: what it made is what was committed. ``--wheel`` is the wheel of
apache-airflow-core (or DAGFERRY_BENCH_WHEEL), which is then the repository R. ``--from FILE`` measures nothing, and
writes tables and plots anew from what ``--json`` wrote. What is measured, and how, is said by the modules: `costs`,
`counted`, `changes`, `firsts`, `nothing_new`, `builds`, `peers`, `buckets`; what was asked, by `bars`.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench import corpora, plots, shown
from tests.bench.rounds import Bench
from tests.bench.rows import Rows
from tests.storage import servers

if TYPE_CHECKING:
    from collections.abc import Sequence


def main() -> None:
    """Measure in a folder of its own, and write what was asked for."""
    asked = _asked()
    rows = Rows.load(asked.earlier) if asked.earlier else measured(asked.rounds, asked.sizes, asked.wheel, asked.json)
    tables = shown.markdown(rows)
    sys.stdout.write(tables)
    if asked.markdown:
        asked.markdown.write_text(tables)
    if asked.plots:
        plots.write(rows, asked.plots)


def measured(rounds: int, sizes: Sequence[str], wheel: Path | None, json: Path | None) -> Rows:
    """So many rounds; after each one, all that was taken so far is saved to ``json``."""
    os.environ.update(servers.CREDENTIALS)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    with ExitStack() as at_the_end:
        folder = Path(at_the_end.enter_context(tempfile.TemporaryDirectory(prefix="dagferry-bench-")))
        bench = Bench(folder, [name for name in corpora.SIZES if name in {*sizes, "L"}], wheel, at_the_end)
        for number in range(rounds):
            began = time.monotonic()
            bench.round(number)
            print(f"round {number + 1}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)  # noqa: T201
            if json:
                bench.rows.save(json)
        return bench.rows


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--sizes", nargs="+", choices=corpora.SIZES, default=list(corpora.SIZES))
    wheel = os.environ.get("DAGFERRY_BENCH_WHEEL")
    parser.add_argument("--wheel", type=Path, default=Path(wheel) if wheel else None)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--from", dest="earlier", type=Path)
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--plots", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
