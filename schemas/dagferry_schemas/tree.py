"""A tree: the content that Airflow reads, as paths, x bits and bytes; its file list and its digest.

The file list is text, one line a file, in the order of the path's bytes (the order of the tarball)::

    <mode> <size> <sha256> <path>\\n        mode 0644 or 0755, size in bytes without leading zeros, 64 hex digits

The tree digest is a Merkle tree of SHA-256: a folder's digest is that of ``dagferry tree 1\\n`` followed by one line
per entry, in the order of the name's bytes::

    <f|d> <x|-> <size> <digest> <name>\\n   a folder's size is the sum of the files below it; only files can be x

The digest of the top folder is the identity of the tree. It depends on nothing else: not on the commit, the clock,
the compression or the machine. Changing one file re-hashes the file's folders only.
"""

from __future__ import annotations

import hashlib
import io
import re
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, BinaryIO, Final, NamedTuple

from . import compression, paths
from .errors import Corrupt, Malformed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    Opener = Callable[[], BinaryIO]

TREE_PREFIX: Final = b"dagferry tree 1\n"
MAX_FILE_SIZE: Final = 8 * 1024**3 - 1
"""Bytes; ustar has eleven octal digits for a size."""
MAX_FILES: Final = 1_000_000
"""Files of one tree at the most."""
LINES: Final = 32 * 1024
"""Bytes of a file list that are decoded at once."""
LINES_AT_ONCE: Final = 256
"""Lines of a file list that are compressed at once."""
MOST_PROBLEMS: Final = 10
"""A reader of a file list gives up after so many bad paths: an error is for people, and goes into logs and replies."""
MAX_LINE: Final = 4 + 1 + 10 + 1 + 64 + 1 + paths.MAX_PATH_BYTES + 1
"""Bytes of the longest line of a file list."""
MAX_LIST: Final = MAX_FILES * MAX_LINE
"""Bytes of a file list at the most, decompressed."""

_LINE = re.compile(r"(0644|0755) (0|[1-9][0-9]{0,9}) ([0-9a-f]{64}) ([^\n]+)")


class TreeFile(NamedTuple):
    """One file of a tree. ``size`` in bytes, ``sha256`` as 64 hex digits."""

    path: str
    executable: bool
    size: int
    sha256: str


class FileList:
    """The files of a tree in canonical order, kept compressed as they are stored and decoded anew for each look.

    So a tree in memory costs some 40 bytes a file (a digest cannot be compressed) and not some 400, and one whose list
    lies on a disk costs nothing. ``opener`` gives the stored list from its beginning each time it is asked.
    """

    def __init__(self, opener: Opener, count: int) -> None:
        self._opener = opener
        self._count = count

    @property
    def stored(self) -> bytes:
        """The list as it is stored."""
        with self._opener() as source:
            return source.read()

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[TreeFile]:
        for line in _lines(self.plain()):
            mode, size, sha256, path = line.decode().split(" ", 3)
            yield TreeFile(path, mode == "0755", int(size), sha256)

    def plain(self) -> Iterator[bytes]:
        """The plain bytes of the list, in chunks."""
        with self._opener() as source:
            yield from compression.plain_chunks(source, "file list", size=LINES)


@dataclass(frozen=True)
class Tree:
    """The files of a tree in canonical order, and its digest. Made by `TreeWriter` and `read_files`, which check both.

    ``size`` is the sum of the file sizes, in bytes. Trees of one digest are equal, however their lists are compressed.
    """

    files: FileList = field(compare=False)
    digest: str
    size: int


class TreeWriter:
    """Makes a tree of files that come one after the other, in the order of their paths' bytes.

    ``checked``: the caller took every path through `paths.PathCheck`, and there was no problem.
    """

    def __init__(self, *, checked: bool = False) -> None:
        self._check = _TreeCheck(None if checked else paths.PathCheck())
        self._list = compression.Compressor()
        self._lines: list[str] = []

    def add(self, *files: TreeFile) -> None:
        """Take the next files. Raises `ValueError` if one is out of order."""
        check, line = self._check.add, self._lines.append
        for file in files:
            if check(file):
                line(list_line(file))
        if len(self._lines) >= LINES_AT_ONCE:
            self._flush()

    def _flush(self) -> None:
        self._list.add("".join(self._lines).encode())
        self._lines.clear()

    def finish(self) -> Tree:
        """The tree. Raises `Malformed` with every problem if the files cannot be one."""
        self._flush()
        return self._check.tree(partial(io.BytesIO, self._list.finish()))


def make_tree(files: Iterable[TreeFile]) -> Tree:
    """The tree of ``files``, in any order. Raises `Malformed` with every problem if they cannot be one tree."""
    writer = TreeWriter()
    for file in sorted(files, key=lambda file: file.path):
        writer.add(file)
    return writer.finish()


def encode_files(tree: Tree) -> bytes:
    """The file list of ``tree``."""
    return b"".join(tree.files.plain())


def decode_files(raw: bytes) -> Tree:
    """The tree that the file list ``raw`` describes. Raises `Malformed` with the first bad line, or the bad paths."""
    return _read([raw], partial(io.BytesIO, compression.compress(raw)))


def read_files(opener: Opener, what: str, *, limit: int, most: int = MAX_FILES) -> Tree:
    """The tree of a stored list of at most ``limit`` plain bytes and ``most`` files. Raises `Corrupt`, `Malformed`.

    The list is read now, and again whenever the files are looked at: what ``opener`` opens has to stay what it is.
    """
    with opener() as source:
        return _read(compression.plain_chunks(source, what, limit=limit, size=LINES), opener, most)


def tree_digest(files: Iterable[TreeFile]) -> str:
    """The digest of the tree of ``files`` (valid, in any order), as ``sha256:<hex>``."""
    folders = FolderDigests()
    for file in sorted(files, key=lambda file: file.path):
        folders.add(file)
    return folders.finish()


def _read(plain: Iterable[bytes], opener: Opener, most: int = MAX_FILES) -> Tree:
    check = _TreeCheck(paths.PathCheck())
    last = ""
    for number, line in enumerate(_lines(plain), 1):
        if number > most:  # at once: each file of an open folder is kept, and short lines fit into any bound in bytes
            raise Corrupt(f"file list: more than {most} files")
        file = decode_line(number, line)
        if file.path < last:
            raise Malformed(f"file list, line {number}: the lines are not in the order of their paths")
        last = file.path
        check.add(file)
        if check.problems >= MOST_PROBLEMS:
            break
    return check.tree(opener)


def _lines(plain: Iterable[bytes]) -> Iterator[bytes]:
    """The lines without their ends. Raises `Malformed` for a last one without an end, or one that is too long."""
    rest = b""
    for chunk in plain:
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines
        if len(rest) > MAX_LINE:
            raise Malformed(f"file list: a line has more than {MAX_LINE} bytes")
    if rest:
        raise Malformed("file list: the last line has no end")


def decode_line(number: int, line: bytes) -> TreeFile:
    """The file that a line of a list, without its end, describes. Raises `Malformed`."""
    if len(line) >= MAX_LINE:
        raise Malformed(f"file list, line {number}: more than {MAX_LINE} bytes")
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        raise Malformed(f"file list, line {number}: not UTF-8 at byte {error.start}") from None
    match = _LINE.fullmatch(text)
    if match is None:
        raise Malformed(f"file list, line {number}: not '<mode> <size> <sha256> <path>': {text[:80]!r}")
    mode, size, sha256, path = match.groups()
    return TreeFile(path, mode == "0755", int(size), sha256)


def list_line(file: TreeFile) -> str:
    """The line of a file in a file list."""
    return f"{'0755' if file.executable else '0644'} {file.size} {file.sha256} {file.path}\n"


class _TreeCheck:
    """What every tree goes through, file by file: are they one tree, and what is its digest?"""

    def __init__(self, check: paths.PathCheck | None) -> None:
        self._paths = check
        self._folders = FolderDigests()
        self._too_large: list[str] = []
        self._count = 0
        self._size = 0

    def add(self, file: TreeFile) -> bool:
        """Take the next file; whether it can be in a tree by itself."""
        path, _, size, _ = file
        self._count += 1
        self._size += size
        if size > MAX_FILE_SIZE:
            self._too_large.append(f"{path!r} has 8 GiB or more")
        if self._paths is not None and not self._paths.take(path):
            return False
        self._folders.add(file)
        return True

    @property
    def problems(self) -> int:
        """How many reasons there are so far why the files cannot be a tree."""
        return len(self._too_large) + (len(self._paths.problems) if self._paths is not None else 0)

    def tree(self, opener: Opener) -> Tree:
        """The tree, whose stored file list is what ``opener`` opens."""
        problems = [*(self._paths.problems if self._paths is not None else ()), *self._too_large]
        if not self._count:
            problems.append("there are no files in it")
        if self._count > MAX_FILES:
            problems.append(f"it has {self._count} files, at most {MAX_FILES} are allowed")
        if problems:
            raise Malformed("this cannot be a tree: " + "; ".join(problems))
        return Tree(FileList(opener, self._count), self._folders.finish(), self._size)


class _Folder:
    """A folder that is still open: the entries so far, each a name and its line, and the sum of their sizes."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.size = 0
        self.entries: list[tuple[str, str]] = []

    def lines(self) -> str:
        # A folder's own place is not where its files came. The order of characters is that of their UTF-8 bytes.
        self.entries.sort()
        return "".join([line for _, line in self.entries])


def folder_digest(lines: str) -> str:
    """The digest of a folder, of its entries' lines: 64 hex digits."""
    return hashlib.sha256(TREE_PREFIX + lines.encode()).hexdigest()


class FolderDigests:
    """The Merkle tree, in one pass over files in order: a folder is hashed when the first path beyond it comes.

    ``closed`` is told the path of each folder, and its lines.
    """

    def __init__(self, closed: Callable[[str, str], None] | None = None) -> None:
        self._closed = closed
        self._parent = ""
        self._names: list[str] = []
        self._open = [_Folder("")]
        """The top folder, and those of `_names`."""

    def add(self, file: TreeFile) -> None:
        """Take the next file."""
        path, executable, size, sha256 = file
        parent, _, name = path.rpartition("/")
        if parent != self._parent:
            self._enter(parent)
        folder = self._open[-1]
        folder.entries.append((name, f"f {'x' if executable else '-'} {size} {sha256} {name}\n"))
        folder.size += size

    def _enter(self, parent: str) -> None:
        wanted = parent.split("/") if parent else []
        shared = paths.shared_length(self._names, wanted)
        self._leave(shared)
        self._open += map(_Folder, wanted[shared:])
        self._names = wanted
        self._parent = parent

    def _leave(self, depth: int) -> None:
        while len(self._open) > depth + 1:
            folder = self._open.pop()
            above = self._open[-1]
            digest = self._close(folder, "/".join(self._names[: len(self._open)]) if self._closed else "")
            above.entries.append((folder.name, f"d - {folder.size} {digest} {folder.name}\n"))
            above.size += folder.size

    def _close(self, folder: _Folder, path: str) -> str:
        lines = folder.lines()
        if self._closed is not None:
            self._closed(path, lines)
        return folder_digest(lines)

    def finish(self) -> str:
        """The digest of the top folder."""
        self._leave(0)
        return "sha256:" + self._close(self._open[0], "")
