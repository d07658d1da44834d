"""What keeps a commit from being packed: every problem is gathered, and all are shown at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dagferry_schemas.errors import Malformed

if TYPE_CHECKING:
    from collections.abc import Sequence

SHOWN_PROBLEMS: Final = 50


class CannotPack(Malformed):
    """A commit that is no tree; ``problems`` are all of them, each a sentence that begins with its path."""

    code = "cannot_pack"

    def __init__(self, message: str, hint: str, problems: Sequence[str]) -> None:
        super().__init__(message, hint)
        self.problems = tuple(problems)


def cannot_pack(problems: Sequence[str]) -> CannotPack:
    """The error that keeps ``problems``, and shows at most `SHOWN_PROBLEMS` of them."""
    shown = "\n  ".join(problems[:SHOWN_PROBLEMS])
    more = f"\n  and {len(problems) - SHOWN_PROBLEMS} more" if len(problems) > SHOWN_PROBLEMS else ""
    return CannotPack(
        f"the commit cannot be packed, {len(problems)} problem(s):\n  {shown}{more}",
        "mend them in the repository and commit; nothing was written",
        problems,
    )
