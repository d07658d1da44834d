"""What the facts of an attack have to be. A case about which there is no objection has gone as it must."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tests.e2e.harness import CHECKOUT, environment

from .vector import TAMPERED
from .vectors import VECTORS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MOST_KIB: Final = 96 * 1024
"""The peak of an agent's process; the interpreter with all modules takes about a quarter of that."""
MOST_CHARACTERS: Final = 24_000
"""The length of a message, which has to fit into a log line and a reply."""


def objections(facts: Mapping[str, Any]) -> list[str]:
    """Everything that is not as it must be."""
    if "broken" in facts:
        return [f"no answer: {facts['broken']}"]
    wanted = VECTORS[facts["name"]].verdicts[facts["setting"]]
    if wanted == TAMPERED:
        wanted = ("Corrupt", facts["tampered"])
    must = {
        f"the pull ends with {wanted}, not with {facts['error']!r} {facts['code']!r}: {facts['message']}": (
            (facts["error"], facts["code"]) == wanted
        ),
        f"outside the root changed: {facts['outside']}": not facts["outside"],
        f"in the root is what does not belong there: {facts['odd']}": not facts["odd"],
        f"staging is not empty: {facts['staging']}": not facts["staging"],
        "other files are live than before, or than those that were delivered": facts["live"],
        "the memory has changed although nothing was delivered, or the other way round": facts["memory"],
        f"{facts['leaked']} descriptors stay open": facts["leaked"] == 0,
        f"the next good release is not delivered: {facts['next_error']}": not facts["next_error"],
        f"the process took {facts['peak_kib']} KiB": facts["peak_kib"] <= MOST_KIB,
        f"the message has {facts['message_size']} characters": facts["message_size"] <= MOST_CHARACTERS,
    }
    return [objection for objection, holds in must.items() if not holds]


def run(*arguments: str, path: Sequence[str | Path] = (), timeout: float = 600) -> list[dict[str, Any]]:
    """The facts that `sweep` finds with these arguments; ``path`` are the folders of another dagferry."""
    changes: dict[str, str | None] = {"PYTHONPYCACHEPREFIX": None, "PYTHONDONTWRITEBYTECODE": "1"} if path else {}
    before = [environment().get("PYTHONPATH", "")] if not path else []
    changes["PYTHONPATH"] = os.pathsep.join([*map(str, path), *filter(None, before), str(CHECKOUT)])
    done = subprocess.run(
        [sys.executable, "-m", "tests.evil.sweep", *arguments],
        cwd=CHECKOUT if not path else Path(path[0]).parent,
        env=environment(**changes),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]
