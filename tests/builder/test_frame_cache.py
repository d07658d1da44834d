"""The cache of compressed frames saves time and changes no byte, whatever happens to it."""

from __future__ import annotations

import io
import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from dagferry_builder import frames
from dagferry_builder.frame_cache import DIGEST, FrameCache, Kept, key_of
from dagferry_builder.pack import pack
from dagferry_schemas.errors import DagferryError, Malformed

from .cached import FILES, damage_changes_no_byte, entries, packed, selected
from .repositories import Clone
from .test_pack import POINTER

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from typing import Any, BinaryIO

ONE = "team3/dag_0738.py"
CHANGED = b"# changed, and of another size\n"


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    made = Clone(tmp_path_factory.mktemp("cached") / "clone")
    made.commit(FILES, frozenset({"team0/dag_0000.py"}))
    return made


@pytest.fixture
def changing(clone: Clone, tmp_path: Path) -> Clone:
    """A clone that a test may change. Its objects are its own files, one each."""
    made = Clone(tmp_path / "changing")
    shutil.rmtree(made.folder)
    shutil.copytree(clone.folder, made.folder)
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "frames"


def groups(clone: Clone) -> list[frames.Group]:
    return list(frames.plan(selected(clone)[1]))


def inodes(folder: Path) -> dict[str, int]:
    """What is written anew has another one."""
    return {entry.name: entry.stat().st_ino for entry in entries(folder)}


def size_of(folder: Path) -> int:
    return sum(entry.stat().st_size for entry in entries(folder))


# The same bytes


def test_cold_and_warm_builds_are_the_build_without_a_cache(clone: Clone, folder: Path) -> None:
    expected = packed(clone)
    assert packed(clone, FrameCache(folder)) == expected
    kept = inodes(folder)
    assert sorted(kept) == sorted(key_of(group) for group in groups(clone))
    assert len(kept) > 4
    assert packed(clone, FrameCache(folder)) == expected
    assert inodes(folder) == kept


@pytest.mark.parametrize("lost", [slice(0, None, 2), slice(1, None, 2), slice(0, 1), slice(-1, None)], ids=str)
def test_partly_warm_build_is_the_build_without_a_cache(clone: Clone, folder: Path, lost: slice) -> None:
    packed(clone, FrameCache(folder))
    whole = sorted(inodes(folder))
    for group in groups(clone)[lost]:
        (folder / key_of(group)).unlink()
    assert packed(clone, FrameCache(folder)) == packed(clone)
    assert sorted(inodes(folder)) == whole


@pytest.mark.parametrize(
    "change",
    [
        {ONE: CHANGED},
        {"models/large.bin": b"small now"},
        {"empty.py": b"not any more\n"},
        {"a/new.py": b""},
        {"ü.py": b""},
    ],
    ids=lambda change: next(iter(change)),
)
def test_build_after_a_change_is_the_build_without_a_cache(
    changing: Clone, folder: Path, change: dict[str, bytes]
) -> None:
    packed(changing, FrameCache(folder))
    before = inodes(folder)
    changing.commit(change)
    assert packed(changing, FrameCache(folder)) == packed(changing)
    assert 0 < len(inodes(folder).keys() - before.keys()) <= 2


def test_file_that_only_became_executable_is_packed_anew(changing: Clone, folder: Path) -> None:
    packed(changing, FrameCache(folder))
    changing.commit({ONE: FILES[ONE]}, frozenset({ONE}))
    made, stored = packed(changing, FrameCache(folder))
    assert (made, stored) == packed(changing)
    assert ONE in {file.path for file in made.tree.files if file.executable}


def test_file_that_moved_is_packed_at_its_new_path(changing: Clone, folder: Path) -> None:
    packed(changing, FrameCache(folder))
    changing.git("mv", ONE, "team3/moved.py")
    changing.commit({})
    assert packed(changing, FrameCache(folder)) == packed(changing)


def test_damaged_entries_change_no_byte_and_are_replaced(clone: Clone, folder: Path) -> None:
    damage_changes_no_byte(clone, folder)


class Uncaring(FrameCache):
    """Takes what it finds for what it looked for."""

    def _checked(self, file: BinaryIO, key: str, count: int) -> Kept | None:
        raw = file.read()
        size = len(raw) - (count + 1) * DIGEST
        digests = raw[size : -DIGEST or None]
        if size <= 0:
            return None
        return Kept(tuple(digests[at * DIGEST :][:DIGEST].hex() for at in range(count)), size, file, raw[:size])


@pytest.mark.planted
def test_planted_cache_that_does_not_check_what_it_reads_is_caught(clone: Clone, folder: Path) -> None:
    with pytest.raises(AssertionError):
        damage_changes_no_byte(clone, folder, Uncaring)


# What is read


def spoil(clone: Clone, ids: Iterable[str]) -> None:
    """Damage the contents of objects, behind the beginning that says how long they are."""
    for one in ids:
        path = clone.folder / ".git/objects" / one[:2] / one[2:]
        raw = path.read_bytes()
        path.chmod(0o644)
        path.write_bytes(raw[:-4] + bytes(byte ^ 0xFF for byte in raw[-4:]))


def test_after_a_change_only_the_blobs_of_what_it_changes_are_read(changing: Clone, folder: Path) -> None:
    packed(changing, FrameCache(folder))
    before = {key_of(group) for group in groups(changing)}
    changing.commit({ONE: CHANGED})
    expected = packed(changing)
    fresh = [group for group in groups(changing) if key_of(group) not in before]
    assert 1 <= len(fresh) <= 2  # its own, and what is cut off where its new size makes an end before it
    needed = {source.entry.object_id for group in fresh for source in group.files}
    # The sizes of all files are read, so what is too small to have an end behind its size is left as it is.
    others = {source.entry.object_id for source in selected(changing)[1] if source.entry.size > 1000} - needed
    assert len(others) > 100
    assert len(needed) > 1
    spoil(changing, others)
    with pytest.raises(DagferryError, match=r"does not have its content|ended in the middle"):
        packed(changing)
    assert packed(changing, FrameCache(folder)) == expected


def test_entries_that_vanish_during_a_build_are_read_from_git(clone: Clone, folder: Path) -> None:
    class Pulled(io.BytesIO):
        """The cache is gone as soon as the first frame was written."""

        def write(self, frame: object) -> int:
            shutil.rmtree(folder, ignore_errors=True)
            return super().write(frame)  # type: ignore[arg-type]

    expected = packed(clone)
    packed(clone, FrameCache(folder))
    repository, sources = selected(clone)
    tarball = Pulled()
    assert (pack(repository, sources, tarball, FrameCache(folder)), tarball.getvalue()) == expected
    assert len(entries(folder)) > 1


# What is kept


def test_nothing_is_kept_of_a_build_with_a_git_lfs_pointer(tmp_path: Path, folder: Path) -> None:
    clone = Clone(tmp_path / "clone")
    clone.commit({**FILES, "team1/model.bin": POINTER})
    for _ in range(2):
        with pytest.raises(Malformed, match="Git LFS pointer"):
            packed(clone, FrameCache(folder))
        assert entries(folder) == []


def test_pointer_that_joins_a_warm_tree_is_refused(changing: Clone, folder: Path) -> None:
    packed(changing, FrameCache(folder))
    kept = inodes(folder)
    changing.commit({ONE: POINTER})
    for _ in range(2):
        with pytest.raises(Malformed, match="Git LFS pointer"):
            packed(changing, FrameCache(folder))
        assert inodes(folder) == kept


def test_no_folder_means_no_cache(clone: Clone) -> None:
    assert packed(clone, FrameCache(None)) == packed(clone)


def test_name_depends_on_all_that_the_bytes_depend_on(clone: Clone) -> None:
    first = groups(clone)[0]
    one, *others = first.files

    def key(**changes: Any) -> str:  # noqa: ANN401 (one field or another)
        return key_of(first._replace(files=(one._replace(**changes), *others)))

    entry = one.entry
    names = [
        key_of(first),
        key_of(first, "zstandard 0.0, zstd 0.0"),
        key_of(first._replace(last=True)),
        key_of(first._replace(files=first.files[:-1])),
        key(path=one.path + "x"),
        key(executable=not one.executable),
        key(entry=entry._replace(size=entry.size + 1)),
        key(entry=entry._replace(object_id="0" * 40)),
    ]
    assert len(set(names)) == len(names)
    assert key(entry=entry._replace(path="where/a/link/led.py")) == key_of(first)


def test_folder_that_cannot_be_written_costs_one_warning(
    clone: Clone, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    assert packed(clone, FrameCache(tmp_path / "file" / "frames")) == packed(clone)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "writing the cache of compressed frames" in caplog.text
    assert "--cache-dir" in caplog.text


# The budget


def test_what_was_not_used_for_the_longest_time_goes_first(changing: Clone, folder: Path) -> None:
    packed(changing, FrameCache(folder))
    left_behind = next(key_of(group) for group in groups(changing) if any(one.path == ONE for one in group.files))
    for entry in entries(folder):
        os.utime(entry, (1, 1) if entry.name != left_behind else (2, 2))
    budget = size_of(folder)
    changing.commit({ONE: CHANGED})
    packed(changing, FrameCache(folder, budget))  # uses all but that one, which is the oldest now
    assert size_of(folder) <= budget
    assert sorted(inodes(folder)) == sorted(key_of(group) for group in groups(changing))


def test_nothing_is_removed_within_the_budget(changing: Clone, folder: Path) -> None:
    packed(changing, FrameCache(folder))
    before = inodes(folder)
    changing.commit({ONE: CHANGED})
    packed(changing, FrameCache(folder, 3 * size_of(folder)))
    assert before.items() < inodes(folder).items()


def test_tree_that_is_larger_than_the_budget_keeps_a_part_of_itself(clone: Clone, folder: Path) -> None:
    packed(clone, FrameCache(folder))
    budget = size_of(folder) // 2
    shutil.rmtree(folder)
    expected = packed(clone)
    assert packed(clone, FrameCache(folder, budget)) == expected
    kept = inodes(folder)
    assert 0 < len(kept) < len(groups(clone))
    assert size_of(folder) <= budget
    assert packed(clone, FrameCache(folder, budget)) == expected
    assert inodes(folder) == kept
