"""The rules of `trust`, by their numbers: each lets the right thing pass and keeps the wrong one out."""

from __future__ import annotations

import inspect
import subprocess
import sys
from dataclasses import FrozenInstanceError, replace
from functools import partial
from typing import TYPE_CHECKING, cast

import pytest

from dagferry_schemas import compression, tree, trust
from dagferry_schemas.errors import Corrupt, Malformed, Untrusted
from dagferry_schemas.layout import MAX_DOCUMENT
from dagferry_schemas.names import digest_of
from dagferry_schemas.pins import Pin, TarballPin
from dagferry_schemas.trust import Floor, Policy, TarballCheck, VerifiedTarball, VerifiedTree

from . import checks, golden, signed_checks, vector_documents

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def verified_tree() -> VerifiedTree:
    files, _, content = golden.packed()
    return trust.accept_files(files, content)


def accept_tarball(verified: VerifiedTree, pin: TarballPin, chunks: Sequence[bytes]) -> VerifiedTarball:
    check = TarballCheck(verified, pin)
    for chunk in chunks:
        check.update(chunk)
    return check.finish()


def accept(name: str, floor: Floor | None = None) -> trust.TrustedRecord:
    return checks.accepted(trust.accept_record, golden.stored(name), floor=floor)


def test_every_record_check_is_passed() -> None:
    for check in checks.RECORD_CHECKS:
        check(trust.accept_record)


def test_rule_1_passes_a_document_of_format_1() -> None:
    assert accept("plain").record.generation == 7


def test_rule_1_refuses_a_document_that_is_too_large() -> None:
    checks.check_rule_1_size(trust.accept_record)


def test_rule_1_refuses_a_newer_format() -> None:
    checks.check_rule_1_format(trust.accept_record)


def test_rule_1_holds_for_history_and_versions_too() -> None:
    with pytest.raises(Malformed) as refused:
        trust.read_record(golden.stored("newer_format"), bundle="analytics", channel="prod", policy=Policy.UNSIGNED)
    assert refused.value.code == "newer_format"
    large = golden.raw("accepted_versions/plain.json").ljust(MAX_DOCUMENT + 1)
    with pytest.raises(Malformed, match="at most"):
        trust.accept_version(large, bundle="analytics", version="v1.4.0")


def test_rule_2_passes_the_payload_type_of_a_record() -> None:
    assert accept("plain").stored == golden.stored()


def test_rule_2_refuses_every_other_payload_type() -> None:
    checks.check_rule_2_payload_type(trust.accept_record)


def test_rule_2_shows_the_first_80_characters_of_another_payload_type() -> None:
    stored = vector_documents.one_line(vector_documents.envelope(golden.payload(), "x" * 4096))
    error = checks.refused(trust.accept_record, stored, Untrusted, "untrusted")
    assert f"payload type '{'x' * 80}' instead" in error.message


def test_rule_3_passes_an_unsigned_record_only_by_a_policy_that_says_so() -> None:
    for function in (trust.accept_record, trust.read_record):
        policy = inspect.signature(function).parameters["policy"]
        assert (policy.kind, policy.default) == (policy.KEYWORD_ONLY, policy.empty)
    accept("plain")


def test_rule_3_passes_a_signed_record_under_the_unsigned_policy() -> None:
    assert (
        checks.accepted(
            trust.accept_record, golden.raw("accepted_envelopes/signature_without_a_keyid.json")
        ).record.generation
        == 7
    )


@pytest.mark.parametrize("policy", [None, "unsigned", False])
def test_rule_3_refuses_whatever_is_not_a_policy(policy: object) -> None:
    with pytest.raises(Untrusted):
        trust.accept_record(
            golden.stored(), bundle="analytics", channel="prod", policy=cast("Policy", policy), floor=None
        )


def test_unsigned_records_are_read_where_no_cryptography_is_installed() -> None:
    script = (
        f"import sys; sys.path[:0] = {sys.path!r}\n"
        "sys.modules.update(dict.fromkeys(('cryptography', 'securesystemslib')))\n"
        "from dagferry_schemas.trust import Policy, accept_record\n"
        f"accept_record({golden.stored()!r}, bundle='analytics', channel='prod', policy=Policy.UNSIGNED, floor=None)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_rule_4_passes_the_bundle_and_channel_that_were_asked_for() -> None:
    assert (accept("plain").record.bundle, accept("plain").record.channel) == ("analytics", "prod")


def test_rule_4_refuses_another_bundle_or_channel() -> None:
    checks.check_rule_4_identity(trust.accept_record)


def test_rule_5_passes_known_critical_fields_and_refuses_unknown_ones() -> None:
    checks.check_rule_5_critical(trust.accept_record)


def test_rule_5_does_not_keep_history_from_being_read() -> None:
    stored = golden.stored("unknown_critical_field")
    read = trust.read_record(stored, bundle="analytics", channel="prod", policy=Policy.UNSIGNED)
    assert read.unknown_critical == ("quorum",)


def test_rule_6_passes_what_goes_forward_or_stays() -> None:
    checks.check_rule_6_forward(trust.accept_record)


def test_rule_6_refuses_what_goes_back() -> None:
    checks.check_rule_6_went_back(trust.accept_record)


def test_rule_6_says_from_where_to_where_a_channel_went_back() -> None:
    stored = signed_checks.record(epoch=3)
    error = checks.refused(trust.accept_record, stored, Untrusted, "went_back", Floor(3, 12, digest_of(b"")))
    assert error.message == "channel 'prod' went back from generation 12 to 7 (epoch 3)"


def test_rule_6_refuses_another_record_of_the_same_generation() -> None:
    checks.check_rule_6_equivocation(trust.accept_record)


def test_rule_6_refuses_a_record_that_follows_another_one_than_the_last() -> None:
    checks.check_rule_6_fork(trust.accept_record)


def test_rule_6_says_which_generation_does_not_belong_to_the_history() -> None:
    stored = signed_checks.record(epoch=3)
    for floor in (Floor(3, 7, digest_of(b"")), Floor(3, 6, digest_of(b""))):
        error = checks.refused(trust.accept_record, stored, Untrusted, "equivocation", floor)
        assert error.message.startswith("channel 'prod': generation 7 does not belong")


@pytest.mark.parametrize(
    ("floor", "believed"),
    [
        (Floor(3, 7, digest_of(signed_checks.record(epoch=3))), True),
        (Floor(3, 6, "sha256:" + 64 * "6"), True),
        (Floor(3, 5, "sha256:" + 64 * "5"), False),
        (Floor(3, 4, "sha256:" + 64 * "4"), False),
        (Floor(2, 5, "sha256:" + 64 * "5"), True),
        (Floor(2, 7, "sha256:" + 64 * "7"), True),
    ],
)
def test_rule_6_believes_only_what_follows_the_floor_once_another_history_was_seen(
    floor: Floor, believed: bool
) -> None:
    accept = partial(
        trust.accept_record,
        signed_checks.record(epoch=3),  # generation 7, which follows one whose digest is all sixes
        bundle="analytics",
        channel="prod",
        policy=Policy.UNSIGNED,
        floor=floor,
    )
    assert accept().record.generation == 7
    if believed:
        assert accept(forked=True).record.generation == 7
    else:
        with pytest.raises(Untrusted) as caught:
            accept(forked=True)
        assert (caught.value.code, "dagferry recover --channel prod" in caught.value.hint) == ("equivocation", True)


@pytest.mark.parametrize("epoch", [1, 1000])
@pytest.mark.parametrize(("generation", "believed"), [(7, True), (8, True), (6, False), (3, False)])
def test_rule_6_does_so_in_every_epoch_and_generation(epoch: int, generation: int, believed: bool) -> None:
    """The record follows an odd or an even generation: 8 or 9, and 1000 is no number that Python has once."""
    follows = generation if believed else 8
    stored = checks.successor(epoch, follows)
    floor = Floor(int(str(epoch)), generation, checks.NAMED if follows == generation else digest_of(b""))
    accept = partial(
        trust.accept_record,
        stored,
        bundle="analytics",
        channel="prod",
        policy=Policy.UNSIGNED,
        floor=floor,
        forked=True,
    )
    if believed:
        assert accept().record.generation == generation + 1
    else:
        with pytest.raises(Untrusted):
            accept()


def test_rule_6_refuses_a_generation_that_does_not_follow_its_previous() -> None:
    checks.check_rule_6_chain(trust.accept_record)


def test_rule_6_compares_the_stored_bytes_not_the_payload() -> None:
    """The same payload in another envelope is another record: its digest is what the next record will name."""
    head = golden.stored()
    floor = checks.accepted(trust.accept_record, head).floor
    checks.refused(trust.accept_record, head + b"\n", Untrusted, "equivocation", floor)


def test_rule_7_passes_the_pinned_file_list_and_refuses_others() -> None:
    checks.check_rule_7_pin(trust.accept_files)


def test_rule_7_refuses_a_file_list_that_decompresses_without_end() -> None:
    checks.check_rule_7_bomb(trust.accept_files)


def test_rule_7_passes_a_file_list_whose_every_line_is_of_the_greatest_length() -> None:
    longest = "/".join(("c" * 255, "d" * 253, "e"))
    files = [tree.TreeFile(f"{longest}{end}", True, tree.MAX_FILE_SIZE, "a" * 64) for end in "123"]
    made = tree.make_tree(files)
    assert len(tree.encode_files(made)) == 3 * tree.MAX_LINE
    stored = compression.compress(tree.encode_files(made))
    assert trust.accept_files(stored, checks.pinned(stored, made.digest, 3)).tree == made


def test_rule_7_refuses_bytes_that_are_no_zstd() -> None:
    with pytest.raises(Corrupt, match="not a zstd stream"):
        trust.accept_files(b"junk", checks.pinned(b"junk", "sha256:" + "0" * 64, 1))


def test_rule_8_passes_the_tree_that_was_named_and_refuses_others() -> None:
    assert verified_tree().tree == golden.tree_of("folders_in_folders")
    checks.check_rule_8_digest(trust.accept_files)


def test_rule_8_refuses_another_number_of_files() -> None:
    checks.check_rule_8_count(trust.accept_files)


def test_rule_8_refuses_a_file_list_that_is_cut_off_inside_a_frame() -> None:
    made = golden.tree_of("folders_in_folders")
    files = compression.compress(tree.encode_files(made))[:-6]
    with pytest.raises(Malformed):
        trust.accept_files(files, checks.pinned(files, made.digest, len(made.files)))


def test_rule_9_passes_the_pinned_tarball_and_refuses_others() -> None:
    checks.check_rule_9_pin(verified_tree(), accept_tarball)


def test_rule_9_refuses_a_plain_size_that_was_not_predicted() -> None:
    checks.check_rule_9_plain_size(verified_tree(), accept_tarball)


def test_rule_9_refuses_too_many_bytes_as_soon_as_they_come() -> None:
    _, tarball, content = golden.packed()
    check = TarballCheck(verified_tree(), content.tarball)
    check.update(tarball)
    with pytest.raises(Corrupt) as refused:
        check.update(b"\0")
    assert refused.value.code == "wrong_size"
    with pytest.raises(Corrupt) as refused:
        check.finish()
    assert refused.value.code == "wrong_size", "a caller that went on after the refusal got what it had refused"


def test_verified_values_cannot_be_made_elsewhere() -> None:
    made = verified_tree()
    _, _, content = golden.packed()
    checks.check_sealed(lambda seal: VerifiedTree(made.tree, seal))
    checks.check_sealed(lambda seal: VerifiedTarball(made, content.tarball, seal))


def test_verified_values_cannot_be_made_from_others() -> None:
    made = verified_tree()
    assert not hasattr(made, "seal")
    with pytest.raises((TypeError, ValueError), match="seal"):
        replace(made, tree=golden.tree_of("x_bit"))  # type: ignore[call-arg]


def test_nothing_that_was_believed_can_be_changed_afterwards() -> None:
    _, tarball, content = golden.packed()
    verified, trusted = verified_tree(), accept("plain")
    for value, name, other in (
        (verified, "tree", golden.tree_of("x_bit")),
        (accept_tarball(verified, content.tarball, [tarball]), "pin", TarballPin("sha256:" + "0" * 64, 0, 0)),
        (trusted, "stored", golden.stored("first")),
        (trusted.floor, "generation", 1),
        (Policy.UNSIGNED, "keyring", None),
    ):
        with pytest.raises(FrozenInstanceError):
            setattr(value, name, other)


def test_tree_of_hundreds_of_files_passes_as_one_of_few_does() -> None:
    bodies = {f"dags/{number:03}.py": f"NUMBER = {number}\n".encode() for number in range(300)}
    made = tree.make_tree(golden.tree_file(path, body) for path, body in bodies.items())
    files, tarball, content = golden.packed_tree(made, bodies)
    verified = trust.accept_files(files, content)
    assert (verified.tree, verified.stored) == (made, files)
    assert accept_tarball(verified, content.tarball, [tarball]).pin == content.tarball


@pytest.mark.parametrize(
    "function",
    [trust.accept_record, trust.read_record, trust.accept_version, trust.accept_statement, trust.still_vouch],
)
def test_names_are_given_by_name_so_that_two_cannot_be_mixed_up(function: Callable[..., object]) -> None:
    asked = inspect.signature(function).parameters
    kinds = {asked[name].kind for name in ("bundle", "channel", "version", "policy") if name in asked}
    assert kinds == {inspect.Parameter.KEYWORD_ONLY}


@pytest.mark.parametrize(
    ("bundle", "version"), [("analytics", "v1.4.1"), ("analytics", "v1.3.0"), ("zoo", "v1.4.0"), ("a", "v1.4.0")]
)
def test_version_of_another_name_is_refused(bundle: str, version: str) -> None:
    with pytest.raises(Untrusted, match=r"speaks of 'v1\.4\.0' of bundle 'analytics'"):
        trust.accept_version(golden.raw("accepted_versions/plain.json"), bundle=bundle, version=version)


def test_version_passes_with_its_pin_and_is_refused_with_another() -> None:
    raw = golden.raw("accepted_versions/plain.json")
    pin = Pin(digest_of(raw), len(raw))
    assert trust.accept_version(raw, bundle="analytics", version="v1.4.0", pin=pin).first_parents == 214
    with pytest.raises(Corrupt) as refused:
        trust.accept_version(raw + b"\n", bundle="analytics", version="v1.4.0", pin=pin)
    assert refused.value.code == "wrong_size"
    other = vector_documents.one_line(vector_documents.version(first_parents=215))
    with pytest.raises(Corrupt) as refused:
        trust.accept_version(other, bundle="analytics", version="v1.4.0", pin=pin)
    assert refused.value.code == "wrong_digest"
