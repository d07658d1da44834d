"""The command lint, and what publish and ship show of it."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dagferry_schemas.commandline import emit, plain
from dagferry_schemas.errors import Malformed, Unknown
from dagferry_storage import disk

from . import installed_version, options
from .cli_counting import counted

if TYPE_CHECKING:
    from collections.abc import Collection

    from .gate import Gate
    from .lint.baseline import Entry
    from .lint.finding import Rule
    from .lint.result import Result
    from .site import Site

FORMATS = ("text", "json", "sarif", "github", "junit")


@click.command()
@options.rev
@options.root
@options.option("--format", "form", type=click.Choice(FORMATS), default="text", show_default=True,
                help="How findings are printed.")  # fmt: skip
@options.option("--against", metavar="channel:C", default=None, help="Compare with the DAGs that are live there.")
@options.allow_removal
@options.option("--write-baseline", type=click.Path(path_type=Path, dir_okay=False), default=None,
                help="Write what is found now to a baseline file, and succeed.")  # fmt: skip
@options.option("--explain", metavar="RULE", default=None, help="Say what a rule is about, or `all`; check nothing.")
@options.linting
@options.placed
def lint(
    rev: str,
    root: str | None,
    form: str,
    against: str | None,
    allow_removal: bool,
    write_baseline: Path | None,
    explain: str | None,
    gate: Gate,
    site: Site,
    output: str,
) -> int:
    """Check a commit for what would break in production."""
    form = "json" if output == "json" else form
    if explain is not None:
        _explain(explain, form)
        return 0
    site = replace(site, root_option=root)
    options.note_uncommitted(site, rev, "checked")
    with counted("checking DAG files") as progress:
        result = replace(gate, progress=progress).run(
            site, rev, against=against, allow_removal=allow_removal, all_findings=write_baseline is not None
        )
    if write_baseline is not None:
        _write_baseline(result, write_baseline, site.bundle(rev).selection.folders, form)
        return 0
    return show(result, form)


def show(result: Result, form: str) -> int:
    """Print the result on stdout; the exit code."""
    from .gate import refusal, require_passed
    from .lint import github, junit, sarif, text
    from .lint.rules import RULES

    if form == "json":
        refused = {} if result.passed else {"error": refusal(result).to_dict()}
        emit({**result.to_dict(), **refused}, "json", "")
        return int(not result.passed)
    rendered = {
        "text": lambda: text.render(result, RULES, colour=options.coloured(sys.stdout)),
        "sarif": lambda: sarif.render(result, RULES, installed_version()),
        "github": lambda: github.render(result, RULES),
        "junit": lambda: junit.render(result, RULES),
    }
    emit({}, "text", rendered[form]())
    require_passed(result)
    return 0


def _write_baseline(result: Result, path: Path, roots: Collection[str], form: str) -> None:
    """Write what is found below ``roots``; what the file knows that this run did not look for stays in it."""
    from .lint import baseline, text
    from .lint.finding import Severity

    raw = baseline.write(result.findings, result.lines, _still_known(result, path, roots))
    with disk.doing(f"writing {path}"):
        disk.write_whole(path, raw)
    count = len(baseline.read(raw, str(path)).entries)
    left = sum(one.severity is Severity.ERROR and not baseline.may_be_known(one) for one in result.findings)
    said = [f"{path}: {text.counted(count, 'finding')} known from now on"]
    said += [f"{text.counted(left, 'error')} cannot be known and still refuse the version"] if left else []
    said += ["next: name the file in lint.baseline, and commit both"]
    emit({"baseline": str(path), "findings": count, "left": left}, form, "\n".join(said))


def _still_known(result: Result, path: Path, roots: Collection[str]) -> list[Entry]:
    """Entries of the old file that are another bundle's, or an Airflow's where none took part."""
    from .lint import baseline
    from .lint.rules import RULES

    if not path.exists():
        return []
    try:
        with disk.doing(f"reading {path}"):
            old = baseline.read(path.read_bytes(), str(path)).entries
    except Malformed:
        click.echo(f"note: {path} could not be read as a baseline, and is replaced", err=True)
        return []
    ours, neighbours = baseline.within(old, roots)
    absent = () if result.checked.environment is not None else ("airflow", "policy")
    return [*neighbours, *(one for one in ours if baseline.source_of(one.rule, RULES) in absent)]


def _explain(name: str, form: str) -> None:
    from .lint.python import explain_code
    from .lint.rules import RULES

    rules: list[Rule] = [RULES[name]] if name in RULES else []
    if not rules and (asked := explain_code(name)) is not None:
        rules = [asked]
    if not rules:  # `all`, or the beginning of a code, as in `lint.severity`
        rules = [rule for rule in RULES.values() if name == "all" or (name.isupper() and rule.id.startswith(name))]
    if not rules:
        raise Unknown(f"there is no rule {name!r}", options.nearest(name, RULES) or "`--explain all` lists them")
    facts: list[dict[str, Any]] = [{**vars(rule), "severity": rule.severity.value} for rule in rules]
    blocks = [
        f"{rule.id} ({rule.severity.value}): {rule.title}\n\n{rule.explanation}\n\nTo mend it: {rule.hint}"
        if len(rules) == 1
        else f"{rule.id:26} {rule.severity.value:8} {rule.title}"
        for rule in rules
    ]
    emit({"rules": facts}, form, "\n".join(blocks))


def gated(gate: Gate, site: Site, rev: str, *, against: str | None = None, allow_removal: bool = False) -> Result:
    """Lint before a publication: what is found is shown on stderr. Raises `BadData` if it refuses the version.

    What refuses nothing and asks for nothing, that no Airflow took part included, is one line each: what a publication
    is about is the version.
    """
    from .gate import require_passed
    from .lint import text
    from .lint.finding import Severity
    from .lint.rules import RULES

    with counted("checking DAG files") as progress:
        result = replace(gate, progress=progress).run(site, rev, against=against, allow_removal=allow_removal)
    brief = {Severity.NOTE: "note", Severity.WARNING: "warning"}
    if all(one.severity is Severity.NOTE or (one.rule == "no-airflow" and result.passed) for one in result.findings):
        for one in result.findings:
            click.echo(f"{brief[one.severity]}: {plain(one.message)} (`dagferry lint` says more)", err=True)
    else:
        click.echo(text.render(result, RULES, colour=options.coloured(sys.stderr), notice=False), err=True)
    require_passed(result)
    return result
