"""The table of what was tried: one column for each server, one row for each promise and race of the contract.

It is filled while the tests of `StoreContract` run, printed at their end, and written as Markdown by ``--store-table``.
The one in docs/stores.md was written so, and a test holds its rows and columns to the contract and its subclasses.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import pytest

from tests.storage.contract import PROMISES, RACES, StoreContract

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

BEGIN: Final = "<!-- what pytest --store-table wrote -->"
END: Final = "<!-- end of what pytest --store-table wrote -->"
CASES: Final = tuple(case.__name__ for case in (*PROMISES, *RACES))


@dataclass
class Table:
    """What each case came to on each server."""

    results: dict[str, dict[str, str]] = field(default_factory=dict)

    def enter(self, server: str, case: str, passed: bool) -> None:
        """Note one phase of a case; one that failed in any phase has failed."""
        column = self.results.setdefault(server, {})
        if not passed or case not in column:
            column[case] = "pass" if passed else "FAIL"

    def rows(self) -> list[list[str]]:
        """The table with its head; what was not run says so."""
        servers = sorted(self.results, key=str.lower)
        body = [[readable(case), *(self.results[one].get(case, "not run") for one in servers)] for case in CASES]
        return [["case", *servers], *body]


def readable(case: str) -> str:
    """A case's name as a person writes it."""
    return case.replace("_", " ")


def markdown(rows: list[list[str]]) -> str:
    """The rows as a table of Markdown."""
    head, *body = rows
    return "".join(f"| {' | '.join(row)} |\n" for row in [head, ["---"] * len(head), *body])


def aligned(rows: list[list[str]]) -> list[str]:
    """The rows as lines for a terminal."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _case(item: pytest.Item) -> tuple[str, str] | None:
    """Server and case of a test that is one of the contract's."""
    subclass, given = getattr(item, "cls", None), getattr(item, "callspec", None)
    if given is None or not (isinstance(subclass, type) and issubclass(subclass, StoreContract)):
        return None
    case = given.params.get("promise") or given.params.get("race")
    return (subclass.server, case.__name__) if case else None


class Recorder:
    """The pytest plugin that fills one `Table`."""

    def __init__(self, file: Path | None) -> None:
        self._table = Table()
        self._file = file

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        case = _case(item)
        if case is not None:
            self._table.enter(*case, report.passed)
        return report

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._table.results:
            terminalreporter.section("what was tried on each store")
            for line in aligned(self._table.rows()):
                terminalreporter.write_line(line)

    def pytest_sessionfinish(self) -> None:
        if self._file is not None:
            self._file.write_text(markdown(self._table.rows()), encoding="utf-8")
