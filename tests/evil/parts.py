"""What a publisher puts into a store, made without a single check: a release that is good, or anything but.

`Parts.pins` are those that fit the bytes, so a release of evil parts is *validly pinned*: all digests and sizes agree.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dagferry_schemas import plaintar
from dagferry_schemas.compression import compress
from dagferry_schemas.names import digest_of
from dagferry_schemas.pins import Content, FilesPin, TarballPin
from dagferry_schemas.tree import TreeFile, tree_digest

from . import ustar

Edit = Callable[[dict[str, Any]], None]

LIVE: Mapping[str, bytes] = {"a.py": b"a = 0\n", "dags/b.py": b"b" * 700, "old.py": b"old = 1\n"}
"""What is live before: it shares a file with the next release."""
FILES: Mapping[str, bytes] = {
    "a.py": b"a = 1\n",
    "dags/b.py": b"b" * 700,
    "dags/deep/er/c.py": b"c = 1\n",
    "dags/naïve.py": b"u = 1\n",
    "run.sh": b"#!/bin/sh\n",
}
"""The release that somebody tampers with."""
NEXT: Mapping[str, bytes] = {**FILES, "next.py": b"n = 1\n"}
"""The good release that comes after the attack."""
EXECUTABLE = frozenset({"run.sh"})


@dataclass(frozen=True)
class Parts:
    """A release as it is stored, and what its pins say besides digests and sizes.

    ``edit`` changes the record's payload as JSON: for pins that no `Content` can express.
    """

    tarball: bytes
    listed: bytes
    tree: str
    plain_size: int
    count: int
    edit: Edit | None = None

    @property
    def pins(self) -> Content:
        """The pins that fit."""
        return Content(
            self.tree,
            TarballPin(digest_of(self.tarball), len(self.tarball), self.plain_size),
            FilesPin(digest_of(self.listed), len(self.listed), self.count),
        )


def tree_file(path: str, body: bytes, *, executable: bool = False) -> TreeFile:
    """The line of a file list about this file."""
    return TreeFile(path, executable, len(body), hashlib.sha256(body).hexdigest())


def line(file: TreeFile) -> bytes:
    """The line of a file list, whatever the path is."""
    mode = "0755" if file.executable else "0644"
    return f"{mode} {file.size} {file.sha256} {file.path}\n".encode("utf-8", "surrogateescape")


def plain_of(files: Iterable[tuple[TreeFile, bytes]]) -> bytes:
    """The plain tar of the files, in the order that they come in, without an end."""
    return b"".join(plaintar.header(file) + body + plaintar.padding(len(body)) for file, body in files)


def release(files: Mapping[str, bytes], executable: frozenset[str] = EXECUTABLE) -> Parts:
    """The release of ``files``, consistent in all its parts; no path and no size is looked at."""
    made = [(tree_file(path, body, executable=path in executable), body) for path, body in sorted(files.items())]
    return consistent(made)


def consistent(files: Iterable[tuple[TreeFile, bytes]]) -> Parts:
    """As `release`, of files that may contradict each other, in the order that they come in."""
    made = list(files)
    plain = plain_of(made) + ustar.END
    listed = b"".join(line(file) for file, _ in made)
    return Parts(compress(plain), compress(listed), tree_digest([file for file, _ in made]), len(plain), len(made))


GOOD = release(FILES)
"""The parts of the release that somebody tampers with."""
PLAIN = plain_of((tree_file(path, FILES[path], executable=path in EXECUTABLE), FILES[path]) for path in sorted(FILES))
"""Its plain tar, without an end."""
LIST = b"".join(line(tree_file(path, FILES[path], executable=path in EXECUTABLE)) for path in sorted(FILES))
"""Its file list."""
