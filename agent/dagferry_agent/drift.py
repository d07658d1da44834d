"""At which paths a release is not what it must be: missing, changed or extra; ``__pycache__`` does not count."""

from __future__ import annotations

import hashlib
import os
import stat
from typing import TYPE_CHECKING, Final

from dagferry_schemas import compression
from dagferry_storage import disk

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from dagferry_schemas.tree import TreeFile

    from .releases import Release

CACHE: Final = "__pycache__"
"""Folders of this name are Python's: what is in them is no part of a release, unless it was delivered."""
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def find_drift(release: Release) -> tuple[str, ...]:
    """The paths at which a release is not what it must be: missing, changed or extra; ``__pycache__`` does not count.

    Every byte is read. Raises `MachineFault` if the folder cannot be read at all.
    """
    wrong = []
    with disk.doing(f"verifying {release.folder}"):
        # Both come in the same order, so that neither has to be kept.
        there = _walk(release.folder)
        found = next(there, None)
        for file in release.tree.files:
            if CACHE in file.path and CACHE in file.path.split("/")[:-1]:
                # It was delivered, and is not among what was found there.
                wrong += [] if _is(release.folder, file) else [file.path]
                continue
            while found is not None and found < file.path:
                wrong.append(found)
                found = next(there, None)
            if found != file.path:
                wrong.append(file.path)
                continue
            found = next(there, None)
            if not _is(release.folder, file):
                wrong.append(file.path)
        if found is not None:
            wrong += [found, *there]
    return tuple(wrong)


def _walk(folder: Path, below: str = "") -> Iterator[str]:
    """The paths of all files and links below ``folder`` in the order of a tree, without Python's caches."""
    with os.scandir(f"{folder}/{below}") as entries:
        found = [entry.name + ("/" if entry.is_dir(follow_symlinks=False) else "") for entry in entries]
    for name in sorted(found):
        if not name.endswith("/"):
            yield below + name
        elif name != f"{CACHE}/":
            yield from _walk(folder, below + name)


def _is(folder: Path, file: TreeFile) -> bool:
    """Whether there is a regular file in ``folder`` with the bytes and the x bit of ``file``."""
    try:
        descriptor = os.open(f"{folder}/{file.path}", _READ)
    except OSError:
        return False
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_size != file.size:
            return False
        if bool(found.st_mode & 0o100) != file.executable:
            return False
        return _digest(descriptor, file.size) == file.sha256
    finally:
        os.close(descriptor)


def _digest(descriptor: int, size: int) -> str:
    """That of all the bytes, which should be ``size``: a small file is read at once."""
    hashed = hashlib.sha256()
    most, left = min(size + 1, compression.CHUNK), size
    while chunk := os.read(descriptor, most):
        hashed.update(chunk)
        left -= len(chunk)
        if left == 0 and len(chunk) < most:  # asked for more, and there is no more
            break
    return hashed.hexdigest()


def find_drift_at(release: Release, paths: Collection[str]) -> tuple[str, ...]:
    """As `find_drift`, where only ``paths`` and what is below them is looked at. Raises `MachineFault`."""
    asked = {path.strip("/") for path in paths if CACHE not in path.split("/")}
    wrong = []
    listed: set[str] = set()
    with disk.doing(f"verifying {release.folder}"):
        for file in release.tree.files:
            if _is_asked(file.path, asked):
                listed.add(file.path)
                if not _is(release.folder, file):
                    wrong.append(file.path)
        for path in asked:
            wrong += [one for one in _there(release.folder, path) if one not in listed]
    return tuple(sorted(set(wrong)))


def _is_asked(path: str, asked: Collection[str]) -> bool:
    while path not in asked:
        if not path:
            return False
        path = path.rpartition("/")[0]
    return True


def _there(folder: Path, path: str) -> Iterator[str]:
    """What is at ``path`` and below it."""
    try:
        found = (folder / path).lstat()
    except (FileNotFoundError, NotADirectoryError):
        return
    if stat.S_ISDIR(found.st_mode):
        yield from _walk(folder, path + "/" if path else "")
    else:
        yield path
