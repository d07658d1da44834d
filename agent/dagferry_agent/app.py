"""The agent's HTTP endpoint, as an ASGI application; what it takes and gives is in `dagferry_schemas.endpoint`.

In this order, for every request:

1. Bounds: target at most 1 KiB, 50 headers of together at most 16 KiB, HTTP/1 only, no Transfer-Encoding (a request
   is a few bytes of known length), one Host, which is an allowed one (400), no Origin (403). Every reply closes its
   connection, so that bytes after a request mean nothing.
2. ``/v1`` and all below it: without a usable tokens file 503 ``no_tokens``; without exactly one good
   ``Authorization: Bearer …`` 401, and 429 to a source that got too many of those; a valid token is heard all the same.
   Nothing of the body was read by then, and no path was looked up.
3. Path (404), method (405), the token's scope (403).
4. Body: at most 4 KiB (413), within 10 s (408), plain JSON by its type (415) and content (400), fields as agreed (422).
   Then a pull counts, also if it is another one's: beyond the token's rate 429.
5. ``POST /v1/pull`` asks the service for its next pull, and again after a pause while an older generation than the
   expected one is served. It answers 200 with the pull's reply, or 202 when ``wait_seconds`` are over. At most 64
   requests wait; to more, none of their seconds is granted.
6. A failed pull: 404 the channel has no record, 409 conflict or a release pinned here, 422 refused content, 503
   anything that may pass.

What readers without a token learn from ``/readyz`` and ``/metrics`` is in `probes`; ``/openapi.json`` is the same
for all. When the agent drains, waiting requests end with 503 ``draining``.
"""

from __future__ import annotations

import asyncio
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from dagferry_schemas import endpoint
from dagferry_schemas.endpoint import PullRequest
from dagferry_schemas.errors import DagferryError, Malformed

from . import admission
from .admission import Refused
from .gate import Gate
from .probes import Probes
from .rates import Rates
from .replies import reply_bytes, reply_json, reply_refused
from .service import Draining
from .tokens import allows

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from typing import TypeVar

    from dagferry_schemas.endpoint import PullReply

    from .admission import Tokens
    from .metrics import Meters
    from .service import Delivery, Job, PullService
    from .tokens import Entry

    T = TypeVar("T")

BODY_SECONDS: Final = 10.0
"""Seconds in which a request's body has to be there."""
MAX_WAITING: Final = 64
"""Pull requests that wait at the same time."""
FIRST_PAUSE: Final = 0.2
LAST_PAUSE: Final = 2.0
"""Seconds between two pulls for one request, growing from the first to the last."""


def create_app(
    *,
    service: PullService,
    delivery: Delivery,
    meters: Meters,
    tokens: Tokens,
    now: Callable[[], str],
    clock: Callable[[], float],
    draining: asyncio.Event | None = None,
    body_seconds: float = BODY_SECONDS,
    airflow: Callable[[], dict[str, Any] | None] | None = None,
) -> Starlette:
    """The application. ``now`` gives the time as RFC 3339 in UTC, ``clock`` monotonic seconds.

    Once ``draining`` is set, no request waits. ``airflow`` says what Airflow made of the last switch, if it is told.
    """
    front = Front(
        service,
        delivery,
        Probes(service, delivery, meters, airflow),
        Rates(delivery.settings.pulls_per_minute, clock),
        draining or asyncio.Event(),
        body_seconds,
    )
    gate = Middleware(Gate, tokens=tokens, now=now, clock=clock, allowed_hosts=delivery.settings.allowed_hosts)
    app = Starlette(
        routes=[
            _route("/v1/pull", "POST", front.pull),
            _route("/v1/status", "GET", front.status),
            _route("/healthz", "GET", front.healthz),
            _route("/readyz", "GET", front.readyz),
            _route("/metrics", "GET", front.metrics),
            _route("/openapi.json", "GET", front.openapi),
        ],
        middleware=[gate],
        exception_handlers={
            Refused: _refused,
            HTTPException: _not_routed,
            DagferryError: _failed,
            ClientDisconnect: _gone,
            Exception: _bug,
        },
    )
    # A redirect would only lead clients to repeat their mistake, with their token.
    app.router.redirect_slashes = False
    return app


def _route(path: str, method: str, answer: Callable[[Request], Coroutine[Any, Any, Response]]) -> Route:
    route = Route(path, answer, methods=[method])
    route.methods = {method}  # Starlette adds HEAD to GET; nobody needs it here
    return route


class Front:
    """The answers of the routes; rules 3 to 6."""

    def __init__(
        self,
        service: PullService,
        delivery: Delivery,
        probes: Probes,
        pulls: Rates,
        draining: asyncio.Event,
        body_seconds: float,
    ) -> None:
        self._service = service
        self._delivery = delivery
        self._probes = probes
        self._pulls = pulls
        self._waiting = 0
        self._openapi = resources.files(__package__).joinpath("openapi.json").read_bytes()
        self._draining = draining
        self._body_seconds = body_seconds

    async def healthz(self, _request: Request) -> Response:
        """The process can work."""
        return reply_json(200, {"ok": True})

    async def readyz(self, _request: Request) -> Response:
        """Whether a verified release is live, and how stale it is."""
        ready, document = await self._probes.readiness()
        return reply_json(200 if ready else 503, document)

    async def metrics(self, request: Request) -> Response:
        """What was counted, and what is live, for Prometheus."""
        return reply_bytes(200, *await self._probes.metrics(request.headers.get("accept", "")))

    async def openapi(self, _request: Request) -> Response:
        """What this endpoint takes and gives, as an OpenAPI document."""
        return reply_bytes(200, self._openapi)

    async def status(self, request: Request) -> Response:
        """What is served here, from the disk."""
        self._check_scope(request, "status")
        status = await asyncio.to_thread(self._probes.status)
        return reply_json(200, status.to_dict())

    async def pull(self, request: Request) -> Response:
        """Pull now (rule 5)."""
        self._check_scope(request, "pull")
        wanted = await self._read_request(request)
        admission.check_pulls(request.state.entry, self._pulls)
        self._waiting += 1
        try:
            return await self._pull(request, wanted)
        finally:
            self._waiting -= 1

    async def _pull(self, request: Request, wanted: PullRequest) -> Response:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + (wanted.wait_seconds if self._waiting <= MAX_WAITING else 0.0)
        gone = asyncio.ensure_future(_disconnected(request))
        try:
            pause = FIRST_PAUSE
            while True:
                job = self._service.request()
                reply = await self._wait_for(job, deadline - loop.time(), gone)
                if reply is not None and reply.pinned is not None and wanted.expect_generation is not None:
                    raise _pinned(reply.pinned)
                if reply is not None and (reply.generation or 0) >= (wanted.expect_generation or 0):
                    return reply_json(200, reply.to_dict())
                if reply is None or not await self._pause(min(pause, deadline - loop.time()), gone):
                    return self._under_way(job)
                pause = min(2 * pause, LAST_PAUSE)
        finally:
            gone.cancel()

    def _check_scope(self, request: Request, action: str) -> None:
        entry: Entry = request.state.entry
        settings = self._delivery.settings
        if not allows(entry, action, settings.bundle, settings.channel):
            raise Refused(
                403, "scope", f"token {entry.id!r} may not {action} here", "its entry's scopes say what it may"
            )

    async def _read_request(self, request: Request) -> PullRequest:
        admission.check_announced(request.headers.raw)
        body = await self._unless_draining(_read_body(request), self._body_seconds)
        if body is None:
            raise Refused(408, "too_slow", f"the body was not there after {self._body_seconds:g} s")
        if body:
            admission.check_media_type(request.headers.raw)
        try:
            return PullRequest.from_bytes(body)
        except Malformed as error:
            status = 422 if error.code == "invalid_field" else 400
            raise Refused(status, error.code, error.message, error.hint) from None

    async def _wait_for(self, job: Job, seconds: float, gone: asyncio.Future[None]) -> PullReply | None:
        """The job's reply, or None when the time is over or the client went away. Raises what the pull raised."""
        done = asyncio.wrap_future(job.done)
        # Nobody may be left to look at a failure by the time it comes, and the loop would complain about that.
        done.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        return await self._unless_draining(done, max(0.0, seconds), gone)

    async def _pause(self, seconds: float, gone: asyncio.Future[None]) -> bool:
        """Sleep so many seconds; False if there are none left, or the client went away."""
        if seconds > 0:
            await self._unless_draining(asyncio.sleep(seconds), seconds + 1, gone)
        return seconds > 0 and not gone.done()

    async def _unless_draining(
        self, awaited: Awaitable[T], seconds: float, gone: asyncio.Future[None] | None = None
    ) -> T | None:
        """The result of ``awaited``; None when ``seconds`` are over or ``gone`` is done. Raises `Draining`."""
        wanted = asyncio.ensure_future(awaited)
        draining = asyncio.ensure_future(self._draining.wait())
        others: set[asyncio.Future[Any]] = {draining} if gone is None else {draining, gone}
        try:
            await asyncio.wait({wanted, *others}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if wanted.done():
                return wanted.result()
            if draining.done():
                raise Draining("the agent is ending", "ask again in a few seconds")
            return None
        finally:
            wanted.cancel()
            draining.cancel()

    def _under_way(self, job: Job) -> Response:
        success = self._service.last_success
        generation = success.reply.generation if success is not None and success.reply is not None else None
        return reply_json(202, {"state": "under_way", "job": job.id, "generation": generation})


def _pinned(version: str) -> Refused:
    return Refused(
        409,
        "pinned",
        f"somebody activated {version} in this pod by hand, and it stays until the channel names another tree",
        "`dagferry-agent activate --resume` in the pod follows the channel again",
    )


async def _read_body(request: Request) -> bytes:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > endpoint.MAX_REQUEST:
            raise admission.too_large()
    return body


async def _disconnected(request: Request) -> None:
    """Return once the client went away; to be called after the body was read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return reply_refused(error)


async def _failed(_request: Request, error: Exception) -> Response:
    assert isinstance(error, DagferryError)
    return reply_refused(admission.failed(error))


async def _not_routed(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = {404: "not_found", 405: "wrong_method"}.get(error.status_code, "error")
    return reply_refused(Refused(error.status_code, code, error.detail, headers=error.headers))


async def _gone(_request: Request, _error: Exception) -> Response:
    """The client went away inside its body; nobody reads this."""
    return Response(status_code=400)


async def _bug(_request: Request, _error: Exception) -> Response:
    """The last resort. Starlette raises the error again after the reply, and the server logs it with its traceback."""
    return reply_refused(Refused(500, "bug", "this is a bug in dagferry, please report it", "its log has more"))
