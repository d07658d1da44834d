"""What is selected from a commit and what is left out, by which rule."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Final

import pytest

from dagferry_builder.git import Repository
from dagferry_builder.objects import EXECUTABLE, Entry
from dagferry_builder.problems import CannotPack
from dagferry_builder.selecting import select
from dagferry_builder.selection import Root, Selection
from dagferry_builder.sources import FEW, Source, Sources
from dagferry_schemas.errors import Usage
from tests.builder.repositories import Clone

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from dagferry_builder.selecting import Selected


def chosen(clone: Clone, selection: Selection) -> Selected:
    repository = Repository(clone.folder)
    return select(repository, repository.resolve("HEAD"), selection)


def committed(folder: Path, files: Mapping[str, str], links: Mapping[str, str] | None = None) -> Clone:
    clone = Clone(folder / "clone")
    for path, target in (links or {}).items():
        (clone.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (clone.folder / path).symlink_to(target)
    clone.commit({path: text.encode() for path, text in files.items()})
    return clone


def packed(selected: Selected) -> list[str]:
    return [source.path for source in selected.sources]


def left_out(selected: Selected) -> dict[str, str]:
    return {one.path: one.rule for one in selected.left_out}


# Roots.

TWO_TEAMS: Final = {
    "team_a/dags/a.py": "",
    "team_a/dags/sub/b.py": "",
    "shared/plugins/p.py": "",
    "shared/sql/q.sql": "",
    "other/o.py": "",
}


def test_several_roots_have_their_places_in_one_tree(tmp_path: Path) -> None:
    clone = committed(tmp_path, TWO_TEAMS)
    roots = (Root("team_a/dags", "dags"), Root("shared/plugins", "plugins"), Root("shared/sql", "include/sql"))
    selection = Selection(roots)
    found = chosen(clone, selection)
    assert packed(found) == ["dags/a.py", "dags/sub/b.py", "include/sql/q.sql", "plugins/p.py"]
    assert [source.entry.path for source in found.sources] == [selection.origin(path) for path in packed(found)]


def test_one_root_may_be_the_tree_and_hold_the_place_of_another(tmp_path: Path) -> None:
    clone = committed(tmp_path, {**TWO_TEAMS, "team_a/dags/z.py": ""})
    selection = Selection((Root("team_a/dags"), Root("shared/plugins", "sub/plugins"), Root("shared/sql", "sub")))
    found = chosen(clone, selection)
    assert packed(found) == ["a.py", "sub/b.py", "sub/plugins/p.py", "sub/q.sql", "z.py"]
    assert selection.origin("sub/plugins/p.py") == "shared/plugins/p.py"


def test_places_whose_names_sort_apart_from_their_files_come_in_order(tmp_path: Path) -> None:
    clone = committed(tmp_path, {"1/a.py": "", "2/a.py": "", "3/a.py": ""})
    found = chosen(clone, Selection((Root("1", "dags"), Root("2", "dags-old"), Root("3", "dags.d"))))
    assert packed(found) == ["dags-old/a.py", "dags.d/a.py", "dags/a.py"]


def test_two_roots_that_bring_one_path_are_refused(tmp_path: Path) -> None:
    clone = committed(tmp_path, {"a/sub/x.py": "", "b/x.py": ""})
    with pytest.raises(CannotPack, match=r"'sub/x\.py' appears twice"):
        chosen(clone, Selection((Root("a"), Root("b", "sub"))))


@pytest.mark.parametrize("missing", ["nowhere", "team_a/dags/a.py", "team_a/gone"])
def test_root_that_is_no_folder_of_the_commit_is_named(tmp_path: Path, missing: str) -> None:
    clone = committed(tmp_path, TWO_TEAMS)
    with pytest.raises(Usage, match=missing):
        chosen(clone, Selection((Root("team_a/dags", "dags"), Root(missing, "more"))))


def test_root_may_be_a_link_or_be_behind_one(tmp_path: Path) -> None:
    clone = committed(tmp_path, TWO_TEAMS, {"current": "team_a", "dags": "current/dags"})
    assert packed(chosen(clone, Selection.below("dags"))) == ["a.py", "sub/b.py"]
    assert packed(chosen(clone, Selection.below("current/dags/sub"))) == ["b.py"]


# Patterns.

FILES: Final = {
    "dags/a.py": "",
    "dags/a.sql": "",
    "dags/notes.md": "",
    "dags/tests/test_a.py": "",
    "dags/tests/deep/test_b.py": "",
    "dags/sub/tests/keep.sql": "",
    "dags/sub/data.csv": "",
}


@pytest.mark.parametrize(
    ("include", "exclude", "kept"),
    [
        (["*.py"], [], ["a.py", "tests/deep/test_b.py", "tests/test_a.py"]),
        (["*.py", "!tests/**"], [], ["a.py"]),
        (["/*.py", "sub/**"], [], ["a.py", "sub/data.csv", "sub/tests/keep.sql"]),
        ([], ["tests/", "*.md"], ["a.py", "a.sql", "sub/data.csv"]),
        ([], ["/tests/", "*.md"], ["a.py", "a.sql", "sub/data.csv", "sub/tests/keep.sql"]),
        ([], ["*", "!*.py"], ["a.py", "tests/deep/test_b.py", "tests/test_a.py"]),
        (["*.py"], ["tests/deep"], ["a.py", "tests/test_a.py"]),
    ],
)
def test_patterns_are_those_of_gitignore(
    tmp_path: Path, include: list[str], exclude: list[str], kept: list[str]
) -> None:
    clone = committed(tmp_path, FILES)
    selection = Selection((Root("dags"),), tuple(include), tuple(exclude))
    found = chosen(clone, selection)
    assert packed(found) == kept
    assert sum(one.files for one in found.left_out) == len(FILES) - len(kept)


def test_what_is_left_out_says_which_pattern_did_it(tmp_path: Path) -> None:
    clone = committed(tmp_path, FILES)
    found = chosen(clone, Selection((Root("dags"),), ("*.py", "*.sql"), ("# a comment", "tests/", "*.md")))
    assert left_out(found) == {
        "notes.md": "exclude: *.md",
        "sub/data.csv": "include: no pattern takes it",
        "sub/tests/keep.sql": "exclude: tests/",
        "tests/": "exclude: tests/",
    }
    assert [one.files for one in found.left_out] == [1, 1, 1, 2]


def test_patterns_see_the_paths_of_the_tree(tmp_path: Path) -> None:
    clone = committed(tmp_path, TWO_TEAMS)
    roots = (Root("team_a/dags", "dags"), Root("shared/plugins", "plugins"))
    found = chosen(clone, Selection(roots, exclude=("/dags/sub/", "team_a/")))
    assert packed(found) == ["dags/a.py", "plugins/p.py"]


def test_selection_that_leaves_everything_out_is_a_wrong_configuration(tmp_path: Path) -> None:
    clone = committed(tmp_path, FILES)
    with pytest.raises(Usage, match=r"is left out, for example .*\(include"):
        chosen(clone, Selection((Root("dags"),), include=("*.java",)))


# .dagferryignore


def test_dagferryignore_holds_below_its_folder_and_the_nearest_has_the_last_word(tmp_path: Path) -> None:
    files = {
        **FILES,
        ".dagferryignore": "*.md\n# nothing\n",
        "dags/.dagferryignore": "*.csv\n/tests/deep/\n",
        "dags/sub/.dagferryignore": "!data.csv\nkeep.sql\n",
    }
    found = chosen(committed(tmp_path, files), Selection.below("dags"))
    assert packed(found) == ["a.py", "a.sql", "sub/data.csv", "tests/test_a.py"]
    assert left_out(found) == {
        ".dagferryignore": ".dagferryignore",
        "notes.md": ".dagferryignore: *.md",
        "sub/.dagferryignore": ".dagferryignore",
        "sub/tests/keep.sql": "dags/sub/.dagferryignore: keep.sql",
        "tests/deep/test_b.py": "dags/.dagferryignore: /tests/deep/",
    }


def test_what_is_below_an_ignored_folder_is_never_brought_back(tmp_path: Path) -> None:
    files = {**FILES, "dags/.dagferryignore": "tests/\n!tests/test_a.py\n", "dags/tests/.dagferryignore": "!*\n"}
    found = chosen(committed(tmp_path, files), Selection.below("dags"))
    assert packed(found) == ["a.py", "a.sql", "notes.md", "sub/data.csv"]


def test_ignored_links_and_names_are_no_problems(tmp_path: Path) -> None:
    files = {"dags/a.py": "", "dags/Case.py": "", "dags/case.py": "", "dags/.dagferryignore": "gone.py\n/case.py\n"}
    clone = committed(tmp_path, files, {"dags/gone.py": "no_such_file.py"})
    assert packed(chosen(clone, Selection.below("dags"))) == ["Case.py", "a.py"]


def test_what_a_link_leads_to_is_judged_by_the_path_of_the_link(tmp_path: Path) -> None:
    files = {
        "dags/a.py": "",
        "dags/.dagferryignore": "lib/tests/\n",
        "lib/x.py": "",
        "lib/y.md": "",
        "lib/tests/t.py": "",
        "lib/.dagferryignore": "*.md\n",
    }
    clone = committed(tmp_path, files, {"dags/lib": "../lib"})
    found = chosen(clone, Selection.below("dags"))
    assert packed(found) == ["a.py", "lib/x.py"]
    assert left_out(found)["lib/tests/t.py"] == "dags/.dagferryignore: lib/tests/"
    assert left_out(found)["lib/y.md"] == "dags/lib/.dagferryignore: *.md"


# Attributes.


@pytest.mark.parametrize("rule", ["tests export-ignore", "tests/ export-ignore", "tests/** export-ignore"])
def test_export_ignore_holds_for_files_and_folders(tmp_path: Path, rule: str) -> None:
    files = {**FILES, "dags/.gitattributes": f"{rule}\n*.md export-ignore\n"}
    found = chosen(committed(tmp_path, files), Selection.below("dags"))
    assert "notes.md" not in packed(found)
    assert not [path for path in packed(found) if path.startswith("tests/")]
    assert left_out(found)["tests/"] == "export-ignore"


def test_export_ignore_of_the_root_itself_and_above_says_nothing(tmp_path: Path) -> None:
    clone = committed(tmp_path, {"team/dags/a.py": "", ".gitattributes": "team export-ignore\ndags export-ignore\n"})
    assert packed(chosen(clone, Selection.below("team/dags"))) == ["a.py"]


def test_export_ignore_may_be_taken_back_nearer_to_the_file(tmp_path: Path) -> None:
    files = {**FILES, ".gitattributes": "*.md export-ignore\n", "dags/.gitattributes": "notes.md -export-ignore\n"}
    assert "notes.md" in packed(chosen(committed(tmp_path, files), Selection.below("dags")))


def test_attributes_come_from_the_commit_alone(tmp_path: Path) -> None:
    clone = committed(tmp_path, FILES)
    for place in (".git/info/attributes", "dags/.gitattributes"):  # of the clone, and not committed
        (clone.folder / place).parent.mkdir(exist_ok=True)
        (clone.folder / place).write_text("*.py export-ignore\n*.sql eol=lf\n")
    found = chosen(clone, Selection.below("dags"))
    assert found.left_out == ()
    assert found.unconverted == ()


def test_attributes_of_what_a_link_leads_to_are_told(tmp_path: Path) -> None:
    files = {"dags/a.py": "", "lib/x.py": "", "lib/deep/y.py": "", "lib/.gitattributes": "*.py text eol=crlf\n"}
    clone = committed(tmp_path, files, {"dags/lib": "../lib", "dags/x.py": "../lib/x.py"})
    found = chosen(clone, Selection.below("dags"))
    told = {one.path: one.attributes for one in found.unconverted}
    assert told == dict.fromkeys(("lib/deep/y.py", "lib/x.py", "x.py"), ("eol=crlf",))


# What is selected, as often as it is asked for.


@pytest.mark.parametrize("more", [-1, 0, 1, 5])
def test_sources_are_the_same_however_many_there_are(more: int) -> None:
    sources = Sources()
    given = [
        Source(f"a/{number:06}\udcff", number % 3 == 0, Entry(f"o/{number}", modes[number % 3 == 0], "1" * 40, number))
        for modes in [("100644", EXECUTABLE)]
        for number in range(FEW + more)
    ]
    for one in given:
        sources.add(one)
    linked = Source("a/000001x", False, Entry("elsewhere", "100644", "2" * 40, 0))
    sources.add_linked(linked)
    sources.close()
    expected = [given[0], linked, *given[1:]]  # by bytes: what is no UTF-8 comes after the letters
    for _ in range(2):
        for one, other in zip(sources, expected, strict=True):  # one by one: a list that differs would be shown whole
            assert one == other
    assert len(sources) == len(expected)


# Commits that only a program can make.


def made_of(clone: Clone, *entries: str) -> str:
    """The id of a folder that has ``entries``, as ``git ls-tree`` writes them."""
    command, lines = ["git", "mktree"], "".join(f"{entry}\n" for entry in entries)
    return subprocess.run(
        command, cwd=clone.folder, input=lines, capture_output=True, text=True, check=True
    ).stdout.strip()


def test_link_to_a_folder_without_anything_in_it_is_no_bug(tmp_path: Path) -> None:
    clone = committed(tmp_path, {"target": "../empty"})
    link = clone.git("hash-object", "target")
    dags, empty = made_of(clone, f"120000 blob {link}\tlink"), made_of(clone)
    top = made_of(clone, f"040000 tree {dags}\tdags", f"040000 tree {empty}\tempty")
    commit = clone.git("commit-tree", "-m", "odd", top)
    with pytest.raises(Usage, match="there are no files below 'dags'"):
        select(Repository(clone.folder), commit, Selection.below("dags"))


def test_value_of_export_ignore_is_no_conversion(tmp_path: Path) -> None:
    clone = committed(tmp_path, {"dags/a.py": "", ".gitattributes": "*.py export-ignore=no eol=lf\n"})
    found = chosen(clone, Selection.below("dags"))
    assert [one.attributes for one in found.unconverted] == [("eol=lf",)]
    assert packed(found) == ["a.py"]
