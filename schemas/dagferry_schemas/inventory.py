"""The inventory: the DAGs of a version as Airflow saw them when the version was linted. It is part of the report.

It is an observation, in the environment that the report names: no digest that delivery depends on covers it. A reader
takes what it knows; fields that a newer dagferry adds are ignored.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from .fields import Fields, optional

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class TaskFacts:
    """One task: its id, the operator's class name, the ids right upstream (sorted), and what policies ask for.

    ``execution_timeout`` in seconds; ``email`` as a list, empty without one; ``mapped`` for dynamic task mapping.
    """

    id: str
    operator: str
    upstream: tuple[str, ...] = ()
    owner: str = ""
    email: tuple[str, ...] = ()
    retries: int | None = None
    execution_timeout: float | None = None
    mapped: bool = False

    @classmethod
    def read(cls, fields: Fields) -> TaskFacts:
        """The task in ``fields``. Raises `Malformed`."""
        return cls(
            id=fields.text("id"),
            operator=fields.text("operator"),
            upstream=fields.texts("upstream"),
            owner=fields.text("owner"),
            email=fields.texts("email"),
            retries=optional(fields, "retries", fields.integer),
            execution_timeout=optional(fields, "execution_timeout", fields.number),
            mapped=fields.flag("mapped"),
        )


@dataclass(frozen=True)
class DagFacts:
    """One DAG: ``file`` is its path in the tree, ``schedule`` Airflow's summary of it, ``start`` RFC 3339 or None.

    ``owners`` and ``tags`` are sorted. ``import_seconds`` is what the import of the file took; ``dagrun_timeout`` is in
    seconds. ``params`` are the defaults of its parameters, as JSON.
    """

    id: str
    file: str
    schedule: str | None = None
    start: str | None = None
    catchup: bool | None = None
    owners: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    params: Mapping[str, Any] = field(default_factory=dict)
    dagrun_timeout: float | None = None
    import_seconds: float = 0.0
    tasks: tuple[TaskFacts, ...] = ()

    @classmethod
    def read(cls, fields: Fields) -> DagFacts:
        """The DAG in ``fields``. Raises `Malformed`."""
        return cls(
            id=fields.text("id"),
            file=fields.text("file"),
            schedule=optional(fields, "schedule", fields.text),
            start=optional(fields, "start", fields.text),
            catchup=optional(fields, "catchup", fields.flag),
            owners=fields.texts("owners"),
            tags=fields.texts("tags"),
            params=fields.mapping("params"),
            dagrun_timeout=optional(fields, "dagrun_timeout", fields.number),
            import_seconds=fields.number("import_seconds"),
            tasks=tuple(map(TaskFacts.read, fields.children("tasks"))),
        )

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return asdict(self)


def read_inventory(report: Mapping[str, Any]) -> tuple[DagFacts, ...] | None:
    """The DAGs in a version's report, sorted by id; None if no Airflow saw them. Raises `Malformed`."""
    if report.get("dags") is None:
        return None
    found = map(DagFacts.read, Fields(report, "report").children("dags"))
    return tuple(sorted(found, key=lambda dag: (dag.id, dag.file)))
