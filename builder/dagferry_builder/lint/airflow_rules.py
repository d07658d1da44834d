"""The rules whose findings come from a real Airflow that imports every DAG file (`probe`)."""

from __future__ import annotations

from functools import partial
from typing import Final

from .finding import Rule, Severity

_error = partial(Rule, source="airflow", severity=Severity.ERROR)
_warning = partial(Rule, source="airflow", severity=Severity.WARNING)

RULES: Final = (
    _error(
        "import-error",
        title="the file cannot be imported",
        explanation=(
            "Airflow imports every DAG file at each parse. One that raises has an import error in the UI, and its "
            "DAGs keep the definition they had, or vanish. Nothing of the file runs until it is mended."
        ),
        hint="mend what the traceback names; the import has to work in production's image",
    ),
    _error(
        "missing-package",
        title="a package is not installed",
        explanation=(
            "The file imports a module that neither the bundle nor the environment of the check has. If the check "
            "runs in production's image, the DAGs of this file are broken there. If it runs elsewhere, the finding "
            "says that the check is blind, not that the DAG is wrong: name production's interpreter in `lint.python`."
        ),
        hint="install it in the image, or let `lint.python` name the interpreter that production runs",
    ),
    _error(
        "exit-at-import",
        title="the file ends the process that imports it",
        explanation=(
            "`sys.exit()` at the top level raises SystemExit. In Airflow 2 that ends the process that parses DAG "
            "files, in Airflow 3 the file counts as broken. Scripts that end in `sys.exit(main())` need a guard."
        ),
        hint='put it behind `if __name__ == "__main__":`',
    ),
    _error(
        "import-timeout",
        title="the import does not end in time",
        explanation=(
            "Airflow kills the parsing of a file after `dagbag_import_timeout` (30 s by default); its DAGs then have "
            "an import error. An endless loop, a sleep or a service that does not answer at the top level does this."
        ),
        hint="move the work into a task",
    ),
    _error(
        "memory-limit",
        title="the import needs more memory than is allowed",
        explanation=(
            "The file asked for more memory than `lint.memory_mb` while it was imported. In production that memory is "
            "needed at each parse, in the DAG processor and again in every task's process."
        ),
        hint="load data inside a task; `lint.memory_mb` sets the limit",
    ),
    _error(
        "import-crash",
        title="the import kills the process",
        explanation=(
            "The process that imported the file ended without an answer: a signal, `os._exit`, or a crash in a "
            "library. In production the DAG processor loses the process at each parse, and the file's DAGs are never "
            "updated."
        ),
        hint="import the file alone under `python -X faulthandler` to see where it ends",
    ),
    _error(
        "result-tampered",
        title="the file writes into the channel of results",
        explanation=(
            "While it was imported, the file wrote to a file descriptor that is not its own. Such code corrupts the "
            "logs and the communication of Airflow's own processes."
        ),
        hint="write to files that the code has opened itself",
    ),
    _warning(
        "slow-import",
        title="the import takes longer than its budget",
        explanation=(
            "A DAG file is imported again and again: by the DAG processor every 30 seconds, and by every task that "
            "starts. What the import costs is paid each time, and delays the scheduling of all other DAGs."
        ),
        hint="import heavy packages inside tasks; `lint.import_budget` sets the seconds",
    ),
    _error(
        "duplicate-dag-id",
        title="two DAGs have the same id",
        explanation=(
            "Airflow keeps one DAG for an id. With two files, whichever was parsed last wins, and the DAG changes "
            "from parse to parse; within one file the second replaces the first without a word."
        ),
        hint="give each DAG an id of its own",
    ),
    _error(
        "duplicate-task-id",
        title="two tasks of a DAG have the same id",
        explanation="A task's id is unique within its DAG; Airflow refuses the file otherwise.",
        hint="rename one of them, or put them into task groups",
    ),
    _error(
        "dag-cycle",
        title="the tasks depend on each other in a circle",
        explanation="A DAG is acyclic. Airflow refuses one with a cycle, and the DAG is missing in production.",
        hint="remove one of the dependencies",
    ),
    _error(
        "invalid-schedule",
        title="the schedule is not valid",
        explanation="Airflow cannot make a timetable of the schedule (a wrong cron expression, an unknown preset).",
        hint="a cron expression has five fields; presets are @daily, @hourly and so on",
    ),
    _error(
        "invalid-dag",
        title="Airflow refuses the DAG",
        explanation=(
            "The file could be imported, but Airflow does not accept the DAG: parameters without valid defaults, an "
            "executor that does not exist, a trigger rule that does not fit. The DAG is missing in production."
        ),
        hint="mend what Airflow says",
    ),
    _error(
        "cluster-policy",
        title="a cluster policy refuses the DAG",
        explanation="The `dag_policy` or `task_policy` of this environment's `airflow_local_settings.py` raised.",
        hint="ask who operates this Airflow what the policy demands",
    ),
    _error(
        "not-serializable",
        title="the DAG cannot be serialized",
        explanation=(
            "The scheduler and the UI know DAGs in their serialized form only. A timetable that no plugin registers, "
            "or an object in an operator's arguments that is no JSON, makes serialization fail after the import "
            "succeeded: the DAG has an import error in production though every import works on a desk."
        ),
        hint="register timetables in a plugin; pass plain values to operators",
    ),
    _error(
        "template-missing",
        title="a template file is missing",
        explanation=(
            "An argument that ends like a template (`.sql`, `.sh`) names a file, which Jinja looks up beside the DAG "
            "file and in `template_searchpath`. A missing one fails each run of the task, not the import."
        ),
        hint="add the file to the bundle, or end the text with a space if it is a command and no file",
    ),
    _error(
        "template-syntax",
        title="a template is not valid Jinja",
        explanation="The template cannot be parsed. Each run of the task fails while its arguments are rendered.",
        hint="mend the template; literal braces are written {{ '{{' }}",
    ),
    _error(
        "safe-mode-skip",
        title="Airflow does not look into the file",
        explanation=(
            "In safe mode (the default) Airflow parses only files that contain the words `dag` and `airflow`. This "
            "one defines DAGs, through a factory for instance, but lacks a word, so they never appear."
        ),
        hint="mention the missing word in a comment, for example `# airflow dag`",
    ),
    _error(
        "dag-not-found",
        title="the file makes a DAG that Airflow does not find",
        explanation=(
            "A DAG counts if it is a variable at the top level of the file, or was used as a context manager there. "
            "One that only lives inside a function, or comes from a decorated function that is never called, is "
            "absent in production without any error."
        ),
        hint="call the function at the top level and keep its result in a variable",
    ),
    _warning(
        "uncalled-factory",
        title="nothing calls the function that makes a DAG",
        explanation=(
            "A function of the file returns a DAG, and neither this file nor another one that Airflow imports makes "
            "use of it. If it is meant for other bundles, all is well; if not, the DAG is absent in production."
        ),
        hint="call it at the top level and keep the result in a variable",
    ),
    _error(
        "network-at-import",
        title="the import uses the network",
        explanation=(
            "Each parse of the file asks another service, every 30 seconds and at each start of a task. When that "
            "service is slow or away, the DAGs of this file, and the parsing of all others, suffer."
        ),
        hint="ask the service inside a task",
    ),
    _warning(
        "database-at-import",
        title="the import asks Airflow's database",
        explanation=(
            "A Variable, a Connection or a query at the top level asks the metadata database at each parse. Besides "
            "the load, the import fails wherever the value is absent."
        ),
        hint="read it inside a task, or in a template: {{ var.value.NAME }}; `lint.variables` stubs it",
    ),
    _warning(
        "process-at-import",
        title="the import starts a process",
        explanation="Each parse of the file starts another program, in the DAG processor and at each start of a task.",
        hint="start it inside a task",
    ),
    _error(
        "signal-at-import",
        title="the import sends a signal to another process",
        explanation="The process that imports a DAG file is Airflow's own, and a signal from it hits Airflow; refused.",
        hint="remove it",
    ),
    _error(
        "change-at-import",
        title="the import changes or removes files",
        explanation=(
            "The DAG folder of a pod is read-only in spirit: every file in it is what was delivered. Code that writes "
            "or removes files while it is imported does so at each parse, in several processes at a time. It was "
            "refused."
        ),
        hint="work with files inside a task, and in a temporary folder",
    ),
    _warning(
        "output-at-import",
        title="the import prints a lot",
        explanation="What a file prints while it is imported goes to the DAG processor's log at each parse.",
        hint="remove the output; more than 64 KiB is reported",
    ),
    _error(
        "unstable-structure",
        title="two imports give different DAGs",
        explanation=(
            "Two imports of the same bytes gave other ids of DAGs or tasks, or other dependencies: by chance, by the "
            "time, or by the order of a set. A task that starts imports the file again, and does not find itself; in "
            "Airflow 3 each parse makes a new version of the DAG."
        ),
        hint="derive ids from what does not change; sort what comes from a set or from a listing of a folder",
    ),
    _warning(
        "unstable-definition",
        title="two imports give different definitions",
        explanation=(
            "Two imports of the same bytes gave the same tasks, but other values: `datetime.now()`, a random number, "
            "the order of a set. A start date that moves may never be reached; in Airflow 3 each parse makes a new "
            "version."
        ),
        hint="use fixed values; take the time of a run from its context",
    ),
    _warning(
        "no-dags",
        title="the bundle has no DAG",
        explanation=(
            "Airflow looked at all files and found no DAG in any. A pod that gets this version has nothing to run; "
            "most often the bundle's `root` names the wrong folder, or an `.airflowignore` leaves everything out."
        ),
        hint="look at `root` of the bundle in the config file, and at `.airflowignore`",
    ),
    Rule(
        "no-airflow",
        "airflow",
        Severity.WARNING,
        "no Airflow checked the DAGs",
        (
            "Without an Airflow only files and syntax are checked: import errors, cycles, duplicate ids, serialization "
            "and templates are not, and the version gets no inventory of its DAGs."
        ),
        "let `lint.python` name an interpreter with production's Airflow and packages",
    ),
)
BY_ID: Final = {rule.id: rule for rule in RULES}
