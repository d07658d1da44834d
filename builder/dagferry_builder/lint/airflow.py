"""A real Airflow imports every DAG file, twice, and says what it saw.

1. Each file is imported in a probe (see `probe`); several probes, one a core, work side by side.
2. What came out well is imported a second time, by another probe with another hash seed, in the opposite order of
   files. Where the DAGs differ, both probes import the file once more on its own; if they still differ, the file's
   definition depends on more than its bytes. The opposite order also shows a file that only works after another one.
3. A probe that dies has been killed by the file it was at: that file is tried once more, with nothing else before it,
   and then the death is its finding. The others go to a new probe.
4. Results that still hold come from the cache; if all do, no Airflow is started.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from dagferry_schemas.errors import DagferryError
from dagferry_schemas.fields import Fields

from .airflow_rules import BY_ID
from .finding import found
from .imported import Imported, Problem
from .interpreter import PATIENCE, Conversation, not_working
from .unstable import difference

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .cache import Cache
    from .checkout import Checkout
    from .finding import Finding
    from .interpreter import Interpreter
    from .settings import Settings

log = logging.getLogger(__name__)
MAX_PROBES: Final = 8
CHUNK: Final = 250
"""DAG files that a probe takes at a time, at most."""
FEW: Final = 16
"""DAG files below which more than two probes cost more than they gain."""
SLACK: Final = 30.0
"""Seconds that a probe gets on top of what it may take for a file."""


@dataclass
class _Chunk:
    """Files that one probe imports one after the other, for the ``first`` or ``second`` time or ``alone``.

    ``not_by`` is the probe that must not take it, because it is to be another one's second opinion.
    """

    tasks: list[dict[str, Any]]
    kind: str
    not_by: int | None = None
    by: int | None = None
    attempts: int = 0


@dataclass
class _Outcome:
    """What the probes said, by path."""

    first: dict[str, Imported] = field(default_factory=dict)
    reports: dict[str, dict[str, Any]] = field(default_factory=dict)
    second: dict[str, Any] = field(default_factory=dict)
    alone: dict[str, list[dict[str, Any]]] = field(default_factory=dict)


class Imports:
    """The imports of one tree in one environment. ``progress`` is told (files done, files in all)."""

    def __init__(
        self,
        interpreter: Interpreter,
        checkout: Checkout,
        settings: Settings,
        cache: Cache,
        progress: Callable[[int, int], None],
    ) -> None:
        self._interpreter = interpreter
        self._checkout = checkout
        self._settings = settings
        self._cache = cache
        self._progress = progress
        self._queue: deque[_Chunk] = deque()
        self._changed = threading.Condition()
        self._busy = 0
        self._failure: BaseException | None = None
        self._talks: dict[int, Conversation] = {}
        self._outcome = _Outcome()
        self._listing: list[dict[str, Any]] | None = None
        self._probes = 0
        self._total = 0
        self.cached = 0

    def run(self) -> list[Imported]:
        """Every DAG file's result, in the order of the paths. Raises `MachineFault` if the Airflow does not work."""
        self._listing = self._cache.listing()
        kept = self._from_cache() if self._listing is not None else None
        if self._listing is None or kept is None or len(kept) < len(self._listing):
            kept = self._import()
        assert self._listing is not None
        self._cache.save(self._listing)
        return [kept[task["path"]] for task in self._listing]

    def _from_cache(self) -> dict[str, Imported]:
        paths = [task["path"] for task in self._listing or ()]
        found = {path: imported for path in paths if (imported := self._cache.get(path)) is not None}
        self.cached = len(found)
        return found

    def _import(self) -> dict[str, Imported]:
        wanted = os.cpu_count() or 1
        left = FEW if self._listing is None else len(self._listing) - self.cached
        self._probes = max(1, min(wanted, MAX_PROBES, 2 if left < FEW else MAX_PROBES))
        threads = [threading.Thread(target=self._work, args=(number,)) for number in range(self._probes)]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                thread.join()
        except BaseException as error:  # ^C, or SIGTERM: nobody waits for an answer any more
            self._give_up(error)
            raise
        if self._failure is not None:
            raise self._failure
        return self._results()

    def _results(self) -> dict[str, Imported]:
        found = self._from_cache()
        for path, imported in self._outcome.first.items():
            problems = self._unstable(path)
            found[path] = replace(imported, problems=(*imported.problems, *problems))
            report = self._outcome.reports.get(path)
            if report is not None:
                told = [*report["problems"], *map(asdict, problems)]
                self._cache.put(found[path], {**report, "problems": told})
        return found

    # --- one probe -----------------------------------------------------------------------------------------------

    def _work(self, number: int) -> None:
        talk: Conversation | None = None
        try:
            talk = self._start(number)
            while (chunk := self._take(number)) is not None:
                if not self._hand_over(talk, number, chunk):
                    log.debug("a probe ended: %s", talk.complaint())
                    talk.close()
                    talk = None
                    if self._failure is not None:
                        return
                    talk = self._start(number)
        except BaseException as error:  # noqa: BLE001 (it is raised again by the thread that waits)
            self._give_up(error)
        finally:
            with self._changed:
                self._changed.notify_all()
            if talk is not None:
                talk.close()

    def _give_up(self, error: BaseException) -> None:
        with self._changed:
            self._failure = self._failure or error
            for talk in self._talks.values():
                talk.kill()
            self._changed.notify_all()

    def _start(self, number: int) -> Conversation:
        """A probe that has its Airflow loaded. The first one lists the DAG files."""
        settings = self._settings
        lists = number == 0 and self._listing is None
        request = {
            "mode": "check",
            "list": lists,
            "preload": self._checkout.python_files(),
            "settings": {
                "import_timeout": settings.import_timeout,
                "import_budget": settings.import_budget,
                "memory_mb": settings.memory_mb,
                "allow_network": settings.allow_network,
            },
            "variables": dict(settings.variables),
            "connections": dict(settings.connections),
        }
        talk = Conversation(self._interpreter, request, self._checkout, number + 1)
        with self._changed:
            self._talks[number] = talk
            given_up = self._failure is not None
        if given_up:
            talk.kill()
        answer = talk.receive(PATIENCE)
        if answer is None or "ready" not in answer:
            said = str((answer or {}).get("broken", "")) or talk.complaint()
            talk.close()
            raise not_working(self._interpreter, said)
        if lists or (number == 0 and not self._total):
            self._plan(answer["ready"]["files"] if lists else self._listing or [])
        return talk

    def _plan(self, listing: list[dict[str, Any]]) -> None:
        with self._changed:
            self._listing = listing
            done = self._from_cache()
            tasks = [{**task, "mode": "full"} for task in listing if task["path"] not in done]
            self._total = len(tasks) or 1
            size = max(1, min(CHUNK, -(-len(tasks) // (2 * self._probes))))
            for start in range(0, len(tasks), size):
                self._queue.append(_Chunk(tasks[start : start + size], "first"))
            self._changed.notify_all()

    def _take(self, number: int) -> _Chunk | None:
        """The next chunk for this probe; None when there is nothing left to come."""
        with self._changed:
            while self._failure is None:
                for chunk in self._queue:
                    if chunk.not_by != number or self._probes == 1:
                        self._queue.remove(chunk)
                        self._busy += 1
                        chunk.by = number
                        return chunk
                if self._listing is not None and self._total and not self._busy and not self._queue:
                    return None
                self._changed.wait()
            return None

    def _hand_over(self, talk: Conversation, number: int, chunk: _Chunk) -> bool:
        """Have the probe import a chunk; whether the probe is still alive afterwards."""
        talk.send({"tasks": chunk.tasks})
        reports: list[dict[str, Any]] = []
        for _ in chunk.tasks:
            answer = talk.receive(2 * self._settings.import_timeout + SLACK)
            if answer is None or "report" not in answer:
                break
            reports.append(answer["report"])
            if chunk.kind == "first":
                self._progress(min(len(self._outcome.first) + len(reports), self._total), self._total)
        with self._changed:
            self._busy -= 1
            self._settle(chunk, reports, number)
            self._changed.notify_all()
        return len(reports) == len(chunk.tasks)

    # --- what comes of a chunk ---------------------------------------------------------------------------------------

    def _settle(self, chunk: _Chunk, reports: Sequence[dict[str, Any]], number: int) -> None:
        for report in reports:
            self._keep(chunk, report)
        if len(reports) < len(chunk.tasks):
            self._died(chunk, chunk.tasks[len(reports)], chunk.tasks[len(reports) + 1 :])
        if chunk.kind == "first":
            again = [{**task, "mode": "digests"} for task in reversed(chunk.tasks) if self._went_well(task["path"])]
            if again:
                self._queue.append(_Chunk(again, "second", not_by=number))
        elif chunk.kind == "second":
            for task in chunk.tasks[: len(reports)]:
                if self._outcome.second.get(task["path"]) != self._outcome.reports[task["path"]]["digests"]:
                    self._look_again(task)

    def _keep(self, chunk: _Chunk, report: dict[str, Any]) -> None:
        path = report["path"]
        if chunk.kind == "alone":
            self._outcome.alone.setdefault(path, []).append(report)
            return
        if chunk.kind == "second":
            self._outcome.second[path] = report["digests"]
            return
        try:
            self._outcome.first[path] = Imported.read(Fields(report, path))
            self._outcome.reports[path] = report
        except DagferryError as error:
            self._outcome.first[path] = Imported(path, problems=(Problem("result-tampered", path, 0, error.message),))

    def _died(self, chunk: _Chunk, task: dict[str, Any], rest: list[dict[str, Any]]) -> None:
        """The probe died at ``task``: try that one by itself, then blame it; the rest goes to another probe."""
        if rest:
            self._queue.append(replace(chunk, tasks=rest, attempts=0))
        if chunk.attempts == 0 or len(chunk.tasks) > 1:
            self._queue.appendleft(replace(chunk, tasks=[task], attempts=1, not_by=None))
        elif chunk.kind == "first":
            path = task["path"]
            message = "the import kills the process that checks it, or keeps it from answering"
            self._outcome.first[path] = Imported(path, problems=(Problem("import-crash", path, 0, message),))

    def _went_well(self, path: str) -> bool:
        imported = self._outcome.first.get(path)
        if imported is None or imported.skipped or not imported.digests:
            return False
        # Of two DAGs with one id it is chance which of them is looked at.
        return all(problem.rule != "duplicate-dag-id" for problem in imported.problems)

    def _look_again(self, task: dict[str, Any]) -> None:
        for number in range(min(self._probes, 2)):
            other = 1 - number if self._probes > 1 else None
            self._queue.append(_Chunk([{**task, "mode": "whole"}], "alone", not_by=other))

    def _unstable(self, path: str) -> tuple[Problem, ...]:
        opinions = self._outcome.alone.get(path, [])
        if len(opinions) < 2:
            return ()
        one, two = opinions[:2]
        if one["digests"] == two["digests"]:
            return ()
        rule, message = difference(one, two)
        return (Problem(rule, path, 0, message),)


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
