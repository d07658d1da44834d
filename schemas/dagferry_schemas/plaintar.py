"""The canonical plain tar of a tree, as a pure function of (path, size, x bit) and the files' bytes.

Files in the order of their path's bytes, regular files only. A ustar header: uid, gid, mtime and device numbers zero,
no names, mode 0644 or 0755, link name and prefix empty. A pax header before it if and only if the path is not ASCII or
longer than 100 bytes: its member is called ``PaxHeaders/<t>``, its body is the one record ``path``, and the ustar
header after it carries the name ``<t>``, where t is the first 12 hex digits of the path's SHA-256. Bodies are padded
with zeros to 512 bytes; two zero blocks end the archive. POSIX.1-2017, pax, "ustar Interchange Format".
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from .tree import TreeFile

if TYPE_CHECKING:
    from .tree import Tree

BLOCK: Final = 512
END: Final = bytes(2 * BLOCK)
_NAME_BYTES: Final = 100
_OWNER: Final = b"\0" + b"0000000\0" * 2
_TIME: Final = b"\0" + b"00000000000\0"
_REST: Final = bytes(100) + b"ustar\x0000" + bytes(64) + b"0000000\0" * 2 + bytes(167)
_SUM: Final = sum(_OWNER) + sum(_TIME) + sum(_REST) + 8 * ord(" ")
"""Of what is the same in all headers, with the checksum's own field as spaces."""


def header(file: TreeFile) -> bytes:
    """All that stands before the body of ``file``: its ustar header, after a pax header where the path needs one."""
    path = file.path.encode()
    mode = b"0000755" if file.executable else b"0000644"
    if _is_plain(file.path):
        return _ustar(path, mode, file.size, b"0")
    short = hashlib.sha256(path).hexdigest()[:12].encode()
    record = _pax_record(path)
    return (
        _ustar(b"PaxHeaders/" + short, b"0000644", len(record), b"x")
        + record
        + padding(len(record))
        + _ustar(short, mode, file.size, b"0")
    )


def padding(size: int) -> bytes:
    """The zeros after a body of ``size`` bytes."""
    return bytes(-size % BLOCK)


def plain_size(tree: Tree) -> int:
    """The length of the canonical plain tar of ``tree``, in bytes."""
    return sum(member_size(file.path, file.size) for file in tree.files) + len(END)


def member_size(path: str, size: int) -> int:
    """The length of what one file takes of the tar: header, body and padding, in bytes."""
    before = BLOCK if _is_plain(path) else len(header(TreeFile(path, False, size, "")))
    return before + size + -size % BLOCK


def _is_plain(path: str) -> bool:
    """Whether a ustar header alone can carry ``path``."""
    return path.isascii() and len(path) <= _NAME_BYTES


def _pax_record(path: bytes) -> bytes:
    tail = b" path=" + path + b"\n"
    length = len(tail)
    while length != len(tail) + len(str(length)):
        length = len(tail) + len(str(length))
    return str(length).encode() + tail


def _ustar(name: bytes, mode: bytes, size: int, kind: bytes) -> bytes:
    digits = b"%011o" % size
    checksum = _SUM + sum(name) + sum(mode) + sum(digits) + ord(kind)
    return b"".join((name.ljust(_NAME_BYTES, b"\0"), mode, _OWNER, digits, _TIME, b"%06o\0 " % checksum, kind, _REST))
