"""What the tree would do to what is live: to the DAGs of the channel that it is compared with, and of other bundles.

1. An id that another bundle serves on a channel of the same name is an error: both channels feed the same Airflow, and
   an Airflow keeps one DAG for an id.
2. Where more than ``vanished_share`` of the live DAGs, or all of them, are gone, it looks like an accident and is an
   error, unless somebody says that it is meant (``allow_removal``). Each other DAG that is gone is a note.
3. A DAG that moved to another file is a warning: runs that are pinned to the version before look for it in the new one.
4. What could not be seen is told as a note, never taken for empty.

`live_state` reads all this from a store; nothing is read here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from .finding import Finding, Rule, Severity, found

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from dagferry_schemas.inventory import DagFacts

    from .settings import Settings

SHOWN: Final = 10
"""The most DAG ids that one finding lists."""

MOVED: Final = Rule(
    "dag-moved",
    "live",
    Severity.WARNING,
    "the DAG moved to another file",
    (
        "Airflow looks a task's DAG up in the file where the DAG is now, also for a run that is pinned to the version "
        "before (Airflow 3 with a versioned bundle). That version has no such file: tasks of unfinished runs, and "
        "tasks of old runs that somebody clears, wait three minutes and fail with 'Dag not found'."
    ),
    "keep the file's name, or wait until no run of the DAG is unfinished",
)
OWNED_ELSEWHERE: Final = Rule(
    "dag-owned-elsewhere",
    "live",
    Severity.ERROR,
    "another bundle has a DAG of this id live",
    (
        "Bundles whose channels have the same name serve the same Airflow, and Airflow keeps one DAG for an id. With "
        "two bundles the DAG changes from parse to parse, and so does the code that its tasks run."
    ),
    "rename one of them; to move a DAG between bundles, promote the bundle that loses it first",
)
VANISHED: Final = Rule(
    "dags-vanished",
    "live",
    Severity.ERROR,
    "most of the live DAGs are gone",
    (
        "So many DAGs rarely go at a time on purpose: a wrong root, an `.airflowignore` that matches too much, an "
        "import that fails everywhere. Airflow marks DAGs that are gone as stale and stops scheduling them."
    ),
    "if they are meant to go: --allow-removal; `lint.vanished_share` sets how many are too many",
)
REMOVED: Final = Rule(
    "dag-removed",
    "live",
    Severity.NOTE,
    "a live DAG is gone",
    "Airflow stops scheduling a DAG that is gone. Its history stays, and the tasks of its unfinished runs fail.",
    "nothing, if it is meant to go; delete its history in Airflow if nobody needs it",
)
NOTHING_LIVE: Final = Rule(
    "nothing-live",
    "live",
    Severity.NOTE,
    "there is nothing to compare with",
    (
        "DAGs that are gone or moved show in a comparison with what is live. There was nothing to compare with: the "
        "channel has no record yet, or nobody imported the DAGs of its version with an Airflow when it was published."
    ),
    "nothing: the next version will have something to be compared with, if an Airflow checks this one",
)
NOT_VISIBLE: Final = Rule(
    "others-not-visible",
    "live",
    Severity.NOTE,
    "not all other bundles could be looked into",
    (
        "An id that another bundle has live can only be found where its head and report may be read, and the bundles "
        "of the store be listed. The rights in `ci/policies` are for one bundle alone."
    ),
    'docs/policies.md, "Other bundles", says which rights it takes; or switch the rule off',
)
RULES: Final = (MOVED, OWNED_ELSEWHERE, VANISHED, REMOVED, NOTHING_LIVE, NOT_VISIBLE)


@dataclass(frozen=True)
class Live:
    """The DAGs of the version that the tree is compared with; ``channel`` is empty if a version was named itself."""

    channel: str
    version: str
    dags: tuple[DagFacts, ...]


@dataclass(frozen=True)
class NothingLive:
    """Why there is nothing to compare with; ``first``: because the channel has no record yet."""

    reason: str
    first: bool


@dataclass(frozen=True)
class Owned:
    """The DAG ids that another bundle has live on one of its channels."""

    bundle: str
    channel: str
    version: str
    dag_ids: frozenset[str]


@dataclass(frozen=True)
class Others:
    """What other bundles have live, and a reason for each that could not be looked into."""

    owned: tuple[Owned, ...] = ()
    unseen: tuple[str, ...] = ()


def check(
    ours: Sequence[DagFacts],
    live: Live | NothingLive,
    others: Others,
    settings: Settings,
    *,
    allow_removal: bool,
    line_of: Callable[[DagFacts], int] = lambda dag: 0,
) -> list[Finding]:
    """What the DAGs ``ours`` would do to what is live. ``line_of`` tells where a DAG begins in its file, or 0.

    ``ours`` has to be complete: without an Airflow that imported the DAG files there is nothing to compare.
    """
    findings = [*_owned_elsewhere(ours, others.owned, line_of), *_not_visible(others.unseen)]
    if isinstance(live, NothingLive):
        return [*findings, found(NOTHING_LIVE, "", live.reason)]
    return [*findings, *_moved(ours, live, line_of), *_gone(ours, live, settings, allow_removal=allow_removal)]


def listed(names: Iterable[str], most: int) -> str:
    """The first ``most`` of ``names``, and how many more there are."""
    every = list(names)
    more = f" and {len(every) - most} more" if len(every) > most else ""
    return ", ".join(every[:most]) + more


def _owned_elsewhere(
    ours: Sequence[DagFacts], others: Sequence[Owned], line_of: Callable[[DagFacts], int]
) -> list[Finding]:
    return [
        found(
            OWNED_ELSEWHERE,
            dag.file,
            f"DAG {dag.id!r} is live in bundle {other.bundle!r} ({other.version} on its channel {other.channel!r})",
            line=line_of(dag),
        )
        for dag in ours
        for other in others
        if dag.id in other.dag_ids
    ]


def _not_visible(unseen: Sequence[str]) -> list[Finding]:
    if not unseen:
        return []
    more = f"; and {len(unseen) - SHOWN} more" if len(unseen) > SHOWN else ""
    return [found(NOT_VISIBLE, "", "DAG ids were not compared: " + "; ".join(unseen[:SHOWN]) + more)]


def _moved(ours: Sequence[DagFacts], live: Live, line_of: Callable[[DagFacts], int]) -> list[Finding]:
    files: dict[str, set[str]] = {}
    for dag in live.dags:
        files.setdefault(dag.id, set()).add(dag.file)
    stayed = {dag.id for dag in ours if dag.file in files.get(dag.id, ())}
    return [
        found(
            MOVED,
            dag.file,
            f"DAG {dag.id!r} is in {' and '.join(sorted(files[dag.id]))} in {_named(live)}; "
            "unfinished runs that are pinned to it will fail",
            line=line_of(dag),
        )
        for dag in ours
        if dag.id in files and dag.id not in stayed
    ]


def _gone(ours: Sequence[DagFacts], live: Live, settings: Settings, *, allow_removal: bool) -> list[Finding]:
    kept = {dag.id for dag in ours}
    before = {dag.id for dag in live.dags}
    gone = {dag.id: dag.file for dag in live.dags if dag.id not in kept}
    asked = not allow_removal and settings.severity_of(VANISHED) is not Severity.OFF
    if gone and asked and (len(gone) == len(before) or len(gone) > settings.vanished_share * len(before)):
        message = f"{len(gone)} of the {len(before)} DAGs in {_named(live)} are gone: {listed(sorted(gone), SHOWN)}"
        return [found(VANISHED, "", message)]
    files = {dag.file for dag in ours}
    return [
        found(REMOVED, file if file in files else "", f"DAG {name!r} of {file} in {_named(live)} is gone")
        for name, file in sorted(gone.items())
    ]


def _named(live: Live) -> str:
    return f"{live.version} (live on channel {live.channel!r})" if live.channel else live.version
