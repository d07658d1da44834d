"""What differs between two inventories, in DAGs.

1. A DAG is known by its id. With another file it has moved; whether it was renamed is never guessed: that is one DAG
   removed and one added. Where an id appears twice in an inventory, those of the same file belong together.
2. How long the import took is an observation of one machine: no DAG has changed because of it.
3. Order means nothing: DAGs, tasks and edges are compared as sets and told sorted.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from dagferry_schemas.inventory import DagFacts, TaskFacts

DAG_FIELDS: Final = ("schedule", "start", "catchup", "owners", "tags", "params", "dagrun_timeout")
TASK_FIELDS: Final = ("operator", "mapped", "owner", "email", "retries", "execution_timeout")

Edge = tuple[str, str]
"""From a task to one that waits for it, by their ids."""


@dataclass(frozen=True)
class FieldChange:
    """One field of a DAG or a task, by its name in the inventory, and its old and new value."""

    name: str
    before: Any
    after: Any


@dataclass(frozen=True)
class TaskChange:
    """One task that stayed, and what differs."""

    before: TaskFacts
    after: TaskFacts
    fields: tuple[FieldChange, ...]


@dataclass(frozen=True)
class MovedDag:
    """One DAG whose file is another one now."""

    id: str
    before: str
    after: str


@dataclass(frozen=True)
class ChangedDag:
    """One DAG that stayed, and what differs in it."""

    before: DagFacts
    after: DagFacts
    fields: tuple[FieldChange, ...]
    tasks_added: tuple[TaskFacts, ...]
    tasks_removed: tuple[TaskFacts, ...]
    tasks_changed: tuple[TaskChange, ...]
    edges_added: tuple[Edge, ...]
    edges_removed: tuple[Edge, ...]

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "id": self.after.id,
            "file": self.after.file,
            "fields": _fields_to_dict(self.fields),
            "tasks": {
                "added": [task.id for task in self.tasks_added],
                "removed": [task.id for task in self.tasks_removed],
                "changed": [{"id": one.after.id, "fields": _fields_to_dict(one.fields)} for one in self.tasks_changed],
            },
            "edges": {"added": list(map(list, self.edges_added)), "removed": list(map(list, self.edges_removed))},
        }


@dataclass(frozen=True)
class DagChanges:
    """What leads from one inventory to another, each part sorted by id. A DAG may have moved and changed."""

    added: tuple[DagFacts, ...] = ()
    removed: tuple[DagFacts, ...] = ()
    moved: tuple[MovedDag, ...] = ()
    changed: tuple[ChangedDag, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "added": [dag.to_dict() for dag in self.added],
            "removed": [dag.to_dict() for dag in self.removed],
            "moved": [{"id": one.id, "before": one.before, "after": one.after} for one in self.moved],
            "changed": [one.to_dict() for one in self.changed],
        }


def compare_dags(before: Sequence[DagFacts], after: Sequence[DagFacts]) -> DagChanges:
    """What leads from ``before`` to ``after``."""
    pairs = list(_pairs(before, after))
    stayed = [(old, new) for old, new in pairs if old is not None and new is not None]
    changes = [_changed(old, new) for old, new in stayed]
    return DagChanges(
        added=tuple(new for old, new in pairs if old is None and new is not None),
        removed=tuple(old for old, new in pairs if new is None and old is not None),
        moved=tuple(MovedDag(new.id, old.file, new.file) for old, new in stayed if old.file != new.file),
        changed=tuple(one for one in changes if one is not None),
    )


def edges(dag: DagFacts) -> frozenset[Edge]:
    """All edges of ``dag``, also those that name a task which the inventory does not have."""
    return frozenset((upstream, task.id) for task in dag.tasks for upstream in task.upstream)


def _pairs(before: Sequence[DagFacts], after: Sequence[DagFacts]) -> Iterator[tuple[DagFacts | None, DagFacts | None]]:
    old, new = _by_id(before), _by_id(after)
    for id_ in sorted({*old, *new}):
        was, is_ = old.get(id_, {}), new.get(id_, {})
        for file in sorted(set(was) & set(is_)):
            yield was[file], is_[file]
        left = [was[file] for file in sorted(set(was) - set(is_))]
        yield from zip_longest(left, [is_[file] for file in sorted(set(is_) - set(was))])


def _by_id(dags: Iterable[DagFacts]) -> dict[str, dict[str, DagFacts]]:
    found: dict[str, dict[str, DagFacts]] = {}
    for dag in dags:
        found.setdefault(dag.id, {})[dag.file] = dag
    return found


def _changed(before: DagFacts, after: DagFacts) -> ChangedDag | None:
    """What differs between two states of one DAG, or None."""
    old, new = ({task.id: task for task in dag.tasks} for dag in (before, after))
    old_edges, new_edges = edges(before), edges(after)
    found = ChangedDag(
        before,
        after,
        fields=_field_changes(before, after, DAG_FIELDS),
        tasks_added=tuple(new[id_] for id_ in sorted(set(new) - set(old))),
        tasks_removed=tuple(old[id_] for id_ in sorted(set(old) - set(new))),
        tasks_changed=tuple(_task_changes(old, new)),
        edges_added=tuple(sorted(new_edges - old_edges)),
        edges_removed=tuple(sorted(old_edges - new_edges)),
    )
    tasks = found.tasks_added or found.tasks_removed or found.tasks_changed
    return found if found.fields or tasks or found.edges_added or found.edges_removed else None


def _task_changes(old: dict[str, TaskFacts], new: dict[str, TaskFacts]) -> Iterator[TaskChange]:
    for id_ in sorted(set(old) & set(new)):
        changes = _field_changes(old[id_], new[id_], TASK_FIELDS)
        if changes:
            yield TaskChange(old[id_], new[id_], changes)


def _field_changes(before: object, after: object, names: Sequence[str]) -> tuple[FieldChange, ...]:
    pairs = ((name, getattr(before, name), getattr(after, name)) for name in names)
    return tuple(FieldChange(name, old, new) for name, old, new in pairs if _differs(old, new))


def _differs(old: object, new: object) -> bool:
    """Whether two values differ; params as JSON, because Python takes ``True`` for 1."""
    if isinstance(old, dict):
        return json.dumps(old, sort_keys=True) != json.dumps(new, sort_keys=True)
    return old != new


def _fields_to_dict(changes: Iterable[FieldChange]) -> dict[str, Any]:
    return {one.name: {"before": one.before, "after": one.after} for one in changes}
