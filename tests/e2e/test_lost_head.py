"""A channel whose head is lost, put back or nonsense: nothing goes on from there but `recover`, which holds."""

from __future__ import annotations

import base64
import json
import resource
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from .harness import BUNDLE, COMMANDS, Operator, Pod, Repository, environment

if TYPE_CHECKING:
    from pathlib import Path

MEMORY = 1_500_000_000


@dataclass
class Scene:
    """A channel that went from v1 to v2 to v3 and was rolled back to v2, which a pod serves."""

    operator: Operator
    pod: Pod
    channel: Path
    versions: list[str]

    @property
    def head(self) -> Path:
        return self.channel / "head.json"

    def log(self, generation: int) -> Path:
        return self.channel / "log" / f"{generation}.json"


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    repository = Repository(tmp_path / "clone")
    store = tmp_path / "store"
    operator = Operator(repository.path, store.as_uri()).on("prod")
    versions = []
    for number in range(3):
        repository.change({"dags/dag.py": f"x = {number}\n"})
        versions.append(str(operator.ship("HEAD", "--no-lint")["version"]))
    operator.run("rollback", "--reason", "v3 is bad")
    pod = Pod(tmp_path / "pod", store.as_uri(), "prod")
    assert pod.pull()["version"] == versions[1]
    repository.change({"dags/dag.py": "x = 4\n"})
    return Scene(operator, pod, store / BUNDLE / "channels" / "prod", versions)


@pytest.mark.parametrize("command", [("ship", "--no-lint"), ("ship", "--no-lint", "--dry-run"), ("promote",)])
def test_a_channel_with_a_log_is_not_begun_anew(scene: Scene, command: tuple[str, ...]) -> None:
    scene.head.unlink()
    arguments = (*command, scene.versions[0]) if command == ("promote",) else command
    error = scene.operator.fail(1, *arguments)
    assert error["code"] == "lost_head"
    assert "dagferry recover --channel prod" in error["hint"]
    assert not scene.head.exists()


@pytest.mark.parametrize("command", ["hold", "log", "refresh", "rollback"])
def test_what_is_said_of_a_lost_head_leads_to_recover(scene: Scene, command: str) -> None:
    scene.head.unlink()
    if command == "refresh" and not environment().get("DAGFERRY_SIGNER"):
        assert scene.operator.fail(2, command)["code"] == "no_signer"
        return
    assert scene.operator.fail(1, command)["code"] == "lost_head"


def test_a_channel_that_never_was_is_begun(scene: Scene) -> None:
    assert scene.operator.on("staging").run("promote", scene.versions[0])["generation"] == 1


def test_recovering_without_the_head_holds_the_channel(scene: Scene) -> None:
    """The rollback was in the head alone: what comes back is the bad version, so nobody builds on that unseen."""
    scene.head.unlink()
    outcome = scene.operator.outcome("recover")
    found = outcome.document
    assert (found["version"], found["generation"]) == (scene.versions[2], 4)
    assert "newest record" in found["hold"]["reason"]
    assert scene.versions[2] in outcome.stderr
    assert "rollback --to" in outcome.stderr
    assert scene.operator.fail(3, "ship", "--no-lint")["code"] == "held"
    assert scene.operator.run("rollback", "--to", scene.versions[1])["version"] == scene.versions[1]
    assert scene.pod.pull()["version"] == scene.versions[1]


def test_a_head_that_was_put_back_is_not_built_on(scene: Scene) -> None:
    scene.operator.run("resume")
    scene.operator.ship("HEAD", "--no-lint")
    scene.head.write_bytes(scene.log(3).read_bytes())
    for command in (("ship", "--no-lint"), ("hold",), ("rollback", "--to", scene.versions[0])):
        error = scene.operator.fail(1, *command)
        assert error["code"] == "went_back", command
        assert "dagferry recover --channel prod" in error["hint"]
    found = scene.operator.run("recover")
    assert found["generation"] == 6
    assert found["hold"] is not None
    assert scene.pod.pull()["generation"] == 6


def test_a_head_that_is_where_it_belongs_recovers_without_a_hold(scene: Scene) -> None:
    scene.operator.run("resume")
    assert scene.operator.run("recover")["hold"] is None


def test_a_head_beside_a_foreign_log_says_which_object_is_in_the_way(scene: Scene) -> None:
    scene.log(1).rename(scene.channel / "kept.json")
    scene.head.write_bytes((scene.channel / "kept.json").read_bytes().replace(b"\n", b" \n"))
    scene.log(1).write_bytes((scene.channel / "kept.json").read_bytes())
    error = scene.operator.fail(1, "recover")
    assert error["code"] == "forked_log"
    assert f"remove {BUNDLE}/channels/prod/head.json" in error["hint"]


def with_generation(stored: bytes, generation: int) -> bytes:
    envelope = json.loads(stored)
    record: dict[str, Any] = json.loads(base64.b64decode(envelope["payload"]))
    record["generation"] = generation
    record["previous"]["generation"] = generation - 1
    envelope["payload"] = base64.b64encode(json.dumps(record).encode()).decode()
    return json.dumps(envelope).encode()


@pytest.mark.parametrize(
    ("command", "code"),
    [(["log"], "broken_log"), (["rollback", "--dry-run"], "broken_log"), (["verify"], "verify_failed")],
)
def test_a_generation_that_nobody_reached_takes_no_memory(scene: Scene, command: list[str], code: str) -> None:
    scene.head.write_bytes(with_generation(scene.head.read_bytes(), 2**53 - 1))
    done = subprocess.run(
        [*COMMANDS["dagferry"], *command, "--channel=prod", f"--store={scene.operator.store_url}", "-o", "json"],
        cwd=scene.operator.folder,
        env=unsigned(),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY)),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1, done
    assert json.loads(done.stdout)["error"]["code"] == code
    assert "channels/prod/log/4.json" in done.stdout


def unsigned() -> dict[str, str]:
    """An environment in which the changed record, which nobody can sign anew, is believed."""
    dropped = ("DAGFERRY_SIGNER", "DAGFERRY_KEYRING", "DAGFERRY_AGENT_KEYRING")
    return {name: value for name, value in environment().items() if name not in dropped}


@pytest.mark.parametrize("days", ["nan", "inf", "1e9", "0", "-1"])
def test_days_that_are_no_time_are_wrong_usage(scene: Scene, days: str) -> None:
    assert scene.operator.fail(2, "hold", f"--expires-days={days}")["code"] == "usage"


@pytest.mark.parametrize("content", [None, "", "no certificate"])
def test_a_ca_file_that_cannot_be_used_is_found_before_anything_is_done(
    scene: Scene, tmp_path: Path, content: str | None
) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    scene.operator.run("resume")
    before = scene.head.read_bytes()
    arguments = ("ship", "--no-lint", "--agents=https://127.0.0.1:1", f"--ca-file={path}")
    error = scene.operator.fail(2, *arguments)
    assert str(path) in error["message"]
    assert scene.head.read_bytes() == before


@pytest.mark.parametrize("program", ["dagferry", "dagferry-agent"])
@pytest.mark.parametrize("how", ["option", "variable"])
def test_an_empty_keyring_is_no_way_to_believe_everything(scene: Scene, program: str, how: str) -> None:
    arguments = {
        "dagferry": ["versions", f"--store={scene.operator.store_url}"],
        "dagferry-agent": [
            "pull",
            *(
                f"--store={scene.operator.store_url}",
                f"--bundle={BUNDLE}",
                "--channel=prod",
                f"--root={scene.pod.root}",
            ),
        ],
    }[program]
    variable = {"dagferry": "DAGFERRY_KEYRING", "dagferry-agent": "DAGFERRY_AGENT_KEYRING"}[program]
    done = subprocess.run(
        [*COMMANDS[program], *arguments, *(["--keyring="] if how == "option" else [])],
        cwd=scene.operator.folder,
        env={**unsigned(), **({variable: ""} if how == "variable" else {})},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done
    assert "empty" in done.stderr
