"""A delta: what one tree has otherwise than another one, small enough to be fetched in place of the whole.

Stored, it is four bytes with the length of the first frame (big-endian), that zstd frame, and further ones. The first
is text, with lines in the order of the paths' bytes::

    dagferry delta 1
    from <64 hex digits>                    the tree that is changed
    to <64 hex digits>                      and the tree that comes of it
    frames <length> <length> …              stored bytes of each frame that follows; no number if there are none
    - <path>                                a file that goes
    <mode> <size> <sha256> <path>           a file that is new or other, as in a file list

The other frames are the bytes of the files that are new or other, `groups` of them. The dictionary of a frame (raw
content) is what the tree before has at the same paths: what did not change in a file costs nothing.

Nothing depends on a delta: who cannot use one takes the whole. What comes of it is verified like the whole, by the
digest of the tree and of each file.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import zstandard

from . import compression
from .errors import Corrupt, Malformed
from .names import hex_of
from .tree import MAX_LINE, decode_line, list_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from .tree import TreeFile
    from .tree_index import TreeIndex

    Read = Callable[[TreeFile], bytes]
    """Gives the bytes of a file."""

FIRST_LINE: Final = "dagferry delta 1"
LEVEL: Final = 12
MAX_CHANGES: Final = 10_000
"""Files that a delta changes at the most."""
MAX_PLAIN: Final = 32 * 1024 * 1024
"""Bytes of all files that are new or other, at the most."""
MAX_STORED: Final = MAX_PLAIN + MAX_CHANGES * MAX_LINE
"""Bytes of a stored delta at the most."""
GROUP: Final = 1024 * 1024
"""Bytes of old and new files of one frame, unless a single file has more: with more, less is found again."""
_LENGTH: Final = 4
_MAX_TEXT: Final = (MAX_CHANGES + 4) * MAX_LINE + MAX_CHANGES * 10


@dataclass(frozen=True)
class Delta:
    """What a stored delta says: None stands for a file that goes. ``frames``: the bytes of the others, compressed."""

    from_tree: str
    to_tree: str
    changes: Mapping[str, TreeFile | None]
    frames: tuple[bytes, ...]

    def contents(self, before: TreeIndex, read: Read) -> Iterator[tuple[TreeFile, bytes]]:
        """Each file that is new or other, with its bytes, verified; ``read`` gives what ``before`` has at its path.

        Raises `Corrupt`, also if what was read is not what it must be.
        """
        found = groups(self.changes, before)
        if len(found) != len(self.frames):
            raise Corrupt(f"delta to tree {self.to_tree}: {len(self.frames)} frames instead of {len(found)}")
        for group, frame in zip(found, self.frames, strict=True):
            yield from _split(group, _decompress(frame, group, read, self.to_tree))


@dataclass(frozen=True)
class Group:
    """Files that are compressed together, and those of the tree before that are their dictionary."""

    files: tuple[TreeFile, ...]
    before: tuple[TreeFile, ...]

    @property
    def size(self) -> int:
        """The bytes of its files."""
        return sum(file.size for file in self.files)


def groups(changes: Mapping[str, TreeFile | None], before: TreeIndex) -> list[Group]:
    """The files that are new or other, as they are compressed together: up to `GROUP` bytes of old and new ones.

    A file for which old and new bytes do not fit into a window is compressed by itself.
    """
    found: list[Group] = []
    files: list[TreeFile] = []
    dictionary: list[TreeFile] = []
    total = 0
    for path in sorted(changes):
        file = changes[path]
        if file is None:
            continue
        old = before.find(path)
        if old is not None and file.size + old.size > compression.MAX_WINDOW:
            old = None
        size = file.size + (old.size if old else 0)
        if files and total + size > GROUP:
            found.append(Group(tuple(files), tuple(dictionary)))
            files, dictionary, total = [], [], 0
        files.append(file)
        dictionary += [old] if old else []
        total += size
    if files:
        found.append(Group(tuple(files), tuple(dictionary)))
    return found


def compare(old: Iterable[TreeFile], new: Iterable[TreeFile]) -> dict[str, TreeFile | None]:
    """What ``new`` has otherwise than ``old``: both in the order of a tree. None stands for a file that goes."""
    changes: dict[str, TreeFile | None] = {}
    rest = iter(old)
    before = next(rest, None)
    for file in new:
        while before is not None and before.path < file.path:
            changes[before.path] = None
            before = next(rest, None)
        if before is None or before.path != file.path:
            changes[file.path] = file
            continue
        if before != file:
            changes[file.path] = file
        before = next(rest, None)
    while before is not None:
        changes[before.path] = None
        before = next(rest, None)
    return changes


def is_small(changes: Mapping[str, TreeFile | None]) -> bool:
    """Whether a delta may hold these changes."""
    return len(changes) <= MAX_CHANGES and sum(file.size for file in changes.values() if file) <= MAX_PLAIN


def encode(before: TreeIndex, after: TreeIndex, read_old: Read, read_new: Read) -> bytes:
    """The stored delta from a tree to another; the changes have to be `is_small`."""
    changes = compare(before, after)
    frames = [_compress(group, read_old, read_new) for group in groups(changes, before)]
    lines = [
        FIRST_LINE,
        f"from {hex_of(before.digest)}",
        f"to {hex_of(after.digest)}",
        " ".join(["frames", *(str(len(frame)) for frame in frames)]),
    ]
    text = "".join(f"{line}\n" for line in lines)
    for path in sorted(changes):
        file = changes[path]
        text += f"- {path}\n" if file is None else list_line(file)
    first = zstandard.ZstdCompressor(level=LEVEL).compress(text.encode())
    return len(first).to_bytes(_LENGTH, "big") + first + b"".join(frames)


def decode(raw: bytes, what: str) -> Delta:
    """The delta in ``raw``. Raises `Corrupt`, `Malformed`."""
    length = int.from_bytes(raw[:_LENGTH], "big")
    if not 0 < length <= len(raw) - _LENGTH:
        raise Corrupt(f"{what}: it ends inside its first frame", code="truncated")
    text = compression.decompress(raw[_LENGTH : _LENGTH + length], what, limit=_MAX_TEXT)
    lines = text.split(b"\n")
    if len(lines) < 5 or lines.pop() != b"" or lines[0] != FIRST_LINE.encode():
        raise Malformed(f"{what}: it does not begin as a delta does, or its last line has no end")
    from_tree, to_tree = (_tree(line, word, what) for line, word in zip(lines[1:3], ("from", "to"), strict=True))
    lengths = _lengths(lines[3], what)
    if sum(lengths) != len(raw) - _LENGTH - length:
        raise Corrupt(f"{what}: its frames are not as long as it says", code="truncated")
    changes = dict(_changes(lines[4:], what))
    if not changes or not is_small(changes):
        raise Malformed(f"{what}: it changes nothing, or more than a delta may")
    frames, at = [], _LENGTH + length
    for one in lengths:
        frames.append(raw[at : at + one])
        at += one
    return Delta(from_tree, to_tree, changes, tuple(frames))


def _tree(line: bytes, word: str, what: str) -> str:
    found, _, digits = line.decode("ascii", "replace").partition(" ")
    if found != word or len(digits) != 64 or set(digits) - set("0123456789abcdef"):
        raise Malformed(f"{what}: a line {word!r} with a tree is missing")
    return f"sha256:{digits}"


def _lengths(line: bytes, what: str) -> list[int]:
    word, *numbers = line.split(b" ")
    if word != b"frames" or len(numbers) > MAX_CHANGES or not all(one.isdigit() and len(one) < 10 for one in numbers):
        raise Malformed(f"{what}: the line 'frames' is missing, or has something else than lengths")
    return [int(one) for one in numbers]


def _changes(lines: list[bytes], what: str) -> Iterator[tuple[str, TreeFile | None]]:
    if len(lines) > MAX_CHANGES:
        raise Malformed(f"{what}: more than {MAX_CHANGES} changes")
    last = ""
    for number, line in enumerate(lines, 5):
        if line.startswith(b"- "):
            file, path = None, _path(number, line, what)
        else:
            file = decode_line(number, line)
            path = file.path
        if path <= last:
            raise Malformed(f"{what}, line {number}: the lines are not in the order of their paths")
        last = path
        yield path, file


def _path(number: int, line: bytes, what: str) -> str:
    try:
        return line[2:].decode()
    except UnicodeDecodeError:
        raise Malformed(f"{what}, line {number}: not UTF-8") from None


def _dictionary(group: Group, read: Read) -> zstandard.ZstdCompressionDict | None:
    raw = b"".join(read(file) for file in group.before)
    return zstandard.ZstdCompressionDict(raw, dict_type=zstandard.DICT_TYPE_RAWCONTENT) if len(raw) >= 8 else None


def _compress(group: Group, read_old: Read, read_new: Read) -> bytes:
    plain, dictionary = b"".join(map(read_new, group.files)), _dictionary(group, read_old)
    reach = (len(plain) + sum(file.size for file in group.before)).bit_length()
    window = min(max(reach, zstandard.WINDOWLOG_MIN), compression.MAX_WINDOW.bit_length() - 1)
    settings = zstandard.ZstdCompressionParameters.from_level(LEVEL, window_log=window)
    return zstandard.ZstdCompressor(dict_data=dictionary, compression_params=settings).compress(plain)


def _decompress(frame: bytes, group: Group, read: Read, tree: str) -> bytes:
    what = f"delta to tree {tree}"
    try:
        announced = zstandard.frame_content_size(frame)
        if announced != group.size:
            raise Corrupt(f"{what}: a frame of {announced} bytes instead of {group.size}", code="wrong_size")
        decompressor = zstandard.ZstdDecompressor(dict_data=_dictionary(group, read))
        plain = decompressor.decompress(frame, max_output_size=group.size, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise Corrupt(f"{what}: a frame that cannot be read: {error}") from None
    return plain


def _split(group: Group, plain: bytes) -> Iterator[tuple[TreeFile, bytes]]:
    at = 0
    for file in group.files:
        content = plain[at : at + file.size]
        at += file.size
        if hashlib.sha256(content).hexdigest() != file.sha256:
            raise Corrupt(f"{file.path!r} of a delta is not what it must be", code="wrong_digest")
        yield file, content
