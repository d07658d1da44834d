"""The process of ``dagferry-agent serve``: the endpoint under hypercorn beside the thread that pulls.

1. The address is bound first: a second agent on the same port ends before it touched the disk. Requests are accepted
   once `Delivery.prepare` is through.
2. HTTP/1 only, no access log, no server header. A request's head has to be there 5 s after its connection, and so has
   a handshake of TLS (`tls`); a body is bounded by `app`, the number of connections by `door`. hypercorn switches to
   HTTP/2 for clients that begin with it and cannot be told otherwise, so that no stream is granted there, and `app`
   refuses what comes through an upgrade.
3. Tokens that are missing or unusable keep requests out, not the polling: the agent starts all the same and says so.
4. One agent of a root is active; others answer requests from what is on the disk, and take over when it ends. The
   active one has a socket in the root, for those who activate a release by hand (`control`).
5. SIGTERM and ^C: no new pull begins, waiting requests get 503, the running pull may end; after 4.2 s the process ends
   whatever still runs, because every step of a pull may be cut off. A second signal ends it at once. Exit code 0 after
   SIGTERM, 130 after ^C.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import logging
import os
import random
import signal
import socket
import threading
import time
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Any, Final, cast

from hypercorn.asyncio import serve as serve_app
from hypercorn.config import Config, Sockets

from dagferry_schemas.commandline import Terminated
from dagferry_schemas.endpoint import MAX_WAIT
from dagferry_schemas.errors import EXIT_DONE, EXIT_INTERRUPTED

from . import control, heap
from .acknowledging import Acknowledger
from .app import create_app
from .clock import utc_now
from .door import AT_ONCE, Door, listen
from .metrics import Meters
from .root import Root
from .service import PullService
from .tls import Certificate
from .tokens import NoTokens, TokensFile

if TYPE_CHECKING:
    from collections.abc import Mapping
    from ssl import SSLContext

    from hypercorn.typing import ASGIFramework
    from starlette.applications import Starlette
    from starlette.types import ASGIApp, Receive, Scope, Send

    from .news import AirflowNews
    from .outcome import Outcome
    from .reporting import Reporter
    from .service import Delivery
    from .settings import Settings

HEAD_SECONDS: Final = 5.0
"""Seconds from the connection to the end of a request's head."""
MAX_HEAD: Final = 16 * 1024
REPLIES_SECONDS: Final = 2
"""Seconds that replies under way get after the signal to end."""
REPORT_SECONDS: Final = 0.5
"""Seconds for what is to be told to webhooks to be put on the disk."""
WORKER_SECONDS: Final = 3.5
"""Seconds after the signal to end until which a running pull may end."""
GIVE_UP_SECONDS: Final = 4.2
"""Seconds after the signal to end when the process ends, whatever runs."""

_log = logging.getLogger(__name__)


def serve(delivery: Delivery) -> int:
    """Serve until a signal ends it, and return the exit code. Raises `MachineFault` (port in use, root unusable),
    `Usage` if the files of TLS cannot be used.
    """
    heap.keep_little()
    settings = delivery.settings
    certificate = None
    if settings.tls_cert is not None and settings.tls_key is not None:
        certificate = Certificate(settings.tls_cert, settings.tls_key)
    try:
        with listen(settings.host, settings.port) as listener:
            delivery.prepare()
            return asyncio.run(_Serving(delivery, listener, certificate).run())
    except Terminated:
        return EXIT_DONE  # SIGTERM before the event loop took over the signals


class _Serving:
    """One run of the server, from its start to the signal that ends it."""

    def __init__(self, delivery: Delivery, listener: socket.socket, certificate: Certificate | None) -> None:
        self._delivery = delivery
        self._certificate = certificate
        self._listener = listener
        self._meters = Meters()
        self._service = PullService(
            delivery, clock=time.monotonic, rng=random.Random(os.urandom(16)), observe=self._ended
        )
        self._news = _news_of(delivery.settings)
        self._reporter = _reporter_of(delivery, self._meters)
        self._acknowledger = Acknowledger(delivery.settings, delivery.status, stored=self._meters.acknowledged)
        self._tokens = TokensFile(delivery.settings.tokens_file)
        self._control = control.Control(delivery.settings.root, self._obey)
        self._draining = asyncio.Event()
        self._ended_at = 0.0
        self._reports = False
        self._exit_code = EXIT_DONE

    async def run(self) -> int:
        """Serve until a signal comes, then end in time (rule 5)."""
        loop = asyncio.get_running_loop()
        for number, code in ((signal.SIGTERM, EXIT_DONE), (signal.SIGINT, EXIT_INTERRUPTED)):
            loop.add_signal_handler(number, self._end, number, code)
        loop.set_exception_handler(self._unexpected)
        self._check_tokens()
        active = self._delivery.claim()
        self._delivery.watch(self._service.request)
        if self._news is not None:
            self._news.start()
        if active:
            self._report()
        self._acknowledger.start()
        self._service.start()
        following = loop.create_task(self._follow(active=active))
        app = create_app(
            service=self._service,
            delivery=self._delivery,
            meters=self._meters,
            airflow=self._airflow if self._news is not None else None,
            tokens=self._tokens,
            now=utc_now,
            clock=time.monotonic,
            draining=self._draining,
        )
        door = Door(self._listener)
        gc.freeze()  # what is there by now stays: the door collects garbage often in a flood
        door.listen()
        config = _Config(door, self._certificate)
        _log.info("listening on %s://%s", "https" if config.ssl_enabled else "http", _name(door))
        await serve_app(
            cast("ASGIFramework", _inside(door, app)), config, shutdown_trigger=self._draining.wait, mode="asgi"
        )
        following.cancel()
        if self._news is not None:
            self._news.stop()
        if self._reports and self._reporter is not None:
            await asyncio.to_thread(self._reporter.stop, REPORT_SECONDS)
        await asyncio.to_thread(self._delivery.unwatch)
        await self._control.stop()
        await self._answer_latecomers()
        left = max(0.0, self._ended_at + WORKER_SECONDS - time.monotonic())
        if not await asyncio.to_thread(self._service.stop, left):
            _log.warning("the running pull was cut off; the release that was live stays live")
        else:
            await asyncio.to_thread(self._delivery.close)
        left = max(0.0, self._ended_at + WORKER_SECONDS - time.monotonic())
        if not await asyncio.to_thread(self._acknowledger.stop, left):
            _log.warning("the store does not take this agent's goodbye")
        _log.info("ended")
        return self._exit_code

    async def _follow(self, *, active: bool) -> None:
        """Take over when it is this agent's turn, and answer in the pod from then on (rule 4)."""
        if not active:
            _log.info("another agent is active in %s: standing by", self._delivery.settings.root)
            await self._turn()
            _log.info("the active agent has ended: taking over")
            await asyncio.to_thread(self._delivery.take_over)
            self._report()
            self._service.request()
        await self._control.start()

    async def _turn(self) -> None:
        loop, come = asyncio.get_running_loop(), asyncio.Event()

        def wait() -> None:
            self._delivery.await_turn()
            with suppress(RuntimeError):  # the loop has ended meanwhile, and this process is about to
                loop.call_soon_threadsafe(come.set)

        threading.Thread(target=wait, name="turn", daemon=True).start()
        await come.wait()

    async def _obey(self, question: Mapping[str, Any]) -> Mapping[str, Any]:
        """What is asked for through the socket in the root."""
        done, version = control.read_question(question)
        delivery = self._delivery
        action = delivery.resume if version is None else functools.partial(delivery.activate, version)
        reply = await asyncio.wrap_future(self._service.perform(action).done)
        _log.info("%s by hand: %s is live", done, reply.version)
        if version is None:
            self._service.request()
        return reply.to_dict()

    def _report(self) -> None:
        """Tell webhooks what happens from now on, if there are any: this agent follows the channel."""
        if self._reporter is not None:
            self._reporter.start()
            self._reports = True

    def _ended(self, outcome: Outcome) -> None:
        """A pull has ended: it is counted, and told to webhooks, in the store, and to Airflow if it switched."""
        self._meters.observe(outcome)
        self._acknowledger.pulled(outcome)
        if self._reports and self._reporter is not None:
            self._reporter.ended(outcome)
        if self._news is not None and outcome.reply is not None:
            self._news.pulled(outcome.reply)

    def _airflow(self) -> dict[str, Any] | None:
        """What Airflow made of the last switch, if it was told."""
        report = self._news.report if self._news is not None else None
        return report.to_dict() if report is not None else None

    def _check_tokens(self) -> None:
        try:
            self._tokens.entries()
        except NoTokens as error:
            _log.warning("POST /v1/pull and GET /v1/status answer 503: %s; polling goes on", error.message)

    async def _answer_latecomers(self) -> None:
        # hypercorn does not know a connection that was accepted while it closed the port, and would not wait for it.
        until = self._ended_at + REPLIES_SECONDS
        while (others := asyncio.all_tasks() - {asyncio.current_task()}) and (left := until - time.monotonic()) > 0:
            await asyncio.wait(others, timeout=left)

    def _unexpected(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        # A connection that did not end in time is cancelled; before 3.12, asyncio's streams report that as an error.
        if not (self._draining.is_set() and isinstance(context.get("exception"), asyncio.CancelledError)):
            loop.default_exception_handler(context)

    def _end(self, number: int, exit_code: int) -> None:
        if self._draining.is_set():
            _log.warning("second signal: ending at once")
            os._exit(128 + number)
        _log.info("%s: ending", signal.Signals(number).name)
        self._ended_at = time.monotonic()
        self._exit_code = exit_code
        self._service.stop(0)
        self._acknowledger.end()
        self._draining.set()
        last_resort = threading.Timer(GIVE_UP_SECONDS, _give_up, [exit_code])
        last_resort.daemon = True
        last_resort.start()


def _news_of(settings: Settings) -> AirflowNews | None:
    """Who tells Airflow of switches, if somebody shall."""
    if settings.airflow_url is None:
        return None
    from .api_client import AirflowClient
    from .news import AirflowNews

    stopped = threading.Event()
    client = AirflowClient(settings.airflow_url, settings.airflow_credentials_file, settings.airflow_bundle, stopped)
    return AirflowNews(client, Root(settings.root), time.time, stopped)


def _reporter_of(delivery: Delivery, meters: Meters) -> Reporter | None:
    """Who tells webhooks what happens, if there are any."""
    if not delivery.settings.webhooks:
        return None
    from .reporting import Reporter

    return Reporter(delivery.settings, delivery.status, meters)


def _give_up(exit_code: int) -> None:
    _log.error("still busy %.1f s after the signal to end: cut off", GIVE_UP_SECONDS)
    os._exit(exit_code)


class _Config(Config):
    """What hypercorn is told. Its sockets are the door, given away whole: they close with the server."""

    accesslog = None
    backlog = AT_ONCE
    include_server_header = False
    h11_max_incomplete_size = MAX_HEAD
    keep_alive_timeout = HEAD_SECONDS
    ssl_handshake_timeout = HEAD_SECONDS
    # It runs while a request waits for its pull, too: shorter than the longest wait, it would cut that off.
    read_timeout = int(MAX_WAIT) + 60
    graceful_timeout = REPLIES_SECONDS
    h2_max_concurrent_streams = 0
    websocket_max_message_size = 0

    def __init__(self, door: Door, certificate: Certificate | None) -> None:
        super().__init__()
        self.errorlog = logging.getLogger("dagferry_agent.http")
        self.errorlog.setLevel(logging.WARNING)
        self._door = door
        self._certificate = certificate

    @property
    def ssl_enabled(self) -> bool:
        """Whether it is https."""
        return self._certificate is not None

    def create_ssl_context(self) -> SSLContext | None:
        """What every handshake begins with."""
        return self._certificate.context if self._certificate is not None else None

    def create_sockets(self) -> Sockets:
        """The door alone."""
        self._door.setblocking(False)
        door: list[socket.socket] = [self._door]
        return Sockets(door, [], []) if self.ssl_enabled else Sockets([], door, [])


def _inside(door: Door, app: Starlette) -> ASGIApp:
    """``app``, whose requests in work the ``door`` knows of."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        peer = scope.get("client")
        with door.working(tuple(peer)) if peer else nullcontext():
            await app(scope, receive, send)

    return answer


def _name(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if listener.family == socket.AF_INET6 else f"{host}:{port}"
