"""Commits that nobody thought of are delivered as an independent implementation says, or refused for its reasons.

What the builder and the oracle once disagreed about stands here as an example of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings

from dagferry_builder.problems import CannotPack
from dagferry_schemas.errors import DagferryError

from . import oracle, properties
from .plans import EXECUTABLE, FILE, LINK, POINTER, SUBMODULE, VENDORED, Entry, Plan, Step, Tag

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

modest = settings(deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize("name", properties.PROPERTIES)
def test_of_any_commit_holds(name: str) -> None:
    holds, some, count = properties.PROPERTIES[name]
    settings(modest, max_examples=count)(given(some)(holds))()


def file(body: bytes = b"") -> Entry:
    return Entry(FILE, body)


def link(target: bytes) -> Entry:
    return Entry(LINK, target)


SUB = Entry(SUBMODULE, VENDORED)


def chain(length: int) -> Mapping[str, Entry]:
    """A file outside the root, links in a row, each to the one before, and the last of them in the root."""
    row = {f"row/{number}": link(b"%d" % (number - 1)) for number in range(1, length)}
    return {"row/0": file(), **row, "dags/a": link(b"../row/%d" % (length - 1))}


EXAMPLES: Mapping[str, Plan] = {
    "link_to_a_file_with_a_slash_after_it": Plan({"a": file(), "b": link(b"a/")}),
    "link_to_a_file_with_a_dot_after_it": Plan({"a": file(), "b": link(b"a/.")}),
    "link_up_and_out_of_a_submodule": Plan({"a": file(), "b": link(b"sub/../a"), "sub": SUB}),
    "root_that_begins_with_a_colon": Plan({":dags/a": file()}, ":dags"),
    "bytes_of_names_and_of_components_sort_differently": Plan(
        {"a": Entry(EXECUTABLE, b"1"), "a-b": file(), "a.b/c": file(), "a b/c": file(), "a+/c": file()}
    ),
    "forty_links_in_a_row": Plan(chain(40), "dags"),
    "forty_one_links_in_a_row": Plan(chain(41), "dags"),
    "two_folders_that_link_to_each_other": Plan({"a/b": link(b"../c"), "c/d": link(b"../a"), "c/e": file()}),
    "three_folders_that_link_to_each_other": Plan(
        {f"{one}/{other}": link(b"../%s" % other.encode()) for one in "abc" for other in "abc" if one != other}
    ),
    "root_that_is_a_link_to_a_folder_above": Plan({"a/b": link(b".."), "c": file(POINTER)}, "a/b"),
    "link_to_a_folder_above": Plan({"a/b/c": link(b".."), "a/d": file()}),
    "root_that_is_a_link_to_a_folder_outside_it": Plan({"dags": link(b"src/x"), "src/x/a.py": file()}, "dags"),
    "root_that_is_a_link_to_a_file": Plan({"dags": link(b"a.py"), "a.py": file()}, "dags"),
    "link_with_a_dot_and_a_step_up_through_a_link": Plan(
        {"a": link(b"b/c"), "b/c/d": file(b"1"), "b/d": file(b"2"), "d": file(b"3"), "e": link(b"./a/../d")}
    ),
    "link_to_a_submodule": Plan({"a": file(), "b": link(b"sub"), "sub": SUB}),
    "link_into_a_submodule": Plan({"a": file(), "b": link(b"sub/x"), "sub": SUB}),
    "nothing_but_a_submodule": Plan({"sub": SUB}),
    "nothing_but_a_submodule_below_the_root": Plan({"a": file(), "dags/sub": SUB}, "dags"),
    "pointer_that_a_link_leads_to": Plan({"dags/a": link(b"../b"), "b": file(POINTER)}, "dags"),
    "names_that_fold_to_the_same": Plan({"ss/a": file(), "ß/b": file(), "SS/c": file(), "x": file()}),
    "names_of_which_one_is_below_a_link": Plan({"A": link(b"b"), "a": file(), "b/c": file(), "b/C": file()}),
    "target_that_is_not_utf_8": Plan({"a": link(b"\xff"), "b": file()}),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_delivered_as_a_checkout_holds_it(name: str) -> None:
    properties.delivers_what_a_checkout_holds(EXAMPLES[name])


@pytest.mark.parametrize("target", [b"", b"a\0b"], ids=["empty", "nul"])
def test_link_that_no_checkout_can_make_is_refused(target: bytes) -> None:
    with properties.made(Plan({"a": file(), "b": link(target)})) as scene:
        with pytest.raises(CannotPack) as refused:
            properties.built(scene.clone, scene.commit, "")
        assert [problem.split()[0] for problem in refused.value.problems] == ["'b'"]


# --- attributes

ASKED = {
    "a.py": file(),
    "b.py": file(),
    ".gitattributes": file(b"a.py ident filter=lfs\n[attr]binary eol=lf\nb.py binary\n"),
}


def test_attributes_are_reported_in_the_words_of_git() -> None:
    properties.reports_what_attributes_ask_for(Plan(ASKED))


def leave_attributes(scene: properties.Scene) -> None:
    (scene.clone / ".git/info").mkdir(exist_ok=True)
    (scene.clone / ".git/info/attributes").write_bytes(b"* working-tree-encoding=UTF-16\n")


def ignore_case(scene: properties.Scene) -> None:
    oracle.git("config", "core.ignoreCase", "true", at=scene.clone)


@pytest.mark.parametrize(
    "spoil",
    [
        leave_attributes,
        ignore_case,
    ],
)
def test_attributes_are_those_of_the_commit_alone(spoil: Callable[[properties.Scene], None]) -> None:
    plan = Plan({**ASKED, "lib/.gitattributes": file(b"D.py ident\n"), "lib/d.py": file()})
    with properties.made(plan) as scene:
        before = properties.built(scene.clone, scene.commit, "").artifact.unconverted
        spoil(scene)
        assert properties.built(scene.clone, scene.commit, "").artifact.unconverted == before


def test_attribute_whose_value_is_not_utf_8_is_reported() -> None:
    properties.reports_what_attributes_ask_for(Plan({"a": file(), ".gitattributes": file(b"a filter=\xff\n")}))


def test_name_that_git_does_not_check_out_ends_in_no_traceback() -> None:
    with properties.made(Plan({"a": file(), "git~1": file(), ".gitattributes": file(b"a ident\n")})) as scene:
        try:
            properties.built(scene.clone, scene.commit, "")
        except DagferryError as refused:
            assert "git~1" in refused.message


# --- versions


def test_version_is_that_of_the_nearest_tag_in_any_history() -> None:
    tags = (Tag("v1", annotated=False), Tag("v1.0.1", annotated=True), Tag("v1.0/é", annotated=True))
    other = (Tag("nightly", annotated=True), Tag("v", annotated=False))
    history = (Step((), tags), Step((0,), other), Step((), (Tag("v9", annotated=True),)), Step((1, 2)), Step((3, 0)))
    properties.is_named_as_git_describes(Plan({"a.py": file()}, "", history))
