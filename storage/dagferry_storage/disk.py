"""What this machine's disk can answer, as errors that a user can act on; and whole, durable writes of small files."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, Final

from dagferry_schemas.errors import MachineFault

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_HINTS: Final = {
    errno.ENOSPC: "free space or inodes there, or give the volume more",
    errno.EDQUOT: "raise the quota, or free space there",
    errno.EROFS: "the file system is read-only: mount it writable, or name another folder",
    errno.EACCES: "give this user the right to write there, or run as the folder's owner",
    errno.EPERM: "give this user the right to write there, or run as the folder's owner",
    errno.EXDEV: "the folder must lie on one file system, without mounts inside",
    errno.ENOTDIR: "a file lies where a folder is needed: remove it, or name another folder",
    errno.ENAMETOOLONG: "name a folder with a shorter path",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.EIO: "the disk failed: look at the kernel's log, and replace the volume",
}


def fault(error: OSError, what: str) -> MachineFault:
    """The error for what the disk answered while ``what`` was done."""
    place = f" ({error.filename!s})" if error.filename is not None else ""
    reason = os.strerror(error.errno) if error.errno else str(error)
    return MachineFault(f"{what}: {reason}{place}", _HINTS.get(error.errno or 0, "look at the folder and its mount"))


@contextmanager
def doing(what: str) -> Iterator[None]:
    """Turn an `OSError` inside into a `MachineFault` that says ``what`` was being done."""
    try:
        yield
    except OSError as error:
        raise fault(error, what) from error


def sync_folder(folder: str | Path) -> None:
    """Flush the names in ``folder``. Raises `OSError`."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def unique() -> str:
    """16 hex digits that are in no other name."""
    return os.urandom(8).hex()


class NewFile:
    """A ``file`` to write and read, in the folder where it will have its place, until then under a name of its own."""

    def __init__(self, file: BinaryIO, temporary: Path, *, durable: bool) -> None:
        self.file = file
        self._temporary = temporary
        self._durable = durable

    def place(self, name: str) -> Path:
        """Replace ``name`` in its folder: old or new after a crash at any moment, never a part. Raises `OSError`."""
        self.file.flush()
        if self._durable:
            os.fsync(self.file.fileno())
        self.file.close()
        path = self._temporary.with_name(name)
        self._temporary.replace(path)
        if self._durable:
            sync_folder(path.parent)
        return path


@contextmanager
def new_file(
    folder: Path, label: str, *, mode: int = 0o644, exact: bool = False, durable: bool = True
) -> Iterator[NewFile]:
    """A `NewFile` in ``folder``, that is gone in the end if it was not placed; ``label`` is for who finds it before.

    ``exact``: it has that mode whatever the umask is. Raises `OSError`.
    """
    temporary = folder / f".{label[:100]}.{unique()}"
    descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "w+b") as file:
            if exact:
                os.fchmod(descriptor, mode)
            yield NewFile(file, temporary, durable=durable)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replacing(path: Path, *, mode: int = 0o644, exact: bool = False, durable: bool = True) -> Iterator[BinaryIO]:
    """A file that replaces ``path`` at the end, as `NewFile.place` does; after an exception ``path`` is as it was.

    Raises `OSError`.
    """
    with new_file(path.parent, path.name, mode=mode, exact=exact, durable=durable) as new:
        yield new.file
        new.place(path.name)


def write_whole(path: Path, content: bytes, *, mode: int = 0o644, exact: bool = False, durable: bool = True) -> None:
    """Replace ``path`` by ``content``, as `replacing` does. Raises `OSError`."""
    with replacing(path, mode=mode, exact=exact, durable=durable) as file:
        file.write(content)
