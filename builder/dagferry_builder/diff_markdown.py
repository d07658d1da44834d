"""`dagferry diff` as a comment on a pull request.

1. Whatever comes from the repository stands in a code span; in a summary, where markdown is not read, in ``<code>``
   with entities. So neither names of people, nor issues, nor markdown, nor HTML in it mean anything.
2. There are no tables: a pipe in a code span would end a cell.
3. A comment has at most `MOST_BYTES`; GitHub takes 65,536 characters. Each list takes at most a third of the room that
   is left, so that a long one leaves some to the others; what finds no room is counted in its place.
4. The first line is a comment that readers do not see, by which a job finds the comment that it wrote before.
"""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING, Final

from dagferry_schemas.commandline import plain

from .comparison import ADVICE
from .diff_mermaid import drawing, flowchart
from .diff_words import counted, described, files_headline, headline, phrases, shorten

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .comparison import Comparison
    from .dag_diff import ChangedDag, DagChanges

MARK: Final = "<!-- dagferry diff -->"
MOST_BYTES: Final = 65_000
RESERVE: Final = 2_000
"""Bytes kept for lines that say what is missing, and for what closes a fold."""
FOLDED: Final = 10
"""Entries from which on a list is folded."""
MOST_PHRASES: Final = 20
MOST_DIAGRAMS: Final = 5
MOST_OF_A_DIAGRAM: Final = 6_000
"""Characters of one diagram: more of them is worth more than a large one."""


def page(found: Comparison) -> str:
    """The comment, of at most `MOST_BYTES`."""
    made = _Page()
    made.write(MARK)
    made.write(f"### {headline(found)}\n")
    made.write(f"{code(found.before.version)} → {code(found.after.version)}")
    for version, why in found.unknown.items():
        made.write(f"\n{code(version)} has no inventory of its DAGs: {code(why)}")
    if found.unknown:
        made.write(f"\n{ADVICE[0].upper()}{ADVICE[1:]}.")
    if found.dags is not None:
        _dags(made, found.dags)
    signs = (("+", found.files.added), ("-", found.files.removed), ("~", found.files.changed))
    made.fold(files_headline(found), [f"- {code(sign)} {code(path)}" for sign, paths in signs for path in paths], 0)
    if found.dags is not None:
        _diagrams(made, found.dags)
    return "\n".join(made.lines)


def code(text: str) -> str:
    """``text`` as a code span of markdown, on one line."""
    shown = shorten(plain(text)) or "(empty)"
    runs = {len(run) for run in re.findall("`+", shown)}
    fence = "`" * next(length for length in range(1, len(runs) + 2) if length not in runs)
    # A backtick must not touch the fence; spaces on both sides lose one each, unless all is spaces (CommonMark 6.1).
    pad = " " if shown.strip(" ") and (shown[0] in " `" or shown[-1] in " `") else ""
    return f"{fence}{pad}{shown}{pad}{fence}"


class _Page:
    """Lines, up to a size."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._left = MOST_BYTES - RESERVE

    def write(self, text: str) -> bool:
        """Take ``text`` if it fits; whether it did."""
        size = len(text.encode("utf-8", "replace")) + 1
        if size > self._left:
            return False
        self._left -= size
        self.lines.append(text)
        return True

    def list(self, entries: Sequence[str]) -> None:
        """Take as many of ``entries`` as a third of the room holds, and count the others."""
        least = self._left * 2 // 3
        for index, entry in enumerate(entries):
            if self._left < least or not self.write(entry):
                self.lines.append(f"- … and {len(entries) - index} more, for which there is no room here")
                return

    def fold(self, title: str, entries: Sequence[str], most: int = FOLDED) -> None:
        """A list below a title, folded if it has more than ``most`` entries; nothing without any."""
        if not entries:
            return
        if len(entries) > most:
            self.lines.append(f"\n<details><summary>{title}</summary>\n")
            self.list(entries)
            self.lines.append("\n</details>")
        else:
            self.lines.append(f"\n**{title}**\n")
            self.list(entries)


def _dags(made: _Page, changes: DagChanges) -> None:
    made.fold("Changed", [_changed(dag) for dag in changes.changed])
    made.fold("Added", [f"- {code(dag.id)}: {described(dag, code)} ({code(dag.file)})" for dag in changes.added])
    made.fold("Removed", [f"- {code(dag.id)} ({code(dag.file)})" for dag in changes.removed])
    made.fold("Moved", [f"- {code(one.id)}: {code(one.before)} → {code(one.after)}" for one in changes.moved])


def _changed(dag: ChangedDag) -> str:
    said = list(phrases(dag, code))
    lines = [f"- {code(dag.after.id)} ({code(dag.after.file)})"]
    lines += [f"  - {_opened(phrase)}" for phrase in said[:MOST_PHRASES]]
    if len(said) > MOST_PHRASES:
        lines.append(f"  - … and {counted(len(said) - MOST_PHRASES, 'change')} more")
    return "\n".join(lines)


def _opened(phrase: str) -> str:
    """A phrase inside a list: its sign must not open another one."""
    return f"`{phrase[0]}` {phrase[2:]}" if phrase[:2] in ("+ ", "- ") else phrase


def _diagrams(made: _Page, changes: DagChanges) -> None:
    drawn = 0
    for dag in changes.changed[:MOST_DIAGRAMS]:
        chart = flowchart([drawing(dag)], MOST_OF_A_DIAGRAM)
        title = html.escape(shorten(plain(dag.after.id)))
        fold = f"\n<details><summary>Graph of <code>{title}</code></summary>\n"
        if not made.write(f"{fold}\n```mermaid\n{chart}\n```\n\n</details>"):
            break
        drawn += 1
    if drawn < len(changes.changed):
        made.lines.append(f"\n{counted(len(changes.changed) - drawn, 'more graph')}: `dagferry diff --format mermaid`")
