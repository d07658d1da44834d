"""File systems of a test's own: tmpfs that can be full, images on loop devices that can lose their power.

* A power cut is a copy of the image file while it is mounted: what the file system had handed to its device, and no
  more. Nothing was written meanwhile, or the copy is made again.
* Everything that is mounted is unmounted at the end of its block, also after a failure.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

IMAGES: Final = {
    "ext4": (24, ("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0"), "commit=600"),
    "xfs": (320, ("mkfs.xfs", "-q", "-f"), "nouuid"),
}
"""MiB of an image (the least that its tool makes), the tool, and how to mount it: ``commit`` keeps the journal from
being written for its age alone, ``nouuid`` lets a copy be mounted beside its original."""


def need(*programs: str, root: bool = False, loop: bool = False) -> None:
    """Skip the test with a word on why it cannot be made here."""
    if missing := [program for program in programs if shutil.which(program) is None]:
        pytest.skip(f"{', '.join(missing)} not installed: apt-get install strace e2fsprogs xfsprogs")
    if root and os.geteuid() != 0:
        pytest.skip("only root can mount a file system")
    if loop and not Path("/dev/loop-control").exists():
        pytest.skip("there is no loop device here (/dev/loop-control)")


@contextmanager
def tmpfs(place: Path, options: str) -> Iterator[Path]:
    """A tmpfs with these mount options at ``place``."""
    with _mounted(["-t", "tmpfs", "-o", options, "tmpfs"], place):
        yield place


def remount(place: Path, options: str) -> None:
    """Give a tmpfs other limits."""
    _call("mount", "-o", f"remount,{options}", str(place))


def make_image(kind: str, image: Path) -> None:
    """Make an empty file system in the file ``image``."""
    mebibytes, command, _ = IMAGES[kind]
    with image.open("wb") as file:
        file.truncate(mebibytes * 1024 * 1024)
    _call(*command, str(image))


@contextmanager
def mounted(kind: str, image: Path, place: Path) -> Iterator[Path]:
    """The file system in ``image`` at ``place``; its journal is replayed, as after a power cut."""
    with _mounted(["-t", kind, "-o", f"loop,{IMAGES[kind][2]}", str(image)], place):
        yield place


def cut(place: Path, image: Path, copy: Path) -> None:
    """Copy the image that is mounted at ``place`` as it would be after a power cut now."""
    for _ in range(20):
        before = _written(place)
        duplicate(image, copy)
        if _written(place) == before:
            return
    raise AssertionError(f"the device of {place} is written all the time: there is no moment to copy")


def duplicate(image: Path, copy: Path) -> None:
    """Copy an image with its holes."""
    _call("cp", "--sparse=always", str(image), str(copy))


def commit_journal(place: Path) -> None:
    """Let the file system commit what it has in mind, by somebody else's fsync: names, but no other file's bytes."""
    descriptor = os.open(place / "of-somebody-else", os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, b"x")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _written(place: Path) -> str:
    device = place.stat().st_dev
    return Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/stat").read_text().split()[4]


@contextmanager
def _mounted(arguments: list[str], place: Path) -> Iterator[None]:
    place.mkdir(exist_ok=True)
    _call("mount", *arguments, str(place))
    try:
        yield
    finally:
        _call("umount", str(place))


def _call(*command: str) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
