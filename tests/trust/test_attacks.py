"""Each attack is carried out on a real store, and a real pod with a keyring pulls: nothing changes, and it is named.

The page docs/trust-tests.md is held to the data (`page`).
"""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dagferry_schemas.errors import DagferryError
from tests.agent.test_delivery import TWO
from tests.schemas.holders import requirements

from .attacks import ATTACKS, ELSEWHERE, HARMLESS, PULL_VERSION
from .page import PAGE, TOP, rendered
from .scene import CI, KEYS, OPS, THIEF, THREE, Scene

if TYPE_CHECKING:
    from pathlib import Path

    from .attacks import Attack


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_attack(attack: Attack, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    scene = Scene(tmp_path, promoters=attack.promoters)
    attack.perform(scene)
    before, delivery = scene.disk(), scene.pod.delivery
    for again in (delivery, scene.pod.restart()):
        with pytest.raises(DagferryError) as caught:
            again.pull_version("v2") if attack.by == PULL_VERSION else again.pull()
        assert caught.value.code == attack.code, caught.value.message
        assert caught.value.hint
        assert scene.disk() == before
        status = again.status()
        assert status.last_error == {"code": attack.code, "message": caught.value.message}
        assert (status.verifying, status.drift) == (True, ())
        assert again.ready()
        assert list((scene.pod.root / "staging").iterdir()) == []
        said = f"{caught.value.message} {caught.value.hint} {caplog.text} {status}"
        assert not any(secret in said for secret in secrets())
    honest = scene.mend()
    reply = scene.pod.delivery.pull()
    assert (reply.version, reply.generation, reply.changed) == (honest.live.version, honest.generation, True)
    assert scene.pod.live() == {"v2": TWO, "v3": THREE}[reply.version]
    assert scene.pod.delivery.status().last_error is None


def secrets() -> list[str]:
    """A line of each private key."""
    return [holder.private_pem.splitlines()[1] for holder in (*KEYS, THIEF)]


@pytest.mark.parametrize("name", HARMLESS)
def test_what_changes_nothing(name: str, tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    HARMLESS[name](scene)
    scene.put(scene.following(), CI)
    scene.pod.delivery.pull()
    assert scene.pod.live() == TWO
    assert scene.pod.delivery.verify() == ()


@pytest.mark.parametrize("name", ["a head that nobody signed", "signed with a key of the thief's own"])
def test_pod_that_has_nothing_takes_no_forged_head_either(name: str, tmp_path: Path) -> None:
    (attack,) = (one for one in ATTACKS if one.name == name)
    scene = Scene(tmp_path / "scene")
    attack.perform(scene)
    scene.pod.root = tmp_path / "empty"
    empty = scene.pod.restart()
    with pytest.raises(DagferryError) as caught:
        empty.pull()
    assert caught.value.code == attack.code
    assert not (tmp_path / "empty" / "current").is_symlink()
    assert not (tmp_path / "empty" / "state.json").exists()
    assert not empty.ready()


def test_pod_that_has_nothing_takes_what_has_expired_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scene = Scene(tmp_path / "scene")
    scene.put(scene.following(expires="2026-11-24T00:00:00Z"), CI)
    scene.pod.clock.now += 400 * 86400
    scene.pod.root = tmp_path / "empty"
    empty = scene.pod.restart()
    assert empty.pull().version == "v2"
    assert empty.status().alarms == ("expired",)
    assert any("expired" in one.getMessage() for one in caplog.records if one.levelno == logging.WARNING)
    with pytest.raises(DagferryError) as caught:  # from now on there is something to keep
        empty.pull()
    assert caught.value.code == "expired"


def test_release_whose_key_was_taken_away_is_not_activated_by_hand(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.put(scene.following(), OPS)
    scene.pod.delivery.pull()
    (scene.keyring / "ci.json").unlink()
    before = scene.disk()
    with pytest.raises(DagferryError) as caught:
        scene.pod.delivery.activate("v1")
    assert caught.value.code == "unsigned"
    assert scene.disk() == before
    assert scene.pod.delivery.activate("v2").version == "v2"


def test_release_that_one_of_two_needed_keys_still_vouches_for_is_not_activated_by_hand(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.put(scene.following(), OPS)
    scene.pod.delivery.pull()
    (scene.keyring / "requirements.json").write_bytes(requirements({"promoters": 2, "publishers": 2}))
    with pytest.raises(DagferryError) as caught:
        scene.pod.delivery.activate("v1")
    assert caught.value.code == "unsigned"
    assert scene.pod.live() == TWO


def test_keyring_is_read_anew_at_every_pull(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.put(scene.following(), THIEF)
    with pytest.raises(DagferryError):
        scene.pod.delivery.pull()
    (scene.keyring / "new.json").write_bytes(THIEF.entry())
    assert scene.pod.delivery.pull().version == "v2"
    (scene.keyring / "new.json").unlink()
    with pytest.raises(DagferryError) as caught:
        scene.pod.delivery.pull()
    assert caught.value.code == "bad_signature"
    assert scene.pod.live() == TWO


# Planted: the suite bites.


@pytest.mark.planted
@pytest.mark.parametrize("attack", [one for one in ATTACKS if one.answer[:2] == "3:"], ids=lambda one: one.name)
def test_planted_agent_without_a_keyring_falls_for_it(attack: Attack, tmp_path: Path) -> None:
    scene = Scene(tmp_path, promoters=attack.promoters)
    attack.perform(scene)
    delivery = scene.pod.restart(keyring=None)
    delivery.pull_version("v2") if attack.by == PULL_VERSION else delivery.pull()
    assert scene.pod.live() == TWO


# The page.


def test_page_says_what_is_tried() -> None:
    assert PAGE.read_text() == rendered()


def test_names_are_told_apart_and_named_tests_exist() -> None:
    assert max(Counter(attack.name for attack in ATTACKS).values()) == 1
    assert [test for test in ELSEWHERE.values() if not (TOP / test).is_file()] == []
