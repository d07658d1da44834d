"""The tables of docs/stores.md have all cases, all servers, and the probe's own words."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

from tests.storage import refused, store_table
from tests.storage.contract import StoreContract

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs/stores.md"


def test_the_table_has_each_case_and_each_tested_server_and_all_passed() -> None:
    text = PAGE.read_text(encoding="utf-8")
    shown = text.split(store_table.BEGIN + "\n")[1].split(store_table.END)[0]
    table = store_table.Table()
    for server in servers():
        for case in store_table.CASES:
            table.enter(server, case, passed=True)
    assert shown.strip() == store_table.markdown(table.rows()).strip()


def servers() -> list[str]:
    """The servers of all subclasses of the contract; each subclass is in a test module of this folder."""
    for module in HERE.glob("test_*.py"):
        importlib.import_module(f"tests.storage.{module.stem}")
    names = [subclass.server for subclass in StoreContract.__subclasses__()]
    assert len(set(names)) == len(names) > 3
    return names


def test_the_refused_are_told_in_the_probes_words() -> None:
    section = PAGE.read_text(encoding="utf-8").split("Servers that are no stores")[1].split("\n\n")[1]
    rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in section.splitlines()[2:]]
    told = {(server, promise.strip("`"), words) for server, _, promise, words in rows}
    assert told == {(server, check, words) for server, said in refused.SAID.items() for check, words in said.items()}


def test_a_case_that_failed_once_stays_failed_and_one_that_did_not_run_says_so() -> None:
    table = store_table.Table()
    case, other = store_table.CASES[:2]
    for passed in (True, True, False):
        table.enter("b", case, passed=passed)
    table.enter("A", other, passed=True)
    head, first, second = table.rows()[:3]
    assert head == ["case", "A", "b"]
    assert first == [store_table.readable(case), "not run", "FAIL"]
    assert second == [store_table.readable(other), "pass", "not run"]
