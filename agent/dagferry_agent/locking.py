"""Locks on files of a root, by flock(2): whoever dies lets go, and no lock is ever left behind.

1. ``lock`` is held while anything in the root is changed, by whoever changes it.
2. ``active`` is held for life by the agent that follows the channel; others that serve the same root wait for it.
3. ``locks/<release>`` is held, shared, by whoever reads a release beyond its time; it is not removed meanwhile.
4. A file system whose locks exclude nobody, or that has none, is refused: two agents would damage each other's work.

A lock needs no more than the right to read the file (flock(2)), so that users with different ids can share one.
"""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from dagferry_schemas.errors import MachineFault
from dagferry_storage import disk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MODE: Final = 0o644
_NO_LOCKS: Final = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold the lock ``path``; waits for whoever has it. Raises `MachineFault`."""
    descriptor = take(path)
    try:
        yield
    finally:
        os.close(descriptor)


def take(path: Path) -> int:
    """Take the lock ``path`` for as long as the descriptor is open that is returned; waits. Raises `MachineFault`."""
    with disk.doing(f"locking {path}"):
        descriptor = _open(path)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor


def try_take(path: Path) -> int | None:
    """As `take`, but None at once if somebody has it. Raises `OSError`."""
    descriptor = _open(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


@contextmanager
def shared(path: Path) -> Iterator[None]:
    """Keep others from removing what the lock ``path`` is for, if there is such a lock; waits. Raises `OSError`."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        yield
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield
    finally:
        os.close(descriptor)


def make(path: Path) -> None:
    """See to it that there is a lock ``path``, which may be another user's. Raises `OSError`."""
    os.close(_open(path))


def _open(path: Path) -> int:
    flags = os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        return os.open(path, flags | os.O_RDWR)
    except FileNotFoundError:
        with suppress(FileExistsError):
            descriptor = os.open(path, flags | os.O_RDWR | os.O_CREAT | os.O_EXCL, MODE)
            os.fchmod(descriptor, MODE)  # whatever the umask is
            return descriptor
    except PermissionError:  # another user made it
        pass
    return os.open(path, flags | os.O_RDONLY)


def require_locks(path: Path) -> None:
    """See to it that a lock on ``path`` keeps others off. Raises `MachineFault` (rule 4)."""
    try:
        first = try_take(path)
        if first is None:  # somebody has it, so it works
            return
        try:
            second = try_take(path)
        finally:
            os.close(first)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise disk.fault(error, f"locking {path}") from error
        reason = os.strerror(error.errno or 0)
    else:
        if second is None:
            return
        os.close(second)
        reason = "a second lock was granted beside the first"
    raise MachineFault(
        f"the file system of {path.parent} has no locks that keep others off: {reason}",
        "give each pod a volume of its own (emptyDir), or mount this one with locks (NFS: without nolock)",
        code="no_locks",
    )
