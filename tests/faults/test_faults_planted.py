"""Bugs planted in a copy of the agent: the sweep and the power cuts have to find each of them.

Each is one edit in a copy of the source, which the agent's process imports in place of what is installed.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pytest

from tests.e2e.harness import CHECKOUT, COMPONENTS

from .cuts import prepare, without_power
from .sweep import sweep
from .tracing import FLUSHES, KILL
from .volumes import need
from .world import Program

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from .sweep import Recorded
    from .tracing import Point
    from .world import Scenario

pytestmark = [pytest.mark.faults, pytest.mark.planted]


@dataclass(frozen=True)
class Planted:
    """A bug: an edit of one file, the fault that brings it to light, and the kind of what is then wrong."""

    file: str
    old: str
    new: str
    fault: str
    wrong: str
    pull: str = "update"


SWITCH: Final = "temporary.rename(self.path / CURRENT)"
SWEPT: Final = {
    "the link is removed before the new one is made": Planted(
        "agent/dagferry_agent/root.py",
        SWITCH,
        f"(self.path / CURRENT).unlink(missing_ok=True); {SWITCH}",
        KILL,
        "lost",
    ),
    "the link is switched before the release is in its place": Planted(
        "agent/dagferry_agent/root.py",
        "        staged.rename(folder)\n",
        "        self.switch(folder.name, durable=False)\n        staged.rename(folder)\n",
        KILL,
        "lost",
    ),
    "a flush that fails is not spoken of": Planted(
        "storage/dagferry_storage/disk.py",
        "        os.fsync(descriptor)\n    finally:",
        "        os.fsync(descriptor)\n    except OSError:\n        pass\n    finally:",
        "EIO",
        "told",
    ),
}
CUT: Final = {
    "the bytes of files are not flushed": Planted(
        "agent/dagferry_agent/staging.py",
        "seal(file, descriptor, mtime, sync=self._sync)",
        "seal(file, descriptor, mtime, sync=False)",
        "journal",
        "torn",
        "whole",
    ),
    "the bytes of an edit are not flushed": Planted(
        "agent/dagferry_agent/editing.py",
        "seal(file, descriptor, mtime, sync=sync)",
        "seal(file, descriptor, mtime, sync=False)",
        "journal",
        "torn",
    ),
    "the new link is not flushed": Planted(
        "agent/dagferry_agent/root.py",
        "        if durable:\n            disk.sync_folder(self.path)\n",
        "",
        "at once",
        "not B",
    ),
}


def plant(bug: Planted, folder: Path) -> Program:
    """The agent with the bug."""
    for one in COMPONENTS:
        ignored = shutil.ignore_patterns("__pycache__", "build", "*.egg-info")
        shutil.copytree(CHECKOUT / one, folder / "source" / one, ignore=ignored)
    file = folder / "source" / bug.file
    text = file.read_text()
    assert bug.old in text, f"{bug.file} has no longer {bug.old!r}"
    file.write_text(text.replace(bug.old, bug.new))
    return Program.of_source(folder / "source", folder / "compiled")


def last(recorded: Recorded) -> Iterable[Point]:
    """The points of the switch, and the flushes before them."""
    return [point for point in recorded.points[:-12] if point.call in FLUSHES][-3:] + list(recorded.points[-12:])


@pytest.mark.parametrize("bug", SWEPT.values(), ids=SWEPT)
def test_the_sweep_finds_a_planted_bug(bug: Planted, pulls: dict[str, Scenario], tmp_path: Path) -> None:
    need("strace")
    done = sweep(plant(bug, tmp_path), pulls["update"], bug.fault, tmp_path, chosen=last)
    assert [wrong for one in done for wrong in one.wrong if wrong.startswith(bug.wrong)], done


@pytest.mark.parametrize("kind", ["ext4", "xfs"])
@pytest.mark.parametrize("bug", CUT.values(), ids=CUT)
def test_power_cuts_find_a_planted_bug(bug: Planted, kind: str, pulls: dict[str, Scenario], tmp_path: Path) -> None:
    need("strace", f"mkfs.{kind}", root=True, loop=True)
    site = prepare(kind, pulls[bug.pull], tmp_path)
    wrong = without_power(site, plant(bug, tmp_path), None, "--durability=fsync")
    assert [word for word in wrong if word.startswith(f"{bug.fault}: {bug.wrong}")], wrong
