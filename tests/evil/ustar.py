"""Tar members as somebody writes them who keeps to no rule: every field of a header is bytes, put there as they are.

Nothing of `dagferry` is used: what a header has to be is said by its own code (`plaintar`), and not repeated here.
"""

from __future__ import annotations

BLOCK = 512
END = bytes(2 * BLOCK)


def pad(body: bytes) -> bytes:
    """``body``, filled up with zeros to whole blocks."""
    return body + bytes(-len(body) % BLOCK)


def octal(number: int, width: int) -> bytes:
    """A number as POSIX has it: octal digits and a NUL."""
    return b"%0*o\0" % (width - 1, number)


def base256(number: int, width: int) -> bytes:
    """A number as GNU has it where octal digits do not do, or where somebody wants it that way."""
    sign = b"\xff" if number < 0 else b"\x80"
    return sign + number.to_bytes(width - 1, "big", signed=True)


def header(
    name: bytes = b"a.py",
    *,
    mode: bytes = b"0000644\0",
    uid: bytes = b"0000000\0",
    gid: bytes = b"0000000\0",
    size: bytes = b"00000000000\0",
    mtime: bytes = b"00000000000\0",
    checksum: bytes | None = None,
    kind: bytes = b"0",
    link: bytes = b"",
    magic: bytes = b"ustar\x0000",
    owner: bytes = b"",
    group: bytes = b"",
    major: bytes = b"0000000\0",
    minor: bytes = b"0000000\0",
    prefix: bytes = b"",
) -> bytes:
    """One header block; the checksum is right where none is given."""
    before = name[:100].ljust(100, b"\0") + mode + uid + gid + size + mtime
    names = owner.ljust(32, b"\0") + group.ljust(32, b"\0")
    after = kind + link[:100].ljust(100, b"\0") + magic + names + major + minor + prefix.ljust(155, b"\0") + bytes(12)
    if checksum is None:
        checksum = b"%06o\0 " % (sum(before) + sum(after) + 8 * ord(" "))
    block = before + checksum + after
    assert len(block) == BLOCK
    return block


def member(name: bytes, body: bytes = b"", **fields: bytes) -> bytes:
    """A header and its body."""
    return header(name, **{"size": octal(len(body), 12), **fields}) + pad(body)


def record(key: bytes, value: bytes) -> bytes:
    """One record of a pax header, with the length that it has."""
    tail = b" " + key + b"=" + value + b"\n"
    length = len(tail)
    while length != len(tail) + len(b"%d" % length):
        length = len(tail) + len(b"%d" % length)
    return b"%d" % length + tail


def pax(*records: bytes, kind: bytes = b"x", name: bytes = b"PaxHeaders/0") -> bytes:
    """A pax header of these records."""
    return member(name, b"".join(records), kind=kind)
