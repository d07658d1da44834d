"""What the names and sizes of the files tell, without a look at what is in them.

1. What packing refuses is one finding for each problem. No tree exists then, and no other rule can be asked.
2. Sizes are those of the bytes in git, in mebibytes; what is exactly at the limit is fine.
3. Of a folder that does not belong there as a whole (``node_modules``, ``__pycache__``, a virtual environment) there
   is one finding, at its first file, whatever else it holds. The outermost such folder counts.
4. Only what Python stamped with its own version counts as compiled in place (``x.cpython-311-x86_64-linux-gnu.so``): a
   plain ``.so`` may be a library that a DAG needs.
5. Database files are told by their names; ``.db`` means anything, so there SQLite's first bytes decide.
"""

from __future__ import annotations

import ast
import fnmatch
import re
from collections import Counter
from typing import TYPE_CHECKING, Final

from .finding import Finding, Rule, Severity, found

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .checkout import Checkout, CheckoutFile
    from .settings import Settings

CANNOT_PACK: Final = Rule(
    "cannot-pack",
    "files",
    Severity.ERROR,
    title="the commit cannot be packed",
    explanation=(
        "A version is a tree of regular files that every pod can write in the same way. Links that lead nowhere or out "
        "of the commit, names that two file systems would confuse, Git LFS pointers and content that the clone lacks "
        "are refused, because a pod would get something else than the author saw."
    ),
    hint="mend it in the repository and commit",
)
LARGE_FILE: Final = Rule(
    "large-file",
    "files",
    Severity.WARNING,
    title="a file is large",
    explanation=(
        "Every pod that starts fetches the whole bundle and keeps several releases of it on disk. A file larger than "
        "`lint.file_mb` is mostly data, which a task should read from where data is stored."
    ),
    hint="keep data in object storage and read it in a task; `lint.file_mb` sets the limit",
)
LARGE_BUNDLE: Final = Rule(
    "large-bundle",
    "files",
    Severity.WARNING,
    title="the bundle is large",
    explanation=(
        "All files together are larger than `lint.bundle_mb`. Every pod fetches them before it is ready, writes them, "
        "and keeps several releases; a new pod in a burst waits for just that."
    ),
    hint="set `root` to the folder that holds the DAGs alone, or move data out; `lint.bundle_mb` sets the limit",
)
COMPILED_LEFTOVER: Final = Rule(
    "compiled-leftover",
    "files",
    Severity.WARNING,
    title="compiled Python was committed",
    explanation=(
        "Bytecode and extension modules built in place fit one version of Python on one platform. Python imports a "
        "`.pyc` that has no source beside it, so a module that was deleted lives on, and an extension module hides the "
        "source of the same name until the image's Python changes."
    ),
    hint="`git rm --cached` it, and put `__pycache__/`, `*.pyc` and `*.so` into .gitignore",
)
MISPLACED_FILE: Final = Rule(
    "misplaced-file",
    "files",
    Severity.WARNING,
    title="this does not belong into a DAG folder",
    explanation=(
        "Leftovers of editors, merges and tools, virtual environments, database files and files of passwords are "
        "delivered to every pod like any other. Airflow walks through all folders and parses each Python file that "
        "mentions a DAG, those of a virtual environment or of a backup too."
    ),
    hint="`git rm -r --cached` it, and name it in .gitignore",
)
RULES: Final = (CANNOT_PACK, LARGE_FILE, LARGE_BUNDLE, COMPILED_LEFTOVER, MISPLACED_FILE)

_MIB: Final = 2**20
_BYTECODE_FOLDER: Final = "__pycache__"
_COMPILED: Final = ("*.pyc", "*.pyo", "*.cpython-*.so", "*.pypy*-*.so", "*.cp3*-win*.pyd")
_FOLDERS: Final = {
    ".git": "a git repository",
    ".hg": "a Mercurial repository",
    ".svn": "a Subversion checkout",
    ".idea": "settings of an editor",
    ".vscode": "settings of an editor",
    ".ipynb_checkpoints": "copies that Jupyter made",
    ".terraform": "Terraform's working folder",
    ".venv": "a virtual environment",
    ".eggs": "packages that a build fetched",
    ".tox": "environments of tests",
    ".nox": "environments of tests",
    ".mypy_cache": "a cache",
    ".pytest_cache": "a cache",
    ".ruff_cache": "a cache",
    "node_modules": "packages of JavaScript",
    "__MACOSX": "what macOS adds to archives",
}
_FOLDER_PATTERNS: Final = {"*.egg-info": "the description of a built package"}
_FILES: Final = {
    ".DS_Store": "what macOS leaves in folders",
    "Thumbs.db": "what Windows leaves in folders",
    "desktop.ini": "what Windows leaves in folders",
    "airflow.cfg": "the configuration of an Airflow, often with its keys",
    "simple_auth_manager_passwords.json.generated": "passwords that Airflow generated",
    "standalone_admin_password.txt": "a password that Airflow generated",
    "airflow.db": "the database of an Airflow",
    "*.sqlite": "a database",
    "*.sqlite3": "a database",
    "*.dump": "a dump of a database",
    "*.sql.gz": "a dump of a database",
    "*.pid": "the note of a running process",
    "*.tfstate": "Terraform's state, often with secrets",
    "*.tfstate.backup": "Terraform's state, often with secrets",
    ".env": "variables of an environment, often secret",
    ".env.*": "variables of an environment, often secret",
    "*.orig": "a leftover of a merge",
    "*.rej": "a leftover of a patch",
    "*.bak": "a backup",
    "*~": "a backup of an editor",
    "*.swp": "a backup of an editor",
    "*.swo": "a backup of an editor",
    "#*#": "a backup of an editor",
    ".#*": "the lock of an editor",
}
_HARMLESS: Final = (".env.example", ".env.sample", ".env.template", ".env.dist")
_SQLITE: Final = b"SQLite format 3\0"
_LEADING_PATH: Final = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""")


def from_problems(problems: Sequence[str]) -> list[Finding]:
    """A finding for each reason why a commit cannot be packed (see `problems.CannotPack`)."""
    return [found(CANNOT_PACK, _path_in(problem), problem) for problem in problems]


def check(checkout: Checkout, settings: Settings) -> list[Finding]:
    """What the names and sizes tell."""
    return [*_sizes(checkout, settings), *_Leftovers(checkout).findings()]


def _path_in(problem: str) -> str:
    """The path that a problem of packing begins with, as Python writes texts; empty if there is none."""
    match = _LEADING_PATH.match(problem)
    return str(ast.literal_eval(match.group())) if match else ""


def _sizes(checkout: Checkout, settings: Settings) -> Iterator[Finding]:
    whole = sum(file.size for file in checkout.files.values())
    if whole > settings.bundle_mb * _MIB:
        largest = max(checkout.files.values(), key=lambda file: file.size)
        yield found(
            LARGE_BUNDLE,
            "",
            f"{len(checkout.files)} file(s) have {_mib(whole)}, more than the {settings.bundle_mb:g} MiB of "
            f"`lint.bundle_mb`; the largest is {largest.path} with {_mib(largest.size)}",
        )
    for file in checkout.files.values():
        if file.size > settings.file_mb * _MIB:
            limit = f"more than the {settings.file_mb:g} MiB of `lint.file_mb`"
            yield found(LARGE_FILE, file.path, f"the file has {_mib(file.size)}, {limit}")


def _mib(size: int) -> str:
    return f"{size / _MIB:.1f} MiB" if size >= _MIB / 10 else f"{size} bytes"


class _Leftovers:
    """What was not meant to be committed, with one finding for a folder of it."""

    def __init__(self, checkout: Checkout) -> None:
        self._checkout = checkout
        self._environments = {
            path.rpartition("/")[0]
            for path in checkout.files
            if path.endswith("/pyvenv.cfg")  # at the top it would be the bundle itself
        }
        self._counts: Counter[str] = Counter()
        self._first: dict[str, tuple[Rule, str, str]] = {}

    def findings(self) -> list[Finding]:
        gathered = []
        for file in self._checkout.files.values():
            if not self._in_folder(file.path) and (one := self._file(file)) is not None:
                gathered.append(one)
        for folder, (rule, path, what) in self._first.items():
            gathered.append(found(rule, path, f"{folder}/ is {what}, {self._counts[folder]} file(s)"))
        return gathered

    def _in_folder(self, path: str) -> bool:
        """Whether the file is in a folder that does not belong there; the folder is noted."""
        parts = path.split("/")[:-1]
        for depth, name in enumerate(parts, 1):
            folder = "/".join(parts[:depth])
            judged = self._folder(name, folder)
            if judged is not None:
                self._counts[folder] += 1
                self._first.setdefault(folder, (judged[0], path, judged[1]))
                return True
        return False

    def _folder(self, name: str, folder: str) -> tuple[Rule, str] | None:
        if name == _BYTECODE_FOLDER:
            return COMPILED_LEFTOVER, "bytecode that Python cached"
        if folder in self._environments:
            return MISPLACED_FILE, "a virtual environment"
        what = _FOLDERS.get(name) or _matching(name, _FOLDER_PATTERNS)
        return (MISPLACED_FILE, what) if what else None

    def _file(self, file: CheckoutFile) -> Finding | None:
        name = file.path.rpartition("/")[2]
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in _COMPILED):
            return found(COMPILED_LEFTOVER, file.path, f"{name} was compiled for one version of Python")
        what = None if name in _HARMLESS else _FILES.get(name) or _matching(name, _FILES)
        if what is None and name.endswith(".db") and self._is_sqlite(file.path):
            what = "a database of SQLite"
        return found(MISPLACED_FILE, file.path, f"{name} is {what}") if what else None

    def _is_sqlite(self, path: str) -> bool:
        with (self._checkout.folder / path).open("rb") as file:
            return file.read(len(_SQLITE)) == _SQLITE


def _matching(name: str, patterns: dict[str, str]) -> str | None:
    return next((what for pattern, what in patterns.items() if fnmatch.fnmatchcase(name, pattern)), None)
