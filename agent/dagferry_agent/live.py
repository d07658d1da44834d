"""What this process knows of the live release: whether it was verified, where it differs, and its watch."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from .drift import find_drift, find_drift_at

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from .root import Root
    from .watching import Watch

GONE: Final = (".",)
"""The drift of a release that is not there, or whose file list is not."""

log = logging.getLogger(__name__)


class LiveRelease:
    """The release that the link of ``root`` leads to. To be used by one thread at a time."""

    def __init__(self, root: Root) -> None:
        self.drift: tuple[str, ...] = ()
        """The paths at which it was found to differ."""
        self._root = root
        self._verified: frozenset[str] = frozenset()
        """The releases that were verified and may be live: one, and while the link is switched two."""
        self._watch: Watch | None = None

    def is_verified(self) -> bool:
        """Whether a release is live that this process has verified. Raises `MachineFault`."""
        while True:  # another thread may switch between the looks
            verified = self._verified
            live = self._root.live()
            if live in verified and (self._root.releases / live).is_dir():
                return True
            if self._verified is verified:
                return False

    def verify(self) -> None:
        """Look at every byte of it. Raises `MachineFault`."""
        live = self._root.live()
        release = self._root.find(live) if live else None
        self._follow()
        missing = GONE if live is not None else ()
        drift = find_drift(release) if release is not None else missing
        # Until here what was known before holds: whoever asks meanwhile is not told that nothing is verified.
        self.drift = drift
        self._verified = frozenset({live} if live is not None and release is not None and not drift else ())
        if release is None and live is not None:
            log.error("the live release %s cannot be verified: its folder or its file list is gone", live)
        elif self.drift:
            log.error("the live release %s differs from its file list: %s", live, ", ".join(self.drift[:10]))

    def look_at(self, paths: Collection[str]) -> bool:
        """Look at ``paths``, at which something was written; whether it differs now. Raises `MachineFault`.

        An empty path stands for all of it.
        """
        live = self._root.live()
        release = self._root.find(live) if live else None
        if release is None:
            return self._gone(live)
        before = set(self.drift)
        self.drift = find_drift(release) if "" in paths else find_drift_at(release, {*paths, *before})
        if set(self.drift) - before:
            log.error("the live release %s was edited: %s", live, ", ".join(self.drift[:10]))
        elif before and not self.drift:
            log.info("the live release %s is what it must be again", live)
        return bool(self.drift)

    def _gone(self, live: str | None) -> bool:
        """The release, or its file list, is not there; whether there should be one. The next pull brings it back."""
        if live is None:
            return False
        if self.drift != GONE:
            log.error("the live release %s is gone: its folder or its file list", live)
        self.drift, self._verified = GONE, frozenset()
        return True

    def switching(self, short: str) -> None:
        """The release ``short``, which was verified, is about to become live."""
        self._verified |= {short}

    def switched(self, short: str) -> None:
        """The release ``short``, which was verified, is live now."""
        self._verified, self.drift = frozenset({short}), ()
        self._follow()

    def doubt(self) -> None:
        """Let it count as not verified, so that the next pull mends it."""
        self._verified = frozenset()

    @property
    def watching(self) -> str | None:
        """How edits are noticed; None before `watch`, and while nothing is live."""
        return self._watch.kind if self._watch is not None else None

    def watch(self, changed: Callable[[Collection[str]], None]) -> None:
        """Tell ``changed`` from now on, in another thread, at which paths something was written."""
        from .watching import Watch  # what it needs, only a sidecar has

        self._watch = Watch(changed)
        self._follow()

    def unwatch(self) -> None:
        """End what `watch` began."""
        if self._watch is not None:
            self._watch.stop()

    def _follow(self) -> None:
        if self._watch is not None:
            live = self._root.live()
            self._watch.follow(self._root.releases / live if live else None)
