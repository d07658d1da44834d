"""Writing a verified tarball into a fresh folder: the one place where content from a store becomes files.

There is no tar parser. Each header is computed from the verified file list and compared with the plain bytes; each body
is hashed while it is written, and the first byte that differs ends it. Files are created through descriptors of folders
that were made here, with ``O_EXCL | O_NOFOLLOW``, so nothing outside the folder can be reached whatever a path says.
The caller throws the folder away after any error: a half-written one is never used.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, BinaryIO, Protocol

from dagferry_schemas import compression, paths, plaintar
from dagferry_schemas.errors import Corrupt, Malformed
from dagferry_schemas.trust import VerifiedTarball

from . import disk

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dagferry_schemas.tree import TreeFile

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Sink(Protocol):
    """What decides about each file while a tree is written."""

    def adopt(self, file: TreeFile, folder: int, name: str) -> bool:
        """Put ``file`` at ``name`` in the folder of the descriptor ``folder`` by itself; False to have it written."""
        ...

    def finish(self, file: TreeFile, descriptor: int) -> None:
        """Set mode and times of a file that was written and verified, before it is closed."""
        ...

    def leave(self, folder: int) -> None:
        """Set the times of a folder that has all that it gets, whose descriptor this is, before it is closed."""
        ...


class Plain:
    """The plain bytes of a tarball, taken piece by piece. All methods raise `Corrupt` where bytes are missing."""

    def __init__(self, source: BinaryIO, what: str) -> None:
        self._chunks = compression.plain_chunks(source, what)
        self._rest = memoryview(b"")
        self._what = what

    def take(self, size: int) -> memoryview | None:
        """The next ``size`` bytes, if they are at hand; else None, and nothing is taken."""
        if size > len(self._rest):
            return None
        piece, self._rest = self._rest[:size], self._rest[size:]
        return piece

    def pieces(self, size: int) -> Iterator[memoryview]:
        """The next ``size`` bytes, in pieces."""
        while size:
            if not self._rest:
                chunk = next(self._chunks, None)
                if chunk is None:
                    raise Corrupt(f"{self._what}: it ends before all files came", code="truncated")
                self._rest = memoryview(chunk)
            piece, self._rest = self._rest[:size], self._rest[size:]
            size -= len(piece)
            yield piece

    def expect(self, wanted: bytes, what: str, file: TreeFile | None = None) -> None:
        """Take the next bytes and compare them with ``wanted``, which is ``what`` of ``file``."""
        found: bytes | memoryview | None = self.take(len(wanted))
        if found is None:
            found = b"".join(self.pieces(len(wanted)))
        if found != wanted:
            where = f"{what} of {file.path!r}" if file is not None else what
            raise Corrupt(f"{self._what}: other bytes than the file list predicts at {where}", code="wrong_plain_bytes")

    def end(self) -> None:
        """Refuse anything that is left."""
        if self._rest or next(self._chunks, None) is not None:
            raise Corrupt(f"{self._what}: more bytes after its end", code="wrong_plain_bytes")


def bodies(tarball: VerifiedTarball, source: BinaryIO) -> Iterator[tuple[TreeFile, Iterable[memoryview]]]:
    """Each file of the tarball in order, with its body in pieces that must be taken whole before the next file.

    A body's digest is checked at its last piece at the latest, so a caller sees `Corrupt` before it believes the file.
    """
    if not isinstance(tarball, VerifiedTarball):
        raise Malformed("only a verified tarball is unpacked")
    tree = tarball.tree.tree
    plain = Plain(source, f"tarball of tree {tree.digest}")
    for file in tree.files:
        plain.expect(plaintar.header(file), "the header", file)
        whole = plain.take(file.size)
        if whole is None:
            yield file, _body(plain, file)
        else:
            _compare(hashlib.sha256(whole), file)
            yield file, (whole,)
        plain.expect(plaintar.padding(file.size), "the padding", file)
    plain.expect(plaintar.END, "the end")
    plain.end()


def _body(plain: Plain, file: TreeFile) -> Iterator[memoryview]:
    hashed = hashlib.sha256()
    for piece in plain.pieces(file.size):
        hashed.update(piece)
        yield piece
    _compare(hashed, file)


def _compare(hashed: hashlib._Hash, file: TreeFile) -> None:
    if hashed.hexdigest() != file.sha256:
        raise Corrupt(f"{file.path!r}: its bytes are not those of the file list", code="wrong_plain_bytes")


def unpack(tarball: VerifiedTarball, source: BinaryIO, target: int, sink: Sink) -> None:
    """Write the tree of ``tarball``, whose stored bytes ``source`` gives, into the fresh folder ``target``.

    ``target`` is a descriptor of an empty folder that nobody else writes to. Raises `Corrupt`, `MachineFault`.
    """
    folders = _Folders(target, sink)
    doing = "the first file"
    try:
        for file, body in bodies(tarball, source):
            doing = file.path
            _place(file, body, folders, sink)
        folders.finish()
    except OSError as error:
        raise disk.fault(error, f"writing {doing!r}") from error
    finally:
        folders.close()


def check(tarball: VerifiedTarball, source: BinaryIO) -> None:
    """Compare all plain bytes of ``tarball`` with what its file list predicts. Raises `Corrupt`."""
    for _, body in bodies(tarball, source):
        for _ in body:
            pass


def _place(file: TreeFile, body: Iterable[memoryview], folders: _Folders, sink: Sink) -> None:
    folder, name = folders.of(file.path)
    if sink.adopt(file, folder, name):
        for _ in body:
            pass
        return
    descriptor = os.open(name, _CREATE, 0o600, dir_fd=folder)
    try:
        for piece in body:
            while piece:
                piece = piece[os.write(descriptor, piece) :]
        sink.finish(file, descriptor)
    finally:
        os.close(descriptor)


class _Folders:
    """Open descriptors of the folders on the way to the present file, made as they are needed."""

    def __init__(self, top: int, sink: Sink) -> None:
        self._sink = sink
        self._parent = ""
        self._names: list[str] = []
        self._open: list[int] = [top]

    def of(self, path: str) -> tuple[int, str]:
        parent, _, name = path.rpartition("/")
        if parent != self._parent:
            wanted = parent.split("/") if parent else []
            shared = paths.shared_length(self._names, wanted)
            self._leave(shared)
            for one in wanted[shared:]:
                self._enter(one)
            self._parent = parent
        return self._open[-1], name

    def _enter(self, name: str) -> None:
        os.mkdir(name, 0o755, dir_fd=self._open[-1])  # all that is below a folder comes in one piece: it is new
        descriptor = os.open(name, _FOLDER, dir_fd=self._open[-1])
        self._open.append(descriptor)
        self._names.append(name)
        os.fchmod(descriptor, 0o755)  # whatever the umask is

    def _leave(self, depth: int) -> None:
        while len(self._names) > depth:
            self._sink.leave(self._open[-1])
            os.close(self._open.pop())
            self._names.pop()

    def finish(self) -> None:
        self._leave(0)
        self._sink.leave(self._open[0])

    def close(self) -> None:
        while len(self._open) > 1:
            os.close(self._open.pop())
