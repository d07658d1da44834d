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
from .staging import flush, flushing_for, flushing_of, fresh_mtime, seal, stamp_folder

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


def renew(root: Root, release: Release, live: Release | None, *, stamp: int, durability: Durability) -> int:
    """Give the files of a dormant release that differ from the live one the present as mtime; how many there were.

    Otherwise Airflow would not notice a way back before its next full round. Each file is replaced by a new inode with
    the same bytes: an inode may be shared with other releases, and its time is not ours alone. The release has to be
    verified (`releases.find_drift`) and is whole after every step. Raises `MachineFault`.
    """
    marks = Marks()
    fresh = 0
    with disk.doing(f"renewing {release.folder}"):
        known = Known(live)  # reads from the disk, as all of a release does
        flushing = flushing_of(durability, release.tree, live)
        touched: set[Path] = set()
        for file, own in release.files():
            other, mark = known.at(file.path)
            if other != file:
                path = release.folder / file.path
                mtime = fresh_mtime(stamp * 1_000_000, mark)
                own = _replace_inode(path, root, file, mtime, sync=flushing == "fsync")
                touched.add(path.parent)
                fresh += 1
            if own is not None:
                marks.add(own)
        for folder in touched:
            stamp_folder(folder, stamp, sync=flushing == "fsync")
        if flushing == "syncfs":
            flush(release.folder)
        if release.is_marked:
            root.lists.write_marks(release.tree, marks.finish(), durable=durability != "none")
    return fresh


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
