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
    from collections.abc import Iterable, Iterator

MAX_PATH_BYTES: Final = 512
MAX_COMPONENT_BYTES: Final = 255
MAX_DEPTH: Final = 32

# C0, DEL and C1 controls, the line and paragraph separators, and lone surrogates (bytes that were not UTF-8).
_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\\\\\ud800-\udfff]")
# At most four plain components that do not begin with a dot: the common case, decided by one expression.
_PLAIN = re.compile(r"{0}(?:/{0}){{0,3}}".format("[A-Za-z0-9_+=@%,~ -][A-Za-z0-9_.+=@%,~ -]{0,99}"))


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


def find_problems(paths: Iterable[str]) -> list[str]:
    """Everything that keeps ``paths`` from being one tree, as sentences that name the paths; empty if it can be."""
    files = list(paths)
    alone = {path: f"{path!r} {problem}" for path in files if (problem := problem_of(path)) is not None}
    return [*alone.values(), *_between([path for path in files if path not in alone])]


def _between(files: list[str]) -> Iterator[str]:
    seen: dict[str, str] = {}
    folders: set[str] = set()
    for path in files:
        for folder in _folders_of(path):
            if folder in folders:
                break
            folders.add(folder)
            yield from _claim(seen, folder)
    for path in files:
        if path in folders:
            yield f"{path!r} is both a file and a folder"
        elif seen.get(_confusable(path)) == path:
            yield f"{path!r} appears twice"
        else:
            yield from _claim(seen, path)


def _folders_of(path: str) -> Iterator[str]:
    while (cut := path.rfind("/")) > 0:
        path = path[:cut]
        yield path


def _claim(seen: dict[str, str], path: str) -> Iterator[str]:
    other = seen.setdefault(_confusable(path), path)
    if other != path:
        yield f"{other!r} and {path!r} differ only in letter case or Unicode form"


def _confusable(path: str) -> str:
    return path.lower() if path.isascii() else unicodedata.normalize("NFC", path.casefold())
