"""Packing: the selected files of a commit into the canonical tarball and the file list, in one pass over the blobs.

The plain bytes are the canonical tar of the tree. They are compressed as independent zstd frames of about 1 MiB, each
by a single thread, all cores side by side. Where a frame ends is said by the hash of the next file's path, weighted
with its size, so that one changed file changes one frame; a frame never holds more than `MAX_FRAME` plain bytes.
Frames are an encoding: no identity depends on them.
"""

from __future__ import annotations

import hashlib
import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Final

from dagferry_schemas import compression, plaintar, trust
from dagferry_schemas.names import digest_of
from dagferry_schemas.pins import Content, FilesPin, TarballPin
from dagferry_schemas.tree import TreeFile, TreeWriter

from . import lfs
from .problems import cannot_pack

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .git import Repository
    from .objects import Blobs
    from .sources import Source

FRAME: Final = 1024 * 1024
"""Plain bytes of a frame, on average."""
MAX_FRAME: Final = 4 * 1024 * 1024
MAX_CORES: Final = 8
IN_FLIGHT: Final = 2 * 1024 * 1024
"""Plain bytes that may be waiting or under compression, for each core: what bounds the memory of a build."""


@dataclass(frozen=True)
class Packed:
    """A packed tree: the verified file list (with its stored bytes) and the pins of both objects."""

    files: trust.VerifiedTree
    content: Content


def pack(repository: Repository, sources: Iterable[Source], tarball: BinaryIO) -> Packed:
    """Write the tarball of ``sources`` to ``tarball``. Raises `Malformed` for Git LFS pointers.

    The sources are gone through twice, and come in the order of the tree.
    """
    frames, writer = _Frames(tarball), TreeWriter()
    with repository.blobs(source.entry.object_id for source in sources) as blobs:
        try:
            pointers: list[str] = []
            for source in sources:
                writer.add(_pack_file(source, blobs, frames, pointers))
            frames.write(plaintar.END)
        finally:
            frames.close()
    if pointers:
        raise cannot_pack(pointers)
    tree = writer.finish()
    stored = tree.files.stored
    content = Content(
        tree=tree.digest,
        tarball=TarballPin(frames.sha256, frames.size, plaintar.plain_size(tree)),
        files=FilesPin(digest_of(stored), len(stored), len(tree.files)),
    )
    return Packed(trust.check_tree(tree, tree.digest), content)


def _pack_file(source: Source, blobs: Blobs, frames: _Frames, pointers: list[str]) -> TreeFile:
    size = source.entry.size
    frames.begin(source.path, size)
    # A header is a pure function of path, size and x bit, so it can be written before the digest is known.
    frames.write(plaintar.header(TreeFile(source.path, source.executable, size, "")))
    hashed = hashlib.sha256()
    for chunk in blobs.read(source.entry):
        if lfs.is_pointer(size, chunk):
            pointers.append(lfs.problem(source.path))
        hashed.update(chunk)
        frames.write(chunk)
    frames.write(plaintar.padding(size))
    return TreeFile(source.path, source.executable, size, hashed.hexdigest())


class _Frames:
    """Cuts plain bytes into frames, compresses them on all cores, and writes them in order."""

    def __init__(self, output: BinaryIO) -> None:
        self.size = 0
        self._output = output
        self._hash = hashlib.sha256()
        self._plain = bytearray()
        self._cores = min(os.cpu_count() or 1, MAX_CORES)
        self._pool = ThreadPoolExecutor(self._cores)
        self._waiting: deque[tuple[int, Future[bytes]]] = deque()
        self._in_flight = 0

    @property
    def sha256(self) -> str:
        return "sha256:" + self._hash.hexdigest()

    def begin(self, path: str, size: int) -> None:
        """A file of ``size`` bytes comes next: end the frame here if its path says so, or if it would not fit."""
        chance = int.from_bytes(hashlib.sha256(path.encode()).digest()[:4], "big") / 2**32
        if chance < (size + plaintar.BLOCK) / FRAME or len(self._plain) + size > MAX_FRAME:
            self._cut()

    def write(self, plain: bytes) -> None:
        rest = memoryview(plain)
        while rest:
            room = MAX_FRAME - len(self._plain)
            self._plain += rest[:room]
            rest = rest[room:]
            if len(self._plain) == MAX_FRAME:
                self._cut()

    def _cut(self) -> None:
        if self._plain:
            self._drain(self._cores * IN_FLIGHT - len(self._plain))
            self._waiting.append((len(self._plain), self._pool.submit(compression.compress, self._plain)))
            self._in_flight += len(self._plain)
            self._plain = bytearray()

    def _drain(self, most: int) -> None:
        """Write what is done, and wait until no more than ``most`` plain bytes are being compressed."""
        while self._waiting and (self._in_flight > most or self._waiting[0][1].done()):
            size, compressed = self._waiting.popleft()
            frame = compressed.result()
            self._in_flight -= size
            self._hash.update(frame)
            self.size += len(frame)
            self._output.write(frame)

    def close(self) -> None:
        self._cut()
        self._drain(0)
        self._pool.shutdown()
