"""A tree by its folders: for changes that touch few of its files, where a list of all of them would take too long.

Each folder is kept as the lines that its digest is of (`tree`). A change parses and hashes the folders on its way and
shares all others with the tree before. What makes paths a tree (`paths`) is checked for what is new, where it is new.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from . import compression, paths
from .errors import Malformed
from .tree import (
    LINES_AT_ONCE,
    MAX_FILE_SIZE,
    MAX_FILES,
    FileList,
    FolderDigests,
    Tree,
    TreeFile,
    folder_digest,
    list_line,
)

if TYPE_CHECKING:
    import io
    from collections.abc import Iterable, Iterator, Mapping

    Changes = Mapping[str, TreeFile | None]

_FILE: Final = "f"


class TreeIndex:
    """The files of a tree, by folder. ``digest`` is the tree's, ``size`` the sum of its files, in bytes."""

    def __init__(self, folders: Mapping[str, str], count: int, size: int) -> None:
        self._folders = folders
        self._count = count
        self.size = size
        self.digest = "sha256:" + folder_digest(folders[""])

    @classmethod
    def of(cls, files: Iterable[TreeFile]) -> TreeIndex:
        """The index of a tree's files, in their order."""
        builder = IndexBuilder()
        for file in files:
            builder.add(file)
        return builder.finish()

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[TreeFile]:
        return self._below("")

    def _below(self, folder: str) -> Iterator[TreeFile]:
        """The files below a folder, in the order of a tree: that of whole paths."""
        above = folder + "/" if folder else ""
        entries = self._entries(folder)
        for name in sorted(entries, key=lambda name: name if entries[name][0] == _FILE else name + "/"):
            if entries[name][0] == _FILE:
                yield _file_of(above + name, entries[name])
            else:
                yield from self._below(above + name)

    def _entries(self, folder: str) -> dict[str, str]:
        """The lines of a folder, without their ends, by the name of the entry; none if there is no such folder."""
        return {line.split(" ", 4)[4]: line for line in self._folders.get(folder, "").split("\n")[:-1]}

    @property
    def folders(self) -> Iterable[str]:
        """The paths of all folders, the top one (empty) among them, in no order."""
        return self._folders.keys()

    def find(self, path: str) -> TreeFile | None:
        """The file at ``path``, or None."""
        parent, _, name = path.rpartition("/")
        wanted = f" {name}\n"
        lines = self._folders.get(parent, "")
        end = -1
        while (end := lines.find(wanted, end + 1)) >= 0:
            line = lines[lines.rfind("\n", 0, end) + 1 : end + len(wanted) - 1]
            if line[0] == _FILE and line.split(" ", 4)[4] == name:
                return _file_of(path, line)
        return None

    def tree(self) -> Tree:
        """The tree, whose list is made anew for each look; in memory as long as this is."""
        return Tree(_IndexedList(self), self.digest, self.size)

    def edited(self, changes: Changes) -> TreeIndex:
        """The tree with other files at some paths, and without those that are None.

        Raises `Malformed` if that is no tree, or if a change changes nothing.
        """
        edit = _Edit(self, self._folders)
        for path in sorted(changes, key=lambda path: changes[path] is not None):  # a file may follow on a folder
            edit.take(path, changes[path])
        folders = edit.finish()
        count = self._count + edit.added
        if not count:
            raise Malformed("this cannot be a tree: there are no files in it")
        if count > MAX_FILES:
            raise Malformed(f"this cannot be a tree: it has {count} files, at most {MAX_FILES} are allowed")
        return TreeIndex(folders, count, self.size + edit.grown)


class IndexBuilder:
    """Makes the index of files that come one after the other, in the order of a tree, which they have to be."""

    def __init__(self) -> None:
        self._folders: dict[str, str] = {}
        self._digests = FolderDigests(self._folders.__setitem__)
        self._count = 0
        self._size = 0

    def add(self, file: TreeFile) -> None:
        """Take the next file."""
        self._digests.add(file)
        self._count += 1
        self._size += file.size

    def finish(self) -> TreeIndex:
        """The index."""
        self._digests.finish()
        return TreeIndex(self._folders, self._count, self._size)


class _Edit:
    """One change of an index: the folders that it touches."""

    def __init__(self, index: TreeIndex, folders: Mapping[str, str]) -> None:
        self.added = 0
        self.grown = 0
        self._index = index
        self._folders = dict(folders)
        self._touched: dict[str, dict[str, str]] = {}
        self._named: set[str] = set()
        """The touched folders in which there are new names."""

    def take(self, path: str, file: TreeFile | None) -> None:
        problem = paths.problem_of(path)
        if problem is not None:
            raise Malformed(f"this cannot be a tree: {path!r} {problem}")
        if file is not None and (file.path != path or file.size > MAX_FILE_SIZE):
            raise Malformed(f"this cannot be a tree: {path!r} has another name, or 8 GiB or more")
        parent, _, name = path.rpartition("/")
        entries = self._open(parent)
        known = _file_of(path, entries[name]) if entries.get(name, " ")[0] == _FILE else None
        if file == known:
            raise Malformed(f"{path!r} is no change: it is like that")
        self.added += (file is not None) - (known is not None)
        self.grown += (file.size if file else 0) - (known.size if known else 0)
        if file is None:
            del entries[name]
            return
        if name not in entries:
            self._named.add(parent)
        elif known is None and not self._is_gone(path):
            raise Malformed(f"this cannot be a tree: {path!r} is both a file and a folder")
        entries[name] = f"f {'x' if file.executable else '-'} {file.size} {file.sha256} {name}"

    def _is_gone(self, folder: str) -> bool:
        """Whether all that was below a folder has been taken away."""
        entries = self._touched.get(folder)
        if entries is None:
            return False
        return all(line[0] != _FILE and self._is_gone(f"{folder}/{name}") for name, line in entries.items())

    def _open(self, folder: str) -> dict[str, str]:
        """The entries of a folder that is going to change, and so all above it."""
        above = folder
        while above not in self._touched:
            self._touched[above] = self._index._entries(above)
            above = above.rpartition("/")[0]
        return self._touched[folder]

    def finish(self) -> dict[str, str]:
        """The lines of all folders now."""
        # Whatever is below a folder comes before it.
        for folder in sorted(self._touched, key=lambda folder: (folder.count("/"), folder != ""), reverse=True):
            self._close(folder, self._touched[folder])
        return self._folders

    def _close(self, folder: str, entries: dict[str, str]) -> None:
        parent, _, name = folder.rpartition("/")
        above = self._touched[parent]
        if not entries:
            self._folders.pop(folder, None)
            if folder and above.get(name, _FILE)[0] != _FILE:
                del above[name]
            return
        if folder in self._named:
            _check_names(folder, entries)
        lines = "".join(f"{entries[one]}\n" for one in sorted(entries))
        self._folders[folder] = lines
        if not folder:
            return
        if name not in above:
            self._named.add(parent)
        elif above[name][0] == _FILE:
            raise Malformed(f"this cannot be a tree: {folder!r} is both a file and a folder")
        size = sum(int(line.split(" ", 3)[2]) for line in entries.values())
        above[name] = f"d - {size} {folder_digest(lines)} {name}"


def _check_names(folder: str, entries: Mapping[str, str]) -> None:
    problems = paths.find_problems(entries)
    if problems:
        raise Malformed(f"this cannot be a tree: in folder {folder!r}: " + "; ".join(problems))


def _file_of(path: str, line: str) -> TreeFile:
    _, executable, size, sha256, _ = line.split(" ", 4)
    return TreeFile(path, executable == "x", int(size), sha256)


class _IndexedList(FileList):
    """A file list that is made of an index whenever it is looked at."""

    def __init__(self, index: TreeIndex) -> None:
        super().__init__(partial(_nothing, index), len(index))
        self._index = index

    @property
    def stored(self) -> bytes:
        """The list as it is stored."""
        compressor = compression.Compressor()
        for chunk in self.plain():
            compressor.add(chunk)
        return compressor.finish()

    def __iter__(self) -> Iterator[TreeFile]:
        return iter(self._index)

    def plain(self) -> Iterator[bytes]:
        """The plain bytes of the list, in chunks."""
        lines: list[str] = []
        for file in self._index:
            lines.append(list_line(file))
            if len(lines) >= LINES_AT_ONCE:
                yield "".join(lines).encode()
                lines.clear()
        yield "".join(lines).encode()


def _nothing(index: TreeIndex) -> io.BytesIO:
    raise AssertionError(f"the list of {index.digest} is nowhere")
