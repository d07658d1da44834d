"""A release that waits beside the live one: verified, and watched, so that a switch to it need not read it again.

What was written to a file of it since then is noticed at once (`edit_watch`). Where the kernel cannot be asked, or has
anything to tell, the release is verified anew when its turn comes: nothing is lost but time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .drift import find_drift
from .edit_watch import open_watch

if TYPE_CHECKING:
    from .edit_watch import EditWatch
    from .releases import Release


class Waiting:
    """A verified release, from now on. Close it in the end."""

    def __init__(self, release: Release, watch: EditWatch | None) -> None:
        self.name = release.folder.name
        self._folder = release.folder
        self._watch = watch

    def is_untouched(self) -> bool:
        """Whether it is known to be as it was verified."""
        return self._watch is not None and self._watch.is_quiet() and self._folder.is_dir()

    def close(self) -> None:
        """Watch it no more."""
        if self._watch is not None:
            self._watch.close()
            self._watch = None


def wait(release: Release) -> Waiting | None:
    """``release``, verified and watched; None if it is not what it must be. Raises `MachineFault`."""
    watch = open_watch()
    folders = {(release.folder / file.path).parent for file in release.tree.files} if watch is not None else set()
    try:
        for folder in folders:
            assert watch is not None
            watch.add(folder)
    except OSError:  # no watches are left, or a folder is gone: verified below
        assert watch is not None
        watch.close()
        watch = None
    if find_drift(release):  # after the watch began
        if watch is not None:
            watch.close()
        return None
    return Waiting(release, watch)
