"""The seeded corpus is whole: every case has its files, every file its case, and no two cases share a DAG id."""

from __future__ import annotations

import ast
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

CORPUS = Path(__file__).parent / "corpus"
MANIFEST: list[dict[str, Any]] = json.loads((CORPUS / "manifest.json").read_text())
NAMES = [case["name"] for case in MANIFEST]
RULE = re.compile(r"[a-z]+(-[a-z]+)+|[A-Z]+[0-9]+")
FEWEST_CASES = 45


def tree_of(side: str, name: str) -> dict[str, bytes]:
    """The files of one twin by their path in the tree."""
    single = CORPUS / side / f"{name}.py"
    if single.is_file():
        return {single.name: single.read_bytes()}
    folder = CORPUS / side / name
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not fresh_bytecode(path)
    }


def fresh_bytecode(path: Path) -> bool:
    """Whether ``path`` is what a Python left here that imported a file of the corpus, and no part of a case."""
    return path.parent.name == "__pycache__" and (path.parent.parent / f"{path.name.split('.')[0]}.py").exists()


def test_there_are_enough_cases_and_each_has_a_name_of_its_own() -> None:
    assert len(MANIFEST) >= FEWEST_CASES
    assert [name for name, count in Counter(NAMES).items() if count > 1] == []


@pytest.mark.parametrize("side", ["faults", "clean"])
def test_every_file_belongs_to_a_case(side: str) -> None:
    found = {path.name.removesuffix(".py") for path in (CORPUS / side).iterdir() if path.name != "__pycache__"}
    assert found == set(NAMES)


@pytest.mark.parametrize("case", MANIFEST, ids=NAMES)
def test_a_case_says_all_that_it_has_to_say(case: dict[str, Any]) -> None:
    assert set(case) - {"path", "settings"} == {"name", "rule", "also", "airflow", "line", "why"}
    assert [rule for rule in [case["rule"], *case["also"]] if not RULE.fullmatch(rule)] == []
    assert case["rule"] not in case["also"]
    assert case["airflow"] in (["2.11"], ["3.3"], ["2.11", "3.3"])
    assert case["why"].endswith(".")


@pytest.mark.parametrize("case", MANIFEST, ids=NAMES)
def test_the_place_of_a_fault_exists(case: dict[str, Any]) -> None:
    tree = tree_of("faults", case["name"])
    path = case.get("path") or (next(iter(tree)) if len(tree) == 1 else None)
    assert path is None or path in tree
    if case["line"] is not None:
        assert path is not None
        assert 1 <= case["line"] <= len(tree[path].splitlines())
        assert tree[path].splitlines()[case["line"] - 1].strip()


@pytest.mark.parametrize("name", NAMES)
def test_the_twins_differ(name: str) -> None:
    assert tree_of("faults", name) != tree_of("clean", name)


@pytest.mark.parametrize("name", NAMES)
def test_the_clean_twin_is_python(name: str) -> None:
    for path, content in tree_of("clean", name).items():
        if path.endswith(".py"):
            ast.parse(content, path)
