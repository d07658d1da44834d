"""What keeps a commit from being packed: every problem is gathered, and all are shown at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dagferry_schemas.errors import Malformed, Usage

from .objects import FETCH_ALL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .leaving import LeftOut
    from .selection import Selection

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


def nothing_below(folder: str, commit: str, why: str = "") -> Usage:
    """The error for a root without files; ``why`` goes on after the sentence."""
    return Usage(
        f"there are no files below {folder or 'the top'!r} in commit {commit[:12]}{why}",
        "set `root` of the bundle in dagferry.toml to the folder that holds the DAGs, and commit it",
        code="empty_tree",
    )


def all_left_out(selection: Selection, commit: str, left_out: list[LeftOut]) -> Usage:
    """The error for a selection that leaves nothing, with an example of what it left out."""
    roots = " and ".join(repr(folder or "the top") for folder in selection.folders)
    if not left_out:  # links to folders that have nothing in them, which git can store though it never makes them
        return nothing_below(selection.folders[0], commit)
    one = left_out[0]
    return Usage(
        f"everything below {roots} in commit {commit[:12]} is left out, for example {one.path} ({one.rule})",
        "look at `include` and `exclude` of the bundle, at .dagferryignore and .gitattributes",
        code="empty_tree",
    )


def lacks(path: str) -> str:
    """What is wrong with a file whose blob is not in the clone."""
    return f"{path!r} has content that this clone lacks: {FETCH_ALL} in a partial clone, `git fsck` in a damaged one"
