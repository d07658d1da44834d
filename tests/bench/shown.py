"""What was taken as Markdown: the bars, the medians of each row, and what was left out."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Final

from tests.bench.bars import judged

if TYPE_CHECKING:
    from tests.bench.rows import Row, Rows

COLUMNS: Final = (
    ("ms", "seconds", 1e3, 1),
    ("CPU ms", "cpu", 1e3, 1),
    ("peak MB", "peak", 1e-6, 0),
    ("written KB", "written", 1e-3, 0),
    ("requests", "requests", 1, 0),
    ("bytes on the wire", "wire", 1, 0),
    ("payload", "payload", 1, 0),
)
"""Heading, figure, what it is multiplied with, decimals."""
IDLE: Final = (
    ("CPU ms", "cpu", 1e3, 1),
    ("CPU ms, idle included", "cpu with idle", 1e3, 1),
    ("written KB", "written", 1e-3, 0),
    ("written KB, idle included", "written with idle", 1e-3, 0),
)
Columns = tuple[tuple[str, str, float, int], ...]


def markdown(rows: Rows) -> str:
    """All tables."""
    parts = [_bars(rows), _rows(rows, COLUMNS), _rows(rows, IDLE, only="cpu with idle"), _others(rows)]
    left_out = [f"* Left out: {one}." for one in rows.left_out]
    return "\n\n".join(part for part in [*parts, "\n".join(left_out)] if part) + "\n"


def _line(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _number(value: float, decimals: int) -> str:
    return f"{value:,.{decimals}f}"


def _bars(rows: Rows) -> str:
    found, lacking = judged(rows)
    lines = [_line("bar", "found", "95 %", "asked", ""), _line(*["---"] * 5)]
    for one in found:
        decimals = 2 if one.found < 1000 else 0
        ends = f"{_number(one.low, decimals)} to {_number(one.high, decimals)}"
        asked = f"{'at least' if one.bar.least else 'at most'} {one.bar.asked:,g}"
        lines.append(_line(one.bar.name, _number(one.found, decimals), ends, asked, one.verdict))
    lines += [_line(bar.name, "", "", f"{bar.asked:,g}", "not taken") for bar in lacking]
    return "\n".join(lines)


def _cell(rows: Rows, row: Row, figure: str, factor: float, decimals: int) -> str:
    values = rows.of(row, figure)
    return _number(factor * statistics.median(values), decimals) if values else ""


def _rows(rows: Rows, columns: Columns, only: str = "seconds") -> str:
    lines = [_line("work", "peer", "takes", *(one[0] for one in columns)), _line(*["---"] * (3 + len(columns)))]
    for row, taken in sorted(rows.taken.items()):
        if rows.of(row, only) or (only == "seconds" and rows.of(row, "cpu")):
            cells = [_cell(rows, row, *one[1:]) for one in columns]
            lines.append(_line(*row, str(len(taken)), *cells))
    return "\n".join(lines)


def _others(rows: Rows) -> str:
    lines = []
    for (work, peer), taken in sorted(rows.taken.items()):
        if "rss" in taken[0]:
            middle = {name: statistics.median(one[name] for one in taken) / 1e6 for name in ("rss", "pss")}
            rss, pss = (f"{middle[name]:.0f} MB" for name in ("rss", "pss"))
            lines.append(f"* {work}: {peer} has {rss} resident; its proportional share of them is {pss}.")
        if "server cpu" in taken[0]:
            server = 1e3 * statistics.median(one["server cpu"] for one in taken)
            lines.append(f"* {work}, {peer}: the S3 server's processor time is {server:.0f} ms.")
    return "\n".join(lines)
