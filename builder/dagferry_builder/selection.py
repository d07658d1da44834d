"""What of a commit becomes the tree: the files below the bundle's root, with links resolved.

Nothing is dropped in silence: a path is packed, or it is in ``left_out`` with the rule that left it out, or the whole
selection is refused with every problem at once. Links are resolved inside the commit's whole tree, as the kernel would
in a checkout (at most 40 links on the way): a link to a file is packed as that file, a link to a folder has the
folder's files packed below the link's path; one that leaves the commit, dangles or loops is an error.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from dagferry_schemas import paths
from dagferry_schemas.errors import Malformed, Usage

from . import lfs
from .git import EXECUTABLE, LACKING, LINK, SUBMODULE
from .sources import Source, Sources

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .git import Entry, Repository

MAX_HOPS: Final = 40
SHOWN_PROBLEMS: Final = 50


@dataclass(frozen=True)
class LeftOut:
    """A path of the root that is not packed, and the rule that says so."""

    path: str
    rule: str


@dataclass(frozen=True)
class Selected:
    """What was selected, in the order of the tree."""

    sources: Sources
    left_out: tuple[LeftOut, ...]


@dataclass(frozen=True)
class Selection:
    """The content part of a bundle's configuration; it is recorded whole in every version."""

    root: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The recorded form."""
        return {"root": self.root}


def select(repository: Repository, commit: str, selection: Selection) -> Selected:
    """The files of ``commit`` that ``selection`` asks for. Raises `CannotPack` with every problem, or `Usage`."""
    found = _Walk(repository, commit).walk(selection.root)
    if not found.sources and not found.problems:
        raise Usage(
            f"there are no files below {selection.root or 'the top'!r} in commit {commit[:12]}",
            "set `root` of the bundle in dagferry.toml to the folder that holds the DAGs, and commit it",
            code="empty_tree",
        )
    check = paths.PathCheck()
    for source in found.sources:
        check.take(source.path)
    problems = found.problems + check.problems
    if problems:
        # Packing would find these; looked for here too, so that one run shows everything.
        raise cannot_pack(problems + lfs.find(repository, found.sources))
    return Selected(found.sources, tuple(found.left_out))


class CannotPack(Malformed):
    """A commit that is no tree; ``problems`` are all of them, each a sentence that begins with its path."""

    code = "cannot_pack"

    def __init__(self, message: str, hint: str, problems: Sequence[str]) -> None:
        super().__init__(message, hint)
        self.problems = tuple(problems)


def cannot_pack(problems: Sequence[str]) -> CannotPack:
    """The error that keeps ``problems``, and shows at most `SHOWN_PROBLEMS` of them."""
    shown = "\n  ".join(problems[:SHOWN_PROBLEMS])
    more = f"\n  and {len(problems) - SHOWN_PROBLEMS} more" if len(problems) > SHOWN_PROBLEMS else ""
    return CannotPack(
        f"the commit cannot be packed, {len(problems)} problem(s):\n  {shown}{more}",
        "mend them in the repository and commit; nothing was written",
        problems,
    )


class _Refused(Exception):
    """A link that cannot be followed."""


class _Walk:
    """One walk through a commit, and what it found."""

    def __init__(self, repository: Repository, commit: str) -> None:
        self.sources = Sources()
        self.left_out: list[LeftOut] = []
        self.problems: list[str] = []
        self._repository = repository
        self._commit = commit
        self._whole: _Commit | None = None

    def walk(self, root: str) -> _Walk:
        prefix = root + "/" if root else ""
        for entry in self._repository.entries(self._commit, root):
            path = "" if entry.path == root else entry.path[len(prefix) :]  # the root itself may be a link
            self._take(entry, path, ())
        self.sources.close()
        return self

    def _take(self, entry: Entry, path: str, inside: tuple[str, ...]) -> None:
        if entry.mode == SUBMODULE:
            self.left_out.append(LeftOut(path or entry.path, "submodule"))
        elif entry.mode == LINK:
            try:
                self._follow(entry, path, inside)
            except _Refused as refused:
                target = self._repository.link_target(entry)
                self.problems.append(f"{path or entry.path!r} is a link to {target!r}, {refused}")
        elif path and entry.size == LACKING:
            self.problems.append(
                f"{path!r} has content that this clone lacks: `git fetch --refetch --no-filter` in a partial clone, "
                "`git fsck` in a damaged one"
            )
        elif path:
            source = Source(path, entry.mode == EXECUTABLE, entry)
            (self.sources.add_linked if inside else self.sources.add)(source)

    def _follow(self, entry: Entry, path: str, inside: tuple[str, ...]) -> None:
        whole = self._whole_commit()
        target = whole.resolve(entry.path)
        file = whole.files.get(target)
        if file is not None:
            if not path:
                raise _Refused("which is a file: the root has to be a folder")
            self._take(file, path, (*inside, entry.path))
            return
        folder = target + "/" if target else ""
        if entry.path in inside or entry.path.startswith(folder):
            raise _Refused("which holds the link itself: it would never end")
        for below in whole.below(folder):
            rest = below.path[len(folder) :]
            self._take(below, f"{path}/{rest}" if path else rest, (*inside, entry.path))

    def _whole_commit(self) -> _Commit:
        if self._whole is None:
            self._whole = _Commit(self._repository, list(self._repository.entries(self._commit)))
        return self._whole


class _Commit:
    """All paths of a commit, for following links."""

    def __init__(self, repository: Repository, entries: list[Entry]) -> None:
        self._repository = repository
        self.files = {entry.path: entry for entry in entries}
        self._folders = {""}
        for entry in entries:
            path = _parent(entry.path).rstrip("/")
            while path not in self._folders:
                self._folders.add(path)
                path = path.rpartition("/")[0]

    def below(self, folder: str) -> Iterator[Entry]:
        return (entry for path, entry in self.files.items() if path.startswith(folder))

    def resolve(self, path: str) -> str:
        """The path of the file, link-free, that the link ``path`` leads to, or of the folder."""
        place = path.split("/")[:-1]
        pending = self._steps(self.files[path])
        hops = 1
        while pending:
            step = pending.pop(0)
            if step in ("", "."):
                continue
            if step == "..":
                if not place:
                    raise _Refused("which is outside the commit")
                place.pop()
                continue
            place.append(step)
            here = "/".join(place)
            entry = self.files.get(here)
            if entry is not None and entry.mode == LINK:
                hops += 1
                if hops > MAX_HOPS:
                    raise _Refused("which loops")
                place.pop()
                pending = self._steps(entry) + pending
            elif entry is None and here not in self._folders:
                raise _Refused("which is not in the commit")
            elif entry is not None and any(step not in ("", ".") for step in pending):
                raise _Refused("which goes through a file")
        return "/".join(place)

    def _steps(self, entry: Entry) -> list[str]:
        target = self._repository.link_target(entry)
        if target.startswith("/"):
            raise _Refused("which is outside the commit")
        return target.split("/")


def _parent(path: str) -> str:
    folder = path.rpartition("/")[0]
    return folder + "/" if folder else ""
