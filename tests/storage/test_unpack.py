"""Unpacking refuses whatever is not the one tarball that its file list predicts, however validly it is pinned."""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import zstandard

from dagferry_schemas import compression, plaintar, trust
from dagferry_schemas.errors import Corrupt, DagferryError, MachineFault, Malformed
from dagferry_schemas.names import digest_of
from dagferry_schemas.pins import TarballPin
from dagferry_schemas.tree import Tree, TreeFile, make_tree
from dagferry_storage import unpack

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


FILES: Mapping[str, bytes] = {
    "a.py": b"a = 1\n",
    "deep/er/b.py": b"b" * 1000,
    "deep/empty.py": b"",
    "deep.txt": b"between deep and deep/ in no order but the bytes'\n",
    "exact": b"x" * 512,
    "ü/naïve.py": b"u = 1\n",
}


class Sink:
    """Writes everything, links nothing."""

    def adopt(self, file: TreeFile, folder: int, name: str) -> bool:
        return False

    def finish(self, file: TreeFile, descriptor: int) -> None:
        os.fchmod(descriptor, 0o755 if file.executable else 0o644)

    def leave(self, folder: int) -> None:
        pass


def tree_of(files: Mapping[str, bytes]) -> Tree:
    return make_tree(TreeFile(path, False, len(body), hashlib.sha256(body).hexdigest()) for path, body in files.items())


def plain_of(files: Mapping[str, bytes]) -> bytes:
    bodies = (plaintar.header(file) + files[file.path] + plaintar.padding(file.size) for file in tree_of(files).files)
    return b"".join(bodies) + plaintar.END


def pinned(tree: Tree, stored: bytes) -> trust.VerifiedTarball:
    """What trust says of ``stored`` when its pin is right: the publisher may have lied about everything inside."""
    verified = trust.check_tree(tree, tree.digest)
    check = trust.TarballCheck(verified, TarballPin(digest_of(stored), len(stored), plaintar.plain_size(tree)))
    check.update(stored)
    return check.finish()


def unpack_into(target: Path, tree: Tree, stored: bytes, sink: unpack.Sink | None = None) -> None:
    target.mkdir()
    descriptor = os.open(target, os.O_RDONLY | os.O_DIRECTORY)
    try:
        unpack.unpack(pinned(tree, stored), io.BytesIO(stored), descriptor, sink or Sink())
    finally:
        os.close(descriptor)


def read_back(target: Path) -> dict[str, bytes]:
    return {str(path.relative_to(target)): path.read_bytes() for path in target.rglob("*") if path.is_file()}


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def frames_of(plain: bytes, size: int) -> bytes:
    return b"".join(compression.compress(plain[start : start + size]) for start in range(0, len(plain), size))


@pytest.mark.parametrize("size", [1, 100, 512, 10**6])
def test_any_frames_with_the_right_plain_bytes_are_the_tree(tmp_path: Path, size: int) -> None:
    before = descriptors()
    plain = plain_of(FILES)
    stored = frames_of(plain[:2048], size) + frames_of(plain[2048:], 10**6)
    unpack_into(tmp_path / "out", tree_of(FILES), stored)
    assert read_back(tmp_path / "out") == FILES
    assert descriptors() == before


def test_skippable_frames_are_an_encoding_too(tmp_path: Path) -> None:
    skippable = b"\x50\x2a\x4d\x18\x04\0\0\0note"
    unpack_into(tmp_path / "out", tree_of(FILES), skippable + compression.compress(plain_of(FILES)))
    assert read_back(tmp_path / "out") == FILES


def _swap(plain: bytes, old: bytes, new: bytes) -> bytes:
    assert plain.count(old) >= 1
    return plain.replace(old, new, 1)


HOSTILE: Mapping[str, Callable[[bytes], bytes]] = {
    "another_path": lambda plain: _swap(plain, b"a.py", b"b.py"),
    "a_path_that_climbs": lambda plain: _swap(plain, b"a.py\0\0\0\0\0\0\0", b"../../etc/x"),
    "an_absolute_path": lambda plain: _swap(plain, b"a.py\0\0", b"/tmp/x"),
    "a_symbolic_link": lambda plain: plain[:156] + b"2" + plain[157:],
    "a_hard_link": lambda plain: plain[:156] + b"1" + plain[157:],
    "a_device": lambda plain: plain[:156] + b"3" + plain[157:],
    "a_folder": lambda plain: plain[:156] + b"5" + plain[157:],
    "setuid": lambda plain: _swap(plain, b"0000644\0", b"0004755\0"),
    "another_owner": lambda plain: _swap(plain, b"0000000\0", b"0000001\0"),
    "another_size": lambda plain: _swap(plain, b"00000000006\0", b"00000000007\0"),
    "other_bytes": lambda plain: _swap(plain, b"a = 1", b"a = 2"),
    "padding_that_is_not_zero": lambda plain: plain[:520] + b"!" + plain[521:],
    "a_link_name": lambda plain: plain[:157] + b"x" + plain[158:],
    "no_end": lambda plain: plain[:-1024],
    "half_an_end": lambda plain: plain[:-512],
    "more_after_the_end": lambda plain: plain + bytes(512),
    "a_second_archive_after_the_end": lambda plain: plain + plain,
    "cut_in_a_body": lambda plain: plain[: 512 + 3],
    "cut_in_a_header": lambda plain: plain[:100],
    "nothing": lambda plain: b"",
    "an_extra_file_in_front": lambda plain: plain_of({"0.py": b"0"})[:1024] + plain,
    "the_first_file_missing": lambda plain: plain[1024:],
    "the_first_file_twice": lambda plain: plain[:1024] + plain,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_other_plain_bytes_are_refused_though_the_pin_is_right(tmp_path: Path, name: str) -> None:
    before = descriptors()
    stored = compression.compress(HOSTILE[name](plain_of(FILES)))
    with pytest.raises(Corrupt):
        unpack_into(tmp_path / "out", tree_of(FILES), stored)
    assert [path.name for path in tmp_path.iterdir()] == ["out"], "nothing was written outside"
    assert descriptors() == before


def _wide_window(plain: bytes) -> bytes:
    parameters = zstandard.ZstdCompressionParameters.from_level(3, window_log=27)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    return compressor.compress(plain + bytes(2**28 - len(plain))) + compressor.flush()


STREAMS: Mapping[str, Callable[[bytes], bytes]] = {
    "not_zstd": lambda plain: plain,
    "rubbish_after_the_frames": lambda plain: compression.compress(plain) + b"rubbish",
    "a_frame_that_breaks_off": lambda plain: compression.compress(plain)[:-5],
    "a_window_of_128_MiB": _wide_window,
    "a_bomb": lambda plain: compression.compress(plain + bytes(2**28)),
    "gzip": lambda plain: b"\x1f\x8b\x08\x00" + plain,
    "empty": lambda plain: b"",
}


@pytest.mark.parametrize("name", STREAMS)
def test_other_streams_are_refused_though_the_pin_is_right(tmp_path: Path, name: str) -> None:
    with pytest.raises(Corrupt):
        unpack_into(tmp_path / "out", tree_of(FILES), STREAMS[name](plain_of(FILES)))


def test_what_was_not_verified_cannot_be_unpacked(tmp_path: Path) -> None:
    with pytest.raises(Malformed):
        unpack.unpack("a tarball", io.BytesIO(), 0, Sink())  # type: ignore[arg-type]


class Squatter(Sink):
    """Somebody in the pod who puts a link where the next file goes."""

    def __init__(self, victim: Path) -> None:
        self._victim = victim

    def adopt(self, file: TreeFile, folder: int, name: str) -> bool:
        os.symlink(self._victim, name, dir_fd=folder)
        return False


def test_a_link_that_was_planted_in_the_way_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    with pytest.raises(MachineFault, match="File exists"):
        unpack_into(tmp_path / "out", tree_of(FILES), compression.compress(plain_of(FILES)), Squatter(victim))
    assert victim.read_bytes() == b"precious"


def refuses_all(check: Callable[[bytes], None]) -> None:
    """The check that the planted reader fails: every hostile archive is refused."""
    for name, change in HOSTILE.items():
        try:
            check(compression.compress(change(plain_of(FILES))))
        except DagferryError:
            continue
        raise AssertionError(f"{name} was accepted")


def test_the_checking_reader_refuses_all() -> None:
    tree = tree_of(FILES)
    refuses_all(lambda stored: unpack.check(pinned(tree, stored), io.BytesIO(stored)))


@pytest.mark.planted
def test_planted_reader_that_trusts_the_sizes_is_caught() -> None:
    def careless(stored: bytes) -> None:
        plain = unpack.Plain(io.BytesIO(stored), "tarball")
        for file in tree_of(FILES).files:
            b"".join(plain.pieces(len(plaintar.header(file)) + file.size + len(plaintar.padding(file.size))))

    with pytest.raises(AssertionError):
        refuses_all(careless)
