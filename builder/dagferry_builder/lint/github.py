"""The result of lint as workflow commands of GitHub Actions, which become annotations of a commit's files.

1. In a message ``%``, CR and LF are escaped, in a property ``:`` and ``,`` too (``command.ts`` of actions/toolkit).
2. GitHub shows at most 10 errors, 10 warnings and 10 notices of a step. So errors come first, and the last command is a
   notice that says what there is in all and how many are not shown. There are at most 9 others, or it would be lost
   itself; further notes are plain lines of the log.
3. Every finding is in the log: GitHub prints a command's message there without its file, so the message begins with the
   place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dagferry_schemas.commandline import plain

from .finding import Severity
from .shown import disarmed, shown
from .text import SEVERITIES, checked, counted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .finding import Finding, Rule
    from .result import Result

MOST_ANNOTATIONS: Final = 10
"""Annotations of one severity that GitHub shows of a step."""
_COMMANDS: Final = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "notice"}


def render(result: Result, rules: Mapping[str, Rule]) -> str:
    """The commands, one a line; ``rules`` have the titles."""
    lines = []
    for severity in SEVERITIES:
        findings = sorted(finding for finding in result.findings if finding.severity is severity)
        most = MOST_ANNOTATIONS - 1 if severity is Severity.NOTE else len(findings)
        lines += [_annotation(finding, rules) for finding in findings[:most]]
        lines += [disarmed(f"note: {_message(finding, ' ')}") for finding in findings[most:]]
    lines.append(_command("notice", {"title": "dagferry lint"}, _summary(result)))
    return "\n".join(lines)


def _annotation(finding: Finding, rules: Mapping[str, Rule]) -> str:
    title = f"{finding.rule}: {rules[finding.rule].title}" if finding.rule in rules else finding.rule
    same_line = finding.end_line in (0, finding.line)  # GitHub refuses columns of a fault that goes over lines
    properties: dict[str, str | int] = {
        "title": plain(title),
        "file": plain(finding.path),
        "line": finding.line,
        "endLine": finding.end_line,
        "col": finding.column if same_line else 0,
        "endColumn": finding.end_column if same_line else 0,
    }
    return _command(_COMMANDS[finding.severity], properties, _message(finding, "\n"))


def _message(finding: Finding, between: str) -> str:
    numbers = [str(number) for number in (finding.line, finding.column) if number]
    place = ":".join([plain(finding.path), *numbers]) + ": " if finding.path else ""
    hint = [f"hint: {line}" for line in shown(finding.hint)] if finding.hint else []
    return place + between.join([*shown(finding.message), *hint])


def _summary(result: Result) -> str:
    counts = []
    for severity in SEVERITIES:
        number = result.count(severity)
        more = number - MOST_ANNOTATIONS + (severity is Severity.NOTE)
        unseen = f" ({more} more than GitHub shows; the log has all)" if more > 0 else ""
        counts.append(counted(number, severity.value) + unseen)
    verdict = "passed" if result.passed else "refused"
    lines = [f"{verdict}: {', '.join(counts)}", *checked(result.checked)]
    if result.suppressed or result.baselined:
        lines.append(f"{result.suppressed} suppressed by comments, {result.baselined} known from the baseline")
    return "\n".join(lines)


def _command(name: str, properties: Mapping[str, str | int], message: str) -> str:
    given = ",".join(f"{key}={_property(str(value))}" for key, value in properties.items() if value)
    return f"::{name} {given}::{_data(message)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
