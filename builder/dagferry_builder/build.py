"""Building: one commit of a bundle becomes an artifact (tarball, file list, version document, report).

What decides content is read from the commit that is built. The same commit and selection give the same tree, the same
plain bytes and the same version document, wherever and whenever it is built; what differs from build to build (machine,
times, the compressed bytes' library) is in the report or named by digests of the stored bytes.
"""

from __future__ import annotations

import platform
import shutil
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

import zstandard

from dagferry_schemas import fields
from dagferry_schemas.layout import TARBALL_SUFFIX
from dagferry_schemas.tree import encode_files
from dagferry_schemas.version import Version
from dagferry_storage import disk

from . import installed_version, pack, selection
from .publish import Offer
from .versioning import name_commit

if TYPE_CHECKING:
    from pathlib import Path

    from .attributes import Unconverted
    from .config import Bundle
    from .frame_cache import FrameCache
    from .git import Repository
    from .leaving import LeftOut
    from .lint.result import Result
    from .versioning import Named


@dataclass(frozen=True)
class Artifact:
    """What a build made. The tarball's bytes are in the file that was handed to `build`."""

    version: Version
    named: Named
    packed: pack.Packed
    left_out: tuple[LeftOut, ...]
    unconverted: tuple[Unconverted, ...]
    seconds: float

    def offer(self, started: str, checked: Result | None = None) -> Offer:
        """What there is to publish; ``checked`` is what lint came to, None if it was left out."""
        return Offer(self.version, self.packed.files, self.report(started, checked))

    def facts(self) -> dict[str, Any]:
        """The JSON form of what was built, without paths."""
        content = self.version.content
        return {
            "version": self.version.version,
            "tree": content.tree,
            "commit": self.version.commit,
            "tarball": {"sha256": content.tarball.sha256, "size": content.tarball.size},
            "files": content.files.count,
            "left_out": [asdict(one) for one in self.left_out],
            "seconds": round(self.seconds, 3),
        }

    def report(self, started: str, checked: Result | None) -> bytes:
        """The report: what was observed while it was built; no digest that delivery depends on covers it."""
        return fields.dump(
            {
                "format": 1,
                "bundle": self.version.bundle,
                "version": self.version.version,
                "lint": checked.to_dict() if checked else None,
                "dags": [dag.to_dict() for dag in checked.inventory]
                if checked and checked.inventory is not None
                else None,
                "left_out": [asdict(one) for one in self.left_out],
                "unconverted": [asdict(one) for one in self.unconverted],
                "built": {"at": started, "seconds": round(self.seconds, 3)},
                "environment": {
                    "dagferry": installed_version(),
                    "python": platform.python_version(),
                    "zstandard": zstandard.__version__,
                    "zstd": ".".join(map(str, zstandard.ZSTD_VERSION)),
                    "machine": platform.machine(),
                },
            }
        )


def build(
    repository: Repository, bundle: Bundle, rev: str, tarball: BinaryIO, cache: FrameCache | None = None
) -> Artifact:
    """Build ``rev``'s artifact; its compressed tarball is written to ``tarball``. Raises `BadData`, `MachineFault`.

    The ``cache`` saves time and changes no byte.
    """
    began = time.monotonic()
    named = name_version(repository, bundle, rev)
    selected = selection.select(repository, named.commit.id, bundle.selection)
    packed = pack.pack(repository, selected.sources, tarball, cache)
    version = Version(
        bundle=bundle.name,
        version=named.version,
        commit=named.commit.id,
        first_parents=named.commit.first_parents,
        commit_time=named.commit.time,
        tag=named.tag,
        selection=bundle.selection.to_dict(),
        content=packed.content,
    )
    return Artifact(version, named, packed, selected.left_out, selected.unconverted, time.monotonic() - began)


def write(artifact: Artifact, tarball: BinaryIO, folder: Path) -> Path:
    """Write ``<bundle>-<version>.tar.zst``, ``.files`` and ``.json`` to ``folder``; the path of the tarball.

    Each is replaced whole. ``tarball`` is the file that `build` filled. Raises `MachineFault`.
    """
    stem = folder / f"{artifact.version.bundle}-{artifact.version.version}"
    target = stem.with_name(stem.name + TARBALL_SUFFIX)
    with disk.doing(f"writing to {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
        tarball.seek(0)
        with disk.replacing(target) as file:
            shutil.copyfileobj(tarball, file)
        disk.write_whole(stem.with_name(stem.name + ".files"), encode_files(artifact.packed.files.tree))
        disk.write_whole(stem.with_name(stem.name + ".json"), artifact.version.to_bytes())
    return target


def name_version(repository: Repository, bundle: Bundle, rev: str) -> Named:
    """The version of ``rev``. Raises `Unknown`, `Usage`."""
    return name_commit(repository, repository.commit(rev), bundle.version_pattern, local=bundle.local)
