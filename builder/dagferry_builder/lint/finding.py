"""What lint finds: a finding names a rule and a place; a rule has a severity that the configuration may change.

A rule's id is stable: it stands in configurations, suppressions and baselines of users. Ids of our own are words with
hyphens; findings of ruff keep ruff's codes (``F821``), because that is what people look up.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any


class Severity(str, Enum):
    """How bad a finding is. An ``error`` refuses the version; ``off`` means that the rule is not asked."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"
    OFF = "off"


@dataclass(frozen=True)
class Rule:
    """One thing that lint looks for.

    ``title`` says the fault in a few words, ``explanation`` is a paragraph on what it does in production and why,
    ``hint`` the way to mend it. ``source`` is the part of lint that finds it: files, python, airflow, policy, live or
    lint itself.
    """

    id: str
    source: str
    severity: Severity
    title: str
    explanation: str
    hint: str


@dataclass(frozen=True, order=True)
class Finding:
    """One fault at one place.

    ``path`` is below the bundle's root when a source returns it, and below the top of the repository in a result; it
    is empty for what concerns the bundle as a whole. Lines and columns count from 1; 0 means that none is known.
    """

    path: str
    line: int
    column: int
    rule: str
    message: str
    hint: str = field(default="", compare=False)
    severity: Severity = field(default=Severity.ERROR, compare=False)
    end_line: int = field(default=0, compare=False)
    end_column: int = field(default=0, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """The JSON form; a line or column that is not known is null."""
        return {
            "rule": self.rule,
            "severity": self.severity.value,
            "path": self.path,
            "line": self.line or None,
            "column": self.column or None,
            "end_line": self.end_line or None,
            "end_column": self.end_column or None,
            "message": self.message,
            "hint": self.hint,
        }


def found(rule: Rule, path: str, message: str, *, line: int = 0, column: int = 0, hint: str = "") -> Finding:
    """A finding of ``rule``, with the rule's severity, and its hint unless there is a better one."""
    return Finding(path, line, column, rule.id, message, hint or rule.hint, rule.severity)
