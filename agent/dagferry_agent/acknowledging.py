"""Says in the store what this agent serves, for those who cannot reach it (``--acknowledge``).

1. In a thread of its own: no pull waits for it, and none fails because of it. One write at a time; what comes meanwhile
   is in the next one, which says what is true when it is written.
2. When it is written: after a pull that ended in another way than the one before (another generation, release, pin or
   failure), and every ``acknowledge_seconds``, so that a dead agent is noticed. After a failure it is tried again in
   growing pauses of a minute at the most. A failure is logged once, until one is stored again.
3. The object is this agent's own: created, then replaced from the state that this process left it in. Another state is
   read first: one that another living process left means that two agents have one id, which both then say.
4. A process that ends says goodbye (``gone``), unless another one, that still writes, has taken the object over.
5. An agent that stands by says nothing: the active one of its root does.
"""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from dagferry_schemas import layout
from dagferry_schemas.acknowledgement import Acknowledgement, read_own
from dagferry_schemas.commandline import plain
from dagferry_schemas.errors import DagferryError, Malformed
from dagferry_storage.store import Exists, Superseded
from dagferry_storage.stores import open_store

from .clock import utc

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagferry_schemas.endpoint import AgentStatus
    from dagferry_storage.store import Store, Stored

    from .outcome import Outcome
    from .settings import Settings

FIRST_PAUSE: Final = 1.0
LAST_PAUSE: Final = 60.0
"""Seconds until a write that failed is tried again, growing from the first to the last."""
ONCE_SECONDS: Final = 10.0
"""Seconds that `acknowledge_once` gives the store."""
_TRIES: Final = 3
"""Of one write, while another process replaces the object all the time."""

_log = logging.getLogger(__name__)


class OwnObject:
    """This agent's object in ``store``, as this process writes it. For one thread; ``clock``: seconds since 1970."""

    def __init__(self, store: Store, settings: Settings, clock: Callable[[], float]) -> None:
        self.process: Final = os.urandom(8).hex()
        self._store = store
        self._key = layout.acknowledgement(settings.bundle, settings.channel, settings.agent_id)
        self._named = {"bundle": settings.bundle, "channel": settings.channel, "agent": settings.agent_id}
        self._clock = clock
        self._token: str | None = None
        self._written = False

    def write(self, said: Acknowledgement) -> Acknowledgement | None:
        """Store what is ``said``; what was stored, or None where rule 4 leaves it. Raises `DagferryError`."""
        for _ in range(_TRIES):
            try:
                return self._put(said)
            except (Exists, Superseded):
                found = self._store.read(self._key, limit=layout.MAX_DOCUMENT)
            other = self._living(found)
            if other and said.gone:
                return None
            said = replace(said, disputed=other and self._written)
            self._token = found.token
        return self._put(said)

    def _put(self, said: Acknowledgement) -> Acknowledgement:
        # Until the store has answered, nobody knows the state: then it is read before the next write.
        token, self._token = self._token, None
        body = said.to_bytes()
        if token is None:
            self._token = self._store.create(self._key, body)
        else:
            self._token = self._store.replace(self._key, body, token)
        self._written = True
        return said

    def _living(self, found: Stored) -> bool:
        """Whether another process than this one left that state, and is not known to have ended."""
        try:
            left = read_own(found.body, self._key, **self._named)
        except Malformed:
            return False  # nobody's: it is in the way, and is replaced
        return left.process != self.process and not left.gone and not left.is_silent(self._clock())


class Acknowledger:
    """Acknowledges what ``status`` says, if ``settings`` ask for it; else it does nothing.

    ``opened`` opens the store; ``clock`` gives seconds since 1970; ``stored`` is told when an acknowledgement was
    stored, in the thread that did so. Methods may be called from any thread.
    """

    def __init__(
        self,
        settings: Settings,
        status: Callable[[], AgentStatus],
        *,
        opened: Callable[[], Store] | None = None,
        clock: Callable[[], float] = time.time,
        stored: Callable[[], None] = lambda: None,
    ) -> None:
        self._settings = settings
        self._status = status
        self._opened = opened or (lambda: open_store(settings.store))
        self._clock = clock
        self._stored = stored
        self._every = settings.acknowledge_seconds
        self._changed = threading.Condition()
        self._news: object = None
        self._due = math.inf
        self._ending = False
        self._pause = FIRST_PAUSE
        self._in_trouble = False
        self._disputed = False
        # A daemon: a store that does not answer must not keep the process alive.
        self._thread = threading.Thread(target=self._work, name="acknowledge", daemon=True)

    def start(self) -> None:
        """Begin: the first one is due when a pull has ended."""
        if self._settings.acknowledge:
            self._due = time.monotonic() + (self._every or math.inf)
            self._thread.start()

    def pulled(self, outcome: Outcome) -> None:
        """A pull has ended; does not wait."""
        reply = outcome.reply
        if reply is not None:
            news: object = (reply.generation, reply.version, reply.tree, reply.pinned)
        else:
            news = outcome.error.code if isinstance(outcome.error, DagferryError) else "bug"
        with self._changed:
            if news != self._news:
                self._news, self._due = news, time.monotonic()
                self._changed.notify_all()

    def end(self) -> None:
        """Say goodbye from now on, and nothing after it; does not wait."""
        with self._changed:
            self._ending = True
            self._changed.notify_all()

    def stop(self, seconds: float) -> bool:
        """`end`, and wait so long for it; whether nothing is under way any more."""
        self.end()
        if self._thread.ident is not None:
            self._thread.join(seconds)
        return not self._thread.is_alive()

    def _work(self) -> None:
        own = OwnObject(self._opened(), self._settings, self._clock)
        while self._is_due():
            self._attempt(own, gone=False)
        self._attempt(own, gone=True)

    def _is_due(self) -> bool:
        """True once it is time for the next one; False once it is time for the last."""
        with self._changed:
            while not self._ending and (left := self._due - time.monotonic()) > 0:
                self._changed.wait(min(left, threading.TIMEOUT_MAX))
            self._due = math.inf  # what comes from here on is in the next one
            return not self._ending

    def _attempt(self, own: OwnObject, *, gone: bool) -> None:
        try:
            done = self._say(own, gone=gone)
        except DagferryError as error:
            self._failed(plain(error.message), error.hint)
        except Exception:  # noqa: BLE001 (the thread has to live on; it is logged)
            _log.exception("this agent does not acknowledge: a bug in dagferry, please report it")
            self._again_in(LAST_PAUSE)
        else:
            self._succeeded(done)

    def _say(self, own: OwnObject, *, gone: bool) -> Acknowledgement | None:
        status = self._status()
        if status.role == "standby":
            return None
        said = Acknowledgement(status, utc(self._clock()), self._every, own.process, gone=gone)
        return own.write(said)

    def _failed(self, message: str, hint: str) -> None:
        level = logging.DEBUG if self._in_trouble else logging.WARNING
        _log.log(level, "this agent does not acknowledge: %s%s", message, f" ({hint})" if hint else "")
        self._in_trouble = True
        self._again_in(self._pause)
        self._pause = min(LAST_PAUSE, 2 * self._pause)

    def _succeeded(self, done: Acknowledgement | None) -> None:
        if done is not None:
            self._stored()
            self._tell_disputed(done.disputed)
            if self._in_trouble:
                _log.info("this agent acknowledges again")
            self._in_trouble, self._pause = False, FIRST_PAUSE
        # Who stands by looks again whether that is still so.
        self._again_in(self._every or (math.inf if done is not None else LAST_PAUSE))

    def _tell_disputed(self, disputed: bool) -> None:
        if disputed and not self._disputed:
            _log.warning(
                "another agent calls itself %s too: each needs an --agent-id of its own", self._settings.agent_id
            )
        self._disputed = disputed

    def _again_in(self, seconds: float) -> None:
        with self._changed:
            self._due = min(self._due, time.monotonic() + seconds)


def acknowledge_once(settings: Settings, status: Callable[[], AgentStatus]) -> None:
    """Acknowledge what ``status`` says as the last word of a process, if ``settings`` ask for it; within 10 s."""
    acknowledger = Acknowledger(settings, status)
    acknowledger.end()
    acknowledger.start()
    if not acknowledger.stop(ONCE_SECONDS):
        _log.warning("this agent does not acknowledge: the store does not answer")
