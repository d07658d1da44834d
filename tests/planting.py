"""Planted bugs: an edit in a copy of the source, and the tests that have to find it.

The copy is what those tests import, in a process of their own; what is installed stays as it is.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

CHECKOUT: Final = Path(__file__).parents[1]
COMPONENTS: Final = ("schemas", "storage", "builder", "agent")
FAILED: Final = 1
"""What pytest ends with when tests fail."""


@dataclass(frozen=True)
class Bug:
    """An edit in a module of a component, and words in the name of the test that has to find it."""

    module: str
    old: str
    new: str
    test: str
    component: str = "agent"

    def plant(self, source: Path) -> None:
        """Make the edit in that copy of the source."""
        file = source / self.component / f"dagferry_{self.component}" / f"{self.module}.py"
        text = file.read_text()
        assert text.count(self.old) == 1, f"{self.module} has no longer one {self.old!r}"
        file.write_text(text.replace(self.old, self.new))


def copy_of_source(folder: Path) -> Path:
    """A copy of the four components below ``folder``."""
    source = folder / "source"
    for component in COMPONENTS:
        shutil.copytree(CHECKOUT / component, source / component, ignore=shutil.ignore_patterns("__pycache__"))
    return source


def outcome(source: Path, files: Iterable[str], words: Iterable[str]) -> int:
    """What pytest ends with for the tests in ``files`` with one of ``words`` in their names, on that source."""
    path = os.pathsep.join([*(str(source / one) for one in COMPONENTS), str(CHECKOUT)])
    environment = {**os.environ, "PYTHONPATH": path}
    environment.pop("DAGFERRY_TEST_INSTALLED", None)
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-k", " or ".join(words)]
    return subprocess.run(
        [*command, *(str(CHECKOUT / file) for file in files)],
        cwd=CHECKOUT,
        env=environment,
        capture_output=True,
        timeout=120,
        check=False,
    ).returncode
