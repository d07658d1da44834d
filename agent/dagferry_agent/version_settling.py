"""Whether Airflow has taken what a new version's DAG files say, and which files it has to be shown once more.

Airflow parses a file when its time is later than the end of its last parse. Two things are missed that way:

* A change that comes too soon: a DAG that was written down less than `min_serialized_dag_update_interval` ago is parsed
  and not written down. Its file is shown again when that time is over.
* A parse that was under way when the version changed: it read the files of before, and ended after the new ones' time.

With many files either may happen minutes after the switch, so what the database says of each is looked at until every
file was parsed since then, and none of them is doubtful.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

SLACK: Final = timedelta(seconds=2)
"""Between the end of a parse and the time at which that is written down, and between two clocks of one machine."""
LONGEST: Final = timedelta(hours=1)
"""After which a version counts as taken, whatever the database says."""


class Parse(NamedTuple):
    """The last parse of a DAG's file: when it began and ended, and when what it found was last written down."""

    file: str
    began: datetime
    ended: datetime
    written: datetime


class Settling:
    """One version, from the moment at which its files got their times on. ``interval``: what Airflow calls too soon."""

    def __init__(self, switched: datetime, interval: timedelta) -> None:
        self._switched = switched
        self._interval = interval
        self._shown: dict[str, datetime] = {}
        """Files that were shown again, and the end of the parse for which they were."""

    def look(self, parses: Iterable[Parse], now: datetime) -> tuple[set[str], bool]:
        """The files to show again now, and whether all is settled."""
        files: set[str] = set()
        settled = True
        for parse in parses:
            missed = self._was_under_way(parse)
            skipped = self._came_too_soon(parse)
            settled = settled and parse.ended >= self._switched and not missed and not skipped
            ready = missed or (skipped and now >= parse.written + self._interval)
            if ready and self._shown.get(parse.file) != parse.ended:
                self._shown[parse.file] = parse.ended
                files.add(parse.file)
        return files, settled or now > self._switched + LONGEST

    def _was_under_way(self, parse: Parse) -> bool:
        return parse.ended >= self._switched and parse.began - SLACK < self._switched

    def _came_too_soon(self, parse: Parse) -> bool:
        return parse.ended >= self._switched and parse.written < parse.ended < parse.written + self._interval
