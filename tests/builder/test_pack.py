"""Packing: the plain bytes are canonical whatever the frames are, and frames follow the paths."""

from __future__ import annotations

import io
import random
from typing import TYPE_CHECKING

import pytest
import zstandard

from dagferry_builder.frames import MAX_FRAME
from dagferry_builder.git import Repository
from dagferry_builder.objects import Blobs, Entry
from dagferry_builder.pack import Packed, pack
from dagferry_builder.selecting import select
from dagferry_builder.selection import Selection
from dagferry_schemas import plaintar
from dagferry_schemas.compression import plain_chunks
from dagferry_schemas.errors import BadData, Conflict, Malformed
from dagferry_schemas.names import digest_of
from dagferry_storage import unpack

from .repositories import Clone

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

POINTER = b"version https://lfs.example/spec/v1\next-0-x sha256:1\noid sha256:" + b"0f" * 32 + b"\nsize 12\n"
LARGE = random.Random(7).randbytes(9 * 1024 * 1024 + 5)
FILES: Mapping[str, bytes] = {
    **{f"team{n % 7}/dag_{n}.py": b"# %d\n" % n * (n * 3) for n in range(700)},
    "large.bin": LARGE,
    "empty.py": b"",
    "ü.py": b"u = 1\n",
    "x" * 101 + ".py": b"x = 1\n",
}


def packed(clone: Clone) -> tuple[Packed, bytes]:
    repository = Repository(clone.folder)
    selected = select(repository, repository.resolve("HEAD"), Selection())
    tarball = io.BytesIO()
    return pack(repository, selected.sources, tarball), tarball.getvalue()


def frames_of(stored: bytes) -> list[bytes]:
    """The plain bytes of each frame."""
    found = []
    while stored:
        decompressor = zstandard.ZstdDecompressor().decompressobj()
        found.append(decompressor.decompress(stored))
        stored = decompressor.unused_data
    return found


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    made = Clone(tmp_path_factory.mktemp("pack") / "clone")
    made.commit(FILES, frozenset({"team0/dag_0.py"}))
    return made


def test_the_plain_bytes_are_the_canonical_tar(clone: Clone) -> None:
    made, stored = packed(clone)
    tree = made.tree
    canonical = b"".join(plaintar.header(f) + FILES[f.path] + plaintar.padding(f.size) for f in tree.files)
    assert b"".join(plain_chunks(io.BytesIO(stored), "tarball")) == canonical + plaintar.END
    assert {file.path for file in tree.files if file.executable} == {"team0/dag_0.py"}


def test_the_pins_are_those_of_the_stored_bytes(clone: Clone) -> None:
    made, stored = packed(clone)
    pin = made.content.tarball
    assert (pin.sha256, pin.size, pin.plain_size) == (
        digest_of(stored),
        len(stored),
        plaintar.plain_size(made.tree),
    )
    assert made.content.files.sha256 == digest_of(made.tree.files.stored)
    assert made.content.tree == made.tree.digest


def test_packing_again_gives_the_same_stored_bytes(clone: Clone) -> None:
    assert packed(clone)[1] == packed(clone)[1]


def test_no_frame_is_larger_than_the_bound(clone: Clone) -> None:
    sizes = [len(frame) for frame in frames_of(packed(clone)[1])]
    assert max(sizes) <= MAX_FRAME
    assert len(sizes) > 3


def test_one_changed_file_changes_one_frame(tmp_path: Path) -> None:
    clone = Clone(tmp_path / "clone")
    many = {f"d{n % 11}/dag_{n}.py": b"# line %d\n" % n * 400 for n in range(2000)}
    clone.commit(many)
    before = frames_of(packed(clone)[1])
    clone.commit({"d3/dag_300.py": b"# changed, and of another size\n"})
    after = frames_of(packed(clone)[1])
    assert len(before) > 5
    assert len(set(after) - set(before)) == 1


def test_a_large_file_that_tells_lfs_in_its_text_is_not_taken_for_a_pointer(tmp_path: Path) -> None:
    clone = Clone(tmp_path / "clone")
    clone.commit({"a.md": POINTER + b"and this is how a pointer ends. " * 40})
    assert packed(clone)[0].content.files.count == 1


def test_a_git_lfs_pointer_is_refused_by_its_path(tmp_path: Path) -> None:
    clone = Clone(tmp_path / "clone")
    clone.commit({"m/model.bin": POINTER, "m/story.md": b"The pointer of this model:\n" + POINTER})
    with pytest.raises(Malformed, match=r"1 problem.*\n.*m/model\.bin") as caught:
        packed(clone)
    assert caught.value.code == "cannot_pack"


def test_what_was_packed_can_be_checked_byte_by_byte(clone: Clone) -> None:
    from dagferry_schemas import trust

    made, stored = packed(clone)
    check = trust.TarballCheck(trust.check_tree(made.tree, made.content.tree), made.content.tarball)
    check.update(stored)
    unpack.check(check.finish(), io.BytesIO(stored))


ENTRIES = [Entry(f"dag_{n}.py", "100644", f"{n:040}", 4) for n in range(3)]
ANSWER = b"".join(f"{one.object_id} blob 4\nabc\n\n".encode() for one in ENTRIES)


def test_blobs_that_are_read_at_once_are_those_that_are_read_one_by_one() -> None:
    one_by_one = Blobs(io.BytesIO(ANSWER))
    assert Blobs(io.BytesIO(ANSWER)).read_whole(ENTRIES) == [b"".join(one_by_one.read(one)) for one in ENTRIES]


@pytest.mark.parametrize(
    ("answer", "error", "named"),
    [
        (ANSWER[:53] + f"{1:040} missing\n".encode() + ANSWER[106:], Malformed, "dag_1.py"),
        (ANSWER[:53] + ANSWER[106:], Malformed, "dag_1.py"),
        (ANSWER.replace(b"0002 blob 4", b"0002 tree 4"), Malformed, "dag_2.py"),
        (ANSWER[:106], Malformed, "dag_2.py"),
        (ANSWER[:120], Malformed, "dag_2.py"),
        (ANSWER[:-2], Conflict, "dag_2.py"),
        (b"", Malformed, "dag_0.py"),
    ],
    ids=["missing", "skipped", "no blob", "ended", "ended in a head", "ended in a body", "nothing"],
)
def test_what_git_does_not_answer_in_full_is_refused(answer: bytes, error: type[BadData], named: str) -> None:
    with pytest.raises(error, match=named):
        Blobs(io.BytesIO(answer)).read_whole(ENTRIES)
    blobs = Blobs(io.BytesIO(answer))
    with pytest.raises(error, match=named):
        [b"".join(blobs.read(one)) for one in ENTRIES]
