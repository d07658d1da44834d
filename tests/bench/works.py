"""The names of the changes that are taken over."""

from __future__ import annotations

from typing import Final


def one_file(corpus: str) -> str:
    """One changed file of a corpus."""
    return f"one file of {corpus}"


ONE: Final = one_file("L")
AT_ONCE: Final = "at once, one file of L"
MANY: Final = "1 % of L, a line appended"
EDITED: Final = "1 % of L, edited"
TENTH: Final = "10 % of L, edited"
