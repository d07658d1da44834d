"""Compressed frames of earlier builds, so that what did not change is neither read nor compressed again.

1. One entry is one group of files (`frames.plan`). Its name is the SHA-256 over all that its bytes depend on: the rules
   by which we cut and write (`FORMAT`), the compression library and level, and path, x bit, size and git object id of
   each file. Nothing in an entry expires: what has another name is another entry.
2. Git's object ids are trusted as names of contents. Git refuses to take a second content under an id that it has, and
   looks for the known collisions of SHA-1. Who can write this folder is trusted as well, as much as who can write the
   clone: both decide what is built. So it must not be shared with jobs that may not publish.
3. An entry is never trusted to be whole: its last 32 bytes are the SHA-256 of its name and the rest. One that is
   damaged, cut off or another's is as good as none, and is replaced. That, and unique temporary names, is why builds
   may share a folder and why nothing is flushed.
4. The folder has a budget. Entries that were not used for the longest time go first; it is gone through only after
   something was added. One build takes no more than the budget for itself, so that a tree that is larger keeps its
   beginning, and does not push itself out; while it runs there may be twice as much.
5. A folder that cannot be read or written costs time, a warning, and nothing else.
"""

from __future__ import annotations

import hashlib
import logging
import os
from contextlib import contextmanager
from itertools import chain
from typing import TYPE_CHECKING, BinaryIO, Final, NamedTuple

import zstandard

from dagferry_schemas import compression
from dagferry_schemas.errors import MachineFault
from dagferry_storage import disk

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from .frames import Group

log = logging.getLogger(__name__)
FORMAT: Final = 2
"""To be raised whenever `frames`, `pack` or the canonical tar make other bytes of the same files."""
LIBRARY: Final = f"zstandard {zstandard.__version__}, zstd {'.'.join(map(str, zstandard.ZSTD_VERSION))}"
BUDGET: Final = 2 * 1024**3
"""Bytes: a hundred builds of a tree of 10 MB that change all of it, and little beside a machine's images."""
PIECE: Final = 1024 * 1024
"""Bytes that are read at once; most entries are smaller."""
DIGEST: Final = 32
"""Bytes of a SHA-256."""


def key_of(group: Group, library: str = LIBRARY) -> str:
    """The name of the entry for ``group``, when ``library`` compresses."""
    end = "and the end" if group.last else ""
    hashed = hashlib.sha256(f"dagferry frames {FORMAT}\0{library}\0{compression.LEVEL}\0{end}\0".encode())
    facts = [
        f"{'x' if executable else '-'} {entry.size} {entry.object_id} {path}\0"
        for path, executable, entry in group.files
    ]
    hashed.update("".join(facts).encode())
    return hashed.hexdigest()


class Kept(NamedTuple):
    """An entry that was found whole: the SHA-256 of each file as hex digits, and its frames, ``size`` bytes of them."""

    digests: tuple[str, ...]
    size: int
    file: BinaryIO
    first: bytes

    def frames(self) -> Iterator[bytes]:
        """The compressed bytes, in pieces."""
        yield self.first
        self.file.seek(len(self.first))
        left = self.size - len(self.first)
        while left:
            chunk = self.file.read(min(PIECE, left))
            if not chunk:  # entries are never changed, so the disk lost it after it was checked
                raise MachineFault("an entry of the frame cache became shorter while it was read", "run it again")
            left -= len(chunk)
            yield chunk


class FrameCache:
    """The entries in one folder; ``folder`` is None where nothing is to be kept. ``budget`` in bytes."""

    def __init__(self, folder: Path | None, budget: int = BUDGET) -> None:
        self._folder = folder
        self._budget = budget
        self._ours = 0
        """Bytes of entries that this build has used or added."""
        self._added = False
        self._writable = folder is not None

    def has(self, key: str) -> bool:
        """Whether there is an entry of that name, whole or not."""
        return self._folder is not None and os.path.isfile(self._folder / key)  # noqa: PTH113 (never raises)

    @contextmanager
    def find(self, key: str, count: int) -> Iterator[Kept | None]:
        """The entry of that name for ``count`` files, or None if there is none that is whole."""
        if self._folder is None:
            yield None
            return
        try:
            file = (self._folder / key).open("rb")
        except OSError:
            yield None
            return
        with file:
            kept = self._checked(file, key, count)
            if kept is not None:
                self._ours += kept.size
                _mark_as_used(file)
            yield kept

    def _checked(self, file: BinaryIO, key: str, count: int) -> Kept | None:
        try:
            size = os.fstat(file.fileno()).st_size - (count + 1) * DIGEST
            if size <= 0:
                return None
            hashed = hashlib.sha256(bytes.fromhex(key))
            first = file.read(min(PIECE, size))
            hashed.update(first)
            left = size - len(first)
            while left and (chunk := file.read(min(PIECE, left))):
                hashed.update(chunk)
                left -= len(chunk)
            digests, seal = file.read(count * DIGEST), file.read()
        except OSError:
            return None
        hashed.update(digests)
        if hashed.digest() != seal:
            return None
        text = digests.hex()
        return Kept(tuple(text[at : at + 2 * DIGEST] for at in range(0, len(text), 2 * DIGEST)), size, file, first)

    def keep(self, key: str, size: int, frames: Iterable[bytes], digests: bytes) -> None:
        """Write an entry: ``size`` bytes of frames, in chunks, and the SHA-256 of each file, one after the other."""
        if self._folder is None or not self._writable or self._ours + size > self._budget:
            return
        hashed = hashlib.sha256(bytes.fromhex(key))
        try:
            with disk.doing("writing the cache of compressed frames"):
                self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                with disk.replacing(self._folder / key, mode=0o600, durable=False) as file:
                    for chunk in chain(frames, (digests,)):
                        hashed.update(chunk)
                        file.write(chunk)
                    file.write(hashed.digest())
        except MachineFault as fault:
            log.warning("%s; what it would hold is compressed anew each time (see --cache-dir)", fault.message)
            self._writable = False
            return
        self._ours += size
        self._added = True

    def trim(self) -> None:
        """Remove what was not used for the longest time until the rest is within the budget."""
        if self._folder is None or not self._added:
            return
        entries = sorted(_entries(self._folder))
        total = sum(size for _, size, _ in entries)
        for _, size, path in entries:
            if total <= self._budget:
                return
            total -= size
            try:
                os.unlink(path)  # noqa: PTH108 (as scandir gave it)
            except OSError as error:  # another build removed it, or made the folder read-only
                log.debug("%s: %s", path, error)


def _mark_as_used(file: BinaryIO) -> None:
    try:
        os.utime(file.fileno())
    except OSError as error:  # a folder that is mounted read-only serves as well
        log.debug("%s: %s", file.name, error)


def _entries(folder: Path) -> Iterator[tuple[int, int, str]]:
    """When each file was last used (in ns), its size, and its path; those included that another build just writes."""
    try:
        with os.scandir(folder) as found:
            for one in found:
                try:
                    facts = one.stat(follow_symlinks=False)
                except FileNotFoundError:  # another build was quicker
                    continue
                yield facts.st_mtime_ns, facts.st_size, one.path
    except OSError as error:
        log.debug("%s: %s", folder, error)
