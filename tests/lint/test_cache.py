"""Which results of imports still hold, and what is kept of them."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import pytest

from dagferry_builder.lint.cache import FLEETING, Cache, CleanContents, key_of
from dagferry_builder.lint.imported import Imported, Problem
from tests.lint.trees import tree

if TYPE_CHECKING:
    from pathlib import Path

FILES = {"a.py": b"import common.rates", "b.py": b"", "common/__init__.py": b"", "common/rates.py": b"RATE = 1\n"}
LISTING = [{"path": "a.py", "skipped": False}, {"path": "b.py", "skipped": False}]


def imported(*problems: Problem, searched: tuple[str, ...] = ("extras", "sys.more")) -> Imported:
    reads = ("a.py", "common/__init__.py", "common/rates.py")
    return Imported("a.py", problems=problems, reads=reads, searched=searched)


def kept(tmp_path: Path, result: Imported) -> Path:
    """The file of a cache that has ``result``."""
    cache = Cache(tmp_path / "cache" / "lint.json.zst", tree(tmp_path / "before", FILES).files)
    cache.put(result, asdict(result))
    cache.save(LISTING)
    return tmp_path / "cache" / "lint.json.zst"


def found(tmp_path: Path, file: Path, changes: dict[str, bytes | None]) -> tuple[bool, bool]:
    """After the changes: whether the result still holds, and whether the listing does."""
    files = {path: body for path, body in {**FILES, **changes}.items() if body is not None}
    cache = Cache(file, tree(tmp_path / "after", files).files)
    return cache.get("a.py") is not None, cache.listing() is not None


@pytest.mark.parametrize(
    ("changes", "holds", "listed"),
    [
        ({}, True, True),
        ({"a.py": b"import common.rates\n"}, False, False),
        ({"b.py": b"B = 1\n"}, True, False),
        ({"common/rates.py": b"RATE = 2\n"}, False, False),
        ({"common/rates.py": None}, False, False),
        ({"notes.txt": b"read by nobody\n"}, True, False),
        ({"extras.py": b""}, False, False),
        ({"extras/other.py": b""}, False, False),
        ({"deep/more.py": b""}, False, False),
        ({".airflowignore": b"b.py\n"}, True, False),
    ],
    ids=lambda value: "+".join(value) or "nothing" if isinstance(value, dict) else "",
)
def test_result_holds_while_what_it_came_from_is_the_same(
    tmp_path: Path, changes: dict[str, bytes | None], holds: bool, listed: bool
) -> None:
    file = kept(tmp_path, imported())
    assert found(tmp_path, file, changes) == (holds, listed)


def test_result_of_a_file_that_listed_folders_holds_for_the_same_paths(tmp_path: Path) -> None:
    file = kept(tmp_path, imported(searched=("*",)))
    assert found(tmp_path, file, {"b.py": b"B = 1\n"})[0]
    assert not found(tmp_path, file, {"new.sql": b""})[0]


@pytest.mark.parametrize("rule", sorted(FLEETING))
def test_result_that_depends_on_the_moment_is_not_kept(tmp_path: Path, rule: str) -> None:
    file = kept(tmp_path, imported(Problem(rule, "a.py", 1, "…")))
    assert found(tmp_path, file, {}) == (False, True)


def test_result_with_a_lasting_problem_is_kept_whole(tmp_path: Path) -> None:
    one = imported(Problem("import-error", "a.py", 3, "NameError: x", "define it"))
    assert Cache(kept(tmp_path, one), tree(tmp_path / "after", FILES).files).get("a.py") == one


def test_result_that_no_longer_holds_is_not_saved_again(tmp_path: Path) -> None:
    file = kept(tmp_path, imported())
    changed = Cache(file, tree(tmp_path / "changed", {**FILES, "a.py": b""}).files)
    assert changed.get("a.py") is None
    changed.save(LISTING)
    assert found(tmp_path, file, {}) == (False, False)


@pytest.mark.parametrize("raw", [b"", b"not compressed", b"\x28\xb5\x2f\xfd\x00"], ids=["empty", "text", "cut off"])
def test_damaged_cache_is_empty(tmp_path: Path, raw: bytes) -> None:
    file = kept(tmp_path, imported())
    file.write_bytes(raw)
    assert found(tmp_path, file, {}) == (False, False)


def test_cache_of_another_shape_is_empty(tmp_path: Path) -> None:
    import zstandard

    file = kept(tmp_path, imported())
    for text in (b"[]", b'{"files": {"a.py": {}}}', b'{"files": {"a.py": 1}, "listing": 2}', b'{"files": []}'):
        file.write_bytes(zstandard.compress(text))
        assert found(tmp_path, file, {}) == (False, False), text


def test_no_file_means_no_cache(tmp_path: Path) -> None:
    cache = Cache(None, tree(tmp_path, FILES).files)
    cache.put(imported(), asdict(imported()))
    cache.save(LISTING)
    assert cache.listing() is None
    assert [path.name for path in tmp_path.iterdir()] == ["dags"]


def test_cache_that_cannot_be_written_is_left_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    cache = Cache(tmp_path / "file" / "lint.json.zst", tree(tmp_path, FILES).files)
    cache.put(imported(), asdict(imported()))
    cache.save(LISTING)
    assert "writing the cache of lint" in caplog.text


def test_key_depends_on_every_part() -> None:
    keys = {key_of("state", "probe", {"a": 1}), key_of("state", "probe", {"a": 2}), key_of("state", "other", {"a": 1})}
    assert len(keys) == 3
    assert key_of({"a": 1, "b": 2}) == key_of({"b": 2, "a": 1})


@pytest.mark.parametrize(
    ("now", "holds"),
    [({"REGION": "a1"}, True), ({"REGION": "b2"}, False), ({}, False), ({"REGION": "a1", "JOB": "7"}, True)],
)
def test_result_holds_with_the_variables_that_it_asked_for(tmp_path: Path, now: dict[str, str], holds: bool) -> None:
    file = tmp_path / "lint.json.zst"
    before = Cache(file, tree(tmp_path / "before", FILES).files, {"REGION": "a1", "JOB": "6"})
    result = imported(searched=())
    before.put(result, {**asdict(result), "variables": ["REGION", "ABSENT"]})
    before.save(LISTING)
    assert (Cache(file, tree(tmp_path / "after", FILES).files, now).get("a.py") is not None) is holds


def test_contents_without_a_secret_are_remembered_for_all_trees(tmp_path: Path) -> None:
    file = tmp_path / "secrets.json.zst"
    for name in ("one", "two"):
        checkout = tree(tmp_path / name, {"a.py": name.encode()})
        clean = CleanContents(file)
        clean.known.update(one.content for one in checkout.files.values())
        clean.save(checkout.files.values())
    known = CleanContents(file).known
    assert len(known) == 2
    assert {one.content for one in tree(tmp_path / "again", {"a.py": b"one"}).files.values()} < known
