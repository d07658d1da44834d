"""Keys come and go while agents run: trust is switched on, keys are changed, lost, and backups come back."""

from __future__ import annotations

import json
import shutil
from datetime import datetime, timedelta, timezone
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
    # 1. The key is made, and its file is in the keyring. 2. CI signs: the version that is live gets its statement.
    firm.trust("ci")
    added = firm.run("publish", "--rev", "v1")
    assert (added["created"], added["vouched"]) == (False, True)
    assert firm.run("publish", "--rev", "v1")["vouched"] is False, "nothing is left to do"
    # Agents that have no keyring yet take what is signed as they took what was not; CI builds on nothing unsigned.
    assert firm.fail(1, "ship", "--rev", "v2") == "unsigned"
    assert firm.fail(1, "status", by=()) == "unsigned", "with a keyring nothing is shown that nobody has signed"
    assert tag(firm.run("status", by=(), keyring=False)) == "v1"
    # 3. What is live is signed, once.
    adopted = firm.run("refresh", "--adopt-unsigned")
    assert (tag(adopted), adopted["generation"], adopted["changed"]) == ("v1", 2, False)
    firm.ship("v2")
    assert tag(agent.pull()) == "v2"
    assert firm.fail(2, "ship", "--rev", "v3", by=(), keyring=False) == "no_signer", "a job that was forgotten"
    # 4. Agents are started with the keyring; one whose folder is still empty believes nothing, and keeps what is live.
    agent.stop()
    firm.distrust("ci")
    agent = start()
    assert refusal(agent) == "no_keyring"
    firm.trust("ci")
    assert tag(agent.pull()) == "v2"
    assert (agent.status()["signed_by"], agent.status()["alarms"]) == (["ci"], [])
    # From now on what is not signed is refused.
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
    # 1. The new key is in the keyrings. 2. CI has it. 3. What is live is signed by it.
    firm.trust("next")
    firm.ship("v2", by=("next",))
    assert tag(agent.pull()) == "v2"
    firm.run("refresh", by=("next",))
    agent.pull()
    assert agent.status()["signed_by"] == ["next"]
    # 4. The old one goes.
    firm.distrust("ci")
    assert tag(agent.pull()) == "v2"
    assert firm.fail(1, "hold", by=("ci",)) == "bad_signature"
    back = firm.run("rollback", by=("next",))
    assert tag(back) == "v1", "history was signed with the old key, and is named by the new one"
    assert tag(agent.pull()) == "v1"
    # What only the old key vouches for can neither be promoted nor pulled by name.
    firm.run("resume", by=("next",))
    firm.ship("v3", by=("next",))
    version = firm.run("version", "--rev", "v1", by=(), keyring=False)["version"]
    assert firm.fail(1, "promote", version, "--allow-older", by=("next",)) == "bad_signature"
    assert firm.pod_of("by-name").fail_to_pull(1, "--version", version, f"--keyring={firm.keyring}")["code"] == (
        "bad_signature"
    )


def test_agents_say_three_days_ahead_that_too_few_keys_will_count(firm: Firm, start: Callable[..., Agent]) -> None:
    def ends(name: str, when: timedelta) -> None:
        file = firm.keyring / f"{name}.json"
        end = (datetime.now(timezone.utc) + when).strftime("%Y-%m-%dT%H:%M:%SZ")
        file.write_text(json.dumps({**json.loads(file.read_bytes()), "not_after": end}))

    firm.trust("ci", "next")
    firm.ship("v1")
    agent = start()
    agent.pull()
    ends("ci", timedelta(days=4))
    agent.pull()
    assert agent.status()["alarms"] == []
    ends("ci", timedelta(days=2))
    agent.pull()
    assert agent.status()["alarms"] == ["keys_end_soon"]
    firm.run("refresh", by=("next",))
    agent.pull()
    assert agent.status()["alarms"] == [], "its successor has signed"


def test_channel_is_carried_on_from_what_a_stolen_key_signed(firm: Firm, start: Callable[..., Agent]) -> None:
    firm.trust("ci", "next")
    firm.ship("v1")
    firm.ship("v2")
    agent = start()
    agent.pull()
    stolen = shutil.copytree(firm.keyring, firm.folder / "keyring-with-the-stolen-key")
    firm.distrust("ci")
    assert refusal(agent) == "bad_signature"
    target = firm.run("version", "--rev", "v1", by=(), keyring=False)["version"]
    firm.run(
        "rollback", "--to", target, f"--keyring={stolen}", f"--signer={firm.keys / 'next.pem'}", by=(), keyring=False
    )
    assert tag(agent.pull()) == "v1"
    assert agent.status()["signed_by"] == ["next"]
    firm.run("resume", by=("next",))
    firm.ship("v3", by=("next",))
    assert tag(agent.pull()) == "v3"


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
