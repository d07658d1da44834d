"""Whether the volume under a root does what releases need: tried in a folder of its own, which is removed again.

The folder's name is one that an agent takes for a leftover (`root`), so that even a killed doctor leaves nothing long.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from dagferry_storage import disk
from dagferry_storage.probe import Failed

from . import control, locking, room
from .doctor_finding import Untried, Warned
from .root import CURRENT, Root, erase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from dagferry_schemas.pins import Content

    from .doctor_finding import Step

_OTHERS: Final = stat.S_IROTH | stat.S_IXOTH


class Volume:
    """The volume of ``root``; ``coming`` gives the content that the channel wants live, if it can be had."""

    def __init__(self, root: Root, coming: Callable[[], Content | None], *, read_only: bool) -> None:
        self._root = root
        self._coming = coming
        self._read_only = read_only

    def steps(self) -> list[tuple[str, Step]]:
        """The checks."""
        return [
            ("root", self.root),
            ("owner", self.owner),
            ("readable", self.readable),
            ("live_link", self.live_link),
            ("one_volume", self.one_volume),
            ("rename", self.rename),
            ("hard_links", self.hard_links),
            ("modes", self.modes),
            ("locks", self.locks),
            ("room", self.room),
        ]

    def root(self) -> str:
        """Whether the root is a folder that can be written to."""
        path = self._root.path
        if not path.exists():
            parent = self._nearest()
            if not os.access(parent, os.W_OK | os.X_OK, effective_ids=True):
                raise Failed(f"{path} is not there, and {_whose(parent)} cannot be written to by {_who()}: mount it")
            return f"{path} is not there yet, and can be made in {parent}"
        if not path.is_dir():
            raise Failed(f"{path} is no folder: name one that is empty, or not there, with --root")
        if not self._read_only:
            with self._trial() as folder:
                (folder / "file").write_bytes(b"")
        running = ", and an agent is active in it" if control.is_there(path) else ""
        return f"{path} {'is there' if self._read_only else 'can be written to'}{running}"

    def owner(self) -> str:
        """Whether what is in the root may be changed by this user."""
        path = self._root.path
        if not path.is_dir():
            raise Untried(f"there is no {path}")
        folders = [path, *(one for one in (self._root.releases, self._root.staging) if one.is_dir())]
        with disk.doing(f"reading {path}"):
            folders += [one for one in path.iterdir() if one.is_dir() and not one.is_symlink() and one not in folders]
        for folder in folders:
            if not os.access(folder, os.W_OK | os.X_OK, effective_ids=True):
                raise Failed(
                    f"{_whose(folder)} cannot be written to by {_who()}: let fsGroup be one group for all "
                    "containers of the pod, or run them as one user"
                )
        return f"{_who()} may change what is in {path}"

    def readable(self) -> str:
        """Whether other users, of which Airflow may be one, can read releases."""
        path = self._root.path
        if not path.is_dir():
            raise Untried(f"there is no {path}")
        for folder in (path, self._root.releases):
            if folder.is_dir() and folder.stat().st_mode & _OTHERS != _OTHERS:
                raise Warned(
                    f"{_whose(folder)} cannot be read by others: Airflow has to run as that user, or in that group"
                )
        return "every user who gets to the root can read releases"

    def live_link(self) -> str:
        """Whether the link is the agent's, and leads to a release."""
        live = self._root.live()
        if live is None:
            if (self._root.path / CURRENT).is_symlink():
                raise Failed(f"{self._root.path / CURRENT} leads out of the releases: remove that link, and pull")
            return "nothing is live yet"
        if not (self._root.releases / live).is_dir():
            raise Failed(f"{CURRENT} leads to {live}, which is not there: the next pull brings it back")
        return f"{CURRENT} leads to {live}"

    def one_volume(self) -> str:
        """Whether all of the root is one file system."""
        self._root.require_one_volume()
        return "releases and staging are on one file system"

    def rename(self) -> str:
        """Whether a link takes another one's place, and a finished folder gets its name."""
        with self._trial() as folder:
            for name in ("one", "two"):
                (folder / name).mkdir()
                (folder / f"to-{name}").symlink_to(name)
            (folder / "to-two").rename(folder / "to-one")
            (folder / "two").rename(folder / "finished")
            if str((folder / "to-one").readlink()) != "two" or not (folder / "finished").is_dir():
                raise Failed("a rename was done and did not take place: use another volume")
        return "a link takes another one's place by one rename"

    def hard_links(self) -> str:
        """Whether unchanged files can be shared with the release before."""
        with self._trial() as folder:
            (folder / "file").write_bytes(b"dagferry")
            try:
                os.link(folder / "file", folder / "same")
            except OSError as error:
                raise Warned(
                    f"the volume has no hard links ({error.strerror}): every release is written whole, and takes its "
                    "full size; use a volume with them (emptyDir, ext4, xfs, NFS)"
                ) from None
            if (folder / "file").stat().st_ino != (folder / "same").stat().st_ino:
                raise Warned("a hard link has another inode: every release is written whole")
        return "unchanged files are shared with the release before"

    def modes(self) -> str:
        """Whether a file keeps the modes that releases have."""
        with self._trial() as folder:
            for mode in (0o444, 0o555):
                file = folder / f"{mode:o}"
                file.write_bytes(b"")
                file.chmod(mode)
                if stat.S_IMODE(file.stat().st_mode) != mode:
                    raise Failed(f"a file of mode {mode:o} has {stat.S_IMODE(file.stat().st_mode):o}: the volume keeps "
                                 "no modes, and each release would count as edited; use another one")  # fmt: skip
        return "files keep their modes"

    def locks(self) -> str:
        """Whether two agents keep off each other."""
        with self._trial() as folder:
            locking.require_locks(folder / "lock")
        return "a lock keeps others off"

    def room(self) -> str:
        """Whether what the channel wants fits."""
        with disk.doing(f"measuring {self._nearest()}"):
            free = room.Free.at(self._nearest())
        left = f"{free.size} bytes" + (f" and {free.inodes} inodes" if free.inodes is not None else "") + " are free"
        content = self._coming()
        if content is None:
            return f"{left}; what a release needs is not known"
        need = room.most_of(content, free.block)
        room.require(self._nearest(), need, free, "what the channel says, if all of it has to be written")
        return f"{left}; what the channel says needs {need.size} bytes at the most"

    def _nearest(self) -> Path:
        """The root, or the folder above it that is there."""
        path = self._root.path
        while not path.is_dir() and path != path.parent:
            path = path.parent
        return path

    @contextmanager
    def _trial(self) -> Iterator[Path]:
        """An empty folder on the volume. Raises `Untried` where none may be or can be made, `MachineFault`."""
        if self._read_only:
            raise Untried("--read-only")
        folder = self._nearest() / f".{CURRENT}.{secrets.token_hex(8)}"
        try:
            folder.mkdir()
        except OSError as error:
            if error.errno == errno.EACCES:
                raise Failed(f"{_whose(folder.parent)} cannot be written to by {_who()}: set fsGroup, or mount it "
                             "writable") from None  # fmt: skip
            raise disk.fault(error, f"writing to {folder.parent}") from error
        try:
            with disk.doing(f"trying {folder.parent}"):
                yield folder
        finally:
            with disk.doing(f"removing {folder}"):
                erase(folder)


def _who() -> str:
    return f"this user ({os.geteuid()}:{os.getegid()})"


def _whose(path: Path) -> str:
    found = path.stat()
    return f"{path}, which is {found.st_uid}:{found.st_gid} with mode {stat.S_IMODE(found.st_mode):o},"
