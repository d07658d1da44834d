"""What a real Airflow said of one DAG file: the form in which the probe reports, and in which results are cached."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dagferry_schemas.inventory import DagFacts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dagferry_schemas.fields import Fields


@dataclass(frozen=True)
class Problem:
    """A finding of the probe: the rule's id, a path in the tree, a line (0: none known), and what was seen."""

    rule: str
    path: str
    line: int
    message: str
    hint: str = ""


@dataclass(frozen=True)
class Lookup:
    """A Variable or Connection that was read while the file was imported: its name, and where in the tree."""

    kind: str
    name: str
    path: str
    line: int


@dataclass(frozen=True)
class Imported:
    """One DAG file after its import.

    ``seconds`` is what the import took. ``reads`` are the files of the tree that were opened or imported on the way,
    ``searched`` the names of modules that were looked for and not found anywhere. ``digests`` has for each DAG id the
    digests of its structure (ids and edges) and of its whole definition. ``skipped``: Airflow's safe mode passes the
    file over.
    """

    path: str
    seconds: float = 0.0
    problems: tuple[Problem, ...] = ()
    dags: tuple[DagFacts, ...] = ()
    lookups: tuple[Lookup, ...] = ()
    reads: tuple[str, ...] = ()
    searched: tuple[str, ...] = ()
    digests: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    skipped: bool = False

    @classmethod
    def read(cls, fields: Fields) -> Imported:
        """The report in ``fields``. Raises `Malformed`."""
        return cls(
            path=fields.text("path"),
            seconds=fields.number("seconds"),
            problems=tuple(map(_problem, fields.children("problems"))),
            dags=tuple(map(DagFacts.read, fields.children("dags"))),
            lookups=tuple(map(_lookup, fields.children("lookups"))),
            reads=fields.texts("reads"),
            searched=fields.texts("searched"),
            digests={name: _pair(value) for name, value in fields.mapping("digests").items()},
            skipped=fields.flag("skipped"),
        )


def _problem(fields: Fields) -> Problem:
    return Problem(
        fields.text("rule"),
        fields.text("path"),
        fields.integer("line"),
        fields.text("message"),
        fields.text("hint"),
    )


def _lookup(fields: Fields) -> Lookup:
    return Lookup(fields.text("kind"), fields.text("name"), fields.text("path"), fields.integer("line"))


def _pair(value: Any) -> tuple[str, str]:  # noqa: ANN401 (JSON is dynamic)
    structure, definition = value
    return str(structure), str(definition)
