"""Which versions of a bundle may go from a disk: none that is used, is needed by a run, or was used lately."""

from __future__ import annotations

import logging
import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection

    from .version_folders import VersionFolders
    from .version_use import VersionUse

log = logging.getLogger(__name__)
UNFINISHED: Final = 24 * 3600.0
"""Seconds after which a folder in staging is nobody's any more."""


@dataclass(frozen=True)
class Limits:
    """How many versions stay at the least, and for how many seconds after their last use."""

    versions: int
    seconds: float


def clean(folders: VersionFolders, use: VersionUse, needed: Collection[str], limits: Limits) -> list[str]:
    """Remove the versions that nobody needs: which ones. ``needed`` stay whatever their age. Raises `MachineFault`."""
    last = {version: use.last(version) or folders.made(version) for version in folders.names()}
    newest = sorted(last, key=lambda version: last[version], reverse=True)
    before = time.time() - limits.seconds
    gone = []
    for version in newest[limits.versions :]:
        if version in needed or last[version] > before:
            continue
        with use.unused(version) as unused:
            if unused:
                shutil.rmtree(folders.put_aside(version), ignore_errors=True)
                gone.append(version)
    folders.clean(UNFINISHED)
    if gone:
        log.info("removed %d versions that no run needs: %s", len(gone), ", ".join(gone))
    return gone
