"""The next release, prepared: a copy of the live one by links, out of sight, of which a delta edits what it changes.

* It is made in idle time, a little at a time; who needs it before it is ready has the rest made at once.
* A file is linked only if it is as we left it, and from then on the kernel is asked whether anybody writes to it. Where
  it cannot be asked, every file is looked at once more before the copy is used.
* It is flushed as a whole before it is used. What fails throws it away, and nothing else: the whole tarball serves.
"""

from __future__ import annotations

import contextlib
import math
import os
import stat
import threading
import time
from typing import TYPE_CHECKING, Final

from dagferry_schemas import compression
from dagferry_schemas.errors import Corrupt, MachineFault
from dagferry_schemas.tree import list_line
from dagferry_schemas.tree_index import IndexBuilder, TreeIndex
from dagferry_storage import disk

from .releases import Edited, Mark, Marks, Release
from .root import PREPARED, erasing
from .staging import flush, stamp_folder

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

    from .edit_watch import EditWatch
    from .renewing import Renewed
    from .root import Root

AT_ONCE: Final = 16
"""Files between two looks at the clock."""


class Unfit(Corrupt):
    """There is no copy of the live release that could be edited."""


class Spare:
    """A copy of ``release``, whose folders get the time ``stamp`` (milliseconds). To be used by one thread.

    ``durable``: it is flushed. ``watch``, which is closed in the end, is asked for edits; without one every file is
    looked at again, unless the copy is used ``at_once``. After an error, and in the end, `drop` it.
    """

    def __init__(
        self,
        root: Root,
        release: Release,
        stamp: int,
        *,
        durable: bool,
        watch: EditWatch | None = None,
        at_once: bool = False,
    ) -> None:
        self.release = release
        self.folder = root.new_staging(PREPARED + release.folder.name)
        self._root = root
        self._stamp = stamp
        self._durable = durable
        self._settled = root.lists.is_settled(release.tree.digest)
        self._index: TreeIndex | None = None
        self._is_impossible = False
        self._marks = Marks()
        self._watch = watch
        self._at_once = at_once
        self._made: set[str] = set()
        self._flush: threading.Thread | None = None
        self._flushed: Exception | None = None
        self._work: Generator[bool] = self._make()

    def advance(self, seconds: float) -> bool:
        """Work on it for about so many seconds; whether there is more to do. Raises `MachineFault`."""
        until = time.monotonic() + seconds
        with disk.doing(f"preparing the release after {self.release.folder}"):
            for _ in self._work:
                if time.monotonic() >= until:
                    return True
        return False

    @property
    def is_impossible(self) -> bool:
        """Whether the live release cannot be copied: a file of it was edited, or cannot be linked to."""
        return self._is_impossible

    @property
    def is_ready(self) -> bool:
        """Whether it is whole."""
        return self._index is not None

    def follow(self, renewed: Renewed) -> None:
        """Link to files that were put in the place of others in the live release, with the same bytes.

        It has to be ready. A rename is no edit of a file for the watch. Raises `Unfit`, `MachineFault`: drop it.
        """
        assert self._index is not None
        with disk.doing(f"preparing the release after {self.release.folder}"):
            with _opened(self.release.folder) as source, _opened(self.folder) as target:
                for path, mark in renewed.files.items():
                    file = self._index.find(path)
                    os.unlink(path, dir_fd=target)
                    if file is None or not _link(path, file.size, mark, source, target):
                        raise Unfit(f"{self.release.folder / path} was edited, or cannot be linked to")
            for folder in {(self.folder / path).parent for path in renewed.files}:
                stamp_folder(folder, self._stamp, sync=self._durable)
        self.release = Release(self.release.folder, self.release.tree, renewed.marks)

    def take(self) -> TreeIndex:
        """The index of the copy, which is whole from now on, and flushed. Raises `Unfit`, `MachineFault`."""
        with disk.doing(f"preparing the release after {self.release.folder}"):
            if not self.folder.is_dir():  # and who holds the root's lock keeps it from going now
                raise Unfit(f"{self.folder} is gone: another process has begun on this root")
            for _ in self._work:
                pass
            if self._flush is not None:
                self._flush.join()
            if self._flushed is not None:
                raise MachineFault(f"{self.folder} was not flushed: {self._flushed}")
            if self._index is None or not self._is_unedited():
                raise Unfit(f"{self.release.folder} was edited, or cannot be linked to")
        return self._index

    def drop(self, seconds: float = math.inf) -> None:
        """Throw it away, as far as there is time; what was made a release of stays."""
        self._work.close()
        if self._watch is not None:
            self._watch.close()
            self._watch = None
        if self._flush is not None:
            self._flush.join()
        until = time.monotonic() + seconds
        with contextlib.suppress(OSError):
            for _ in erasing(self.folder) if self.folder.exists() else ():
                if time.monotonic() >= until:
                    break

    def _make(self) -> Generator[bool]:
        """Make it: True after each small step."""
        known = self.release.index if isinstance(self.release, Edited) else None
        builder, listed = None if known else IndexBuilder(), compression.Compressor()
        if not self.release.folder.is_dir():  # somebody removed it
            self._is_impossible = True
            return
        with _opened(self.release.folder) as source, _opened(self.folder) as target:
            self._enter("", target)
            parent = ""
            for number, (file, mark) in enumerate(self.release.files()):
                if file.path.rpartition("/")[0] != parent:
                    parent = file.path.rpartition("/")[0]
                    self._enter(parent, target)
                if mark is None or not _link(file.path, file.size, mark, source, target):
                    self._is_impossible = True
                    return
                if builder is not None:
                    builder.add(file)
                self._marks.add(mark)
                if not self._settled:
                    listed.add(list_line(file).encode())
                if number % AT_ONCE == AT_ONCE - 1:
                    yield True
            index = builder.finish() if builder is not None else known
            assert index is not None
            yield from self._stamp_folders(index, target)
        self.release = Release(self.release.folder, index.tree(), self._marks.finish())
        if not self._settled:
            marks = self.release.marks or b""
            self._root.lists.settle(index.digest, listed.finish(), marks, durable=self._durable)
            yield True
        if self._durable:
            self._flush = threading.Thread(target=self._flush_it, name="flush", daemon=True)
            self._flush.start()
        self._index = index

    def _enter(self, folder: str, target: int) -> None:
        """Make a folder, and notice from now on what is written to the files of its model."""
        missing = []
        above = folder
        while above and above not in self._made:
            missing.append(above)
            above = above.rpartition("/")[0]
        for one in reversed(missing):
            os.mkdir(one, 0o755, dir_fd=target)
            self._made.add(one)
        if self._watch is not None:
            try:
                self._watch.add(self.release.folder / folder)
            except OSError:
                self._watch.close()
                self._watch = None

    def _stamp_folders(self, index: TreeIndex, target: int) -> Generator[bool]:
        time_of_all = (self._stamp * 1_000_000,) * 2
        umask_takes = False  # found out by looking: to ask for it changes it for the whole process
        for number, folder in enumerate(index.folders):
            path = folder or "."
            if number < 2:
                umask_takes |= stat.S_IMODE(os.stat(path, dir_fd=target).st_mode) != 0o755
            if umask_takes:
                os.chmod(path, 0o755, dir_fd=target)
            os.utime(path, ns=time_of_all, dir_fd=target)
            if number % AT_ONCE == AT_ONCE - 1:
                yield True

    def _flush_it(self) -> None:
        try:
            flush(self.folder)
        except OSError as error:
            self._flushed = error

    def _is_unedited(self) -> bool:
        if self._at_once or (self._watch is not None and self._watch.is_quiet()):
            return True
        return all(mark == _mark_of(self.folder / file.path, file.size) for file, mark in self.release.files())


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[int]:
    """Its descriptor."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _link(path: str, size: int, mark: Mark, source: int, target: int) -> bool:
    """Link a file that is as it was left; whether it is."""
    try:
        os.link(path, path, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)
    except OSError:
        return False
    found = os.stat(path, dir_fd=target, follow_symlinks=False)
    return stat.S_ISREG(found.st_mode) and found.st_size == size and Mark.of(found) == mark


def _mark_of(path: Path, size: int) -> Mark | None:
    try:
        found = path.stat(follow_symlinks=False)
    except OSError:
        return None
    return Mark.of(found) if stat.S_ISREG(found.st_mode) and found.st_size == size else None
