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
from dagferry_schemas.tree import TreeFile, encode_files, make_tree

from . import lfs
from .selection import cannot_pack

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .git import Blobs, Repository
    from .selection import Source

FRAME: Final = 1024 * 1024
"""Plain bytes of a frame, on average."""
MAX_FRAME: Final = 4 * 1024 * 1024


@dataclass(frozen=True)
class Packed:
    """A packed tree: the verified file list (with its stored bytes) and the pins of both objects."""

    files: trust.VerifiedTree
    content: Content


def pack(repository: Repository, sources: Iterable[Source], tarball: BinaryIO) -> Packed:
    """Write the tarball of ``sources``, in tree order, to ``tarball``. Raises `Malformed` for Git LFS pointers."""
    ordered = list(sources)
    frames = _Frames(tarball)
    with repository.blobs([source.entry.object_id for source in ordered]) as blobs:
        try:
            pointers: list[str] = []
            files = [_pack_file(source, blobs, frames, pointers) for source in ordered]
            frames.write(plaintar.END)
        finally:
            frames.close()
    if pointers:
        raise cannot_pack(pointers)
    tree = make_tree(files)
    stored = compression.compress(encode_files(tree))
    content = Content(
        tree=tree.digest,
        tarball=TarballPin(frames.sha256, frames.size, plaintar.plain_size(tree)),
        files=FilesPin(digest_of(stored), len(stored), len(tree.files)),
    )
    return Packed(trust.check_tree(tree, tree.digest, stored), content)


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
        self._cores = os.cpu_count() or 1
        self._pool = ThreadPoolExecutor(self._cores)
        self._waiting: deque[Future[bytes]] = deque()

    @property
    def sha256(self) -> str:
        return "sha256:" + self._hash.hexdigest()

    def begin(self, path: str, size: int) -> None:
        """A file of ``size`` bytes comes next: end the frame here if its path says so, or if it would not fit."""
        chance = int.from_bytes(hashlib.sha256(path.encode()).digest()[:4], "big") / 2**32
        if chance < (size + plaintar.BLOCK) / FRAME or len(self._plain) + size > MAX_FRAME:
            self._cut()

    def write(self, plain: bytes) -> None:
        self._plain += plain
        while len(self._plain) >= MAX_FRAME:
            self._submit(bytes(self._plain[:MAX_FRAME]))
            del self._plain[:MAX_FRAME]

    def _cut(self) -> None:
        if self._plain:
            self._submit(bytes(self._plain))
            self._plain.clear()

    def _submit(self, plain: bytes) -> None:
        self._waiting.append(self._pool.submit(compression.compress, plain))
        self._drain(2 * self._cores)  # so that memory stays flat

    def _drain(self, most: int) -> None:
        while len(self._waiting) > most:
            frame = self._waiting.popleft().result()
            self._hash.update(frame)
            self.size += len(frame)
            self._output.write(frame)

    def close(self) -> None:
        self._cut()
        self._drain(0)
        self._pool.shutdown()
