"""Packing: the selected files of a commit into the canonical tarball and the file list, in one pass over the blobs.

The plain bytes are the canonical tar of the tree. They are compressed as independent zstd frames of about 1 MiB, each
by a single thread, all cores side by side; where frames end is planned before (`frames`). Groups of files that an
earlier build compressed come from the cache, and none of their blobs is read (`frame_cache`): the stored bytes are the
same with and without it. Frames are an encoding: no identity depends on them.
"""

from __future__ import annotations

import hashlib
import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING, BinaryIO, Final, NamedTuple

from dagferry_schemas import compression, plaintar
from dagferry_schemas.names import digest_of
from dagferry_schemas.pins import Content, FilesPin, TarballPin
from dagferry_schemas.tree import Tree, TreeFile, TreeWriter

from . import lfs
from .frame_cache import FrameCache, key_of
from .frames import MAX_FRAME, plan
from .problems import cannot_pack

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from .git import Repository
    from .objects import Blobs
    from .sources import Source

MAX_CORES: Final = 8
IN_FLIGHT: Final = 2 * 1024 * 1024
"""Plain bytes that may be waiting or under compression, for each core: what bounds the memory of a build."""


AT_ONCE: Final = 256 * 1024
"""Bytes of the small files that are read and packed together."""


class Packed(NamedTuple):
    """A packed tree: the tree (with the stored bytes of its file list) and the pins of both objects."""

    tree: Tree
    content: Content


def pack(
    repository: Repository, sources: Iterable[Source], tarball: BinaryIO, cache: FrameCache | None = None
) -> Packed:
    """Write the tarball of ``sources`` to ``tarball``, an empty file. Raises `Malformed` for Git LFS pointers.

    The sources are gone through twice, come in the order of the tree, and have paths that can be in one tree.
    """
    cache = cache or FrameCache(None)
    steps: list[_Step] = []
    with repository.blobs(_survey(sources, cache, steps)) as blobs:
        packing = _Packing(repository, cache, _Frames(tarball), blobs)
        packing.run(steps, iter(sources))
    if packing.pointers:
        raise cannot_pack(packing.pointers)
    packing.keep(tarball)
    tree = packing.writer.finish()
    stored = tree.files.stored
    content = Content(
        tree=tree.digest,
        tarball=TarballPin(packing.frames.sha256, packing.frames.size, sum(step.plain for step in steps)),
        files=FilesPin(digest_of(stored), len(stored), len(tree.files)),
    )
    return Packed(tree, content)


class _Step(NamedTuple):
    """One group of the plan: how many files and plain bytes it has, and whether the cache seems to have it."""

    files: int
    plain: int
    last: bool
    key: str
    cached: bool


def _survey(sources: Iterable[Source], cache: FrameCache, steps: list[_Step]) -> Iterator[str]:
    """The ids of the blobs that have to be read; ``steps`` gets the whole plan on the way."""
    for group in plan(sources):
        key = key_of(group)
        step = _Step(len(group.files), group.plain, group.last, key, cache.has(key))
        steps.append(step)
        if not step.cached:
            yield from _ids(group.files)


def _ids(files: Collection[Source]) -> Iterator[str]:
    return (source.entry.object_id for source in files)


class _Fresh(NamedTuple):
    """A group that was compressed here: where it comes in the plan, and the digests of its files."""

    place: int
    key: str
    digests: bytes


class _Packing:
    """One pass over the plan: each group comes from the cache or from git."""

    def __init__(self, repository: Repository, cache: FrameCache, frames: _Frames, blobs: Blobs) -> None:
        self.frames = frames
        self.writer = TreeWriter(checked=True)
        self.pointers: list[str] = []
        self._repository = repository
        self._cache = cache
        self._blobs = blobs
        self._fresh: list[_Fresh] = []

    def run(self, steps: list[_Step], sources: Iterator[Source]) -> None:
        """Pack everything. Raises `Malformed` if the clone lacks a blob."""
        try:
            for place, step in enumerate(steps):
                files = tuple(islice(sources, step.files))
                if not (step.cached and self._reuse(step, files)):
                    self._fresh.append(_Fresh(place, step.key, self._compress(step, files)))
                self.frames.end_group()
        finally:
            self.frames.close()

    def _reuse(self, step: _Step, files: Collection[Source]) -> bool:
        with self._cache.find(step.key, step.files) as kept:
            if kept is None:
                return False
            self.writer.add(
                *[
                    TreeFile(path, executable, size, sha256)
                    for (path, executable, (_, _, _, size)), sha256 in zip(files, kept.digests, strict=True)
                ]
            )
            for chunk in kept.frames():
                self.frames.put(chunk)
        return True

    def _compress(self, step: _Step, files: Collection[Source]) -> bytes:
        """Compress the files of one group; their digests."""
        if step.cached:
            with self._repository.blobs(_ids(files)) as blobs:  # nobody asked for them: the entry seemed to be there
                digests = self._pack_files(files, blobs)
        else:
            digests = self._pack_files(files, self._blobs)
        if step.last:
            self.frames.write([plaintar.END])
        return digests

    def _pack_files(self, files: Iterable[Source], blobs: Blobs) -> bytes:
        packed: list[TreeFile] = []
        for some in _together(files):
            if len(some) == 1:
                packed.append(self._pack_in_chunks(some[0], blobs))
            else:
                packed += self._pack_at_once(some, blobs)
        self.writer.add(*packed)
        return bytes.fromhex("".join([file.sha256 for file in packed]))

    def _pack_at_once(self, sources: Sequence[Source], blobs: Blobs) -> list[TreeFile]:
        """Pack small files: what is done for each of them is the time that a build takes."""
        packed: list[TreeFile] = []
        pieces: list[bytes] = []
        for source, body in zip(sources, blobs.read_whole([source.entry for source in sources]), strict=True):
            size = len(body)
            if lfs.is_pointer(size, body):
                self.pointers.append(lfs.problem(source.path))
            file = TreeFile(source.path, source.executable, size, hashlib.sha256(body).hexdigest())
            packed.append(file)
            pieces += (plaintar.header(file), body, plaintar.padding(size))
        self.frames.write(pieces)
        return packed

    def _pack_in_chunks(self, source: Source, blobs: Blobs) -> TreeFile:
        size = source.entry.size
        file = TreeFile(source.path, source.executable, size, "")
        # A header is a pure function of path, size and x bit, so it can be written before the digest is known.
        self.frames.write([plaintar.header(file)])
        hashed = hashlib.sha256()
        for chunk in blobs.read(source.entry):
            if lfs.is_pointer(size, chunk):
                self.pointers.append(lfs.problem(source.path))
            hashed.update(chunk)
            self.frames.write([chunk])
        self.frames.write([plaintar.padding(size)])
        return file._replace(sha256=hashed.hexdigest())

    def keep(self, tarball: BinaryIO) -> None:
        """Give the cache what was compressed, as it stands in ``tarball``; nobody is to do so with a pointer in it."""
        starts = [0, *self.frames.ends]
        for fresh in self._fresh:
            start = starts[fresh.place]
            size = starts[fresh.place + 1] - start
            self._cache.keep(fresh.key, size, _chunks(tarball, start, size), fresh.digests)
        tarball.seek(0, os.SEEK_END)
        self._cache.trim()


def _chunks(file: BinaryIO, start: int, size: int) -> Iterator[bytes]:
    file.seek(start)
    for left in range(size, 0, -compression.CHUNK):
        yield file.read(min(compression.CHUNK, left))


def _together(files: Iterable[Source]) -> Iterator[list[Source]]:
    """``files`` in their order, as many together as `AT_ONCE` allows."""
    some: list[Source] = []
    held = 0
    for source in files:
        size = source.entry.size
        if some and held + size > AT_ONCE:
            yield some
            some, held = [], 0
        some.append(source)
        held += size
    if some:
        yield some


class _Frames:
    """Cuts plain bytes into frames, compresses them on all cores, and writes them in order."""

    def __init__(self, output: BinaryIO) -> None:
        self.size = 0
        self.ends: list[int] = []
        """Where each group that has been written ends."""
        self._output = output
        self._hash = hashlib.sha256()
        self._pieces: list[bytes | memoryview] = []
        self._room = MAX_FRAME
        """Bytes that the frame of `_pieces` can still take."""
        self._cores = min(os.cpu_count() or 1, MAX_CORES)
        self._pool = ThreadPoolExecutor(self._cores)
        self._waiting: deque[tuple[int, Future[bytes] | bytes | None]] = deque()
        """What is written next: bytes that are held for it, and a frame; None is the end of a group."""
        self._in_flight = 0

    @property
    def sha256(self) -> str:
        return "sha256:" + self._hash.hexdigest()

    def write(self, plain: Iterable[bytes]) -> None:
        """Take plain bytes, in pieces."""
        for piece in plain:
            rest: bytes | memoryview = piece
            while len(rest) >= self._room:
                whole = memoryview(rest)
                rest = whole[self._room :]
                self._pieces.append(whole[: self._room])
                self._cut()
            self._pieces.append(rest)
            self._room -= len(rest)

    def put(self, compressed: bytes) -> None:
        """Take bytes that are compressed already; a group is either written or put."""
        self._drain(self._cores * IN_FLIGHT - len(compressed))
        self._queue(len(compressed), compressed)

    def end_group(self) -> None:
        """What follows has frames of its own."""
        self._cut()
        self._waiting.append((0, None))

    def _cut(self) -> None:
        if plain := b"".join(self._pieces):
            self._pieces, self._room = [], MAX_FRAME
            self._drain(self._cores * IN_FLIGHT - len(plain))
            self._queue(len(plain), self._pool.submit(compression.compress, plain))

    def _queue(self, held: int, frame: Future[bytes] | bytes) -> None:
        self._waiting.append((held, frame))
        self._in_flight += held

    def _drain(self, most: int) -> None:
        """Write what is done, and wait until no more than ``most`` bytes are held."""
        while self._waiting and (self._in_flight > most or _is_done(self._waiting[0][1])):
            held, frame = self._waiting.popleft()
            self._in_flight -= held
            if frame is None:
                self.ends.append(self.size)
                continue
            compressed = frame if isinstance(frame, bytes) else frame.result()
            self._hash.update(compressed)
            self.size += len(compressed)
            self._output.write(compressed)

    def close(self) -> None:
        self._cut()
        self._drain(0)
        self._pool.shutdown()


def _is_done(frame: Future[bytes] | bytes | None) -> bool:
    return not isinstance(frame, Future) or frame.done()
