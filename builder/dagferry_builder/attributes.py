"""What the files ``.gitattributes`` of a commit say of its paths.

They are read from the commit, not from the working tree, the index or the machine; git itself says what they mean, in
an empty repository that has only these files: ``check-attr --source`` came with git 2.40, and ``info/attributes`` of
the clone would have a say in it.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from dagferry_schemas.errors import MachineFault
from dagferry_storage import disk

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

FILE: Final = ".gitattributes"
EXPORT_IGNORE: Final = "export-ignore"
CONVERSIONS: Final = ("eol", "export-subst", "filter", "ident", "working-tree-encoding")
"""Attributes for which a checkout, or ``git archive``, would change a file's bytes. A tree never does."""
_APART: Final = ("-c", "core.attributesFile=/dev/null", "-c", "core.ignoreCase=false")


class Unconverted(NamedTuple):
    """A path of the tree, and the conversions that its attributes ask for and did not get."""

    path: str
    attributes: tuple[str, ...]


Said = dict[str, tuple[str, ...]]
"""By path, the attributes that it has, as ``name`` or ``name=value``; paths without any are absent."""


def of(paths: Iterable[str], files: Mapping[str, bytes]) -> Said:
    """What ``files`` (``.gitattributes`` by path, with their bytes) say of ``paths``; folders end in a slash.

    Raises `MachineFault` if git fails.
    """
    texts = b"\n".join(files.values())
    names = [name for name in (EXPORT_IGNORE, *CONVERSIONS) if name.encode() in texts]
    if not names:
        return {}
    with disk.doing("reading git's attributes"), tempfile.TemporaryDirectory(prefix="dagferry-attributes-") as scratch:
        git = ["git", "-C", scratch, *_APART]
        _run([*git, "init", "--quiet", "--template=", "."], b"")
        for path, body in files.items():
            if _is_plain(path):
                place = Path(scratch, path)
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(body)
        asked = b"".join(path.encode("utf-8", "surrogateescape") + b"\0" for path in paths if _is_plain(path))
        return _read(_run([*git, "check-attr", "-z", "--stdin", *names], asked))


def _is_plain(path: str) -> bool:
    """Whether ``path`` can be on a disk, below the folder that it is relative to; others cannot be packed anyway."""
    parts = path.rstrip("/").split("/")
    too_long = any(len(part.encode("utf-8", "surrogateescape")) > 255 for part in parts) or len(path) > 1024
    return not too_long and not any(part.lower() in ("", ".", "..", ".git") for part in parts)


def _run(command: list[str], asked: bytes) -> bytes:
    done = subprocess.run(command, input=asked, capture_output=True, check=False)
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip()
        raise MachineFault(f"git cannot tell the attributes of this commit: {said[:500]}", "see git's message")
    return done.stdout


def _read(said: bytes) -> Said:
    fields = said.split(b"\0")[:-1]
    found: Said = {}
    for raw_path, name, value in zip(fields[::3], fields[1::3], fields[2::3], strict=True):
        if value not in (b"unspecified", b"unset"):
            path = raw_path.decode("utf-8", "surrogateescape")
            text = name.decode() if value == b"set" else f"{name.decode()}={value.decode('utf-8', 'replace')}"
            found[path] = (*found.get(path, ()), text)
    return found
