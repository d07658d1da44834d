"""New times for files that are there: what Airflow has to parse once more, it has to find newer than before.

* A release that was dormant: what differs from the one that is live gets the present, or a way back would be seen only
  at Airflow's next full round.
* The live release, a while after the switch: Airflow takes no second change of a DAG within 30 seconds
  (``[core] min_serialized_dag_update_interval``), and does not come back to it by itself.

An inode may be shared with other releases, and its time is not ours alone: then the file is replaced by a new inode
with the same bytes. A release is whole after every step.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Final, NamedTuple

from dagferry_schemas import compression
from dagferry_storage import disk

from .releases import Known, Mark, Marks
from .staging import flush, flushing_for, fresh_mtime, seal, stamp_folder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from dagferry_schemas.tree import TreeFile

    from .releases import Release
    from .root import Root
    from .settings import Durability

DAG_FILES: Final = (".py", ".zip")
"""How the names of files end that Airflow looks into for DAGs."""


class Renewed(NamedTuple):
    """The files of a release that have a new time, with their marks, and the marks of all of it as they are stored."""

    files: Mapping[str, Mark]
    marks: bytes


class Differing(NamedTuple):
    """A file of a dormant release that the live one has not, or has otherwise.

    ``number``: its place in the release's list; ``own``: its mark; ``other``: that of the live release's file.
    """

    number: int
    file: TreeFile
    own: Mark | None
    other: Mark | None


def differing(release: Release, live: Release | None) -> list[Differing]:
    """What ``release`` has otherwise than ``live``. Raises `Corrupt` if a list is none."""
    known = Known(live)  # reads from the disk, as all of a release does
    found = []
    for number, (file, own) in enumerate(release.files()):
        other, mark = known.at(file.path)
        if other != file:
            found.append(Differing(number, file, own, mark))
    return found


def renew(root: Root, release: Release, found: Sequence[Differing], *, stamp: int, durability: Durability) -> Release:
    """Give the files of a dormant release that differ from the live one the present as mtime; how it is now.

    Otherwise Airflow would not notice a way back before its next full round. A file that is as we left it, and in no
    other release, gets a new time; any other one is replaced by a new inode with the same bytes. The release has to be
    verified (`drift.find_drift`) and is whole after every step. Raises `MachineFault`.
    """
    fresh: dict[int, tuple[TreeFile, Mark]] = {}
    with disk.doing(f"renewing {release.folder}"):
        folders = {(release.folder / one.file.path).parent for one in found}
        flushing = flushing_for(durability, len(found) + len(folders))
        for number, file, own, other in found:
            path, mtime = release.folder / file.path, fresh_mtime(stamp * 1_000_000, other)
            mark = _renewed(path, root, file, own, mtime, sync=flushing == "fsync") if own is not None else None
            if mark is None or mark == own:
                mark = _replace_inode(path, root, file, mtime, sync=flushing == "fsync")
            fresh[number] = (file, mark)
        for folder in folders:
            stamp_folder(folder, stamp, sync=flushing == "fsync")
        if flushing == "syncfs":
            flush(release.folder)
        renewed = release.renewed(fresh)
        if fresh and release.is_marked:
            root.lists.write_told(renewed, durable=durability != "none")
    return renewed


def show_again(root: Root, live: Release, before: Sequence[Release], *, stamp: int, durability: Durability) -> Renewed:
    """Give the DAG files of the live release that differ from one of ``before`` the present as mtime once more.

    A file that is not as it was left stays so. Raises `MachineFault`.
    """
    marks, fresh = Marks(), {}
    others = [Known(one) for one in before]
    with disk.doing(f"renewing {live.folder}"):
        changed = {file.path for file in live.tree.files if file.path.endswith(DAG_FILES) and _differs(file, others)}
        flushing = flushing_for(durability, len(changed))
        for file, own in live.files():
            if own is not None and file.path in changed:
                path, mtime = live.folder / file.path, fresh_mtime(stamp * 1_000_000, own)
                fresh[file.path] = own = _renewed(path, root, file, own, mtime, sync=flushing == "fsync")
            if own is not None:
                marks.add(own)
        stored = marks.finish()
        if flushing == "syncfs":
            flush(live.folder)
        if live.is_marked and fresh:
            root.lists.write_marks(live.tree, stored, durable=durability != "none")
    return Renewed(fresh, stored)


def _differs(file: TreeFile, others: Sequence[Known]) -> bool:
    found = [other.at(file.path)[0] for other in others]  # each is asked for every path, in the list's order
    return any(one != file for one in found)


def _renewed(path: Path, root: Root, file: TreeFile, own: Mark, mtime: int, *, sync: bool) -> Mark:
    """The mark of a file with that time; what is not as we left it stays, and its mark with it."""
    found = path.stat(follow_symlinks=False)
    if Mark.of(found) != own or not stat.S_ISREG(found.st_mode):
        return own
    if found.st_nlink > 1:
        return _replace_inode(path, root, file, mtime, sync=sync)
    os.utime(path, ns=(mtime, mtime), follow_symlinks=False)
    return Mark(found.st_ino, mtime)


def _replace_inode(path: Path, root: Root, file: TreeFile, mtime: int, *, sync: bool) -> Mark:
    temporary = root.staging / disk.unique()
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with path.open("rb") as source, os.fdopen(descriptor, "wb") as target:
        for chunk in iter(lambda: source.read(compression.CHUNK), b""):
            target.write(chunk)
        target.flush()
        mark = seal(file, descriptor, mtime, sync=sync)
    try:
        temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return mark
