"""What an implementation has to fulfil, as functions that take it as an argument.

The tests hand in dagferry; `test_planted` hands in the same with one mistake each and expects the check to fail.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Protocol
from unittest.mock import ANY

import pytest

from dagferry_schemas import tree
from dagferry_schemas.compression import compress
from dagferry_schemas.errors import BadData, Corrupt, Malformed, Untrusted
from dagferry_schemas.layout import MAX_DOCUMENT
from dagferry_schemas.names import digest_of
from dagferry_schemas.pins import Content, FilesPin, TarballPin
from dagferry_schemas.trust import Floor, Policy, TrustedRecord, VerifiedTarball, VerifiedTree

from . import golden, vector_documents

DigestOf = Callable[[Sequence[tree.TreeFile]], str]
HeaderOf = Callable[[tree.TreeFile], bytes]
Decode = Callable[[bytes], tree.Tree]
FindProblems = Callable[[Iterable[str]], list[str]]
AcceptFiles = Callable[[bytes, Content], VerifiedTree]
AcceptTarball = Callable[[VerifiedTree, TarballPin, Sequence[bytes]], VerifiedTarball]

NAMED = "sha256:" + "6" * 64
"""The digest that `successor` names."""
OTHERS = ("sha256:" + "0" * 64, "sha256:" + "f" * 64)
"""Digests of nothing: one sorts before every other, one behind."""


class AcceptRecord(Protocol):
    """`trust.accept_record`, or something that claims to do the same."""

    def __call__(
        self, stored: bytes, *, bundle: str, channel: str, policy: Policy, floor: Floor | None
    ) -> TrustedRecord: ...


# Trees.


def check_digests(digest_of_files: DigestOf) -> None:
    """The tree digest of every vector tree, whatever the order of its files."""
    for name, expected in golden.INDEX["trees"].items():
        files = list(golden.tree_of(name).files)
        assert digest_of_files(files) == expected["tree"], name
        assert digest_of_files(files[::-1]) == expected["tree"], name


def check_plain_tars(header: HeaderOf) -> None:
    """The plain tar of every vector tree, to the byte, and the digest of the headers that have no body here."""
    for name in golden.INDEX["trees"]:
        bodies = golden.bodies_of(name)
        members = [(header(file), bodies[file.path]) for file in golden.tree_of(name).files]
        found = b"".join(head + body + bytes(-len(body) % 512) for head, body in members) + bytes(1024)
        assert found == golden.raw(f"trees/{name}.tar"), name
    for name, case in golden.INDEX["headers"].items():
        head = header(tree.TreeFile(case["path"], case["executable"], case["size"], "0" * 64))
        assert digest_of(head) == "sha256:" + case["sha256"], name


def check_file_lists(decode: Decode) -> None:
    """Every vector tree's file list is read, and every bad one is refused with a message that says why."""
    for name in golden.INDEX["trees"]:
        assert decode(golden.raw(f"trees/{name}.files")) == golden.tree_of(name), name
    for name, says in golden.INDEX["refused_file_lists"].items():
        with pytest.raises(Malformed) as refused:
            decode(golden.raw(f"refused_file_lists/{name}.files"))
        assert says in refused.value.message, name


def check_paths(find_problems: FindProblems) -> None:
    """No path of a vector tree is complained about, and every bad set of paths is."""
    for name in golden.INDEX["trees"]:
        assert find_problems(file.path for file in golden.tree_of(name).files) == [], name
    for name, case in golden.INDEX["refused_trees"].items():
        if case["paths"]:
            assert any(case["says"] in problem for problem in find_problems(case["paths"])), name


# Trust, rules 1 to 6: records.


def accepted(
    accept: AcceptRecord, stored: bytes, *, bundle: str = "analytics", channel: str = "prod", floor: Floor | None = None
) -> TrustedRecord:
    return accept(stored, bundle=bundle, channel=channel, policy=Policy.UNSIGNED, floor=floor)


def refused(accept: AcceptRecord, stored: bytes, kind: type[BadData], code: str, floor: Floor | None = None) -> BadData:
    """The error that kept ``stored`` out; fails if it came in, or was refused for another reason."""
    with pytest.raises(BadData) as caught:
        accepted(accept, stored, floor=floor)
    assert (type(caught.value), caught.value.code) == (kind, code), caught.value.message
    return caught.value


def floor_of(name: str) -> Floor:
    return Floor(**golden.INDEX["floors"][name]["floor"])


def check_rule_1_size(accept: AcceptRecord) -> None:
    """A head of exactly the limit is read, one byte more is refused before it is parsed."""
    head = golden.stored()
    largest = head + b" " * (MAX_DOCUMENT - len(head))
    accepted(accept, largest)
    error = refused(accept, largest + b" ", Malformed, "malformed")
    assert f"at most {MAX_DOCUMENT}" in error.message
    error = refused(accept, b"\xff" * (MAX_DOCUMENT + 1), Malformed, "malformed")
    assert f"at most {MAX_DOCUMENT}" in error.message, "it was parsed before its size was looked at"


def check_rule_1_format(accept: AcceptRecord) -> None:
    """A newer format is refused by that name, also where nothing else of the record can be understood."""
    refused(accept, golden.stored("newer_format"), Malformed, "newer_format")
    refused(accept, golden.stored("newer_format_of_another_shape"), Malformed, "newer_format")
    refused(accept, golden.stored("format_zero"), Malformed, "malformed")


def check_rule_2_payload_type(accept: AcceptRecord) -> None:
    for name in ("wrong_payload_type", "payload_type_in_upper_case", "payload_type_with_a_space"):
        refused(accept, golden.raw(f"refused_envelopes/{name}.json"), Untrusted, "untrusted")


def check_rule_4_identity(accept: AcceptRecord) -> None:
    for name in ("wrong_bundle", "wrong_channel", "bundle_in_other_case"):
        refused(accept, golden.stored(name), Untrusted, "wrong_identity")


def check_rule_5_critical(accept: AcceptRecord) -> None:
    """Unknown critical fields keep a record out; known ones, and unknown fields that are not critical, do not."""
    accepted(accept, golden.stored("critical_fields_that_are_known"))
    accepted(accept, golden.stored("unknown_field_that_is_not_critical"))
    error = refused(accept, golden.stored("unknown_critical_field"), Untrusted, "unknown_critical")
    assert "'quorum'" in error.message
    refused(accept, golden.stored("unknown_critical_field_that_is_absent"), Untrusted, "unknown_critical")
    refused(accept, golden.stored("known_field_that_is_not_honoured_made_critical"), Untrusted, "unknown_critical")


def check_rule_6_forward(accept: AcceptRecord) -> None:
    """A newer generation, the same one again, and a newer epoch with a lower generation are accepted."""
    head = golden.stored()
    for name in ("newer_than_the_floor", "several_newer_than_the_floor", "same_generation_same_bytes"):
        assert accepted(accept, head, floor=floor_of(name)).floor == Floor(0, 7, digest_of(head))
    newer_epoch = golden.stored("largest_integer")
    for generation in (900, 6):  # a new epoch need not follow what the old one had
        assert accepted(accept, newer_epoch, floor=Floor(1, generation, digest_of(head))).floor.generation == 7


def successor(epoch: int, generation: int) -> bytes:
    """A stored record that follows the one of that generation whose digest is `NAMED`."""
    previous = {"generation": generation, "sha256": NAMED}
    changed = vector_documents.record(epoch=epoch, generation=generation + 1, previous=previous)
    return vector_documents.one_line(vector_documents.envelope(vector_documents.one_line(changed)))


def check_rule_6_went_back(accept: AcceptRecord) -> None:
    for name in ("went_back", "went_back_to_an_older_epoch"):
        refused(accept, golden.stored(), Untrusted, "went_back", floor_of(name))


def check_rule_6_equivocation(accept: AcceptRecord) -> None:
    refused(accept, golden.stored(), Untrusted, "equivocation", floor_of("equivocation"))


def check_rule_6_fork(accept: AcceptRecord) -> None:
    """The next generation of an epoch names what was accepted; whether that is an odd, an even or a large one."""
    refused(accept, golden.stored(), Untrusted, "equivocation", floor_of("follows_another_record"))
    for epoch, generation in ((0, 6), (0, 7), (300, 999), (300, 1000)):
        follower = successor(epoch, generation)
        assert accepted(accept, follower, floor=Floor(epoch, generation, NAMED)).record.generation == generation + 1
        for other in OTHERS:
            refused(accept, follower, Untrusted, "equivocation", Floor(epoch, generation, other))


def check_rule_6_chain(accept: AcceptRecord) -> None:
    for name in ("generation_skipped", "first_generation_with_a_previous", "later_generation_without_a_previous"):
        error = refused(accept, golden.stored(name), Malformed, "malformed")
        assert "record.previous" in error.message, name


RECORD_CHECKS: tuple[Callable[[AcceptRecord], None], ...] = (
    check_rule_1_size,
    check_rule_1_format,
    check_rule_2_payload_type,
    check_rule_4_identity,
    check_rule_5_critical,
    check_rule_6_forward,
    check_rule_6_went_back,
    check_rule_6_equivocation,
    check_rule_6_fork,
    check_rule_6_chain,
)


# Trust, rules 7 to 9: content.


def pinned(stored: bytes, tree_digest: str, count: int) -> Content:
    """A content whose file list is exactly ``stored``; its tarball does not matter."""
    files = FilesPin(digest_of(stored), len(stored), count)
    return Content(tree_digest, TarballPin("sha256:" + "0" * 64, 0, 0), files)


def check_rule_7_pin(accept: AcceptFiles) -> None:
    """The stored bytes are the pinned ones: not shorter, not longer, not others."""
    files, _, content = golden.packed()
    assert accept(files, content).tree.digest == content.tree
    for other, code in ((files[:-1], "wrong_size"), (files + b"\0", "wrong_size"), (_flipped(files), "wrong_digest")):
        with pytest.raises(Corrupt) as refusal:
            accept(other, content)
        assert refusal.value.code == code
    for digest in OTHERS:
        with pytest.raises(Corrupt) as refusal:
            accept(files, replace(content, files=replace(content.files, sha256=digest)))
        assert refusal.value.code == "wrong_digest"


def check_rule_7_bomb(accept: AcceptFiles) -> None:
    """A file list that decompresses to more than its number of files can need is given up."""
    bomb = compress(b"0644 0 " * 2_000_000)
    with pytest.raises(Corrupt, match="more than 594 bytes"):
        accept(bomb, pinned(bomb, "sha256:" + "0" * 64, 1))


def check_rule_8_digest(accept: AcceptFiles) -> None:
    """A file list of another tree, with pins that fit it, is refused; one lost x bit is another tree."""
    other = golden.tree_of("x_bit_taken_away")
    files = compress(tree.encode_files(other))
    with pytest.raises(Corrupt, match="it describes the tree"):
        accept(files, pinned(files, golden.tree_of("x_bit").digest, 1))
    for digest in OTHERS:
        with pytest.raises(Corrupt, match="it describes the tree"):
            accept(files, pinned(files, digest, 1))


def check_rule_8_count(accept: AcceptFiles) -> None:
    files, _, content = golden.packed()
    for count in (len(golden.tree_of("folders_in_folders").files) - 1, 4):
        with pytest.raises(Corrupt, match=f"3 files instead of {count}|more than {count} files"):
            accept(files, pinned(files, content.tree, count))


FILES_CHECKS: tuple[Callable[[AcceptFiles], None], ...] = (
    check_rule_7_pin,
    check_rule_7_bomb,
    check_rule_8_digest,
    check_rule_8_count,
)


def check_rule_9_pin(verified: VerifiedTree, accept: AcceptTarball) -> None:
    """The stored bytes of the tarball are the pinned ones, however they are cut into chunks."""
    _, tarball, content = golden.packed()
    for chunks in ([tarball], [tarball[:1], b"", tarball[1:]], [bytes([byte]) for byte in tarball]):
        assert accept(verified, content.tarball, chunks).pin == content.tarball
    for other, code in (
        (tarball[:-1], "wrong_size"),
        (tarball + b"\0", "wrong_size"),
        (b"", "wrong_size"),
        (_flipped(tarball), "wrong_digest"),
    ):
        with pytest.raises(Corrupt) as refusal:
            accept(verified, content.tarball, [other])
        assert refusal.value.code == code
    for digest in OTHERS:
        with pytest.raises(Corrupt) as refusal:
            accept(verified, replace(content.tarball, sha256=digest), [tarball])
        assert refusal.value.code == "wrong_digest"


def check_rule_9_plain_size(verified: VerifiedTree, accept: AcceptTarball) -> None:
    """A pin that announces more or fewer plain bytes than the file list predicts is refused."""
    _, tarball, content = golden.packed()
    right = content.tarball
    for wrong in (right.plain_size - 512, right.plain_size + 512, 0):
        with pytest.raises(Corrupt, match="plain bytes are announced"):
            accept(verified, TarballPin(right.sha256, right.size, wrong), [tarball])


def _flipped(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


def check_sealed(make: Callable[[object], object]) -> None:
    """Nothing that a caller can get hold of makes a verified value, nor what claims to equal everything."""
    for seal in (None, True, object(), "seal", ANY):
        with pytest.raises(Malformed, match="only the trust rules"):
            make(seal)
