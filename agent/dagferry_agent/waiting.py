"""A release that waits beside the live one: verified, and watched, so that a switch to it need not read it again.

What it has otherwise than the live one is found out before: a switch touches these files, and no list is read for it.
What happened to a file of it since then is noticed at once (`edit_watch`). Where the kernel cannot be asked, or has
anything to tell, the release is verified anew when its turn comes: nothing is lost but time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .drift import find_drift
from .edit_watch import open_watch
from .renewing import differing

if TYPE_CHECKING:
    from pathlib import Path

    from .edit_watch import EditWatch
    from .releases import Release


class Waiting:
    """A verified release beside ``live``, from now on. Close it in the end."""

    def __init__(self, release: Release, live: Release | None, watch: EditWatch | None) -> None:
        self.release = release
        self.differing = differing(release, live)
        self._beside = live.folder.name if live is not None else None
        self._watch = watch

    @property
    def name(self) -> str:
        """Of its folder."""
        return self.release.folder.name

    def is_untouched(self) -> bool:
        """Whether it is known to be as it was verified."""
        return self._watch is not None and self._watch.is_quiet() and self.release.folder.is_dir()

    def is_next_to(self, live: str | None) -> bool:
        """Whether ``live`` is the release (by its folder) that it was compared with."""
        return self._beside == live

    def close(self) -> None:
        """Watch it no more."""
        if self._watch is not None:
            self._watch.close()
            self._watch = None


def wait(release: Release, live: Release | None) -> Waiting | None:
    """``release``, verified, watched and compared with ``live``; None if it is not what it must be.

    Raises `MachineFault`, `Corrupt`.
    """
    watch = open_watch(entries=True)
    try:
        for folder in _folders(release) if watch is not None else ():
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
    return Waiting(release, live, watch)


def _folders(release: Release) -> set[Path]:
    """All folders of a release that are of its tree."""
    found = {release.folder}
    for file in release.tree.files:
        folder = (release.folder / file.path).parent
        while folder not in found:
            found.add(folder)
            folder = folder.parent
    return found
