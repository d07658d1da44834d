"""Is a version newer than the one that is live? Asked of git where a clone has both, of the documents elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dagferry_schemas.version import Version

    from .git import Repository


def objection(repository: Repository | None, live: Version, new: Version) -> str | None:
    """Why a promotion from ``live`` to ``new`` would go back or sideways, or None if it goes forward.

    With a clone that has both commits git decides: forward means that ``new`` builds upon ``live``. Without, the
    recorded first-parent count and commit time do: both have to grow, or the time alone where a version was built in a
    shallow clone, which has no count.
    """
    if live.commit == new.commit:
        return None
    if repository is not None and repository.has(live.commit) and repository.has(new.commit):
        return _by_git(repository, live, new)
    return _by_record(live, new)


def _by_git(repository: Repository, live: Version, new: Version) -> str | None:
    if repository.is_ancestor(live.commit, new.commit):
        return None
    if repository.is_ancestor(new.commit, live.commit):
        return f"{new.version} is older than {live.version}, which is live"
    return f"{new.version} does not build upon {live.version}, which is live (their histories diverged)"


def _by_record(live: Version, new: Version) -> str | None:
    if live.first_parents is None or new.first_parents is None:
        if new.commit_time > live.commit_time:
            return None
    elif new.first_parents > live.first_parents and new.commit_time >= live.commit_time:
        return None
    return (
        f"{new.version} does not seem to build upon {live.version}, which is live "
        f"({_place(new)} against {_place(live)})"
    )


def _place(version: Version) -> str:
    return f"commit {version.first_parents or 'of a shallow clone'} of {version.commit_time}"
