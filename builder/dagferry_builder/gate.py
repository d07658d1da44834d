"""The gate before a publication: where lint gets its settings and its surroundings from, and what it refuses.

The settings are those of the config file *in the commit*; a file that is named by ``--policy`` replaces them as a
whole, and its baseline and its ``python`` are relative to it. The interpreter, which is a matter of the machine, may
be named by option or variable as well.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagferry_schemas.errors import BadData, Usage

from . import config
from .lint import baseline, live_state
from .lint.engine import Against, Known, Surroundings, lint
from .lint.finding import Severity
from .lint.interpreter import find_interpreter
from .lint.live import Others
from .lint.rules import RULES
from .lint.settings import Settings, read_settings
from .lint.text import counted

if TYPE_CHECKING:
    from collections.abc import Callable

    from .lint.result import Result
    from .site import Site


@dataclass(frozen=True)
class Gate:
    """Lint as one command runs it. ``policy`` and ``cache`` are paths, ``python`` is the option of that name."""

    policy: Path | None = None
    python: str | None = None
    cache: Path | None = None
    progress: Callable[[int, int], None] | None = None

    def settings(self, site: Site, rev: str) -> tuple[Settings, Path]:
        """The settings for ``rev``, and the folder that paths in them are relative to. Raises `Usage`."""
        rules = frozenset(RULES)
        if self.policy is not None:
            table = _policy_table(self.policy)
            return read_settings(table, str(self.policy), rules, locked=True), self.policy.absolute().parent
        repository = site.repository
        commit = repository.resolve(rev)
        found = config.at_commit(repository, commit, site.found)
        base = site.found.folder or repository.top
        what = f"the config file in commit {commit[:12]}"
        return read_settings((found.lint if found else None) or {}, what, rules, locked=False), base

    def run(
        self,
        site: Site,
        rev: str,
        *,
        against: str | None = None,
        allow_removal: bool = False,
        all_findings: bool = False,
    ) -> Result:
        """Lint ``rev``; with ``against`` (``channel:NAME``) also compare it with what is live.

        With ``all_findings`` no baseline takes any out: a new one has to know what the old one knew.
        """
        settings, base = self.settings(site, rev)
        bundle = site.bundle(rev)
        around = Surroundings(
            interpreter=find_interpreter(self.python or settings.python, Path.cwd() if self.python else base),
            cache_folder=self.cache,
            against=self._against(site, bundle.name, against, allow_removal=allow_removal),
            known=None if all_findings else _baseline(settings, base, site, rev),
        )
        if self.progress is not None:
            around = replace(around, progress=self.progress)
        return lint(site.repository, bundle, rev, settings, around)

    @staticmethod
    def _against(site: Site, bundle: str, against: str | None, *, allow_removal: bool) -> Against | None:
        if against is None:
            return None
        live = live_state.read_live(site.store, bundle, against)
        channel = against.removeprefix("channel:") if against.startswith("channel:") else ""
        others = live_state.read_others(site.store, bundle, channel) if channel else Others()
        return Against(live, others, allow_removal)


def _policy_table(path: Path) -> dict[str, Any]:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise Usage(f"the policy {path} cannot be read: {error.strerror}", "--policy names a TOML file") from None
    parsed = config.parse(raw, str(path), folder="")
    if parsed is None or parsed.lint is None:
        raise Usage(f"{path}: there is no table [lint]", "a policy is a file like dagferry.toml with a table [lint]")
    return dict(parsed.lint)


def _baseline(settings: Settings, base: Path, site: Site, rev: str) -> Known | None:
    """The baseline that the settings name: beside the policy, or in the commit."""
    if settings.baseline is None:
        return None
    if settings.locked:
        path = base / settings.baseline
        try:
            return Known(baseline.read(path.read_bytes(), str(path)), str(path))
        except OSError as error:
            raise Usage(
                f"the baseline {path} cannot be read: {error.strerror}", "see `baseline` in the policy"
            ) from None
    repository = site.repository
    within = _within(repository.top, base / settings.baseline, settings.baseline)
    raw = repository.file(repository.resolve(rev), within)
    if raw is None:
        raise Usage(
            f"the baseline {within} is not in the commit",
            "write it with `dagferry lint --write-baseline`, and commit it",
            code="no_baseline",
        )
    return Known(baseline.read(raw, within), within)


def _within(top: Path, path: Path, name: str) -> str:
    """``path`` below the top of the repository; it is read from the commit, so links on this disk mean nothing."""
    found = os.path.relpath(path, top)
    if found.startswith("..") or Path(name).is_absolute():
        raise Usage(
            f"lint.baseline: {name!r} is not in the repository",
            "name a file that is committed, relative to the config file; a --policy may have one beside itself",
        )
    return Path(found).as_posix()


def refusal(result: Result) -> BadData:
    """The error for a version that has errors."""
    errors = result.count(Severity.ERROR)
    return BadData(
        f"lint refuses this version: {counted(errors, 'error')}",
        "mend them; `dagferry lint --explain RULE` says more about a rule",
        code="lint_failed",
        result=result.to_dict(),
    )


def require_passed(result: Result) -> None:
    """Raise `BadData` (code ``lint_failed``) if there are errors."""
    if not result.passed:
        raise refusal(result)
