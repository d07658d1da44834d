"""What a root takes of its file system, and whether a new release fits: looked at before anything is written."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from dagferry_schemas.errors import MachineFault

from .releases import Known

if TYPE_CHECKING:
    from pathlib import Path

    from dagferry_schemas.pins import Content
    from dagferry_schemas.tree import Tree

    from .releases import Release


class Need(NamedTuple):
    """What a release takes until it is live: ``size`` in bytes, and inodes."""

    size: int
    inodes: int


@dataclass(frozen=True)
class Free:
    """What the file system of a folder has left for us; None where it does not count that."""

    size: int
    inodes: int | None
    block: int

    @classmethod
    def at(cls, folder: Path) -> Free:
        """What is left now. Raises `OSError`."""
        found = os.statvfs(folder)
        return cls(found.f_bavail * found.f_frsize, found.f_favail if found.f_files else None, found.f_frsize)


@dataclass(frozen=True)
class Budget:
    """What the releases of a root take, each inode once, and what is left: bytes and inodes."""

    used_bytes: int
    used_inodes: int
    free_bytes: int
    free_inodes: int | None

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return dict(vars(self))


def need_of(content: Content, tree: Tree, before: Release | None, block: int) -> Need:
    """What it takes to make ``tree`` beside ``before``: the tarball, files that cannot be links, folders."""
    known = Known(before)
    size, inodes = _blocks(content.tarball.size, block), 2
    folders: set[str] = set()
    for file in tree.files:
        folders.add(file.path.rpartition("/")[0])
        if known.at(file.path)[0] != file:
            size += _blocks(file.size, block)
            inodes += 1
    return Need(size + len(folders) * block, inodes + len(folders))


def most_of(content: Content, block: int) -> Need:
    """What a release takes at the most, as its record tells: the tarball, every file, a folder for each."""
    files = content.files.count
    size = _blocks(content.tarball.size, block) + content.tarball.plain_size + files * block
    return Need(size, 2 + 2 * files)


def _blocks(size: int, block: int) -> int:
    return -(-size // block) * block


def require(folder: Path, need: Need, free: Free, what: str) -> None:
    """See to it that there is room. Raises `MachineFault` with the figures."""
    few_inodes = free.inodes is not None and free.inodes < need.inodes
    if free.size >= need.size and not few_inodes:
        return
    has = f"{free.size} bytes" + (f" and {free.inodes} inodes" if free.inodes is not None else "")
    raise MachineFault(
        f"{folder} has no room for {what}: it needs {need.size} bytes and {need.inodes} inodes, {has} are free; "
        "the live release stays",
        "give the volume more, or keep fewer releases (--keep-releases, --grace-hours)",
        code="no_room",
    )


def measure(folder: Path, free: Free) -> Budget:
    """The budget of the releases below ``folder``. Raises `OSError`."""
    seen: set[int] = set()
    size = inodes = 0
    pending = [str(folder)]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                found = entry.stat(follow_symlinks=False)
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
                elif found.st_nlink > 1:
                    if found.st_ino in seen:
                        continue
                    seen.add(found.st_ino)
                size += found.st_blocks * 512
                inodes += 1
    return Budget(size, inodes, free.size, free.inodes)
