"""How a commit is named: what ``git describe`` says, made safe for file names, object names and Airflow.

``git describe --tags --long --abbrev=12 --match <pattern>`` gives ``v1.4.0-3-g0123456789ab``; without a matching tag it
is ``0.0.0-<commits>-g<12 hex>``. Every character outside ``[A-Za-z0-9._+-]`` (tags may hold slashes) becomes a ``-``.
A version that was built with content options from the command line ends in ``+local``.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dagferry_schemas.errors import Usage
from dagferry_schemas.names import check_version

if TYPE_CHECKING:
    from .git import Commit, Repository

DEFAULT_PATTERN = "v[0-9]*"


@dataclass(frozen=True)
class Named:
    """A commit with its version. ``tag`` as git writes it; ``distance`` in commits since the tag, or in all."""

    version: str
    commit: Commit
    tag: str | None
    distance: int


def name_commit(repository: Repository, commit: Commit, pattern: str, *, local: bool = False) -> Named:
    """The version of ``commit``.

    Raises `Usage` if a tag is too long for a version, and in a shallow clone unless a tag is on the commit itself: how
    far it is to another one cannot be told.
    """
    description = repository.describe(commit.id, pattern)
    if repository.is_shallow and (description is None or description.distance):
        raise Usage(
            f"{repository.top} is a shallow clone, and no tag like {pattern!r} is on {commit.id[:12]} itself, so its "
            "version cannot be told",
            "fetch the history: `git fetch --unshallow --tags`, or `fetch-depth: 0` for GitHub's checkout action",
            code="shallow_clone",
        )
    sha = repository.short(commit.id)
    if description is None:
        distance = repository.count(commit.id)
        text = f"0.0.0-{distance}-g{sha}"
    else:
        distance = description.distance
        text = f"{description.tag}-{distance}-g{sha}"
    if description is not None and not _is_text(description.tag):
        raise Usage(
            f"the tag {os.fsencode(description.tag)!r} on the way to {commit.id[:12]} is not UTF-8, and a version says "
            "its tag",
            "give the commit a tag that is, or set `version_pattern` so that this one is not asked",
        )
    version = re.sub(r"[^A-Za-z0-9._+-]", "-", text) + ("+local" if local else "")
    return Named(check_version(version), commit, description.tag if description else None, distance)


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
