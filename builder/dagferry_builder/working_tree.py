"""The working tree as a commit that nobody else sees: what `git commit --all` would make of it, new files included.

Its objects are written to a folder of our own, and its index is a copy: neither the repository nor what is staged
changes. What `.gitignore` names is left out, as in a commit, and so are the files that editors leave for a moment.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from dagferry_schemas.errors import MachineFault

from . import asking

if TYPE_CHECKING:
    from pathlib import Path

    from .git import Repository

EDITORS: Final = (
    "*~",
    ".*.sw[a-z]",
    ".#*",
    "#*#",
    "4913",
    "*___jb_tmp___",
    "*___jb_old___",
    ".goutputstream-*",
    "*.kate-swp",
)
"""Names of files that editors make while they save: Emacs, Vim, JetBrains, GNOME, Kate."""
_WHO: Final = {
    f"GIT_{role}_{name}": value
    for role in ("AUTHOR", "COMMITTER")
    for name, value in {"NAME": "dagferry watch", "EMAIL": "nobody@localhost", "DATE": "2000-01-01T00:00:00Z"}.items()
}


def is_editors(path: str) -> bool:
    """Whether a file is one that an editor makes while it saves."""
    name = path.rpartition("/")[2]
    return any(fnmatchcase(name, pattern) for pattern in EDITORS)


class WorkingTree:
    """The working tree of ``repository``; ``scratch`` is an empty folder, to which this process's git writes."""

    def __init__(self, repository: Repository, scratch: Path) -> None:
        self._top = repository.top
        self._index = scratch / "index"
        objects, index = (
            self._top / self._git("rev-parse", "--git-path", name).decode().rstrip("\n")
            for name in ("objects", "index")
        )
        if index.is_file():  # git need not read again what has not changed since
            shutil.copy2(index, self._index)
        (scratch / "objects").mkdir()
        asking.write_objects_to(scratch / "objects", objects)

    def commit(self) -> str:
        """The commit that the working tree would be now; the same one as long as nothing changes.

        Raises `MachineFault` with git's words.
        """
        left_out = [f":(exclude,glob)**/{pattern}" for pattern in EDITORS]
        self._git("add", "--all", "--", ":/", *left_out)
        tree = self._git("write-tree").decode().strip()
        return self._git("commit-tree", tree, "-m", "the working tree").decode().strip()

    def _git(self, *arguments: str) -> bytes:
        environment = {name: value for name, value in os.environ.items() if name != "GIT_LITERAL_PATHSPECS"}
        environment |= {**_WHO, "GIT_INDEX_FILE": str(self._index)}
        command = [
            "git",
            "-c",
            "core.fsmonitor=false",
            "-c",
            "advice.addEmbeddedRepo=false",
            "-C",
            str(self._top),
            *arguments,
        ]
        done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        if done.returncode:
            said = done.stderr.decode("utf-8", "replace").strip()
            raise MachineFault(f"git {arguments[0]} failed in {self._top}: {said[:500]}", "see git's message")
        return done.stdout
