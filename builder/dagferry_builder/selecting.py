"""What of a commit becomes the tree: the files below the bundle's roots, with links resolved.

1. Each root is a folder of the repository, and has its place in the tree; one alone may be the tree itself.
2. Kept out is what git's attribute ``export-ignore``, a ``.dagferryignore`` or the bundle's ``exclude`` says, or what
   its ``include`` does not name; and submodules. What a link leads to is judged by the link's own path.
3. A link to a file is packed as that file, a link to a folder has the folder's files packed below the link's path; one
   that leaves the commit, dangles or loops is an error.
4. Nothing is dropped in silence: a path is packed, or it is in ``left_out`` with the rule that left it out, or the
   whole selection is refused with every problem at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from dagferry_schemas import paths
from dagferry_schemas.errors import Malformed
from dagferry_schemas.tree import MAX_FILES

from . import attributes, ignoring, leaving, lfs
from .ignoring import Ignores, Patterns
from .links import NOT_THERE, CommitTree, LeadsNowhere
from .objects import EXECUTABLE, LACKING, LINK, SUBMODULE, Entry
from .problems import all_left_out, cannot_pack, lacks, nothing_below
from .sources import FEW, Source, Sources

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .attributes import Unconverted
    from .git import Repository
    from .leaving import LeftOut
    from .selection import Root, Selection


_FILES: Final = ("100644", EXECUTABLE)
_DECIDING: Final = (ignoring.FILE, attributes.FILE)
MAX_PROBLEMS: Final = 1000
"""Problems after which no more are looked for."""


class Selected(NamedTuple):
    """What was selected, in the order of the tree."""

    sources: Sources
    left_out: tuple[LeftOut, ...]
    unconverted: tuple[Unconverted, ...]


def select(repository: Repository, commit: str, selection: Selection) -> Selected:
    """The files of ``commit`` that ``selection`` asks for. Raises `CannotPack` with every problem, or `Usage`."""
    with repository.objects() as objects:
        walk = _Walk(repository, commit, selection, CommitTree(objects, repository.commit(commit).tree))
        walk.run()
        unconverted = walk.unconverted()
    if not walk.sources and not walk.problems:
        raise all_left_out(selection, commit, walk.left_out)
    problems = walk.problems + _problems_of_paths(walk.sources)
    if problems:
        # Packing would find these; looked for here too, so that one run shows everything.
        raise cannot_pack(problems + lfs.find(repository, walk.sources))
    folders = {source.path.rpartition("/")[0] for source in walk.sources} if walk.left_out else ()
    return Selected(walk.sources, tuple(leaving.gather(walk.left_out, folders)), unconverted)


def _problems_of_paths(sources: Sources) -> list[str]:
    if len(sources) <= FEW and paths.are_common([path for path, _, _ in sources]):
        return []
    check = paths.PathCheck()
    for path, _, _ in sources:
        check.take(path)
    return check.problems


class Step(NamedTuple):
    """A link that was followed, and how many there were on the way, itself and those before included."""

    link: str
    hops: int


class _Walk:
    """One walk through a commit, and what it found."""

    def __init__(self, repository: Repository, commit: str, selection: Selection, tree: CommitTree) -> None:
        self.sources = Sources()
        self.left_out: list[LeftOut] = []
        self.problems: list[str] = []
        self._repository = repository
        self._commit = commit
        self._selection = selection
        self._tree = tree
        self._include = Patterns(selection.include, "include") if selection.include else None
        self._exclude = Patterns(selection.exclude, "exclude") if selection.exclude else None
        self._ignores = Ignores(self._read_ignores)
        self._ignoring: dict[str, str] = {}
        """The ids of the ``.dagferryignore`` files, by the folder that they hold for."""
        self._attributing: dict[str, bytes] = {}
        """The ``.gitattributes`` files, by path."""
        self._said: attributes.Said = {}
        self._looked: set[str] = set()
        self._is_plain = True
        """Whether all that was listed are files, and there."""
        self._count = 0
        self._linked: list[Source] = []

    def run(self) -> None:
        # In this order the files of one root come after those of the root before it, unless one is in the other.
        for root in sorted(self._selection.roots, key=lambda root: root.place + "/"):
            self._take_root(root)
        self.sources.close()

    def _take_root(self, root: Root) -> None:
        try:
            place = self._tree.resolve(root.folder)
        except LeadsNowhere as wrong:
            why = "" if wrong.args[0] == NOT_THERE else f": it is a link, or goes through one, {wrong}"
            raise nothing_below(root.folder, self._commit, why) from None
        if not place.is_folder:
            what = "a submodule" if place.node.mode == SUBMODULE else "a file"
            raise nothing_below(root.folder, self._commit, f": it is {what}")
        self._learn_above(place.path)
        listing = self._list(place.path)
        if not listing:
            raise nothing_below(root.folder, self._commit)
        self._said |= attributes.of(_with_folders(listing, place.path), self._attributing)
        nested = any(other is not root and _holds(other.place, root.place) for other in self._selection.roots)
        inside = (Step("", 0),) if nested else ()
        asked = bool(self._ignoring or self._said or self._include or self._exclude)
        above = root.place + "/" if root.place else ""
        if self._is_plain and not asked and len(self._selection.roots) == 1 and not above and len(listing) <= MAX_FILES:
            self.sources = listing
            return
        for source in listing:
            taken = source._replace(path=above + source.path) if above else source
            if not (asked and self._is_left_out(source.entry.path, taken.path, place.path)):
                self._take(taken, source.entry.path, inside)

    def _list(self, folder: str) -> Sources:
        """The files below ``folder`` by their path in it, as git lists them; what decides about others is noted."""
        listing = Sources()
        start = len(folder) + 1 if folder else 0
        for entry in self._listed(folder):
            path, mode, _, size = entry
            if path.endswith(_DECIDING):
                self._learn(entry, path)
            if mode not in _FILES or size == LACKING:
                self._is_plain = False
            listing.add(Source(path[start:], mode == EXECUTABLE, entry))
        listing.close()
        return listing

    def _listed(self, folder: str) -> Iterator[Entry]:
        try:
            yield from self._repository.entries(self._commit, folder)
        except Malformed as error:  # git ends at the first that it cannot fetch
            lacking = self._repository.lacking(self._commit, folder) if error.code == "missing_blob" else []
            if not lacking:
                raise
            raise cannot_pack([lacks(path) for path in lacking]) from error

    def _learn(self, entry: Entry, path: str) -> None:
        """Note a file that decides about others, and that stands at ``path``."""
        folder, _, name = path.rpartition("/")
        if entry.mode not in (LINK, SUBMODULE) and entry.size != LACKING:
            if name == ignoring.FILE:
                self._ignoring[folder] = entry.object_id
            elif name == attributes.FILE:
                self._attributing[entry.path] = self._tree.read(entry.object_id) or b""

    def _learn_above(self, folder: str) -> None:
        """Note the files above ``folder`` that decide about what is in it."""
        while folder and folder.rpartition("/")[0] not in self._looked:
            folder = folder.rpartition("/")[0]
            self._looked.add(folder)
            for name in (ignoring.FILE, attributes.FILE):
                path = f"{folder}/{name}" if folder else name
                node = self._tree.find(path)
                if node is not None and node.mode.startswith("10"):
                    self._learn(Entry(path, node.mode, node.object_id, 0), path)

    def _read_ignores(self, folder: str) -> str | None:
        object_id = self._ignoring.get(folder)
        if object_id is None:
            return None
        raw = self._tree.read(object_id) or b""
        if len(raw) > ignoring.MAX_SIZE:
            place = f"{folder}/{ignoring.FILE}" if folder else ignoring.FILE
            self.problems.append(f"{place!r} has more than {ignoring.MAX_SIZE} bytes")
            return None
        return raw.decode("utf-8", "surrogateescape")

    def _is_left_out(self, stands: str, path: str, root: str | None) -> bool:
        """Whether the file that stands at ``stands`` in a checkout, and at ``path`` in the tree, is kept out."""
        rule = self._rule(stands, path, root)
        if rule is not None:
            self.left_out.append(leaving.LeftOut(path, rule))
        return rule is not None

    def _rule(self, stands: str, path: str, root: str | None) -> str | None:
        if stands.rpartition("/")[2] == ignoring.FILE:
            return ignoring.FILE
        if self._said and root is not None and self._is_for_no_export(stands, root):
            return attributes.EXPORT_IGNORE
        if (ignored := self._ignores.rule(stands)) is not None:
            return ignored
        if self._exclude is not None and (said := self._exclude.says(path)) is not None and said[0]:
            return f"exclude: {said[1]}"
        if self._include is not None and not ((said := self._include.says(path)) is not None and said[0]):
            return "include: no pattern takes it"
        return None

    def _is_for_no_export(self, path: str, root: str) -> bool:
        """Whether the path, or a folder on the way to it from the root, has the attribute ``export-ignore``."""
        while len(path) > len(root):
            if attributes.EXPORT_IGNORE in self._said.get(path, ()):
                return True
            path = path.rstrip("/").rpartition("/")[0]
            path = path + "/" if path and path != root else ""
        return False

    def _take(self, source: Source, stands: str, inside: tuple[Step, ...]) -> None:
        """Take what has its place in the tree; ``inside`` are the links that led there."""
        self._count += 1
        if self._count > MAX_FILES or len(self.problems) > MAX_PROBLEMS:  # links can make any number of a few
            raise cannot_pack([*self.problems, f"{source.path!r} is where the search ended: there is too much"])
        path, _, entry = source
        if entry.mode == SUBMODULE:
            self.left_out.append(leaving.LeftOut(path, leaving.SUBMODULE))
        elif entry.mode == LINK:
            try:
                self._follow(entry, path, stands, inside)
            except LeadsNowhere as wrong:
                self.problems.append(f"{path!r} is a link to {self._tree.target(entry.object_id)!r}, {wrong}")
        elif entry.size == LACKING:
            self.problems.append(lacks(path))
        elif inside:
            self._linked.append(source)
            self.sources.add_linked(source)
        else:
            self.sources.add(source)

    def _follow(self, link: Entry, path: str, stands: str, inside: tuple[Step, ...]) -> None:
        place = self._tree.follow(link, inside[-1].hops if inside else 0)
        inside = (*inside, Step(link.path, place.hops))
        if not place.is_folder:
            self._take(_placed(path, self._tree.entry(place)), stands, inside)
            return
        folder = place.path + "/" if place.path else ""
        if any(step.link == link.path for step in inside[:-1]) or link.path.startswith(folder):
            raise LeadsNowhere("which holds the link itself: it would never end")
        entries = self._tree.entries(place)
        below = [(entry, f"{stands}/{entry.path[len(folder) :]}") for entry in entries]
        for entry, here in below:
            self._learn(entry, here)
        for entry, here in below:
            rest = f"{path}/{entry.path[len(folder) :]}"
            if not self._is_left_out(here, rest, None):
                self._take(_placed(rest, entry), here, inside)

    def unconverted(self) -> tuple[Unconverted, ...]:
        """The sources that a checkout would convert, in their order."""
        linked = dict.fromkeys(source.entry.path for source in self._linked)
        origins = [path for path in linked if path not in self._said]
        for origin in origins:
            self._learn_above(origin)
        said = {**attributes.of(origins, self._attributing), **self._said} if origins else self._said
        found = ((source.path, said.get(source.entry.path, ())) for source in self.sources) if said else ()
        asked = (
            (path, tuple(one for one in has if one.partition("=")[0] in attributes.CONVERSIONS)) for path, has in found
        )
        return tuple(attributes.Unconverted(path, has) for path, has in asked if has)


def _placed(path: str, entry: Entry) -> Source:
    """``entry`` at ``path`` of the tree."""
    return Source(path, entry.mode == EXECUTABLE, entry)


def _with_folders(listing: Sources, root: str) -> Iterator[str]:
    """The paths of what is listed, and of the folders on the way to each from ``root``, which end in a slash."""
    seen = {root}
    for source in listing:
        path = source.entry.path
        yield path
        folder = path.rpartition("/")[0]
        while len(folder) > len(root) and folder not in seen:
            seen.add(folder)
            yield folder + "/"
            folder = folder.rpartition("/")[0]


def _holds(one: str, other: str) -> bool:
    """Whether the folders of the tree ``one`` and ``other`` are the same, or one is in the other."""
    first, second = (f"{place}/" if place else "" for place in (one, other))
    return first.startswith(second) or second.startswith(first)
