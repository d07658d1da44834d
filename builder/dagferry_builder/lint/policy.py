"""The policy source: who owns a DAG, and what a site asks of its DAGs and tasks (`policy_rules` says what).

1. What Airflow saw decides (`Imported`); the source is asked only for what Airflow does not tell: where a thing is
   written, whether a value was said or is a default, and whether it moves.
2. One finding for a DAG and a rule; tasks that share a fault are named in it.
3. Where the source cannot know, nothing is found.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from . import policy_rules as rules
from .dag_policy import DAG_RULES, Subject
from .dag_source import Sources
from .finding import Rule, Severity, found
from .start_dates import may_move

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .checkout import Checkout
    from .finding import Finding
    from .imported import Imported
    from .settings import Settings

RULES: Final = rules.RULES
_LOOKUPS: Final = {"variable": rules.VARIABLE_AT_IMPORT, "connection": rules.CONNECTION_AT_IMPORT}


def check(checkout: Checkout, imported: Sequence[Imported], settings: Settings, airflow_version: str) -> list[Finding]:
    """What the policy in ``settings`` finds, by place. ``airflow_version`` is the one that ``imported`` is from."""
    asked = _Asked(checkout, settings)
    sources = Sources(checkout)
    findings = set(_moving_start_dates(asked, sources, imported))
    for one in imported:
        findings.update(_lookups(asked, one))
        findings.update(_dags(asked, sources, one, airflow_version))
    return sorted(findings)


@dataclass(frozen=True)
class _Asked:
    """Which rules are asked at which path of the tree."""

    checkout: Checkout
    settings: Settings

    def origin(self, path: str) -> str:
        file = self.checkout.files.get(path)
        return file.origin if file else path

    def has(self, rule: Rule, path: str) -> bool:
        return self.settings.severity_of(rule, self.origin(path)) is not Severity.OFF

    def by_name(self, path: str) -> frozenset[str]:
        """The rules with a parameter to assume that the configuration switches on at ``path`` by their names."""
        silent = (replace(rule, severity=Severity.OFF) for rule in (rules.MISSING_TAGS, rules.MISSING_RETRIES))
        return frozenset(rule.id for rule in silent if self.has(rule, path))


def _dags(asked: _Asked, sources: Sources, one: Imported, airflow_version: str) -> Iterator[Finding]:
    for dag in one.dags:
        path = dag.file
        subject = Subject(
            dag=dag,
            reads=one.reads,
            policy=asked.settings.policy_for(asked.origin(path)),
            switched_on=asked.by_name(path),
            owners_asked=asked.has(rules.UNKNOWN_OWNER, path),
            sources=sources,
            airflow_2=re.match(r"2\.", airflow_version) is not None,
        )
        for rule, ask in DAG_RULES:
            if asked.has(rule, path) and (fault := ask(subject)):
                task = next(iter(fault.tasks), None)
                line = sources.task_line(dag, task) if task is not None else sources.dag_line(dag)
                yield found(rule, path, f"DAG {dag.id!r}: {fault.said}", line=line, hint=fault.hint)


def _lookups(asked: _Asked, one: Imported) -> Iterator[Finding]:
    for lookup in one.lookups:
        rule = _LOOKUPS.get(lookup.kind.lower())
        known = lookup.path in asked.checkout.files
        path, line = (lookup.path, lookup.line) if known else (one.path, 0)
        if rule is not None and asked.has(rule, path):
            yield found(rule, path, f"{lookup.kind.capitalize()} {lookup.name!r} is read at import", line=line)


def _moving_start_dates(asked: _Asked, sources: Sources, imported: Sequence[Imported]) -> Iterator[Finding]:
    rule = rules.DYNAMIC_START_DATE
    for path in _python_of_dags(asked.checkout, imported):
        if not asked.has(rule, path) or not may_move(asked.checkout.read(path)):
            continue
        look = sources.look(path)
        for one in look.moving if look else ():
            yield found(rule, path, f"start_date moves with each import: {one.because}", line=one.line)


def _python_of_dags(checkout: Checkout, imported: Sequence[Imported]) -> list[str]:
    """The Python sources that DAGs come from: what was imported, or without an Airflow, what speaks of it."""
    if not imported:
        return [path for path in checkout.python_files() if b"airflow" in checkout.read(path).lower()]
    paths = dict.fromkeys(path for one in imported for path in (one.path, *one.reads))
    return [path for path in paths if path.endswith(".py") and path in checkout.files]
