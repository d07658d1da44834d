"""Attacks by somebody who can write to the store: how each is done, what answers it, and with which error code.

The table of docs/trust-tests.md is this data. `test_attacks` carries each of them out.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from dagferry_schemas import layout
from dagferry_schemas.dsse import RECORD_TYPE, STATEMENT_TYPE
from dagferry_schemas.layout import MAX_DOCUMENT
from dagferry_schemas.names import digest_of
from dagferry_schemas.record import Previous
from tests.agent.shelf import BUNDLE
from tests.schemas.holders import Holder, envelope, pae, requirements

from .scene import BUILD, CI, EARLY, EXPIRED, GONE, HEAD, LONG_AGO, OPS, RELEASE, REPORTS, STAGING, THIEF

if TYPE_CHECKING:
    from collections.abc import Callable

    from .scene import Scene

PULL: Final = "pull"
PULL_VERSION: Final = "pull --version"


@dataclass(frozen=True)
class Attack:
    """One attack, in words and as it is done; ``code`` is what the pull ends with."""

    chapter: str
    name: str
    answer: str
    code: str
    perform: Callable[[Scene], object]
    promoters: int = 1
    by: str = PULL


def _signed_by(*holders: Holder) -> Callable[[Scene], object]:
    return lambda scene: scene.put(scene.following(), *holders)


def _enveloped(
    make: Callable[[bytes], bytes], keyid: str | None = None, kind: str = RECORD_TYPE
) -> Callable[[Scene], object]:
    """The honest payload, with one signature that ``make`` makes of it."""

    def perform(scene: Scene) -> None:
        payload = scene.following().to_payload()
        scene.write(HEAD, envelope(payload, kind, [(keyid, make(payload))]))

    return perform


def _tampered(scene: Scene) -> None:
    payload = scene.following(reason="a reason of the thief's").to_payload()
    scene.edit({"payload": base64.b64encode(payload).decode()})


def _seventeen(scene: Scene) -> None:
    stored = json.loads(scene.put(scene.following(), CI))
    junk = {"keyid": "", "sig": base64.b64encode(bytes(64)).decode()}
    scene.edit({"signatures": stored["signatures"] + [junk] * 16})


def _one_key_under_two_ids(scene: Scene) -> None:
    payload = scene.following().to_payload()
    made = CI.sign_bytes(pae(RECORD_TYPE.encode(), payload))
    scene.write(HEAD, envelope(payload, RECORD_TYPE, [(CI.public.key_id, made), (OPS.public.key_id, made)]))


def _statement_as_head(scene: Scene) -> None:
    scene.write(HEAD, scene.read(layout.statement(BUNDLE, "v2")))


def _revoked(scene: Scene) -> None:
    assert not (scene.keyring / "gone.json").exists()
    scene.put(scene.following(), GONE)


def _replayed(scene: Scene) -> None:
    first = scene.seen_stored
    scene.deliver(scene.following())
    scene.write(HEAD, first)


def _other_epoch_replayed(scene: Scene) -> None:
    scene.deliver(scene.following(epoch=2))
    scene.put(scene.following(epoch=1, generation=9, previous=Previous(8, "sha256:" + "a" * 64)), *scene.signers)


def _frozen(scene: Scene) -> None:
    scene.deliver(scene.following(expires="2026-11-24T00:00:00Z"))
    scene.pod.clock.now += 400 * 86400  # nothing newer came since


def _ahead(holders: tuple[Holder, ...]) -> Callable[[Scene], object]:
    last = 2**53 - 1

    def perform(scene: Scene) -> None:
        scene.put(scene.following(generation=last, previous=Previous(last - 1, "sha256:" + "a" * 64)), *holders)

    return perform


def _beheaded(scene: Scene) -> None:
    (scene.store / HEAD).unlink()


def _huge_head(scene: Scene) -> None:
    scene.write(HEAD, scene.put(scene.following(), *scene.signers).ljust(MAX_DOCUMENT + 1))


def _spoiled(what: Callable[[str, str], str], body: Callable[[bytes, bytes], bytes]) -> Callable[[Scene], object]:
    """The honest record, and one object of v2 as ``body`` makes it of v1's and v2's."""

    def perform(scene: Scene) -> None:
        scene.put(scene.following(), *scene.signers)
        key = what(BUNDLE, scene.two.content.tree)
        scene.write(key, body(scene.read(what(BUNDLE, scene.one.content.tree)), scene.read(key)))

    return perform


def _removed(scene: Scene) -> None:
    scene.put(scene.following(), *scene.signers)
    (scene.store / layout.tarball(BUNDLE, scene.two.content.tree)).unlink()


def _mixed_by_a_signer(scene: Scene) -> None:
    """A promoter who signs what does not belong together: v2's tree with v1's objects."""
    content = replace(scene.one.content, tree=scene.two.content.tree)
    for what in (layout.tarball, layout.files):
        scene.write(what(BUNDLE, content.tree), scene.read(what(BUNDLE, scene.one.content.tree)))
    scene.put(scene.following(live=replace(scene.two, content=content)), *scene.signers)


def _version_swapped(scene: Scene) -> None:
    """v2's document says that v1's content is v2: its pins fit, and its statement is v2's."""
    document = json.loads(scene.read(layout.version(BUNDLE, "v2")))
    other = json.loads(scene.read(layout.version(BUNDLE, "v1")))
    swapped = {**document, **{name: other[name] for name in ("tree", "tarball", "files")}}
    scene.write(layout.version(BUNDLE, "v2"), json.dumps(swapped).encode())


def _without_statement(scene: Scene) -> None:
    (scene.store / layout.statement(BUNDLE, "v2")).unlink()


def _renamed(scene: Scene) -> None:
    for what in (layout.version, layout.statement):
        scene.write(what(BUNDLE, "v2"), scene.read(what(BUNDLE, "v1")))


def _huge_statement(scene: Scene) -> None:
    key = layout.statement(BUNDLE, "v2")
    scene.write(key, scene.read(key).ljust(MAX_DOCUMENT + 1))


def _junk(scene: Scene) -> None:
    for name in ("junk", "versions/v9.json", "channels/prod/log/x.json"):
        scene.write(f"{BUNDLE}/{name}", b"junk")


def _keyring(change: Callable[[Scene], object]) -> Callable[[Scene], object]:
    """The honest record is there, and ``change`` befalls the keyring."""

    def perform(scene: Scene) -> None:
        scene.put(scene.following(), *scene.signers)
        change(scene)

    return perform


def _empty_keyring(scene: Scene) -> None:
    for file in scene.keyring.iterdir():
        file.unlink()


def _requirements_alone(scene: Scene) -> None:
    _empty_keyring(scene)
    (scene.keyring / "requirements.json").write_bytes(requirements({"promoters": 1}))


def _file_for_a_folder(scene: Scene) -> None:
    _empty_keyring(scene)
    scene.keyring.rmdir()
    scene.keyring.write_bytes(CI.entry())


def _keyring_file(name: str, body: bytes) -> Callable[[Scene], object]:
    return _keyring(lambda scene: (scene.keyring / name).write_bytes(body))


SIGNATURES: Final = "Signatures"
HISTORY: Final = "History"
CONTENT: Final = "Content"
VERSIONS: Final = "Versions by hand"
KEYRINGS: Final = "Keyrings"

ATTACKS: Final = (
    Attack(SIGNATURES, "a head that nobody signed", "3: no signature", "unsigned", _signed_by()),
    Attack(SIGNATURES, "the signatures are stripped from an honest head", "3: no signature", "unsigned",
           lambda scene: scene.edit({"signatures": []})),
    Attack(SIGNATURES, "signed with a key of the thief's own", "3: not in the keyring", "bad_signature",
           _signed_by(THIEF)),
    Attack(SIGNATURES, "signed with the thief's key under the id of an honest one", "3: ids decide nothing",
           "bad_signature",
           _enveloped(lambda body: THIEF.sign_bytes(pae(RECORD_TYPE.encode(), body)), CI.public.key_id)),
    Attack(SIGNATURES, "signed by a publisher", "3: role", "bad_signature", _signed_by(BUILD)),
    Attack(SIGNATURES, "signed by a promoter of another bundle", "3: bundles", "bad_signature", _signed_by(REPORTS)),
    Attack(SIGNATURES, "signed by a promoter of another channel", "3: channels", "bad_signature", _signed_by(STAGING)),
    Attack(SIGNATURES, "signed with a key that is over", "3: `not_after`", "bad_signature", _signed_by(EXPIRED)),
    Attack(SIGNATURES, "signed with a key that is over, dated back to when it was not", "3: the reader's clock",
           "bad_signature", lambda scene: scene.put(scene.following(issued="2019-06-01T00:00:00Z"), EXPIRED)),
    Attack(SIGNATURES, "signed with a key before its time", "3: `not_before`", "bad_signature", _signed_by(EARLY)),
    Attack(SIGNATURES, "signed with a key that was taken out of the keyring", "3: not in the keyring", "bad_signature",
           _revoked),
    Attack(SIGNATURES, "all keys that do not count sign together", "3: each for itself", "bad_signature",
           _signed_by(BUILD, REPORTS, STAGING, EXPIRED, EARLY, GONE, THIEF)),
    Attack(SIGNATURES, "the payload is changed after it was signed", "3: over the payload", "bad_signature", _tampered),
    Attack(SIGNATURES, "the payload type is changed after it was signed", "2: payload type", "untrusted",
           lambda scene: scene.edit({"payloadType": STATEMENT_TYPE})),
    Attack(SIGNATURES, "a payload type that differs in case alone", "2: payload type", "untrusted",
           lambda scene: scene.edit({"payloadType": RECORD_TYPE.upper()})),
    Attack(SIGNATURES, "a statement in the place of the head", "2: payload type", "untrusted", _statement_as_head),
    Attack(SIGNATURES, "a payload that was signed as a statement", "3: over the type", "bad_signature",
           _enveloped(lambda body: CI.sign_bytes(pae(STATEMENT_TYPE.encode(), body)))),
    Attack(SIGNATURES, "a signature over the bare payload", "3: over type and payload", "bad_signature",
           _enveloped(CI.sign_bytes)),
    Attack(SIGNATURES, "a signature over other bytes", "3: over the payload", "bad_signature",
           _enveloped(lambda _: CI.sign_bytes(b"something else that CI has signed"))),
    Attack(SIGNATURES, "seventeen signatures, one of them good", "3: sixteen at the most", "untrusted", _seventeen),
    Attack(SIGNATURES, "two promoters are needed, one signs", "3: threshold", "bad_signature", _signed_by(CI), 2),
    Attack(SIGNATURES, "two promoters are needed, one signs twice (Ed25519)", "3: keys are counted", "bad_signature",
           _signed_by(CI, CI), 2),
    Attack(SIGNATURES, "two promoters are needed, one signs twice (ECDSA, two signatures)", "3: keys are counted",
           "bad_signature", _signed_by(OPS, OPS), 2),
    Attack(SIGNATURES, "two promoters are needed, one signature comes under two ids", "3: keys are counted",
           "bad_signature", _one_key_under_two_ids, 2),
    Attack(SIGNATURES, "two promoters are needed, a promoter and a publisher sign", "3: role", "bad_signature",
           _signed_by(CI, BUILD), 2),
    Attack(HISTORY, "an older head, honestly signed, is put back", "6: the floor", "went_back", _replayed),
    Attack(HISTORY, "a higher generation of an older epoch", "6: the floor", "went_back", _other_epoch_replayed),
    Attack(HISTORY, "the head of another channel, signed by the same key", "4: identity", "wrong_identity",
           lambda scene: scene.put(scene.following(channel="staging"), CI)),
    Attack(HISTORY, "the head of another bundle, signed by the same key", "4: identity", "wrong_identity",
           lambda scene: scene.put(scene.following(bundle="reports"), CI)),
    Attack(HISTORY, "nothing new is let through (freeze)", "7: expiry", "expired", _frozen),
    Attack(HISTORY, "a record that was over when it was made", "7: expiry", "expired",
           lambda scene: scene.put(scene.following(expires=LONG_AGO), *scene.signers)),
    Attack(HISTORY, "the last generation of all, unsigned (fast-forward)", "3: no signature; the floor stays",
           "unsigned", _ahead(())),
    Attack(HISTORY, "the last generation of all, with the thief's key", "3: not in the keyring; the floor stays",
           "bad_signature", _ahead((THIEF,))),
    Attack(HISTORY, "another record of the same generation, signed by the same key", "6: equivocation", "equivocation",
           lambda scene: scene.put(replace(scene.seen, nonce="other"), CI)),
    Attack(HISTORY, "the same record of the same generation, with one more signature", "6: the stored bytes",
           "equivocation", lambda scene: scene.put(scene.seen, CI, THIEF)),
    Attack(HISTORY, "a next record that follows another one", "6: fork", "equivocation",
           lambda scene: scene.put(scene.following(previous=Previous(1, digest_of(b"another"))), *scene.signers)),
    Attack(HISTORY, "a record that skips what it names as the one before", "6: chain", "malformed",
           lambda scene: scene.put(scene.following(generation=7), *scene.signers)),
    Attack(HISTORY, "an epoch below the keyring's", "6: lowest epoch", "old_epoch",
           lambda scene: (scene.put(scene.following(), *scene.signers),
                          (scene.keyring / "requirements.json").write_bytes(requirements({"epoch": 2})))),
    Attack(HISTORY, "a critical field that this agent does not know", "5: critical fields", "unknown_critical",
           lambda scene: scene.put(scene.following(critical=("quorum",), extra={"quorum": 1}), *scene.signers)),
    Attack(HISTORY, "the head is removed", "the release stays", "unknown_channel",
           _beheaded),
    Attack(CONTENT, "the tarball of v1 under the name of v2's", "11: pins", "wrong_size",
           _spoiled(layout.tarball, lambda one, _: one + b"\0" * 64)),
    Attack(CONTENT, "another tarball of the same size", "11: pins", "wrong_digest",
           _spoiled(layout.tarball, lambda _, two: two[:-1] + bytes([two[-1] ^ 1]))),
    Attack(CONTENT, "the file list of v1 under the name of v2's", "9: pins", "wrong_digest",
           _spoiled(layout.files, lambda one, two: one[: len(two)].ljust(len(two), b"\0"))),
    Attack(CONTENT, "a record of v2 with the objects of v1, signed by a promoter", "10: tree digest", "corrupt",
           _mixed_by_a_signer),
    Attack(CONTENT, "an object is removed", "the release stays", "missing_object", _removed),
    Attack(CONTENT, "a head without end", "1: size", "too_large", _huge_head),
    Attack(CONTENT, "a file list without end", "9: pins", "corrupt",
           _spoiled(layout.files, lambda _, two: two + bytes(8_000_000))),
    Attack(CONTENT, "a tarball without end", "11: pins, while it comes", "wrong_size",
           _spoiled(layout.tarball, lambda _, two: two + bytes(8_000_000))),
    Attack(CONTENT, "a head that is no envelope", "1: format", "malformed", lambda scene: scene.write(HEAD, b"{}")),
    Attack(VERSIONS, "a version's document is swapped", "8: digest", "wrong_identity", _version_swapped,
           by=PULL_VERSION),
    Attack(VERSIONS, "a version without a statement", "8: statement", "unsigned", _without_statement, by=PULL_VERSION),
    Attack(VERSIONS, "another version under its name, with that one's statement", "8: identity", "untrusted", _renamed,
           by=PULL_VERSION),
    Attack(VERSIONS, "the statement of another version", "8: subject", "wrong_identity",
           lambda scene: scene.vouch(CI, version="v1"), by=PULL_VERSION),
    Attack(VERSIONS, "a statement about another document of that version", "8: digest", "wrong_identity",
           lambda scene: scene.vouch(CI, about=b"another"), by=PULL_VERSION),
    Attack(VERSIONS, "a statement by a promoter", "3: role", "bad_signature", lambda scene: scene.vouch(RELEASE),
           by=PULL_VERSION),
    Attack(VERSIONS, "a statement by a publisher of another bundle", "3: bundles", "bad_signature",
           lambda scene: scene.vouch(REPORTS), by=PULL_VERSION),
    Attack(VERSIONS, "a statement by the thief", "3: not in the keyring", "bad_signature",
           lambda scene: scene.vouch(THIEF), by=PULL_VERSION),
    Attack(VERSIONS, "a statement that nobody signed", "3: no signature", "unsigned", lambda scene: scene.vouch(),
           by=PULL_VERSION),
    Attack(VERSIONS, "a statement that was signed as a record", "2: payload type", "untrusted",
           lambda scene: scene.vouch(CI, kind=RECORD_TYPE), by=PULL_VERSION),
    Attack(VERSIONS, "a record in the place of the statement", "2: payload type", "untrusted",
           lambda scene: scene.write(layout.statement(BUNDLE, "v2"), scene.seen_stored), by=PULL_VERSION),
    Attack(VERSIONS, "a statement without end", "1: size", "too_large", _huge_statement, by=PULL_VERSION),
    Attack(KEYRINGS, "the keyring is gone", "nothing is believed", "no_keyring",
           _keyring(lambda scene: scene.keyring.rename(scene.keyring.with_name("away")))),
    Attack(KEYRINGS, "the keyring is empty", "nothing is believed", "no_keyring", _keyring(_empty_keyring)),
    Attack(KEYRINGS, "the keyring has requirements and no key", "nothing is believed", "no_keyring",
           _keyring(_requirements_alone)),
    Attack(KEYRINGS, "one file of the keyring is no JSON", "half a keyring is none", "no_keyring",
           _keyring_file("new.json", b"{")),
    Attack(KEYRINGS, "one key of the keyring is a private one", "half a keyring is none", "no_keyring",
           _keyring_file("new.json", THIEF.entry(key=THIEF.private_pem))),
    Attack(KEYRINGS, "one key under two names", "its signatures would count twice", "no_keyring",
           _keyring_file("again.json", CI.entry())),
    Attack(KEYRINGS, "the requirements are wrong", "half a keyring is none", "no_keyring",
           _keyring_file("requirements.json", requirements({"promotors": 2}))),
    Attack(KEYRINGS, "a file of the keyring cannot be read", "half a keyring is none", "no_keyring",
           _keyring(lambda scene: (scene.keyring / "new.json").mkdir())),
    Attack(KEYRINGS, "a file is where the keyring should be", "nothing is believed", "no_keyring",
           _keyring(_file_for_a_folder)),
)  # fmt: skip
"""Each leaves tree, link and memory of the pod as they were, is named by `last_error`, and is over when it is over."""

HARMLESS: Final[dict[str, Callable[[Scene], object]]] = {
    "the version's document is swapped under a signed head": _version_swapped,
    "the statement is removed under a signed head": _without_statement,
    "junk lies beside what is read": _junk,
    "a log entry of a generation to come is planted": lambda scene: scene.write(layout.log(BUNDLE, "prod", 3), b"{}"),
}
"""What a thief can do as well, and what changes nothing: the honest head is delivered, whole."""

ELSEWHERE: Final = {
    "a store that stalls, cuts, lies or vanishes in the middle": "tests/faults/test_bad_store.py",
    "an archive that wants to get out of its folder, or to grow without end": "tests/storage/test_unpack.py",
    "a forged head, and an operator who holds, resumes, refreshes, promotes or rolls back on it":
        "tests/trust/test_operators.py",
    "a version's name is squatted, and CI publishes": "tests/trust/test_operators.py",
    "a log entry is planted beyond the head, and an operator recovers": "tests/trust/test_operators.py",
    "keys come and go, and backups, while agents run": "tests/trust/test_life_of_keys.py",
}  # fmt: skip
"""Attacks that other tests carry out."""

OUT_OF_SCOPE: Final = {
    "whoever writes to the pod's root": "what is live is what is there; `status` tells of edited files, and `--heal` "
    "puts them back",
    "whoever removes `state.json`": "the channel is believed anew, from any signed record on: the floor is the agent's "
    "only memory; an epoch in the keyring's requirements and an expiry of records bound how far back that is",
    "whoever writes to the keyring folder": "decides who is believed",
    "whoever turns the pod's clock back": "old keys count again, and what has expired has not; the floor holds",
    "whoever has as many promoters' keys as are needed": "is a promoter, until the keys are taken out of the keyring; "
    "an epoch that is higher than theirs takes the channel back",
    "whoever deletes everything in the store": "nothing new arrives; the live release stays",
    "a pod without a release, and a head that has expired": "is taken, with a warning and an alarm in `status`: an old "
    "release is better than none",
}
"""What this does not defend against, and what happens then."""
