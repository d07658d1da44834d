"""Small git repositories for tests of the builder; history is fixed, so that ids are the same every time."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class Clone:
    """A git repository in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        self._day = 0
        self.git("init", "-q", "-b", "main")

    def git(self, *arguments: str, **settings: str) -> str:
        """Run git as nobody in particular, with the machine's configuration shut out."""
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            **{f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER") for what, value in self._identity()},
            **settings,
        }
        done = subprocess.run(
            ["git", *arguments], cwd=self.folder, env=environment, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    def _identity(self) -> tuple[tuple[str, str], ...]:
        return ("NAME", "Ada"), ("EMAIL", "ada@example.com"), ("DATE", f"2026-01-{1 + self._day:02} 12:00:00 +0000")

    def commit(self, files: Mapping[str, bytes], executable: frozenset[str] = frozenset()) -> str:
        """Write ``files``, commit everything, and return the commit's id."""
        for path, body in files.items():
            (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / path).write_bytes(body)
            (self.folder / path).chmod(0o755 if path in executable else 0o644)
        self._day += 1
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", f"day {self._day}")
        return self.git("rev-parse", "HEAD")
