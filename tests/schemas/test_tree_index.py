"""An index of a tree: it is edited as the whole would be, and refuses what the whole would refuse."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagferry_schemas.errors import Malformed
from dagferry_schemas.tree import TreeFile, decode_files, encode_files, make_tree
from dagferry_schemas.tree_index import TreeIndex

if TYPE_CHECKING:
    from collections.abc import Mapping


def file(path: str, content: str = "x", *, executable: bool = False) -> TreeFile:
    return TreeFile(path, executable, len(content), hashlib.sha256(content.encode()).hexdigest())


def files(*paths: str) -> dict[str, TreeFile]:
    return {path: file(path) for path in paths}


def index_of(wanted: Mapping[str, TreeFile]) -> TreeIndex:
    return TreeIndex.of(make_tree(wanted.values()).files)


COMPONENT = st.sampled_from(["a", "b", "a.py", "b b.py", "ä", "dag-1", "a+"])
PATHS = st.lists(COMPONENT, min_size=1, max_size=4).map("/".join)
CONTENT = st.builds(lambda text, x: (text, x), st.sampled_from(["", "x", "longer"]), st.booleans())
TREES = st.dictionaries(PATHS, CONTENT, min_size=1, max_size=12)


def as_tree(drawn: Mapping[str, tuple[str, bool]]) -> dict[str, TreeFile]:
    """What was drawn, without files below which there are others."""
    kept = {path: one for path, one in drawn.items() if not any(other.startswith(path + "/") for other in drawn)}
    return {path: file(path, text, executable=x) for path, (text, x) in kept.items()}


@settings(max_examples=300)
@given(TREES, TREES)
def test_editing_an_index_gives_the_tree_that_was_wanted(before: dict, after: dict) -> None:  # type: ignore[type-arg]
    old, new = as_tree(before), as_tree(after)
    changes = {path: new.get(path) for path in {*old, *new} if old.get(path) != new.get(path)}
    index, wanted = index_of(old).edited(changes), make_tree(new.values())
    tree = index.tree()
    assert (tree.digest, tree.size, len(tree.files)) == (wanted.digest, wanted.size, len(wanted.files))
    assert list(index) == list(wanted.files)
    assert encode_files(tree) == encode_files(wanted)
    assert decode_files(encode_files(tree)).digest == tree.digest
    assert all(index.find(path) == new.get(path) for path in {*old, *new, "nowhere", "a/nowhere"})
    folders = {"", *("/".join(path.split("/")[:depth]) for path in new for depth in range(1, path.count("/") + 1))}
    assert set(index.folders) == folders


def test_a_list_that_is_made_for_each_look_is_the_stored_one() -> None:
    tree = make_tree(file(f"team_{number % 7}/dag_{number}.py", str(number)) for number in range(1000))
    index = TreeIndex.of(tree.files)
    assert index.tree().files.stored == tree.files.stored
    assert index.tree() == tree


REFUSED: dict[str, tuple[dict[str, TreeFile | None], str]] = {
    "a path that leads out": ({"../a": file("../a")}, "'.' or '..'"),
    "an absolute path": ({"/etc/a": file("/etc/a")}, "empty"),
    "a path in another form": ({"a\u0308": file("a\u0308")}, "normal form C"),
    "a name that differs in letter case": ({"dags/A.py": file("dags/A.py")}, "letter case"),
    "a folder that differs in letter case": ({"DAGS/b.py": file("DAGS/b.py")}, "letter case"),
    "a file at the place of a folder": ({"dags": file("dags")}, "both a file and a folder"),
    "a folder at the place of a file": ({"dags/a.py/b": file("dags/a.py/b")}, "both a file and a folder"),
    "a file of another name": ({"b.py": file("c.py")}, "another name"),
    "a file that is too large": ({"b.py": TreeFile("b.py", False, 8 * 1024**3, "0" * 64)}, "8 GiB"),
    "no change": ({"dags/a.py": file("dags/a.py")}, "no change"),
    "a removal of nothing": ({"dags/b.py": None}, "no change"),
    "a removal of a folder": ({"dags": None}, "no change"),
    "everything goes": ({"dags/a.py": None}, "no files"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_tree_is_refused(name: str) -> None:
    changes, words = REFUSED[name]
    with pytest.raises(Malformed, match=words):
        index_of(files("dags/a.py")).edited(changes)


def test_a_file_may_follow_on_a_folder_and_a_folder_on_a_file() -> None:
    index = index_of(files("a/b/c", "a/d", "e"))
    edited = index.edited({"a": file("a"), "a/b/c": None, "a/d": None, "e": None, "e/f": file("e/f")})
    assert edited.digest == make_tree(files("a", "e/f").values()).digest


def test_what_an_edit_does_not_touch_is_shared() -> None:
    index = index_of(files(*(f"team_{number}/dag.py" for number in range(50))))
    edited = index.edited({"team_7/dag.py": file("team_7/dag.py", "other")})
    shared = [folder for folder in index.folders if index._folders[folder] is edited._folders[folder]]
    assert len(shared) == 49
