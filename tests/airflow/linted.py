"""Small trees that are linted with a real Airflow: in this process, or with the program."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dagferry_builder.config import Bundle
from dagferry_builder.git import Repository
from dagferry_builder.lint.engine import Surroundings, lint
from dagferry_builder.lint.interpreter import Interpreter
from dagferry_builder.lint.rules import RULES
from dagferry_builder.lint.settings import read_settings
from dagferry_builder.selection import Selection
from tests.builder.repositories import Clone
from tests.e2e import harness

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dagferry_builder.lint.result import Result

HOSTILE: Final = Path(__file__).parents[1] / "lint" / "hostile"
CONFIG: Final = b'[bundles.etl]\nroot = "dags"\n'
DAG: Final = """\
from datetime import datetime, timedelta

try:
    from airflow.sdk import DAG, task
except ImportError:
    from airflow import DAG
    from airflow.decorators import task

{above}
with DAG(
    {name},
    schedule="@daily",
    start_date=datetime(2025, 1, 1),
    catchup=False,
    default_args={{"owner": "platform", "retries": 2, "execution_timeout": timedelta(minutes=30)}},
    tags=["platform"],
):

    @task
    def work():
        return "done"

    work()
    {inside}
"""


def dag(name: str, above: str = "", inside: str = "", *, expression: str = "") -> bytes:
    """A plain DAG file that no rule has anything to say of, with lines of one's own above the DAG and inside it.

    ``expression`` is Python for the id, in place of the ``name``.
    """
    return DAG.format(name=expression or repr(name), above=above, inside=inside).encode()


def below_dags(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """A repository whose bundle's root has ``files``."""
    return {"dagferry.toml": CONFIG, **{f"dags/{path}": body for path, body in files.items()}}


def lint_clone(clone: Clone, python: Path | Interpreter, *, cache: Path | None = None, **table: Any) -> Result:  # noqa: ANN401 (a table of TOML)
    """Lint what is committed; ``table`` is the table [lint]."""
    settings = read_settings(table, "the test", frozenset(RULES), locked=False)
    interpreter = python if isinstance(python, Interpreter) else Interpreter((str(python),), local=True)
    around = Surroundings(interpreter=interpreter, cache_folder=cache)
    return lint(Repository(clone.folder), Bundle("etl", Selection.below("dags")), "HEAD", settings, around)


def lint_files(folder: Path, files: Mapping[str, bytes], python: Path | Interpreter, **table: Any) -> Result:  # noqa: ANN401 (a table of TOML)
    """Lint ``files``, with the table [lint]."""
    clone = Clone(folder)
    clone.commit(below_dags(files))
    return lint_clone(clone, python, **table)


def rules_by_file(result: Result) -> dict[str, set[str]]:
    """The rules that found something, by the file's path in the tree."""
    found: dict[str, set[str]] = {}
    for one in result.findings:
        found.setdefault(one.path.removeprefix("dags/"), set()).add(one.rule)
    return found


def ids(result: Result) -> set[str]:
    """The ids in the inventory."""
    assert result.inventory is not None
    return {one.id for one in result.inventory}


def lint_command(python: Path | str, *more: str) -> list[str]:
    """The words of `dagferry lint` with that interpreter."""
    return [*harness.COMMANDS["dagferry"], "lint", "-o", "json", "--python", str(python), *more]


def process_namespace() -> list[str]:
    """Words that run what follows where it sees only its own processes, and dies with all of them."""
    words = ["--pid", "--fork", "--kill-child", "--mount-proc"]
    if os.getuid() == 0 and shutil.which("unshare"):
        return ["unshare", *words]
    return []
