from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import pytest

from dagferry_builder import git, problems, selecting, selection
from dagferry_builder.lint import files
from dagferry_builder.lint.settings import Settings
from tests.builder.repositories import Clone
from tests.lint.trees import tree

if TYPE_CHECKING:
    from pathlib import Path

MISPLACED = {
    ".git/config": "dags.git/config",
    ".hg/store": "hg/store",
    ".idea/workspace.xml": "idea/workspace.xml",
    ".vscode/settings.json": "vscode/settings.json",
    ".ipynb_checkpoints/a-checkpoint.py": "ipynb_checkpoints.py",
    ".terraform/providers/x": "terraform/main.tf",
    ".venv/bin/activate": "venv_notes.txt",
    "node_modules/left-pad/index.js": "node_modules.py",
    "tasks.egg-info/PKG-INFO": "tasks.egg/readme",
    ".DS_Store": "DS_Store.txt",
    "Thumbs.db": "thumbs.py",
    "airflow.cfg": "airflow.cfg.md",
    "airflow.db": "airflow_db.py",
    "data.sqlite3": "sqlite3.sql",
    "backup.dump": "dump.py",
    "prod.sql.gz": "prod.sql",
    "scheduler.pid": "pid.py",
    "terraform.tfstate": "terraform.tf",
    ".env": ".env.example",
    ".env.prod": ".env.template",
    "etl.py.orig": "orig.py",
    "etl.py.rej": "rej.py",
    "etl.py.bak": "bak.py",
    "etl.py~": "etl.py",
    ".etl.py.swp": "swp.py",
    "#etl.py#": "#1.sql",
    ".#etl.py": ".airflowignore",
}
COMPILED = {
    "__pycache__/etl.cpython-311.pyc": "pycache.py",
    "old.pyc": "pyc.py",
    "old.pyo": "pyo.py",
    "fast.cpython-311-x86_64-linux-gnu.so": "libodbc.so",
    "fast.cp311-win_amd64.pyd": "fast.abi3.so",
}


def rules(tmp_path: Path, *paths: str, settings: Settings | None = None) -> list[tuple[str, str]]:
    checkout = tree(tmp_path, dict.fromkeys(paths, b"x"))
    return [(one.rule, one.path) for one in files.check(checkout, settings or Settings())]


@pytest.mark.parametrize("path", MISPLACED)
@pytest.mark.parametrize("below", ["", "team/etl/"])
def test_what_does_not_belong_there_is_found_anywhere(tmp_path: Path, path: str, below: str) -> None:
    assert rules(tmp_path, below + path) == [("misplaced-file", below + path)]


@pytest.mark.parametrize("path", COMPILED)
@pytest.mark.parametrize("below", ["", "team/etl/"])
def test_compiled_python_is_found_anywhere(tmp_path: Path, path: str, below: str) -> None:
    assert rules(tmp_path, below + path) == [("compiled-leftover", below + path)]


@pytest.mark.parametrize("path", [*MISPLACED.values(), *COMPILED.values(), "build/dag.py", "etl/a.json"])
def test_what_only_resembles_it_is_fine(tmp_path: Path, path: str) -> None:
    assert rules(tmp_path, path) == []


def test_a_folder_is_one_finding_with_the_number_of_its_files(tmp_path: Path) -> None:
    inside = [f"ui/node_modules/{name}/index.js" for name in "abc"]
    checkout = tree(tmp_path, dict.fromkeys([*inside, "ui/node_modules/a/node_modules/x.pyc", "ui/app.py"], b"x"))
    (finding,) = files.check(checkout, Settings())
    assert finding.path == "ui/node_modules/a/index.js"
    assert finding.message == "ui/node_modules/ is packages of JavaScript, 4 file(s)"


def test_a_virtual_environment_is_known_by_what_is_in_it(tmp_path: Path) -> None:
    paths = [
        "my-python/bin/activate",
        "my-python/pyvenv.cfg",
        "my-python/lib/python3.11/site-packages/x.py",
        "env/a.py",
    ]
    assert rules(tmp_path, *paths) == [("misplaced-file", "my-python/bin/activate")]


def test_a_bundle_that_is_a_virtual_environment_itself_is_looked_through(tmp_path: Path) -> None:
    assert rules(tmp_path, "pyvenv.cfg", "old.pyc") == [("compiled-leftover", "old.pyc")]


def test_a_db_file_counts_if_it_is_one_of_sqlite(tmp_path: Path) -> None:
    database = sqlite3.connect(tmp_path / "real.db")
    database.execute("CREATE TABLE one (two)")
    database.close()
    checkout = tree(tmp_path, {"real.db": (tmp_path / "real.db").read_bytes(), "berkeley.db": b"\0" * 64, "no.db": b""})
    assert [(one.rule, one.path) for one in files.check(checkout, Settings())] == [("misplaced-file", "real.db")]


def test_a_file_is_large_above_its_limit(tmp_path: Path) -> None:
    checkout = tree(tmp_path, {"at.csv": b"x" * 2**19, "above.csv": b"x" * (2**19 + 1)})
    (finding,) = files.check(checkout, Settings(file_mb=0.5))
    assert (finding.rule, finding.path) == ("large-file", "above.csv")
    assert "0.5 MiB" in finding.message


def test_a_bundle_is_large_above_its_limit(tmp_path: Path) -> None:
    checkout = tree(tmp_path, {"a.csv": b"x" * 2**19, "b.csv": b"x" * (2**19 + 1)})
    assert files.check(checkout, Settings(bundle_mb=1.1)) == []
    (finding,) = files.check(checkout, Settings(bundle_mb=1))
    assert (finding.rule, finding.path) == ("large-bundle", "")
    assert "the largest is b.csv" in finding.message


def test_each_reason_that_packing_has_is_a_finding_at_its_path(tmp_path: Path) -> None:
    clone = Clone(tmp_path / "clone")
    pointer = b"version https://git-lfs.example.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 7\n"
    (clone.folder / "it's a link").symlink_to("nowhere")
    (clone.folder / "out").symlink_to("/etc/passwd")
    commit = clone.commit({"dags/etl.py": b"x", "dags/ETL.py": b"x", "big.bin": pointer})
    with pytest.raises(problems.CannotPack) as caught:
        selecting.select(git.Repository(clone.folder), commit, selection.Selection())
    found = files.from_problems(caught.value.problems)
    assert {(one.rule, one.path) for one in found} == {
        ("cannot-pack", "it's a link"),
        ("cannot-pack", "out"),
        ("cannot-pack", "dags/ETL.py"),
        ("cannot-pack", "big.bin"),
    }
    assert len(found) == len(caught.value.problems) == 4


def test_a_problem_without_a_path_is_a_finding_of_the_bundle() -> None:
    (finding,) = files.from_problems(["something is wrong"])
    assert (finding.path, finding.message) == ("", "something is wrong")
