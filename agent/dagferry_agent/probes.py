"""What readers without a token are shown: whether and what is served, how stale that is, and the metrics.

1. Whoever asks without a token must not cost disk reads: the delivery is looked at by one at a time, in a thread, and
   once in `STATUS_SECONDS` at the most. Only ``/readyz`` looks again while nothing is ready: the moment that changes is
   what probes wait for.
2. Of an error they learn its code: messages may name paths and hosts.
3. Ready means that a verified release is live, however stale it is; how stale is said beside it. A channel that this
   process never heard from is as stale as the process is old.
4. One scrape at a time: a second one waits.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagferry_schemas.endpoint import AgentStatus

    from .metrics import Meters
    from .service import Delivery, PullService

STATUS_SECONDS: Final = 1.0
"""How long a status may be old that is shown here."""


@dataclass(frozen=True)
class Look:
    """What the delivery showed at a moment of the monotonic clock, and whether a verified release was live."""

    at: float
    ready: bool
    status: AgentStatus


class Probes:
    """The answers to ``/readyz`` and ``/metrics``; to be called in one event loop."""

    def __init__(
        self,
        service: PullService,
        delivery: Delivery,
        meters: Meters,
        airflow: Callable[[], dict[str, Any] | None] | None = None,
    ) -> None:
        self._service = service
        self._delivery = delivery
        self._meters = meters
        self._airflow = airflow
        self._began = time.monotonic()
        self._looking = asyncio.Lock()
        self._scraping = asyncio.Lock()
        self._last: Look | None = None

    def status(self) -> AgentStatus:
        """What is live, and what Airflow made of it; blocks."""
        airflow = self._airflow() if self._airflow is not None else None
        return replace(self._delivery.status(), airflow=airflow, tells_airflow=self._airflow is not None)

    async def readiness(self) -> tuple[bool, dict[str, Any]]:
        """Whether a verified release is live, and the document that says so (rule 3)."""
        look = await self._look(again_unless_ready=True)
        status, error = look.status, look.status.last_error
        stale = self._service.stale_seconds
        return look.ready, {
            "ready": look.ready,
            "verified": look.ready and not status.drift if status.version is not None or look.ready else None,
            "version": status.version,
            "generation": status.generation,
            "last_check": status.last_check,
            "last_error": {"code": error.get("code", "error")} if error else None,
            "stale_seconds": stale,
            "unheard_seconds": stale if stale is not None else time.monotonic() - self._began,
        }

    async def metrics(self, accept: str) -> tuple[bytes, str]:
        """The metrics in the form that the header ``Accept`` asks for, and its media type."""
        async with self._scraping:
            look = await self._look(again_unless_ready=False)
            return await asyncio.to_thread(self._meters.exposition, look, accept)

    async def _look(self, *, again_unless_ready: bool) -> Look:
        async with self._looking:
            last = self._last
            if last is None or time.monotonic() - last.at > STATUS_SECONDS or (again_unless_ready and not last.ready):
                last = self._last = await asyncio.to_thread(self._look_now)
            return last

    def _look_now(self) -> Look:
        return Look(time.monotonic(), self._delivery.ready(), self.status())
