"""Vectors: what lies in a store's folder is no object at all, or the object of something else."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from .parts import GOOD, Parts
from .pins import MISSING, OTHER
from .vector import TAMPERED, Vector, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

UNREACHABLE: Final = ("DeliveryFailed", "unreachable")


def spoiled(spoil: Callable[[Path, Path, Path], None], verdict: Verdict) -> Vector:
    """A good release, of which somebody has spoiled the objects after they were stored."""
    return Vector({"tampered": lambda _: GOOD}, {"tampered": verdict}, spoil)


def swap(tarball: Path, listed: Path, _outside: Path) -> None:
    """Each in the other's place."""
    aside = tarball.with_name("aside")
    tarball.rename(aside)
    listed.rename(tarball)
    aside.rename(listed)


def in_place(make: Callable[[Path, Path], None], *, of_list: bool = False) -> Callable[[Path, Path, Path], None]:
    """Something else in the place of the tarball or of the file list; ``make`` is told its path, and the outside."""

    def spoil(tarball: Path, listed: Path, outside: Path) -> None:
        victim = listed if of_list else tarball
        victim.unlink()
        make(victim, outside)

    return spoil


def other(_: Path) -> Parts:
    """Another release, whose objects are good."""
    return OTHER


VECTORS: Final[Mapping[str, Vector]] = {
    "objects_of_another_release": Vector({"tampered": other}, {"tampered": TAMPERED}),
    "objects_swapped": spoiled(swap, TAMPERED),
    "no_tarball": spoiled(in_place(lambda _place, _outside: None), MISSING),
    "no_list": spoiled(in_place(lambda _place, _outside: None, of_list=True), MISSING),
    "a_folder_as_tarball": spoiled(in_place(lambda place, _outside: place.mkdir()), UNREACHABLE),
    "a_named_pipe_as_tarball": spoiled(in_place(lambda place, _outside: os.mkfifo(place)), UNREACHABLE),
    "a_named_pipe_as_list": spoiled(in_place(lambda place, _outside: os.mkfifo(place), of_list=True), UNREACHABLE),
    "an_endless_device_as_tarball": spoiled(
        in_place(lambda place, _outside: place.symlink_to("/dev/zero")), UNREACHABLE
    ),
    "an_endless_device_as_list": spoiled(
        in_place(lambda place, _outside: place.symlink_to("/dev/zero"), of_list=True), UNREACHABLE
    ),
    "a_link_out_of_the_store_as_tarball": spoiled(
        in_place(lambda place, outside: place.symlink_to(outside / "victim")), TAMPERED
    ),
    "a_link_that_loops_as_tarball": spoiled(
        in_place(lambda place, _outside: place.symlink_to(place.name)), UNREACHABLE
    ),
}
