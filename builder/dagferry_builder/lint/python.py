"""What can be said of the Python files without Airflow: ruff looks at all of them, also at those no DAG imports.

1. A file has at most one ``syntax-error``, the first: the next ones mostly follow from it.
2. Which rules are asked depends on production: AIR301 to AIR312 from Airflow 3.0, AIR321 from 3.1, AIR003 if no real
   Airflow takes part. Of an Airflow that is not known nothing is assumed.
3. The configuration may give a severity to any rule of ruff by its whole code, and the rule is asked then, whatever
   Airflow it is. The beginning of a code (``AIR3``) changes severities, and asks for nothing more.
4. ``# noqa`` and ruff's other comments hide nothing: they need no reason, and nobody would count them.
5. Without a version of Python the newest syntax is allowed.
6. What a file imports where `ImportError` is caught is meant for another Airflow, and no AIR rule speaks of its use.
7. Ruff reads UTF-8 alone. A file in another encoding that says so in its first lines is right, and Python itself says
   whether it is one.
"""

from __future__ import annotations

import ast
import re
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from dagferry_schemas.errors import Usage

from . import ruff
from .finding import Finding, Rule, Severity, found
from .python_rules import (
    AIRFLOW_3,
    AIRFLOW_3_1,
    CERTAIN,
    DYNAMIC_VALUE,
    RULES,
    STILL_THERE,
    SYNTAX_ERROR,
    VARIABLE_AT_PARSE,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .checkout import Checkout
    from .ruff import Violation
    from .settings import Settings

__all__ = ["RULES", "check", "explain_code"]

_PREVIEW: Final = frozenset({"AIR003", "AIR304", "AIR321"})
_CODE: Final = re.compile(r"[A-Z]+[0-9]+")
_SELECTOR: Final = re.compile(r"[A-Z]+[0-9]*")
_NEWEST: Final = 15
_OLDEST: Final = 7
_KNOWN: Final = {rule.id: rule for rule in RULES}


def check(
    checkout: Checkout,
    settings: Settings,
    *,
    airflow_version: str | None = None,
    python_version: str | None = None,
    with_airflow: bool = False,
) -> list[Finding]:
    """What ruff finds. Raises `MachineFault` without a working ruff, and `Usage` for a code that it lacks.

    ``airflow_version`` and ``python_version`` are production's, as far as they are known; the settings' Python comes
    first. ``with_airflow``: a real Airflow imports the files too.
    """
    if not checkout.python_files():
        return []
    rules = _asked(settings, _fitting(airflow_version, with_airflow=with_airflow))
    target = _target(settings.python_version or python_version)
    findings = []
    for preview, codes in _runs(rules):
        violations = ruff.check(checkout.folder, codes, target=target, preview=preview)
        findings += [
            _finding(rules[one.code], one)
            for one in violations
            if one.code in rules and not (one.code in _KNOWN and (_still_there(one) or _is_fallback(checkout, one)))
        ]
        if not preview and SYNTAX_ERROR.id in rules:
            findings += _syntax_errors(checkout, violations)
    return sorted(set(findings))


def explain_code(code: str) -> Rule | None:
    """The rule of ruff with that code, in its words; None if there is none. It is off unless a severity is given."""
    if code in _KNOWN:
        return _KNOWN[code]
    told = ruff.describe(code) if _CODE.fullmatch(code) else None
    if told is None:
        return None
    return Rule(
        code,
        "python",
        Severity.OFF,
        title=told["summary"],
        explanation=told["explanation"],
        hint=f"see https://docs.astral.sh/ruff/rules/{told['name']}",
    )


def _fitting(airflow_version: str | None, *, with_airflow: bool) -> tuple[Rule, ...]:
    """The rules that fit production's Airflow."""
    release = tuple(map(int, airflow_version.split(".")[:2])) if airflow_version else (0, 0)
    return (
        SYNTAX_ERROR,
        *CERTAIN,
        *(AIRFLOW_3 if release >= (3, 0) else ()),
        *(AIRFLOW_3_1 if release >= (3, 1) else ()),
        DYNAMIC_VALUE,
        *(() if with_airflow else (VARIABLE_AT_PARSE,)),
    )


def _asked(settings: Settings, fitting: tuple[Rule, ...]) -> dict[str, Rule]:
    """The rules that are asked, by code: those that fit, unless they are off everywhere, and those named in full."""
    tables = [settings.severity, *(override.severity for override in settings.overrides)]
    given = {name: severity for table in tables for name, severity in table.items() if severity is not Severity.OFF}
    asked = {
        rule.id: rule
        for rule in fitting
        if settings.severity_of(rule) is not Severity.OFF or any(rule.id.startswith(name) for name in given)
    }
    for name in given:
        if name in asked or not _SELECTOR.fullmatch(name):
            continue
        rule = explain_code(name)
        if rule is not None:
            asked[name] = rule
        elif not ruff.knows(name):
            raise Usage(f"lint.severity: ruff has no rule {name!r}", "`ruff rule --all` lists its rules")
    return asked


def _runs(rules: dict[str, Rule]) -> Iterator[tuple[bool, set[str]]]:
    """The runs of ruff: (preview, codes). There is always one without preview: it finds bad syntax."""
    codes = {code for code in rules if code != SYNTAX_ERROR.id}
    in_preview = {code for code in codes if code in _PREVIEW or (code not in _KNOWN and _is_preview(code))}
    yield False, (codes - in_preview) | {ruff.NOT_UTF8}
    if in_preview:
        yield True, in_preview


def _is_preview(code: str) -> bool:
    told = ruff.describe(code)
    return told is not None and bool(told["preview"])


def _target(python_version: str | None) -> str:
    minor = int(python_version.split(".")[1]) if python_version else _NEWEST
    return f"py3{min(max(minor, _OLDEST), _NEWEST)}"


def _still_there(one: Violation) -> bool:
    return one.code in ("AIR301", "AIR302") and any(f"`{name}`" in one.message for name in STILL_THERE)


def _is_fallback(checkout: Checkout, one: Violation) -> bool:
    """Whether the place is a name that the file imports for an older or newer Airflow, if another import failed."""
    if not one.code.startswith("AIR3"):
        return False
    try:
        module = ast.parse(checkout.read(one.path))
    except (SyntaxError, ValueError):
        return False
    line = checkout.read(one.path).decode("utf-8", "replace").splitlines()[one.line - 1]
    used = re.match(r"\w+", line[one.column - 1 :])
    return used is not None and used.group() in _fallbacks(module)


def _fallbacks(module: ast.Module) -> set[str]:
    names: set[str] = set()
    for attempt in ast.walk(module):
        if isinstance(attempt, ast.Try) and any(_catches_import_error(one) for one in attempt.handlers):
            for statement in (*attempt.body, *(inner for one in attempt.handlers for inner in one.body)):
                if isinstance(statement, (ast.Import, ast.ImportFrom)):
                    names.update(alias.asname or alias.name.partition(".")[0] for alias in statement.names)
    return names


def _catches_import_error(one: ast.ExceptHandler) -> bool:
    caught = ast.unparse(one.type) if one.type is not None else "ImportError"
    return "ImportError" in caught or "ModuleNotFoundError" in caught


def _finding(rule: Rule, one: Violation) -> Finding:
    finding = found(rule, one.path, one.message, line=one.line, column=one.column, hint=one.remedy)
    return replace(finding, end_line=one.end_line, end_column=one.end_column)


def _syntax_errors(checkout: Checkout, violations: list[Violation]) -> Iterator[Finding]:
    seen: set[str] = set()
    for one in violations:
        if one.code in (ruff.SYNTAX, ruff.PANIC) and one.path not in seen:
            seen.add(one.path)
            yield _finding(SYNTAX_ERROR, one)
        elif one.code == ruff.NOT_UTF8 and (refusal := _refused_by_python(one.path, checkout.read(one.path))):
            yield refusal


def _refused_by_python(path: str, content: bytes) -> Finding | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(content)
    except SyntaxError as error:
        return found(SYNTAX_ERROR, path, error.msg, line=error.lineno or 0, column=error.offset or 0)
    except ValueError as error:  # bytes that are zero, in Python 3.11 and older
        return found(SYNTAX_ERROR, path, str(error))
    return None
