"""What a run of lint comes to: every output format says the same facts, from this one value."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from .finding import Severity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dagferry_schemas.inventory import DagFacts

    from .finding import Finding


@dataclass(frozen=True)
class Environment:
    """The Airflow that imported the DAG files: its version, its Python's, and how it was started."""

    airflow: str
    python: str
    command: str


@dataclass(frozen=True)
class Checked:
    """What was looked at: files of the tree, DAG files that Airflow imported, and DAGs it found in them.

    ``environment`` is None if no Airflow took part; ``cached`` counts DAG files whose result an earlier run had.
    """

    files: int
    dag_files: int = 0
    dags: int = 0
    cached: int = 0
    environment: Environment | None = None


@dataclass(frozen=True)
class Result:
    """A run of lint on the commit ``commit`` of a bundle.

    ``findings`` are sorted by place. ``suppressed`` and ``baselined`` count those that a comment or the baseline
    took out. ``lines`` has the source line of each finding that has one, by (path, line), for people to see.
    """

    bundle: str
    commit: str
    findings: tuple[Finding, ...]
    checked: Checked
    seconds: float
    inventory: tuple[DagFacts, ...] | None = None
    suppressed: int = 0
    baselined: int = 0
    lines: Mapping[tuple[str, int], str] = field(default_factory=dict)

    def count(self, severity: Severity) -> int:
        """How many findings are that bad."""
        return sum(finding.severity is severity for finding in self.findings)

    @property
    def passed(self) -> bool:
        """Whether nothing stands against publishing the version."""
        return not self.count(Severity.ERROR)

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "bundle": self.bundle,
            "commit": self.commit,
            "findings": [finding.to_dict() for finding in self.findings],
            "checked": asdict(self.checked),
            "suppressed": self.suppressed,
            "baselined": self.baselined,
            "seconds": round(self.seconds, 3),
        }
