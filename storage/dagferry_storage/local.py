"""A store in a directory: a local disk, or a volume that several machines mount.

* An object is a file below the root, named as its key. Whatever begins with a dot is the store's own (``.tmp-*``
  while something is written, ``.lock`` once something was replaced or deleted) and is never an object.
* Create-only is ``link(2)`` of a finished file: the file system lets one of many writers win.
* Compare-and-swap holds ``flock(2)`` on the folder's ``.lock`` around compare and rename. Writers that bypass this
  module are not held off; readers need no lock, because a rename shows them the old file or the new one, whole.
* The kernel drops a killed writer's lock. Its ``.tmp-*`` file may stay behind and is in nobody's way.
* Bytes reach the disk before their name does, and the name before a call returns.
* A token is the SHA-256 of the bytes. The store's clock is that of the file system.
* A root that does not exist is an outage (think of a volume that is not mounted), never an empty store.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import io
import os
import pwd
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, BinaryIO

from dagferry_schemas.errors import DeliveryFailed, Forbidden, MachineFault

from . import disk
from .keys import require_key, require_prefix
from .store import CHUNK, TOP, Absent, Exists, Missing, Stored, Superseded, too_large

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_FULL = (MachineFault, "free some space or inodes there, or raise the quota, then run this again")
_DENIED = (Forbidden, "run this as a user who may, or change the owner or mode of that folder")
_FAILURES: dict[int, tuple[type[DeliveryFailed], str]] = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EROFS: (MachineFault, "mount the volume writable, or write from a machine where it is"),
    errno.EACCES: _DENIED,
    errno.EPERM: _DENIED,
    errno.ENOTDIR: (DeliveryFailed, "a file stands where the store needs a folder; check --store and that path"),
}
_OTHER_FAILURE = (DeliveryFailed, "look at the disk and the mount below that path, then run this again")

# What file systems without hard links answer to link(2): vfat says EPERM, many FUSE file systems one of the others.
_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})


class LocalStore:
    """The `Store` protocol on the directory ``root``, which the first `create` makes.

    A key that no layout would make (absolute, empty, or with an empty or dot-leading component) is a `ValueError`.
    """

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()

    @property
    def url(self) -> str:
        """The root as a ``file://`` URL, which `open_store` accepts."""
        return self._root.as_uri()

    def identity(self) -> str:
        """The user that this process runs as."""
        number = os.geteuid()
        try:
            return f"user {pwd.getpwuid(number).pw_name} (uid {number})"
        except KeyError:  # a container's user without a name
            return f"uid {number}"

    def read(self, key: str, *, limit: int) -> Stored:
        """The object's bytes, at most ``limit`` of them. Raises `Missing`, `TooLarge`."""
        with self._open(key) as file, self._telling("read", key):
            size = os.fstat(file.fileno()).st_size
            if size > limit:
                raise too_large(self.url, key, limit)
            body = file.read(size)
        return Stored(body, _token_of(body))

    def read_if_changed(self, key: str, token: str, *, limit: int) -> Stored | None:
        """None if the object is still in the state ``token``, else as `read`; a disk always reads it whole."""
        stored = self.read(key, limit=limit)
        return None if stored.token == token else stored

    def modified(self, key: str) -> float:
        """When the object's present state was written, by the file system's clock. Raises `Missing`."""
        with self._open(key) as file, self._telling("read", key):
            return os.fstat(file.fileno()).st_mtime

    @contextmanager
    def stream(self, key: str) -> Iterator[Iterator[bytes]]:
        """The object in chunks of at most 1 MiB, for content of any size. Raises `Missing` on entering."""
        with self._open(key) as file:
            # No _telling around this yield: an OSError of the caller's own must pass through as it is.
            yield self._chunks(file, key)

    def create(self, key: str, body: bytes | BinaryIO) -> str:
        """Store a new object and return its token. A file is read from its present position. Raises `Exists`."""
        path = self._path(key)
        with self._telling("create", key):
            _make_folder(path.parent)
            with _temporary(path.parent, io.BytesIO(body) if isinstance(body, bytes) else body) as (written, token):
                created = self._link(written, path)
            # Also for the loser: whoever hears "it exists" may build on it, so it has to survive a power cut.
            _sync(path.parent)
        if not created:
            raise Exists(f"store {self.url}: {key} exists already", "nothing was written; read what is there")
        return token

    def replace(self, key: str, body: bytes, token: str) -> str:
        """Replace the object if it is still in the state ``token``; the new token. Raises `Superseded`."""
        path = self._path(key)
        with self._telling("replace", key), self._locked(path.parent) as locked:
            if not locked or _state(path) != token:
                raise Superseded(
                    f"store {self.url}: {key} is no longer in the state that was read before",
                    "nothing was written; read it again and decide anew",
                )
            with _temporary(path.parent, io.BytesIO(body)) as (written, new_token):
                written.replace(path)
            _sync(path.parent)
        return new_token

    def names(self, prefix: str) -> Iterator[str]:
        """The keys that begin with ``prefix`` (which ends in ``/``), in no particular order; none if there are none."""
        require_prefix(prefix)
        folder = self._path(prefix[:-1])
        with self._telling("list", prefix):
            self._require_root()
        return self._walk(folder, prefix)

    def folders(self, prefix: str) -> Iterator[str]:
        """What stands between ``prefix`` (empty, or ending in ``/``) and the next ``/`` in keys that begin with it."""
        folder = self._root
        if prefix:
            require_prefix(prefix)
            folder = self._path(prefix[:-1])
        with self._telling("list", prefix or TOP):
            self._require_root()
            _, found = _contents(folder)
        return iter(found)

    def delete(self, key: str) -> None:
        """Remove the object; no error if there is none."""
        path = self._path(key)
        # Under the lock, or a `replace` that has just compared would bring the object back.
        with self._telling("delete", key), self._locked(path.parent) as locked:
            if locked:
                path.unlink(missing_ok=True)
                _sync(path.parent)

    def _path(self, key: str) -> Path:
        """Where the object is: never outside the root, and never one of the store's own files."""
        require_key(key)
        return self._root.joinpath(*key.split("/"))

    def _open(self, key: str) -> BinaryIO:
        path = self._path(key)
        with self._telling("read", key):
            try:
                return _open_object(path)
            except FileNotFoundError:
                self._require_root()
                raise Missing(f"store {self.url}: there is no object {key}", "check the name, and --store") from None

    def _chunks(self, file: BinaryIO, key: str) -> Iterator[bytes]:
        while True:
            with self._telling("read", key):
                chunk = file.read(CHUNK)
            if not chunk:
                return
            yield chunk

    def _walk(self, folder: Path, prefix: str) -> Iterator[str]:
        with self._telling("list", prefix):
            files, folders = _contents(folder)
        yield from (prefix + name for name in files)
        for name in folders:
            yield from self._walk(folder / name, f"{prefix}{name}/")

    def _link(self, written: Path, path: Path) -> bool:
        """Give the finished file its name; False if the name is taken."""
        try:
            os.link(written, path)
        except FileExistsError:
            return False
        except OSError as exc:
            if exc.errno not in _NO_LINKS:
                raise
            raise MachineFault(
                f"store {self.url}: the file system at {path.parent} refuses hard links ({exc.strerror})",
                "a store needs them to create objects safely; put it on a file system that has them",
            ) from exc
        return True

    @contextmanager
    def _locked(self, folder: Path) -> Iterator[bool]:
        """Hold the folder's lock; False, and nothing is held, if there is no such folder."""
        lock = _open_lock(folder)
        if lock is None:
            self._require_root()
            yield False
            return
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield True
        finally:
            # Closing alone would not do: a child forked meanwhile shares the lock, and would keep it.
            with suppress(OSError):
                fcntl.flock(lock, fcntl.LOCK_UN)
            os.close(lock)

    def _require_root(self) -> None:
        """Raise `Absent` if the root is gone: what is missing below it is then no answer about an object."""
        if not self._root.exists():
            raise Absent(
                f"the store {self._root} does not exist",
                "check --store and whether the volume is mounted; `dagferry init-store` makes a new one",
            )

    @contextmanager
    def _telling(self, action: str, key: str) -> Iterator[None]:
        """Turn every `OSError` into the error that callers know, with the store, the key, the cause and a hint."""
        try:
            yield
        except OSError as exc:
            kind, hint = _FAILURES.get(exc.errno or 0, _OTHER_FAILURE)
            place = exc.filename or self._root
            raise kind(f"store {self.url}: cannot {action} {key}: {exc.strerror or exc} ({place})", hint) from exc


def _token_of(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def _state(path: Path) -> str | None:
    """The token of what is there now; None if nothing is."""
    try:
        with _open_object(path) as file:
            return _token_of(file.read())
    except FileNotFoundError:
        return None


def _open_object(path: Path) -> BinaryIO:
    """The file of an object. A named pipe is not waited for, and no device is read: they never end."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        number, problem = (errno.EISDIR, None) if stat.S_ISDIR(mode) else (errno.EINVAL, "Not a regular file")
        raise OSError(number, problem or os.strerror(number), str(path))
    return os.fdopen(descriptor, "rb")


def _open_lock(folder: Path) -> int | None:
    # Writable although nothing is written: NFS grants an exclusive lock on such a descriptor only.
    try:
        return os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except FileNotFoundError:
        return None


def _contents(folder: Path) -> tuple[list[str], list[str]]:
    """The names of objects and of folders there, none if the folder does not exist; links are neither."""
    try:
        with os.scandir(folder) as entries:
            visible = [entry for entry in entries if not entry.name.startswith(".")]
    except FileNotFoundError:
        return [], []
    files = [entry.name for entry in visible if entry.is_file(follow_symlinks=False)]
    return files, [entry.name for entry in visible if entry.is_dir(follow_symlinks=False)]


@contextmanager
def _temporary(folder: Path, body: BinaryIO) -> Iterator[tuple[Path, str]]:
    """A file that nobody else knows, whole and flushed to disk, and its token; its name is gone afterwards."""
    path = folder / f".tmp-{disk.unique()}"
    with path.open("xb") as file:
        try:
            token = _copy(body, file)
            file.flush()
            os.fsync(file.fileno())
            yield path, token
        finally:
            # After a rename there is nothing left to remove, and a failing disk has its own error under way.
            with suppress(OSError):
                path.unlink()


def _copy(source: BinaryIO, target: BinaryIO) -> str:
    """Copy to the end of ``source`` and return the token of what was copied."""
    digest = hashlib.sha256()
    while chunk := source.read(CHUNK):
        digest.update(chunk)
        target.write(chunk)
    return digest.hexdigest()


def _make_folder(folder: Path) -> None:
    """Make the folder and those above it that are missing, each of them safe from a power cut."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    with suppress(FileExistsError):  # another writer was first; if it is a file, the next step says so
        folder.mkdir()
    _sync(folder.parent)


def _sync(folder: Path) -> None:
    """Flush the folder's names to disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
