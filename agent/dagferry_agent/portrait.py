"""What an agent says of itself: what is live, from its disk, how its last pull went, and what the releases take."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from dagferry_schemas.errors import DagferryError
from dagferry_storage import disk

from . import room
from .sight import Seen, look
from .state import State
from .vouching import vouched

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagferry_schemas.endpoint import AgentStatus
    from dagferry_schemas.trust import TrustedRecord
    from dagferry_storage.keyring_folder import KeyringFolder

    from .root import Root
    from .settings import Settings


class Portrait:
    """Of the agent of ``settings`` on ``root``. ``now`` gives the present as RFC 3339."""

    def __init__(self, settings: Settings, root: Root, keyring: KeyringFolder, now: Callable[[], str]) -> None:
        self._settings = settings
        self._root = root
        self._keyring = keyring
        self._now = now
        self._budget: tuple[list[str], room.Budget] | None = None  # of the releases that there were

    def status(
        self,
        state: Callable[[], State],
        *,
        drift: tuple[str, ...],
        last_check: str | None,
        last_error: dict[str, str] | None,
        record: TrustedRecord | None,
    ) -> AgentStatus:
        """The status; ``record`` is the newest that was accepted. Never raises for a foreseen failure."""
        settings = self._settings
        try:
            seen, error = look(self._root, state()), last_error
            budget = self._measured(list(seen.names))
        except DagferryError as found:
            seen, budget = Seen(None, (), State(settings.bundle, settings.channel)), None
            error = {"code": found.code, "message": found.message}
        status = seen.status(settings.agent_id, drift=drift, last_check=last_check, last_error=error)
        return replace(
            vouched(status, self._keyring, record, self._now()),
            disk=budget.to_dict() if budget else None,
            labels=settings.targets,
        )

    def _measured(self, names: list[str]) -> room.Budget:
        """What the releases take, counted when there are others than at the last time, and what is left now."""
        with disk.doing(f"measuring {self._root.path}"):
            free = room.Free.at(self._root.path)
            if self._budget is None or self._budget[0] != names:
                self._budget = (names, room.measure(self._root.releases, free))
            return replace(self._budget[1], free_bytes=free.size, free_inodes=free.inodes)
