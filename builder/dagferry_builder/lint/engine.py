"""One run of lint: every source is asked, and what they found is judged.

1. Sources see paths of the tree; here they become paths of the repository, where people mend things.
2. A severity comes from the settings. Then comments of the file suppress findings, and the baseline takes out those
   that were there before; neither can hide a finding from the counts.
3. What cannot be packed is not checked further: there is no tree.
"""

from __future__ import annotations

import re
import time
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from dagferry_builder import selecting
from dagferry_builder.problems import CannotPack

from . import airflow, airflow_findings, airflow_rules, baseline, files, live, policy, python, secrets, suppressions
from .cache import Cache, CleanContents, key_of
from .checkout import checked_out, listed
from .dag_source import Sources
from .finding import Severity, found
from .interpreter import probe_source
from .result import Checked, Environment, Result
from .rules import RULES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from dagferry_builder.config import Bundle
    from dagferry_builder.git import Repository
    from dagferry_schemas.inventory import DagFacts

    from .baseline import Baseline
    from .checkout import Checkout, CheckoutFile
    from .finding import Finding
    from .imported import Imported
    from .interpreter import Interpreter
    from .live import Live, NothingLive, Others
    from .settings import Settings


@dataclass(frozen=True)
class Against:
    """What is live, to compare with: the channel's DAGs, those of other bundles, and whether many may vanish."""

    live: Live | NothingLive
    others: Others
    allow_removal: bool = False


@dataclass(frozen=True)
class Known:
    """A baseline, and the path that messages name it by."""

    baseline: Baseline
    path: str


@dataclass(frozen=True)
class Surroundings:
    """What a run uses besides the commit. ``progress`` is told (files done, files in all)."""

    interpreter: Interpreter | None = None
    cache_folder: Path | None = None
    against: Against | None = None
    known: Known | None = None
    progress: Callable[[int, int], None] = field(default=lambda _done, _total: None)


@dataclass
class _Seen:
    """What the sources have said so far."""

    findings: list[Finding] = field(default_factory=list)
    imported: list[Imported] | None = None
    environment: Environment | None = None
    cached: int = 0
    absent: set[str] = field(default_factory=lambda: {"airflow", "policy", "live"})
    """Sources of findings that were not asked."""

    @property
    def inventory(self) -> tuple[DagFacts, ...] | None:
        if self.imported is None:
            return None
        dags = (dag for one in self.imported if not one.skipped for dag in one.dags)
        return tuple(sorted(dags, key=lambda dag: (dag.id, dag.file)))


def lint(repository: Repository, bundle: Bundle, rev: str, settings: Settings, around: Surroundings) -> Result:
    """Check the commit ``rev``. Raises `Usage` for an interpreter that is none, `MachineFault`, `Unknown`."""
    began = time.monotonic()
    commit = repository.resolve(rev)
    with _imports(settings, around) as imports:
        try:
            sources = selecting.select(repository, commit, bundle.selection).sources
        except CannotPack as error:
            problems = files.from_problems(error.problems)
            origins = {one.path: bundle.selection.origin(one.path) for one in problems if one.path}
            judged = _judged(problems, settings, origins)
            return Result(bundle.name, commit, tuple(judged), Checked(0), time.monotonic() - began)
        if imports is not None:
            imports.begin(_cache(listed(sources), settings, around, imports.environment(), bundle.name))
        largest = None if imports is not None else secrets.MOST_BYTES  # nobody would read it
        with checked_out(repository, sources, largest=largest) as checkout:
            seen = _ask(checkout, settings, around, imports)
            return _result(checkout, bundle, seen, settings, around, Result(
                bundle.name, commit, (), Checked(len(checkout.files)), began
            ))  # fmt: skip


def _imports(settings: Settings, around: Surroundings) -> AbstractContextManager[airflow.Imports | None]:
    if around.interpreter is None:
        return nullcontext()
    return airflow.Imports(around.interpreter, settings, around.progress)


def _ask(checkout: Checkout, settings: Settings, around: Surroundings, imports: airflow.Imports | None) -> _Seen:
    seen = _Seen()
    about = None
    if imports is not None:
        imports.take(checkout)
        about = imports.environment()
    seen.findings += files.check(checkout, settings)
    seen.findings += _secrets(checkout, settings, around.cache_folder)
    version = settings.airflow_version or (about["airflow"] if about else None)
    seen.findings += python.check(
        checkout,
        settings,
        airflow_version=version,
        python_version=about["python"] if about else None,
        with_airflow=about is not None,
    )
    if imports is None or about is None:
        seen.findings.append(found(airflow_rules.BY_ID["no-airflow"], "", "no Airflow checked the DAGs of this bundle"))
        seen.findings += policy.check(checkout, (), settings, version or "")
        return seen
    seen.environment = Environment(about["airflow"], about["python"], str(around.interpreter))
    seen.imported = imports.results()
    seen.cached = imports.cached
    seen.findings += airflow_findings.findings_of(seen.imported)
    seen.findings += policy.check(checkout, seen.imported, settings, version or about["airflow"])
    seen.absent -= {"airflow", "policy"}
    if around.against is not None:
        against = around.against
        ours = seen.inventory or ()
        seen.findings += live.check(
            ours,
            against.live,
            against.others,
            settings,
            allow_removal=against.allow_removal,
            line_of=Sources(checkout).dag_line,
        )
        seen.absent -= {"live"}
    return seen


def _secrets(checkout: Checkout, settings: Settings, folder: Path | None) -> list[Finding]:
    clean = CleanContents(folder / f"secrets-{secrets.detector_version()}.json.zst" if folder is not None else None)
    findings = secrets.check(checkout, settings, cache=folder, clean=clean.known)
    clean.save(checkout.files.values())
    return findings


def _cache(
    tree: Mapping[str, CheckoutFile],
    settings: Settings,
    around: Surroundings,
    about: Mapping[str, Any],
    bundle: str,
) -> Cache:
    if around.cache_folder is None:
        return Cache(None, tree)
    limits = (settings.import_timeout, settings.import_budget, settings.memory_mb, settings.allow_network)
    stubs = (dict(settings.variables), dict(settings.connections))
    key = key_of(about["state"], probe_source().decode(), str(around.interpreter), bundle, limits, stubs)
    return Cache(around.cache_folder / f"lint-{key}.json.zst", tree, about["variables"])


def _result(
    checkout: Checkout, bundle: Bundle, seen: _Seen, settings: Settings, around: Surroundings, start: Result
) -> Result:
    origins = {path: file.origin for path, file in checkout.files.items()}
    findings = _judged(seen.findings, settings, origins)
    raw = {file.origin: checkout.read(path) for path, file in checkout.files.items() if path.endswith(".py")}
    findings, suppressed = suppressions.apply(_without_echoes(findings), raw, RULES, settings, absent=seen.absent)
    lines = _lines(findings, raw)
    baselined = 0
    if around.known is not None:
        findings, baselined, idle = baseline.take_out(findings, lines, around.known.baseline)
        idle = tuple(sorted(baseline.within(idle, bundle.selection.folders)[0]))
        findings += _judged(baseline.stale(idle, around.known.path, RULES, absent=seen.absent), settings, {})
    inventory = seen.inventory
    checked = replace(
        start.checked,
        dag_files=sum(not one.skipped for one in seen.imported or ()),
        dags=len(inventory or ()),
        cached=seen.cached,
        environment=seen.environment,
    )
    return replace(
        start,
        findings=tuple(sorted(set(findings))),
        checked=checked,
        seconds=time.monotonic() - start.seconds,
        inventory=inventory,
        suppressed=suppressed,
        baselined=baselined,
        lines=lines,
    )


def _judged(findings: Iterable[Finding], settings: Settings, origins: Mapping[str, str]) -> list[Finding]:
    judged = []
    for one in findings:
        placed = replace(one, path=origins.get(one.path, one.path))
        rule = RULES.get(one.rule) or python.explain_code(one.rule)
        severity = settings.severity_of(rule, placed.path) if rule is not None else one.severity
        if one.rule == "no-airflow" and settings.require_airflow:
            severity = Severity.ERROR
        if severity is not Severity.OFF:
            judged.append(replace(placed, severity=severity))
    return judged


def _without_echoes(findings: Sequence[Finding]) -> list[Finding]:
    """``findings`` without those of which another rule says the same, more precisely and no less severely."""
    said = {(one.path, one.line, one.rule): _RANKS.index(one.severity) for one in findings}

    broken = [path for path, _, rule in said if rule == "syntax-error"]

    def is_echo(one: Finding) -> bool:
        helper = _IN_A_HELPER.search(one.message) if one.rule == "import-error" else None
        if helper and any(f"/{path}".endswith(f"/{helper[1]}") for path in broken):
            return True  # each file that imports a helper which is no Python says so
        ranks = (said.get((one.path, one.line, rule)) for rule in ECHOES.get(one.rule, ()))
        return any(rank is not None and rank <= _RANKS.index(one.severity) for rank in ranks)

    return [one for one in findings if not is_echo(one)]


_RANKS: Final = tuple(Severity)
_IN_A_HELPER: Final = re.compile(r"SyntaxError.*\(in (.+), line [0-9]+\)$", re.DOTALL)
ECHOES: Final = {"dynamic-start-date": ("AIR304",), "import-error": ("syntax-error",)}
"""Rules that are silent where another one has spoken of the same line."""


def _lines(findings: Iterable[Finding], raw: Mapping[str, bytes]) -> dict[tuple[str, int], str]:
    """The source line of each finding that has one."""
    split: dict[str, list[str]] = {}
    lines = {}
    for one in findings:
        if one.line and one.path in raw:
            if one.path not in split:
                split[one.path] = raw[one.path].decode("utf-8", "replace").splitlines()
            with suppress(IndexError):
                lines[one.path, one.line] = split[one.path][one.line - 1]
    return lines
