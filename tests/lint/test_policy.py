"""Policies: each rule fires where it should, at a useful line, and its twin does not."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from dagferry_builder.lint.finding import Severity
from dagferry_builder.lint.imported import Imported, Lookup
from dagferry_builder.lint.policy import RULES, check
from dagferry_builder.lint.rules import RULES as ALL_RULES
from dagferry_builder.lint.settings import Override, Policy, Settings, Team
from dagferry_schemas.inventory import DagFacts, TaskFacts
from tests.lint.trees import tree

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from dagferry_builder.lint.finding import Finding

SOURCE = b"""\
from airflow import DAG
from airflow.operators.bash import BashOperator

with DAG("other"):
    BashOperator(task_id="clean", bash_command="true")

with DAG(dag_id="daily", schedule="@daily") as dag:
    load = BashOperator(task_id="load", bash_command="true")
    clean = BashOperator(task_id="clean", bash_command="true")
    load >> clean
"""
LOAD, CLEAN = TaskFacts("load", "BashOperator", owner="etl"), TaskFacts("clean", "BashOperator", ("load",), owner="etl")
DAILY = DagFacts("daily", "a.py", "0 0 * * *", "2026-01-01T00:00:00Z", False, ("etl",), ("sla",), tasks=(LOAD, CLEAN))
TEAMS = {"etl": Team(("etl", "data"), ("etl@example.com", "*@data.example.com"))}


def lint(
    folder: Path,
    dag: DagFacts = DAILY,
    source: bytes = SOURCE,
    *,
    policy: Policy | None = None,
    others: Mapping[str, bytes] | None = None,
    severity: Mapping[str, str] | None = None,
    airflow: str = "2.11.2",
    **imported: Any,  # noqa: ANN401 (fields of Imported)
) -> list[Finding]:
    """What is found in ``a.py`` with one DAG."""
    given = {name: Severity(text) for name, text in (severity or {}).items()}
    checkout = tree(folder, {"a.py": source, **(others or {})})
    settings = Settings(policy=policy or Policy(), severity=given)
    return check(checkout, [Imported("a.py", dags=(dag,), **imported)], settings, airflow)


def rules_of(findings: list[Finding]) -> list[str]:
    return [one.rule for one in findings]


def test_a_good_dag_has_no_findings_whatever_is_asked(tmp_path: Path) -> None:
    dag = replace(
        DAILY,
        tasks=tuple(replace(one, retries=2, execution_timeout=60.0, email=("etl@example.com",)) for one in DAILY.tasks),
    )
    policy = Policy(TEAMS, ("sla",), ("Bash*",), ("Kubernetes*",), "[a-z]+", "[a-z]+", 2)
    on = {rule.id: "error" for rule in RULES}
    assert lint(tmp_path, dag, policy=policy, severity=on, airflow="3.3.2") == []


def test_nothing_is_asked_that_is_not_configured(tmp_path: Path) -> None:
    dag = replace(DAILY, tags=(), tasks=(replace(LOAD, retries=0, email=("who@else",)),))
    assert lint(tmp_path, dag) == []


def test_all_rules_are_registered_and_explain_themselves() -> None:
    assert all(ALL_RULES[rule.id] is rule for rule in RULES)
    assert {rule.source for rule in RULES} == {"policy"}
    assert all(rule.title and rule.explanation and rule.hint for rule in RULES)


# Who it belongs to.


def test_an_owner_that_no_team_has_is_found_at_its_task(tmp_path: Path) -> None:
    dag = replace(DAILY, owners=("etl, dta",), tasks=(LOAD, replace(CLEAN, owner="etl, dta")))
    (one,) = lint(tmp_path, dag, policy=Policy(TEAMS))
    assert (one.rule, one.path, one.line) == ("unknown-owner", "a.py", 9), "not the task of the other DAG"
    assert one.message == "DAG 'daily': no team has the owner 'dta' (task clean)"
    assert one.hint.startswith("did you mean 'data'?")


def test_several_owners_are_split_at_commas(tmp_path: Path) -> None:
    assert lint(tmp_path, replace(DAILY, owners=("etl, data",)), policy=Policy(TEAMS)) == []


def test_owners_are_not_asked_if_teams_name_addresses_only(tmp_path: Path) -> None:
    assert lint(tmp_path, policy=Policy({"etl": Team((), ("*@example.com",))})) == []


def test_teams_of_an_override_hold_for_its_files(tmp_path: Path) -> None:
    checkout = tree(tmp_path, {"a.py": SOURCE})
    for pattern, expected in (("dags/a.py", ["unknown-owner"]), ("elsewhere/*", [])):
        override = Override((pattern,), policy={"teams": {"ml": Team(("ml",))}})
        settings = Settings(policy=Policy(TEAMS), overrides=(override,))
        assert rules_of(check(checkout, [Imported("a.py", dags=(DAILY,))], settings, "3.3.2")) == expected


@pytest.mark.parametrize(
    ("email", "wrong"),
    [
        ("etl@example.com", ""),
        ("ETL@Example.com", ""),
        ("who.ever@data.example.com", ""),
        ("etl@example.com; me@data.example.com", ""),
        ("", ""),
        ("boss@example.com", "boss@example.com"),
        ("etl@example.com, x@evil.example", "x@evil.example"),
    ],
)
def test_an_address_that_no_team_has(tmp_path: Path, email: str, wrong: str) -> None:
    dag = replace(DAILY, tasks=(replace(LOAD, email=(email,)), CLEAN))
    found = [one.message for one in lint(tmp_path, dag, policy=Policy(TEAMS))]
    assert found == ([f"DAG 'daily': no team has the address {wrong!r} (task load)"] if wrong else [])


def test_airflows_default_owner_is_found_once_for_many_tasks(tmp_path: Path) -> None:
    tasks = tuple(TaskFacts(f"t{number}", "BashOperator", owner="airflow") for number in range(7))
    (one,) = lint(tmp_path, replace(DAILY, owners=("airflow",), tasks=tasks))
    assert (one.rule, one.severity, one.line) == ("default-owner", Severity.WARNING, 7)
    assert one.message.endswith("(tasks t0, t1, t2, t3, t4 and 2 more)")


@pytest.mark.parametrize(
    ("owners", "severity", "expected"),
    [
        (("etl",), {}, ["unknown-owner"]),
        (("etl",), {"unknown-owner": "off"}, ["default-owner"]),
        (("airflow",), {}, []),
        ((), {}, ["default-owner"]),
    ],
)
def test_the_default_owner_is_told_by_one_rule(
    tmp_path: Path, owners: tuple[str, ...], severity: dict[str, str], expected: list[str]
) -> None:
    dag = replace(DAILY, owners=("airflow",), tasks=(replace(LOAD, owner="airflow"),))
    assert rules_of(lint(tmp_path, dag, policy=Policy({"x": Team(owners)}), severity=severity)) == expected


# Tags, retries, timeouts, operators, names.


@pytest.mark.parametrize(
    ("required", "tags", "severity", "wrong"),
    [
        (("team:*", "sla"), ("sla", "team:etl"), {}, None),
        (("team:*", "sla"), ("sla",), {}, "no tag matches 'team:*'; it has 'sla'"),
        (("sla",), (), {}, "no tag matches 'sla'; it has none"),
        (("sla",), (), {"missing-tags": "off"}, None),
        ((), (), {}, None),
        ((), (), {"missing-tags": "note"}, "it has no tags"),
        ((), ("any",), {"missing-tags": "note"}, None),
    ],
)
def test_tags(
    tmp_path: Path, required: tuple[str, ...], tags: tuple[str, ...], severity: dict[str, str], wrong: str | None
) -> None:
    found = lint(tmp_path, replace(DAILY, tags=tags), policy=Policy(required_tags=required), severity=severity)
    assert [one.message for one in found] == ([f"DAG 'daily': {wrong}"] if wrong else [])


@pytest.mark.parametrize(
    ("least", "severity", "wrong"),
    [
        (2, {}, "1 of 4 tasks have fewer retries than 2 (task load)"),
        (1, {}, ""),
        (None, {}, ""),
        (None, {"missing-retries": "error"}, ""),
        (3, {"missing-retries": "off"}, ""),
    ],
)
def test_retries(tmp_path: Path, least: int | None, severity: dict[str, str], wrong: str) -> None:
    tasks = (
        replace(LOAD, retries=1),
        replace(CLEAN, retries=2),
        TaskFacts("start", "EmptyOperator", owner="etl", retries=0),
        TaskFacts("unknown", "BashOperator", owner="etl", retries=None),
    )
    found = lint(tmp_path, replace(DAILY, tasks=tasks), policy=Policy(min_retries=least), severity=severity)
    assert [one.message for one in found] == ([f"DAG 'daily': {wrong}"] if wrong else [])


def test_retries_that_are_switched_on_without_a_number_ask_for_one(tmp_path: Path) -> None:
    dag = replace(DAILY, tasks=(replace(LOAD, retries=0), replace(CLEAN, retries=1)))
    (one,) = lint(tmp_path, dag, severity={"missing-retries": "warning"})
    assert (one.line, one.message) == (8, "DAG 'daily': 1 of 2 tasks have fewer retries than 1 (task load)")


@pytest.mark.parametrize(("run", "task", "found"), [(None, None, True), (3600.0, None, False), (None, 60.0, False)])
def test_timeouts(tmp_path: Path, run: float | None, task: float | None, found: bool) -> None:
    start = TaskFacts("start", "EmptyOperator", owner="etl")
    dag = replace(DAILY, dagrun_timeout=run, tasks=(start, replace(LOAD, execution_timeout=task)))
    assert lint(tmp_path, dag) == [], "off by default"
    assert rules_of(lint(tmp_path, dag, severity={"missing-timeout": "warning"})) == ["missing-timeout"] * found


@pytest.mark.parametrize(
    ("allowed", "forbidden", "refused"),
    [
        (("Bash*", "Empty*"), (), False),
        (("Empty*",), (), True),
        ((), ("BashOperator",), True),
        (("*",), ("*Bash*",), True),
        ((), ("bash*",), False),
    ],
)
def test_operators(tmp_path: Path, allowed: tuple[str, ...], forbidden: tuple[str, ...], refused: bool) -> None:
    found = lint(tmp_path, policy=Policy(allowed_operators=allowed, forbidden_operators=forbidden))
    assert [(one.rule, one.severity, one.line) for one in found] == [
        ("operator-not-allowed", Severity.ERROR, 8)
    ] * refused


@pytest.mark.parametrize(("pattern", "follows"), [("[a-z]+", True), ("dai", False), ("team_.*", False), (None, True)])
def test_the_dags_id_follows_the_pattern_as_a_whole(tmp_path: Path, pattern: str | None, follows: bool) -> None:
    found = lint(tmp_path, policy=Policy(dag_id=pattern))
    assert [(one.rule, one.line) for one in found] == ([] if follows else [("dag-id-naming", 7)])


@pytest.mark.parametrize(
    ("pattern", "name", "follows"),
    [
        ("[a-z_]+", "load", True),
        ("[a-z_]+", "group.load", True),
        (r"group\..+", "group.load", True),
        ("[a-z_]+", "Load", False),
        ("[a-z_]+", "group.Load", False),
    ],
)
def test_tasks_ids_follow_the_pattern_whole_or_in_each_part(
    tmp_path: Path, pattern: str, name: str, follows: bool
) -> None:
    found = lint(tmp_path, replace(DAILY, tasks=(replace(LOAD, id=name),)), policy=Policy(task_id=pattern))
    assert rules_of(found) == ([] if follows else ["task-id-naming"])


# What is read at import.


def test_lookups_at_import_are_found_where_they_stand(tmp_path: Path) -> None:
    lookups = (
        Lookup("variable", "env", "lib.py", 3),
        Lookup("connection", "db", "a.py", 2),
        Lookup("variable", "far", "/usr/lib/plugin.py", 9),
    )
    found = lint(tmp_path, others={"lib.py": b""}, lookups=lookups, reads=("lib.py",))
    assert [(one.rule, one.path, one.line) for one in found] == [
        ("variable-at-import", "a.py", 0),
        ("connection-at-import", "a.py", 2),
        ("variable-at-import", "lib.py", 3),
    ]
    assert "Variable 'env'" in found[2].message


def test_a_lookup_in_a_module_that_two_dags_import_is_found_once(tmp_path: Path) -> None:
    lookup = Lookup("variable", "env", "lib.py", 3)
    imported = [Imported(name, lookups=(lookup,), reads=("lib.py",)) for name in ("a.py", "b.py")]
    checkout = tree(tmp_path, {"a.py": b"", "b.py": b"", "lib.py": b""})
    assert rules_of(check(checkout, imported, Settings(), "3.3.2")) == ["variable-at-import"]
    off = Settings(severity={"variable-at-import": Severity.OFF})
    assert check(checkout, imported, off, "3.3.2") == []


# Catchup and start dates.

CATCHES_UP = replace(DAILY, catchup=True)
HEADER = b"from airflow import DAG\nfrom airflow.decorators import dag\n"


@pytest.mark.parametrize(
    ("source", "line"),
    [
        (SOURCE, 7),
        (b'from airflow.models import DAG as D\n\nx = D("daily", schedule="@daily")\n', 3),
        (b'import airflow.models as m\nx = m.DAG("daily", schedule="@daily")\n', 2),
        (HEADER + b'@dag(schedule="@daily")\ndef daily():\n    pass\n', 3),
        (HEADER + b"@dag\ndef daily():\n    pass\n", 3),
        (HEADER + b'ID = "daily"\nx = DAG(ID, schedule="@daily")\ny = DAG("other", catchup=False)\n', 4),
        (HEADER + b'def make(name):\n    return DAG(name, schedule="@daily")\nx = make("daily")\n', 4),
        (HEADER + b'# catchup\nx = DAG("daily")\n"""catchup is no matter here, and a text is no key"""\n', 4),
    ],
    ids=["with", "alias", "module", "decorated", "bare decorator", "another one says it", "factory", "comment"],
)
def test_catchup_that_nobody_spoke_of_is_found_on_airflow_2_only(tmp_path: Path, source: bytes, line: int) -> None:
    found = lint(tmp_path, CATCHES_UP, source)
    assert [(one.rule, one.line) for one in found] == [("implicit-catchup", line)]
    assert lint(tmp_path, CATCHES_UP, source, airflow="3.3.2") == []


@pytest.mark.parametrize(
    "source",
    [
        HEADER + b'x = DAG("daily", catchup=True)\n',
        HEADER + b"@dag(catchup=True)\ndef daily():\n    pass\n",
        HEADER + b'x = DAG("daily")\nx.catchup = True\n',
        HEADER + b'common = {"catchup": True}\nx = DAG("daily", **common)\n',
        HEADER + b'common = dict(catchup=True)\nx = DAG("daily", **common)\n',
        HEADER + b'x = DAG("daily", default_args={"catchup": True})\n',
        HEADER + b'from elsewhere import common\nx = DAG("daily", **common)\n',
        HEADER + b'import functools\nmake = functools.partial(DAG, catchup=True)\nx = make("daily")\n',
        b'from elsewhere import make_dag\nx = make_dag("daily")\n',
        b'from elsewhere import DAG\nx = DAG("daily")\n',
        b"this is no Python\n",
    ],
    ids=[
        "keyword",
        "decorator",
        "attribute",
        "dict",
        "dict()",
        "default_args",
        "open",
        "partial",
        "a library's factory",
        "a library's DAG",
        "syntax error",
    ],
)
def test_catchup_that_was_spoken_of_or_cannot_be_seen_is_left_alone(tmp_path: Path, source: bytes) -> None:
    assert lint(tmp_path, CATCHES_UP, source) == []


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("dags.yaml", b"daily:\n  catchup: true\n"),
        ("factory.py", HEADER + b"def make(name):\n    return DAG(name, catchup=True)\n"),
        ("settings.py", b'DEFAULTS = {"catchup": True}\n'),
    ],
)
def test_catchup_in_a_file_that_the_dag_file_read_counts(tmp_path: Path, path: str, body: bytes) -> None:
    source = HEADER + b'def build(name, options):\n    return DAG(name, schedule="@daily")\nx = build("daily", {})\n'
    assert lint(tmp_path, CATCHES_UP, source, others={path: body}, reads=(path,)) == []
    assert rules_of(lint(tmp_path, CATCHES_UP, source, others={path: body})) == ["implicit-catchup"]


@pytest.mark.parametrize("schedule", [None, "None", "@once", "@continuous", "Dataset"])
def test_a_dag_without_intervals_has_nothing_to_catch_up(tmp_path: Path, schedule: str | None) -> None:
    assert lint(tmp_path, replace(CATCHES_UP, schedule=schedule)) == []


def test_a_site_that_switched_catchup_off_by_default_is_not_told(tmp_path: Path) -> None:
    assert lint(tmp_path, replace(DAILY, catchup=False)) == []


@pytest.mark.parametrize(
    ("schedule", "start", "source", "found"),
    [
        ("@daily", None, SOURCE, True),
        ("@once", None, SOURCE, True),
        ("Asset or 0 1 * * *", None, SOURCE, True),
        ("@daily", "2026-01-01T00:00:00Z", SOURCE, False),
        (None, None, SOURCE, False),
        ("Asset", None, SOURCE, False),
        ("Partitioned Asset", None, SOURCE, False),
        ("PartitionedAtRuntime", None, SOURCE, False),
        ("@daily", None, SOURCE + b'    BashOperator(task_id="x", start_date=START)\n', False),
        ("@daily", None, b'from elsewhere import make\nx = make("daily")\n', False),
    ],
)
def test_a_start_date_that_is_missing(
    tmp_path: Path, schedule: str | None, start: str | None, source: bytes, found: bool
) -> None:
    dag = replace(DAILY, schedule=schedule, start=start)
    assert lint(tmp_path, dag, source) == [], "off by default"
    told = lint(tmp_path, dag, source, severity={"missing-start-date": "warning"})
    assert [(one.rule, one.line) for one in told] == [("missing-start-date", 7)] * found


@pytest.mark.parametrize(
    ("source", "line"),
    [
        (b"x = DAG('daily', start_date=datetime.now())\n", 1),
        (b"x = DAG(\n    'daily',\n    start_date=pendulum.today('UTC').add(days=-2),\n)\n", 3),
        (b"with DAG('daily', start_date=datetime.utcnow() - timedelta(days=1)):\n    pass\n", 1),
        (b"@dag(start_date=days_ago(1))\ndef daily():\n    pass\n", 1),
        (b"default_args = {'start_date': days_ago(2)}\n", 1),
        (b"ARGS = dict(start_date=days_ago(2))\nx = DAG('daily', default_args=ARGS)\n", 1),
        (b"common = {'start_date': days_ago(2)}\nx = DAG('daily', **common)\n", 1),
        (b"x = DAG('daily', default_args={'start_date': datetime.today()})\n", 1),
        (b"default_args = {}\ndefault_args['start_date'] = datetime.now()\n", 2),
        (b"START = datetime.now()\nx = DAG('daily', start_date=START)\n", 2),
        (b"NOW = datetime.now()\nSTART = NOW - timedelta(1)\nx = DAG('daily', start_date=START)\n", 3),
        (b"def make():\n    return DAG('daily', start_date=datetime.now())\n", 2),
        (b"def args():\n    return {'owner': 'etl', 'start_date': days_ago(1)}\n", 2),
        (b"def f():\n    x = BashOperator(task_id='x', start_date=datetime.now())\n", 2),
        (b"x = make_dag('daily', start_date=datetime.now())\n", 1),
        (b"if True:\n    START = datetime.now()\nx = DAG('daily', start_date=START)\n", 3),
    ],
)
def test_a_start_date_that_moves(tmp_path: Path, source: bytes, line: int) -> None:
    assert [(one.rule, one.line) for one in lint(tmp_path, source=source)] == [("dynamic-start-date", line)]


@pytest.mark.parametrize(
    "source",
    [
        b"x = DAG('daily', start_date=datetime(2026, 1, 1))\n",
        b"x = DAG('daily', start_date=pendulum.datetime(2026, 1, 1, tz='UTC'))\n",
        b"x = DAG('daily', start_date=datetime(2026, 1, 10) - timedelta(days=1))\n",
        b"x = DAG('daily', end_date=datetime.now())\n",
        b"def task():\n    client.query(start_date=datetime.now())\n",
        b"def task():\n    trigger_dag_run(start_date=datetime.now())\n",
        b"x = PythonOperator(task_id='x', op_kwargs={'start_date': datetime.now()})\n",
        b"query = {'start_date': datetime.now(), 'limit': 3}\n",
        b"start = datetime.now()\ndef make(start):\n    return DAG('daily', start_date=start)\n",
        b"start = datetime.now()\ndef make():\n    start = FIXED\n    return DAG('daily', start_date=start)\n",
        b"START = datetime.now()\nSTART = datetime(2026, 1, 1)\nx = DAG('daily', start_date=START)\n",
        b"x = DAG('daily', start_date=FIRST, params={'end': lambda: datetime.now()})\n",
        b"x = DAG('daily', start_date=datetime.now(\n",
    ],
)
def test_a_start_date_that_stays_or_is_none(tmp_path: Path, source: bytes) -> None:
    assert lint(tmp_path, source=source) == []


def test_a_start_date_that_moves_is_found_where_it_is_written(tmp_path: Path) -> None:
    others = {"defaults.py": b"default_args = {'start_date': days_ago(1)}\n"}
    (one,) = lint(tmp_path, others=others, reads=("defaults.py",))
    assert (one.path, one.line) == ("defaults.py", 1)
    assert lint(tmp_path, others=others) == [], "nobody imports it"


def test_start_dates_are_looked_at_without_an_airflow_too(tmp_path: Path) -> None:
    body = b"import airflow\nx = DAG('daily', start_date=datetime.now())\n"
    checkout = tree(tmp_path, {"a.py": body, "tool.py": body.replace(b"airflow", b"os"), "a.txt": body})
    assert [(one.path, one.line) for one in check(checkout, [], Settings(), "")] == [("a.py", 2)]
    off = Settings(severity={"dynamic-start-date": Severity.OFF})
    assert check(checkout, [], off, "") == []


def test_strange_escapes_and_deep_nesting_stop_nothing(tmp_path: Path) -> None:
    strange = b'import airflow\nx = "\\d"; y = DAG("z", start_date=datetime.now())\n'
    deep = b"import airflow  # start_date\nx = " + b"(" * 5000 + b")" * 5000 + b"\n"
    checkout = tree(tmp_path, {"a.py": strange, "b.py": deep, "c.py": b"airflow start_date \xff\x00"})
    assert [(one.path, one.line) for one in check(checkout, [], Settings(), "")] == [("a.py", 2)]


# Where it is told.


def test_a_dag_whose_source_is_elsewhere_is_told_at_its_file(tmp_path: Path) -> None:
    (one,) = lint(tmp_path, source=b"from elsewhere import dags\n", policy=Policy(dag_id="x"))
    assert (one.path, one.line) == ("a.py", 0)


def test_a_task_under_a_decorator_or_in_a_group_is_found(tmp_path: Path) -> None:
    source = HEADER + b"@dag()\ndef daily():\n    @task\n    def load():\n        pass\n\n    load()\n"
    dag = replace(DAILY, tasks=(replace(LOAD, id="group.load", operator="_PythonDecoratedOperator"),))
    (one,) = lint(tmp_path, dag, source, policy=Policy(forbidden_operators=("_Python*",)))
    assert one.line == 5


def test_a_rule_that_is_off_for_a_path_is_not_asked_there(tmp_path: Path) -> None:
    checkout = tree(tmp_path, {"a.py": SOURCE})
    override = Override(("dags/*",), severity={"dag-id-naming": Severity.OFF})
    settings = Settings(policy=Policy(dag_id="x"), overrides=(override,))
    assert check(checkout, [Imported("a.py", dags=(DAILY,))], settings, "3.3.2") == []
