"""How git is asked: as a process for each question or list, in an environment that is ours.

The environment of the caller does not leak in (a hook's ``GIT_DIR`` or ``GIT_INDEX_FILE`` would change the answer, see
pre-commit/pre-commit#300): `isolate` removes it from this process. Replaced objects and grafts are ignored. Lists are
read NUL-separated. A question may be put while other work goes on, and its `Answer` looked at later.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import tempfile
from typing import TYPE_CHECKING, Final, NamedTuple

from dagferry_schemas.errors import MachineFault, Malformed, Usage

from .objects import FETCH_ALL

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from typing import Self

_KEPT: Final = ("GIT_CONFIG", "GIT_SSL", "GIT_EXEC_PATH")
_SET: Final = {
    "LC_ALL": "C",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_GRAFT_FILE": os.devnull,
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_LITERAL_PATHSPECS": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_DISCOVERY_ACROSS_FILESYSTEM": "1",
}
CHUNK: Final = 64 * 1024
_DUBIOUS: Final = re.compile(r"dubious ownership in repository at '(.*?)'$", re.MULTILINE | re.DOTALL)


class Said(NamedTuple):
    """What git said: its exit code, its output, and its complaint."""

    code: int
    output: bytes
    complaint: str


class Answer:
    """The answer to a question that was put to git. A context, that ends git where nobody waited for it."""

    def __init__(self, process: subprocess.Popen[bytes], asker: Asker, command: str, codes: Sequence[int]) -> None:
        self._process = process
        self._asker = asker
        self._command = command
        self._codes = codes

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.returncode is None:
            self._process.kill()
            self._process.communicate()

    def wait(self) -> Said:
        """What git said. Raises `MachineFault` for an exit code that was not expected, `Usage`, `Malformed`."""
        output, complaint = self._process.communicate()
        said = Said(self._process.returncode, output, complaint.decode("utf-8", "replace"))
        self._asker.check(self._command, said.code, said.complaint, self._codes)
        return said

    def line(self) -> str:
        """What git said, when that is one line."""
        return self.wait().output.decode("utf-8", "surrogateescape").rstrip("\n")


class Asker:
    """Puts questions to git about what is in ``folder``."""

    def __init__(self, folder: Path) -> None:
        isolate()
        self.folder = folder
        # Whoever may set it in the clone's configuration would have `git status` run a program of theirs.
        self.command: Final = ["git", "-c", "core.fsmonitor=false", "-C", str(folder)]

    def ask(self, *arguments: str, codes: Sequence[int] = (0,)) -> Answer:
        """Put a question, to which git may answer with one of ``codes``. Raises `MachineFault` if there is no git."""
        return Answer(self._start(arguments, subprocess.PIPE), self, arguments[0], codes)

    def run(self, *arguments: str, codes: Sequence[int] = (0,)) -> Said:
        """Put a question and wait for the answer. Raises what `Answer.wait` does."""
        with self.ask(*arguments, codes=codes) as answer:
            return answer.wait()

    def line(self, *arguments: str) -> str:
        """As `run`, where the answer is one line."""
        with self.ask(*arguments) as answer:
            return answer.line()

    def records(self, *arguments: str) -> Iterator[str]:
        """What git lists with NULs in between, each as it comes. Raises what `Answer.wait` does."""
        with tempfile.TemporaryFile() as said, self._start(arguments, said.fileno()) as process:
            assert process.stdout is not None
            rest = b""
            while chunk := process.stdout.read(CHUNK):
                whole, end, rest = (rest + chunk).rpartition(b"\0")
                if end:
                    yield from whole.decode("utf-8", "surrogateescape").split("\0")
            code = process.wait()
            said.seek(0)
            self.check(arguments[0], code, said.read().decode("utf-8", "replace"), (0,))

    def _start(self, arguments: Sequence[str], complaints: int) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(
                [*self.command, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=complaints
            )
        except OSError as error:
            raise MachineFault(
                f"git cannot be run here: {os.strerror(error.errno) if error.errno else error}",
                "install git: apt-get install git",
                code="no_git",
            ) from error

    def check(self, command: str, code: int, complaint: str, codes: Sequence[int]) -> None:
        """Raise what ``complaint`` means, if ``code`` is not one of ``codes``."""
        untrusted = _DUBIOUS.search(complaint)
        if untrusted is not None:
            raise Usage(
                f"git does not trust {untrusted[1]}: it belongs to another user",
                f"run: git config --global --add safe.directory {shlex.quote(untrusted[1])}",
                code="unsafe_repository",
            )
        if code not in codes and "promisor remote" in complaint:  # a git that knows no GIT_NO_LAZY_FETCH
            raise Malformed(
                f"{self.folder} is a partial clone, and lacks what git {command} needs: {complaint.strip()[-500:]}",
                f"where the remote can be reached: {FETCH_ALL}",
                code="missing_blob",
            )
        if code not in codes:
            raise MachineFault(f"git {command} failed in {self.folder}: {complaint.strip()[:500]}", "see git's message")


_MORE: Final[dict[str, str]] = {}
"""What is set besides in this process: see `write_objects_to`."""


def isolate() -> None:
    """Take the caller's ``GIT_*`` variables out of this process's environment, and set ours."""
    for name in [name for name in os.environ if name.startswith("GIT_") and not name.startswith(_KEPT)]:
        del os.environ[name]
    os.environ.update(_SET | _MORE)


def write_objects_to(folder: Path, repository: Path) -> None:
    """Let git write new objects to ``folder`` from now on, and read those in the objects of ``repository`` as well."""
    _MORE.update(GIT_OBJECT_DIRECTORY=str(folder), GIT_ALTERNATE_OBJECT_DIRECTORIES=_quoted(str(repository)))
    isolate()


def _quoted(path: str) -> str:
    """A path in a list of paths, as git reads it: a colon or a quote would end it."""
    if not set(path) & {":", '"', "\\"}:
        return path
    return '"' + path.replace("\\", "\\\\").replace('"', '\\"') + '"'
