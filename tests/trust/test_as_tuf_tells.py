"""What the TUF conformance suite asks of clients about rollback, expiry and keys, asked of our records.

The ideas are those of the TUF project's conformance suite (tuf-conformance); nothing is taken from its text. Where TUF
has a chain of roles in the store, a record pins all that it needs by digest; where TUF has a root in the store that
names the keys, the keyring comes to the pod on another way; where TUF recovers from a fast-forward with new keys, the
channel gets a new epoch.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from dagferry_schemas.errors import DagferryError
from dagferry_schemas.record import Previous
from tests.agent.test_delivery import ONE, TWO
from tests.schemas.holders import Holder, requirements

from .scene import CI, OPS, THREE, Scene

if TYPE_CHECKING:
    from pathlib import Path

    from dagferry_schemas.record import Record

PEOPLE = tuple(Holder(f"person-{number}") for number in range(7))
SOON = "2026-11-24T00:00:00Z"
IN_A_YEAR = "2027-11-24T00:00:00Z"
DAY = 86400


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def refusal(scene: Scene) -> str:
    """The code with which the pod refuses what is there; its disk stays as it is."""
    before = scene.disk()
    with pytest.raises(DagferryError) as caught:
        scene.pod.delivery.pull()
    assert scene.disk() == before
    return caught.value.code


def floor(scene: Scene) -> tuple[int, int]:
    """Epoch and generation of the highest record that the pod remembers."""
    found = json.loads((scene.pod.root / "state.json").read_bytes())["floor"]
    return found["epoch"], found["generation"]


def far_ahead(scene: Scene, generation: int) -> Record:
    return scene.following(generation=generation, previous=Previous(generation - 1, "sha256:" + "a" * 64))


# Rollback.


def test_older_record_is_refused_also_when_it_is_signed_anew(scene: Scene) -> None:
    first = scene.seen
    scene.deliver(scene.following())
    scene.put(replace(first, nonce="again", issued="2026-11-23T00:00:00Z"), CI)
    assert refusal(scene) == "went_back"
    assert floor(scene) == (1, 2)


def test_older_content_comes_back_only_by_a_newer_record(scene: Scene) -> None:
    """What a record makes live may be older: that is a rollback of an operator's, and it is signed as one."""
    scene.deliver(scene.following())
    back = scene.following(live=scene.one, action="rollback")
    scene.put(back, CI)
    assert scene.pod.delivery.pull().generation == 3
    assert scene.pod.live() == ONE


def test_objects_that_change_without_a_new_record_are_not_even_asked_for(scene: Scene) -> None:
    scene.deliver(scene.following())
    for path in (scene.store / "dags" / "trees").rglob("*.zst"):
        path.write_bytes(b"older")
    assert scene.pod.delivery.pull().changed is False
    assert scene.pod.live() == TWO


def test_record_and_its_objects_cannot_be_of_different_ages(scene: Scene) -> None:
    """The pins of the record are what counts, not the names in the store."""
    scene.put(scene.following(), CI)
    trees = scene.store / "dags" / "trees"
    one, two = (trees / live.content.tree.removeprefix("sha256:") for live in (scene.one, scene.two))
    for name in ("dags.tar.zst", "files.zst"):
        (two / name).write_bytes((one / name).read_bytes())
    assert refusal(scene) in ("wrong_size", "wrong_digest", "corrupt")


def test_same_record_again_is_nothing_new_after_any_number_of_looks(scene: Scene) -> None:
    for _ in range(3):
        assert scene.pod.delivery.pull().changed is False
        assert scene.pod.restart().pull().changed is False
    assert floor(scene) == (1, 1)


def test_floor_outlives_a_restart(scene: Scene) -> None:
    first = scene.seen_stored
    scene.deliver(scene.following())
    scene.write("dags/channels/prod/head.json", first)
    scene.pod.restart()
    assert refusal(scene) == "went_back"


def test_fast_forward_with_a_stolen_key_is_recovered_from_by_a_new_epoch(scene: Scene) -> None:
    """The pod has seen the last generation that there can be; no honest record of that epoch comes after it."""
    last = 2**53 - 1
    scene.put(far_ahead(scene, last), CI)
    scene.pod.delivery.pull()
    assert floor(scene) == (1, last)
    scene.put(scene.following(), CI)
    assert refusal(scene) == "went_back"
    recovered = scene.following(epoch=2, action="recover")
    scene.put(recovered, CI)
    assert scene.pod.delivery.pull().generation == 2
    assert floor(scene) == (2, 2)
    scene.put(far_ahead(scene, last), CI)
    assert refusal(scene) == "went_back", "the thief's epoch is over"


def test_new_keys_alone_do_not_lift_the_floor(scene: Scene) -> None:
    """Unlike TUF's recovery: a pod forgets its floor for no key."""
    scene.put(far_ahead(scene, 99999), CI)
    scene.pod.delivery.pull()
    (scene.keyring / "ci.json").unlink()
    scene.put(scene.following(), OPS)
    assert refusal(scene) == "went_back"


def test_generations_may_be_skipped_but_not_repeated_otherwise(scene: Scene) -> None:
    """A pod that was away for long has not seen what was in between, and need not."""
    scene.put(far_ahead(scene, 50), CI)
    assert scene.pod.delivery.pull().generation == 50
    scene.put(replace(far_ahead(scene, 50), nonce="other"), CI)
    assert refusal(scene) == "equivocation"


# Expiry.


def test_record_that_has_expired_is_not_taken_and_the_floor_stays(scene: Scene) -> None:
    scene.put(scene.following(expires="2026-01-01T00:00:00Z"), CI)
    assert refusal(scene) == "expired"
    assert floor(scene) == (1, 1)


def test_what_is_live_stays_live_when_its_record_expires(scene: Scene) -> None:
    scene.deliver(scene.following(expires=SOON))
    scene.pod.clock.now += 365 * DAY
    assert refusal(scene) == "expired"
    assert scene.pod.live() == TWO
    assert scene.pod.delivery.ready()
    assert scene.pod.restart().ready()


def test_record_that_expired_here_does_not_stand_in_the_way_of_a_newer_one(scene: Scene) -> None:
    scene.deliver(scene.following(expires=SOON))
    scene.pod.clock.now += 100 * DAY
    scene.put(scene.following(expires=IN_A_YEAR), CI)
    assert scene.pod.delivery.pull().generation == 3
    assert scene.pod.live() == THREE


def test_record_may_not_live_on_through_another_that_follows_it(scene: Scene) -> None:
    """Each record has an expiry of its own; the one before it has no say."""
    scene.deliver(scene.following(expires=IN_A_YEAR))
    scene.put(scene.following(expires="2026-01-01T00:00:00Z"), CI)
    assert refusal(scene) == "expired"


def test_older_record_that_has_expired_is_refused_whichever_is_said(scene: Scene) -> None:
    first = replace(scene.seen, expires="2026-01-01T00:00:00Z")
    scene.deliver(scene.following())
    scene.put(first, CI)
    assert refusal(scene) in ("expired", "went_back")


def test_clock_that_was_wrong_and_is_put_right_lets_everything_go_on(scene: Scene) -> None:
    scene.pod.clock.now += 3000 * DAY
    scene.put(scene.following(expires=IN_A_YEAR), CI)
    assert refusal(scene) == "expired"
    scene.pod.clock.now -= 3000 * DAY
    assert scene.pod.delivery.pull().generation == 2


# Keys. (keys of the keyring, how many promoters, who signs, is it believed)

KEYRINGS: dict[str, tuple[tuple[int, ...], int, tuple[int, ...], bool]] = {
    "one of one": ((1,), 1, (1,), True),
    "one of one, strangers sign as well": ((1,), 1, (5, 1, 6), True),
    "one of one, strangers alone": ((1,), 1, (5, 6), False),
    "the key was changed, the new one signs": ((2,), 1, (2,), True),
    "the key was changed, old and new sign": ((2,), 1, (1, 2), True),
    "the key was changed, the old one signs": ((2,), 1, (1,), False),
    "three of five, the first": ((0, 1, 2, 3, 4), 3, (0, 1, 2), True),
    "three of five, others in another order": ((0, 1, 2, 3, 4), 3, (4, 2, 0), True),
    "three of five, all": ((0, 1, 2, 3, 4), 3, (0, 1, 2, 3, 4), True),
    "three of five, two": ((0, 1, 2, 3, 4), 3, (0, 4), False),
    "three of five, one was changed and its old key is the third": ((0, 1, 3, 4, 5), 3, (0, 2, 4), False),
    "three of five, one was changed and its new key is the third": ((0, 1, 3, 4, 5), 3, (0, 4, 5), True),
    "two of two, one twice": ((1, 2), 2, (1, 1), False),
    "more are needed than there are": ((1, 2), 3, (1, 2), False),
    "more are needed than there are, strangers help": ((1, 2), 3, (1, 2, 6), False),
}


def _give_keyring(scene: Scene, known: tuple[int, ...], needed: int) -> None:
    for file in scene.keyring.iterdir():
        file.unlink()
    for number in known:
        (scene.keyring / f"{PEOPLE[number].name}.json").write_bytes(PEOPLE[number].entry())
    (scene.keyring / "requirements.json").write_bytes(requirements({"promoters": needed}))


@pytest.mark.parametrize("case", KEYRINGS)
def test_threshold(case: str, scene: Scene) -> None:
    known, needed, signing, believed = KEYRINGS[case]
    _give_keyring(scene, known, needed)
    scene.put(scene.following(), *(PEOPLE[number] for number in signing))
    if believed:
        assert scene.pod.delivery.pull().generation == 2
        assert set(scene.pod.delivery.status().signed_by) == {PEOPLE[one].name for one in set(known) & set(signing)}
    else:
        assert refusal(scene) == "bad_signature"


def test_threshold_is_raised_and_lowered_under_a_head(scene: Scene) -> None:
    """The head is judged by the keyring of now, not by that of when it was signed."""
    _give_keyring(scene, (1, 2, 3), 1)
    scene.put(scene.following(), PEOPLE[1])
    assert scene.pod.delivery.pull().generation == 2
    _give_keyring(scene, (1, 2, 3), 2)
    assert refusal(scene) == "bad_signature"
    _give_keyring(scene, (1, 2, 3), 1)
    assert scene.pod.delivery.pull().changed is False


def test_all_keys_are_changed_with_a_step_in_between(scene: Scene) -> None:
    steps = (((0, 1), (0, 1)), ((0, 1, 2, 3), (0, 1, 2, 3)), ((2, 3), (0, 1, 2, 3)), ((2, 3), (2, 3)))
    for number, (known, signing) in enumerate(steps):
        _give_keyring(scene, known, 2)
        record = scene.following(nonce=f"step {number}", live=scene.two)
        scene.seen, scene.seen_stored = record, scene.put(record, *(PEOPLE[one] for one in signing))
        assert scene.pod.delivery.pull().generation == number + 2


def test_same_key_in_many_files_is_no_keyring(scene: Scene) -> None:
    """Ten names for one key are not ten keys: the keyring is refused, and so nobody is believed."""
    for number in range(10):
        (scene.keyring / f"copy-{number}.json").write_bytes(PEOPLE[0].entry())
    scene.put(scene.following(), PEOPLE[0])
    assert refusal(scene) == "no_keyring"


def test_key_with_something_unknown_beside_it_is_refused_where_tuf_reads_on(scene: Scene) -> None:
    """Whoever writes `notAfter` believes in an end that nobody would see to."""
    (scene.keyring / "ci.json").write_bytes(CI.entry(keyid_hash_algorithms=["md5"]))
    scene.put(scene.following(), CI)
    assert refusal(scene) == "no_keyring"
