"""What a bundle asks for: folders of a commit, where they come in the tree, and what of them (see `selecting`)."""

from __future__ import annotations

from typing import Any, NamedTuple


class Root(NamedTuple):
    """A ``folder`` of the repository, and its ``place`` in the tree; empty is the top of either."""

    folder: str
    place: str = ""


class Selection(NamedTuple):
    """The content part of a bundle's configuration; it is recorded whole in every version."""

    roots: tuple[Root, ...] = (Root(""),)
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    @classmethod
    def below(cls, folder: str) -> Selection:
        """Everything below one folder of the repository."""
        return cls((Root(folder),))

    @property
    def folders(self) -> tuple[str, ...]:
        """The folders of the repository that it selects from."""
        return tuple(root.folder for root in self.roots)

    def origin(self, path: str) -> str:
        """The path of the repository at which ``path`` of the tree is, unless a link led there."""
        for root in sorted(self.roots, key=lambda root: -len(root.place)):
            prefix = root.place + "/" if root.place else ""
            if path.startswith(prefix):
                rest = path[len(prefix) :]
                return f"{root.folder}/{rest}" if root.folder else rest
        return path

    def to_dict(self) -> dict[str, Any]:
        """The recorded form."""
        first = self.roots[0]
        plain = len(self.roots) == 1 and not first.place
        recorded: dict[str, Any] = (
            {"root": first.folder} if plain else {"roots": {root.place: root.folder for root in self.roots}}
        )
        if self.include:
            recorded["include"] = list(self.include)
        if self.exclude:
            recorded["exclude"] = list(self.exclude)
        return recorded
