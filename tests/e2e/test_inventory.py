"""What people see of the inventory: `show` and `diff`, on versions whose reports have one. These look into a directory.

The reports are put into the store as a publisher would write them, so that no Airflow is needed here.
"""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from tests.e2e.harness import BUNDLE, CHECKOUT, COMMANDS, Operator, Repository, environment

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA = json.loads((CHECKOUT / "schemas/json/report.schema.json").read_bytes())
LINT = {
    "bundle": BUNDLE,
    "commit": "0" * 40,
    "findings": [
        {
            "rule": "no-owner", "severity": "warning", "path": "dags/sales.py", "line": 3, "column": None,
            "end_line": None, "end_column": None, "message": "nobody owns it", "hint": "name an owner",
        }
    ],
    "checked": {
        "files": 2, "dag_files": 1, "dags": 1, "cached": 0,
        "environment": {"airflow": "3.3.2", "python": "3.12.8", "command": "python3"},
    },
    "suppressed": 2, "baselined": 0, "seconds": 1.25,
}  # fmt: skip


def task(name: str, operator: str = "PythonOperator", *upstream: str) -> dict[str, Any]:
    return {
        "id": name, "operator": operator, "upstream": list(upstream), "owner": "ada", "email": [], "retries": 0,
        "execution_timeout": None, "mapped": False,
    }  # fmt: skip


def dag(name: str, *tasks: dict[str, Any], schedule: str | None = "@daily", file: str = "sales.py") -> dict[str, Any]:
    return {
        "id": name, "file": file, "schedule": schedule, "start": None, "catchup": False, "owners": ["ada"],
        "tags": [], "params": {}, "dagrun_timeout": None, "import_seconds": 0.25, "tasks": list(tasks),
    }  # fmt: skip


class Shop:
    """A bundle with two versions: ``first`` with one DAG, ``second`` with that one changed, and another."""

    def __init__(self, folder: Path) -> None:
        self.repository = Repository(folder / "clone")
        self.store = folder / "store"
        self.operator = Operator(self.repository.path, self.store.as_uri())
        self.repository.change({"dags/sales.py": "1", "dags/common.py": "1"})
        self.first = self.operator.publish()
        self.repository.change({"dags/sales.py": "2", "dags/common.py": "2", "dags/stock.py": "1"})
        self.second = self.operator.publish()
        self.report(self.first, dags=[dag("sales_daily", task("extract"), task("report", "BashOperator", "extract"))])
        changed = [task("extract"), task("load", "PythonOperator", "extract"), task("report", "BashOperator", "load")]
        self.report(
            self.second,
            dags=[dag("sales_daily", *changed, schedule="@hourly"), dag("stock", schedule=None, file="stock.py")],
        )

    def report(self, version: str, **changes: object) -> None:
        """Store the report of ``version`` anew, as a build with lint writes it."""
        (place,) = self.store.rglob(f"{version}.report.json")
        report = {**json.loads(place.read_bytes()), "lint": LINT, **changes}
        Draft202012Validator(SCHEMA).validate(report)
        place.write_text(json.dumps(report))

    def text(self, *arguments: str, **variables: str) -> str:
        """What a command that succeeds prints for people."""
        done = subprocess.run(
            [*COMMANDS["dagferry"], *arguments],
            cwd=self.repository.path,
            env=environment(DAGFERRY_STORE=self.operator.store_url, **variables),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, ""), done
        return done.stdout


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """Versions with an inventory. Tests do not change it."""
    return Shop(tmp_path_factory.mktemp("shop"))


def test_report_of_a_publication_is_what_its_schema_says(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "clone")
    repository.change({"dags/a.py": ""})
    operator = Operator(repository.path, (tmp_path / "store").as_uri())
    report = operator.run("show", operator.publish("HEAD", "--no-lint"))["report"]
    Draft202012Validator(SCHEMA).validate(report)
    assert (report["lint"], report["dags"]) == (None, None)


def test_show_prints_one_line_for_each_dag_and_what_lint_came_to(shop: Shop) -> None:
    lines = shop.text("show", shop.second).splitlines()
    assert "lint         0 errors, 1 warning, 0 notes, 2 suppressed; Airflow 3.3.2 on Python 3.12.8" in lines
    assert "DAGs         2" in lines
    assert lines[-3:] == [
        "DAG          file      schedule  owners  tasks  import",
        "sales_daily  sales.py  @hourly   ada     3      0.25 s",
        "stock        stock.py  none      ada     0      0.25 s",
    ]


def test_show_as_json_has_the_whole_report(shop: Shop) -> None:
    report = shop.operator.run("show", shop.second)["report"]
    assert report["lint"] == LINT
    assert [one["id"] for one in report["dags"]] == ["sales_daily", "stock"]


def test_show_says_why_there_is_no_inventory(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    shop.report(shop.first, lint=None, dags=None)
    text = shop.text("show", shop.first)
    assert "lint         published without lint\n" in text
    assert "DAGs         not known: it was published without lint\n" in text
    (place,) = shop.store.rglob(f"{shop.first}.report.json")
    report = json.loads(place.read_bytes())
    place.write_text(json.dumps({**report, "lint": {"findings": 7}, "dags": [{"id": "\x1b[31m"}]}))
    text = shop.text("show", shop.first)
    assert "lint         cannot be read: report.lint.findings: expected a list" in text
    assert "DAGs         not known: its inventory cannot be read: report.dags[0].file: missing" in text
    place.write_text("no report")
    assert "DAGs         not known: it has no report that can be read" in shop.text("show", shop.first)


def test_diff_speaks_in_dags_first(shop: Shop) -> None:
    assert shop.text("diff", shop.first, shop.second).splitlines() == [
        f"{shop.first} -> {shop.second}",
        "DAGs: 1 added, 1 changed",
        "+ stock: schedule none, 0 tasks, owned by ada (stock.py)",
        "~ sales_daily:",
        "    schedule @daily -> @hourly",
        "    + task load (PythonOperator) after extract",
        "    + edge load -> report",
        "    - edge extract -> report",
        "files: 1 added, 2 changed",
        "+ stock.py",
        "~ common.py",
        "~ sales.py",
    ]


def test_diff_as_json_wins_over_the_format(shop: Shop) -> None:
    for arguments in ((), ("--format", "markdown")):
        told = shop.operator.run("diff", shop.second, shop.first, *arguments)
        assert {name: len(found) for name, found in told["dags"].items()} == {
            "added": 0, "removed": 1, "moved": 0, "changed": 1,
        }  # fmt: skip
        assert told["dags"]["changed"][0]["fields"] == {"schedule": {"before": "@hourly", "after": "@daily"}}
        assert told["files"]["removed"] == ["stock.py"]
        assert told["no_inventory"] == {}


def test_diff_in_other_formats_by_option_and_by_environment(shop: Shop) -> None:
    page = shop.text("diff", shop.first, shop.second, "--format", "markdown")
    assert page.startswith("<!-- dagferry diff -->\n### DAGs: 1 added, 1 changed\n")
    assert "```mermaid\nflowchart LR\n" in page
    assert shop.text("diff", shop.first, shop.second, DAGFERRY_FORMAT="markdown") == page
    chart = shop.text("diff", shop.first, shop.second, "--format", "mermaid", DAGFERRY_FORMAT="markdown")
    assert chart.startswith("flowchart LR\n")
    assert '["load<br/>PythonOperator<br/>added"]' in chart


def test_diff_in_an_unknown_format_names_those_there_are(shop: Shop) -> None:
    error = shop.operator.fail(2, "diff", shop.first, shop.second, "--format", "html")
    assert "markdown" in error["message"]


def test_diff_without_an_inventory_says_which_version_has_none_and_what_to_do(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    shop.report(shop.first, dags=None)
    assert shop.text("diff", shop.first, shop.second).splitlines()[1:5] == [
        "DAGs: not known",
        f"  {shop.first} has no inventory of its DAGs: no Airflow took part in its lint",
        "  a published version never changes: the next commit that is published with lint and an Airflow has one",
        "files: 1 added, 2 changed",
    ]
    told = shop.operator.run("diff", shop.first, shop.second)
    assert told["dags"] is None
    assert told["no_inventory"] == {shop.first: "no Airflow took part in its lint"}
    assert told["files"]["added"] == ["stock.py"]


def test_what_a_repository_says_sends_nothing_to_a_terminal(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    shop.report(shop.second, dags=[dag("\x1b[31m\u202ered", task("\x07"), schedule="\n")])
    for said in (shop.text("diff", shop.first, shop.second), shop.text("show", shop.second)):
        assert "\\x1b[31m\\u202ered" in said
        assert all(character.isprintable() for line in said.split("\n") for character in line)
