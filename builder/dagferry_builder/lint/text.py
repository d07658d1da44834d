"""The result of lint for people: on a terminal, and in the log of a CI job.

1. Whoever reads the top knows whether an Airflow checked the DAGs; whoever reads the end knows what the verdict is, and
   what was looked at.
2. Nothing is hidden: each finding has its line. From the 21st finding of a rule on the source line is left out, and the
   end says of which rules. A hint is given once for a rule and file.
3. What the repository says is shown, never obeyed: `shown`, `disarmed`. The source line of a secret is not shown.
"""

from __future__ import annotations

import textwrap
from collections import Counter
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Final

from dagferry_schemas.commandline import plain, styled

from .baseline import is_secret
from .finding import Severity
from .shown import disarmed, excerpt, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from .finding import Finding, Rule
    from .result import Checked, Result

MOST_EXCERPTS: Final = 20
"""Findings of one rule that are shown with their source line."""
SEVERITIES: Final = (Severity.ERROR, Severity.WARNING, Severity.NOTE)
_COLOURS: Final = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.NOTE: "cyan"}

_NOT_CHECKED: Final = (
    "No Airflow took part: the DAGs were NOT checked",
    (
        "Files and syntax were. Import errors, cycles, duplicate ids, serialization and",
        "templates were not, and the version gets no inventory of its DAGs.",
        "Let `lint.python` in the config file name an interpreter that has production's",
        "Airflow and packages, or run lint in production's image.",
    ),
)


def render(result: Result, rules: Mapping[str, Rule], *, colour: bool, notice: bool = True) -> str:
    """The report on ``result``, without an end of line at its end; ``rules`` have the hints that findings lack.

    Without ``notice`` the top does not say that no Airflow took part; its finding and the end still do.
    """
    blocks = ["\n".join(block) for block in _Report(result, rules, colour=colour).blocks(notice=notice) if block]
    return disarmed("\n\n".join(blocks))


class _Report:
    """One report under way; it counts what it has shown."""

    def __init__(self, result: Result, rules: Mapping[str, Rule], *, colour: bool) -> None:
        self._result = result
        self._rules = rules
        self._styled: Callable[..., str] = styled if colour else _unstyled
        self._seen: Counter[str] = Counter()

    def blocks(self, *, notice: bool) -> Iterator[list[str]]:
        if notice and self._result.checked.environment is None and self._result.checked.files:
            yield self._notice()
        # Those of the bundle as a whole have an empty path, and come first.
        findings = sorted(self._result.findings)
        for path, group in groupby(findings, key=lambda finding: finding.path):
            yield self._file(path, list(group))
        yield self._shortened()
        yield self._summary()

    def _notice(self) -> list[str]:
        title, lines = _NOT_CHECKED
        bold = partial(self._styled, fg="yellow", bold=True)
        rule = bold("!" * 80)
        return [rule, bold(f"! {title}"), *(f"! {line}" for line in lines), rule]

    def _file(self, path: str, findings: list[Finding]) -> list[str]:
        title = disarmed(plain(path)) if path else f"the bundle {plain(self._result.bundle)} as a whole"
        lines = [self._styled(title, bold=True)]
        hinted: set[tuple[str, str]] = set()
        for finding in findings:
            lines += self._finding(finding)
            hint = finding.hint or (self._rules[finding.rule].hint if finding.rule in self._rules else "")
            if hint and (finding.rule, hint) not in hinted:
                hinted.add((finding.rule, hint))
                lines += _hint(hint)
        return lines

    def _finding(self, finding: Finding) -> Iterator[str]:
        self._seen[finding.rule] += 1
        place = f"{finding.line}:{finding.column}" if finding.column else str(finding.line or "")
        severity = self._styled(finding.severity.value, fg=_COLOURS.get(finding.severity), bold=True)
        first, *rest = shown(finding.message)
        yield f"  {place}{' ' if place else ''}{severity}: {first} {self._styled(f'[{plain(finding.rule)}]', dim=True)}"
        yield from (f"    | {line}" for line in rest)
        source = self._result.lines.get((finding.path, finding.line), "")
        if is_secret(finding.rule) or not source.strip() or self._seen[finding.rule] > MOST_EXCERPTS:
            return
        same_line = finding.end_line in (0, finding.line)
        line, caret = excerpt(source, finding.column, finding.end_column if same_line else 0)
        yield f"    | {line}"
        if caret:
            yield f"    | {self._styled(caret, fg=_COLOURS.get(finding.severity), bold=True)}"

    def _shortened(self) -> list[str]:
        return [
            f"{plain(rule)}: {count} findings, from number {MOST_EXCERPTS + 1} on shown without the source line"
            for rule, count in sorted(self._seen.items())
            if count > MOST_EXCERPTS
        ]

    def _summary(self) -> list[str]:
        result = self._result
        files = len({finding.path for finding in result.findings if finding.path})
        verdict = self._styled("passed", fg="green", bold=True)
        if not result.passed:
            verdict = self._styled("refused", fg="red", bold=True)
        counts = ", ".join(counted(result.count(severity), severity.value) for severity in SEVERITIES)
        lines = [
            f"{verdict}: {counts}" + (f" in {counted(files, 'file')}" if files else ""),
            f"bundle {plain(result.bundle)} at commit {plain(result.commit)}",
            *checked(result.checked),
        ]
        hidden = [
            text
            for number, text in (
                (result.suppressed, f"{result.suppressed} suppressed by comments"),
                (result.baselined, f"{result.baselined} known from the baseline"),
            )
            if number
        ]
        lines += [f"not shown: {', '.join(hidden)}"] if hidden else []
        lines += ["what a rule is about: dagferry lint --explain RULE"] if result.findings else []
        return [*lines, f"{result.seconds:.2f} s"]


def checked(what: Checked) -> list[str]:
    """What was looked at, and in which environment, in one line or two."""
    files = f"{counted(what.files, 'file')} checked"
    environment = what.environment
    if environment is None:
        return [f"{files}; no Airflow took part: the DAGs were not checked"]
    dags = f"{counted(what.dag_files, 'DAG file')} with {counted(what.dags, 'DAG')}"
    cached = f" ({what.cached} from the cache)" if what.cached else ""
    command = plain(environment.command)
    return [
        f"{files}, {dags} imported{cached}",
        f"by Airflow {plain(environment.airflow)} on Python {plain(environment.python)}: {command}",
    ]


def counted(number: int, noun: str) -> str:
    """``1 file``, ``2 files``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _hint(hint: str) -> list[str]:
    """A hint in lines that fit a terminal of 80 columns; nobody searches a log for one, as for messages."""
    first, *rest = (part for line in shown(hint) for part in (_wrapped(line) or [""]))
    return [f"    = hint: {first}", *(f"    |       {line}" for line in rest)]


_wrapped: Final = partial(textwrap.wrap, width=80 - len("    = hint: "), break_on_hyphens=False, break_long_words=False)


def _unstyled(text: str, **_style: object) -> str:
    return text
