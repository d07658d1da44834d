"""The committed vectors, and small trees and contents for the tests."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Final

from dagferry_schemas import compression, plaintar, tree
from dagferry_schemas.names import digest_of
from dagferry_schemas.pins import Content, FilesPin, TarballPin

VECTORS: Final = Path(__file__).resolve().parent / "vectors"
INDEX: Final[dict[str, Any]] = json.loads((VECTORS / "index.json").read_bytes())


def names(section: str) -> list[str]:
    """The vectors of a section of the index."""
    return sorted(INDEX[section])


def raw(name: str) -> bytes:
    """The bytes of one vector by its path below ``vectors/``."""
    return (VECTORS / name).read_bytes()


def stored(name: str = "plain") -> bytes:
    """The envelope of a record vector, as a store would hold it."""
    return raw(f"records/{name}.stored.json")


def payload(name: str = "plain") -> bytes:
    return raw(f"records/{name}.payload.json")


def tree_file(path: str, content: bytes, *, executable: bool = False) -> tree.TreeFile:
    return tree.TreeFile(path, executable, len(content), hashlib.sha256(content).hexdigest())


def tree_of(name: str) -> tree.Tree:
    """The tree of a tree vector, made by dagferry from paths, x bits and contents."""
    return tree.make_tree(
        tree_file(path, content.encode(), executable=executable)
        for path, executable, content in INDEX["trees"][name]["files"]
    )


def bodies_of(name: str) -> dict[str, bytes]:
    return {path: content.encode() for path, _, content in INDEX["trees"][name]["files"]}


def plain_tar(one: tree.Tree, bodies: dict[str, bytes]) -> bytes:
    """The plain tar of a tree, put together as the packer does it."""
    members = [plaintar.header(file) + bodies[file.path] + plaintar.padding(file.size) for file in one.files]
    return b"".join(members) + plaintar.END


def packed(name: str = "folders_in_folders") -> tuple[bytes, bytes, Content]:
    """The stored file list, the stored tarball and the pins of a tree vector."""
    return packed_tree(tree_of(name), bodies_of(name))


def packed_tree(one: tree.Tree, bodies: dict[str, bytes]) -> tuple[bytes, bytes, Content]:
    """The same of any tree."""
    files = compression.compress(tree.encode_files(one))
    tarball = compression.compress(plain_tar(one, bodies))
    content = Content(
        one.digest,
        TarballPin(digest_of(tarball), len(tarball), plaintar.plain_size(one)),
        FilesPin(digest_of(files), len(files), len(one.files)),
    )
    return files, tarball, content
