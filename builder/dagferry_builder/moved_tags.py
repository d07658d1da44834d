"""Tags that were moved after a version had been published by their name.

A version is named after its tag and its commit, so a moved tag never makes two versions of one name. A commit that got
another tag is published under another name, which is shown; a tag that named another commit when that was published
means two things to people who read it, and is a conflict.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from dagferry_schemas.errors import Conflict
from dagferry_storage import published

if TYPE_CHECKING:
    from dagferry_schemas.version import Version
    from dagferry_storage.store import Store

_NAME = re.compile(r"(?P<tag>.+)-(?P<distance>[0-9]+)-g(?P<sha>[0-9a-f]{12,64})(?P<local>(?:\+local)?)")


def other_names(store: Store, bundle: str, version: Version) -> tuple[str, ...]:
    """The names of other versions of the same commit.

    Raises `Conflict` if the tag on the commit was on another one when that was published.
    """
    ours = _NAME.fullmatch(version.version)
    if ours is None:
        return ()
    same = []
    for name in published.names(store, bundle):
        theirs = _NAME.fullmatch(name)
        if theirs is None or name == version.version or theirs["local"] != ours["local"]:
            continue
        if _is_one(theirs["sha"], ours["sha"]):
            same.append(name)
        elif (theirs["tag"], theirs["distance"], ours["distance"]) == (ours["tag"], "0", "0"):
            _require_other_tag(store, bundle, name, version)
    return tuple(same)


def _is_one(sha: str, other: str) -> bool:
    """Whether two abbreviations may stand for one commit: how long they are depends on the clone."""
    return sha.startswith(other) or other.startswith(sha)


def _require_other_tag(store: Store, bundle: str, name: str, version: Version) -> None:
    found = published.read(store, bundle, name).version
    if found.tag == version.tag and found.commit != version.commit:  # `a/1` and `a-1` look alike in names
        raise Conflict(
            f"tag {version.tag!r} was on commit {found.commit[:12]} when that was published, and is on "
            f"{version.commit[:12]} now",
            f"give this commit a tag of its own (git tag, git push --tags); {name} stays what it is",
            code="tag_moved",
        )
