"""What the imports of a whole tree say: the findings of each file, and those that only all of them together show."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .airflow_rules import BY_ID
from .finding import found

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .finding import Finding
    from .imported import Imported


def findings_of(imports: Sequence[Imported]) -> list[Finding]:
    """The findings in the reports, and those that only all of them together show."""
    imported_by_others = {read for one in imports for read in one.reads if read != one.path}
    results = []
    for one in imports:
        for problem in one.problems:
            if problem.rule in ("dag-not-found", "uncalled-factory") and problem.path in imported_by_others:
                continue  # a factory: the files that import it make the DAGs
            rule = BY_ID[problem.rule]
            results.append(found(rule, problem.path, problem.message, line=problem.line, hint=problem.hint))
    if not any(one.problems or (one.dags and not one.skipped) for one in imports):
        results.append(found(BY_ID["no-dags"], "", f"Airflow found no DAG in {len(imports)} DAG file(s)"))
    return results + _doubles(imports)


def _doubles(imports: Sequence[Imported]) -> list[Finding]:
    files: dict[str, list[str]] = {}
    for one in imports:
        for dag in one.dags if not one.skipped else ():
            if one.path not in files.setdefault(dag.id, []):
                files[dag.id].append(one.path)
    rule = BY_ID["duplicate-dag-id"]
    results = []
    for name, paths in files.items():
        for path in paths if len(paths) > 1 else ():
            others = ", ".join(other for other in paths if other != path)
            results.append(found(rule, path, f"DAG {name!r} is also in {others}"))
    return results
