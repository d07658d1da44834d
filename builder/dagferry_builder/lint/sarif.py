"""The result of lint as SARIF 2.1.0 (OASIS), for GitHub's code scanning and others.

1. Paths are relative to the top of the repository, ``%SRCROOT%``, their bytes percent-encoded. Code scanning refuses a
   result without a place, so what concerns the bundle as a whole is at ``.``. A region is given where a line is known.
2. Limits of code scanning (GitHub's page "SARIF results exceed one or more limits"): a run with more than 25,000
   results is refused as a whole, so no more are written, and a notification says how many were left out; 5,000 are
   shown. Errors come first, then warnings, because not everybody who cuts sorts. Rules (25,000), tags of a rule (20)
   and places of a result (1,000) are far away. 10 MB after gzip is the most for an upload; nothing is done about that.
3. The partial fingerprint is that of the baseline: it stays when lines move. Code scanning looks at a fingerprint of
   its own (``primaryLocationLineHash``) only, which GitHub's upload action adds.
4. That no Airflow took part is a notification at the level of a warning. ``executionSuccessful`` says that lint ran,
   not that it liked what it saw.
5. ``versionControlProvenance`` demands the repository's URL, which nobody tells lint; the commit is a property of the
   run. ``automationDetails`` keeps several bundles of one repository apart.
6. Source lines are not quoted: a finding may be about a secret.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from dagferry_schemas.commandline import plain

from .baseline import fingerprints
from .finding import Severity
from .shown import shown
from .text import SEVERITIES, counted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .finding import Finding, Rule
    from .result import Result

SCHEMA: Final = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
MOST_RESULTS: Final = 25_000
FINGERPRINT: Final = "dagferryFinding/v1"
_ROOT: Final = "%SRCROOT%"


def render(result: Result, rules: Mapping[str, Rule], version: str) -> str:
    """The SARIF document; ``version`` is dagferry's own."""
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [_run(result, rules, version)]}, indent=2)


def _run(result: Result, rules: Mapping[str, Rule], version: str) -> dict[str, Any]:
    printed = zip(result.findings, fingerprints(result.findings, result.lines), strict=True)
    findings = sorted(printed, key=lambda pair: (SEVERITIES.index(pair[0].severity), pair))
    ids = [*rules, *sorted({finding.rule for finding in result.findings} - set(rules))]
    index = {rule: number for number, rule in enumerate(ids)}
    return {
        "tool": {
            "driver": {
                "name": "dagferry",
                "version": version,
                "rules": [_rule(rules[rule]) if rule in rules else {"id": rule} for rule in ids],
            }
        },
        "automationDetails": {"id": f"dagferry/{result.bundle}/"},
        "invocations": [{"executionSuccessful": True, "toolExecutionNotifications": _notifications(result)}],
        "originalUriBaseIds": {_ROOT: {"description": {"text": "The top of the repository."}}},
        "columnKind": "unicodeCodePoints",
        "results": [_result(one, index[one.rule], made) for one, made in findings[:MOST_RESULTS]],
        "properties": {
            "bundle": result.bundle,
            "commit": result.commit,
            "checked": asdict(result.checked),
            "suppressed": result.suppressed,
            "baselined": result.baselined,
            "seconds": round(result.seconds, 3),
        },
    }


def _rule(rule: Rule) -> dict[str, Any]:
    off = rule.severity is Severity.OFF
    return {
        "id": rule.id,
        "shortDescription": {"text": rule.title},
        "fullDescription": {"text": rule.explanation},
        "help": {
            "text": f"{rule.explanation}\n\nHint: {rule.hint}",
            "markdown": f"{rule.explanation}\n\n**Hint:** {rule.hint}",
        },
        "defaultConfiguration": {"level": "none" if off else rule.severity.value, "enabled": not off},
        "properties": {"tags": [rule.source]},
    }


def _result(finding: Finding, index: int, made: str) -> dict[str, Any]:
    lines = [*shown(finding.message), *(f"Hint: {line}" for line in shown(finding.hint) if line)]
    place: dict[str, Any] = {"artifactLocation": {"uri": uri(finding.path), "uriBaseId": _ROOT}}
    if finding.line:
        place["region"] = _region(finding)
    return {
        "ruleId": finding.rule,
        "ruleIndex": index,
        "level": finding.severity.value,
        "message": {"text": "\n".join(lines)},
        "locations": [{"physicalLocation": place}],
        "partialFingerprints": {FINGERPRINT: made},
    }


def _region(finding: Finding) -> dict[str, int]:
    """Line and column; an end that is before the start is left out."""
    end_line = finding.end_line if finding.end_line >= finding.line else 0
    first = finding.column if end_line in (0, finding.line) else 0
    end_column = finding.end_column if finding.column and finding.end_column > first else 0
    numbers = {
        "startLine": finding.line,
        "startColumn": finding.column,
        "endLine": end_line,
        "endColumn": end_column,
    }
    return {name: number for name, number in numbers.items() if number}


def uri(path: str) -> str:
    """A path in the repository as a relative reference; bytes that are no UTF-8 are kept as they are in git."""
    try:
        raw = path.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # not a path of git's
        raw = path.encode("utf-8", "backslashreplace")
    return quote(raw, safe="/") or "."


def _notifications(result: Result) -> Sequence[dict[str, Any]]:
    told = []
    if result.checked.environment is None:
        told.append("No Airflow took part: the DAGs were not checked, only files and syntax.")
    if len(result.findings) > MOST_RESULTS:
        most = counted(len(result.findings) - MOST_RESULTS, "finding")
        told.append(f"{most} left out: code scanning refuses more than {MOST_RESULTS} results.")
    return [{"level": "warning", "message": {"text": plain(text)}} for text in told]
