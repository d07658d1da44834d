"""Whether Airflow has taken what a new version's DAG files say, and which files it has to be shown once more.

Airflow parses a file when its time is later than the end of its last parse. Two things are missed that way:

* A change that comes too soon: a DAG that was written down less than `min_serialized_dag_update_interval` ago is parsed
  and not written down. Its file is shown again when that time is over.
* A file that was waiting in Airflow's queue when the version changed: it is parsed where it was then, in the folder of
  the version before, and after the new file got its time. What was found there is taken for the new version's: its
  DAGs, or that it cannot be imported, for which Airflow runs no DAG of it any more.

With many files either may happen minutes after the switch, so what the database says of each is looked at until every
file was parsed since then, and none of them is doubtful.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

LONGEST: Final = timedelta(hours=1)
"""After which a version counts as taken, whatever the database says."""


class Parse(NamedTuple):
    """The last parse of a DAG's file: which file, where, when it ended, and when a DAG of it was last written down."""

    file: str
    place: str
    ended: datetime
    written: datetime


class Failure(NamedTuple):
    """The last parse of a file that could not be imported: which file, what was told of it, and when."""

    file: str
    told: str
    ended: datetime


class Settling:
    """The version in ``folder``, from the moment at which its files got their times on.

    ``interval``: what Airflow calls too soon.
    """

    def __init__(self, folder: str, switched: datetime, interval: timedelta) -> None:
        self._folder = f"{folder}/"
        self._versions = folder.rpartition("/")[0] + "/"
        self._switched = switched
        self._interval = interval
        self._shown: dict[str, datetime] = {}
        """Files that were shown again, and the end of the parse for which they were."""

    def look(self, parses: Iterable[Parse | Failure], now: datetime) -> tuple[set[str], bool]:
        """The files to show again now, and whether all is settled."""
        files: set[str] = set()
        settled = True
        for parse in parses:
            if parse.ended < self._switched:
                settled = False
                continue
            file = self._relative(parse.file)
            if isinstance(parse, Failure):
                missed = ready = self._failed_elsewhere(parse, file)
            else:
                elsewhere = not parse.place.startswith(self._folder)
                too_soon = parse.written < parse.ended < parse.written + self._interval
                missed = elsewhere or too_soon
                ready = elsewhere or (too_soon and now >= parse.written + self._interval)
            settled = settled and not missed
            if ready and self._shown.get(file) != parse.ended:
                self._shown[file] = parse.ended
                files.add(file)
        return files, settled or now > self._switched + LONGEST

    def _failed_elsewhere(self, failure: Failure, file: str) -> bool:
        """Whether it failed in another version's folder, as far as its traceback says.

        One that names no version's folder (Airflow tells a traceback's last lines only) may be of any: once for each
        such file it is taken to be of another.
        """
        if self._folder in failure.told:
            return False
        return self._versions in failure.told or self._shown.get(file, failure.ended) == failure.ended

    def _relative(self, file: str) -> str:
        """The path in its version's folder; Airflow 3.0 tells the whole one of a file that cannot be imported."""
        return file.removeprefix(self._versions).partition("/")[2] if file.startswith(self._versions) else file
