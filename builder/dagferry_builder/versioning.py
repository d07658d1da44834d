"""How a commit is named: what ``git describe`` says, made safe for file names, object names and Airflow.

``git describe --tags --long --abbrev=12 --match <pattern>`` gives ``v1.4.0-3-g0123456789ab``; without a matching tag it
is ``0.0.0-<commits>-g<12 hex>``. Every character outside ``[A-Za-z0-9._+-]`` (tags may hold slashes) becomes a ``-``.
A version that was built with content options from the command line ends in ``+local``.
"""

from __future__ import annotations

import os
import re
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple

from dagferry_schemas.errors import Usage
from dagferry_schemas.names import check_version

from .git import description

if TYPE_CHECKING:
    from typing import Self

    from .git import Commit, Repository


class Named(NamedTuple):
    """A commit with its version. ``tag`` as git writes it; ``distance`` in commits since the tag, or in all.

    ``first_parents`` is its place on the first-parent line, None in a shallow clone, which does not have all of it.
    """

    version: str
    commit: Commit
    first_parents: int | None
    tag: str | None
    distance: int


class Naming:
    """Finds the name of ``commit``: git looks from the beginning, beside whatever else is done until `name` is called.

    A context, that ends the questions to git which are still open.
    """

    def __init__(self, repository: Repository, commit: Commit, pattern: str, *, local: bool = False) -> None:
        self._repository = repository
        self._commit = commit
        self._pattern = pattern
        self._local = local
        self._open = ExitStack()
        self._described = self._open.enter_context(repository.describing(commit.id, pattern))
        # Needed where there is no tag only, but then it is too late to begin.
        self._counted = self._open.enter_context(repository.counting(commit.id))
        self._first_parents = self._open.enter_context(repository.counting(commit.id, "--first-parent"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def name(self) -> Named:
        """The version of the commit.

        Raises `Usage` if a tag is too long for a version, and in a shallow clone unless a tag is on the commit itself:
        how far it is to another one cannot be told.
        """
        described, shallow = description(self._described), self._repository.is_shallow
        if shallow and (described is None or described.distance):
            raise Usage(
                f"{self._repository.top} is a shallow clone, and no tag like {self._pattern!r} is on "
                f"{self._commit.id[:12]} itself, so its version cannot be told",
                "fetch the history: `git fetch --unshallow --tags`, or `fetch-depth: 0` for GitHub's checkout action",
                code="shallow_clone",
            )
        first_parents = None if shallow else int(self._first_parents.line())
        if described is None:
            distance = int(self._counted.line())
            return self._named("0.0.0", distance, first_parents, None)
        if not _is_text(described.tag):
            raise Usage(
                f"the tag {os.fsencode(described.tag)!r} on the way to {self._commit.id[:12]} is not UTF-8, and a "
                "version says its tag",
                "give the commit a tag that is, or set `version_pattern` so that this one is not asked",
            )
        return self._named(described.tag, described.distance, first_parents, described.tag)

    def _named(self, first: str, distance: int, first_parents: int | None, tag: str | None) -> Named:
        text = re.sub(r"[^A-Za-z0-9._+-]", "-", f"{first}-{distance}-g{self._commit.short}")
        version = check_version(text + ("+local" if self._local else ""))
        return Named(version, self._commit, first_parents, tag, distance)


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
