"""Every committed vector against dagferry, one test each: the vector's name is the defect that it catches."""

from __future__ import annotations

import ast
import io
import json
import re
import tarfile
from pathlib import Path

import pytest

from dagferry_schemas import dsse, endpoint, paths, plaintar, record, tree, trust
from dagferry_schemas.errors import BadData, Malformed
from dagferry_schemas.names import digest_of
from dagferry_schemas.version import Version

from . import checks, golden, make_vectors, vector_documents, vector_trees


def accept(stored: bytes) -> record.Record:
    return checks.accepted(trust.accept_record, stored).record


def test_making_the_vectors_again_gives_the_committed_bytes() -> None:
    committed = {
        path.relative_to(golden.VECTORS).as_posix(): path.read_bytes()
        for path in golden.VECTORS.rglob("*")
        if path.is_file()
    }
    assert make_vectors.build() == committed


def test_the_vectors_are_made_without_dagferry() -> None:
    for module in (make_vectors, vector_trees, vector_documents):
        source = Path(str(module.__file__)).read_text(encoding="utf-8")
        imports = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Import | ast.ImportFrom)]
        assert "dagferry" not in " ".join(map(ast.unparse, imports))


@pytest.mark.parametrize("name", golden.names("trees"))
def test_tree(name: str) -> None:
    expected, made, bodies = golden.INDEX["trees"][name], golden.tree_of(name), golden.bodies_of(name)
    plain = golden.plain_tar(made, bodies)
    assert tree.encode_files(made) == golden.raw(f"trees/{name}.files")
    assert tree.decode_files(golden.raw(f"trees/{name}.files")) == made
    assert made.digest == expected["tree"]
    assert plain == golden.raw(f"trees/{name}.tar")
    assert digest_of(plain) == "sha256:" + expected["plain_sha256"]
    assert plaintar.plain_size(made) == len(plain) == expected["plain_size"]


@pytest.mark.parametrize("name", golden.names("trees"))
def test_tree_is_what_other_tar_readers_see(name: str) -> None:
    with tarfile.open(fileobj=io.BytesIO(golden.raw(f"trees/{name}.tar")), mode="r:") as archive:
        for member, file in zip(archive.getmembers(), golden.tree_of(name).files, strict=True):
            body = archive.extractfile(member)
            assert body is not None
            assert (member.name, member.mode) == (file.path, 0o755 if file.executable else 0o644)
            assert body.read() == golden.bodies_of(name)[file.path]


def test_headers_file_lists_paths_and_digests_as_a_whole() -> None:
    checks.check_digests(tree.tree_digest)
    checks.check_plain_tars(plaintar.header)
    checks.check_file_lists(tree.decode_files)
    checks.check_paths(paths.find_problems)


@pytest.mark.parametrize("name", golden.names("refused_trees"))
def test_refused_tree(name: str) -> None:
    case = golden.INDEX["refused_trees"][name]
    with pytest.raises(Malformed, match=re.escape(case["says"])):
        tree.make_tree([tree.TreeFile(path, False, 0, "0" * 64) for path in case["paths"]])


def test_every_problem_of_a_tree_is_said_at_once() -> None:
    with pytest.raises(Malformed) as refused:
        tree.make_tree([golden.tree_file(path, b"") for path in ("../a", "b\\c", "d")])
    assert "'../a'" in refused.value.message
    assert "'b\\\\c'" in refused.value.message


def test_file_of_8_gib_is_refused() -> None:
    with pytest.raises(Malformed, match="'a' has 8 GiB or more"):
        tree.make_tree([tree.TreeFile("a", False, tree.MAX_FILE_SIZE + 1, "0" * 64)])


@pytest.mark.parametrize("name", golden.names("refused_file_lists"))
def test_refused_file_list(name: str) -> None:
    with pytest.raises(Malformed, match=re.escape(golden.INDEX["refused_file_lists"][name])):
        tree.decode_files(golden.raw(f"refused_file_lists/{name}.files"))


@pytest.mark.parametrize("name", golden.names("records"))
def test_record(name: str) -> None:
    code = golden.INDEX["records"][name]
    if code is not None:
        with pytest.raises(BadData) as refused:
            accept(golden.stored(name))
        assert refused.value.code == code
        return
    read = accept(golden.stored(name))
    assert read.to_payload() == golden.payload(name)
    assert record.seal(read) == golden.stored(name)


@pytest.mark.parametrize("name", golden.names("floors"))
def test_floor(name: str) -> None:
    code = golden.INDEX["floors"][name]["code"]
    if code is None:
        checks.accepted(trust.accept_record, golden.stored(), floor=checks.floor_of(name))
        return
    with pytest.raises(BadData) as refused:
        checks.accepted(trust.accept_record, golden.stored(), floor=checks.floor_of(name))
    assert refused.value.code == code


@pytest.mark.parametrize("name", golden.names("accepted_envelopes"))
def test_accepted_envelope(name: str) -> None:
    assert accept(golden.raw(f"accepted_envelopes/{name}.json")).generation == 7


@pytest.mark.parametrize("name", golden.names("refused_envelopes"))
def test_refused_envelope(name: str) -> None:
    case = golden.INDEX["refused_envelopes"][name]
    with pytest.raises(BadData, match=re.escape(case["says"])) as refused:
        accept(golden.raw(f"refused_envelopes/{name}.json"))
    assert refused.value.code == case["code"]


@pytest.mark.parametrize("levels", [9, 300, 900, 5_000, 60_000])
@pytest.mark.parametrize("brackets", [b"[]", b'{"a":}'], ids=["lists", "objects"])
def test_no_depth_of_nesting_is_more_than_a_refusal(levels: int, brackets: bytes) -> None:
    opened, closed = brackets[:-1], brackets[-1:]
    raw = (b'{"x":' + opened * levels + b"1" + closed * levels + b"}")[: 256 * 1024]
    with pytest.raises(Malformed):
        accept(raw)


@pytest.mark.parametrize("name", golden.names("accepted_versions"))
def test_accepted_version(name: str) -> None:
    raw = golden.raw(f"accepted_versions/{name}.json")
    read = Version.from_bytes(raw)
    assert json.loads(read.to_bytes()) == {"tag": None, **json.loads(raw)}
    assert Version.from_bytes(read.to_bytes()) == read


@pytest.mark.parametrize("name", golden.names("refused_versions"))
def test_refused_version(name: str) -> None:
    case = golden.INDEX["refused_versions"][name]
    with pytest.raises(BadData, match=re.escape(case["says"])) as refused:
        trust.accept_version(golden.raw(f"refused_versions/{name}.json"), bundle="analytics", version="v1.4.0")
    assert refused.value.code == case["code"]


@pytest.mark.parametrize("name", golden.names("accepted_requests"))
def test_accepted_request(name: str) -> None:
    expected = endpoint.PullRequest(**golden.INDEX["accepted_requests"][name])
    read = endpoint.PullRequest.from_bytes(golden.raw(f"accepted_requests/{name}.json"))
    assert read == expected
    assert endpoint.PullRequest.from_bytes(read.to_bytes()) == read


@pytest.mark.parametrize("name", golden.names("refused_requests"))
def test_refused_request(name: str) -> None:
    case = golden.INDEX["refused_requests"][name]
    with pytest.raises(Malformed, match=re.escape(case["says"])) as refused:
        endpoint.PullRequest.from_bytes(golden.raw(f"refused_requests/{name}.json"))
    assert refused.value.code == case["code"]


def test_pre_authentication_encoding_is_that_of_the_dsse_protocol() -> None:
    """The example that the protocol publishes."""
    assert (
        dsse.pae("http://example.com/HelloWorld", b"hello world")
        == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


def test_pre_authentication_encoding_counts_bytes() -> None:
    assert dsse.pae("\u00fc", b"") == b"DSSEv1 2 \xc3\xbc 0 "


@pytest.mark.parametrize("before", range(76, 84))
def test_a_bad_line_is_shown_also_where_it_is_cut_in_a_character(before: int) -> None:
    with pytest.raises(Malformed, match="line 1: not '<mode>"):
        tree.decode_files(("x" * before + "\U0001f6a2\n").encode())
