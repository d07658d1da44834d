"""The words for what changed in DAGs, the same in text and in markdown.

Whatever comes from the repository goes through ``quote``, which the form of the output hands in; what stands around it
is our own. Long values are cut: a diff says what differs, the inventory has it whole.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dagferry_schemas.inventory import DagFacts, TaskFacts

    from .comparison import Comparison
    from .dag_diff import ChangedDag, FieldChange

    Quote = Callable[[str], str]

LONGEST: Final = 160
"""Characters of a value or a name that are shown."""
_NAMES: Final = {"dagrun_timeout": "timeout of a run", "execution_timeout": "timeout"}
_SECONDS: Final = {"dagrun_timeout", "execution_timeout"}


def shorten(text: str, most: int = LONGEST) -> str:
    """``text``, or as much of it as fits into ``most`` characters and a mark."""
    return text if len(text) <= most else text[: most - 1] + "…"


def counted(number: int, what: str) -> str:
    """``1 task``, ``2 tasks``."""
    return f"{number} {what}" + ("" if number == 1 else "s")


def headline(found: Comparison) -> str:
    """How many DAGs changed, and how."""
    if found.dags is None:
        return "DAGs: not known"
    counts = {name: len(getattr(found.dags, name)) for name in ("added", "removed", "moved", "changed")}
    said = [f"{count} {name}" for name, count in counts.items() if count]
    return "DAGs: " + (", ".join(said) or "the same ids, tasks, edges and settings")


def files_headline(found: Comparison) -> str:
    """How many files changed, and how."""
    counts = {name: len(getattr(found.files, name)) for name in ("added", "removed", "changed")}
    said = [f"{count} {name}" for name, count in counts.items() if count]
    return "files: " + (", ".join(said) or "nothing changed")


def described(dag: DagFacts, quote: Quote) -> str:
    """A DAG that is new: what one wants to know of it in half a line."""
    owners = f", owned by {quote(', '.join(dag.owners))}" if dag.owners else ""
    return f"schedule {_value('schedule', dag.schedule, quote)}, {counted(len(dag.tasks), 'task')}{owners}"


def phrases(dag: ChangedDag, quote: Quote) -> Iterator[str]:
    """What changed in a DAG, one phrase for each thing."""
    for change in dag.fields:
        yield from _params(change, quote) if change.name == "params" else [_field(change, quote)]
    for task in dag.tasks_added:
        after = f" after {', '.join(map(quote, task.upstream))}" if task.upstream else ""
        yield f"+ task {_task(task, quote)}{after}"
    for task in dag.tasks_removed:
        yield f"- task {_task(task, quote)}"
    for one in dag.tasks_changed:
        yield from (f"task {quote(one.after.id)}: {_field(change, quote)}" for change in one.fields)
    # A new task was told with what it waits for, and a removed one took its edges along.
    new = {task.id for task in dag.tasks_added}
    gone = {task.id for task in dag.tasks_removed}
    yield from (f"+ edge {quote(up)} -> {quote(down)}" for up, down in dag.edges_added if down not in new)
    yield from (f"- edge {quote(up)} -> {quote(down)}" for up, down in dag.edges_removed if not {up, down} & gone)


def _task(task: TaskFacts, quote: Quote) -> str:
    return f"{quote(task.id)} ({quote(task.operator)}{', mapped' if task.mapped else ''})"


def _field(change: FieldChange, quote: Quote) -> str:
    before, after = (_value(change.name, value, quote) for value in (change.before, change.after))
    return f"{_NAMES.get(change.name, change.name)} {before} -> {after}"


def _params(change: FieldChange, quote: Quote) -> Iterator[str]:
    before, after = change.before, change.after
    for name in sorted({*before, *after}):
        if name not in before:
            yield f"+ param {quote(name)} = {quote(_json(after[name]))}"
        elif name not in after:
            yield f"- param {quote(name)}"
        elif _json(before[name]) != _json(after[name]):
            yield f"param {quote(name)} {quote(_json(before[name]))} -> {quote(_json(after[name]))}"


def _value(name: str, value: Any, quote: Quote) -> str:  # noqa: ANN401 (JSON is dynamic)
    if value is None or value in ("", (), []):
        return "none"
    if isinstance(value, bool):
        return "on" if value else "off"
    if name in _SECONDS:
        return f"{value:.15g} s"
    if isinstance(value, (list, tuple)):
        return quote(", ".join(value))
    return quote(str(value))


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)
