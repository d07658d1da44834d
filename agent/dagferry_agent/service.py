"""When to pull: at start, every so often, and at once when asked. What a pull does is `Delivery`'s business.

1. One pull at a time, in one thread. It begins with a pull.
2. A request that comes while a pull runs gets the *next* one, because the running one may have read the head just
   before the promotion that the request is about. All requests that come meanwhile share that next one.
3. Between pulls: ``poll_seconds``, give or take a fifth, so that the pods of a fleet spread out. After failures the
   pause doubles up to five minutes. A request is never delayed by it, and starts it anew. 0 seconds: no polling.
4. What somebody in the pod asks for by hand is done in the same thread, before the next pull.
5. A while after a switch Airflow is shown once more what changed (`renewing`). Whatever else there is to do goes first,
   and another switch begins the while anew. An agent that ends before does not do it.
6. When there is nothing else to do, the next release is prepared, in small pieces, half of the time: a request waits
   for one piece at the most.
7. Whatever a pull raises ends up in its job and in the log; the thread goes on. One line per outcome: a failure that
   may pass is a warning, refused content an error, a bug an error with its traceback. ``observe`` is told of each.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from dagferry_schemas.commandline import plain
from dagferry_schemas.errors import DagferryError, DeliveryFailed

from .outcome import Outcome, log_failure, log_success

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from dagferry_schemas.endpoint import AgentStatus, PullReply

    from .settings import Settings

MAX_PAUSE: Final = 300.0
"""Seconds between pulls at the most after failures, unless ``poll_seconds`` is longer."""
JITTER: Final = 0.2
"""Part of a pause by which it is longer or shorter at the most."""

PIECE_SECONDS: Final = 0.005
"""Of work on what makes the next pull quick, and of rest after each."""

_log = logging.getLogger(__name__)


class Delivery(Protocol):
    """One agent's channel, from the store to the disk. Safe to call from several threads; calls block."""

    @property
    def settings(self) -> Settings:
        """What the agent was told."""
        ...

    def prepare(self) -> None:
        """Once, at start: clean up and verify the live release. Raises `MachineFault` if the root is unusable."""
        ...

    def pull(self) -> PullReply:
        """Bring what the channel says onto the disk. Raises `DagferryError`."""
        ...

    def pull_version(self, version: str) -> PullReply:
        """Bring one version onto the disk, whatever the channel says. Raises `DagferryError`."""
        ...

    def claim(self) -> bool:
        """Once, after `prepare`: follow the channel if no other agent of this root does, or stand by."""
        ...

    def await_turn(self) -> None:
        """After `claim` was in vain: wait until this agent may take over, however long that takes."""
        ...

    def take_over(self) -> None:
        """After `await_turn`: follow the channel from the next pull on. Raises `DagferryError`."""
        ...

    def watch(self, again: Callable[[], object]) -> None:
        """Once: notice what somebody writes into the live release; ``again`` asks for a pull that puts it back."""
        ...

    def unwatch(self) -> None:
        """Once: end what `watch` began."""
        ...

    def close(self) -> None:
        """Once, after the last call of all others: throw away what was prepared, as far as that is quick."""
        ...

    def activate(self, text: str) -> PullReply:
        """Make a release that is on the disk live, until the channel moves. Raises `DagferryError`."""
        ...

    def resume(self) -> PullReply:
        """Follow the channel again from the next pull on. Raises `DagferryError`."""
        ...

    def show_again(self) -> int:
        """Give the DAG files that the last switches changed a new time; how many. Raises `DagferryError`."""
        ...

    def prepare_next(self, seconds: float) -> bool:
        """Work so long on what makes the next pull quick; whether there is more to do. Raises `DagferryError`."""
        ...

    def status(self) -> AgentStatus:
        """What is live, from the disk and the last pull's outcome; raises nothing for a foreseen failure."""
        ...

    def ready(self) -> bool:
        """Whether a verified release is live."""
        ...


class Draining(DeliveryFailed):
    """The agent is about to end and begins nothing new."""

    code = "draining"


@dataclass(frozen=True, eq=False)
class Job:
    """One pull that was asked for. ``done`` gets the reply, or whatever the pull raised; it cannot be cancelled."""

    id: str
    done: Future[PullReply] = field(default_factory=Future)

    def __post_init__(self) -> None:
        # A job is shared: nobody who gives up waiting may cancel it for the others.
        self.done.set_running_or_notify_cancel()


class PullService:
    """The thread that pulls. Methods may be called from any thread.

    ``clock`` gives monotonic seconds (when the last success was); ``rng`` draws the jitter and the names of jobs;
    ``observe`` is told how each pull ended, in the thread that pulls and before those who asked for it.
    """

    def __init__(
        self,
        delivery: Delivery,
        *,
        clock: Callable[[], float],
        rng: random.Random,
        observe: Callable[[Outcome], None] = lambda _outcome: None,
    ) -> None:
        self._delivery = delivery
        self._observe = observe
        self._poll_seconds = delivery.settings.poll_seconds
        self._clock = clock
        self._rng = rng
        self._changed = threading.Condition()
        self._queued: Job | None = None
        self._orders: deque[tuple[Job, Callable[[], PullReply]]] = deque()
        self._failures = 0
        self._stopping = False
        self._settle_seconds = delivery.settings.airflow_settle_seconds
        self._show_at: float | None = None
        self._prepares = False
        self._last: Outcome | None = None
        self._last_success: Outcome | None = None
        # A daemon: a store that does not answer must not keep the process alive. Every step of a pull may be cut off.
        self._worker = threading.Thread(target=self._work, name="pull", daemon=True)

    @property
    def last(self) -> Outcome | None:
        """How the last pull ended; None before the first one did."""
        return self._last

    @property
    def last_success(self) -> Outcome | None:
        """The last pull that succeeded."""
        return self._last_success

    @property
    def stale_seconds(self) -> float | None:
        """Seconds since this process last heard from the channel successfully; None if it never did."""
        return None if self._last_success is None else max(0.0, self._clock() - self._last_success.at)

    def start(self) -> None:
        """Start the thread and with it the first pull."""
        self.request()
        self._worker.start()

    def request(self) -> Job:
        """The pull that begins next (rule 2). Raises `Draining` after `stop`."""
        with self._changed:
            if self._stopping:
                raise Draining("the agent is ending and begins no new pull", "ask again in a few seconds")
            if self._queued is None:
                self._queued = self._new_job()
            self._failures = 0
            self._changed.notify_all()
            return self._queued

    def perform(self, action: Callable[[], PullReply]) -> Job:
        """Do something else in the same thread, before the next pull (rule 4). Raises `Draining` after `stop`."""
        with self._changed:
            if self._stopping:
                raise Draining("the agent is ending and begins nothing new", "ask again in a few seconds")
            job = self._new_job()
            self._orders.append((job, action))
            self._changed.notify_all()
            return job

    def stop(self, deadline_seconds: float) -> bool:
        """Begin no new pull, and wait for the running one so many seconds; whether the thread has ended."""
        with self._changed:
            self._stopping = True
            dropped = [job for job, _ in self._orders] + ([self._queued] if self._queued is not None else [])
            self._queued = None
            self._orders.clear()
            self._changed.notify_all()
        for job in dropped:
            job.done.set_exception(Draining("the agent ended before this pull began"))
        if self._worker.ident is not None:
            self._worker.join(deadline_seconds)
        return not self._worker.is_alive()

    def _work(self) -> None:
        while (turn := self._next()) is not None:
            self._prepares = True
            turn()

    def _perform(self, job: Job, action: Callable[[], PullReply]) -> None:
        outcome = self._attempt(action)
        pulled = action == self._delivery.pull
        if pulled:
            self._remember(outcome)
        if outcome.reply is not None and outcome.reply.changed and self._settle_seconds:
            self._show_at = self._clock() + self._settle_seconds
        if pulled or outcome.reply is not None:  # what somebody did by hand and failed, they were told
            self._observe(outcome)
        if outcome.reply is not None:
            job.done.set_result(outcome.reply)
        else:
            job.done.set_exception(outcome.error)

    def _prepare_next(self) -> None:
        """A piece of idle work."""
        try:
            self._prepares = self._delivery.prepare_next(PIECE_SECONDS)
        except DagferryError as error:
            self._prepares = False
            _log.debug("the next release is not prepared: %s", plain(error.message))
        except Exception:  # noqa: BLE001 (the thread has to live on; it is logged)
            self._prepares = False
            _log.exception("the next release is not prepared: a bug in dagferry, please report it")

    def _show_again(self) -> None:
        self._show_at = None
        try:
            count = self._delivery.show_again()
        except DagferryError as error:
            _log.warning("what changed was not shown to Airflow once more: %s", plain(error.message))
        except Exception:  # noqa: BLE001 (the thread has to live on; it is logged)
            _log.exception("what changed was not shown to Airflow once more: a bug in dagferry, please report it")
        else:
            level = logging.INFO if count else logging.DEBUG
            _log.log(level, "%d changed DAG files are shown to Airflow once more", count)

    def _next(self) -> Callable[[], None] | None:
        """What to do next, once there is something; None to end."""
        with self._changed:
            pause = pause_before_poll(self._poll_seconds, self._failures, self._rng.random())
            settling = None if self._show_at is None else max(0.0, self._show_at - self._clock())
            first = settling if pause is None else pause if settling is None else min(pause, settling)
            rest = PIECE_SECONDS if self._prepares and (first is None or first > PIECE_SECONDS) else first
            self._changed.wait_for(lambda: self._stopping or self._orders or self._queued is not None, rest)
            if self._stopping:
                return None
            if self._orders:
                return partial(self._perform, *self._orders.popleft())
            if self._queued is None and rest != first:
                return self._prepare_next
            if self._queued is None and settling is not None and first == settling:
                return self._show_again
            job, self._queued = self._queued or self._new_job(), None
            return partial(self._perform, job, self._delivery.pull)

    def _attempt(self, action: Callable[[], PullReply]) -> Outcome:
        try:
            reply = action()
        except DagferryError as error:
            log_failure(error)
            return Outcome(self._clock(), error=error)
        except Exception as error:  # noqa: BLE001 (the thread has to live on; it is logged and ends up in the job)
            _log.exception(
                "pull: a bug in dagferry, please report it; the live release stays", extra={"facts": {"code": "bug"}}
            )
            return Outcome(self._clock(), error=error)
        log_success(reply)
        return Outcome(self._clock(), reply=reply)

    def _remember(self, outcome: Outcome) -> None:
        with self._changed:
            self._last = outcome
            if outcome.reply is not None:
                self._last_success, self._failures = outcome, 0
            else:
                self._failures += 1

    def _new_job(self) -> Job:
        return Job(f"{self._rng.getrandbits(64):016x}")


def pause_before_poll(poll_seconds: float, failures: int, draw: float) -> float | None:
    """Seconds until the next poll after so many failures in a row (rule 3); None: never. ``draw`` is from [0, 1)."""
    if not poll_seconds:
        return None
    doubled = poll_seconds * 2.0 ** min(failures, 20)
    # The bound leaves room for the jitter: a fleet that waits its longest must not come back all at once either.
    return max(poll_seconds, min(doubled, MAX_PAUSE / (1 + JITTER))) * (1 - JITTER + 2 * JITTER * draw)
