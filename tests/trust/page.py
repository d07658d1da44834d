"""docs/trust-tests.md: the data of `attacks` as tables. ``python -m tests.trust.page`` writes it anew."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from .attacks import ATTACKS, ELSEWHERE, HARMLESS, OUT_OF_SCOPE

TOP: Final = Path(__file__).resolve().parents[2]
PAGE: Final = TOP / "docs/trust-tests.md"
INTRODUCTION: Final = """\
# What is tried against signatures

Each attack of these tables is carried out by a test, on a store that the thief can write to as they like and a pod
that has a keyring (`tests/trust`). Each has to leave the tree that Airflow reads, the link and the pod's memory as they
were; the pull ends with the error code, `status` shows it as the last error, the pod stays ready, also after a restart
of the agent, and the next honest record is delivered once the store is put right. The numbers are those of the rules
in `schemas/dagferry_schemas/trust.py`.

Whoever can write to the store can always keep pods from something new, by removing it; what they cannot do is to
make a pod read anything that was not vouched for.
"""


def rendered() -> str:
    """The page."""
    lines = [INTRODUCTION]
    for chapter in dict.fromkeys(attack.chapter for attack in ATTACKS):
        lines += [f"## {chapter}", "", "| attack | what answers it | error code |", "| --- | --- | --- |"]
        lines += [f"| {one.name} | {one.answer} | `{one.code}` |" for one in ATTACKS if one.chapter == chapter]
        lines.append("")
    for title, head, rows in (
        ("What changes nothing", "what a thief does", [(name,) for name in HARMLESS]),
        ("Carried out elsewhere", "attack | test", [(name, f"`{test}`") for name, test in ELSEWHERE.items()]),
        ("Out of scope", "who | what happens then", list(OUT_OF_SCOPE.items())),
    ):
        columns = head.count("|") + 1
        lines += [f"## {title}", "", f"| {head} |", "| --- " * columns + "|"]
        lines += [f"| {' | '.join(row)} |" for row in rows]
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(rendered())
