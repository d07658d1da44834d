"""People and jobs in front of a forged store: no command makes a forgery real, and none shows a secret.

A record carries on what the head before it says; so whoever signs has to believe that head first.
"""

from __future__ import annotations

import base64
import hashlib
import json
import stat
from typing import TYPE_CHECKING

import pytest

from tests.e2e.harness import BUNDLE
from tests.schemas.holders import Holder, signed_envelope

from .firm import tag

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .firm import Firm

RECORD = "application/vnd.dagferry.record.v1+json"
FIRST = "FIRST"
COMMANDS = (
    ["hold"],
    ["resume"],
    ["refresh"],
    ["promote", "--allow-older", FIRST],
    ["rollback"],
    ["ship", "--rev", "v3"],
    ["recover"],
)


@pytest.fixture
def shipped(firm: Firm) -> Firm:
    """v1 and v2 were shipped, with signatures."""
    firm.trust("ci")
    firm.ship("v1")
    firm.ship("v2")
    return firm


def version_of(firm: Firm, rev: str) -> str:
    """The name of a version that was published."""
    (path,) = (firm.store / BUNDLE / "versions").glob(f"{rev}-*.statement.json")
    return path.name.removesuffix(".statement.json")


def _forge(firm: Firm, **changes: object) -> None:
    """The head's envelope with other fields."""
    envelope = json.loads(firm.head.read_bytes())
    firm.head.write_bytes(json.dumps({**envelope, **changes}).encode())


def _signed_by_the_thief(firm: Firm) -> None:
    envelope = json.loads(firm.head.read_bytes())
    payload = base64.b64decode(envelope["payload"])
    firm.head.write_bytes(signed_envelope(payload, envelope["payloadType"], Holder("thief")))


def _of_another_channel(firm: Firm) -> None:
    staging = firm.person.on("staging")
    staging.run("promote", version_of(firm, "v1"), *firm.signed("ci"))
    firm.head.write_bytes((firm.head.parents[1] / "staging" / "head.json").read_bytes())


def _relabelled(firm: Firm) -> None:
    _forge(firm, payloadType="application/vnd.in-toto+json")


FORGERIES: dict[str, tuple[Callable[[Firm], None], str]] = {
    "without its signatures": (lambda firm: _forge(firm, signatures=[]), "unsigned"),
    "signed by the thief": (_signed_by_the_thief, "bad_signature"),
    "of another channel": (_of_another_channel, "wrong_identity"),
    "changed": (lambda firm: _forge(firm, payload=base64.b64encode(b"{}").decode()), "bad_signature"),
    "of another payload type": (_relabelled, "untrusted"),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_no_command_builds_on_a_forged_head(forgery: str, shipped: Firm) -> None:
    perform, code = FORGERIES[forgery]
    perform(shipped)
    for command in COMMANDS:
        assert shipped.fail(1, *[version_of(shipped, "v1") if word == FIRST else word for word in command]) == code
    # The signers' own keys are the keyring of those who give none.
    assert shipped.fail(1, "hold", keyring=False) == code


def test_what_nobody_signed_is_adopted_only_by_name_and_only_if_agents_will_believe_it(shipped: Firm) -> None:
    _forge(shipped, signatures=[])
    assert shipped.fail(1, "refresh") == "unsigned"
    assert shipped.fail(2, "refresh", "--adopt-unsigned", by=()) == "no_signer"
    assert shipped.fail(1, "refresh", "--adopt-unsigned", by=("thief",)) == "bad_signature", "not of the keyring"
    assert shipped.run("refresh", "--adopt-unsigned")["generation"] == 3
    shipped.pod.pull(f"--keyring={shipped.keyring}")


def test_what_somebody_else_signed_is_not_adopted_as_unsigned(shipped: Firm) -> None:
    _signed_by_the_thief(shipped)
    assert shipped.fail(1, "refresh", "--adopt-unsigned") == "bad_signature"


def test_signed_channel_takes_no_unsigned_record_of_somebody_without_keys(shipped: Firm) -> None:
    for command in (["hold"], ["promote", version_of(shipped, "v1"), "--allow-older"], ["rollback"]):
        assert shipped.fail(2, *command, by=(), keyring=False) == "no_signer"
    assert shipped.fail(2, "hold", by=()) == "no_signer"


def test_version_without_a_statement_or_with_another_is_not_promoted(shipped: Firm) -> None:
    third = shipped.run("publish", "--rev", "v3")["version"]
    path = shipped.store / BUNDLE / "versions" / f"{third}.statement.json"
    statement = path.read_bytes()
    path.unlink()
    assert shipped.fail(1, "promote", third) == "unsigned"
    (other,) = path.parent.glob("v2-*.statement.json")
    path.write_bytes(other.read_bytes())
    assert shipped.fail(1, "promote", third) == "wrong_identity"
    assert shipped.fail(1, "publish", "--rev", "v3") == "wrong_identity", "it is not replaced either"
    path.write_bytes(statement)
    assert tag(shipped.run("promote", third)) == "v3"


def test_statement_that_is_lost_is_added_by_publishing_again_and_nothing_else_changes(shipped: Firm) -> None:
    third = shipped.run("publish", "--rev", "v3")["version"]
    before = shipped.stored()
    path = shipped.store / BUNDLE / "versions" / f"{third}.statement.json"
    path.unlink()
    again = shipped.run("publish", "--rev", "v3")
    assert (again["version"], again["created"]) == (third, False)
    after = shipped.stored()
    assert {name for name in before if before[name] != after[name]} <= {path.relative_to(shipped.store).as_posix()}


OTHER_TARBALL = {"sha256": "sha256:" + "a" * 64, "size": 9, "plain_size": 2560}
SQUATTINGS: dict[str, tuple[dict[str, object], int, str]] = {
    "of another commit": ({"commit": "f" * 40}, 3, "version_exists"),
    "of another time": ({"commit_time": "2020-01-01T00:00:00Z"}, 3, "version_exists"),
    "of another selection": ({"selection": {"root": "elsewhere"}}, 3, "version_exists"),
    "with other pins": ({"tarball": OTHER_TARBALL}, 1, "spoiled_content"),
}


@pytest.mark.parametrize("squatting", SQUATTINGS)
def test_nobody_vouches_for_a_version_document_that_was_squatted(squatting: str, shipped: Firm) -> None:
    """The thief was first, with what CI would publish next but for one field."""
    changes, exit_code, code = SQUATTINGS[squatting]
    third = shipped.run("publish", "--rev", "v3")["version"]
    versions = shipped.store / BUNDLE / "versions"
    (versions / f"{third}.statement.json").unlink()
    document = json.loads((versions / f"{third}.json").read_bytes())
    (versions / f"{third}.json").write_bytes(json.dumps({**document, **changes}).encode())
    assert shipped.fail(exit_code, "ship", "--rev", "v3") == code
    assert not (versions / f"{third}.statement.json").exists()


def test_nobody_vouches_for_a_tarball_that_was_squatted(shipped: Firm) -> None:
    third = shipped.run("publish", "--rev", "v3")
    versions = shipped.store / BUNDLE / "versions"
    for file in versions.glob("v3-*"):
        file.unlink()
    tarball = shipped.store / BUNDLE / "trees" / str(third["tree"]).removeprefix("sha256:") / "dags.tar.zst"
    other = next(one for one in tarball.parents[1].glob("*/dags.tar.zst") if one != tarball)
    tarball.write_bytes(other.read_bytes())
    assert shipped.fail(1, "ship", "--rev", "v3") == "spoiled_content"
    assert list(versions.glob("v3-*")) == []


PLANTED: dict[str, tuple[str | None, str]] = {
    "unsigned": (None, "unsigned"),
    "by the thief": ("thief", "bad_signature"),
}


@pytest.mark.parametrize("who", PLANTED)
def test_log_entry_planted_beyond_the_head_is_not_recovered(who: str, shipped: Firm) -> None:
    """`recover` goes on from the newest record, also from one in the log beyond the head: if that is believed."""
    signer, code = PLANTED[who]
    head = shipped.head.read_bytes()
    record = json.loads(base64.b64decode(json.loads(head)["payload"]))
    digest = "sha256:" + hashlib.sha256(head).hexdigest()
    planted = {**record, "generation": 3, "previous": {"generation": 2, "sha256": digest}, "nonce": "x"}
    raw = signed_envelope(json.dumps(planted).encode(), RECORD, *([Holder(signer)] if signer else []))
    log = shipped.head.parent / "log"
    (log / "2.json").write_bytes(head)
    (log / "3.json").write_bytes(raw)
    assert shipped.fail(1, "recover") == code
    (log / "3.json").unlink()
    recovered = shipped.run("recover")
    assert (tag(recovered), recovered["generation"]) == ("v2", 3)


def test_recovery_goes_on_from_the_honest_log_beyond_a_head_that_was_put_back(shipped: Firm) -> None:
    old = shipped.head.read_bytes()
    shipped.ship("v3")
    shipped.ship("v4")
    shipped.head.write_bytes(old)
    recovered = shipped.run("recover")
    assert (tag(recovered), recovered["generation"]) == ("v3", 4), "what the head alone knew is lost"


def test_private_keys_are_in_no_output_and_in_no_object(shipped: Firm) -> None:
    secrets = [line for file in shipped.keys.glob("*.pem") for line in file.read_text().splitlines()[1:-1]]
    assert len(secrets) >= 4
    outcomes = [
        shipped.person.outcome("ship", "--rev", "v3", *shipped.signed("ci")),
        shipped.person.outcome("hold", *shipped.signed("thief"), expect=1),
        shipped.person.outcome("keys", "show", str(shipped.keys / "ci.pem")),
        shipped.person.outcome("keys", "show", f"--keyring={shipped.keyring}"),
        shipped.person.outcome("hold", f"--signer={shipped.keys / 'ci.json'}", expect=2),
    ]
    private = {"format": 1, "key": (shipped.keys / "ci.pem").read_text()}
    (shipped.keyring / "bad.json").write_text(json.dumps(private))
    outcomes.append(shipped.person.outcome("hold", *shipped.signed("ci"), expect=1))
    for outcome in outcomes:
        assert not any(secret in outcome.stdout + outcome.stderr for secret in secrets), outcome.arguments
    assert not any(secret.encode() in body for body in shipped.stored().values() for secret in secrets)


def test_private_key_is_readable_by_its_owner_alone(shipped: Firm) -> None:
    assert {stat.S_IMODE(file.stat().st_mode) for file in shipped.keys.glob("*.pem")} == {0o600}


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_dry_run_refuses_what_the_run_would_refuse(command: list[str], shipped: Firm) -> None:
    arguments = [version_of(shipped, "v1") if one == FIRST else one for one in command]
    if command == ["resume"]:
        shipped.run("hold")
    assert shipped.fail(1, *arguments, "--dry-run", by=("thief",)) == "bad_signature"
    assert shipped.fail(2, *arguments, "--dry-run", by=()) == "no_signer"


def test_dry_run_of_a_first_publication_refuses_a_key_that_does_not_count(shipped: Firm) -> None:
    before = shipped.stored()
    assert shipped.fail(1, "publish", "--rev", "v3", "--dry-run", by=("thief",)) == "bad_signature"
    would = shipped.run("publish", "--rev", "v3", "--dry-run")
    assert (would["created"], would["vouched"], shipped.stored()) == (True, True, before)


def test_promotion_in_a_dry_run_asks_who_vouches_for_the_version(shipped: Firm) -> None:
    shipped.person.run("publish", "--rev", "v3")
    version = shipped.run("version", "--rev", "v3", by=(), keyring=False)["version"]
    assert shipped.fail(1, "promote", version, "--dry-run") == shipped.fail(1, "promote", version)


def test_publishing_what_is_there_says_that_its_statement_was_added(shipped: Firm) -> None:
    shipped.person.run("publish", "--rev", "v3")
    before = shipped.stored()
    for words, dry in (("would be added", ["--dry-run"]), ("was added", []), ("is in the store already", [])):
        said = shipped.person.text("publish", "--rev", "v3", *dry, *shipped.signed("ci"))
        assert words in said, said
        if dry:
            assert shipped.stored() == before
    assert "added" not in said


def test_verification_of_a_channel_fails_when_its_record_has_expired(shipped: Firm) -> None:
    shipped.run("refresh", "--expires-days=30")
    checks = {one["name"]: one for one in shipped.run("verify", by=())["checks"]}
    assert (checks["expiry"]["ok"], checks["expiry"]["detail"][:6]) == (True, "until ")
    shipped.run("refresh", "--expires-days=0.00001")
    outcome = shipped.person.outcome("verify", *shipped.signed(), expect=1)
    assert outcome.error["code"] == "verify_failed"
    assert [one["name"] for one in outcome.document["checks"] if not one["ok"]] == ["expiry"]


def test_keyring_is_shown_with_what_it_demands_and_what_is_no_part_of_it(shipped: Firm) -> None:
    requirements = {"format": 1, "requirements": [{"bundle": BUNDLE, "promoters": 2, "epoch": 3}]}
    (shipped.keyring / "requirements.json").write_text(json.dumps(requirements))
    (shipped.keyring / "next.pem").write_bytes(b"")
    (shipped.keyring / ".data").mkdir()
    said = shipped.person.text("keys", "show", f"--keyring={shipped.keyring}")
    assert f"required of bundle {BUNDLE}, channel *: 2 promoters, 1 publishers, epoch 3 at least" in said
    assert "not read: next.pem; a key is a file NAME.json" in said
    assert ".data" not in said
    shown = shipped.person.run("keys", "show", f"--keyring={shipped.keyring}")
    assert (shown["ignored"], [key["name"] for key in shown["keys"]]) == (["next.pem"], ["ci"])


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--not-after=2020-01-01T00:00:00Z"], "is over"),
        (["--not-before=2099-01-01T00:00:00Z", "--not-after=2098-01-01T00:00:00Z"], "not after --not-before"),
        (["--not-after=tomorrow"], "is no time"),
    ],
    ids=["over", "ends before it begins", "no time"],
)
def test_key_that_would_never_count_is_not_made(
    options: list[str], problem: str, shipped: Firm, tmp_path: Path
) -> None:
    error = shipped.person.fail(2, "keys", "generate", "--name=new", f"--out={tmp_path / 'new'}", *options)
    assert problem in error["message"]
    assert not (tmp_path / "new").exists()


def test_wrong_key_files_are_told_in_our_own_words(shipped: Firm, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import (
        BestAvailableEncryption,
        Encoding,
        PrivateFormat,
        load_pem_private_key,
    )

    key = load_pem_private_key((shipped.keys / "ci.pem").read_bytes(), None)
    assert isinstance(key, Ed25519PrivateKey)
    locked = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    public = json.loads((shipped.keys / "ci.json").read_bytes())["key"].encode()
    for content, words in ((locked, "passphrase"), (public, "public key"), (b"nothing", "no private key")):
        file = tmp_path / "wrong.pem"
        file.write_bytes(content)
        error = shipped.person.fail(2, "hold", f"--signer={file}")
        assert words in error["message"], error
    for uri, words in (("vault:ci", "awskms:"), (f"{shipped.keys}/ci.pem,{shipped.keys}/ops.pem", "one --signer for")):
        error = shipped.person.fail(2, "hold", f"--signer={uri}")
        assert words in error["hint"], error
    (shipped.keyring / "bad.json").write_text(json.dumps({"format": 1, "key": (shipped.keys / "ci.pem").read_text()}))
    said = shipped.person.fail(1, "hold", *shipped.signed("ci"))["message"]
    assert f"{shipped.keyring}: bad.json.key: not a public key in PEM form; it is a private key" in said
