"""Text from the repository as people, terminals and CI systems get it.

1. Control characters, bidirectional marks and halves of surrogate pairs are shown as escapes (`plain`).
2. CI systems take commands from a job's output: ``::name::`` at the beginning of a line and ``##[name]`` anywhere
   (GitHub), ``##vso[…]`` (Azure Pipelines), ``##teamcity[…]``. What a repository says must not become one: a backslash
   breaks it.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from dagferry_schemas.commandline import plain

MOST_CELLS: Final = 70
"""Cells of a terminal that an excerpt of a source line takes at most, so that it fits 80 with what stands before it."""
_COMMAND: Final = re.compile(r"^[^\S\n]*::|#(?=#\w*\[)", re.MULTILINE)


def shown(text: str) -> list[str]:
    """The lines of ``text``, each safe to show; at least one."""
    return [plain(line.replace("\t", "    ")) for line in text.splitlines()] or [""]


def disarmed(text: str) -> str:
    """``text``, which may have several lines, without anything that a CI system takes for a command."""
    return _COMMAND.sub(lambda match: match[0][:-2] + "\\::" if match[0].endswith("::") else "#\\", text)


def excerpt(line: str, column: int, end_column: int = 0) -> tuple[str, str]:
    """A source line as it is shown, and the line below it with a caret; both are cut around the caret if need be.

    ``column`` counts characters from 1; with 0 there is no caret. ``end_column`` is the first one behind the fault.
    """
    cells, at = _cells(line.rstrip("\r\n"))
    first = min(max(column, 1), len(at)) - 1
    last = min(end_column, len(at)) - 1
    start = max(min(at[first] - MOST_CELLS // 3, len(cells) - MOST_CELLS), 0)
    window = cells[start : start + MOST_CELLS]
    if start:
        window[0] = "…"
    if start + MOST_CELLS < len(cells):
        window[-1] = "…"
    caret = at[first] - start
    carets = min(at[max(last, first)], start + MOST_CELLS) - at[first]
    return "".join(window).rstrip(), " " * caret + "^" * max(carets, 1) if column > 0 else ""


def _cells(line: str) -> tuple[list[str], list[int]]:
    """What each cell of a terminal shows, the second one of a wide character nothing; and where each character begins.

    The last place is that behind the line.
    """
    cells: list[str] = []
    at = []
    for character in line:
        if character.isprintable() and unicodedata.category(character) in {"Mn", "Me"} and cells:
            at.append(len(cells) - 1)
            cells[-1] += character  # a mark above or below the character before it
            continue
        at.append(len(cells))
        if unicodedata.east_asian_width(character) in {"W", "F"} and character.isprintable():
            cells += [character, ""]
        else:
            cells += "    " if character == "\t" else plain(character)
    return cells, [*at, len(cells)]
