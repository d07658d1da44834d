"""One power cut: a pull on a file system in an image, killed at a call or ended, and what is on the disk then.

Each wrong thing is one line that begins with the copy in which it was found: ``at once``, or ``journal`` for the one
that was made after somebody else's fsync.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from .sweep import left_behind, recovered
from .tracing import FLUSHES, KILL, Point, Traced, fell, points, trace
from .volumes import commit_journal, cut, duplicate, make_image, mounted
from .world import Program, Scenario, files_of

if TYPE_CHECKING:
    from pathlib import Path

STEPS: Final = FLUSHES | {"rename", "renameat", "renameat2", "symlink", "symlinkat", "mkdir", "mkdirat", "flock"}
ROOT: Final = "pod"


@dataclass(frozen=True)
class Site:
    """A folder with the image ``base`` of one kind, in which the pull of ``scenario`` begins."""

    kind: str
    scenario: Scenario
    folder: Path

    @property
    def base(self) -> Path:
        """The image with which every cut begins."""
        return self.folder / "base.img"

    @property
    def place(self) -> Path:
        """Where images are mounted, one at a time or a copy beside its original."""
        return self.folder / "mounted"

    def sees(self, what: str) -> bool:
        """Whether a file is whole after a cut: ``flushed``, or ``only written`` and with its name in the journal."""
        image, copy = self.folder / "sees.img", self.folder / "sees-cut.img"
        duplicate(self.base, image)
        with mounted(self.kind, image, self.place) as disk:
            with (disk / "probe").open("wb") as file:
                file.write(b"x" * 5000)
                file.flush()
                if what == "flushed":
                    os.fsync(file.fileno())
            commit_journal(disk)
            cut(disk, image, copy)
        with mounted(self.kind, copy, self.place) as disk:
            return (disk / "probe").read_bytes() == b"x" * 5000


def prepare(kind: str, scenario: Scenario, folder: Path) -> Site:
    """Make the image in which A is live, by a pull of its own, and unmount it."""
    site = Site(kind, scenario, folder)
    make_image(kind, site.base)
    agent = Program.installed()
    assert scenario.template is not None
    [(_, seen)] = agent.each(scenario.arguments("status", scenario.template))
    with mounted(kind, site.base, site.place) as disk:
        pull = scenario.arguments("pull", disk / ROOT)
        [(code, document)] = agent.each([*pull, f"--version={seen['version']}"])
        assert code == 0, document
        assert files_of(disk / ROOT / "current") == scenario.before
    return site


def struck_points(site: Site, program: Program) -> list[Point]:
    """The calls of the pull at which the power may go: those that flush, and those that make or move names."""
    image = site.folder / "recorded.img"
    duplicate(site.base, image)
    with mounted(site.kind, image, site.place) as disk:
        done = _pull(site, program, disk, None)
        assert done.code == 0, done
        return [point for point in points(done.log, disk / ROOT) if point.call in STEPS]


def without_power(site: Site, program: Program, point: Point | None, *options: str) -> list[str]:
    """What is wrong after the power went at ``point``, or (None) after success was told."""
    image = site.folder / "struck.img"
    copies = {"at once": site.folder / "cut.img", "journal": site.folder / "committed.img"}
    duplicate(site.base, image)
    with mounted(site.kind, image, site.place) as disk:
        done = _pull(site, program, disk, point, *options)
        cut(disk, image, copies["at once"])
        commit_journal(disk)
        cut(disk, image, copies["journal"])
    wrong = []
    if point is None:
        assert done.code == 0, done
    elif not fell(done.log, site.place / ROOT, point, KILL):
        wrong.append(f"unproved: {point}")
    for moment, copy in copies.items():
        with mounted(site.kind, copy, site.place) as disk:
            said = _judge(site, program, disk / ROOT, promised=point is None)
        wrong += [f"{moment}: {word} (power went at {point or 'the end'})" for word in said]
    return wrong


def _judge(site: Site, program: Program, root: Path, *, promised: bool) -> list[str]:
    """What is wrong with the root on a disk that came back, after B was ``promised`` or not."""
    wrong = left_behind(site.scenario, root)
    if promised and not wrong and files_of(root / "current") != site.scenario.after:
        wrong.append("not B, though success was told")
    return wrong + [word for word in recovered(program, site.scenario, root, ()) if not word.startswith("left")]


def _pull(site: Site, program: Program, disk: Path, point: Point | None, *options: str) -> Traced:
    command = [*program.command, *site.scenario.arguments("pull", disk / ROOT), *options]
    log = site.folder / "strace"
    return trace(command, program.environment, log, fault=(point, KILL) if point else None)
