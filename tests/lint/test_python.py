"""What is called an error really is one: Python compiles and runs the bad snippets here, and the good ones."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest

from dagferry_builder.lint import python, python_rules
from dagferry_builder.lint.finding import Severity
from dagferry_builder.lint.rules import RULES
from dagferry_builder.lint.settings import Override, Settings
from dagferry_schemas.errors import Usage
from tests.lint.trees import tree

if TYPE_CHECKING:
    from pathlib import Path

REFUSED = {
    "F404": ("import os\nfrom __future__ import annotations\n", "from __future__ import annotations\nimport os\n"),
    "F407": ("from __future__ import braces_please\n", "from __future__ import annotations\n"),
    "F622": ("*a, *b = [1, 2]\n", "*a, b = [1, 2]\n"),
    "F701": ("break\n", "while True:\n    break\n"),
    "F702": ("continue\n", "for x in ():\n    continue\n"),
    "F704": ("class A:\n    yield 1\n", "def a():\n    yield 1\n"),
    "F706": ("return 1\n", "def a():\n    return 1\n"),
    "F707": (
        "try:\n    pass\nexcept:\n    pass\nexcept ValueError:\n    pass\n",
        "try:\n    pass\nexcept ValueError:\n    pass\nexcept:\n    pass\n",
    ),
    "PLE0115": (
        "def a():\n    x = 1\n    def b():\n        nonlocal x\n        global x\n",
        "def a():\n    x = 1\n    def b():\n        nonlocal x\n",
    ),
    "PLE0117": ("def a():\n    nonlocal x\n", "def a():\n    x = 1\n    def b():\n        nonlocal x\n"),
    "PLE0118": (
        "x = 1\ndef a():\n    print(x)\n    global x\n    x = 2\n",
        "x = 1\ndef a():\n    global x\n    x = 2\n",
    ),
    "PLE1142": ("def a(b):\n    await b\n", "async def a(b):\n    await b\n"),
    "PLE1700": ("async def a(b):\n    yield from b\n", "def a(b):\n    yield from b\n"),
}
RAISES = {
    "F501": ("'%.' % 1\n", "'%s' % 1\n"),
    "F502": ("'%(a)s' % (1,)\n", "'%(a)s' % {'a': 1}\n"),
    "F505": ("'%(a)s %(b)s' % {'a': 1}\n", "'%(a)s' % {'a': 1}\n"),
    "F506": ("'%(a)s %s' % {'a': 1}\n", "'%s %s' % (1, 2)\n"),
    "F507": ("'%s %s' % (1,)\n", "'%s %s' % (1, 2)\n"),
    "F508": ("'%*d' % {'a': 1}\n", "'%*d' % (2, 1)\n"),
    "F509": ("'%y' % 1\n", "'%d' % 1\n"),
    "F521": ("'{'.format(1)\n", "'{}'.format(1)\n"),
    "F524": ("'{} {}'.format(1)\n", "'{} {}'.format(1, 2)\n"),
    "F525": ("'{} {1}'.format(1, 2)\n", "'{0} {1}'.format(1, 2)\n"),
    "F633": ("import sys\nprint >> sys.stderr\n", "import sys\nprint('', file=sys.stderr)\n"),
    "F821": ("undefined_name\n", "defined = 1\ndefined\n"),
    "F823": (
        "import os\ndef a():\n    print(os.sep)\n    import os\na()\n",
        "import os\ndef a():\n    print(os.sep)\na()\n",
    ),
    "F901": ("raise NotImplemented\n", "NotImplemented\n"),
    "PLE0241": ("class A: pass\nclass B(A, A): pass\n", "class A: pass\nclass B(A): pass\n"),
    "PLE1132": ("print(1, sep='', **{'sep': ''})\n", "print(1, **{'sep': ''})\n"),
    "PLE1307": ("'%d' % '1'\n", "'%d' % 1\n"),
}
ODD = {
    "F631": ("assert (False, 'never')\n", "assert True, 'never'\n"),
    "F632": ("def a(x):\n    return x is 'done'\n", "def a(x):\n    return x == 'done'\n"),
    "F634": ("if (False,):\n    pass\n", "if (False):\n    pass\n"),
    "PLE1205": ("import logging\nlogging.info('%s', 1, 2)\n", "import logging\nlogging.info('%s', 1)\n"),
    "PLE1206": ("import logging\nlogging.info('%s %s', 1)\n", "import logging\nlogging.info('%s %s', 1, 2)\n"),
}
DAG = "from datetime import datetime\nfrom airflow.sdk import DAG\n"
AIRFLOW = {
    "AIR301": (DAG + "DAG('a', schedule_interval='@daily')\n", DAG + "DAG('a', schedule='@daily')\n"),
    "AIR302": (
        "from airflow.operators.dummy import DummyOperator\nDummyOperator(task_id='a')\n",
        "from airflow.providers.standard.operators.empty import EmptyOperator\nEmptyOperator(task_id='a')\n",
    ),
    "AIR303": (
        "from airflow.sdk import Asset\nAsset('a', {'b': 'c'})\n",
        "from airflow.sdk import Asset\nAsset('a', extra={'b': 'c'})\n",
    ),
    "AIR311": (
        "from airflow.datasets import Dataset\nDataset('a')\n",
        "from airflow.sdk import Asset\nAsset('a')\n",
    ),
    "AIR312": (
        "from airflow.operators.bash import BashOperator\nBashOperator(task_id='a', bash_command='true')\n",
        "from airflow.sdk import BaseOperator\nBaseOperator(task_id='a')\n",
    ),
    "AIR321": (
        "from airflow.utils.task_group import TaskGroup\nTaskGroup('a')\n",
        "from airflow.sdk import TaskGroup\nTaskGroup('a')\n",
    ),
    "AIR304": (
        DAG + "DAG('a', schedule=None, start_date=datetime.now())\n",
        DAG + "DAG('a', schedule=None, start_date=datetime(2026, 1, 1))\n",
    ),
    "AIR003": (
        DAG + "from airflow.sdk import Variable\nDAG('a', schedule=Variable.get('cron'))\n",
        DAG + "from airflow.sdk import Variable, task\n@task\ndef a():\n    return Variable.get('cron')\n",
    ),
}
CASES = {**REFUSED, **RAISES, **ODD, **AIRFLOW}


def codes(
    tmp_path: Path,
    text: str,
    settings: Settings | None = None,
    airflow_version: str | None = "3.3.2",
    *,
    with_airflow: bool = False,
) -> set[str]:
    checkout = tree(tmp_path, {"dag.py": text.encode()})
    findings = python.check(
        checkout, settings or Settings(), airflow_version=airflow_version, with_airflow=with_airflow
    )
    return {one.rule for one in findings}


def test_every_rule_has_a_case() -> None:
    assert {*CASES, "syntax-error"} == {rule.id for rule in python.RULES}
    assert {rule.id for rule in python.RULES} < set(RULES)


@pytest.mark.parametrize("code", CASES)
def test_a_rule_fires_on_the_bad_and_not_on_the_good(tmp_path: Path, code: str) -> None:
    bad, good = CASES[code]
    asked = Settings(severity={code: Severity.WARNING})
    assert code in codes(tmp_path / "bad", bad, asked)
    assert codes(tmp_path / "good", good, asked) == set()


def test_old_names_that_still_work_are_no_finding_unless_somebody_asks(tmp_path: Path) -> None:
    assert codes(tmp_path, "from airflow import DAG\nDAG('a', schedule=None)\n") == set()


@pytest.mark.parametrize("code", REFUSED)
def test_what_is_said_to_be_refused_is_refused_by_python(code: str) -> None:
    bad, good = REFUSED[code]
    with pytest.raises(SyntaxError):
        compile(bad, "bad.py", "exec")
    compile(good, "good.py", "exec")


@pytest.mark.parametrize("code", RAISES)
def test_what_is_said_to_raise_raises(code: str) -> None:
    bad, good = RAISES[code]
    ran = [
        subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=False)
        for text in (bad, good)
    ]
    assert [one.returncode for one in ran] == [1, 0]
    assert ran[0].stderr.strip().splitlines()[-1].partition(":")[0] in RULES[code].explanation


@pytest.mark.parametrize("version", [None, "2.11.2"])
def test_an_airflow_that_is_not_3_is_not_told_what_3_changed(tmp_path: Path, version: str | None) -> None:
    text = "".join(bad for code, (bad, _) in AIRFLOW.items() if code not in ("AIR304", "AIR003"))
    assert codes(tmp_path, text, airflow_version=version) == set()


def test_what_moved_in_3_1_is_no_news_for_3_0(tmp_path: Path) -> None:
    asked = Settings(severity={"AIR3": Severity.WARNING})
    assert codes(tmp_path / "0", AIRFLOW["AIR321"][0], asked, airflow_version="3.0.6") == set()
    assert codes(tmp_path / "1", AIRFLOW["AIR321"][0], asked, airflow_version="3.1") == {"AIR321"}


def test_variables_are_left_to_a_real_airflow_where_one_takes_part(tmp_path: Path) -> None:
    assert codes(tmp_path, AIRFLOW["AIR003"][0], with_airflow=True) == set()


@pytest.mark.parametrize("name", python_rules.STILL_THERE)
def test_what_airflow_3_still_has_is_no_error(tmp_path: Path, name: str) -> None:
    module, _, item = name.rpartition(".")
    gone = AIRFLOW["AIR302"][0]
    assert codes(tmp_path, f"from {module} import {item}\n{item}()\n{gone}") & {"AIR301", "AIR302"} == {"AIR302"}
    assert codes(tmp_path / "alone", f"from {module} import {item}\n{item}()\n") & {"AIR301", "AIR302"} == set()


def test_an_import_that_waits_for_its_failure_is_fine(tmp_path: Path) -> None:
    text = """
        try:
            from airflow.providers.standard.operators.empty import EmptyOperator
        except ImportError:
            from airflow.operators.dummy import DummyOperator as EmptyOperator
        EmptyOperator(task_id="a")
    """
    assert codes(tmp_path, textwrap.dedent(text)) == set()


def test_a_syntax_error_has_its_place_and_is_told_once_a_file(tmp_path: Path) -> None:
    checkout = tree(tmp_path, {"helpers/text.py": "x = 'é'\ndef f(:\n  (\n".encode(), "dag.py": b"x = 1\n"})
    (finding,) = python.check(checkout, Settings())
    assert (finding.rule, finding.path, finding.line, finding.column) == ("syntax-error", "helpers/text.py", 2, 7)
    assert (finding.end_line, finding.end_column, finding.severity) == (2, 8, Severity.ERROR)


def test_syntax_is_that_of_productions_python(tmp_path: Path) -> None:
    text = "type Row = dict[str, int]\n"
    assert codes(tmp_path, text, Settings(python_version="3.11.9")) == {"syntax-error"}
    assert codes(tmp_path, text, Settings(python_version="3.12")) == set()
    assert codes(tmp_path, text) == set()
    checkout = tree(tmp_path, {"dag.py": text.encode()})
    assert [one.rule for one in python.check(checkout, Settings(), python_version="3.10")] == ["syntax-error"]
    assert python.check(checkout, Settings(python_version="3.12"), python_version="3.10") == []


@pytest.mark.parametrize("version", ["3.6", "3.40"])
def test_a_python_that_ruff_does_not_know_is_the_nearest_that_it_knows(tmp_path: Path, version: str) -> None:
    assert codes(tmp_path, "undefined_name\n", Settings(python_version=version)) == {"F821"}


def test_every_python_file_is_looked_at(tmp_path: Path) -> None:
    """Ruff alone would pass over most of these, or read its configuration from them."""
    folders = ["", "build", "dist", ".venv/lib", "venv", "node_modules", ".hidden", "site-packages", "_build"]
    files = {f"{folder}/dag.py".lstrip("/"): b"undefined_name\n" for folder in folders}
    other = {
        ".gitignore": b"*.py\n",
        "ruff.toml": b"[broken",
        "pyproject.toml": b"[tool.ruff]\nexclude = ['*']\n",
        "notebook.ipynb": b"{}",
        "stub.pyi": b"undefined_name\n",
        "ruff.py": b"raise SystemExit(3)\n",
    }
    findings = python.check(tree(tmp_path, files | other), Settings())
    assert {(one.rule, one.path) for one in findings} == {("F821", path) for path in files}


def test_a_tree_without_python_has_no_findings(tmp_path: Path) -> None:
    assert python.check(tree(tmp_path, {"query.sql": b"SELECT 1"}), Settings()) == []


def test_another_encoding_is_fine_if_the_file_says_so(tmp_path: Path) -> None:
    files = {
        "said.py": "# -*- coding: latin-1 -*-\nx = 'ä'\n".encode("latin-1"),
        "silent.py": "x = 'ä'\n".encode("latin-1"),
        "wrong.py": "# -*- coding: latin-1 -*-\nx = 'ä'\ndef (\n".encode("latin-1"),
        "utf8.py": "x = 'ä'\n".encode(),
    }
    findings = python.check(tree(tmp_path, files), Settings())
    assert [(one.rule, one.path) for one in findings] == [("syntax-error", "silent.py"), ("syntax-error", "wrong.py")]


@pytest.mark.parametrize("comment", ["# noqa", "# noqa: F821", "# ruff: noqa: F821", "# ruff: ignore[F821]"])
def test_comments_of_ruff_hide_nothing(tmp_path: Path, comment: str) -> None:
    text = f"undefined_name  {comment}\n" if "ruff: noqa" not in comment else f"{comment}\nundefined_name\n"
    assert codes(tmp_path, text) == {"F821"}


def test_no_comment_hides_a_syntax_error(tmp_path: Path) -> None:
    assert codes(tmp_path, "# ruff: noqa\ndef f(:  # noqa\n") == {"syntax-error"}


def test_comments_of_ruff_hide_no_rule_in_preview(tmp_path: Path) -> None:
    assert codes(tmp_path, AIRFLOW["AIR304"][0].rstrip() + "  # noqa: AIR304\n") == {"AIR304"}


def test_the_configuration_asks_for_other_rules_by_their_whole_code(tmp_path: Path) -> None:
    text = "import os\ndef f(x=[]):\n    return x\n"
    assert codes(tmp_path, text) == set()
    assert codes(tmp_path, text, Settings(severity={"B006": Severity.ERROR})) == {"B006"}
    override = Override(("team_a/*",), severity={"B006": Severity.WARNING})
    assert codes(tmp_path, text, Settings(overrides=(override,))) == {"B006"}
    assert codes(tmp_path, text, Settings(severity={"F": Severity.WARNING})) == set()


def test_a_rule_for_airflow_3_can_be_asked_in_airflow_2(tmp_path: Path) -> None:
    settings = Settings(severity={"AIR312": Severity.NOTE, "AIR321": Severity.NOTE})
    text = AIRFLOW["AIR312"][0] + AIRFLOW["AIR321"][0]
    assert codes(tmp_path, text, settings, airflow_version="2.11.2") == {"AIR312", "AIR321"}


def test_a_preview_rule_of_ruff_can_be_asked(tmp_path: Path) -> None:
    text = "numbers = {1}\nfor number in numbers:\n    numbers.add(number + 1)\n"
    assert codes(tmp_path, text, Settings(severity={"PLE4703": Severity.NOTE})) == {"PLE4703"}


def test_a_rule_that_is_off_is_not_asked(tmp_path: Path) -> None:
    assert codes(tmp_path, "undefined_name\n", Settings(severity={"F821": Severity.OFF})) == set()
    assert codes(tmp_path, "def f(:\n", Settings(severity={"syntax-error": Severity.OFF})) == set()
    somewhere = Override(("a/*",), severity={"F821": Severity.ERROR})
    settings = Settings(severity={"F8": Severity.OFF}, overrides=(somewhere,))
    assert codes(tmp_path, "undefined_name\n", settings) == {"F821"}


def test_any_rule_of_ruff_is_explained() -> None:
    assert python.explain_code("F821") is RULES["F821"]
    other = python.explain_code("B006")
    assert other is not None
    assert (other.id, other.source, other.severity) == ("B006", "python", Severity.OFF)
    assert "mutable" in other.title
    assert "mutable" in other.explanation
    assert other.hint.endswith("/mutable-argument-default")


@pytest.mark.parametrize("code", ["XYZ123", "F", "--all", "f821", ""])
def test_what_is_no_rule_of_ruff_is_not_explained(code: str) -> None:
    assert python.explain_code(code) is None


@pytest.mark.parametrize("code", ["XYZ123", "AIR999", "XYZ"])
def test_a_severity_for_a_code_that_ruff_does_not_have_is_refused(tmp_path: Path, code: str) -> None:
    with pytest.raises(Usage, match=code):
        codes(tmp_path, "x = 1\n", Settings(severity={code: Severity.ERROR}))


PROGRAM = """
import sys
from pathlib import Path
from dagferry_builder.lint import python
from dagferry_builder.lint.settings import Settings
from dagferry_schemas.errors import MachineFault
from tests.lint.trees import tree
try:
    python.check(tree(Path(sys.argv[1]), {"a.py": b"x = 1"}), Settings())
except MachineFault as fault:
    print(fault.message, "|", fault.hint)
"""
BROKEN = {
    "missing": ('raise ImportError("no ruff here")', None, "not installed: no ruff here"),
    "no_binary": ('def find_ruff_bin():\n    raise FileNotFoundError("no binary")', None, "not installed: no binary"),
    "not_a_program": ("def find_ruff_bin():\n    return __file__", None, "it cannot be started"),
    "dies": (None, "echo out of luck >&2; exit 134", "it ended with 134: out of luck"),
    "is_killed": (None, "kill -9 $$", "it ended with -9: no reason given"),
    "babbles": (None, "echo hello", "its answer is not JSON"),
    "another_form": (None, """echo '[{"code": "F821"}]'""", "its answer has another form"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_ruff_that_does_not_work_is_told_with_what_to_do(tmp_path: Path, case: str) -> None:
    """In another process, where a package of that name is in front of the real one."""
    package, script, said = BROKEN[case]
    program = tmp_path / "ruff-program"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    (tmp_path / "ruff").mkdir()
    (tmp_path / "ruff/__init__.py").write_text(package or f"def find_ruff_bin():\n    return {str(program)!r}\n")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "tree")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert said in done.stdout
    assert "'dagferry[builder]'" in done.stdout


def test_the_environment_does_not_configure_ruff(tmp_path: Path) -> None:
    aside = tmp_path / "aside.json"
    program = PROGRAM.replace('b"x = 1"', 'b"undefined_name"').replace("    python.check", "    found = python.check")
    done = subprocess.run(
        [sys.executable, "-c", program + "print([one.rule for one in found])", str(tmp_path / "tree")],
        env={
            **os.environ,
            "RUFF_OUTPUT_FILE": str(aside),
            "RUFF_OUTPUT_FORMAT": "github",
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "['F821']"
    assert not aside.exists()
