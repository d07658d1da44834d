"""The tables of docs/endpoint.md, as the rows say them; writes them anew:

python -m tests.endpoint.page
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from .floods import FLOODS
from .parsed import PARSED
from .rows import ROWS

if TYPE_CHECKING:
    from collections.abc import Iterable

PAGE: Final = Path(__file__).resolve().parents[2] / "docs/endpoint.md"


def tables() -> dict[str, str]:
    """Each table by the marks around it."""
    return {
        "rows": table(("attack", "answer"), ((row.attack, row.answer) for row in ROWS)),
        "parsed": table(("attack", "answer"), ((row.attack, row.answer) for row in PARSED)),
        "floods": table(("attack", "claim"), ((one.attack, one.claim) for one in FLOODS)),
    }


def table(head: tuple[str, str], rows: Iterable[tuple[str, str]]) -> str:
    """A table of Markdown."""
    lines = (head, ("---", "---"), *rows)
    return "".join(f"| {left} | {right} |\n" for left, right in lines)


def with_tables(text: str) -> str:
    """The page's text with its tables as they are now."""
    for name, shown in tables().items():
        begin, end = f"<!-- {name} of tests/endpoint -->\n", f"<!-- end of {name} -->\n"
        before, _, rest = text.partition(begin)
        _, mark, after = rest.partition(end)
        assert mark, f"{PAGE} has no place for {name}"
        text = before + begin + shown + end + after
    return text


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
