"""Ruff as a program: which one is run, how, and what it says.

1. The program is the one of the package ``ruff`` beside dagferry, found by the package itself. It is run by its path:
   ``python -m ruff`` would import a ``ruff.py`` of the tree that is checked.
2. Nothing in the tree or in the environment configures it: ``--isolated``, no variables ``RUFF_*``, no ignore files,
   and none of the folders that it passes over by default (``build``, ``dist``, ``.venv``).
3. It is given the folder, not its files: 10,000 paths do not fit on a command line everywhere.
4. What is still in preview is asked for in a run of its own, so that it changes nothing for the other rules.
"""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dagferry_schemas.errors import MachineFault

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SYNTAX: Final = "invalid-syntax"
NOT_UTF8: Final = "E902"
PANIC: Final = "panic"
_ALL_FILES: Final = ("--no-respect-gitignore", "--config", "exclude=[]", "--config", 'include=["*.py"]')
_PREVIEW: Final = ("--preview", "--config", "lint.explicit-preview-rules=true")
_REINSTALL: Final = "pip install --force-reinstall 'dagferry[builder]'"


@dataclass(frozen=True)
class Violation:
    """One thing that ruff found. ``path`` is below the folder; ``end_column`` is the one after the last character.

    ``remedy`` is what ruff would do about it, in its words; empty if it knows nothing.
    """

    code: str
    path: str
    line: int
    column: int
    end_line: int
    end_column: int
    message: str
    remedy: str


def check(folder: Path, codes: Iterable[str], *, target: str, preview: bool = False) -> list[Violation]:
    """What ruff finds in all Python files below ``folder``. Raises `MachineFault`, also for a code that it lacks.

    ``target`` is Python's version in ruff's form (``py311``). Ruff's own comments (``# noqa``) hide nothing.
    """
    arguments = ["check", "--isolated", "--no-cache", "--ignore-noqa", "--output-format", "json", *_ALL_FILES]
    arguments += ["--target-version", target, "--select", ",".join(sorted(codes))]
    arguments += _PREVIEW if preview else ()
    done = _run([*arguments, "."], folder)
    if done.returncode not in (0, 1):
        raise _fault(f"it ended with {done.returncode}: {_last_line(done.stderr)}")
    return [_violation(one, folder.resolve()) for one in _parsed(done.stdout)]


def knows(selector: str) -> bool:
    """Whether ``selector`` is a code of ruff, or the beginning of one. Raises `MachineFault`."""
    done = _run(["check", "--isolated", "--no-cache", "--select", selector, "-"], Path("/"))
    if done.returncode == 2 and "selector" in done.stderr:
        return False
    if done.returncode:
        raise _fault(f"it ended with {done.returncode}: {_last_line(done.stderr)}")
    return True


def describe(code: str) -> dict[str, Any] | None:
    """What ruff says of one of its rules; None if it has none of that code. Raises `MachineFault`."""
    done = _run(["rule", code, "--output-format", "json"], Path("/"))
    if done.returncode == 2:
        return None
    if done.returncode:
        raise _fault(f"it ended with {done.returncode}: {_last_line(done.stderr)}")
    found = _parsed(done.stdout)
    return found if isinstance(found, dict) else None


def _run(arguments: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RUFF_")}
    try:
        return subprocess.run(
            [_program(), *arguments],
            cwd=folder,
            env={**environment, "NO_COLOR": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    except OSError as error:
        raise _fault(f"it cannot be started: {error}") from error


def _program() -> str:
    try:
        from ruff import find_ruff_bin  # type: ignore[import-untyped, unused-ignore]

        return str(find_ruff_bin())
    except (ImportError, FileNotFoundError) as error:
        raise MachineFault(
            f"ruff, which checks the Python files, is not installed: {_last_line(str(error))}",
            "pip install 'dagferry[builder]'",
        ) from error


def _fault(problem: str) -> MachineFault:
    return MachineFault(f"ruff, which checks the Python files, failed: {problem}", _REINSTALL)


def _last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "no reason given")


def _parsed(text: str) -> Any:  # noqa: ANN401 (JSON is dynamic)
    try:
        return json.loads(text)
    except ValueError as error:
        raise _fault(f"its answer is not JSON ({error})") from error


def _violation(one: dict[str, Any], folder: Path) -> Violation:
    try:
        start, end = one["location"], one["end_location"]
        return Violation(
            code=one["code"] or SYNTAX,
            path=Path(one["filename"]).relative_to(folder).as_posix(),
            line=start["row"],
            column=start["column"],
            end_line=end["row"],
            end_column=end["column"],
            message=one["message"],
            remedy=(one.get("fix") or {}).get("message") or "",
        )
    except (KeyError, TypeError, ValueError) as error:
        raise _fault(f"its answer has another form than expected ({error!r})") from error
