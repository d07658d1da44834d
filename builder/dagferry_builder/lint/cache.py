"""Results of imports that are still true, so that an unchanged file is not imported again.

1. A result holds as long as the file, and every file of the tree that it read on the way, has the same content, every
   variable of the environment that it asked for has the same value (digests are kept, not values), and nothing was
   added that it had looked for in vain. Everything else that it depends on (interpreter, packages, settings, Airflow's
   variables, the probe itself) is in the cache's key. Files outside the tree are not watched.
2. What may come out differently the next time (too slow, too much memory, killed) is not kept.
3. A cache is never trusted to be whole: one that cannot be read is empty, one that cannot be written is left alone.
"""

from __future__ import annotations

import hashlib
import json
import logging
import posixpath
from typing import TYPE_CHECKING, Any, Final

import zstandard

from dagferry_schemas.errors import DagferryError
from dagferry_schemas.fields import Fields
from dagferry_storage import disk

from .imported import Imported

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from .checkout import CheckoutFile

log = logging.getLogger(__name__)
FLEETING: Final = frozenset(
    {"import-timeout", "memory-limit", "import-crash", "result-tampered", "slow-import", "network-at-import"}
)
"""Rules whose findings depend on the moment."""
MOST_CLEAN: Final = 200_000
"""Contents without a secret that are remembered."""


class Cache:
    """The results for one tree, ``files``, in one environment. ``file`` is None where nothing is to be kept."""

    def __init__(
        self, file: Path | None, files: Mapping[str, CheckoutFile], variables: Mapping[str, str] | None = None
    ) -> None:
        self._file = file
        self._files = files
        self._variables = dict(variables or {})
        stored = _load(file) if file is not None else {}
        self._stored = stored if isinstance(stored.get("files"), dict) else {}
        self._kept: dict[str, Any] = {}
        self._paths = self._digest(sources=False)
        self._tails = {posixpath.splitext(part)[0] for path in files for part in path.split("/")}

    def listing(self) -> list[dict[str, Any]] | None:
        """The DAG files, ``{path, skipped}``, if the tree has the same paths as when they were listed."""
        listing = self._stored.get("listing")
        if isinstance(listing, dict) and listing.get("tree") == self._digest(sources=True):
            return list(listing["files"])
        return None

    def holding(self) -> dict[str, Imported]:
        """All results that still hold, by path."""
        return {path: imported for path in self._stored.get("files", {}) if (imported := self.get(path)) is not None}

    def get(self, path: str) -> Imported | None:
        """The result for one file, if it still holds."""
        entry = self._stored.get("files", {}).get(path)
        if entry is None:
            return None
        try:
            if not self._holds(entry):
                return None
            imported = Imported.read(Fields(entry["report"], path))
        except (DagferryError, KeyError, TypeError, ValueError):
            return None
        self._kept[path] = entry
        return imported

    def _holds(self, entry: Mapping[str, Any]) -> bool:
        files = self._files
        if any(read not in files or files[read].content != content for read, content in entry["reads"].items()):
            return False
        if any(self._variables.get(name) != value for name, value in entry["variables"].items()):
            return False
        searched = entry["report"]["searched"]
        if "*" in searched and entry["tree"] != self._paths:
            return False
        return not any(name.rpartition(".")[2] in self._tails for name in searched)

    def put(self, imported: Imported, report: Mapping[str, Any]) -> None:
        """Keep a result, if it is one that can be kept; ``report`` is its JSON form."""
        if any(problem.rule in FLEETING for problem in imported.problems):
            return
        files = self._files
        reads = {read: files[read].content for read in imported.reads if read in files}
        variables = {name: self._variables.get(name) for name in report.get("variables", ())}
        self._kept[imported.path] = {"reads": reads, "variables": variables, "tree": self._paths, "report": report}

    def save(self, listing: Iterable[Mapping[str, Any]]) -> None:
        """Write what holds, and nothing else, in place of what was there."""
        files = [dict(one) for one in listing]
        kept = {one["path"]: self._kept[one["path"]] for one in files if one["path"] in self._kept}
        _save(self._file, {"listing": {"tree": self._digest(sources=True), "files": files}, "files": kept})

    def _digest(self, *, sources: bool) -> str:
        """The tree's paths, and what decides what is ignored and what is a package; with ``sources``, those too."""
        hashed = hashlib.sha256()
        for path, file in self._files.items():
            decides = path.endswith((".airflowignore", "/__init__.py")) or (sources and path.endswith((".py", ".zip")))
            content = file.content if decides else ""
            hashed.update(f"{path}\0{content}\0".encode("utf-8", "surrogateescape"))
        return hashed.hexdigest()


class CleanContents:
    """Contents that hold no secret, as said by one version of the detector. ``file`` is None to keep nothing.

    They are kept for all trees together, the last `MOST_CLEAN` of them: what is clean in one is so in another.
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file
        clean = _load(file).get("clean") if file is not None else None
        self._before: list[str] = [one for one in clean if isinstance(one, str)] if isinstance(clean, list) else []
        self.known: set[str] = set(self._before)

    def save(self, files: Iterable[CheckoutFile]) -> None:
        """Keep what is known, that of ``files`` as the newest."""
        here = sorted({file.content for file in files} & self.known)
        if self.known == set(self._before):
            return
        newest = set(here)
        others = [content for content in self._before if content not in newest]
        _save(self._file, {"clean": [*others, *here][-MOST_CLEAN:]})


def _save(file: Path | None, document: Mapping[str, Any]) -> None:
    if file is None:
        return
    try:
        with disk.doing("writing the cache of lint"):
            file.parent.mkdir(parents=True, exist_ok=True)
            disk.write_whole(file, zstandard.compress(json.dumps(document).encode("utf-8", "replace")))
    except DagferryError as error:
        log.warning("%s", error.message)


def _load(file: Path) -> dict[str, Any]:
    try:
        raw = zstandard.ZstdDecompressor().decompressobj().decompress(file.read_bytes())
        document = json.loads(raw)
    except (OSError, ValueError, zstandard.ZstdError):
        return {}
    return document if isinstance(document, dict) else {}


def key_of(*parts: object) -> str:
    """The name of a cache whose results depend on ``parts``."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:32]
