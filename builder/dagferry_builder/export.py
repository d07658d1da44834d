"""A published tree as an ordinary folder: verified, whole or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from typing import TYPE_CHECKING

from dagferry_schemas.errors import Conflict
from dagferry_storage import disk, fetch, unpack

if TYPE_CHECKING:
    from pathlib import Path

    from dagferry_schemas.pins import Content
    from dagferry_schemas.tree import TreeFile
    from dagferry_storage.store import Store


class _Plainly:
    """Ordinary modes, nothing linked."""

    def adopt(self, file: TreeFile, folder: int, name: str) -> bool:
        return False

    def finish(self, file: TreeFile, descriptor: int) -> None:
        os.fchmod(descriptor, 0o755 if file.executable else 0o644)

    def leave(self, folder: int) -> None:
        pass


def export(store: Store, bundle: str, content: Content, target: Path) -> int:
    """Write the tree to ``target``, a folder that is absent or empty; the number of files.

    Raises `Conflict` if there is something in it, `Corrupt`, `MachineFault`; then ``target`` is as it was.
    """
    if target.is_symlink() or (target.exists() and (not target.is_dir() or any(target.iterdir()))):
        raise Conflict(f"{target} is not an empty folder", "name a folder that does not exist yet", code="exists")
    tree = fetch.files(store, bundle, content)
    with tempfile.TemporaryFile() as spool, disk.doing(f"exporting to {target}"):
        tarball = fetch.tarball(store, bundle, tree, content, spool)
        spool.seek(0)
        target.parent.mkdir(parents=True, exist_ok=True)
        staging = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
        staging.mkdir()
        try:
            descriptor = os.open(staging, os.O_RDONLY | os.O_DIRECTORY)
            try:
                unpack.unpack(tarball, spool, descriptor, _Plainly())
            finally:
                os.close(descriptor)
            staging.replace(target)
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            raise
    return len(tree.tree.files)
