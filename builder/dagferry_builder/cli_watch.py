"""The command watch: the local loop."""

from __future__ import annotations

import sys
import tempfile
import threading
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dagferry_schemas.commandline import emit, plain
from dagferry_schemas.errors import DagferryError, Usage

from . import options

if TYPE_CHECKING:
    from collections.abc import Callable

    from .gate import Gate
    from .lint.result import Result
    from .local_loop import Update
    from .site import Site

SHOWN = 5
"""Paths of a save that are named."""


@click.command()
@options.option("--target", type=click.Path(path_type=Path, file_okay=False), required=True,
                help="The folder that shows what is saved: Airflow's DAG folder on this machine.")  # fmt: skip
@options.root
@options.option("--no-lint", is_flag=True, help="Show what is saved without lint.")
@options.linting
@options.placed
def watch(target: Path, root: str | None, no_lint: bool, gate: Gate, site: Site, output: str) -> None:
    """Make what is saved here live in a folder, and lint it, until Ctrl-C."""
    from .local_loop import Linting, LocalLoop
    from .mirror import Mirror
    from .working_tree import WorkingTree

    site, target = replace(site, root_option=root), target.absolute()
    top = site.repository.top
    if target.resolve().is_relative_to(top.resolve()):
        raise Usage(f"{target} is inside {top}: what is shown there would be delivered", "name a folder outside of it")
    said = _Voice(output)
    with tempfile.TemporaryDirectory(prefix="dagferry-watch-") as scratch:
        tree = WorkingTree(site.repository, Path(scratch))
        linting = None if no_lint else Linting(_linter(gate, site), said.linted)

        def updated(update: Update) -> None:
            said.updated(update, target)
            if linting is not None:
                linting.put(update.commit)

        try:
            LocalLoop(site, tree, Mirror(target), updated, said.failed).run(target)
        finally:
            if linting is not None:
                linting.stop()


def _linter(gate: Gate, site: Site) -> Callable[[str, Callable[[int, int], None]], Result]:
    return lambda commit, go_on: replace(gate, progress=go_on).run(site, commit)


class _Voice:
    """Says what happens, one line or document at a time, whichever thread it comes from."""

    def __init__(self, output: str) -> None:
        self._output = output
        self._alone = threading.Lock()

    def updated(self, update: Update, target: Path) -> None:
        written, removed = update.changes
        paths = [*written, *(f"-{path}" for path in removed)]
        named = ", ".join(paths[:SHOWN]) + (f" and {len(paths) - SHOWN} more" if len(paths) > SHOWN else "")
        facts = {"target": str(target), "files": update.files, "written": list(written), "removed": list(removed),
                 "seconds": round(update.seconds, 3)}  # fmt: skip
        what = plain(named) or "nothing changed"
        self._say(facts, f"{_time()} {target}: {update.files} files; {what} ({update.seconds:.2f} s)")

    def linted(self, found: Result | DagferryError) -> None:
        from .lint import text
        from .lint.rules import RULES

        if isinstance(found, DagferryError):
            self.failed(found)
            return
        self._say({"lint": found.to_dict()}, text.render(found, RULES, colour=options.coloured(sys.stdout)))

    def failed(self, error: DagferryError) -> None:
        hint = f" ({error.hint})" if error.hint else ""
        self._say({"error": error.to_dict()}, plain(f"{_time()} not shown: {error.message}{hint}"))

    def _say(self, facts: dict[str, object], words: str) -> None:
        with self._alone:
            emit(facts, self._output, words)
            sys.stdout.flush()


def _time() -> str:
    return datetime.now().astimezone().strftime("%H:%M:%S")
