"""Telling webhooks what a command does: beside the command, at once, and never longer than it is worth.

1. Whoever tells an event never waits and never fails. Each webhook has a thread of its own: one that hangs delays no
   other. Events reach a webhook in the order in which they were told.
2. What a webhook does not take is sent again, with pauses that grow, while the command works, and `PATIENCE` seconds
   longer. Then it is left, and said: the command has done its work, and its exit code says how that went.
3. So this is the quick way, not the sure one. The channel's log loses nothing, and who follows it tells the same events
   under the same ids (`following`).
"""

from __future__ import annotations

import queue
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from dagferry_schemas.errors import DagferryError
from dagferry_storage.webhook import pause_after

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dagferry_schemas.events import Event
    from dagferry_storage.webhook import Webhook

PATIENCE: Final = 5.0
"""Seconds that a command waits for its webhooks, after all else is done."""


@dataclass(frozen=True)
class Told:
    """What one webhook has: so many of so many events; ``error`` is why it has not more."""

    url: str
    told: int
    events: int
    error: str | None

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {"url": self.url, "ok": self.error is None, "told": self.told, "events": self.events,
                "error": self.error}  # fmt: skip


class Announcer:
    """Tells ``webhooks`` of events."""

    def __init__(self, webhooks: Sequence[Webhook], *, patience: float = PATIENCE) -> None:
        self._lines = [_Line(one) for one in webhooks]
        self._patience = patience
        self._result: list[Told] | None = None

    def tell(self, event: Event) -> None:
        """Let all webhooks have ``event``, soon. Returns at once; raises nothing."""
        for line in self._lines:
            line.put(event)

    def finish(self) -> list[Told]:
        """Wait for what is under way, and say what came of it; nothing is told afterwards. To be called once or more.

        Takes `PATIENCE` seconds at the most, for all webhooks together.
        """
        if self._result is None:
            until = time.monotonic() + self._patience
            for line in self._lines:
                line.close(until)
            self._result = [line.wait() for line in self._lines]
        return self._result


class _Line:
    """One webhook, its events, and the thread that sends them. A daemon: a receiver that hangs keeps nobody alive."""

    def __init__(self, webhook: Webhook) -> None:
        self._webhook = webhook
        self._events: queue.SimpleQueue[tuple[str, bytes] | None] = queue.SimpleQueue()
        self._count = 0
        self._told = 0
        self._error: str | None = None
        self._until: float | None = None
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def put(self, event: Event) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="webhook", daemon=True)
            self._thread.start()
        self._count += 1
        self._events.put((event.id, event.to_bytes()))

    def close(self, until: float) -> None:
        """Nothing more comes, and what is there may be sent until then."""
        self._until = until
        self._closed.set()
        self._events.put(None)

    def wait(self) -> Told:
        """What was sent by the time that `close` named."""
        assert self._until is not None, "it is not closed"
        if self._thread is not None:
            self._thread.join(max(0.0, self._until - time.monotonic()))
        told, count = self._told, self._count
        late = "it did not take them in time" if told < count else None
        return Told(self._webhook.name, told, count, (self._error or late) if told < count else None)

    def _work(self) -> None:
        while (one := self._events.get()) is not None:
            failures = 0
            while not self._send(*one):
                failures += 1
                if not self._pause(pause_after(failures)):
                    return
            self._told += 1
            self._error = None

    def _send(self, event_id: str, body: bytes) -> bool:
        try:
            self._webhook.send(event_id, body)
        except DagferryError as error:
            self._error = error.message
            return False
        return True

    def _pause(self, seconds: float) -> bool:
        """Wait before the next try; whether there is time for one. The end of all else begins the last tries anew."""
        if self._until is None:
            self._closed.wait(seconds)
            return True
        left = self._until - time.monotonic()
        time.sleep(max(0.0, min(seconds, left)))
        return left > 0
