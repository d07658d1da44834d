"""Which releases go: those that nobody needs, long after they stopped being live."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from .root import erasing

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    from .root import Root
    from .state import State

log = logging.getLogger(__name__)


def expired(
    names: Iterable[str], state: State, live: str, *, keep: int, before: str, candidate: str | None = None
) -> list[str]:
    """The release folders that may go: not live, not the one before, not among the newest ``keep``, not the one that a
    pin keeps the channel from, not the ``candidate`` (a tree), and retired by ``before`` (RFC 3339). A folder that the
    history does not know was left by somebody else and may go as well.
    """
    previous = state.before(live)
    trees = (previous.tree if previous else None, state.channel_tree, candidate)
    needed = {tree[len("sha256:") :] for tree in trees if tree}
    retired = {name: (entry.retired or "") if (entry := state.last_of(name)) else "" for name in names}
    dormant = sorted((name for name in retired if name != live), key=lambda name: retired[name], reverse=True)
    return [
        name
        for place, name in enumerate(dormant)
        if place >= keep - 1 and retired[name] <= before and not any(tree.startswith(name) for tree in needed)
    ]


def removing(root: Root, short: str) -> Generator[None]:
    """Remove a release: out of sight at the first step, then a few files at a time. What cannot go now is said."""
    try:
        aside = root.withdraw(short)
        if aside is None:
            log.info("the release %s stays: somebody reads it", short)
            return
        yield from erasing(aside)
    except OSError as error:
        log.warning("the release %s was not removed: %s", short, error)
    else:
        log.info("removed the release %s", short)
