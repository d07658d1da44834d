"""Keys come and go while agents run: trust is switched on, keys are changed, lost, and backups come back."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from .firm import refusal, tag

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.harness import Agent

    from .firm import Firm


def test_trust_is_switched_on_for_a_running_fleet_step_by_step(firm: Firm, start: Callable[..., Agent]) -> None:
    firm.ship("v1", by=(), keyring=False)
    agent = start(keyring=False)
    agent.pull()
    assert agent.status()["alarms"] == ["not_verifying"]
    # 1. CI signs. Agents that have no keyring yet take what is signed as they took what was not.
    assert firm.fail(1, "ship", "--rev", "v2", keyring=False) == "unsigned", (
        "CI builds on nothing that it cannot verify"
    )
    adopted = firm.run("refresh", "--adopt-unsigned", keyring=False)
    assert (tag(adopted), adopted["generation"], adopted["changed"]) == ("v1", 2, False)
    firm.ship("v2", keyring=False)
    assert tag(agent.pull()) == "v2"
    assert firm.fail(2, "ship", "--rev", "v3", by=(), keyring=False) == "no_signer", "a job that was forgotten"
    # 2. Agents are told of a keyring before its keys are there: nothing new is believed, what is live stays.
    agent.stop()
    agent = start()
    assert refusal(agent) == "no_keyring"
    # 3. The key's file appears in the mounted folder.
    firm.trust("ci")
    assert tag(agent.pull()) == "v2"
    assert (agent.status()["signed_by"], agent.status()["alarms"]) == (["ci"], [])
    # 4. From now on what is not signed is refused.
    firm.backup("before")
    envelope = json.loads(firm.head.read_bytes())
    firm.head.write_bytes(json.dumps({**envelope, "signatures": []}).encode())
    assert refusal(agent) == "unsigned"
    firm.restore(firm.folder / "before")
    firm.ship("v3")
    assert tag(agent.pull()) == "v3"


def test_key_is_changed_with_an_overlap(firm: Firm, start: Callable[..., Agent]) -> None:
    firm.trust("ci")
    firm.ship("v1")
    agent = start()
    agent.pull()
    assert firm.fail(1, "ship", "--rev", "v2", by=("next",)) == "bad_signature", "nobody knows the new key yet"
    firm.trust("next")
    firm.ship("v2", by=("next",))
    assert tag(agent.pull()) == "v2"
    assert agent.status()["signed_by"] == ["next"]
    firm.distrust("ci")
    assert tag(agent.pull()) == "v2"
    assert firm.fail(1, "hold", by=("ci",)) == "bad_signature"
    back = firm.run("rollback", by=("next",))
    assert tag(back) == "v1", "history was signed with the old key, and is named by the new one"
    assert tag(agent.pull()) == "v1"


def test_key_that_signed_the_head_is_taken_away_before_it_is_signed_anew(
    firm: Firm, start: Callable[..., Agent]
) -> None:
    firm.trust("ci", "next")
    firm.ship("v1")
    agent = start()
    agent.pull()
    firm.distrust("ci")
    assert refusal(agent) == "bad_signature"
    assert firm.fail(1, "refresh", by=("next",)) == "bad_signature"
    firm.trust("ci")
    firm.run("refresh", by=("next",))
    firm.distrust("ci")
    assert agent.pull()["generation"] == 2


def test_stolen_key_is_revoked_and_what_it_signed_does_not_come_back(firm: Firm, start: Callable[..., Agent]) -> None:
    firm.trust("ci", "thief")
    firm.ship("v1")
    agent = start()
    agent.pull()
    honest = firm.backup("honest")
    firm.ship("v2", by=("thief",))
    assert tag(agent.pull()) == "v2", "until somebody notices"
    firm.distrust("thief")
    assert refusal(agent) == "bad_signature"
    assert firm.fail(1, "rollback") == "bad_signature", "nobody builds on it"
    firm.restore(honest)
    assert refusal(agent) == "went_back"
    firm.run("recover")
    assert tag(agent.pull()) == "v1"
    firm.ship("v3")
    assert tag(agent.pull()) == "v3"


def test_promotion_by_two_keys(firm: Firm, start: Callable[..., Agent]) -> None:
    firm.trust("ci", "ops")
    firm.ship("v1")
    agent = start()
    agent.pull()
    (firm.keyring / "requirements.json").write_text('{"format": 1, "requirements": [{"promoters": 2}]}')
    assert refusal(agent) == "bad_signature", "the head has one signature"
    assert firm.fail(1, "ship", "--rev", "v2") == "bad_signature"
    (firm.keyring / "requirements.json").unlink()
    firm.run("refresh", by=("ci", "ops"))
    (firm.keyring / "requirements.json").write_text('{"format": 1, "requirements": [{"promoters": 2}]}')
    assert tag(agent.pull()) == "v1"
    for few in (("ci",), ("ops",), ("ci", "ci"), ("ci", "thief")):
        assert firm.fail(1, "hold", by=few) == "bad_signature", few
    firm.ship("v2", by=("ci", "ops"))
    assert tag(agent.pull()) == "v2"
    assert sorted(agent.status()["signed_by"]) == ["ci", "ops"]


def test_bucket_comes_back_from_a_backup_and_is_recovered(firm: Firm, start: Callable[..., Agent]) -> None:
    firm.trust("ci")
    firm.ship("v1")
    backup = firm.backup("nightly")
    firm.ship("v2")
    firm.ship("v3")
    agent = start()
    agent.pull()
    firm.restore(backup)
    assert refusal(agent) == "went_back"
    recovered = firm.run("recover")
    assert (tag(recovered), recovered["generation"]) == ("v1", 2)
    assert tag(agent.pull()) == "v1"
    firm.ship("v4")
    assert tag(agent.pull()) == "v4"
    # An agent that was away all the time, and one that has an empty disk, come along.
    assert tag(start(on=firm.pod_of("new")).pull()) == "v4"
    # What was before the backup does not come back: its epoch is over.
    firm.restore(backup)
    assert refusal(agent) == "went_back"


def test_epoch_in_the_keyring_keeps_even_an_empty_pod_from_what_was_before(
    firm: Firm, start: Callable[..., Agent]
) -> None:
    firm.trust("ci")
    firm.ship("v1")
    backup = firm.backup("stolen")
    firm.run("recover", "--epoch=5")
    (firm.keyring / "requirements.json").write_text('{"format": 1, "requirements": [{"epoch": 5}]}')
    agent = start()
    assert tag(agent.pull()) == "v1"
    firm.restore(backup)
    assert refusal(agent) == "old_epoch"
    assert firm.pod_of("new").fail_to_pull(1, f"--keyring={firm.keyring}")["code"] == "old_epoch"


def test_record_expires_and_is_refreshed(firm: Firm, start: Callable[..., Agent]) -> None:
    firm.trust("ci")
    firm.ship("v1", "--expires-days=2")
    agent = start()
    agent.pull()
    status = agent.status()
    assert (status["alarms"], status["expires"] is not None) == (["expires_soon"], True)
    firm.run("refresh", "--expires-days=30")
    agent.pull()
    assert agent.status()["alarms"] == []
    firm.run("refresh", "--expires-days=0.00001")  # not even a second: it is over when it is read
    assert refusal(agent) == "expired"
    firm.ship("v2", "--expires-days=30")
    assert tag(agent.pull()) == "v2"
    assert agent.status()["last_error"] is None


@pytest.mark.parametrize("how", ["missing", "empty", "one bad file", "no folder", "unreadable"])
def test_agent_stays_up_and_ready_while_its_keyring_cannot_be_used(
    how: str, firm: Firm, start: Callable[..., Agent]
) -> None:
    firm.trust("ci")
    firm.ship("v1")
    agent = start()
    agent.pull()
    firm.ship("v2")
    kept = shutil.copytree(firm.keyring, firm.folder / "kept")
    if how in ("missing", "no folder"):
        shutil.rmtree(firm.keyring)
    if how == "no folder":
        firm.keyring.write_bytes(b"")
    elif how == "empty":
        firm.distrust("ci")
    elif how == "one bad file":
        (firm.keyring / "new.json").write_bytes(b"{")
    elif how == "unreadable":
        (firm.keyring / "new.json").symlink_to("nowhere")
    assert refusal(agent) == "no_keyring"
    agent.stop()
    agent = start()  # it comes up, with what is live, and is ready
    assert refusal(agent) == "no_keyring"
    if firm.keyring.is_dir():
        shutil.rmtree(firm.keyring)
    else:
        firm.keyring.unlink(missing_ok=True)
    shutil.copytree(kept, firm.keyring)
    assert tag(agent.pull()) == "v2"
