"""A real Airflow imports every DAG file, twice, and says what it saw.

1. Each file is imported in a probe (see `probe`); several probes, one a core, work side by side.
2. What came out well is imported a second time, by another probe with another hash seed, in the opposite order of
   files. Where the DAGs differ, both probes import the file once more on its own; if they still differ, the file's
   definition depends on more than its bytes. The opposite order also shows a file that only works after another one.
3. A probe that dies has been killed by the file it was at: that file is tried once more, with nothing else before it,
   and then the death is its finding. The others go to a new probe.
4. Results that still hold come from the cache; if all do, no Airflow is imported.
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

from .cache import Cache
from .imported import Imported, Problem
from .interpreter import Conversation
from .unstable import difference

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Self

    from .checkout import Checkout
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


class _Unwanted(Exception):
    """Nobody waits for the results any more."""


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
    """The imports of one tree in one environment. ``progress`` is told (files done, files in all).

    An Airflow takes seconds to load, so the steps are taken as soon as what they need is known: `environment` when
    nothing is, `begin` when the tree's contents are, `take` when they are on disk; `results` waits for the end. As a
    context it ends whatever it has started.
    """

    def __init__(self, interpreter: Interpreter, settings: Settings, progress: Callable[[int, int], None]) -> None:
        self._interpreter = interpreter
        self._settings = settings
        self._progress = progress
        self._cache = Cache(None, {})
        self._checkout: Checkout | None = None
        self._queue: deque[_Chunk] = deque()
        self._changed = threading.Condition()
        self._busy = 0
        self._failure: BaseException | None = None
        self._threads: list[threading.Thread] = []
        self._talks: dict[int, Conversation] = {}
        self._environment: dict[str, Any] | None = None
        self._outcome = _Outcome()
        self._kept: dict[str, Imported] = {}
        self._listing: list[dict[str, Any]] | None = None
        self._probes: int | None = None
        self._total = 0

    def __enter__(self) -> Self:
        self._start_thread(0)
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        # After an error, or ^C, or SIGTERM, nobody waits for an answer any more; otherwise all have ended.
        self._give_up(error or _Unwanted())
        for thread in self._threads:
            thread.join()

    def _start_thread(self, number: int) -> None:
        thread = threading.Thread(target=self._work, args=(number,))
        self._threads.append(thread)
        thread.start()

    def environment(self) -> dict[str, Any]:
        """What the interpreter is, see `Conversation.environment`."""
        self._wait_for(lambda: self._environment is not None)
        assert self._environment is not None
        return self._environment

    def begin(self, cache: Cache) -> None:
        """Take what ``cache`` has, and have Airflow imported if there is anything left to import."""
        self._cache = cache
        self._listing = cache.listing()
        self._kept = cache.holding()
        left = FEW if self._listing is None else sum(task["path"] not in self._kept for task in self._listing)
        wanted = min(os.cpu_count() or 1, MAX_PROBES, 2 if left < FEW else MAX_PROBES) if left else 0
        with self._changed:
            self._probes = wanted
            self._changed.notify_all()
        for number in range(1, wanted):
            self._start_thread(number)

    def take(self, checkout: Checkout) -> None:
        """Have the files on disk, where they have to stay until the results are there."""
        with self._changed:
            self._checkout = checkout
            self._changed.notify_all()

    @property
    def cached(self) -> int:
        """How many of the results come from the cache."""
        return sum(task["path"] in self._kept for task in self._listing or ())

    def results(self) -> list[Imported]:
        """Every DAG file's result, in the order of the paths. Raises `MachineFault` if the Airflow does not work."""
        for thread in self._threads:
            thread.join()
        if self._failure is not None:
            raise self._failure
        assert self._listing is not None
        results = self._results()
        self._cache.save(self._listing)
        return [results[task["path"]] for task in self._listing]

    def _wait_for(self, happened: Callable[[], bool]) -> None:
        with self._changed:
            while self._failure is None and not happened():
                self._changed.wait()
        if self._failure is not None:
            raise self._failure

    def _results(self) -> dict[str, Imported]:
        found = dict(self._kept)
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
            talk = self._open(number)
            if number == 0:
                environment = talk.environment()
                with self._changed:
                    self._environment = environment
                    self._changed.notify_all()
                self._wait_for(lambda: self._probes is not None)
                if not self._probes:
                    return
            self._prepare(talk, number)
            while (chunk := self._take(number)) is not None:
                if not self._hand_over(talk, number, chunk):
                    log.debug("a probe ended: %s", talk.complaint())
                    talk.close()
                    talk = None
                    if self._failure is not None:
                        return
                    talk = self._open(number)
                    self._prepare(talk, number)
        except BaseException as error:  # noqa: BLE001 (it is raised again by the thread that waits)
            self._give_up(error)
        finally:
            with self._changed:
                self._talks.pop(number, None)
                self._changed.notify_all()
            if talk is not None:
                talk.close()

    def _give_up(self, error: BaseException) -> None:
        with self._changed:
            if self._failure is None:
                self._failure = error
                for talk in self._talks.values():
                    talk.kill()
            self._changed.notify_all()

    def _open(self, number: int) -> Conversation:
        talk = Conversation(self._interpreter, number + 1)
        with self._changed:
            self._talks[number] = talk
            given_up = self._failure is not None
        if given_up:
            talk.kill()
        return talk

    def _prepare(self, talk: Conversation, number: int) -> None:
        """Have a probe load its Airflow and take the tree. The first one lists the DAG files."""
        settings = self._settings
        talk.load(
            {
                "settings": {
                    "import_timeout": settings.import_timeout,
                    "import_budget": settings.import_budget,
                    "memory_mb": settings.memory_mb,
                    "allow_network": settings.allow_network,
                },
                "variables": dict(settings.variables),
                "connections": dict(settings.connections),
            }
        )
        self._wait_for(lambda: self._checkout is not None)
        assert self._checkout is not None
        lists = number == 0 and self._listing is None
        wanted = [path for path in self._checkout.python_files() if path not in self._kept]
        files = talk.give_tree(self._checkout, lists=lists, preload=wanted)
        if lists or (number == 0 and not self._total):
            self._plan(files if lists else self._listing or [])

    def _plan(self, listing: list[dict[str, Any]]) -> None:
        with self._changed:
            self._listing = listing
            tasks = [{**task, "mode": "full"} for task in listing if task["path"] not in self._kept]
            self._total = len(tasks) or 1
            size = max(1, min(CHUNK, -(-len(tasks) // (2 * (self._probes or 1)))))
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
        for number in range(min(self._probes or 1, 2)):
            other = 1 - number if self._probes != 1 else None
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
