"""Which paths a tree may hold.

A path is relative, ``/``-separated UTF-8 in NFC; no component is empty, ``.`` or ``..``; no control characters, no
backslash; components of at most 255 bytes, at most 512 bytes in all, at most 32 components. Within a tree no path is a
folder of another, and no two paths (or folders of them) differ only in letter case: some file systems would confuse
them. `find_problems` gathers everything that is wrong, so that one run shows the user all of it.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

MAX_PATH_BYTES: Final = 512
MAX_COMPONENT_BYTES: Final = 255
MAX_DEPTH: Final = 32

# C0, DEL and C1 controls, the line and paragraph separators, and lone surrogates (bytes that were not UTF-8).
_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\\\\\ud800-\udfff]")
# At most four plain components that do not begin with a dot: the common case, decided by one expression.
_COMMON = r"{0}(?:/{0}){{0,3}}".format("[A-Za-z0-9_+=@%,~ -][A-Za-z0-9_.+=@%,~ -]{0,99}")
_PLAIN = re.compile(_COMMON)
_ALL_PLAIN = re.compile(f"(?:{_COMMON}\n)*")


def problem_of(path: str) -> str | None:
    """What is wrong with one path by itself, or None."""
    if _PLAIN.fullmatch(path):
        return None
    if _FORBIDDEN.search(path):
        return "holds a control character, a backslash or bytes that are not UTF-8"
    if unicodedata.normalize("NFC", path) != path:
        return "is not in Unicode normal form C"
    parts = path.split("/")
    if any(part in ("", ".", "..") for part in parts):
        return "has an empty, '.' or '..' component"
    if len(parts) > MAX_DEPTH:
        return f"has {len(parts)} components, at most {MAX_DEPTH} are allowed"
    if any(len(part.encode()) > MAX_COMPONENT_BYTES for part in parts):
        return f"has a component of more than {MAX_COMPONENT_BYTES} bytes"
    if len(path.encode()) > MAX_PATH_BYTES:
        return f"has {len(path.encode())} bytes, at most {MAX_PATH_BYTES} are allowed"
    return None


def are_common(paths: Collection[str]) -> bool:
    """Whether ``paths`` are a tree of common names, which shows at a glance; if not, `PathCheck` has to look."""
    text = "".join([path + "\n" for path in paths])
    if text.count("\n") != len(paths) or not _ALL_PLAIN.fullmatch(text):
        return False
    folders = {path.rpartition("/")[0] for path in paths}
    for folder in tuple(folders):
        above = folder.rpartition("/")[0]
        while above not in folders:
            folders.add(above)
            above = above.rpartition("/")[0]
    # No two files, no two folders and no file and folder are the same but for their letter case.
    names = text.lower().split("\n")[:-1]
    return len({*names, *[folder.lower() for folder in folders]}) == len(names) + len(folders)


def find_problems(paths: Iterable[str]) -> list[str]:
    """Everything that keeps ``paths`` from being one tree, as sentences that name the paths; empty if it can be."""
    check = PathCheck()
    for path in sorted(paths):  # the order of code points is that of the bytes in UTF-8
        check.take(path)
    return check.problems


class PathCheck:
    """Looks at the paths of a tree one after the other, in the order of their bytes, and gathers what is wrong.

    In that order all that is below a folder comes in one piece. So only the names in the folders on the way to the
    present path are kept, however many files there are.
    """

    def __init__(self) -> None:
        self.problems: list[str] = []
        self._last = ""
        self._parent = ""
        self._parents: list[str] = []
        self._names: list[dict[str, str]] = [{}]
        """The names that were seen in the top folder and in each of ``_parents``, by their confusable form."""

    def take(self, path: str) -> bool:
        """Look at the next path; whether it can be in a tree by itself.

        Raises `ValueError` if it is out of order; paths that cannot be in a tree have none.
        """
        problem = problem_of(path)
        if problem is not None:
            self.problems.append(f"{path!r} {problem}")
            return False
        if path == self._last:
            self.problems.append(f"{path!r} appears twice")
            return True
        if path < self._last:
            raise ValueError(f"{path!r} comes after {self._last!r}")
        parent, _, name = path.rpartition("/")
        if parent != self._parent:
            self._enter(parent)
        self._claim(name)
        self._last = path
        return True

    def _enter(self, parent: str) -> None:
        wanted = parent.split("/") if parent else []
        shared = shared_length(self._parents, wanted)
        del self._parents[shared:], self._names[shared + 1 :]
        for name in wanted[shared:]:
            self._claim(name)
            self._parents.append(name)
            self._names.append({})
        self._parent = parent

    def _claim(self, name: str) -> None:
        names, form = self._names[-1], _confusable(name)
        other = names.get(form)
        if other is None:
            names[form] = name
            return
        before, here = ("/".join([*self._parents, one]) for one in (other, name))
        if before == here:  # a file comes before what is below a folder of its name
            self.problems.append(f"{here!r} is both a file and a folder")
        else:
            self.problems.append(f"{before!r} and {here!r} differ only in letter case or Unicode form")


def shared_length(one: Sequence[str], other: Sequence[str]) -> int:
    """How many components two paths have in common from their beginning."""
    count = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        count += 1
    return count


def _confusable(name: str) -> str:
    return name.lower() if name.isascii() else unicodedata.normalize("NFC", name.casefold())
