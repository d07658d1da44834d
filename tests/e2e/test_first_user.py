"""What a first user ran into, kept from coming back."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.e2e.harness import BUNDLE, COMMANDS, Agent, Operator, Pod, Repository, environment, run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TWO = '[bundles.etl]\nroot = "dags"\n[bundles.reports]\nroot = "reports"\n'


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """A repository with two bundles."""
    made = Repository(tmp_path / "clone", config=TWO)
    made.change({"dags/a.py": "A = 1\n", "reports/r.py": "R = 1\n"})
    return made


@pytest.fixture
def two(repository: Repository, tmp_path: Path) -> Operator:
    """Its operator, after both bundles went live on prod."""
    operator = Operator(repository.path, (tmp_path / "store").as_uri(), {"DAGFERRY_CHANNEL": "prod"})
    for bundle in ("etl", "reports"):
        operator.run("ship", "--bundle", bundle)
    return operator


@pytest.fixture
def etl(two: Operator, tmp_path: Path) -> Iterator[Agent]:
    agent = Agent(Pod(tmp_path / "pod", str(two.store_url), "prod"))
    agent.wait_until_ready()
    yield agent
    agent.stop()


def test_an_agent_of_another_bundle_is_not_taken_for_one_that_serves_this(two: Operator, etl: Agent) -> None:
    asked = ("--agents", etl.url, "--token-file", str(etl.token_file), "--timeout", "5", "--bundle")
    refused = two.fail(4, "notify", *asked, "reports")
    assert "bundle 'etl'" in refused["message"]
    assert two.run("notify", *asked, "etl")["agents"][0]["ok"]
    shown = two.run("status", *asked, "reports")
    assert not shown["converged"]
    assert "etl" in shown["agents"][0]["problem"]


def test_a_root_belongs_to_one_bundle(two: Operator, tmp_path: Path) -> None:
    ours = Pod(tmp_path / "pod", str(two.store_url), "prod")
    before = ours.pull()["tree"]
    theirs = Pod(ours.root, ours.store_url, "prod", bundle="reports")
    assert theirs.fail_to_pull(3)["code"] == "other_bundle"
    assert ours.run("status")["tree"] == before


def test_agents_may_be_named_one_by_one(two: Operator, etl: Agent) -> None:
    shown = two.run("status", "--bundle", "etl", "--token-file", str(etl.token_file),
                    "--agents", etl.url, "--agents", "http://127.0.0.1:1")  # fmt: skip
    assert [row["url"] for row in shown["agents"]] == [etl.url, "http://127.0.0.1:1"]
    assert [row["agree"] for row in shown["agents"]] == [True, False]


def test_status_tells_why_an_agent_is_behind(repository: Repository, two: Operator, etl: Agent, tmp_path: Path) -> None:
    repository.change({"dags/a.py": "A = 2\n"})
    two.run("ship", "--bundle", "etl")
    for tarball in (tmp_path / "store/etl/trees").glob("*/dags.tar.zst"):
        tarball.write_bytes(tarball.read_bytes()[:-1])
    assert etl.post().status_code == 422
    row = two.run("status", "--bundle", "etl", "--agents", etl.url, "--token-file", str(etl.token_file))["agents"][0]
    assert row["last_error"]["code"] == "wrong_size"
    assert "wrong_size" in row["problem"]


def test_status_tells_which_agents_do_not_verify(two: Operator, etl: Agent) -> None:
    asked = ("--bundle=etl", f"--agents={etl.url}", f"--token-file={etl.token_file}", "--channel=prod")
    row = two.run("status", *asked)["agents"][0]
    verifies = "DAGFERRY_KEYRING" in environment()
    assert (row["agree"], row["verifying"], bool(row["signed_by"])) == (True, verifies, verifies)
    assert row["alarms"] == ([] if verifies else ["not_verifying"])
    text = subprocess.run(
        [*COMMANDS["dagferry"], "status", f"--store={two.store_url}", *asked],
        cwd=two.folder, env=environment(), capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert ("(not verifying)" in text) is not verifies


def test_status_tells_of_a_pull_that_failed_although_the_right_release_is_live(
    two: Operator, etl: Agent, tmp_path: Path
) -> None:
    head = tmp_path / "store/etl/channels/prod/head.json"
    before = head.read_bytes()
    head.write_bytes(b"{}")
    assert etl.post().status_code == 422
    head.write_bytes(before)
    asked = ("--bundle=etl", f"--agents={etl.url}", f"--token-file={etl.token_file}")
    row = two.run("status", *asked)["agents"][0]
    assert row["agree"]
    assert row["last_error"]["code"] == "malformed"


def test_an_agents_status_by_hand_says_only_what_it_knows(two: Operator, tmp_path: Path) -> None:
    pod = Pod(tmp_path / "pod", str(two.store_url), "prod")
    pod.pull()
    command = [*COMMANDS["dagferry-agent"], "status", *pod.options]
    text = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True).stdout
    if "DAGFERRY_AGENT_KEYRING" not in environment():
        assert "believes what nobody signed" in text
        return
    assert "signed by: " in text
    assert "keyring" not in text
    blind = environment(DAGFERRY_AGENT_KEYRING=None)
    text = subprocess.run(command, env=blind, capture_output=True, text=True, check=True).stdout
    assert "signed by: " in text
    assert "does not say whether these keys still count" in text


def test_a_dry_run_says_that_it_is_one(two: Operator, tmp_path: Path) -> None:
    elsewhere = {"DAGFERRY_STORE": str(tmp_path / "new")}
    said = two.outcome("ship", "--bundle", "etl", "--dry-run", env=elsewhere)
    assert said.document["dry_run"] is True
    assert not (tmp_path / "new").exists()
    done = subprocess.run(
        [*COMMANDS["dagferry"], "ship", "--bundle=etl", "--channel=prod", "--dry-run"],
        cwd=two.folder, env=environment(**elsewhere), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "would be live" in done.stdout
    assert "is live" not in done.stdout


def test_a_new_store_is_announced(two: Operator, tmp_path: Path) -> None:
    said = two.outcome("ship", "--bundle", "etl", env={"DAGFERRY_STORE": str(tmp_path / "mistyped")})
    assert "this is a new store" in said.stderr
    assert "new store" not in two.outcome("ship", "--bundle", "etl").stderr


def test_a_relative_store_is_relative_to_the_config_file(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "clone", config='store = "../shelf"\n[bundles.etl]\nroot = "dags"\n')
    repository.change({"dags/a.py": ""})
    operator = Operator(repository.path, None)
    operator.run("ship", "--channel", "prod")
    assert (tmp_path / "shelf" / BUNDLE / "store.json").exists()
    below = Operator(repository.path / "dags", None)
    assert below.run("status", "--channel", "prod")["generation"] == 1


def test_a_bundle_that_is_not_committed_yet_is_said_to_be_so(two: Operator) -> None:
    with (two.folder / "dagferry.toml").open("a") as file:
        file.write('[bundles.third]\nroot = "dags"\n')
    refused = two.fail(2, "version", "--bundle", "third")
    assert "not yet in commit" in refused["message"]
    assert "git commit" in refused["hint"]


def test_init_wants_a_repository_and_an_existing_root(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    assert run("dagferry", "init", cwd=tmp_path / "plain", expect=2).error["hint"]
    assert not (tmp_path / "plain/dagferry.toml").exists()
    repository = Repository(tmp_path / "clone", config="")
    repository.change({"services/etl/dags/a.py": "", "pyproject.toml": "[project]\nname = 'x'\n"})
    assert run("dagferry", "init", "--root", "nope", cwd=repository.path, expect=2).error
    assert run("dagferry", "init", "--root", "services/etl/dags", cwd=repository.path).document["root"]
    repository.commit()
    assert run("dagferry", "build", "--out", str(tmp_path / "out"), cwd=repository.path).document["files"] == 1


def test_init_does_not_shadow_a_config_that_is_there(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "clone", config="")
    repository.change({"pyproject.toml": "[tool.dagferry.bundles.etl]\nroot = '.'\n"})
    assert "pyproject.toml" in run("dagferry", "init", cwd=repository.path, expect=3).error["message"]


def test_a_second_hold_without_a_reason_keeps_the_first(two: Operator) -> None:
    two.run("hold", "--bundle", "etl", "--reason", "stock-taking")
    assert two.run("hold", "--bundle", "etl")["hold"]["reason"] == "stock-taking"
    assert two.run("hold", "--bundle", "etl", "--reason", "still")["hold"]["reason"] == "still"


def test_a_reason_that_is_too_long_is_wrong_usage(two: Operator) -> None:
    assert "4096" in two.fail(2, "hold", "--bundle", "etl", "--reason", "r" * 5000)["message"]
    assert two.run("status", "--bundle", "etl")["hold"] is None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_command_that_waits_for_a_silent_agent(two: Operator, number: signal.Signals) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        command = [*COMMANDS["dagferry"], "notify", "--bundle=etl", "--channel=prod", f"--store={two.store_url}"]
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        process = subprocess.Popen(
            [*command, "--agents", url], cwd=two.folder, env=environment(), stderr=subprocess.DEVNULL
        )
        silent.settimeout(30)
        connection, _ = silent.accept()
        with connection:
            began = time.monotonic()
            process.send_signal(number)
            assert process.wait(30) == (130 if number == signal.SIGINT else 143)
            assert time.monotonic() - began < 10, "it did not wait for the agent, which never answers"
