"""A release made of the prepared copy of the live one: what deltas change is written, and nothing else is touched.

1. Nothing is written before everything is verified: the tree that comes of the deltas, and each file's bytes.
2. A file that changes is a new inode; its link to the live release is removed first. Its time is as `staging` has it.
3. What is flushed is what was written, and the folders in which there are other names: the rest was flushed before.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, NamedTuple

from dagferry_schemas import trust
from dagferry_schemas.errors import Corrupt, MachineFault
from dagferry_storage import disk

from . import room
from .lists import Change, edited
from .releases import Mark
from .staging import Work, flush, flushing_for, fresh_mtime, seal, stamp_folder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from dagferry_schemas.record import Delta
    from dagferry_schemas.tree import TreeFile
    from dagferry_schemas.tree_index import TreeIndex

    from .releases import Edited
    from .root import Root
    from .settings import Durability
    from .spare import Spare

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Plan(NamedTuple):
    """What is to be done to a copy: its tree, the one that comes of it, what changes, and the bytes to write."""

    before: TreeIndex
    after: TreeIndex
    files: Mapping[str, TreeFile | None]
    contents: Mapping[str, bytes]


def plan(spare: Spare, stored: Sequence[tuple[Delta, bytes]]) -> Plan:
    """What the deltas, one after the other, make of a copy. Raises `Corrupt`, `Malformed`, `Unfit`, `MachineFault`."""
    before = index = spare.take()
    contents: dict[str, bytes] = {}
    touched: set[str] = set()

    def read(file: TreeFile) -> bytes:
        found = contents.get(file.path)
        return found if found is not None else _read(spare.folder, file)

    for entry, raw in stored:
        verified = trust.accept_delta(raw, entry, index)
        fresh = {file.path: content for file, content in verified.delta.contents(index, read)}
        touched.update(verified.delta.changes)
        contents |= fresh
        index = verified.after
    changes = {path: index.find(path) for path in sorted(touched)}
    changes = {path: file for path, file in changes.items() if file != before.find(path)}
    return Plan(before, index, changes, {path: contents[path] for path, file in changes.items() if file is not None})


def edit(root: Root, spare: Spare, plan: Plan, *, stamp: int, durability: Durability) -> tuple[Edited, Work]:
    """Make a release of the copy. After an error it is in no state to be used. Raises `MachineFault`."""
    with disk.doing(f"editing {spare.folder}"):
        _require_room(root, spare, plan)
        folders = _folders(spare.folder, plan)
        flushing = flushing_for(durability, len(plan.contents) + len(folders))
        marks = _write(spare, plan, stamp, sync=flushing == "fsync")
        for folder in folders:
            stamp_folder(folder, stamp, sync=flushing == "fsync")
        if flushing == "syncfs":
            flush(spare.folder)
        base = spare.release
        change = Change(base.tree.digest, plan.files, marks)
        folder = root.add_edited(spare.folder, plan.after.digest, change, durable=flushing != "none")
        release = edited(folder, base, plan.before, plan.after, change)
    return release, Work(len(plan.contents), len(plan.after) - len(plan.contents))


def _read(folder: Path, file: TreeFile) -> bytes:
    """A file of the copy, which is what the live release has. Raises `Corrupt` if it has another size."""
    with disk.doing(f"reading {folder / file.path}"):
        descriptor = os.open(folder / file.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as opened:
            content = opened.read(file.size + 1)
    if len(content) != file.size:
        raise Corrupt(f"{folder / file.path} is not what the file list says", code="wrong_size")
    return content


def _require_room(root: Root, spare: Spare, plan: Plan) -> None:
    free = room.Free.at(spare.folder)
    files = [file for file in plan.files.values() if file is not None]
    need = room.Need(sum(-(-file.size // free.block) + 2 for file in files) * free.block, 2 * len(files) + 2)
    room.require(root.path, need, free, plan.after.digest)


def _folders(top: Path, plan: Plan) -> list[Path]:
    """The folders in which there will be other entries, those first that are below others."""
    kept = set(plan.after.folders)
    found: set[str] = set()
    for path in plan.files:
        folder = path.rpartition("/")[0]
        found.add(folder)
        while folder and (folder not in kept or not (top / folder).is_dir()):  # it goes, or comes
            folder = folder.rpartition("/")[0]
            found.add(folder)
    return [top / folder for folder in sorted(found & kept, key=lambda folder: folder.count("/"), reverse=True)]


def _write(spare: Spare, plan: Plan, stamp: int, *, sync: bool) -> dict[str, Mark]:
    """Write and remove what changes; the marks of what was written."""
    before = {path: _unlinked(spare.folder / path) for path in plan.files}
    kept = set(plan.after.folders)
    gone = {path.rpartition("/")[0] for path, file in plan.files.items() if file is None}
    for folder in sorted(gone, key=lambda folder: folder.count("/"), reverse=True):
        while folder and folder not in kept and (spare.folder / folder).is_dir():
            if any((spare.folder / folder).iterdir()):
                break
            (spare.folder / folder).rmdir()
            folder = folder.rpartition("/")[0]
    marks = {}
    for path, content in plan.contents.items():
        file = plan.files[path]
        assert file is not None
        mtime = fresh_mtime(stamp * 1_000_000, before[path])
        marks[path] = _write_file(spare.folder, file, content, mtime, sync=sync)
    return marks


def _unlinked(path: Path) -> Mark | None:
    """Remove a link to a file of the live release; what it was, None if there was none."""
    try:
        found = path.stat(follow_symlinks=False)
        if stat.S_ISDIR(found.st_mode):  # a folder, all of which goes: a file follows on it
            return None
        path.unlink()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return Mark.of(found)


def _write_file(top: Path, file: TreeFile, content: bytes, mtime: int, *, sync: bool) -> Mark:
    path = top / file.path
    missing = []
    folder = path.parent
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
        if folder == top.parent:
            raise MachineFault(f"{top} is gone")
    for folder in reversed(missing):
        folder.mkdir()
        folder.chmod(0o755)  # whatever the umask is
    descriptor = os.open(path, _CREATE, 0o600)
    with os.fdopen(descriptor, "wb") as opened:
        opened.write(content)
        opened.flush()
        return seal(file, descriptor, mtime, sync=sync)
