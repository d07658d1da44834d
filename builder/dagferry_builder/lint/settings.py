"""How lint is configured: the table ``[lint]`` of the config file, or of a policy file from outside the repository.

It is read from the commit that is linted. A policy file (``--policy``) replaces the table as a whole, and what stands
inside the repository cannot weaken it then: neither its table, nor its baseline, nor comments that suppress findings
(unless the policy lets them).
"""

from __future__ import annotations

import difflib
import fnmatch
import re
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Final, NoReturn

from dagferry_schemas.errors import Usage

from .finding import Severity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from .finding import Finding, Rule


@dataclass(frozen=True)
class Team:
    """A team that may own DAGs: the names of its owners and its mail addresses (or ``*@example.com``)."""

    owners: tuple[str, ...] = ()
    emails: tuple[str, ...] = ()


@dataclass(frozen=True)
class Policy:
    """The parameters of the policy rules. What is empty or None is not asked.

    ``teams`` by name. ``allowed_operators`` and ``forbidden_operators`` are class names, with ``*``; ``dag_id`` and
    ``task_id`` are patterns that whole ids have to match; ``min_retries`` is a number of tries after the first.
    """

    teams: Mapping[str, Team] = field(default_factory=dict)
    required_tags: tuple[str, ...] = ()
    allowed_operators: tuple[str, ...] = ()
    forbidden_operators: tuple[str, ...] = ()
    dag_id: str | None = None
    task_id: str | None = None
    min_retries: int | None = None


@dataclass(frozen=True)
class Override:
    """Other severities and policy parameters for the files whose path in the repository matches one of ``paths``.

    ``*`` in a pattern matches everything, ``/`` too. ``policy`` holds the parameters that the override sets.
    """

    paths: tuple[str, ...]
    severity: Mapping[str, Severity] = field(default_factory=dict)
    policy: Mapping[str, Any] = field(default_factory=dict)

    def concerns(self, path: str) -> bool:
        """Whether the override is for ``path``."""
        return any(fnmatch.fnmatchcase(path, pattern) for pattern in self.paths)


@dataclass(frozen=True)
class Settings:
    """Everything that configures lint. Sizes in mebibytes, times in seconds, shares between 0 and 1.

    ``python``: the interpreter that has production's Airflow, or a command prefix. ``suppressions``: whether comments
    may suppress findings, or the rules for which they may. ``locked``: the settings come from outside the repository.
    """

    python: str | None = None
    airflow_version: str | None = None
    python_version: str | None = None
    require_airflow: bool = False
    import_timeout: float = 30.0
    import_budget: float = 5.0
    memory_mb: int = 1024
    allow_network: bool = False
    file_mb: float = 10.0
    bundle_mb: float = 100.0
    vanished_share: float = 0.5
    baseline: str | None = None
    suppressions: bool | tuple[str, ...] = True
    severity: Mapping[str, Severity] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    connections: Mapping[str, str] = field(default_factory=dict)
    policy: Policy = field(default_factory=Policy)
    overrides: tuple[Override, ...] = ()
    locked: bool = False

    def severity_of(self, rule: Rule, path: str = "") -> Severity:
        """How bad a finding of ``rule`` is at ``path`` (in the repository). The last override that names it decides.

        A rule is named by its id or by the beginning of a ruff code (``AIR3``); the longest name wins.
        """
        for override in reversed(self.overrides):
            if path and override.concerns(path) and (given := _named(override.severity, rule.id)) is not None:
                return given
        given = _named(self.severity, rule.id)
        return rule.severity if given is None else given

    def judge(self, rule: Rule, finding: Finding) -> Finding:
        """``finding`` with the severity that its place gives it; its path is in the repository."""
        return replace(finding, severity=self.severity_of(rule, finding.path))

    def policy_for(self, path: str) -> Policy:
        """The policy's parameters for the file at ``path`` in the repository."""
        policy = self.policy
        for override in self.overrides:
            if override.concerns(path):
                policy = replace(policy, **override.policy)
        return policy

    def may_suppress(self, rule: str) -> bool:
        """Whether a comment may suppress findings of ``rule``."""
        return self.suppressions if isinstance(self.suppressions, bool) else rule in self.suppressions


_RUFF_CODE: Final = re.compile(r"[A-Z]+[0-9]*")


def _named(severities: Mapping[str, Severity], rule: str) -> Severity | None:
    if rule in severities:
        return severities[rule]
    if not _RUFF_CODE.fullmatch(rule):
        return None
    prefixes = sorted((name for name in severities if rule.startswith(name)), key=len)
    return severities[prefixes[-1]] if prefixes else None


def read_settings(table: Mapping[str, Any], what: str, known_rules: frozenset[str], *, locked: bool) -> Settings:
    """The settings in the table ``[lint]``; ``what`` names it in messages. Raises `Usage`.

    ``known_rules`` are the ids that severities may be given to, besides beginnings of ruff codes. With ``locked`` the
    table comes from outside the repository, and comments suppress nothing unless it says so.
    """
    return _Reader(what, known_rules).settings(table, locked=locked)


def _nearest(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else ""


class _Reader:
    """Reads one table, strictly: an unknown key or a value of another type is refused with its place."""

    def __init__(self, what: str, known_rules: frozenset[str]) -> None:
        self._what = what
        self._known_rules = known_rules

    def settings(self, table: Mapping[str, Any], *, locked: bool) -> Settings:
        readers: dict[str, Callable[[Any, str], Any]] = {
            "python": self._text,
            "airflow_version": self._version,
            "python_version": self._version,
            "require_airflow": self._flag,
            "import_timeout": self._positive,
            "import_budget": self._positive,
            "memory_mb": self._count,
            "allow_network": self._flag,
            "file_mb": self._positive,
            "bundle_mb": self._positive,
            "vanished_share": self._share,
            "baseline": self._text,
            "suppressions": self._flag_or_rules,
            "severity": self._severities,
            "variables": self._texts_by_name,
            "connections": self._texts_by_name,
            "policy": self._policy,
            "overrides": self._overrides,
        }
        values = self._table(table, "lint", readers)
        values.setdefault("suppressions", not locked)
        return Settings(**values, locked=locked)

    def _table(self, table: object, place: str, readers: Mapping[str, Callable[[Any, str], Any]]) -> dict[str, Any]:
        if not isinstance(table, dict):
            self._refuse(place, "expected a table")
        for key in table:
            if key not in readers:
                hint = _nearest(key, readers) or "known keys: " + ", ".join(sorted(readers))
                raise Usage(f"{self._what}: unknown key {place}.{key}", hint, code="unknown_key")
        return {key: readers[key](value, f"{place}.{key}") for key, value in table.items()}

    def _refuse(self, place: str, problem: str) -> NoReturn:
        raise Usage(f"{self._what}: {place}: {problem}", 'see docs/lint.md, "Configuration"', code="usage")

    def _text(self, value: object, place: str) -> str:
        if not isinstance(value, str) or not value.strip():
            self._refuse(place, "expected a text")
        return value

    def _flag(self, value: object, place: str) -> bool:
        if not isinstance(value, bool):
            self._refuse(place, "expected true or false")
        return value

    def _positive(self, value: object, place: str) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1e9:
            self._refuse(place, "expected a number above 0")
        return float(value)

    def _count(self, value: object, place: str) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 10**9:
            self._refuse(place, "expected a whole number, 0 or more")
        return value

    def _share(self, value: object, place: str) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
            self._refuse(place, "expected a share between 0 and 1")
        return float(value)

    def _version(self, value: object, place: str) -> str:
        if not isinstance(value, str) or not re.fullmatch(r"\d+\.\d+(\.\d+)?", value):
            self._refuse(place, 'expected a version such as "3.3"')
        return value

    def _pattern(self, value: object, place: str) -> str:
        text = self._text(value, place)
        try:
            re.compile(text)
        except re.error as error:
            self._refuse(place, f"not a regular expression: {error}")
        return text

    def _texts(self, value: object, place: str) -> tuple[str, ...]:
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            self._refuse(place, "expected a list of texts")
        return tuple(value)

    def _texts_by_name(self, value: object, place: str) -> dict[str, str]:
        if not isinstance(value, dict) or not all(isinstance(one, str) for one in value.values()):
            self._refuse(place, "expected a table of texts")
        return dict(value)

    def _rule(self, name: str, place: str) -> None:
        if name not in self._known_rules and not _RUFF_CODE.fullmatch(name):
            near = _nearest(name, self._known_rules) or "`dagferry lint --explain all` lists them"
            raise Usage(f"{self._what}: {place}: there is no rule {name!r}", near)

    def _flag_or_rules(self, value: object, place: str) -> bool | tuple[str, ...]:
        if isinstance(value, bool):
            return value
        for name in self._texts(value, place):
            self._rule(name, place)
        return self._texts(value, place)

    def _severities(self, value: object, place: str) -> dict[str, Severity]:
        texts = self._texts_by_name(value, place)
        for name, severity in texts.items():
            self._rule(name, place)
            if severity not in {one.value for one in Severity}:
                self._refuse(f"{place}.{name}", f"expected error, warning, note or off, found {severity!r}")
        return {name: Severity(severity) for name, severity in texts.items()}

    def _policy_values(self, value: object, place: str) -> dict[str, Any]:
        return self._table(
            value,
            place,
            {
                "teams": self._teams,
                "required_tags": self._texts,
                "allowed_operators": self._texts,
                "forbidden_operators": self._texts,
                "dag_id": self._pattern,
                "task_id": self._pattern,
                "min_retries": self._count,
            },
        )

    def _policy(self, value: object, place: str) -> Policy:
        return Policy(**self._policy_values(value, place))

    def _teams(self, value: object, place: str) -> dict[str, Team]:
        if not isinstance(value, dict):
            self._refuse(place, "expected a table of teams")
        readers = {"owners": self._texts, "emails": self._texts}
        return {name: Team(**self._table(team, f"{place}.{name}", readers)) for name, team in value.items()}

    def _overrides(self, value: object, place: str) -> tuple[Override, ...]:
        if not isinstance(value, list):
            self._refuse(place, "write [[lint.overrides]]")
        readers = {"paths": self._texts, "severity": self._severities, "policy": self._policy_values}
        found = []
        for index, one in enumerate(value):
            values = self._table(one, f"{place}[{index}]", readers)
            if not values.get("paths"):
                self._refuse(f"{place}[{index}].paths", 'missing; for example paths = ["team_a/*"]')
            found.append(Override(**values))
        return tuple(found)


KEYS: Final = frozenset(one.name for one in fields(Settings)) - {"locked"}
"""The keys of the table ``[lint]``."""
POLICY_KEYS: Final = frozenset(one.name for one in fields(Policy))
