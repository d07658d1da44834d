"""The baseline: findings that are known and let pass, so that lint can start on a repository that has many.

1. A finding is recognised by its fingerprint: a hash of its rule, its path, its source line without the space around
   it (where there is none, its message without digits), and a counter among equal ones, from the top of the file. So
   it survives lines that move, and one more fault of the same kind on an equal line is new.
2. An entry hides only a finding of the rule and the path that it names in plain words: what is reviewed is what counts.
3. Errors and warnings are written; notes refuse nothing, and are not. Findings about secrets (rules whose ids begin
   with ``secret``) and those of lint itself are never written and never hidden: a secret that everybody got used to is
   still delivered, and a suppression with a fault must not be hidden by another one. Nor are those that speak of one
   run: known once, "most of the live DAGs are gone" or "no Airflow took part" would never be said again. What cannot
   be packed cannot be let pass.
4. An entry that hides nothing any more is stale. All stale ones are one note, `STALE`.

The file is JSON with one entry a line, sorted by path, rule and fingerprint, so that a change shows as lines added and
removed; when a merge goes wrong, write it anew. ``message`` is there for readers and has no meaning::

    {"format": 1, "findings": [
    {"path": "dags/a.py", "rule": "F821", "fingerprint": "…32 hex digits…", "message": "…"},
    {"path": "dags/b.py", "rule": "slow-import", "fingerprint": "…", "message": "…"}
    ]}
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from dagferry_schemas.commandline import plain
from dagferry_schemas.errors import Malformed
from dagferry_schemas.fields import load

from . import live
from .finding import Finding, Rule, Severity, found

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from dagferry_schemas.fields import Fields

FORMAT: Final = 1
LIMIT: Final = 32 * 1024 * 1024
"""Bytes of a baseline file."""
MOST_MESSAGE: Final = 160
"""Characters of a message that an entry keeps."""
_FINGERPRINT: Final = re.compile(r"[0-9a-f]{32}")
_DIGITS: Final = re.compile(r"[0-9]+")

STALE: Final = Rule(
    "stale-baseline",
    "lint",
    Severity.NOTE,
    "the baseline names findings that are gone",
    (
        "An entry of the baseline hides nothing any more: the fault was mended, or its line was changed. Left alone it "
        "would hide the same fault when it comes back."
    ),
    "write the baseline anew",
)
OWN: Final = frozenset(
    {STALE.id, "suppression-without-reason", "unknown-rule", "unused-suppression", "suppression-not-allowed"}
)
"""Rules of lint itself: their findings are neither suppressed nor known."""
NEVER: Final = frozenset({"no-airflow", "cannot-pack", *(rule.id for rule in live.RULES)})
"""Rules that speak of one run, of what is live now, or of a commit that cannot become a version."""
RULES: Final = (STALE,)


@dataclass(frozen=True, order=True)
class Entry:
    """One known finding; ``path`` is escaped as people see it. Two are equal that hide the same finding."""

    path: str
    rule: str
    fingerprint: str
    message: str = field(default="", compare=False)

    @classmethod
    def read(cls, fields: Fields) -> Entry:
        """The entry in ``fields``. Raises `Malformed`."""
        entry = cls(
            fields.text("path"), fields.text("rule"), fields.text("fingerprint", _FINGERPRINT), fields.text("message")
        )
        fields.refuse_rest()
        return entry

    def line(self) -> str:
        """The entry as it stands in the file."""
        return json.dumps(
            {"path": self.path, "rule": self.rule, "fingerprint": self.fingerprint, "message": self.message},
            ensure_ascii=False,
        )


@dataclass(frozen=True)
class Baseline:
    """The entries of a baseline file."""

    entries: frozenset[Entry] = frozenset()


def fingerprint(finding: Finding, source_line: str | None, occurrence: int = 1) -> str:
    """32 hex digits that stay the same when lines move; ``occurrence`` counts equal findings of a file from 1."""
    return hashlib.sha256("\0".join([*_kind(finding, source_line), str(occurrence)]).encode()).hexdigest()[:32]


def fingerprints(findings: Sequence[Finding], lines: Mapping[tuple[str, int], str]) -> list[str]:
    """The fingerprint of each of ``findings``, in their order; equal ones are counted by place, whatever the order."""
    seen: Counter[tuple[str, ...]] = Counter()
    made = [""] * len(findings)
    for index in sorted(range(len(findings)), key=lambda index: findings[index]):
        finding = findings[index]
        line = lines.get((finding.path, finding.line))
        kind = _kind(finding, line)
        seen[kind] += 1
        made[index] = fingerprint(finding, line, seen[kind])
    return made


def _kind(finding: Finding, source_line: str | None) -> tuple[str, ...]:
    """What equal findings have in common, as text that can always be encoded, and that holds no NUL."""
    line = "" if is_secret(finding.rule) else (source_line or "").strip()
    what = f"line {line}" if line else f"message {_DIGITS.sub('', finding.message)}"
    return plain(finding.rule), plain(finding.path), plain(what)


def read(raw: bytes, what: str) -> Baseline:
    """The baseline in ``raw``; ``what`` names it in messages. Raises `Malformed`."""
    try:
        fields = load(raw, what, limit=LIMIT)
        version = fields.integer("format")
        if version != FORMAT:
            fields.refuse("format", f"{version} is not known here, only {FORMAT}")
        entries = [Entry.read(child) for child in fields.children("findings")]
        fields.refuse_rest()
    except Malformed as error:
        hint = "is a merge conflict left in it? Mend it, or write the baseline anew"
        raise Malformed(error.message, hint, code="malformed") from None
    return Baseline(frozenset(entries))


def take_out(
    findings: Sequence[Finding], lines: Mapping[tuple[str, int], str], baseline: Baseline
) -> tuple[list[Finding], int, tuple[Entry, ...]]:
    """The findings that the baseline does not know, how many it knows, and its entries that hid none, sorted."""
    kept, known = [], set()
    for finding, entry in _entries(findings, lines):
        if entry in baseline.entries and may_be_known(finding):
            known.add(entry)
        else:
            kept.append(finding)
    return kept, len(findings) - len(kept), tuple(sorted(baseline.entries - known))


def stale(
    entries: Sequence[Entry], path: str, rules: Mapping[str, Rule], *, absent: Collection[str] = ()
) -> list[Finding]:
    """The note on stale ``entries`` of the baseline at ``path``; none if there is nothing to say.

    Rules of the sources of findings in ``absent`` were not asked in this run, so nobody knows about their entries.
    """
    gone = [entry for entry in entries if source_of(entry.rule, rules) not in absent]
    if not gone:
        return []
    first = f"{gone[0].rule} in {gone[0].path or 'the bundle'}"
    count = "an entry hides" if len(gone) == 1 else f"{len(gone)} entries hide"
    return [found(STALE, path, f"{count} nothing any more{': ' if len(gone) == 1 else ', the first is '}{first}")]


def is_secret(rule: str) -> bool:
    """Whether findings of ``rule`` are about secrets, whose lines go neither into an output nor into a hash."""
    return rule.startswith("secret")


def may_be_known(finding: Finding) -> bool:
    """Whether a baseline may hide ``finding`` (rule 3)."""
    return finding.rule not in OWN | NEVER and not is_secret(finding.rule)


def source_of(rule: str, rules: Mapping[str, Rule]) -> str:
    """The part of lint that finds ``rule``; what is not in ``rules`` is a code of ruff's."""
    return rules[rule].source if rule in rules else "python"


def within(entries: Iterable[Entry], roots: Collection[str]) -> tuple[frozenset[Entry], frozenset[Entry]]:
    """Those of ``entries`` that concern the bundle whose folders are ``roots``, and those of its neighbours.

    Bundles of one repository share a baseline; an entry without a path may be any one's.
    """
    below = tuple(plain(root) + "/" if root else "" for root in roots)
    ours = frozenset(one for one in entries if not one.path or one.path.startswith(below))
    return ours, frozenset(entries) - ours


def write(findings: Sequence[Finding], lines: Mapping[tuple[str, int], str], others: Iterable[Entry] = ()) -> bytes:
    """A baseline file that knows all errors and warnings among ``findings`` that may be known, and ``others``."""
    found_now = {
        entry
        for finding, entry in _entries(findings, lines)
        if finding.severity in {Severity.ERROR, Severity.WARNING} and may_be_known(finding)
    }
    entries = sorted({*others, *found_now})
    body = ",\n".join(entry.line() for entry in entries)
    return f'{{"format": {FORMAT}, "findings": [\n{body}{chr(10) if body else ""}]}}\n'.encode()


def _entries(findings: Sequence[Finding], lines: Mapping[tuple[str, int], str]) -> Iterator[tuple[Finding, Entry]]:
    for finding, made in zip(findings, fingerprints(findings, lines), strict=True):
        yield finding, Entry(plain(finding.path), plain(finding.rule), made, plain(finding.message)[:MOST_MESSAGE])
