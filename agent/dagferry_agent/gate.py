"""Who gets past the door of the application: rules 1 and 2 of `app`, before anything is routed.

A source that fails too often is logged, once a minute at the most: requests must not be able to flood the log.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from . import admission
from .admission import Refused
from .rates import Rates, source_of
from .replies import reply_refused

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from starlette.types import ASGIApp, Receive, Scope, Send

    from .admission import Tokens

_log = logging.getLogger(__name__)


class Gate:
    """Whoever passes has shown a valid token, or asks for nothing that needs one."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        tokens: Tokens,
        now: Callable[[], str],
        clock: Callable[[], float],
        allowed_hosts: Collection[str],
    ) -> None:
        self._app = app
        self._tokens = tokens
        self._now = now
        self._failures = Rates(admission.FAILURES_PER_MINUTE, clock)
        self._warnings = Rates(1, clock)
        self._allowed_hosts = allowed_hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request pass on, with the bearer's entry in its state, or answer it."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] == "http":
            try:
                self._check(scope)
            except Refused as refused:
                await reply_refused(refused)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _check(self, scope: Scope) -> None:
        target_size = len(scope.get("raw_path", b"")) + len(scope["query_string"])
        admission.check_bounds(scope["http_version"], target_size, scope["headers"])
        admission.check_place(scope["headers"], self._allowed_hosts)
        if admission.needs_token(scope["path"]):
            try:
                entry = admission.admit(scope["headers"], self._tokens, self._now())
            except Refused as refused:
                if refused.status == 401:
                    self._count_failure(scope)
                raise
            scope.setdefault("state", {})["entry"] = entry

    def _count_failure(self, scope: Scope) -> None:
        source = source_of((scope.get("client") or ("",))[0])
        try:
            admission.check_failures(source, self._failures)
        except Refused:
            if not self._warnings.take(source):
                _log.warning("many requests without a valid token from %s: answered with 429", source)
            raise
