"""What policies ask of one DAG: a function for each rule, which returns the fault or None."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from . import policy_rules as rules

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from dagferry_schemas.inventory import DagFacts, TaskFacts

    from .dag_source import Sources
    from .finding import Rule
    from .settings import Policy

SHOWN: Final = 5
"""The most tasks that one finding names."""
DEFAULT_OWNER: Final = "airflow"
_NEVER: Final = frozenset({"", "None", "PartitionedAtRuntime"})
_BY_ASSETS: Final = re.compile(r"(Partitioned )?Asset(\(.*)?|Dataset(\(.*)?", re.DOTALL)
_NO_INTERVALS: Final = frozenset({"@once", "@continuous"})
"""What Airflow calls schedules that never run, that wait for others' data, and that have no intervals to catch up."""
_EMPTY: Final = frozenset({"EmptyOperator", "DummyOperator"})


@dataclass(frozen=True)
class Subject:
    """A DAG, what was read while its file was imported, and what is asked of it.

    ``switched_on`` has the ids of rules that the configuration gives a severity itself, so that they are asked without
    their parameter too; ``owners_asked`` is whether `unknown-owner` is asked here.
    """

    dag: DagFacts
    reads: Sequence[str]
    policy: Policy
    switched_on: frozenset[str]
    owners_asked: bool
    sources: Sources
    airflow_2: bool

    @property
    def working_tasks(self) -> list[TaskFacts]:
        """The tasks that do something."""
        return [task for task in self.dag.tasks if task.operator not in _EMPTY]

    @property
    def known_owners(self) -> list[str]:
        """The owners that teams have."""
        return sorted({owner for team in self.policy.teams.values() for owner in team.owners})

    @property
    def known_emails(self) -> list[str]:
        """The mail addresses that teams have, or patterns of them."""
        return sorted({email for team in self.policy.teams.values() for email in team.emails})

    def says(self, word: str) -> bool | None:
        """Whether the sources use the word; None if that cannot be known."""
        return self.sources.says(self.dag, self.reads, word)


@dataclass(frozen=True)
class Fault:
    """What is wrong, with the tasks that share it; and a better hint than the rule's, if there is one."""

    said: str
    tasks: tuple[str, ...] = ()
    hint: str = ""


def _with_tasks(said: str, tasks: Iterable[str], hint: str = "") -> Fault:
    ids = tuple(tasks)
    if not ids:
        return Fault(said, hint=hint)
    more = f" and {len(ids) - SHOWN} more" if len(ids) > SHOWN else ""
    return Fault(f"{said} ({'task' if len(ids) == 1 else 'tasks'} {', '.join(ids[:SHOWN])}{more})", ids, hint)


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names))


def _owners(text: str) -> list[str]:
    return [owner for one in text.split(",") if (owner := one.strip())]


def _all_owners(dag: DagFacts) -> list[str]:
    return sorted({owner for text in (*dag.owners, *(task.owner for task in dag.tasks)) for owner in _owners(text)})


def unknown_owner(subject: Subject) -> Fault | None:
    """An owner that no team has."""
    known = subject.known_owners
    unknown = [owner for owner in _all_owners(subject.dag) if known and owner not in known]
    if not unknown:
        return None
    near = difflib.get_close_matches(unknown[0], known, n=1)
    tasks = [task.id for task in subject.dag.tasks if set(_owners(task.owner)) & set(unknown)]
    hint = f"did you mean {near[0]!r}? {rules.UNKNOWN_OWNER.hint}" if near else ""
    return _with_tasks(f"no team has the owner {_quoted(unknown)}", tasks, hint)


def unknown_email(subject: Subject) -> Fault | None:
    """A mail address that no team has."""
    known = [pattern.lower() for pattern in subject.known_emails]
    if not known:
        return None
    unknown: dict[str, list[str]] = {}
    for task in subject.dag.tasks:
        for address in (one.strip() for text in task.email for one in re.split("[,;]", text)):
            if address and not any(fnmatchcase(address.lower(), pattern) for pattern in known):
                unknown.setdefault(address, []).append(task.id)
    tasks = dict.fromkeys(task for ids in unknown.values() for task in ids)
    return _with_tasks(f"no team has the address {_quoted(sorted(unknown))}", tasks) if unknown else None


def default_owner(subject: Subject) -> Fault | None:
    """Airflow's default owner; where teams name their owners, that is `unknown_owner`'s to say."""
    if DEFAULT_OWNER in subject.known_owners or (subject.known_owners and subject.owners_asked):
        return None
    if DEFAULT_OWNER not in _all_owners(subject.dag):
        return None
    tasks = [task.id for task in subject.dag.tasks if DEFAULT_OWNER in _owners(task.owner)]
    return _with_tasks(f"the owner is Airflow's default, {DEFAULT_OWNER!r}", tasks)


def missing_tags(subject: Subject) -> Fault | None:
    """A required tag that the DAG has not."""
    tags = subject.dag.tags
    required = subject.policy.required_tags
    if not required:
        asked = rules.MISSING_TAGS.id in subject.switched_on
        return Fault("it has no tags") if asked and not tags else None
    missing = [pattern for pattern in required if not any(fnmatchcase(tag, pattern) for tag in tags)]
    has = f"; it has {_quoted(tags)}" if tags else "; it has none"
    return Fault(f"no tag matches {_quoted(missing)}{has}") if missing else None


def implicit_catchup(subject: Subject) -> Fault | None:
    """A DAG that catches up, although nobody said so."""
    dag = subject.dag
    waits = not dag.schedule or dag.schedule in _NEVER | _NO_INTERVALS or _BY_ASSETS.fullmatch(dag.schedule) is not None
    if not subject.airflow_2 or waits or dag.catchup is False or subject.says("catchup") is not False:
        return None
    return Fault("catchup is not said, and on by default in Airflow 2")


def missing_start_date(subject: Subject) -> Fault | None:
    """A schedule by time, and no start date."""
    dag = subject.dag
    unscheduled = not dag.schedule or dag.schedule in _NEVER or _BY_ASSETS.fullmatch(dag.schedule) is not None
    if unscheduled or dag.start or subject.says("start_date") is not False:
        return None
    return Fault(f"it has the schedule {dag.schedule!r} and no start date")


def missing_retries(subject: Subject) -> Fault | None:
    """Tasks with too few retries."""
    least = subject.policy.min_retries
    if least is None:
        least = 1 if rules.MISSING_RETRIES.id in subject.switched_on else 0
    few = [task.id for task in subject.working_tasks if task.retries is not None and task.retries < least]
    return (
        _with_tasks(f"{len(few)} of {len(subject.dag.tasks)} tasks have fewer retries than {least}", few)
        if few
        else None
    )


def missing_timeout(subject: Subject) -> Fault | None:
    """Nothing ends the DAG's runs, nor each of its tasks."""
    if subject.dag.dagrun_timeout is not None:
        return None
    endless = [task.id for task in subject.working_tasks if task.execution_timeout is None]
    return _with_tasks("it has no dagrun_timeout, and no execution_timeout ends", endless) if endless else None


def operator_not_allowed(subject: Subject) -> Fault | None:
    """Operators that are forbidden, or not among those that are allowed."""
    policy = subject.policy
    refused: dict[str, list[str]] = {}
    for task in subject.dag.tasks:
        forbidden = _any_matches(policy.forbidden_operators, task.operator)
        if forbidden or (policy.allowed_operators and not _any_matches(policy.allowed_operators, task.operator)):
            refused.setdefault(task.operator, []).append(task.id)
    tasks = [task for ids in refused.values() for task in ids]
    return _with_tasks(f"{', '.join(sorted(refused))} may not be used here", tasks) if refused else None


def _any_matches(patterns: Iterable[str], name: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def dag_id_naming(subject: Subject) -> Fault | None:
    """An id that the pattern does not match as a whole."""
    pattern = subject.policy.dag_id
    if pattern is None or re.fullmatch(pattern, subject.dag.id):
        return None
    return Fault(f"its id does not match {pattern!r}")


def task_id_naming(subject: Subject) -> Fault | None:
    """Ids of tasks that the pattern does not match, neither whole nor in each part."""
    pattern = subject.policy.task_id
    if pattern is None:
        return None
    wrong = [task.id for task in subject.dag.tasks if not _follows(pattern, task.id)]
    return _with_tasks(f"ids do not match {pattern!r}", wrong) if wrong else None


def _follows(pattern: str, name: str) -> bool:
    return bool(re.fullmatch(pattern, name)) or all(re.fullmatch(pattern, part) for part in name.split("."))


DAG_RULES: Final[tuple[tuple[Rule, Callable[[Subject], Fault | None]], ...]] = (
    (rules.UNKNOWN_OWNER, unknown_owner),
    (rules.UNKNOWN_EMAIL, unknown_email),
    (rules.DEFAULT_OWNER, default_owner),
    (rules.MISSING_TAGS, missing_tags),
    (rules.IMPLICIT_CATCHUP, implicit_catchup),
    (rules.MISSING_START_DATE, missing_start_date),
    (rules.MISSING_RETRIES, missing_retries),
    (rules.MISSING_TIMEOUT, missing_timeout),
    (rules.OPERATOR_NOT_ALLOWED, operator_not_allowed),
    (rules.DAG_ID_NAMING, dag_id_naming),
    (rules.TASK_ID_NAMING, task_id_naming),
)
