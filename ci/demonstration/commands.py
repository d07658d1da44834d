"""Commands of the story: run for real, with an environment of their own, and shown as one would type them."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from .story import Broken

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .story import Story

PROGRAMS: Final = Path(sys.executable).parent


class Commands:
    """Runs commands in ``cwd``. ``shown`` is the part of their environment that the story exports."""

    def __init__(self, story: Story, folder: Path, surroundings: Mapping[str, str]) -> None:
        self.cwd = folder
        self.places = {"DEMO": str(folder)}
        self.shown: dict[str, str] = {}
        self._story = story
        self._base = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(folder),
            **surroundings,
            "TMPDIR": str(folder),
            "LC_ALL": "C.UTF-8",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_LFS_SKIP_SMUDGE": "1",
        }
        self._base["PATH"] = os.pathsep.join([str(PROGRAMS), self._base["PATH"]])

    @property
    def environment(self) -> dict[str, str]:
        return {**self._base, **self.shown}

    def run(self, *words: str, expect: int | tuple[int, ...] = 0, show: bool = True,
            env: Mapping[str, str] | None = None, stdin: str = "") -> str:  # fmt: skip
        """Run a command; what it printed. Raises `Broken` if the exit code is not as expected."""
        if show:
            self._story.command(*map(self.as_typed, words))
        done = subprocess.run(
            words,
            cwd=self.cwd,
            env={**self.environment, **(env or {})},
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
        if show:
            self._story.said(done.stdout.rstrip())
        if done.returncode not in (expect if isinstance(expect, tuple) else (expect,)):
            said = "" if show else f": {done.stdout.strip()}"
            raise Broken(f"{shlex.join(words)} ended with exit code {done.returncode}, not {expect}{said}")
        if show and done.returncode:
            self._story.said(f"[exit code {done.returncode}]")
        return done.stdout

    def facts(self, *words: str) -> dict[str, Any]:
        """The JSON document of a command that only looks, unseen."""
        return cast("dict[str, Any]", json.loads(self.run(*words, "-o", "json", show=False)))

    def export(self, variables: Mapping[str, str]) -> None:
        """Put variables into the environment of all that follows, and say so."""
        for name, value in variables.items():
            self.shown[name] = value
            self._story.command("export", f"{name}={self.as_typed(value)}")

    def as_typed(self, word: str) -> str:
        """The word, with the places that differ from run to run as variables."""
        for name, value in self.places.items():
            if value in word:
                return word.replace(value, f"${name}")
        return shlex.quote(word)
