"""What can be said of a root from its disk alone: no store, no network, and nothing is changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dagferry_schemas.commandline import plain
from dagferry_schemas.endpoint import AgentStatus

if TYPE_CHECKING:
    from .root import Root
    from .state import State

SHOWN_DRIFT: Final = 1000
"""Paths of drift that a status names at the most."""


@dataclass(frozen=True)
class Seen:
    """The release that the link names, the releases on the disk, and the agent's memory."""

    live: str | None
    names: tuple[str, ...]
    state: State

    def status(
        self,
        agent_id: str,
        *,
        drift: tuple[str, ...],
        last_check: str | None = None,
        last_error: dict[str, str] | None = None,
    ) -> AgentStatus:
        """The status, together with what only a running agent knows."""
        state, live = self.state, self.live
        now = state.last_of(live) if live else None
        before = state.before(live) if live else None
        return AgentStatus(
            agent_id=agent_id,
            bundle=state.bundle,
            channel=state.channel,
            generation=now.generation if now else None,
            version=now.version if now else None,
            tree=now.tree if now else None,
            since=now.activated if now else None,
            previous=before.version if before else None,
            pinned=state.pin.version if state.pin else None,
            verifying=False,
            signed_by=now.signers if now else (),
            last_check=last_check,
            last_error=last_error,
            drift=tuple(map(plain, drift[:SHOWN_DRIFT])),
            releases=tuple(map(self._release, self.names)),
        )

    def _release(self, short: str) -> dict[str, object]:
        known = self.state.last_of(short)
        versions = [one.version for one in self.state.history if one.tree.startswith(f"sha256:{short}")]
        return {
            "tree": known.tree if known else short,
            "versions": list(dict.fromkeys(versions)),
            "live": short == self.live,
        }


def look(root: Root, state: State) -> Seen:
    """What ``root`` shows, together with the memory that was read from it. Raises `MachineFault`."""
    return Seen(root.live(), tuple(root.names()), state)
