"""After a switch: Airflow is told to look at once, and what it cannot import since then is reported.

1. In a thread of its own, after the pull was answered: no pull waits for Airflow, and none fails because of it.
2. Airflow 3 is asked to parse the files that changed and hold DAGs; if there is none, or there are many, one file: to
   look at one, Airflow looks at its bundle before, and so finds what is new.
3. When the files that changed were parsed, or after `PATIENCE`, the import errors are compared with those before the
   switch: new ones are warnings in the log, each with the file and the reason.
4. The newest switch counts: one that comes meanwhile ends the story of the one before. A failure is told once, until
   Airflow answers again.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Final

from dagferry_schemas.commandline import plain
from dagferry_schemas.errors import DagferryError
from dagferry_schemas.names import short_tree

from .clock import utc
from .releases import Known
from .renewing import DAG_FILES

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from dagferry_schemas.endpoint import PullReply

    from .api_client import AirflowClient, Broken, DagFile
    from .root import Root

PATIENCE: Final = 90.0
"""Seconds for Airflow to parse what changed."""
LOOK_SECONDS: Final = 2.0
MOST_FILES: Final = 20
"""Files that Airflow is asked for by name; of more, one."""
TOLD_ERRORS: Final = 20
"""Import errors that a report names."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Switch:
    """A switch to ``version`` at ``moment`` (seconds since 1970), from a tree, as far as it is known, to another."""

    version: str
    moment: float
    before: str | None
    after: str


@dataclass(frozen=True)
class Report:
    """What Airflow made of a switch: files that it could not import before and afterwards, and those that are new.

    ``dags`` are the numbers of DAGs before (None: not known) and afterwards.
    """

    version: str
    told: str
    before: int
    after: int
    new: tuple[Broken, ...]
    parsed: bool
    dags: tuple[int | None, int]

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        new = [{"file": one.file, "reason": one.reason} for one in self.new[:TOLD_ERRORS]]
        return {
            "version": self.version,
            "told": self.told,
            "parsed": self.parsed,
            "import_errors": {"before": self.before, "after": self.after, "new": new},
            "dags": {"before": self.dags[0], "after": self.dags[1]},
        }


class AirflowNews:
    """Tells Airflow of the switches of ``root``, and keeps what came of the last.

    ``clock`` gives seconds since 1970; ``stopped`` is shared with the client, whose requests it ends.
    """

    def __init__(
        self,
        client: AirflowClient,
        root: Root,
        clock: Callable[[], float],
        stopped: threading.Event,
        *,
        patience: float = PATIENCE,
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        self._client = client
        self._root = root
        self._clock = clock
        self._stopped = stopped
        self._patience = patience
        self._look_seconds = look_seconds
        self._tree: str | None = None
        self._next: Switch | None = None
        self._come = threading.Condition()
        self._known: Mapping[str, Broken] | None = None
        self._dags: int | None = None
        self._trouble: str | None = None
        self.report: Report | None = None
        """What came of the last switch of which Airflow could be told."""
        self._thread = threading.Thread(target=self._work, name="airflow", daemon=True)

    def start(self) -> None:
        """Begin; the import errors that there are now are those from before."""
        self._thread.start()

    def stop(self) -> None:
        """End soon; what is under way is dropped."""
        self._stopped.set()
        with self._come:
            self._come.notify_all()

    def pulled(self, reply: PullReply) -> None:
        """A pull ended well; what it switched is told, soon and elsewhere."""
        before, self._tree = self._tree, reply.tree
        if not reply.changed:
            return
        with self._come:
            self._next = Switch(reply.version, self._clock(), before, reply.tree)
            self._come.notify_all()

    def _changed(self, switch: Switch) -> frozenset[str]:
        """The DAG files of the release that differ from the one before, or are not in it."""
        old = self._root.find(short_tree(switch.before)) if switch.before is not None else None
        new = self._root.find(short_tree(switch.after))
        if old is None or new is None:
            return frozenset()
        known = Known(old)
        return frozenset(
            file.path for file in new.tree.files if known.at(file.path)[0] != file and file.path.endswith(DAG_FILES)
        )

    def _work(self) -> None:
        self._attempt(self._remember)
        while (switch := self._await()) is not None:
            self._attempt(lambda switch=switch: self._tell(switch))  # type: ignore[misc]

    def _await(self) -> Switch | None:
        with self._come:
            self._come.wait_for(lambda: self._stopped.is_set() or self._next is not None)
            switch, self._next = self._next, None
            return None if self._stopped.is_set() else switch

    def _attempt(self, work: Callable[[], None]) -> None:
        try:
            work()
        except DagferryError as error:
            if error.message != self._trouble and not self._stopped.is_set():
                _log.warning("Airflow was not told: %s", plain(f"{error.message} ({error.hint})"))
            self._trouble = error.message
        except Exception:  # noqa: BLE001 (the thread has to live on; it is logged)
            _log.exception("a bug in dagferry, please report it: Airflow was not told")
        else:
            self._trouble = None

    def _remember(self) -> None:
        self._dags = self._client.dag_count()
        self._known = self._client.import_errors()

    def _tell(self, switch: Switch) -> None:
        if self._known is None:  # Airflow could not be asked before
            self._remember()
        before = self._known or {}
        asked = self._ask_to_parse(switch) if self._client.version() >= 3 else ()
        parsed = self._await_parsed(switch, asked)
        if parsed is None:
            return
        after, dags = self._client.import_errors(), (self._dags, self._client.dag_count())
        self._known, self._dags = after, dags[1]
        new = tuple(one for name, one in sorted(after.items()) if name not in before)
        self.report = Report(switch.version, utc(self._clock()), len(before), len(after), new, parsed, dags)
        _say(self.report, [name for name in before if name not in after])

    def _ask_to_parse(self, switch: Switch) -> tuple[str, ...]:
        """Have Airflow parse what changed; the files that it is to have parsed."""
        files, changed = self._client.dag_files(), self._changed(switch)
        wanted = [file for file in files if _is_among(file.path, changed)]
        for file in wanted if 0 < len(wanted) <= MOST_FILES else (wanted or files)[:1]:
            self._client.parse(file)
        return tuple(file.path for file in wanted)

    def _await_parsed(self, switch: Switch, asked: Collection[str]) -> bool | None:
        """Whether Airflow has parsed what changed, None if that is of no interest any more."""
        until = self._clock() + self._patience
        while self._clock() < until:
            with self._come:
                self._come.wait_for(lambda: self._stopped.is_set() or self._next is not None, self._look_seconds)
                if self._stopped.is_set() or self._next is not None:
                    return None
            if asked and self._is_parsed(switch, asked):
                return True
        return False

    def _is_parsed(self, switch: Switch, asked: Collection[str]) -> bool:
        parsed = {file.path: file for file in self._client.dag_files()}
        broken = self._client.import_errors()
        return all(
            path not in parsed
            or _is_of(parsed[path], switch)
            or any(_is_among(path, (name,)) and _failed_in(one, parsed[path], switch) for name, one in broken.items())
            for path in asked
        )


def _say(report: Report, gone: list[str]) -> None:
    for one in report.new[:TOLD_ERRORS]:
        _log.warning("Airflow cannot import %s since %s: %s", plain(one.file), report.version, plain(one.reason))
    facts = {"facts": report.to_dict()}
    waited = "" if report.parsed else ", which Airflow may not have parsed yet"
    _log.info(
        "Airflow and %s%s: %d import errors, before %d; %d are new, %d are gone",
        report.version,
        waited,
        report.after,
        report.before,
        len(report.new),
        len(gone),
        extra=facts,
    )


def _is_of(file: DagFile, switch: Switch) -> bool:
    """Whether what was parsed last is of the switch.

    A parse that ends after a switch may have begun before it: Airflow then takes it for one of the new version, but
    says where the file was. In a folder that is switched as a whole, the time is all that there is to go by.
    """
    if _seconds(file.parsed) <= switch.moment:
        return False
    return file.version is None or (file.version == switch.version and f"/{switch.version}/" in file.place)


def _failed_in(broken: Broken, file: DagFile, switch: Switch) -> bool:
    """Whether a file was found broken in the release of the switch, and not where it was before, which may come later.

    Where it was is in the traceback alone; one that names no version's folder is taken for one of the switch.
    """
    if _seconds(broken.since) <= switch.moment:
        return False
    versions = file.place.removesuffix(f"/{file.path}").rpartition("/")[0]
    return file.version is None or f"/{switch.version}/" in broken.told or f"{versions}/" not in broken.told


def _is_among(path: str, others: Collection[str]) -> bool:
    """Whether a path is one of ``others``, where either may be told from further up."""
    return any(path == other or other.endswith(f"/{path}") or path.endswith(f"/{other}") for other in others)


def _seconds(time: str) -> float:
    """A time as Airflow writes it, in seconds since 1970; 0 for none."""
    try:
        found = datetime.fromisoformat(time.replace("Z", "+00:00"))
    except ValueError:
        return 0.0
    return (found if found.tzinfo else found.replace(tzinfo=timezone.utc)).timestamp()
