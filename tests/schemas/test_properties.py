"""Trees that nobody thought of: they come back whole, every tar reader sees them, and any change is another tree."""

from __future__ import annotations

import io
import json
import tarfile
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from dagferry_schemas import compression, fields, paths, plaintar, tree
from dagferry_schemas.errors import Malformed
from dagferry_schemas.record import Record

from . import golden, vector_documents

if TYPE_CHECKING:
    import random

modest = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])

_LETTERS = "abAB01._-+ \u00e9\u00df\u65e5\U0001f6a2\u0130K"
_components = st.one_of(
    st.text(_LETTERS, min_size=1, max_size=6),
    st.sampled_from(["dags", "a", "a.py", "a-b", "__init__.py", "n" * 95, "\u00fc" * 60]),
)
_paths = st.lists(_components, min_size=1, max_size=4).map("/".join)


@st.composite
def contents(draw: st.DrawFn) -> dict[str, tuple[bytes, bool]]:
    """Paths that can be one tree, each with bytes and an x bit."""
    chosen: list[str] = []
    for path in draw(st.lists(_paths, min_size=1, max_size=12)):
        if not paths.find_problems([*chosen, path]):
            chosen.append(path)
    assume(chosen)
    bodies = st.one_of(st.binary(max_size=40), st.sampled_from([b"", b"#" * 511, b"#" * 512, b"#" * 513]))
    return {path: (draw(bodies), draw(st.booleans())) for path in chosen}


def tree_from(some: dict[str, tuple[bytes, bool]]) -> tree.Tree:
    return tree.make_tree(golden.tree_file(path, body, executable=x) for path, (body, x) in some.items())


_common = st.lists(st.text("aAb", min_size=1, max_size=1), min_size=1, max_size=3).map("/".join)


@settings(max_examples=500, deadline=None)
@given(st.lists(st.one_of(_common, _common, _common, _paths), max_size=5))
def test_what_looks_common_at_a_glance_is_a_tree(some: list[str]) -> None:
    assert not (paths.are_common(some) and paths.find_problems(some))


def test_what_is_no_tree_does_not_look_common() -> None:
    for wrong in (
        ["a", "a"],
        ["a", "a/b"],
        ["a/b", "A/c"],
        ["a", "A"],
        ["a/b", "A"],
        ["a\n"],
        ["a/l\nl"],
        ["a/../b"],
        [".a"],
        ["\u00e9"],
    ):
        assert not paths.are_common(wrong), wrong
    assert paths.are_common(["a/b/c", "a/b.py", "d"])


@modest
@given(contents())
def test_file_list_comes_back_whole(some: dict[str, tuple[bytes, bool]]) -> None:
    made = tree_from(some)
    raw = tree.encode_files(made)
    assert tree.decode_files(raw) == made
    assert all(len(line) <= tree.MAX_LINE for line in raw.splitlines(keepends=True))
    assert compression.decompress(compression.compress(raw), "x", limit=len(raw)) == raw


@modest
@given(contents())
def test_plain_tar_is_of_the_predicted_size_and_read_by_others(some: dict[str, tuple[bytes, bool]]) -> None:
    made = tree_from(some)
    plain = golden.plain_tar(made, {path: body for path, (body, _) in some.items()})
    assert len(plain) == plaintar.plain_size(made)
    found = {}
    with tarfile.open(fileobj=io.BytesIO(plain), mode="r:") as archive:
        for member in archive:
            body = archive.extractfile(member)
            assert body is not None
            assert (member.uid, member.gid, member.uname, member.gname, member.mtime) == (0, 0, "", "", 0)
            found[member.name] = (body.read(), member.mode == 0o755)
            assert member.mode in (0o755, 0o644)
    assert found == some
    assert list(found) == sorted(some, key=str.encode)


@modest
@given(contents(), st.randoms(use_true_random=False))
def test_digest_is_independent_of_the_order(some: dict[str, tuple[bytes, bool]], chance: random.Random) -> None:
    shuffled = list(some.items())
    chance.shuffle(shuffled)
    assert tree_from(dict(shuffled)) == tree_from(some)


@modest
@given(contents(), st.data())
def test_digest_changes_with_any_single_change(some: dict[str, tuple[bytes, bool]], choice: st.DataObject) -> None:
    files = list(tree_from(some).files)
    index = choice.draw(st.integers(0, len(files) - 1))
    file = files[index]
    changes = [
        file._replace(executable=not file.executable),
        file._replace(size=file.size + 1),
        file._replace(sha256=("f" if file.sha256[0] != "f" else "0") + file.sha256[1:]),
        file._replace(path=file.path + "z"),
        file._replace(path="z/" + file.path),
    ]
    before = tree.tree_digest(files)
    after = [tree.tree_digest([*files[:index], change, *files[index + 1 :]]) for change in changes]
    after += [tree.tree_digest([one for one in files if one != file])] if len(files) > 1 else []
    assert len({before, *after}) == 1 + len(after)


@modest
@given(st.text(max_size=40))
def test_path_that_is_accepted_comes_back_from_a_file_list(path: str) -> None:
    assume(paths.problem_of(path) is None)
    made = tree.make_tree([golden.tree_file(path, b"")])
    assert [file.path for file in tree.decode_files(tree.encode_files(made)).files] == [path]
    assert not path.startswith("/")
    assert not {"", ".", ".."} & set(path.split("/"))


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@modest
@given(st.dictionaries(st.text(max_size=8), _json, max_size=4))
def test_unknown_fields_of_a_record_come_back_whole(extra: dict[str, Any]) -> None:
    document = {**extra, **vector_documents.record()}
    try:
        raw = fields.dump(document)
        read = Record.from_payload(raw)
    except Malformed:
        return  # too deep, or not Unicode
    assert read.to_payload() == raw
    assert json.loads(read.succeed(head=raw, nonce="n").to_payload()).keys() == document.keys()


@modest
@given(st.binary(max_size=60) | st.text(max_size=40).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_no_bytes_are_more_than_a_refusal(raw: bytes) -> None:
    for read in (tree.decode_files, Record.from_payload):
        try:
            read(raw)
        except Malformed as error:
            assert error.message
