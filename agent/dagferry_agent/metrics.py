"""What the agent counts and shows to Prometheus; every metric is in ``docs/metrics.md``.

1. A registry of its own, never the library's global one: what another package counts is not served here.
2. Two sources. A pull is counted when it has ended (`Meters.observe`). What is live is read from one `AgentStatus` for
   each scrape and remembered nowhere, so that it cannot disagree with ``/v1/status``.
3. Names follow Prometheus' rules: base units, ``_total`` for what only grows, ``_seconds``, ``_bytes``, ``_info``.
   What every process has keeps the names that the library gives it (``process_…``).
4. Labels are bounded. Names and digests come from checked options and records, and one set of them is shown at a time;
   error codes are ours, and beyond `MAX_CODES` of them the rest is `OTHER`. No message, path or address is ever shown.
"""

from __future__ import annotations

import calendar
import re
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, disable_created_metrics
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from dagferry_schemas.errors import DagferryError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prometheus_client.core import Metric

    from dagferry_schemas.endpoint import AgentStatus, PullReply

    from .outcome import Outcome
    from .probes import Look

PREFIX: Final = "dagferry_agent"
BUCKETS: Final = (0.01, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
"""Seconds: a look at an unchanged head takes milliseconds, a first pull of a large bundle minutes."""
MAX_CODES: Final = 64
"""Error codes that are counted by their name; there are fewer that a pull can end with."""
OTHER: Final = "other"
_CODE: Final = re.compile(r"[a-z][a-z_]{0,39}")
_OPENMETRICS: Final = "application/openmetrics-text"

# A second series beside each counter, with the time of its creation, tells nothing that the process's start does not.
disable_created_metrics()  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class Reading:
    """One gauge, and how it is read from a look at the agent."""

    name: str
    documentation: str
    read: Callable[[Look], float]


READINGS: Final = (
    Reading("ready", "1 while a verified release is live, else 0.", lambda look: look.ready),
    Reading("generation", "Generation of the channel that is live; 0: none.", lambda look: look.status.generation or 0),
    Reading("pinned", "1 while a version is pinned on this pod, else 0.", lambda look: look.status.pinned is not None),
    Reading(
        "active", "1 while this agent follows the channel; 0: it stands by.", lambda look: look.status.role == "active"
    ),
    Reading(
        "drift_watched",
        "1 while the kernel tells of edits in the live release; 0: it is looked through from time to time.",
        lambda look: look.status.watching == "inotify",
    ),
    Reading("used_bytes", "Bytes that all releases take, each inode once.", lambda look: _disk(look, "used_bytes")),
    Reading("used_inodes", "Inodes that all releases take.", lambda look: _disk(look, "used_inodes")),
    Reading("free_bytes", "Bytes that are left on the file system.", lambda look: _disk(look, "free_bytes")),
    Reading(
        "free_inodes",
        "Inodes that are left on the file system; -1 where it does not count them.",
        lambda look: _disk(look, "free_inodes"),
    ),
    Reading(
        "verifying",
        "1 if nothing is delivered that the keyring's keys did not sign, else 0.",
        lambda look: look.status.verifying,
    ),
    Reading(
        "record_expires_timestamp_seconds",
        "When the channel's record expires, in seconds since 1970; 0: never, or not known.",
        lambda look: _moment(look.status.expires),
    ),
    Reading(
        "airflow_import_errors",
        "Files that Airflow could not import after the last switch of which it was told; -1: it was not told.",
        lambda look: look.status.airflow["import_errors"]["after"] if look.status.airflow else -1,
    ),
    Reading("releases", "Releases on this disk.", lambda look: len(look.status.releases)),
    Reading(
        "drifted_files",
        "Paths of the live release that are not what was delivered, 1000 at the most.",
        lambda look: len(look.status.drift),
    ),
    Reading(
        "last_check_timestamp_seconds",
        "When the last pull ended, however it did, in seconds since 1970; 0: none did.",
        lambda look: _moment(look.status.last_check),
    ),
    Reading(
        "activation_timestamp_seconds",
        "When the live release was activated, in seconds since 1970; 0: none is live.",
        lambda look: _moment(look.status.since),
    ),
)
FACTS: Final[dict[str, Callable[[AgentStatus], str | None]]] = {
    "agent_id": lambda status: status.agent_id,
    "bundle": lambda status: status.bundle,
    "channel": lambda status: status.channel,
    "version": lambda status: status.version,
    "tree": lambda status: status.tree,
}
"""The labels of ``dagferry_agent_info``; what is not known is empty."""


@dataclass(frozen=True)
class Amount:
    """One counter, and by how much a pull that succeeded raises it."""

    name: str
    documentation: str
    read: Callable[[PullReply], int]


AMOUNTS: Final = (
    Amount("fetched_bytes", "Bytes read from the store by pulls that succeeded.", lambda reply: reply.bytes_fetched),
    Amount("store_requests", "Reads of the store by pulls that succeeded.", lambda reply: reply.requests),
    Amount("files_written", "Files whose bytes were written into releases.", lambda reply: reply.files_written),
    Amount("files_linked", "Files that a release shares with the one before.", lambda reply: reply.files_linked),
    Amount("files_copied", "Unchanged files that could not be shared.", lambda reply: reply.files_copied),
    Amount("switches", "Pulls that switched what Airflow reads.", lambda reply: reply.changed),
)

EVENTS: Final = {
    "sent": "Events that a webhook took.",
    "failed": "Times that a webhook did not take an event.",
    "dropped": "Events that no webhook will get, because too many wait.",
}


class Meters:
    """All that one agent counts. Methods may be called from any thread; ``clock`` gives seconds since 1970."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._registry = CollectorRegistry()
        self._lock = threading.Lock()
        self._codes: set[str] = {OTHER}
        ours: dict[str, Any] = {"namespace": PREFIX, "registry": self._registry}
        ProcessCollector(registry=self._registry)
        self._amounts = [(Counter(one.name, one.documentation, **ours), one.read) for one in AMOUNTS]
        self._durations = Histogram(
            "pull_duration_seconds",
            "How long pulls took that succeeded, by whether they switched what Airflow reads.",
            ["changed"],
            buckets=BUCKETS,
            **ours,
        )
        for changed in ("false", "true"):
            self._durations.labels(changed)  # there from the start, so that the first pull is seen as an increase
        self._failures = Counter("pull_failures", "Pulls that failed, by error code.", ["code"], **ours)
        self._in_a_row = Gauge("failed_pulls_in_a_row", "Pulls that failed since the last that succeeded.", **ours)
        self._events = {
            name: Counter(f"events_{name}", documentation, **ours) for name, documentation in EVENTS.items()
        }
        self._waiting = Gauge("events_waiting", "Events that a webhook has not taken yet.", **ours)
        self._last_success = Gauge(
            "last_success_timestamp_seconds",
            "When a pull of this process succeeded last, in seconds since 1970; 0: none did.",
            **ours,
        )
        self._acknowledged = Gauge(
            "last_acknowledgement_timestamp_seconds",
            "When an acknowledgement of this process was stored last, in seconds since 1970; 0: none was.",
            **ours,
        )

    def acknowledged(self) -> None:
        """An acknowledgement was stored."""
        self._acknowledged.set(self._clock())

    def observe(self, outcome: Outcome) -> None:
        """Count a pull that has ended."""
        if outcome.reply is not None:
            self.pulled(outcome.reply)
        else:
            self.failed(outcome.error.code if isinstance(outcome.error, DagferryError) else "bug")

    def pulled(self, reply: PullReply) -> None:
        """Count a pull that succeeded."""
        self._durations.labels(str(reply.changed).lower()).observe(reply.seconds)
        for counter, read in self._amounts:
            counter.inc(read(reply))
        self._in_a_row.set(0)
        self._last_success.set(self._clock())

    def failed(self, code: str) -> None:
        """Count a pull that failed with the error code ``code``."""
        self._failures.labels(self._bounded(code)).inc()
        self._in_a_row.inc()

    def events(self, name: str, count: int) -> None:
        """Count events, by a name of `EVENTS`."""
        self._events[name].inc(count)

    def events_waiting(self, count: int) -> None:
        """So many events wait for a webhook."""
        self._waiting.set(count)

    def exposition(self, look: Look, accept: str) -> tuple[bytes, str]:
        """All metrics, with what ``look`` saw, in the form that the header ``Accept`` asks for, and its media type."""
        # Of the header only this is used: what it says of versions would come back in the reply's own header.
        encode, media_type = choose_encoder(f"{_OPENMETRICS}; version=1.0.0" if _OPENMETRICS in accept.lower() else "")
        return encode(_Scrape(self._registry, look)), media_type

    def _bounded(self, code: str) -> str:
        with self._lock:
            if code not in self._codes:
                if len(self._codes) > MAX_CODES or not _CODE.fullmatch(code):
                    return OTHER
                self._codes.add(code)
        return code


class _Scrape(Collector):
    """What one scrape gets: what was counted, and one look at the agent."""

    def __init__(self, counted: Collector, look: Look) -> None:
        self._counted = counted
        self._look = look

    def collect(self) -> Iterator[Metric]:
        """The metrics, each family once."""
        facts = {name: read(self._look.status) or "" for name, read in FACTS.items()}
        yield InfoMetricFamily(PREFIX, "Who this agent is, and what is live.", facts)
        for one in READINGS:
            yield GaugeMetricFamily(f"{PREFIX}_{one.name}", one.documentation, float(one.read(self._look)))
        yield from self._counted.collect()


def _disk(look: Look, name: str) -> float:
    found = (look.status.disk or {}).get(name)
    return -1 if found is None else found


def _moment(text: str | None) -> float:
    """Seconds since 1970 of a time (RFC 3339, UTC), without its fraction; 0 for none."""
    return float(calendar.timegm(time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S"))) if text else 0.0
