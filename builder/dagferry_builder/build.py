"""Building: one commit of a bundle becomes an artifact (tarball, file list, version document, report).

What decides content is read from the commit that is built. The same commit and selection give the same tree, the same
plain bytes and the same version document, wherever and whenever it is built; what differs from build to build (machine,
times, the compressed bytes' library) is in the report or named by digests of the stored bytes.
"""

from __future__ import annotations

import time
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import zstandard

from dagferry_schemas import fields
from dagferry_schemas.layout import TARBALL_SUFFIX
from dagferry_schemas.tree import encode_files
from dagferry_schemas.version import Version
from dagferry_storage import disk

from . import installed_version, pack, selecting
from .versioning import Naming

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    from .attributes import Unconverted
    from .config import Bundle
    from .frame_cache import FrameCache
    from .git import Repository
    from .leaving import LeftOut
    from .lint.result import Result
    from .publish import Offer
    from .versioning import Named


class Artifact(NamedTuple):
    """What a build made. The tarball's bytes are in the file that was handed to `build`."""

    version: Version
    named: Named
    packed: pack.Packed
    left_out: tuple[LeftOut, ...]
    unconverted: tuple[Unconverted, ...]
    seconds: float

    def offer(self, started: str, checked: Result | None = None) -> Offer:
        """What there is to publish; ``checked`` is what lint came to, None if it was left out."""
        from dagferry_schemas.trust import check_tree

        from .publish import Offer

        tree = self.packed.tree
        return Offer(self.version, check_tree(tree, tree.digest), self.report(started, checked))

    def facts(self) -> dict[str, Any]:
        """The JSON form of what was built, without paths."""
        content = self.version.content
        return {
            "version": self.version.version,
            "tree": content.tree,
            "commit": self.version.commit,
            "tarball": {"sha256": content.tarball.sha256, "size": content.tarball.size},
            "files": content.files.count,
            "left_out": [one._asdict() for one in self.left_out],
            "seconds": round(self.seconds, 3),
        }

    def report(self, started: str, checked: Result | None) -> bytes:
        """The report: what was observed while it was built; no digest that delivery depends on covers it."""
        import platform

        return fields.dump(
            {
                "format": 1,
                "bundle": self.version.bundle,
                "version": self.version.version,
                "lint": checked.to_dict() if checked else None,
                "dags": [dag.to_dict() for dag in checked.inventory]
                if checked and checked.inventory is not None
                else None,
                "left_out": [one._asdict() for one in self.left_out],
                "unconverted": [one._asdict() for one in self.unconverted],
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
    repository: Repository,
    bundle: Bundle,
    rev: str,
    tarball: BinaryIO,
    cache: FrameCache | None = None,
    meanwhile: AbstractContextManager[None] | None = None,
) -> Artifact:
    """Build ``rev``'s artifact; its compressed tarball is written to ``tarball``. Raises `BadData`, `MachineFault`.

    The ``cache`` saves time and changes no byte. What is to be done ``meanwhile`` is begun when git has listed the
    commit: before, both would be slower.
    """
    began = time.monotonic()
    commit = repository.commit(rev)
    with Naming(repository, commit, bundle.version_pattern, local=bundle.local) as naming:
        selected = selecting.select(repository, commit.id, bundle.selection)
        named = naming.name()
    with meanwhile or nullcontext():
        packed = pack.pack(repository, selected.sources, tarball, cache)
    version = Version(
        bundle=bundle.name,
        version=named.version,
        commit=named.commit.id,
        first_parents=named.first_parents,
        commit_time=named.commit.time,
        tag=named.tag,
        selection=bundle.selection.to_dict(),
        content=packed.content,
    )
    return Artifact(version, named, packed, selected.left_out, selected.unconverted, time.monotonic() - began)


def place(artifact: Artifact, tarball: disk.NewFile) -> Path:
    """Make ``tarball``, that `build` filled, ``<bundle>-<version>.tar.zst`` of its folder; the path of that.

    ``.files`` and ``.json`` come beside it. Each is replaced whole. Raises `OSError`.
    """
    name = f"{artifact.version.bundle}-{artifact.version.version}"
    placed = tarball.place(name + TARBALL_SUFFIX)
    disk.write_whole(placed.with_name(name + ".files"), encode_files(artifact.packed.tree))
    disk.write_whole(placed.with_name(name + ".json"), artifact.version.to_bytes())
    return placed


def name_version(repository: Repository, bundle: Bundle, rev: str) -> Named:
    """The version of ``rev``. Raises `Unknown`, `Usage`."""
    with Naming(repository, repository.commit(rev), bundle.version_pattern, local=bundle.local) as naming:
        return naming.name()
