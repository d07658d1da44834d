"""A folder that has what was selected of a commit: each file is replaced as a whole, and nothing else is touched.

What this wrote is remembered in the folder, in `NOTE`: only that is ever replaced or removed, and a folder that has
other files is not taken.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from dagferry_schemas.errors import Conflict
from dagferry_storage import disk

from . import lfs
from .problems import cannot_pack

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from .git import Repository
    from .sources import Source, Sources

NOTE: Final = ".dagferry-watch.json"
"""The name of what is remembered: by path, mode and object of git. Airflow does not look at names that begin so."""


class Changes(NamedTuple):
    """Paths that were written because they are new or other, and paths that were removed."""

    written: tuple[str, ...]
    removed: tuple[str, ...]


class Mirror:
    """The folder ``target``. Raises `Conflict` if it has files that did not come from here, `MachineFault`."""

    def __init__(self, target: Path) -> None:
        self._target = target
        with disk.doing(f"preparing {target}"):
            target.mkdir(parents=True, exist_ok=True)
            self._known = self._remembered()
            strangers = [] if self._known is not None else [path.name for path in target.iterdir()]
        if strangers:
            raise Conflict(
                f"{target} has files that `dagferry watch` did not write ({', '.join(sorted(strangers)[:3])}); "
                "nothing was changed",
                "name an empty folder, or one that does not exist yet",
                code="not_empty",
            )

    def _remembered(self) -> dict[str, list[Any]] | None:
        try:
            found = json.loads((self._target / NOTE).read_bytes())
        except FileNotFoundError:
            return None
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise Conflict(
                f"{self._target / NOTE} cannot be read", "remove the folder, and begin anew", code="not_empty"
            )
        return found

    def show(self, repository: Repository, sources: Sources) -> Changes:
        """Have the files of ``sources``, which git has, and no others of ours. Raises `MachineFault`, `Malformed`."""
        wanted = {source.path: source for source in sources}
        known = self._known or {}
        changed = [one for path, one in wanted.items() if known.get(path) != _fact(one) or not self._at(path).is_file()]
        gone = [path for path in known if path not in wanted]
        self._refuse_strangers([one.path for one in changed if one.path not in known], known)
        with disk.doing(f"writing to {self._target}"):
            self._remember({**known, **{one.path: ["", 0] for one in changed}})  # ours, whatever happens next
            for path in gone:
                self._remove(path)
            with repository.blobs(one.entry.object_id for one in changed) as blobs:
                for one in changed:
                    content = b"".join(blobs.read(one.entry))
                    if lfs.is_pointer(len(content), content):
                        raise cannot_pack([lfs.problem(one.path)])
                    self._write(one, content)
            self._remember({path: _fact(one) for path, one in wanted.items()})
        return Changes(tuple(one.path for one in changed), tuple(gone))

    def _refuse_strangers(self, paths: Iterable[str], known: Mapping[str, object]) -> None:
        """Refuse to replace what is at one of ``paths``, or on the way to it, and did not come from here."""
        for path in paths:
            at = self._at(path)
            if at.is_dir() and not at.is_symlink():  # goes only if it is empty by then
                continue
            for one in (path, *map(str, PurePosixPath(path).parents)):
                place = self._at(one)
                if one != "." and one not in known and (place.is_symlink() or place.is_file()):
                    raise Conflict(
                        f"{place} is in the way, and `dagferry watch` did not write it; nothing was changed",
                        "move it away, and save again",
                        code="not_empty",
                    )

    def _remember(self, known: Mapping[str, list[Any]]) -> None:
        self._known = dict(known)
        disk.write_whole(self._target / NOTE, json.dumps(self._known).encode(), durable=False)

    def _write(self, source: Source, content: bytes) -> None:
        path = self._at(source.path)
        for above in path.parents:  # a file that was there gives way to a folder
            if above == self._target:
                break
            if above.is_file() or above.is_symlink():
                above.unlink()
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        disk.write_whole(path, content, mode=0o755 if source.executable else 0o644, durable=False)

    def _remove(self, path: str) -> None:
        self._at(path).unlink(missing_ok=True)
        for folder in self._at(path).parents:
            if folder == self._target:
                break
            cache = folder / "__pycache__"
            with suppress(OSError):
                for compiled in cache.iterdir():
                    compiled.unlink()
                cache.rmdir()
            try:
                folder.rmdir()
            except OSError:  # it has more
                break

    def _at(self, path: str) -> Path:
        return self._target / path


def _fact(source: Source) -> list[Any]:
    return [source.entry.object_id, int(source.executable)]
