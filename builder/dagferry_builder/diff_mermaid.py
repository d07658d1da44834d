"""Changed and new DAGs as mermaid flowcharts, for GitHub and others that draw them.

1. A node's id is a number of ours; ids and operators of the repository stand in quoted labels only, every character of
   theirs that is not a letter, a digit or one of ``_`` and space as mermaid's ``#code;``. So nothing in them is syntax,
   neither mermaid's nor markdown's nor HTML.
2. What changed is said in words in the label, so that colours are not needed.
3. A diagram that is too large is not drawn at all by GitHub: it has at most `MOST_CHARACTERS` and `MOST_EDGES`. Of a
   large DAG those tasks are shown that changed, and their neighbours; then fewer of them; a node says what is missing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dagferry_schemas.commandline import plain

from .dag_diff import ChangedDag, Edge, edges
from .diff_words import counted, shorten

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from dagferry_schemas.inventory import DagFacts, TaskFacts

    from .comparison import Comparison

MOST_CHARACTERS: Final = 48_000
"""Mermaid's ``maxTextSize`` is 50,000."""
MOST_EDGES: Final = 480
"""Mermaid's ``maxEdges`` is 500."""
WHOLE: Final = 60
"""Tasks up to which a DAG is drawn whole."""
_FEWER: Final = (200, 100, 50, 25, 12, 6, 3, 1)
_LABEL: Final = 60
_STYLES: Final = (
    "classDef added fill:#dafbe1,stroke:#1a7f37,stroke-width:2px,color:#1f2328",
    "classDef removed fill:#ffebe9,stroke:#cf222e,stroke-width:2px,stroke-dasharray:5 3,color:#1f2328",
    "classDef changed fill:#fff8c5,stroke:#9a6700,stroke-width:2px,color:#1f2328",
    "classDef note fill:none,stroke:none",
)
_ARROWS: Final = {"": "-->", "added": "==>|added|", "removed": "-.->|removed|"}


@dataclass(frozen=True)
class Drawing:
    """One DAG as it is drawn: its tasks with a mark (added, removed, changed or none), and its edges likewise."""

    title: str
    tasks: tuple[tuple[TaskFacts, str], ...]
    edges: tuple[tuple[Edge, str], ...]


def diagram(found: Comparison) -> str:
    """One flowchart of all changed and new DAGs, each in a frame with its name."""
    if found.dags is None:
        missing = "; ".join(f"{version} has no inventory: {why}" for version, why in found.unknown.items())
        return _said(f"DAGs not known; {missing}", most=400)
    drawings = [*map(drawing, found.dags.changed), *map(drawing, found.dags.added)]
    return flowchart(drawings, framed=True) if drawings else _said("no DAG was added or changed")


def drawing(dag: ChangedDag | DagFacts) -> Drawing:
    """What is drawn of a changed DAG, or of a new one."""
    if not isinstance(dag, ChangedDag):
        return Drawing(dag.id, tuple((task, "added") for task in dag.tasks), _marked(edges(dag), "added"))
    added = {task.id for task in dag.tasks_added}
    changed = {one.after.id for one in dag.tasks_changed}
    tasks = [
        (task, "added" if task.id in added else "changed" if task.id in changed else "") for task in dag.after.tasks
    ]
    tasks += [(task, "removed") for task in dag.tasks_removed]
    kept = edges(dag.after) - set(dag.edges_added)
    marked = (*_marked(kept), *_marked(dag.edges_added, "added"), *_marked(dag.edges_removed, "removed"))
    return Drawing(dag.after.id, tuple(tasks), marked)


def flowchart(drawings: Sequence[Drawing], most: int = MOST_CHARACTERS, *, framed: bool = False) -> str:
    """One flowchart of at most ``most`` characters, with a frame around each DAG; what finds no room is counted."""
    shown = len(drawings)
    while True:
        for fewer in (None, *_FEWER):
            lines = _flowchart(drawings[:shown], fewer, len(drawings) - shown, framed)
            text = _within(lines, most)
            if text is not None:
                return text
        shown //= 2


def _within(lines: Iterable[str], most: int) -> str | None:
    """The lines, unless they are too many; then no more of them are made than is needed to know."""
    taken, size, arrows = [], 0, 0
    for line in lines:
        taken.append(line)
        size += len(line) + 1
        arrows += any(arrow in line for arrow in _ARROWS.values())
        if size > most or arrows > MOST_EDGES:
            return None
    return "\n".join(taken)


def label(text: str, most: int = _LABEL) -> str:
    """``text`` for a quoted label of mermaid."""
    shown = shorten(plain(text), most)
    return "".join(one if one.isalnum() or one in "_ " else f"#{ord(one)};" for one in shown)


def _said(text: str, most: int = _LABEL) -> str:
    return f'flowchart LR\n    n1["{label(text, most)}"]'


def _marked(found: frozenset[Edge] | tuple[Edge, ...], mark: str = "") -> tuple[tuple[Edge, str], ...]:
    return tuple((edge, mark) for edge in sorted(found))


def _flowchart(drawings: Sequence[Drawing], fewer: int | None, left_out: int, framed: bool) -> Iterator[str]:
    yield "flowchart LR"
    names: dict[str, list[str]] = {mark: [] for mark in ("added", "removed", "changed", "note")}
    for number, one in enumerate(drawings, 1):
        if framed:
            yield f'    subgraph d{number}["{label(one.title)}"]'
            yield "    direction LR"
        yield from _dag(one, f"d{number}t", fewer, names)
        if framed:
            yield "    end"
    if left_out:
        yield _note("left", f"{counted(left_out, 'more DAG')} not drawn", names)
    yield from (f"    {style}" for style in _STYLES if names[style.split()[1]])
    yield from (f"    class {','.join(members)} {mark}" for mark, members in names.items() if members)


def _dag(one: Drawing, prefix: str, fewer: int | None, names: dict[str, list[str]]) -> Iterator[str]:
    tasks = _focus(one, fewer)
    ids = {task.id: f"{prefix}{number}" for number, (task, _) in enumerate(tasks, 1)}
    for task, mark in tasks:
        said = "<br/>".join(filter(None, (label(task.id), label(task.operator), mark)))
        yield f'    {ids[task.id]}["{said}"]'
        if mark:
            names[mark].append(ids[task.id])
    for (up, down), mark in one.edges:
        if up in ids and down in ids:
            yield f"    {ids[up]} {_ARROWS[mark]} {ids[down]}"
    missing = len(one.tasks) - len(tasks)
    if missing or not tasks:
        said = f"{counted(missing, 'more task')} not drawn" if missing else "no tasks"
        yield _note(f"{prefix}0", said, names)


def _note(name: str, text: str, names: dict[str, list[str]]) -> str:
    names["note"].append(name)
    return f'    {name}["{label(text)}"]'


def _focus(one: Drawing, fewer: int | None) -> tuple[tuple[TaskFacts, str], ...]:
    """The tasks that are drawn: all of a small DAG; else what changed and its neighbours, at most ``fewer``."""
    if fewer is None and len(one.tasks) <= WHOLE:
        return one.tasks
    changed = {task.id for task, mark in one.tasks if mark}
    changed |= {name for edge, mark in one.edges if mark for name in edge}
    near = {name for edge, _ in one.edges if changed & set(edge) for name in edge}
    rank = {True: 0, False: 1}
    ordered = sorted(one.tasks, key=lambda task: (rank[task[0].id in changed], rank[task[0].id in near]))
    wanted = [task for task in ordered if task[0].id in changed | near] or ordered
    return tuple(wanted[:fewer] if fewer is not None else wanted)
