"""Symbolic links of a commit, resolved inside its whole tree as the kernel would in a checkout.

A link may lead anywhere in the commit, through other links and ``..``, over at most `MAX_HOPS` of them; one that leaves
the commit, dangles or loops leads nowhere. Folders are read when a link comes to them, and the rest of a large
repository never.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from .objects import FOLDER, LINK, SUBMODULE, Entry, Node

if TYPE_CHECKING:
    from .objects import Objects

MAX_HOPS: Final = 40
NOT_THERE: Final = "which is not in the commit"


class LeadsNowhere(Exception):
    """A link that cannot be followed; the text goes on after "… is a link to …, "."""


class Place(NamedTuple):
    """Where a path leads: a path of the commit without links, what is there, and over how many links."""

    path: str
    node: Node
    hops: int

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder."""
        return self.node.mode == FOLDER


class CommitTree:
    """The tree of one commit, read as it is needed. Raises `Malformed` where this clone lacks a folder."""

    def __init__(self, objects: Objects, top: str) -> None:
        self._objects = objects
        self._top = Node(FOLDER, top)
        self._folders: dict[str, dict[bytes, Node]] = {}
        self._targets: dict[str, str] = {}

    def find(self, path: str) -> Node | None:
        """What is at ``path``, no link being followed on the way; None if there is nothing."""
        node: Node | None = self._top
        for name in path.split("/") if path else ():
            node = self._below(node, name) if node is not None else None
        return node

    def _below(self, node: Node, name: str) -> Node | None:
        if node.mode != FOLDER:
            return None
        if node.object_id not in self._folders:
            self._folders[node.object_id] = self._objects.folder(node.object_id)
        return self._folders[node.object_id].get(name.encode("utf-8", "surrogateescape"))

    def read(self, object_id: str) -> bytes | None:
        """The bytes of a blob, None if this clone lacks it."""
        return self._objects.read(object_id)

    def target(self, object_id: str) -> str:
        """What the link that is this blob says; empty if this clone lacks it."""
        if object_id not in self._targets:
            self._targets[object_id] = (self._objects.read(object_id) or b"").decode("utf-8", "surrogateescape")
        return self._targets[object_id]

    def entries(self, place: Place) -> list[Entry]:
        """All below the folder at ``place`` that is no folder itself, with sizes, in the order of the paths' bytes."""
        found = self._objects.entries(place.node.object_id, place.path)
        found.sort(key=lambda entry: entry.path.encode("utf-8", "surrogateescape"))
        blobs = (entry for entry in found if entry.mode != SUBMODULE)
        sizes = self._objects.sizes([entry.object_id for entry in found if entry.mode != SUBMODULE])
        sized = {id(entry): size for entry, size in zip(blobs, sizes, strict=True)}
        return [entry._replace(size=sized.get(id(entry), 0)) for entry in found]

    def entry(self, place: Place) -> Entry:
        """The file at ``place``, with its size."""
        size = 0 if place.node.mode == SUBMODULE else next(self._objects.sizes([place.node.object_id]))
        return Entry(place.path, place.node.mode, place.node.object_id, size)

    def follow(self, link: Entry, hops: int = 0) -> Place:
        """Where ``link``, to which so many others led, leads in the end. Raises `LeadsNowhere`."""
        return self._walk(link.path.split("/")[:-1], self._steps(link.object_id), hops + 1)

    def resolve(self, path: str) -> Place:
        """Where ``path`` leads, from the top of the commit. Raises `LeadsNowhere`."""
        return self._walk([], path.split("/") if path else [], 0)

    def _walk(self, place: list[str], pending: list[str], hops: int) -> Place:
        if hops > MAX_HOPS:
            raise LeadsNowhere("which loops")
        while pending:
            step = pending.pop(0)
            if step in ("", "."):
                continue
            if step == "..":
                if not place:
                    raise LeadsNowhere("which is outside the commit")
                place.pop()
                continue
            place.append(step)
            node = self.find("/".join(place))
            if node is None:
                raise LeadsNowhere(NOT_THERE)
            if node.mode == LINK:
                hops += 1
                if hops > MAX_HOPS:
                    raise LeadsNowhere("which loops")
                place.pop()
                pending = self._steps(node.object_id) + pending
            elif pending and node.mode not in (FOLDER, SUBMODULE):  # `a/` and `a/.` too: only a folder has a slash
                raise LeadsNowhere("which goes through a file")
        path = "/".join(place)
        return Place(path, self.find(path) or self._top, hops)

    def _steps(self, object_id: str) -> list[str]:
        target = self.target(object_id)
        if target.startswith("/"):
            raise LeadsNowhere("which is outside the commit")
        return target.split("/")
