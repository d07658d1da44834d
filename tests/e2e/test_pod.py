"""What one pod does by itself: releases activated by hand, agents that share a root, other users, little room."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
import requests

from .harness import BUNDLE, Agent, Pod, Repository, environment, run, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .conftest import Team

NOBODY, OTHER, GROUP = 65534, 12345, 54321
needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user, or mount")


@pytest.fixture
def pod(team: Team, tmp_path: Path, request: pytest.FixtureRequest) -> Pod:
    name = request.node.name.partition("[")[0][-50:].strip("_-.")
    return Pod(tmp_path / "root", str(team.operator.store_url), f"pod.{name}")


def activate(pod: Pod, *arguments: str, expect: int = 0) -> dict[str, object]:
    """Only the root is named, as somebody does who has a shell in the pod and no time."""
    done = run("dagferry-agent", "activate", f"--root={pod.root}", *arguments, cwd=pod.root.parent, expect=expect)
    return done.document if expect == 0 else dict(done.error)


def until(holds: Callable[[], bool], what: str) -> None:
    wait_for(lambda: holds() or None, what)


def promote(team: Team, pod: Pod, version: str) -> None:
    team.operator.run("promote", version, f"--channel={pod.channel}", "--allow-older")


def two_releases(team: Team, pod: Pod) -> None:
    for version in (team.first, team.second):
        promote(team, pod, version)
        pod.pull()


# --- by hand


def test_a_release_is_activated_with_the_store_gone_and_stays_until_the_channel_moves(team: Team, pod: Pod) -> None:
    two_releases(team, pod)
    reply = activate(pod, team.first)
    assert (reply["version"], reply["pinned"], reply["changed"], reply["requests"]) == (team.first, team.first, True, 0)
    assert pod.run("status")["pinned"] == team.first
    assert pod.pull()["version"] == team.first
    promote(team, pod, team.third)
    assert (pod.pull()["version"], pod.run("status")["pinned"]) == (team.third, None)


def test_a_pin_outlives_a_hold_which_moves_the_generation_alone(team: Team, pod: Pod) -> None:
    two_releases(team, pod)
    activate(pod, team.first)
    team.operator.run("hold", f"--channel={pod.channel}", "--reason=look into it")
    reply = pod.pull()
    assert (reply["version"], reply["pinned"]) == (team.first, team.first)


def test_resume_follows_the_channel_again(team: Team, pod: Pod) -> None:
    two_releases(team, pod)
    activate(pod, team.first)
    activate(pod, "--resume")
    assert pod.pull()["version"] == team.second
    assert activate(pod, "--resume", expect=2)["code"] == "not_pinned"


def test_a_commit_names_a_release_here_too(team: Team, pod: Pod) -> None:
    two_releases(team, pod)
    assert activate(pod, team.commits[0][:10])["version"] == team.first


def test_what_is_not_on_this_disk_is_refused_with_what_is(team: Team, pod: Pod) -> None:
    two_releases(team, pod)
    refused = activate(pod, team.third, expect=2)
    assert refused["code"] == "unknown_version"
    assert team.second in str(refused["hint"])
    assert pod.run("status")["version"] == team.second


def test_a_damaged_release_is_not_activated(team: Team, pod: Pod) -> None:
    two_releases(team, pod)
    (damaged,) = [one for one in (pod.root / "releases").iterdir() if one.name != pod.current.resolve().name]
    (damaged / "daily.py").unlink()
    refused = activate(pod, team.first, expect=1)
    assert "daily.py" in str(refused["message"])
    assert pod.run("status")["version"] == team.second


def test_activate_in_an_empty_folder_says_so(pod: Pod) -> None:
    pod.root.mkdir()
    assert "no agent has worked" in str(activate(pod, "v1", expect=2)["message"])
    assert activate(pod, expect=2)["code"] == "usage"


def test_activate_beside_a_running_agent_is_done_by_it(team: Team, pod: Pod) -> None:
    two_releases(team, pod)
    agent = Agent(pod, poll_seconds=0.2)
    try:
        until(lambda: agent.ready()[0] and (pod.root / "agent.sock").exists(), "an agent that listens in the pod")
        assert activate(pod, team.first)["pinned"] == team.first
        assert agent.status()["pinned"] == team.first
        assert agent.ready()[0]
        assert "by hand" in agent.log
        refused = agent.post({"expect_generation": 2, "wait_seconds": 10})
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "pinned")
        told = team.operator.outcome(
            "notify", f"--channel={pod.channel}", f"--agents={agent.url}", f"--token-file={agent.token_file}", expect=4
        )
        assert "--resume" in told.error["hint"]
        assert activate(pod, team.third, expect=2)["code"] == "unknown_version"
        activate(pod, "--resume")
        until(lambda: agent.serves(team.second), "the channel's version")
        assert agent.stop() == 0
        assert not (pod.root / "agent.sock").exists()
    finally:
        agent.process.kill()
        agent.process.wait()


def test_activate_finishes_the_pin_of_an_agent_that_was_killed(team: Team, pod: Pod) -> None:
    two_releases(team, pod)
    agent = Agent(pod)
    until(lambda: agent.ready()[0] and (pod.root / "agent.sock").exists(), "an agent that listens in the pod")
    agent.process.kill()
    agent.process.wait()
    assert activate(pod, team.first)["version"] == team.first  # its socket is still there, and nobody answers


# --- several agents of one root


def test_a_second_agent_stands_by_and_takes_over_without_a_gap(team: Team, pod: Pod) -> None:
    promote(team, pod, team.first)
    first = Agent(pod, poll_seconds=0.2)
    first.wait_until_ready()
    second = Agent(pod, poll_seconds=0.2)
    try:
        assert second.ready()[0]
        until(lambda: second.status()["role"] == "standby", "a standby")
        promote(team, pod, team.second)
        reply = second.pull(expect_generation=2, wait_seconds=15)
        assert (reply["version"], reply["changed"], reply["requests"]) == (team.second, False, 0)
        assert second.ready()[0]
        first.process.kill()
        first.process.wait()
        promote(team, pod, team.third)
        assert second.ready()[0]
        assert second.pull(expect_generation=3, wait_seconds=15)["version"] == team.third
        assert second.status()["role"] == "active"
        assert activate(pod, team.second)["version"] == team.second
        assert "taking over" in second.log
        assert second.stop() == 0
    finally:
        for agent in (first, second):
            agent.process.kill()
            agent.process.wait()


def test_a_standby_ends_in_time_though_it_waits_for_its_turn(team: Team, pod: Pod) -> None:
    promote(team, pod, team.first)
    first, second = Agent(pod), Agent(pod)
    try:
        assert second.stop() == 0
        assert first.stop() == 0
    finally:
        for agent in (first, second):
            agent.process.kill()
            agent.process.wait()


# --- other users


# Where Python itself is may be closed to other users: all is imported before the rights are given up.
AS_USER = """
import os, pkgutil, sys, importlib
import dagferry_agent, dagferry_schemas, dagferry_storage
for package in (dagferry_agent, dagferry_schemas, dagferry_storage):
    for module in pkgutil.iter_modules(package.__path__):
        if not module.name.startswith("airflow_"):  # for Airflow's processes, which have one
            importlib.import_module(f"{package.__name__}.{module.name}")
uid, group = map(int, sys.argv[1:3])
os.setgroups([group]); os.setgid(uid); os.setuid(uid)
sys.exit(dagferry_agent.cli.run(sys.argv[3:]))
"""


def as_user(uid: int, pod: Pod, command: str) -> dict[str, Any]:
    """One run of the agent as ``uid``, with the pod's group as Kubernetes' fsGroup gives it."""
    done = subprocess.run(
        [sys.executable, "-c", AS_USER, str(uid), str(GROUP), command, *pod.options, "-o", "json"],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return cast("dict[str, Any]", json.loads(done.stdout))


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody can reach; those of pytest are closed to other users."""
    with tempfile.TemporaryDirectory(prefix="dagferry-users-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@needs_root
@pytest.mark.parametrize("volume", ["fsGroup", "open to all"])
def test_init_container_and_sidecar_may_be_different_users(volume: str, open_folder: Path) -> None:
    repository = Repository(open_folder / "clone")
    versions = []
    for number in (1, 2, 3):
        repository.change({"dags/a.py": f"A = {number}\n", "dags/b.py": "B = 1\n", "dags/c/d.py": "D = 1\n"})
        store = f"file://{open_folder / 'open-store'}"
        done = run("dagferry", "publish", f"--store={store}", f"--bundle={BUNDLE}", cwd=repository.path)
        versions.append(done.document["version"])
    pod = Pod(open_folder / "volume", f"file://{open_folder / 'open-store'}", "prod")
    pod.root.mkdir()
    if volume == "fsGroup":
        os.chown(pod.root, 0, GROUP)
        pod.root.chmod(0o2775)
    else:
        pod.root.chmod(0o777)
    where = (f"--store={pod.store_url}", f"--bundle={BUNDLE}", "--channel=prod")

    def ship(version: str) -> None:
        run("dagferry", "promote", version, *where, cwd=repository.path)

    ship(versions[0])
    as_user(NOBODY, pod, "pull")
    ship(versions[1])
    times = {one: (pod.current / one).stat().st_mtime_ns for one in ("a.py", "b.py", "c/d.py")}
    reply = as_user(OTHER, pod, "pull")
    assert (reply["files_written"], reply["files_linked"], reply["files_copied"]) == (1, 0, 2)
    after = {one: (pod.current / one).stat().st_mtime_ns for one in times}
    assert {one for one in times if after[one] == times[one]} == {"b.py", "c/d.py"}
    ship(versions[2])
    reply = as_user(OTHER, pod, "pull")
    assert (reply["files_written"], reply["files_linked"], reply["files_copied"]) == (1, 2, 0)
    run("dagferry", "rollback", *where, f"--to={versions[0]}", cwd=repository.path)
    assert as_user(OTHER, pod, "pull")["version"] == versions[0]
    as_user(OTHER, pod, "status")


# --- little room


@contextmanager
def tmpfs(folder: Path, options: str) -> Iterator[Callable[[str], object]]:
    """A file system in memory at ``folder``; called, it changes its limits."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True)
    try:
        yield lambda more: subprocess.run(["mount", "-o", f"remount,{more}", str(folder)], check=True)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@needs_root
@pytest.mark.parametrize(
    ("options", "more", "missing"), [("size=64k", "size=8m", "bytes"), ("nr_inodes=24", "nr_inodes=900", "inodes")]
)
def test_a_release_without_room_is_refused_before_anything_is_written(
    options: str, more: str, missing: str, team: Team, tmp_path: Path
) -> None:
    repository = Repository(tmp_path / "clone")
    repository.change({f"dags/{number}.py": f"{number}\n" + "# long\n" * 300 for number in range(30)})
    version = run(
        "dagferry", "publish", f"--store={team.operator.store_url}", f"--bundle={BUNDLE}", cwd=repository.path
    )
    name = version.document["version"]
    where = (f"--store={team.operator.store_url}", f"--bundle={BUNDLE}", f"--channel=roomy-{missing}")
    run("dagferry", "promote", name, *where, cwd=repository.path)
    pod = Pod(tmp_path / "volume", str(team.operator.store_url), f"roomy-{missing}")
    with tmpfs(pod.root, options) as remount:
        refused = pod.fail_to_pull(5)
        assert refused["code"] == "no_room"
        assert missing in refused["message"]
        assert str(pod.root) in refused["message"]
        assert list((pod.root / "staging").iterdir()) == []
        remount(more)
        assert pod.pull()["version"] == name


def test_status_says_what_the_releases_take_and_what_is_left(team: Team, pod: Pod) -> None:
    two_releases(team, pod)
    agent = Agent(pod)
    try:
        agent.wait_until_ready()
        disk = agent.status()["disk"]
        inodes = {found.stat().st_ino for found in (pod.root / "releases").rglob("*")}
        assert disk["used_inodes"] == len(inodes)
        assert disk["used_bytes"] == sum(
            {found.stat().st_ino: found.stat().st_blocks * 512 for found in (pod.root / "releases").rglob("*")}.values()
        )
        assert disk["free_bytes"] > 0
    finally:
        assert agent.stop() == 0


# --- readers, and what a crash leaves


def test_a_release_stays_while_somebody_holds_its_lock(team: Team, pod: Pod) -> None:
    few = ("--keep-releases=1", "--grace-hours=0")
    promote(team, pod, team.first)
    pod.pull(*few)
    oldest = pod.current.resolve().name
    reader = subprocess.Popen(["flock", "--shared", str(pod.root / "locks" / oldest), "sleep", "60"])
    try:
        for version in (team.second, team.third):
            promote(team, pod, version)
            pod.pull(*few)
        assert (pod.root / "releases" / oldest).is_dir()
    finally:
        reader.kill()
        reader.wait()
        subprocess.run(["pkill", "-f", "sleep 60"], check=False)
    pod.pull(*few)
    assert not (pod.root / "releases" / oldest).exists()


def test_what_a_crash_left_is_gone_after_the_next_start(team: Team, pod: Pod) -> None:
    two_releases(team, pod)
    for left in ("staging/abc.123", ".current.77", ".state.json.77", "lists/.x.zst.1", f"lists/{'0' * 64}.zst"):
        (pod.root / left).write_text("left")
    pod.pull()
    names = {str(one.relative_to(pod.root)) for one in pod.root.rglob("*") if "releases/" not in str(one)}
    assert [name for name in names if re.search(r"abc|(^|/)\.|000000", name)] == []


def test_drift_is_seen_repaired_at_start_and_never_spreads(team: Team, pod: Pod) -> None:
    promote(team, pod, team.first)
    pod.pull()
    edited = pod.current / "common/names.py"
    edited.chmod(0o644)
    edited.write_text("TEAM = 'evil'\n")
    promote(team, pod, team.second)
    pod.pull()
    assert pod.live()["common/names.py"][1] == b"TEAM = 'etl'\n"
    shutil.rmtree(pod.current / "common")
    agent = Agent(pod)
    try:
        agent.wait_until_ready()
        assert agent.status()["drift"] == []
        assert (pod.current / "common/names.py").is_file()
    finally:
        agent.process.send_signal(signal.SIGTERM)
        agent.process.wait()


@pytest.mark.parametrize("heals", [False, True])
def test_an_edit_by_hand_is_seen_within_seconds_and_healed_if_asked_for(heals: bool, team: Team, pod: Pod) -> None:
    promote(team, pod, team.first)
    agent = Agent(pod, *(["--heal"] if heals else []), "--log-format=text")
    try:
        agent.wait_until_ready()
        until(lambda: agent.status()["watching"] == "inotify", "the kernel's watch")
        edited = pod.current / "common/names.py"
        inode = edited.stat().st_ino
        edited.chmod(0o644)
        edited.write_text("TEAM = 'edited'\n")
        until(lambda: "was edited" in agent.log, "the edit in the log")
        if heals:
            until(lambda: edited.read_text() == "TEAM = 'etl'\n", "the delivered file")
            assert edited.stat().st_ino != inode
            until(lambda: agent.status()["drift"] == [], "a status without drift")
        else:
            assert agent.status()["drift"] == ["common/names.py"]
            drifted = "dagferry_agent_drifted_files 1.0"
            until(lambda: drifted in requests.get(f"{agent.url}/metrics", timeout=10).text, "the edit in a metric")
            assert agent.ready()[0]
            agent.pull()
            assert edited.read_text() == "TEAM = 'edited'\n"
        assert agent.stop() == 0
    finally:
        agent.process.kill()
        agent.process.wait()
