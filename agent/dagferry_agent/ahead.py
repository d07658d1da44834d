"""The candidate of the channel, made ready beside what is live: fetched, verified and staged before it is served.

Nothing that is live depends on it. What goes wrong is told in the status, and tried again at the next pull.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from dagferry_schemas.commandline import plain
from dagferry_schemas.errors import DagferryError, Untrusted
from dagferry_schemas.fields import MAX_TEXT
from dagferry_schemas.names import short_tree
from dagferry_schemas.rollout import candidate_of

if TYPE_CHECKING:
    from dagferry_schemas.pins import Content
    from dagferry_schemas.record import Live, Record
    from dagferry_storage.metered import MeteredStore

    from .activation import Activation
    from .providing import Provider
    from .settings import Settings

log = logging.getLogger(__name__)


class Ahead:
    """Makes candidates ready. To be used by who holds the root's lock; `told` may be read by anybody."""

    def __init__(self, settings: Settings, provider: Provider, activation: Activation) -> None:
        self._settings = settings
        self._provider = provider
        self._activation = activation
        self.told: dict[str, str] | None = None
        """The candidate as a status has it; None without one."""

    def make_ready(self, meter: MeteredStore, record: Record, served: Live) -> None:
        """Have the candidate of ``record`` ready, where ``served`` is live; never raises for a foreseen failure."""
        candidate = candidate_of(record, self._activation.now())
        if candidate is None:
            self.told = self._activation.candidate = None
            self._provider.forget_ahead()
            return
        content, version = candidate.live.content, candidate.live.version
        self._activation.candidate = content.tree
        common = {"version": version, "tree": content.tree}
        if content.tree == served.content.tree:
            self.told = {**common, "state": "served"}
            return
        if self.told is None or {**self.told, **common} != self.told:
            self.told = {**common, "state": "pending"}
        try:
            self._fetch(meter, record, content)
        except DagferryError as error:
            if self.told.get("error") != error.message:
                log.warning("the candidate %s is not ready: %s", version, plain(error.message))
            self.told = {**common, "state": "failed", "error": error.message[:MAX_TEXT]}
        else:
            if self.told["state"] != "ready":
                log.info("the candidate %s is ready beside %s", version, served.version)
            self.told = {**common, "state": "ready"}

    def _fetch(self, meter: MeteredStore, record: Record, content: Content) -> None:
        state = self._activation.state()
        short = short_tree(content.tree)
        known = state.last_of(short)
        if known is not None and known.tree != content.tree:
            raise Untrusted("two trees have one folder name", code="colliding_trees")
        before = state.last_of(short_tree(record.live.content.tree))
        stamp = self._activation.stamp(state)
        self._provider.provide_ahead(meter, content, before, stamp, record.deltas)
