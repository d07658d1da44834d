"""A DAG file that forks without end: lint ends, names it, and the other files have their results.

It runs as a user other than root, because root has no limit of processes; in a process namespace that dies as a whole;
and below a second limit, in case that of the probe does not hold.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from tests.airflow.linted import HOSTILE, below_dags, dag, lint_command, process_namespace
from tests.builder.repositories import Clone
from tests.e2e import harness

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.hostile

NOBODY: Final = 65534
MOST: Final = 1000
"""Processes at the very most."""
SECONDS: Final = 120


@pytest.fixture
def ours() -> Iterator[Path]:
    """A folder that somebody without rights may use."""
    with tempfile.TemporaryDirectory(prefix="dagferry-nobody-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def as_nobody() -> list[str]:
    words = process_namespace()
    if not words or shutil.which("setpriv") is None or shutil.which("prlimit") is None:
        pytest.fail("this needs root, unshare, setpriv and prlimit (Debian: util-linux)", pytrace=False)
    user = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    may_read = ["--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search"]  # this Python, anywhere
    limit = ["prlimit", f"--nproc={MOST}:{MOST}"]
    return ["timeout", "--signal=KILL", str(SECONDS), *words, *user, *may_read, *limit]


def give_away(folder: Path) -> None:
    for path in [folder, *folder.rglob("*")]:
        os.chown(path, NOBODY, NOBODY, follow_symlinks=False)


def test_fork_bomb_is_found_and_harms_nothing(ours: Path) -> None:
    python = Path(os.environ.get("DAGFERRY_AIRFLOW_PYTHON", "")).absolute()
    clone = Clone(ours / "clone")
    bomb = (HOSTILE / "deep" / "fork_bomb.py").read_bytes()
    files = below_dags({"a.py": dag("a"), "fork_bomb.py": bomb, "z.py": dag("z")})
    clone.commit({**files, "dagferry.toml": files["dagferry.toml"] + b"[lint]\nimport_timeout = 2\n"})
    (ours / "tmp").mkdir()
    prefix = f"env {python}"  # access(2), by which one word is looked for, does not heed capabilities
    give_away(ours)
    places = {"HOME": str(ours), "TMPDIR": str(ours / "tmp"), "PYTHONPYCACHEPREFIX": None}
    done = subprocess.run(
        [*as_nobody(), *lint_command(prefix, "--cache-dir", str(ours / "cache"))],
        cwd=clone.folder,
        env=harness.environment(**places, PYTHONDONTWRITEBYTECODE="1"),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done
    document = json.loads(done.stdout)
    assert {one["path"] for one in document["findings"]} == {"dags/fork_bomb.py"}
    assert {one["rule"] for one in document["findings"]} & {"import-timeout", "import-crash", "import-error"}
    assert document["checked"]["dag_files"] == 3
    assert document["checked"]["dags"] == 2
    assert list((ours / "tmp").iterdir()) == []
