"""The readers of bytes from elsewhere, by name: each takes any bytes, and accepts them or raises a `DagferryError`.

What was accepted is used as the programs use it: a document is written again, a file list is walked, a tarball is
unpacked to a disk. So whatever is let in and breaks later is found as well.
"""

from __future__ import annotations

import io
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Final

from dagferry_agent import state as memory
from dagferry_agent.releases import Mark, Marks
from dagferry_agent.tokens import allows, authenticate, parse_tokens
from dagferry_schemas import delta, plaintar, trust
from dagferry_schemas.endpoint import PullRequest
from dagferry_schemas.names import digest_of
from dagferry_schemas.pins import Content, FilesPin, TarballPin
from dagferry_schemas.record import seal
from dagferry_schemas.tree import MAX_LINE, TreeFile, decode_files, encode_files, make_tree, read_files
from dagferry_schemas.tree_index import TreeIndex
from dagferry_storage import unpack
from tests.evil.parts import FILES, GOOD, LIST

BUNDLE: Final = "dags"
CHANNEL: Final = "prod"
VERSION: Final = "v2"
NOW: Final = "2026-11-22T10:00:00Z"

BEFORE: Final = TreeIndex.of(decode_files(LIST).files)

Read = Callable[[bytes], object]


def read_record(raw: bytes) -> None:
    """The head of a channel, as an agent takes it, and as a builder follows it."""
    floor = trust.Floor(1, 1, digest_of(b""))
    for known in (None, floor):
        trusted = trust.accept_record(raw, bundle=BUNDLE, channel=CHANNEL, policy=trust.Policy.UNSIGNED, floor=known)
        assert trusted.floor.generation == trusted.record.generation
        seal(trusted.record.succeed(head=raw, nonce="n"))


def read_version(raw: bytes) -> None:
    """A version's document; what was read is written and comes back the same."""
    found = trust.accept_version(raw, bundle=BUNDLE, version=VERSION)
    assert trust.accept_version(found.to_bytes(), bundle=BUNDLE, version=VERSION) == found


def read_list(raw: bytes) -> None:
    """A file list: as plain text where it begins like that, and else as it is stored."""
    if raw[:1] == b"0":
        found = decode_files(raw)
        assert encode_files(found) == raw, "two lists are the same tree"
    else:
        content = Content("sha256:" + 64 * "0", GOOD.pins.tarball, FilesPin(digest_of(raw), len(raw), 8))
        found = read_files(partial(io.BytesIO, raw), "list", limit=8 * MAX_LINE, most=8)
        trust.check_stored(raw, content.files, "list")
    assert plaintar.plain_size(found) > len(plaintar.END)
    assert sum(file.size for file in found.files) == found.size
    trust.check_tree(found, found.digest)


class _Sink:
    """Writes everything, links nothing."""

    def adopt(self, file: TreeFile, folder: int, name: str) -> bool:
        return False

    def finish(self, file: TreeFile, descriptor: int) -> None:
        os.fchmod(descriptor, 0o444)

    def leave(self, folder: int) -> None:
        pass


@cache
def _made() -> tempfile.TemporaryDirectory[str]:
    """A folder of this process, that goes with it."""
    return tempfile.TemporaryDirectory(prefix="dagferry-fuzz-")


def _scratch() -> Path:
    return Path(_made().name)


def read_tarball(raw: bytes) -> None:
    """A tarball that is validly pinned, whatever it is, under a good file list: unpacked to a disk."""
    tree = trust.accept_files(GOOD.listed, GOOD.pins)
    check = trust.TarballCheck(tree, TarballPin(digest_of(raw), len(raw), GOOD.plain_size))
    check.update(raw)
    verified = check.finish()
    target = _scratch() / "out"
    target.mkdir()
    descriptor = os.open(target, os.O_RDONLY | os.O_DIRECTORY)
    try:
        unpack.unpack(verified, io.BytesIO(raw), descriptor, _Sink())
    finally:
        os.close(descriptor)
        shutil.rmtree(target)
        assert list(_scratch().iterdir()) == [], "something was written outside"


def read_delta(raw: bytes) -> None:
    """A delta, whatever it says of trees: what it makes of a tree is a tree, and all its files have their bytes."""
    found = delta.decode(raw, "delta")
    after = BEFORE.edited(found.changes)
    assert make_tree(after).digest == after.digest
    written = {file.path: content for file, content in found.contents(BEFORE, lambda file: FILES[file.path])}
    assert written.keys() == {path for path, file in found.changes.items() if file is not None}


def read_request(raw: bytes) -> None:
    """The body of a request to pull; what was read is written and comes back the same."""
    found = PullRequest.from_bytes(raw)
    assert PullRequest.from_bytes(found.to_bytes()) == found


def read_tokens(raw: bytes) -> None:
    """A tokens file; whoever has no token of it is let in by none of its entries."""
    entries = parse_tokens(raw)
    assert authenticate(entries, b"a token of nobody", NOW) is None
    for entry in entries:
        allows(entry, "pull", BUNDLE, CHANNEL)


def read_state(raw: bytes) -> None:
    """The memory of an agent: found, followed by another activation, and written again."""
    folder = _scratch()
    path = folder / memory.FILE
    try:
        path.write_bytes(raw)
        found = memory.load(folder, BUNDLE, CHANNEL)
        Marks().add(Mark(1, found.stamp * 1_000_000))  # files get this time, and it is remembered
        served = found.served(memory.Wanted("sha256:" + 64 * "0", VERSION, 1), NOW)
        memory.save(folder, served, durable=False)
        assert memory.find(folder) == served
    finally:
        path.unlink(missing_ok=True)


READERS: Final[Mapping[str, Read]] = {
    "record": read_record,
    "version": read_version,
    "list": read_list,
    "tarball": read_tarball,
    "delta": read_delta,
    "request": read_request,
    "tokens": read_tokens,
    "state": read_state,
}
