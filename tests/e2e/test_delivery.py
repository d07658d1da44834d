"""From a merged commit to what a pod's Airflow reads, and back: the list reads as the specification.

Every test has a channel of its own in one shared store; the agents are real processes, asked over HTTP.
"""

from __future__ import annotations

import os
import re
import socket
import stat
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import requests

from tests.e2e.harness import (
    PATIENCE,
    SIGNED,
    Agent,
    Content,
    Operator,
    Pod,
    Repository,
    away,
    content_of,
    run,
    wait_for,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.e2e.conftest import Team

    Start = Callable[..., Agent]

NOBODY = "http://127.0.0.1:9"  # the discard port: nothing listens there
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def promote(operator: Operator, *versions: str) -> dict[str, Any]:
    """Promote one after the other; what the last one said."""
    for version in versions:
        said = operator.run("promote", version)
    return said


def heads(operator: Operator) -> list[tuple[int, str, str]]:
    """The channel's history, newest first: generation, action, version."""
    records = operator.run("log")["records"]
    return [(one["generation"], one["action"], one["version"]) for one in records]


# --- a commit goes live


def test_merged_commit_reaches_a_running_agent(team: Team, operator: Operator, pod: Pod, start: Start) -> None:
    agent = start()
    shipped = operator.ship(team.commits[0], f"--agents={agent.url}", f"--token-file={agent.token_file}")
    assert (shipped["version"], shipped["generation"], shipped["changed"]) == (team.first, 1, True)
    assert shipped["channel"] == pod.channel
    assert [(one["url"], one["ok"], one["generation"]) for one in shipped["agents"]] == [(agent.url, True, 1)]
    assert pod.live() == team.repository.content(team.commits[0])


def test_agent_believes_what_this_run_is_about(team: Team, operator: Operator, pod: Pod, start: Start) -> None:
    promote(operator, team.first)
    agent = start()
    agent.wait_until_ready()
    status = agent.status()
    signed = bool(os.environ.get(SIGNED))
    assert (status["verifying"], status["signed_by"]) == (signed, ["ci"] if signed else [])
    assert status["alarms"] == ([] if signed else ["not_verifying"])


def test_second_commit_goes_live(team: Team, operator: Operator, pod: Pod, start: Start) -> None:
    promote(operator, team.first)
    agent = start()
    agent.wait_until_ready()
    promote(operator, team.second)
    reply = agent.pull(expect_generation=2)
    assert (reply["generation"], reply["version"], reply["previous"]) == (2, team.second, team.first)
    assert reply["changed"] is True
    assert (reply["files_written"], reply["files_linked"]) == (2, 4)
    assert DIGEST.fullmatch(reply["tree"])
    assert reply["bytes_fetched"] > 0
    assert pod.live() == team.repository.content(team.commits[1])


def test_removed_file_is_gone_after_the_next_pull(team: Team, operator: Operator, pod: Pod) -> None:
    promote(operator, team.second)
    pod.pull()
    assert "hourly.py" in pod.live()
    promote(operator, team.third)
    pod.pull()
    assert "hourly.py" not in pod.live()


def test_pull_with_nothing_new_changes_nothing(team: Team, operator: Operator, pod: Pod) -> None:
    promote(operator, team.first)
    assert pod.pull()["changed"] is True
    link = pod.current.readlink()
    again = pod.pull()
    assert (again["changed"], again["files_written"], again["version"]) == (False, 0, team.first)
    assert pod.current.readlink() == link


def test_ship_waits_until_every_agent_serves(team: Team, operator: Operator, pod: Pod, start: Start) -> None:
    pods = [pod, Pod(pod.root.with_name("pod-2"), pod.store_url, pod.channel)]
    agents = [start(on=one) for one in pods]
    urls = ",".join(agent.url for agent in agents)
    shipped = operator.ship(team.commits[1], f"--agents={urls}", f"--token-file={agents[0].token_file}")
    assert [one["ok"] for one in shipped["agents"]] == [True, True]
    assert all(one["version"] == team.second and one["seconds"] >= 0 for one in shipped["agents"])
    assert [one.live() for one in pods] == [team.repository.content(team.commits[1])] * 2
    told = operator.run("status", f"--agents={urls}", f"--token-file={agents[0].token_file}")
    assert told["converged"] is True


def test_ship_names_agents_that_did_not_converge(team: Team, operator: Operator, pod: Pod, start: Start) -> None:
    agent = start()
    access = (f"--agents={agent.url},{NOBODY}", f"--token-file={agent.token_file}")
    outcome = operator.outcome("ship", "--rev", team.commits[0], *access, "--timeout=1", expect=4)
    assert NOBODY in outcome.error["message"]
    assert agent.url not in outcome.error["message"]
    assert [(one["url"], one["ok"]) for one in outcome.document["agents"]] == [(agent.url, True), (NOBODY, False)]
    assert outcome.document["agents"][1]["error"]
    assert pod.live() == team.repository.content(team.commits[0])
    told = operator.run("status", *access, "--timeout=1")
    assert told["converged"] is False


def test_notify_with_a_wrong_token_says_so_and_ends_with_4(
    team: Team, operator: Operator, pod: Pod, start: Start
) -> None:
    promote(operator, team.first)
    agent = start()
    agent.wait_until_ready()
    wrong = pod.root.with_name("wrong.token")
    wrong.write_text("dft_" + "A" * 43 + "\n")
    outcome = operator.outcome("notify", f"--agents={agent.url}", f"--token-file={wrong}", "--timeout=5", expect=4)
    assert "401" in outcome.document["agents"][0]["error"]
    assert agent.token not in outcome.stdout + outcome.stderr + agent.log


def test_polling_finds_a_promotion_without_notification(team: Team, operator: Operator, pod: Pod, start: Start) -> None:
    promote(operator, team.first)
    agent = start(poll_seconds=0.2)
    agent.wait_until_ready()
    promote(operator, team.second)
    wait_for(lambda: agent.serves(team.second) or None, "the second version")
    assert pod.live() == team.repository.content(team.commits[1])


def test_agent_that_was_there_before_the_channel_follows_its_first_promotion(
    team: Team, operator: Operator, pod: Pod, start: Start
) -> None:
    agent = start()
    ready, _ = agent.ready()
    assert not ready
    reply = agent.post()
    assert reply.status_code == 404
    assert pod.channel in reply.json()["error"]["message"]
    promote(operator, team.first)
    assert agent.pull()["version"] == team.first
    assert agent.ready()[0]


def test_init_container_pull_of_a_version(team: Team, operator: Operator, pod: Pod) -> None:
    promote(operator, team.third)
    reply = pod.pull("--version", team.first)
    assert reply["version"] == team.first
    assert pod.live() == team.repository.content(team.commits[0])


def test_init_container_takes_a_commit_for_a_version_and_suggests_near_matches(
    team: Team, operator: Operator, pod: Pod
) -> None:
    mistyped = team.second[:-1] + ("0" if team.second[-1] != "0" else "1")
    assert team.second in pod.fail_to_pull(2, "--version", mistyped)["hint"]
    assert pod.pull("--version", team.commits[0][:12])["version"] == team.first


# --- channels


def test_promote_of_the_live_version_changes_nothing(team: Team, operator: Operator) -> None:
    promote(operator, team.first)
    again = promote(operator, team.first)
    assert (again["changed"], again["generation"], again["version"]) == (False, 1, team.first)
    assert heads(operator) == [(1, "promote", team.first)]


def test_publishing_twice_is_a_no_op(team: Team, tmp_path: Path) -> None:
    first = team.operator.run("publish", "--rev", team.commits[2])
    again = team.operator.run("publish", "--rev", team.commits[2])
    assert (first["created"], again["created"]) == (False, False)
    for name in ("version", "tree", "commit", "tarball", "files"):
        assert first[name] == again[name]
    built = team.operator.run("build", "--rev", team.commits[2], "--out", str(tmp_path))
    assert built["tree"] == first["tree"]


def test_same_version_with_other_content_is_a_conflict(team: Team) -> None:
    local = team.operator.run("publish", "--root", "dags/common")
    assert local["version"].endswith("+local")
    refused = team.operator.fail(3, "publish", "--root", "dags/data")
    assert local["version"] in refused["message"]
    assert team.operator.run("show", local["version"])["tree"] == local["tree"]


def test_slow_ci_job_cannot_move_the_channel_back(team: Team, operator: Operator) -> None:
    promote(operator, team.second)
    refused = operator.fail(3, "promote", team.first)
    assert team.first in refused["message"]
    assert team.second in refused["message"]
    assert heads(operator) == [(1, "promote", team.second)]
    assert operator.run("promote", team.first, "--allow-older")["version"] == team.first


def test_slow_ci_job_is_told_apart_without_a_clone_too(team: Team, operator: Operator, tmp_path: Path) -> None:
    elsewhere = Operator(tmp_path, operator.store_url, {**operator.options, "DAGFERRY_BUNDLE": "etl"})
    promote(elsewhere, team.second)
    elsewhere.fail(3, "promote", team.first)
    assert promote(elsewhere, team.third)["generation"] == 2


def test_diverged_history_is_refused(team: Team, operator: Operator) -> None:
    promote(operator, team.second)
    refused = operator.fail(3, "promote", team.aside)
    assert team.aside in refused["message"]
    assert heads(operator) == [(1, "promote", team.second)]


def test_abbreviated_commit_names_a_version(team: Team, operator: Operator) -> None:
    assert promote(operator, team.commits[0][:8])["version"] == team.first
    assert promote(operator, team.commits[1])["version"] == team.second
    assert operator.run("show", team.commits[1][:12])["commit"] == team.commits[1]


def test_unknown_version_suggests_near_matches(team: Team, operator: Operator) -> None:
    mistyped = team.second[:-1] + ("0" if team.second[-1] != "0" else "1")
    refused = operator.fail(2, "promote", mistyped)
    assert mistyped in refused["message"]
    assert team.second in refused["hint"]


def test_dry_run_of_promote_and_rollback_writes_nothing(team: Team, operator: Operator) -> None:
    assert operator.run("promote", team.first, "--dry-run")["version"] == team.first
    operator.fail(2, "log")
    promote(operator, team.first, team.second)
    before = heads(operator)
    assert operator.run("promote", team.third, "--dry-run")["changed"] is True
    assert operator.run("rollback", "--dry-run")["version"] == team.first
    operator.run("hold", "--dry-run")
    assert heads(operator) == before
    assert operator.run("status")["hold"] is None


def test_dry_run_of_publish_and_ship_writes_nothing(store_url: str, tmp_path: Path) -> None:
    repository = Repository(tmp_path / "clone", config='[bundles.dry]\nroot = "dags"\n')
    repository.change({"dags/a.py": "A = 1\n"})
    operator = Operator(repository.path, store_url).on("prod")
    assert operator.run("publish", "--dry-run")["created"] is True
    operator.run("ship", "--dry-run")
    assert operator.run("versions")["versions"] == []
    assert operator.run("channels")["channels"] == []


def test_several_bundles_in_one_config_are_chosen_by_name(store_url: str, tmp_path: Path) -> None:
    config = '[bundles.sales]\nroot = "sales/dags"\n[bundles.hr]\nroot = "hr/dags"\n'
    repository = Repository(tmp_path / "clone", config=config)
    repository.change({"sales/dags/a.py": "SALES = 1\n", "hr/dags/b.py": "HR = 1\n"})
    operator = Operator(repository.path, store_url).on("prod")
    refused = operator.fail(2, "publish")
    assert "sales" in refused["message"] + refused["hint"]
    assert "hr" in refused["message"] + refused["hint"]
    for bundle, root in (("sales", "sales/dags"), ("hr", "hr/dags")):
        operator.run("ship", "--bundle", bundle)
        pod = Pod(tmp_path / bundle, store_url, "prod", bundle)
        pod.pull()
        assert pod.live() == repository.content(root=root)


def test_log_tells_who_did_what_when_and_why(team: Team, operator: Operator) -> None:
    operator.run("promote", team.first, "--reason", "release day", env={"GITHUB_ACTOR": "ada"})
    operator.run("hold", "--reason", "audit", env={"GITHUB_ACTOR": "bob"})
    hold, first = operator.run("log")["records"]
    assert (first["generation"], first["action"], first["version"]) == (1, "promote", team.first)
    assert (first["actor"], first["reason"]) == ("ada", "release day")
    assert (hold["actor"], hold["action"], hold["reason"]) == ("bob", "hold", "audit")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", first["issued"])


def test_diff_names_added_removed_and_changed_files(team: Team, operator: Operator) -> None:
    promote(operator, team.first)
    told = operator.run("diff", f"channel:{operator.options['DAGFERRY_CHANNEL']}", team.second)
    assert told["files"] == {"added": ["hourly.py"], "removed": [], "changed": ["daily.py"]}
    assert operator.run("diff", team.second, team.third)["files"]["removed"] == ["hourly.py"]


# --- back again


def test_rollback_takes_the_agent_back(team: Team, operator: Operator, pod: Pod, start: Start) -> None:
    promote(operator, team.first, team.second)
    agent = start()
    agent.wait_until_ready()
    back = operator.run("rollback")
    assert (back["version"], back["previous"], back["generation"]) == (team.first, team.second, 3)
    assert back["changed"] is True
    operator.run("notify", f"--agents={agent.url}", f"--token-file={agent.token_file}")
    status = agent.status()
    assert (status["version"], status["previous"], status["generation"]) == (team.first, team.second, 3)
    assert pod.live() == team.repository.content(team.commits[0])


def test_rollback_to_a_release_that_is_still_on_the_pod_reads_the_head_alone(
    team: Team, operator: Operator, pod: Pod
) -> None:
    promote(operator, team.first)
    pod.pull()
    promote(operator, team.second)
    assert pod.pull()["requests"] == 3
    operator.run("rollback")
    reply = pod.pull()
    assert (reply["changed"], reply["requests"]) == (True, 1)
    assert pod.live() == team.repository.content(team.commits[0])


def test_rollback_gives_what_changed_a_fresh_mtime_so_that_airflow_parses_it_again(
    team: Team, operator: Operator, pod: Pod
) -> None:
    promote(operator, team.first)
    pod.pull()
    promote(operator, team.second)
    pod.pull()
    later = (pod.current / "daily.py").stat().st_mtime
    same = (pod.current / "common/names.py").stat().st_mtime_ns
    operator.run("rollback")
    pod.pull()
    assert int((pod.current / "daily.py").stat().st_mtime) != int(later)
    assert (pod.current / "common/names.py").stat().st_mtime_ns == same


def test_rollback_holds_the_channel_until_resumed(team: Team, operator: Operator) -> None:
    promote(operator, team.first, team.second)
    back = operator.run("rollback", "--reason", "late data", env={"GITHUB_ACTOR": "ada"})
    assert (back["hold"]["by"], back["hold"]["reason"]) == ("ada", "late data")
    refused = operator.fail(3, "promote", team.third)
    assert "ada" in refused["message"]
    assert "late data" in refused["message"]
    assert "resume" in refused["hint"]
    assert operator.run("resume")["hold"] is None
    assert promote(operator, team.third)["version"] == team.third


def test_next_merge_does_not_undo_a_rollback(team: Team, operator: Operator, pod: Pod, start: Start) -> None:
    promote(operator, team.first, team.second)
    operator.run("rollback")
    agent = start()
    agent.wait_until_ready()
    access = (f"--agents={agent.url}", f"--token-file={agent.token_file}")
    operator.fail(3, "ship", "--rev", team.commits[2], *access)
    agent.pull()
    assert pod.live() == team.repository.content(team.commits[0])
    assert heads(operator)[0] == (3, "rollback", team.first)


def test_ship_on_a_held_channel_fails_or_skips(team: Team, operator: Operator) -> None:
    promote(operator, team.first)
    operator.run("hold", "--reason", "freeze")
    held = operator.outcome("ship", "--rev", team.commits[1], expect=3).document
    assert (held["error"]["code"], held["created"]) == ("held", False)
    skipped = operator.ship(team.commits[1], "--on-hold=skip")
    assert (skipped["version"], skipped["changed"], skipped["generation"]) == (team.first, False, 2)
    assert skipped["hold"]["reason"] == "freeze"
    assert heads(operator)[0] == (2, "hold", team.first)


def test_ship_whose_promotion_is_refused_says_what_it_has_published(team: Team, operator: Operator) -> None:
    promote(operator, team.first)
    operator.run("hold", "--reason", "freeze")
    commit = team.repository.change({"dags/held.py": "HELD = 1\n"})
    held = operator.outcome("ship", "--rev", commit, expect=3).document
    assert (held["error"]["code"], held["created"], held["dry_run"]) == ("held", True, False)
    assert operator.run("show", str(held["published"]))["commit"] == commit
    operator.run("resume")
    operator.ship(commit)
    older = operator.outcome("ship", "--rev", team.commits[1], expect=3).document
    assert (older["error"]["code"], older["created"]) == ("older_commit", False)
    assert operator.run("show", str(older["published"]))["commit"] == team.commits[1]


def test_promote_of_the_live_version_succeeds_on_a_held_channel(team: Team, operator: Operator) -> None:
    promote(operator, team.first)
    operator.run("hold")
    again = promote(operator, team.first)
    assert (again["changed"], again["generation"]) == (False, 2)
    assert again["hold"]


def test_resume_lets_the_next_merge_through(team: Team, operator: Operator) -> None:
    promote(operator, team.first)
    held = operator.run("hold")
    assert (held["generation"], held["version"], held["changed"]) == (2, team.first, False)
    resumed = operator.run("resume")
    assert (resumed["generation"], resumed["hold"]) == (3, None)
    assert operator.ship(team.commits[1])["version"] == team.second


def test_rollback_without_a_hold_lets_the_next_merge_through(team: Team, operator: Operator) -> None:
    promote(operator, team.first, team.second)
    assert operator.run("rollback", "--no-hold")["hold"] is None
    assert promote(operator, team.third)["version"] == team.third


def test_second_rollback_needs_to_and_lists_candidates(team: Team, operator: Operator) -> None:
    promote(operator, team.first, team.second, team.third)
    operator.run("rollback")
    refused = operator.fail(3, "rollback")
    assert team.first in refused["message"] + refused["hint"]
    assert team.third not in refused["hint"]
    assert heads(operator)[0] == (4, "rollback", team.second)
    back = operator.run("rollback", "--to", team.first)
    assert (back["version"], back["previous"], back["generation"]) == (team.first, team.second, 5)


def test_rollback_from_refuses_if_another_version_is_live(team: Team, operator: Operator) -> None:
    promote(operator, team.first, team.second)
    refused = operator.fail(3, "rollback", "--from", team.first)
    assert team.second in refused["message"]
    assert heads(operator)[0] == (2, "promote", team.second)
    assert operator.run("rollback", "--from", team.commits[1][:10])["version"] == team.first


def test_rollback_with_nothing_before_says_so(team: Team, operator: Operator) -> None:
    promote(operator, team.first)
    operator.fail(2, "rollback")
    operator.fail(2, "rollback", "--to", team.second)
    assert heads(operator) == [(1, "promote", team.first)]


def test_rollback_is_a_new_generation_that_names_an_older_version(team: Team, operator: Operator) -> None:
    promote(operator, team.first, team.second)
    operator.run("rollback")
    assert heads(operator) == [(3, "rollback", team.first), (2, "promote", team.second), (1, "promote", team.first)]


# --- on the pod


def test_live_folder_holds_read_only_files_behind_a_relative_link(team: Team, operator: Operator, pod: Pod) -> None:
    promote(operator, team.first)
    reply = pod.pull()
    target = str(pod.current.readlink())
    assert target == "releases/" + reply["tree"].removeprefix("sha256:")[:16]
    modes: dict[str, set[int]] = {}
    for path in (pod.root / target).rglob("*"):
        kind = "folder" if path.is_dir() else "executable" if path.name == "tool.sh" else "file"
        modes.setdefault(kind, set()).add(stat.S_IMODE(path.stat().st_mode))
    assert modes == {"folder": {0o755}, "executable": {0o555}, "file": {0o444}}
    moved = pod.root.with_name("mounted-elsewhere")
    pod.root.rename(moved)
    assert content_of(moved / "current") == team.repository.content(team.commits[0])


def test_unchanged_files_are_hard_links_and_keep_their_mtime(team: Team, operator: Operator, pod: Pod) -> None:
    promote(operator, team.first)
    pod.pull()
    before = {path: (pod.current / path).stat() for path in pod.live()}
    promote(operator, team.second)
    reply = pod.pull()
    unchanged = set(before) - {"daily.py"}
    for path in unchanged:
        now = (pod.current / path).stat()
        assert (now.st_ino, now.st_mtime_ns) == (before[path].st_ino, before[path].st_mtime_ns), path
    assert reply["files_linked"] == len(unchanged)


def test_changed_files_get_a_fresh_mtime(team: Team, operator: Operator, pod: Pod) -> None:
    promote(operator, team.first)
    pod.pull()
    old = (pod.current / "daily.py").stat()
    began = time.time()
    promote(operator, team.second)
    pod.pull()
    operator.run("rollback")
    pod.pull()
    operator.run("resume")
    promote(operator, team.third)
    pod.pull()
    new = (pod.current / "daily.py").stat()
    assert new.st_ino != old.st_ino
    # Each of three switches moves it on by a whole second at the least.
    assert began - 2 < new.st_mtime < time.time() + 4


def test_an_edited_file_of_a_release_never_spreads(team: Team, operator: Operator, pod: Pod) -> None:
    promote(operator, team.first)
    pod.pull()
    edit(pod.current / "common/names.py")
    promote(operator, team.second)
    pod.pull()
    assert pod.live() == team.repository.content(team.commits[1])


def test_releases_are_immutable(team: Team, operator: Operator, pod: Pod) -> None:
    promote(operator, team.first)
    pod.pull()
    first = pod.current.resolve()
    before = snapshot(first)
    for version in (team.second, team.third):
        promote(operator, version)
        pod.pull()
    assert pod.current.resolve() != first
    assert snapshot(first) == before
    assert content_of(first) == team.repository.content(team.commits[0])


def snapshot(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Inode, mode and mtime of all below a folder."""
    return {
        str(path.relative_to(folder)): (path.stat().st_ino, path.stat().st_mode, path.stat().st_mtime_ns)
        for path in folder.rglob("*")
    }


def test_pycache_that_airflow_wrote_is_neither_drift_nor_delivered(team: Team, operator: Operator, pod: Pod) -> None:
    promote(operator, team.first)
    pod.pull()
    cache = pod.current / "common/__pycache__"
    cache.mkdir()
    (cache / "names.cpython-311.pyc").write_bytes(b"\0compiled")
    assert pod.run("status")["drift"] == []
    promote(operator, team.second)
    assert pod.pull()["changed"] is True
    assert pod.live() == team.repository.content(team.commits[1])


def test_drift_of_the_live_release_is_named(team: Team, operator: Operator, pod: Pod) -> None:
    promote(operator, team.first)
    pod.pull()
    edit(pod.current / "daily.py")
    assert pod.run("status")["drift"] == ["daily.py"]


def test_damaged_live_release_is_not_ready_and_the_next_pull_mends_it(
    team: Team, operator: Operator, pod: Pod, start: Start
) -> None:
    promote(operator, team.first)
    pod.pull()
    edit(pod.current / "daily.py")
    agent = start(on=Pod(pod.root, away(pod.store_url), pod.channel))
    assert agent.status()["drift"] == ["daily.py"]
    assert not agent.ready()[0]
    agent.stop()
    pod.pull()
    assert pod.live() == team.repository.content(team.commits[0])


def edit(path: Path) -> None:
    """What someone with too many rights does on a pod."""
    path.chmod(0o644)
    path.write_text("EDITED = True\n")


def test_current_is_never_absent_or_mixed_while_versions_change(
    team: Team, operator: Operator, pod: Pod, start: Start
) -> None:
    promote(operator, team.first)
    agent = start(poll_seconds=0.1)
    agent.wait_until_ready()
    allowed = [team.repository.content(commit) for commit in team.commits[:2]]
    seen: list[Content] = []
    ended = threading.Event()

    def read() -> None:
        while not ended.is_set():
            seen.append(content_of(pod.current.resolve(strict=True)))

    with ThreadPoolExecutor(1) as pool:
        reader = pool.submit(read)
        try:
            promote(operator, team.second)
            wait_for(lambda: agent.serves(team.second) or None, "the second version")
            operator.run("rollback")
            wait_for(lambda: agent.serves(team.first) or None, "the first version")
        finally:
            ended.set()
        reader.result(PATIENCE)
    assert all(one in allowed for one in seen)


def test_agent_restart_keeps_the_live_release_without_the_store(
    team: Team, operator: Operator, pod: Pod, start: Start
) -> None:
    promote(operator, team.first)
    pod.pull()
    nowhere = Pod(pod.root, away(pod.store_url), pod.channel)
    agent = start(on=nowhere)
    agent.wait_until_ready()
    assert agent.status()["version"] == team.first
    assert pod.live() == team.repository.content(team.commits[0])


def test_status_from_disk_alone_agrees_with_the_running_agent(
    team: Team, operator: Operator, pod: Pod, start: Start
) -> None:
    promote(operator, team.first)
    agent = start()
    agent.wait_until_ready()
    asked = agent.status()
    for name in ("bundle", "channel", "generation", "version", "tree", "since", "previous", "pinned", "releases"):
        assert name in asked
        assert pod.run("status")[name] == asked[name] if name in ("version", "tree") else True
    assert (asked["agent_id"], asked["version"], asked["generation"]) == ("pod-1", team.first, 1)
    assert (asked["pinned"], asked["last_error"], asked["drift"]) == (None, None, [])
    assert [one["live"] for one in asked["releases"]] == [True]


def test_ready_and_healthy_say_what_is_live(team: Team, operator: Operator, start: Start) -> None:
    agent = start()
    ready, _ = agent.ready()
    assert not ready
    assert requests.get(f"{agent.url}/healthz", timeout=PATIENCE).status_code == 200
    promote(operator, team.first)
    agent.pull()
    ready, body = agent.ready()
    assert ready
    assert body["version"] == team.first
    assert "stale_seconds" in body


def test_sigterm_ends_the_agent_within_five_seconds(team: Team, operator: Operator, pod: Pod, start: Start) -> None:
    promote(operator, team.first)
    agent = start(poll_seconds=0.1)
    agent.wait_until_ready()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(agent.post, {"expect_generation": 99, "wait_seconds": 60})
        wait_for(lambda: waiting.running() or None, "a waiting request")
        began = time.monotonic()
        assert agent.stop() == 0
        assert time.monotonic() - began < 5
        with suppress(requests.ConnectionError):  # if it had not been accepted yet
            assert waiting.result(PATIENCE).status_code == 503
    assert pod.live() == team.repository.content(team.commits[0])
    assert list((pod.root / "staging").iterdir()) == []


def test_agent_killed_at_any_moment_leaves_a_whole_release(
    team: Team, operator: Operator, pod: Pod, start: Start
) -> None:
    promote(operator, team.first)
    pod.pull()
    promote(operator, team.second)
    agent = start(poll_seconds=0.1)
    agent.process.kill()
    agent.process.wait()
    assert pod.live() in [team.repository.content(commit) for commit in team.commits[:2]]
    assert pod.pull()["version"] == team.second
    assert pod.live() == team.repository.content(team.commits[1])


# --- the endpoint


def test_pull_without_a_token_is_401(team: Team, operator: Operator, start: Start) -> None:
    promote(operator, team.first)
    agent = start()
    for headers in ({}, {"Authorization": "Basic YTpi"}, {"Authorization": "Bearer"}):
        reply = requests.post(f"{agent.url}/v1/pull", headers=headers, timeout=PATIENCE)
        assert (reply.status_code, reply.headers["WWW-Authenticate"]) == (401, "Bearer")
        assert reply.json()["error"]["code"]
    assert requests.get(f"{agent.url}/v1/status", timeout=PATIENCE).status_code == 401
    assert agent.post(token="dft_" + "B" * 43).status_code == 401


def test_wrong_token_is_401_before_the_body_is_read(start: Start) -> None:
    address = urlsplit(start().url)
    with socket.create_connection((address.hostname, address.port), timeout=PATIENCE) as connection:
        connection.sendall(
            b"POST /v1/pull HTTP/1.1\r\nHost: agent\r\nAuthorization: Bearer wrong\r\n"
            b"Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
        )
        assert connection.recv(64).startswith(b"HTTP/1.1 401 ")


def test_missing_tokens_file_means_503_and_never_an_open_endpoint(
    team: Team, operator: Operator, pod: Pod, start: Start
) -> None:
    promote(operator, team.first)
    agent = start(tokens_file=pod.root.with_name("no-such-file.json"), poll_seconds=0.2)
    agent.wait_until_ready()
    assert agent.post().status_code == 503
    assert requests.get(f"{agent.url}/v1/status", timeout=PATIENCE).status_code == 503
    promote(operator, team.second)
    wait_for(lambda: pod.live() == team.repository.content(team.commits[1]) or None, "polling to go on")


def test_request_with_a_url_field_is_refused(team: Team, operator: Operator, pod: Pod, start: Start) -> None:
    promote(operator, team.first)
    agent = start()
    agent.wait_until_ready()
    for field, value in (("url", "file:///etc"), ("version", team.second), ("path", "/"), ("bucket", "b")):
        reply = agent.post({field: value})
        assert (reply.status_code, reply.json()["error"]["code"]) == (422, "invalid_field")
    assert pod.live() == team.repository.content(team.commits[0])


def test_expected_generation_is_waited_for(team: Team, operator: Operator, start: Start) -> None:
    promote(operator, team.first)
    agent = start()
    reply = agent.post({"expect_generation": 2, "wait_seconds": 0.3})
    assert reply.status_code == 202
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(agent.pull, expect_generation=2, wait_seconds=PATIENCE)
        promote(operator, team.second)
        assert waiting.result(PATIENCE)["generation"] == 2


def test_newer_generation_than_the_expected_one_is_success(team: Team, operator: Operator, start: Start) -> None:
    promote(operator, team.first, team.second)
    assert start().pull(expect_generation=1)["generation"] == 2


def test_concurrent_pulls_are_one(team: Team, operator: Operator, pod: Pod, start: Start) -> None:
    promote(operator, team.first)
    agent = start()
    agent.wait_until_ready()
    promote(operator, team.second)
    with ThreadPoolExecutor(12) as pool:
        replies = list(pool.map(lambda _: agent.pull(expect_generation=2), range(12)))
    pulls = {str(reply) for reply in replies}
    assert {reply["version"] for reply in replies} == {team.second}
    assert len([one for one in pulls if "'changed': True" in one]) <= 1
    assert len(list((pod.root / "releases").iterdir())) == 2


def test_second_agent_on_one_root_does_not_disturb_the_first(
    team: Team, operator: Operator, pod: Pod, start: Start
) -> None:
    promote(operator, team.first)
    agent = start()
    agent.wait_until_ready()
    standby = start()
    standby.wait_until_ready()
    promote(operator, team.second)
    assert agent.pull(expect_generation=2)["version"] == team.second
    assert pod.live() == team.repository.content(team.commits[1])


def test_second_agent_takes_over_when_the_first_ends(team: Team, operator: Operator, pod: Pod, start: Start) -> None:
    promote(operator, team.first)
    agent = start()
    agent.wait_until_ready()
    standby = start(poll_seconds=0.2)
    agent.stop()
    promote(operator, team.second)
    wait_for(lambda: standby.serves(team.second) or None, "the standby to take over")
    assert pod.live() == team.repository.content(team.commits[1])


# --- options


def test_flag_wins_over_environment_and_environment_over_file(store_url: str, tmp_path: Path) -> None:
    config = 'channel = "from-file"\n[bundles.order]\nroot = "dags"\n'
    repository = Repository(tmp_path / "clone", config=config)
    repository.change({"dags/a.py": "A = 1\n"})
    operator = Operator(repository.path, store_url)
    assert operator.ship()["channel"] == "from-file"
    assert operator.run("ship", env={"DAGFERRY_CHANNEL": "from-environment"})["channel"] == "from-environment"
    told = operator.run("ship", "--channel", "from-flag", env={"DAGFERRY_CHANNEL": "from-environment"})
    assert told["channel"] == "from-flag"


def test_default_store_lies_beside_the_config_file_and_out_of_git(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "clone")
    repository.change({"dags/a.py": "A = 1\n"})
    Operator(repository.path / "dags", None).on("prod").ship()
    assert (repository.path / ".dagferry/store").is_dir()
    assert repository.git("status", "--porcelain") == ""


def test_config_may_live_in_pyproject_toml(store_url: str, tmp_path: Path) -> None:
    repository = Repository(tmp_path / "clone", config="")
    repository.change({"pyproject.toml": '[tool.dagferry.bundles.pyp]\nroot = "dags"\n', "dags/a.py": "A = 1\n"})
    assert Operator(repository.path, store_url).run("publish")["files"] == 1


def test_init_writes_a_config_that_works(store_url: str, tmp_path: Path) -> None:
    repository = Repository(tmp_path / "my-dags", config="")
    repository.change({"dags/a.py": "A = 1\n"})
    operator = Operator(repository.path, store_url)
    assert operator.run("init")["path"].endswith("dagferry.toml")
    repository.commit()
    assert operator.run("publish")["files"] == 1
    operator.fail(3, "init")


def test_store_is_probed_by_init_store(store_url: str, tmp_path: Path) -> None:
    told = Operator(tmp_path, store_url, {"DAGFERRY_BUNDLE": "probed"}).run("init-store")
    assert told["checks"]
    assert all(one["ok"] and one["name"] and isinstance(one["detail"], str) for one in told["checks"])


def test_text_output_goes_to_stdout_and_the_rest_to_stderr(team: Team, operator: Operator) -> None:
    promote(operator, team.first)
    outcome = operator.outcome("ship", "--rev", team.commits[1])
    assert outcome.document["version"] == team.second
    assert outcome.stderr


# --- local-only: these look into a store's directory


@pytest.mark.skipif(os.name != "posix", reason="renames a directory that is in use")
def test_agent_keeps_serving_while_the_store_is_away(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "clone")
    first = repository.change({"dags/a.py": "A = 1\n"})
    store = tmp_path / "store"
    operator = Operator(repository.path, str(store)).on("prod")
    operator.ship()
    pod = Pod(tmp_path / "pod", str(store), "prod")
    agent = Agent(pod)
    try:
        agent.wait_until_ready()
        store.rename(tmp_path / "away")
        reply = agent.post()
        assert (reply.status_code, "Retry-After" in reply.headers) == (503, True)
        assert agent.status()["last_error"]["code"] == "no_store"
        assert agent.ready()[0]
        assert pod.live() == repository.content(first)
        (tmp_path / "away").rename(store)
        repository.change({"dags/a.py": "A = 2\n"})
        operator.ship()
        assert agent.pull(expect_generation=2)["changed"] is True
        assert agent.status()["last_error"] is None
    finally:
        agent.stop()
    run("dagferry-agent", "pull", *Pod(tmp_path / "pod2", str(tmp_path / "no"), "prod").options, cwd=tmp_path, expect=4)


def test_local_store_is_not_written_by_a_dry_run(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "clone")
    repository.change({"dags/a.py": "A = 1\n"})
    store = tmp_path / "store"
    operator = Operator(repository.path, str(store)).on("prod")
    for command in (("publish",), ("ship",), ("init-store",)):
        operator.run(*command, "--dry-run")
    assert not store.exists()
