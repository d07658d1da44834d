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
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from . import paths
from .errors import Malformed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

TREE_PREFIX: Final = b"dagferry tree 1\n"
MAX_FILE_SIZE: Final = 8 * 1024**3 - 1
"""Bytes; ustar has eleven octal digits for a size."""
MAX_FILES: Final = 1_000_000
"""Files of one tree at the most."""
MAX_LINE: Final = 4 + 1 + 10 + 1 + 64 + 1 + paths.MAX_PATH_BYTES + 1
"""Bytes of the longest line of a file list."""

_LINE = re.compile(r"(0644|0755) (0|[1-9][0-9]{0,9}) ([0-9a-f]{64}) ([^\n]+)")


@dataclass(frozen=True, slots=True)
class TreeFile:
    """One file of a tree. ``size`` in bytes, ``sha256`` as 64 hex digits."""

    path: str
    executable: bool
    size: int
    sha256: str


@dataclass(frozen=True)
class Tree:
    """The files of a tree in canonical order, and its digest. Made by `make_tree`, which checks both."""

    files: tuple[TreeFile, ...]
    digest: str

    @property
    def size(self) -> int:
        """The sum of the file sizes, in bytes."""
        return sum(file.size for file in self.files)


_Entry: TypeAlias = "TreeFile | dict[str, _Entry]"


def make_tree(files: Iterable[TreeFile]) -> Tree:
    """The tree of ``files``, in any order. Raises `Malformed` with every problem if they cannot be one tree."""
    ordered = tuple(sorted(files, key=lambda file: file.path.encode("utf-8", "surrogatepass")))
    problems = paths.find_problems(file.path for file in ordered)
    problems += [f"{file.path!r} has 8 GiB or more" for file in ordered if file.size > MAX_FILE_SIZE]
    if not ordered:
        problems.append("there are no files in it")
    if len(ordered) > MAX_FILES:
        problems.append(f"it has {len(ordered)} files, at most {MAX_FILES} are allowed")
    if problems:
        raise Malformed("this cannot be a tree: " + "; ".join(problems))
    return Tree(ordered, tree_digest(ordered))


def encode_files(tree: Tree) -> bytes:
    """The file list of ``tree``."""
    return "".join(
        f"{'0755' if file.executable else '0644'} {file.size} {file.sha256} {file.path}\n" for file in tree.files
    ).encode()


def decode_files(raw: bytes) -> Tree:
    """The tree that the file list ``raw`` describes. Raises `Malformed` with the first bad line, or every bad path."""
    try:
        lines = raw.decode("utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise Malformed(f"file list: not UTF-8 at byte {error.start}") from None
    if lines.pop() != "":
        raise Malformed("file list: the last line has no end")
    tree = make_tree(_decode_line(number, line) for number, line in enumerate(lines, 1))
    if encode_files(tree) != raw:
        raise Malformed("file list: the lines are not in the order of their paths")
    return tree


def _decode_line(number: int, line: str) -> TreeFile:
    match = _LINE.fullmatch(line)
    if match is None:
        raise Malformed(f"file list, line {number}: not '<mode> <size> <sha256> <path>': {line[:80]!r}")
    mode, size, sha256, path = match.groups()
    return TreeFile(path, mode == "0755", int(size), sha256)


def tree_digest(files: Sequence[TreeFile]) -> str:
    """The digest of the tree of ``files`` (valid, in any order), as ``sha256:<hex>``."""
    top: dict[str, _Entry] = {}
    folders: dict[str, dict[str, _Entry]] = {"": top}
    for file in files:
        folder, _, name = file.path.rpartition("/")
        _folder(folders, folder)[name] = file
    return "sha256:" + _hash_folder(top)[1]


def _folder(folders: dict[str, dict[str, _Entry]], path: str) -> dict[str, _Entry]:
    found = folders.get(path)
    if found is None:
        parent, _, name = path.rpartition("/")
        found = folders[path] = {}
        _folder(folders, parent)[name] = found
    return found


def _hash_folder(entries: dict[str, _Entry]) -> tuple[int, str]:
    total = 0
    hashed = hashlib.sha256(TREE_PREFIX)
    for name, entry in sorted((name.encode(), entry) for name, entry in entries.items()):
        if isinstance(entry, TreeFile):
            kind, size, digest = ("f x" if entry.executable else "f -"), entry.size, entry.sha256
        else:
            kind = "d -"
            size, digest = _hash_folder(entry)
        hashed.update(f"{kind} {size} {digest} ".encode() + name + b"\n")
        total += size
    return total, hashed.hexdigest()
