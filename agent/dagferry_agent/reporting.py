"""Tells webhooks what happens on this pod. No pull waits for it, and none fails because of it.

1. `Reporter.ended` only notes an outcome. A thread of its own finds out what is to be told (`events`), and puts it on
   the disk, into a spool for each webhook (`spool`); one more thread for each webhook sends what is there, in order.
   So a receiver that hangs keeps up neither a pull, nor what is written down, nor another receiver.
2. What is to be told is on the disk before it is remembered as told. A kill loses nothing that is on the disk.
3. What the disk does not take now is tried again; that, and a receiver that takes nothing, are said once in the log.
4. Only the agent that follows the channel tells: another one of the same root would tell all of it twice.

::

    <root>/events/told.json              what was told
    <root>/events/<id of the URL>/       what that webhook has not taken yet
"""

from __future__ import annotations

import json
import logging
import threading
from collections import deque
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from dagferry_schemas.commandline import plain
from dagferry_schemas.errors import DagferryError, MachineFault, Malformed
from dagferry_schemas.events import id_of
from dagferry_storage import disk
from dagferry_storage.webhook import pause_after

from . import events
from .clock import utc_now
from .root import Root, erase
from .spool import Spool

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dagferry_schemas.endpoint import AgentStatus
    from dagferry_storage.webhook import Webhook

    from .metrics import Meters
    from .outcome import Outcome
    from .settings import Settings

FOLDER: Final = "events"
TOLD: Final = "told.json"
LOOK_SECONDS: Final = 5.0
"""Between two looks at the status."""
OUTCOMES: Final = 1000
"""Outcomes that are noted while the disk takes nothing."""
_Found = tuple[events.Told, list[events.Happened]]

_log = logging.getLogger(__name__)


class Reporter:
    """Tells the webhooks of ``settings``. ``status`` is what the agent says of itself, and raises nothing foreseen."""

    def __init__(
        self,
        settings: Settings,
        status: Callable[[], AgentStatus],
        meters: Meters,
        *,
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        self._settings = settings
        self._status = status
        self._meters = meters
        self._look_seconds = look_seconds
        self._durable = settings.durability != "none"
        self._outcomes: deque[Outcome] = deque(maxlen=OUTCOMES)
        self._come = threading.Event()
        self._stopped = threading.Event()
        self._told: events.Told | None = None
        self._spools: list[Spool] = []
        self._trouble: str | None = None
        self._thread = threading.Thread(target=self._work, name="events", daemon=True)

    def start(self) -> None:
        """Begin to tell."""
        self._thread.start()

    def ended(self, outcome: Outcome) -> None:
        """A pull has ended. Returns at once."""
        self._outcomes.append(outcome)
        self._come.set()

    def stop(self, seconds: float) -> None:
        """Put what was noted on the disk, as far as that takes no more ``seconds``; it is sent after the next start."""
        self._stopped.set()
        self._come.set()
        for spool in self._spools:
            spool.wake()
        if self._thread.ident is not None:
            self._thread.join(seconds)

    def _work(self) -> None:
        while True:
            self._come.clear()
            try:
                self._look()
            except MachineFault as error:
                self._say(f"events cannot be kept, and are told later: {error.message}")
            except Exception:  # noqa: BLE001 (the thread has to live on; it is logged)
                _log.exception("telling what happened: a bug in dagferry, please report it; pulls go on")
                if self._outcomes:
                    self._outcomes.popleft()
            else:
                self._say(None)
            if self._stopped.is_set():
                return
            self._come.wait(self._look_seconds)

    def _say(self, trouble: str | None) -> None:
        if trouble is not None and trouble != self._trouble:
            _log.warning("%s", plain(trouble))
        self._trouble = trouble

    def _look(self) -> None:
        """Write down what is new. Raises `MachineFault`."""
        with disk.doing("keeping events"):
            if self._told is None:
                self._told = self._open()
                self._note(partial(events.of_start, status=self._status()))
            while self._outcomes:
                self._note(partial(events.of_outcome, outcome=self._outcomes[0]))
                self._outcomes.popleft()
            self._note(partial(events.of_status, status=self._status()))

    def _note(self, find: Callable[[events.Told], _Found]) -> None:
        """Write down what ``find`` finds beyond what was told, and then that it was told. Raises `OSError`."""
        assert self._told is not None
        told, found = find(self._told)
        if told == self._told:
            return
        now = utc_now()
        for happened in found:
            told = replace(told, number=told.number + 1)
            event = events.event_of(happened, self._settings, f"{told.origin} {told.number}", now)
            self._spool(event.to_bytes())
        self._remember(told)
        self._told = told

    def _spool(self, body: bytes) -> None:
        for spool in self._spools:
            self._meters.events("dropped", spool.add(body))
        self._count_waiting()

    def _remember(self, told: events.Told) -> None:
        disk.write_whole(self._folder / TOLD, told.to_bytes(), durable=self._durable)

    @property
    def _folder(self) -> Path:
        return self._settings.root / FOLDER

    def _open(self) -> events.Told:
        """What was told before; the spools are open then, and sent from. Raises `OSError`."""
        root = Root(self._settings.root)
        root.add_folder(FOLDER)
        wanted = {id_of(one.url)[:16]: one for one in self._settings.webhooks}
        for path in self._folder.iterdir():
            if path.name != TOLD and path.name not in wanted:
                erase(path)
        told = _read(self._folder / TOLD)
        if told is None:
            told = events.Told(disk.unique())
            self._remember(told)  # first: what is made before it is known would have other ids after a kill
        if not self._spools:
            opened = [
                (Spool(root.add_folder(FOLDER, name), self._dropped, durable=self._durable), one)
                for name, one in wanted.items()
            ]
            self._spools = [spool for spool, _ in opened]
            for spool, webhook in opened:
                _Courier(spool, webhook, self._meters, self._stopped, self._count_waiting).start()
        return told

    def _count_waiting(self) -> None:
        self._meters.events_waiting(sum(map(len, self._spools)))

    def _dropped(self, count: int) -> bytes:
        happened = events.Happened(events.DROPPED, None, {"count": count})
        return events.event_of(happened, self._settings, disk.unique(), utc_now()).to_bytes()


class _Courier:
    """Sends what is in one spool to its webhook, in order, each until it is taken."""

    def __init__(
        self,
        spool: Spool,
        webhook: Webhook,
        meters: Meters,
        stopped: threading.Event,
        sent: Callable[[], None],
    ) -> None:
        self._spool = spool
        self._webhook = webhook
        self._meters = meters
        self._stopped = stopped
        self._sent = sent

    def start(self) -> None:
        threading.Thread(target=self._work, name="webhook", daemon=True).start()

    def _work(self) -> None:
        failures = 0
        while not self._stopped.is_set():
            try:
                self._send()
            except (DagferryError, OSError) as error:
                failures += 1
                self._meters.events("failed", 1)
                if failures == 1:
                    said = error.message if isinstance(error, DagferryError) else str(error)
                    _log.warning("an event was not told, and is told again until it is: %s", plain(said))
                self._stopped.wait(pause_after(failures))
            except Exception:  # noqa: BLE001 (the thread has to live on; it is logged)
                _log.exception("telling a webhook: a bug in dagferry, please report it; pulls go on")
                self._stopped.wait(LOOK_SECONDS)
            else:
                if failures:
                    _log.info("%s takes events again", self._webhook.name)
                failures = 0

    def _send(self) -> None:
        """Send the oldest event, if there is one. Raises `NotTaken`, `Usage`, `OSError`."""
        entry = self._spool.oldest(LOOK_SECONDS)
        if entry is None or self._stopped.is_set():
            return
        try:
            event_id = str(json.loads(entry.body)["id"])
        except (ValueError, KeyError):  # the node went down, and nothing was flushed
            _log.warning("an event on the disk is not whole, and is dropped")
            self._spool.taken(entry)
            return
        self._webhook.send(event_id, entry.body)
        self._spool.taken(entry)
        self._meters.events("sent", 1)
        self._sent()


def _read(path: Path) -> events.Told | None:
    try:
        return events.Told.from_bytes(path.read_bytes())
    except FileNotFoundError:
        return None
    except Malformed as error:
        _log.warning("%s is made anew: %s", path, plain(error.message))
        return None
