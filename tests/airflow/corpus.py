"""The seeded corpus as trees to lint: as few as possible, because every tree costs the start of an Airflow."""

from __future__ import annotations

import json
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

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dagferry_builder.lint.result import Result

CORPUS: Final = Path(__file__).parents[1] / "lint" / "corpus"
CASES: Final[list[dict[str, Any]]] = json.loads((CORPUS / "manifest.json").read_text())
BY_PATH: Final = {"severity", "policy"}
"""Settings that an override can give to one case; all others are for a whole tree."""


def files_of(side: str, name: str) -> dict[str, bytes]:
    """The files of one twin, by their path in the tree."""
    single = CORPUS / side / f"{name}.py"
    if single.is_file():
        return {single.name: single.read_bytes()}
    folder = CORPUS / side / name
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


class CorpusTree:
    """Cases that are linted together: no two have a file of the same path, and all want the same of the whole tree."""

    def __init__(self, side: str, settings: Mapping[str, Any]) -> None:
        self.side = side
        self.settings = settings
        self.files: dict[str, bytes] = {}
        self.cases: dict[str, set[str]] = {}
        self._overrides: list[dict[str, Any]] = []

    def takes(self, case: Mapping[str, Any]) -> bool:
        """Take the case, if there is room for it."""
        files = files_of(self.side, case["name"])
        settings = case.get("settings") or {}
        if self.settings != _whole(settings) or self.files.keys() & files.keys():
            return False
        self.files.update(files)
        self.cases[case["name"]] = {f"dags/{path}" for path in files}
        override = {name: value for name, value in settings.items() if name in BY_PATH}
        if override:
            self._overrides.append({"paths": sorted(self.cases[case["name"]]), **override})
        return True

    def lint(self, folder: Path, python: Path) -> Result:
        """What lint says of the tree."""
        clone = Clone(folder)
        clone.commit({f"dags/{path}": body for path, body in self.files.items()})
        table = {**self.settings, "overrides": self._overrides}
        settings = read_settings(table, "the corpus", frozenset(RULES), locked=False)
        around = Surroundings(interpreter=Interpreter((str(python),), local=True))
        return lint(Repository(clone.folder), Bundle("corpus", Selection.below("dags")), "HEAD", settings, around)


def trees(side: str, airflow: str) -> list[CorpusTree]:
    """All cases for a version of Airflow."""
    found: list[CorpusTree] = []
    for case in CASES:
        if airflow in case["airflow"] and not any(one.takes(case) for one in found):
            found.append(CorpusTree(side, _whole(case.get("settings") or {})))
            assert found[-1].takes(case)
    return found


def _whole(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name not in BY_PATH}


def findings_by_case(tree: CorpusTree, result: Result) -> dict[str, list[tuple[str, int, str]]]:
    """(rule, line, message) of each case's findings; those of no case are under ''."""
    found: dict[str, list[tuple[str, int, str]]] = {name: [] for name in ["", *tree.cases]}
    for one in result.findings:
        owner = next((name for name, paths in tree.cases.items() if one.path in paths), "")
        found[owner].append((one.rule, one.line, one.message))
    return found


def all_findings(side: str, airflow: str, folder: Path, python: Path) -> dict[str, list[tuple[str, int, str]]]:
    """What lint says of every case."""
    every: dict[str, list[tuple[str, int, str]]] = {}
    for number, tree in enumerate(trees(side, airflow)):
        every.update(_named(findings_by_case(tree, tree.lint(folder / str(number), python)), number))
    return every


def _named(found: Mapping[str, list[Any]], number: int) -> Iterable[tuple[str, list[Any]]]:
    return ((name or f"tree {number}", findings) for name, findings in found.items())
