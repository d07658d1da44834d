"""Planted bugs in the agent: the readers of `switches` find each of them, by the fault that is named.

Each is an edit in a copy of the source, which a process of its own imports in place of what is installed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.e2e.harness import environment

from .switches import CHECKOUT

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.torture, pytest.mark.planted]
COMPONENTS: Final = ("schemas", "storage", "agent")
ROOT, STAGING = "agent/dagferry_agent/root.py", "agent/dagferry_agent/staging.py"
SWITCHES: Final = 200
LINK: Final = "            temporary.rename(self.path / CURRENT)\n"
ADD: Final = (
    "        locking.make(self.lock_of(folder.name))  # first: a kill must not leave a release that nobody can hold\n"
)
IN: Final = "        staged.rename(folder)\n"


@dataclass(frozen=True)
class Planted:
    """A bug: edits of files, and what the readers call it."""

    fault: str
    edits: tuple[tuple[str, str, str], ...]


BUGS: Final = {
    "the link is unlinked before it is made": Planted(
        "missing", ((ROOT, LINK, "            (self.path / CURRENT).unlink(missing_ok=True)\n" + LINK),)
    ),
    "a release is removed although its lock is held": Planted(
        "missing",
        (
            (
                ROOT,
                "        if lock is None:\n            return None\n",
                "        if lock is None:\n            lock = os.open(os.devnull, os.O_RDONLY)\n",
            ),
        ),
    ),
    "files of a live release are written in place": Planted(
        "mixed",
        (
            (
                ROOT,
                LINK,
                "            for new in (self.releases / short).rglob('*.py'):\n"
                "                old = self.path / CURRENT / new.relative_to(self.releases / short)\n"
                "                if old.is_file() and not old.samefile(new):\n"
                "                    old.chmod(0o644)\n"
                "                    old.write_bytes(new.read_bytes())\n" + LINK,
            ),
        ),
    ),
    "the folder of a release is renamed before it is filled": Planted(
        "missing",
        (
            (
                STAGING,
                "    sink = _unpack(folder, tarball, spool, before, stamp, sync=flushing == ",
                (
                    "    early = root.releases / short_tree(tarball.tree.tree.digest)\n"
                    "    (root.path / 'locks' / early.name).touch()\n"
                    "    if early.exists():\n        erase(early)\n"
                    "    folder = folder.rename(early)\n"
                    "    sink = _unpack(folder, tarball, spool, before, stamp, sync=flushing == "
                ),
            ),
            (ROOT, "        if folder.exists():\n            self._put_aside(folder)\n", ""),
            (ROOT, IN, ""),
        ),
    ),
    "a release is there before its lock": Planted(
        "unlocked",
        ((ROOT, ADD, ""), (ROOT, IN, IN + "        __import__('time').sleep(0.02)\n" + ADD)),
    ),
}


def run(source: Path) -> dict[str, Any]:
    """What the readers saw, summed up, of the dagferry whose components are in ``source``."""
    path = os.pathsep.join([*(str(source / one) for one in COMPONENTS), str(CHECKOUT)])
    done = subprocess.run(
        [sys.executable, "-m", "tests.torture.switches", f"--switches={SWITCHES}"],
        cwd=source,
        env={**environment(PYTHONPATH=path, PYTHONPYCACHEPREFIX=None), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def copy(tmp_path: Path) -> Path:
    for one in COMPONENTS:
        ignored = shutil.ignore_patterns("__pycache__", "build", "*.egg-info")
        shutil.copytree(CHECKOUT / one, tmp_path / "source" / one, ignore=ignored)
    return tmp_path / "source"


@pytest.mark.parametrize("bug", BUGS.values(), ids=BUGS)
def test_readers_find_a_planted_bug(bug: Planted, tmp_path: Path) -> None:
    source = copy(tmp_path)
    for name, old, new in bug.edits:
        text = (source / name).read_text()
        assert text.count(old) == 1, f"{name} has no longer {old!r}"
        (source / name).write_text(text.replace(old, new))
    found = run(source)
    assert sum(found[kind].get(bug.fault, 0) for kind in ("resolved", "through_the_link")) > 0, found
