"""Comments that suppress findings: ``# dagferry: ignore[rule, rule] reason in words``.

1. Comments count in Python files, and only real ones: a string that contains such text is none. A file that cannot be
   tokenized has none.
2. At the end of the first or last line of a statement a comment is for the whole of it (the header of a compound one),
   at the end of a line in between for that line, on a line of its own for what the next line of code has. A line
   continued inside a string has no room for a comment; that is why the last line of a statement counts.
3. ``ignore-file`` stands on a line of its own, anywhere, and is for the whole file.
4. A reason is demanded: a comment without one is an error and suppresses nothing. So is one for a rule that the
   settings do not let comments suppress. A rule that does not exist is an error, one that hid nothing a warning.
5. The findings of this module, and that of a stale baseline, cannot be suppressed.
"""

from __future__ import annotations

import difflib
import io
import re
import tokenize
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from .baseline import OWN, source_of
from .finding import Finding, Rule, Severity, found

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from .settings import Settings

WITHOUT_REASON: Final = Rule(
    "suppression-without-reason",
    "lint",
    Severity.ERROR,
    "a suppression gives no reason",
    "A comment that suppresses findings has to say why in words. Without a reason it suppresses nothing.",
    "write the reason behind the bracket: # dagferry: ignore[rule] reason in words",
)
UNKNOWN: Final = Rule(
    "unknown-rule",
    "lint",
    Severity.ERROR,
    "a suppression names no rule that there is",
    "A comment that suppresses findings names a rule that does not exist, or none at all. It suppresses nothing.",
    "`dagferry lint --explain all` lists the rules",
)
UNUSED: Final = Rule(
    "unused-suppression",
    "lint",
    Severity.WARNING,
    "a suppression suppresses nothing",
    (
        "There is no finding of the rule where the comment counts. The fault was mended, or the comment is in the "
        "wrong place. Left alone it would hide the next fault there."
    ),
    "remove the rule from the comment, or put the comment on the line of the finding",
)
NOT_ALLOWED: Final = Rule(
    "suppression-not-allowed",
    "lint",
    Severity.ERROR,
    "comments may not suppress this rule",
    (
        "The settings do not let comments suppress findings of this rule, so the comment suppresses nothing. With a "
        "policy from outside the repository that is so for all rules that the policy does not list."
    ),
    "mend the fault, and remove the comment; or ask who keeps the policy (`lint.suppressions`)",
)
RULES: Final = (WITHOUT_REASON, UNKNOWN, UNUSED, NOT_ALLOWED)
_RULE_OF: Final = {rule.id: rule for rule in RULES}

_RUFF_CODE: Final = re.compile(r"[A-Z]+[0-9]+")
_COMMENT: Final = re.compile(
    r"\s*dagferry:\s*ignore(?P<file>-file)?(?![\w-])\s*(?:\[(?P<rules>[^\]]*)\])?(?P<reason>.*)"
)
_NO_CODE: Final = frozenset(
    {tokenize.COMMENT, tokenize.NL, tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING, tokenize.ENDMARKER}
)


@dataclass(frozen=True)
class Suppression:
    """One comment: the rules and the reason it gives, where it stands, and the lines it is for (None: all)."""

    path: str
    line: int
    column: int
    rules: tuple[str, ...]
    reason: str
    lines: range | None

    def concerns(self, finding: Finding) -> bool:
        """Whether the comment is for the line of a finding in its file; which rules it names is another question."""
        return self.lines is None or finding.line in self.lines


def apply(
    findings: Sequence[Finding],
    sources: Mapping[str, bytes],
    rules: Mapping[str, Rule],
    settings: Settings,
    *,
    absent: Collection[str] = (),
) -> tuple[list[Finding], int]:
    """The findings that no comment suppresses and those about the comments; and how many were suppressed.

    ``sources`` are the files of the tree by the paths that findings have; those that are no Python have no comments.
    Rules of the sources of findings in ``absent`` were not asked in this run: that they hid nothing means nothing.
    """
    comments = [one for path, source in sorted(sources.items()) for one in suppressions(path, source)]
    told: list[Finding] = []
    active: dict[str, list[tuple[Suppression, str]]] = {}
    for comment in comments:
        accepted, faults = _judge(comment, rules, settings)
        told += faults
        active.setdefault(comment.path, []).extend((comment, rule) for rule in accepted)
    kept, used = [], set()
    for finding in findings:
        hiding = [
            (comment, rule)
            for comment, rule in active.get(finding.path, ())
            if rule == finding.rule and comment.concerns(finding)
        ]
        used.update(hiding)
        if not hiding:
            kept.append(finding)
    for pair in (pair for pairs in active.values() for pair in pairs):
        if pair not in used and source_of(pair[1], rules) not in absent:
            told.append(_at(pair[0], UNUSED, f"no finding of {pair[1]} here"))
    judged = [settings.judge(_RULE_OF[one.rule], one) for one in told]
    return kept + [one for one in judged if one.severity is not Severity.OFF], len(findings) - len(kept)


def _judge(comment: Suppression, rules: Mapping[str, Rule], settings: Settings) -> tuple[list[str], list[Finding]]:
    """The rules that the comment may suppress, and what is wrong with it."""
    accepted, faults = [], []
    if not comment.rules:
        faults.append(_at(comment, UNKNOWN, "the suppression names no rule", "write # dagferry: ignore[rule] reason"))
    for rule in comment.rules:
        if rule not in rules and rule not in OWN and not _RUFF_CODE.fullmatch(rule):
            near = difflib.get_close_matches(rule, rules, n=1)
            hint = f"did you mean {near[0]}? {UNKNOWN.hint}" if near else ""
            faults.append(_at(comment, UNKNOWN, f"there is no rule {rule!r}", hint))
        elif rule in OWN:
            faults.append(_at(comment, NOT_ALLOWED, f"findings of {rule} cannot be suppressed", "remove the comment"))
        elif not settings.may_suppress(rule):
            faults.append(_at(comment, NOT_ALLOWED, f"a comment may not suppress {rule} here"))
        else:
            accepted.append(rule)
    if not any(character.isalpha() for character in comment.reason):
        faults.append(_at(comment, WITHOUT_REASON, "the suppression gives no reason, and suppresses nothing"))
        accepted = []
    return accepted, faults


def _at(comment: Suppression, rule: Rule, message: str, hint: str = "") -> Finding:
    return found(rule, comment.path, message, line=comment.line, column=comment.column, hint=hint)


def suppressions(path: str, source: bytes) -> list[Suppression]:
    """The comments of one file that suppress findings, from its top; none if it is no Python that can be tokenized."""
    if not path.endswith(".py") or b"dagferry:" not in source:
        return []
    try:
        tokens = list(tokenize.tokenize(io.BytesIO(source).readline))
    except (tokenize.TokenError, SyntaxError, ValueError):
        return []
    return list(_among(path, tokens))


def _among(path: str, tokens: Sequence[tokenize.TokenInfo]) -> Iterator[Suppression]:
    code = [token for token in tokens if token.type not in _NO_CODE]
    statements = _statements(code)
    for token in tokens:
        if token.type != tokenize.COMMENT:
            continue
        line, column = token.start
        alone = not token.line[:column].strip()
        for match in filter(None, map(_COMMENT.match, token.string.split("#"))):
            target = next((one.start[0] for one in code if one.start[0] > line), 0) if alone else line
            lines: range | None = _lines_of(target, statements)
            if match["file"]:
                lines = None if alone else range(0)
            rules = tuple(dict.fromkeys(name.strip() for name in (match["rules"] or "").split(",") if name.strip()))
            yield Suppression(path, line, column + 1, rules, match["reason"].strip(), lines)


def _statements(code: Sequence[tokenize.TokenInfo]) -> dict[int, range]:
    """The lines of each statement, by its first and by its last line."""
    found_at: dict[int, range] = {}
    start = 0
    for token in code:
        start = start or token.start[0]
        if token.type == tokenize.NEWLINE:
            lines = range(start, token.start[0] + 1)
            found_at[start] = found_at[token.start[0]] = lines
            start = 0
    return found_at


def _lines_of(target: int, statements: Mapping[int, range]) -> range:
    """The lines that a comment on the line ``target`` is for; 0 is no line."""
    return statements.get(target, range(target, target + 1)) if target else range(0)
