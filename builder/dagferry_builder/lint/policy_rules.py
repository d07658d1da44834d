"""The rules of the policy source: who owns a DAG, and what a site asks of its DAGs and tasks.

Rules that need a parameter (teams, tags, lists of operators, patterns) are on, and silent until it is configured.
"""

from __future__ import annotations

from typing import Final

from .finding import Rule, Severity

_READ_LATER: Final = "read it inside a task, or in a template: {{ %s }}"

UNKNOWN_OWNER: Final = Rule(
    "unknown-owner",
    "policy",
    Severity.WARNING,
    "an owner that no team has",
    (
        "`lint.policy.teams` names the owners that there are. A DAG or task with another one, a typing error or a "
        "team that was renamed, belongs to nobody when it fails. Several owners in one text are split at the commas, "
        "as Airflow does. Asked only if a team names owners."
    ),
    "use a team's owner, or add this one to its team in `lint.policy.teams`",
)
UNKNOWN_EMAIL: Final = Rule(
    "unknown-email",
    "policy",
    Severity.WARNING,
    "a mail address that no team has",
    (
        "Airflow writes to a task's `email` when it fails. An address that no team in `lint.policy.teams` has (`*` "
        "stands for anything, case does not count) may reach nobody, or somebody outside. Asked only if a team names "
        "addresses."
    ),
    "use a team's address, or add this one to its team in `lint.policy.teams`",
)
DEFAULT_OWNER: Final = Rule(
    "default-owner",
    "policy",
    Severity.WARNING,
    "the owner is Airflow's default",
    "Tasks without an `owner` belong to `airflow`, which is nobody: who is asked when the DAG fails cannot be seen.",
    'name the owner: default_args={"owner": "…"}',
)
MISSING_TAGS: Final = Rule(
    "missing-tags",
    "policy",
    Severity.WARNING,
    "a tag is missing",
    (
        "Each pattern in `lint.policy.required_tags` has to match one of the DAG's tags (`*` stands for anything). "
        "Silent if there are none; with a severity configured and no patterns, any tag will do."
    ),
    'add it: DAG(…, tags=["…"])',
)
IMPLICIT_CATCHUP: Final = Rule(
    "implicit-catchup",
    "policy",
    Severity.WARNING,
    "catchup is on because nobody said otherwise",
    (
        "Airflow 2 catches up by default: a new DAG with an old start date, or one that was paused for a month, starts "
        "a run for every interval that it missed. Airflow 3 does not, so the DAG changes its ways with the upgrade. "
        "Silent on Airflow 3, for DAGs without a time schedule, and wherever the file or what it read mentions catchup."
    ),
    "say which one is meant: catchup=False, or catchup=True",
)
MISSING_START_DATE: Final = Rule(
    "missing-start-date",
    "policy",
    Severity.OFF,
    "a schedule without a start date",
    (
        "Without a start date on the DAG or its tasks the scheduler never starts a run by itself, whatever the "
        "schedule says, or refuses the DAG, depending on Airflow's version."
    ),
    "give the DAG a fixed start_date",
)
DYNAMIC_START_DATE: Final = Rule(
    "dynamic-start-date",
    "policy",
    Severity.WARNING,
    "the start date moves",
    (
        "The file is imported again and again, and `now()` is another time each time. A run starts when an interval "
        "after the start date has ended; if the start date moves along, that moment may never come. In Airflow 3 each "
        "parse makes a new version of the DAG."
    ),
    "use a fixed date: datetime(2026, 1, 1, tzinfo=timezone.utc); catchup=False skips the past",
)
MISSING_RETRIES: Final = Rule(
    "missing-retries",
    "policy",
    Severity.WARNING,
    "a task has too few retries",
    (
        "A worker that goes away, a database that restarts: without retries each of these fails the run. Tasks need "
        "at least `lint.policy.min_retries`. Silent if that is not set; with a severity configured and no number, "
        "one. Empty operators have nothing to retry."
    ),
    'set it for all tasks: default_args={"retries": …}',
)
MISSING_TIMEOUT: Final = Rule(
    "missing-timeout",
    "policy",
    Severity.OFF,
    "nothing ends a task that hangs",
    (
        "The DAG has no `dagrun_timeout`, and not every task an `execution_timeout`. A task that waits for ever holds "
        "its slot, and the runs after it wait too. Empty operators cannot hang."
    ),
    "set dagrun_timeout on the DAG, or execution_timeout in default_args",
)
VARIABLE_AT_IMPORT: Final = Rule(
    "variable-at-import",
    "policy",
    Severity.WARNING,
    "a Variable is read at import",
    (
        "A Variable that is read at the top level is asked for at each parse of the file: every 30 seconds, and "
        "again when a task starts. It loads the metadata database or the secrets backend, and the import fails "
        "wherever the Variable is absent."
    ),
    _READ_LATER % "var.value.NAME",
)
CONNECTION_AT_IMPORT: Final = Rule(
    "connection-at-import",
    "policy",
    Severity.WARNING,
    "a Connection is read at import",
    (
        "A Connection that is read at the top level is asked for at each parse of the file: every 30 seconds, and "
        "again when a task starts. It loads the metadata database or the secrets backend, its password is in the "
        "memory of every process that parses, and the import fails wherever the Connection is absent."
    ),
    _READ_LATER % "conn.NAME.host",
)
OPERATOR_NOT_ALLOWED: Final = Rule(
    "operator-not-allowed",
    "policy",
    Severity.ERROR,
    "an operator that is not allowed here",
    (
        "`lint.policy.forbidden_operators` and `allowed_operators` hold names of operator classes (`*` stands for "
        "anything). A task has to be of an allowed class if any are named, and never of a forbidden one. A function "
        "under @task counts as `@task`."
    ),
    "use another operator; who set `lint.policy` can say why this one is not allowed",
)
DAG_ID_NAMING: Final = Rule(
    "dag-id-naming",
    "policy",
    Severity.WARNING,
    "the DAG's id does not follow the pattern",
    "The regular expression `lint.policy.dag_id` has to match the whole id. Silent if there is none.",
    "rename the DAG; to Airflow it is then another one, without the history of the old",
)
TASK_ID_NAMING: Final = Rule(
    "task-id-naming",
    "policy",
    Severity.WARNING,
    "a task's id does not follow the pattern",
    (
        "The regular expression `lint.policy.task_id` has to match the whole id, or each of its parts in an id that "
        "has its task groups' ids before it (`load.clean`). Silent if there is none."
    ),
    "rename the task; to Airflow it is then another one, without the history of the old",
)
RULES: Final = (
    UNKNOWN_OWNER,
    UNKNOWN_EMAIL,
    DEFAULT_OWNER,
    MISSING_TAGS,
    IMPLICIT_CATCHUP,
    MISSING_START_DATE,
    DYNAMIC_START_DATE,
    MISSING_RETRIES,
    MISSING_TIMEOUT,
    VARIABLE_AT_IMPORT,
    CONNECTION_AT_IMPORT,
    OPERATOR_NOT_ALLOWED,
    DAG_ID_NAMING,
    TASK_ID_NAMING,
)
