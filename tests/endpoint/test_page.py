"""docs/endpoint.md shows the rows that are tested, and the numbers that the program has."""

from __future__ import annotations

import re

from dagferry_agent import admission, app, door, rates, server
from dagferry_agent.settings import Settings

from . import floods, parsed, rows
from .page import PAGE, with_tables

TEXT = PAGE.read_text(encoding="utf-8")


def test_the_tables_are_those_of_the_rows() -> None:
    assert with_tables(TEXT) == TEXT, "python -m tests.endpoint.page"
    assert not [row.id for row in rows.ROWS if "|" in row.attack + row.answer]
    assert not [row.id for row in parsed.PARSED if "|" in row.attack + row.answer]


def test_the_numbers_are_those_of_the_program() -> None:
    section = TEXT.split("## Rates")[1].split("\n## ")[0]
    said = set(map(int, re.findall(r"\b[0-9]{2,}\b", section)))
    per_minute = {admission.FAILURES_PER_MINUTE, Settings.pulls_per_minute}
    statuses = {202, 401, 429}
    assert said == per_minute | {app.MAX_WAITING, door.MOST, rates.PREFIX, rates.MOST} | statuses
    assert floods.MOST_CONNECTIONS == door.MOST
    assert f"{server.HEAD_SECONDS:g}" == "5", "the page says five seconds"
