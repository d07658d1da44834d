"""`dagferry-agent` as a process: what it prints, how it ends, and what it does not load."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from dagferry_agent import cli
from dagferry_agent.tokens import allows, authenticate, parse_tokens
from dagferry_schemas.endpoint import AgentStatus

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

START = "from dagferry_agent.cli import main; main()"
MODULES = "import sys, atexit; atexit.register(lambda: print(*sorted(sys.modules), file=sys.stderr))\n"
NO_SERVER = "import sys; sys.modules['starlette'] = sys.modules['hypercorn'] = None\n"


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """The one document on stdout."""
        found: dict[str, Any] = json.loads(self.out)
        return found


def agent(*args: str, first: str = "", **variables: str) -> Ended:
    """Run the command with only these ``DAGFERRY_AGENT_…`` variables; ``first`` is Python that runs before."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DAGFERRY")}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    environment.update({f"DAGFERRY_AGENT_{name.upper()}": value for name, value in variables.items()})
    command = [sys.executable, "-c", first + START, *args]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30, env=environment, check=False)
    return Ended(ended.returncode, ended.stdout, ended.stderr)


@pytest.fixture
def here(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ended]:
    """As `agent`, in this process: for what ends before it begins."""

    def call(*args: str, **variables: str) -> Ended:
        for name in [name for name in os.environ if name.startswith("DAGFERRY")]:
            monkeypatch.delenv(name)
        for name, value in variables.items():
            monkeypatch.setenv(f"DAGFERRY_AGENT_{name.upper()}", value)
        return Ended(cli.run(args), *capfd.readouterr())

    return call


@pytest.fixture
def options(tmp_path: Path) -> list[str]:
    """What every command is told; the store is empty."""
    return [f"--store={tmp_path / 'store'}", "--bundle=etl", "--channel=prod", f"--root={tmp_path / 'root'}"]


def test_a_generated_entry_lets_its_token_in_and_does_not_hold_it(here: Callable[..., Ended]) -> None:
    made = here("tokens", "generate", "--id=ci", "-o", "json").document
    assert set(made) == {"token", "entry"}
    assert made["token"] not in json.dumps(made["entry"])
    entry = authenticate(
        parse_tokens(json.dumps([made["entry"]]).encode()), made["token"].encode(), "2026-11-05T00:00:00Z"
    )
    assert entry is not None
    assert entry.id == "ci"
    assert allows(entry, "pull", "etl", "prod")
    assert allows(entry, "status", "etl", "prod")


def test_generated_tokens_differ_and_their_scopes_can_be_narrowed(here: Callable[..., Ended]) -> None:
    first, second = (here("tokens", "generate", "--scope=pull:etl/*", "-o", "json").document for _ in range(2))
    assert first["token"] != second["token"]
    assert first["entry"]["id"] != second["entry"]["id"]
    assert first["entry"]["scopes"] == ["pull:etl/*"]


def test_a_token_as_text_shows_it_and_the_entry_on_lines_of_their_own(here: Callable[..., Ended]) -> None:
    lines = here("tokens", "generate").out.splitlines()
    assert lines[1].startswith("dft_")
    assert parse_tokens(f"[{lines[3]}]".encode())


@pytest.mark.parametrize(
    "wrong",
    [
        ["--scope=push"],
        ["--id=a b"],
        ["--nothing"],
    ],
)
def test_a_wrong_token_option_is_2_and_one_document(here: Callable[..., Ended], wrong: list[str]) -> None:
    ended = here("tokens", "generate", *wrong, "-o", "json")
    assert ended.code == 2
    assert ended.document["error"]["code"] == "usage"


@pytest.mark.parametrize(
    "wrong",
    [
        ["--listen=8470"],
        ["--listen=::1:80"],
        ["--listen=127.0.0.1:70000"],
        ["--bundle=a/b"],
        ["--agent-id=a b"],
        ["--poll-seconds=-1"],
        ["--poll-seconds=nan"],
        ["--grace-hours=inf"],
        ["--keep-releases=0"],
        ["--durability=maybe"],
        ["--label=zone"],
        ["--label=zone=a", "--label=zone=b"],
        ["--output=yaml"],
    ],
)
def test_a_wrong_option_is_2_and_names_itself(here: Callable[..., Ended], options: list[str], wrong: list[str]) -> None:
    ended = here("serve", *options, *wrong)
    assert ended.code == 2
    assert ended.out == ""
    named = wrong[0].removeprefix("--").partition("=")[0].partition("-")[0]
    assert named in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.parametrize("name", ["store", "bundle", "channel"])
@pytest.mark.parametrize("command", ["serve", "pull"])
def test_an_empty_place_is_2_and_says_where_it_is_empty(
    here: Callable[..., Ended], options: list[str], command: str, name: str
) -> None:
    assert f"the option --{name} is empty" in here(command, *options, f"--{name}=").err
    others = [one for one in options if not one.startswith(f"--{name}=")]
    ended = here(command, *others, **{name: ""})
    assert ended.code == 2
    assert f"the variable DAGFERRY_AGENT_{name.upper()} is empty" in ended.err


@pytest.mark.parametrize("command", ["serve", "pull", "status"])
def test_a_missing_option_is_2_and_one_document(here: Callable[..., Ended], command: str) -> None:
    ended = here(command, "-o", "json")
    assert ended.code == 2
    assert ("--root" if command == "status" else "--store") in ended.document["error"]["message"]


@pytest.mark.parametrize("args", [["-o", "json"], ["nothing", "-o", "json"], ["tokens", "--output=json"]])
def test_a_missing_or_unknown_command_is_2_and_one_document(here: Callable[..., Ended], args: list[str]) -> None:
    ended = here(*args)
    assert ended.code == 2
    assert ended.document["error"]["code"] == "usage"


def test_version_and_help(here: Callable[..., Ended]) -> None:
    assert here("--version").out.startswith("dagferry-agent ")
    assert "DAGFERRY_AGENT_POLL_SECONDS" in here("serve", "-h").out


def test_status_is_said_from_the_disk_alone(options: list[str]) -> None:
    ended = agent("status", *options, "--agent-id=pod-7", "-o", "json")
    assert ended.code == 0, ended.err
    found = AgentStatus.from_bytes(ended.out.encode())
    assert (found.agent_id, found.bundle, found.version) == ("pod-7", "etl", None)
    text = agent("status", *options, "--agent-id=pod-7")
    assert text.out.splitlines()[:2] == ["pod-7: bundle etl, channel prod", "live: nothing yet"]


def test_every_option_is_read_from_the_environment_and_the_command_line_wins(options: list[str]) -> None:
    variables = {"store": "s", "bundle": "ml", "channel": "dev", "agent_id": "pod-8", "root": "r", "output": "json"}
    found = agent("status", "--bundle=etl", **variables).document
    assert (found["agent_id"], found["bundle"], found["channel"]) == ("pod-8", "etl", "dev")


def test_the_environment_says_json_for_errors_too(here: Callable[..., Ended]) -> None:
    assert here("status", output="json").document["error"]["code"] == "usage"


@pytest.mark.parametrize("version", [[], ["--version=v1"]])
@pytest.mark.parametrize(("store_exists", "code"), [(False, 4), (True, 2)])
def test_a_pull_of_what_does_not_exist_is_one_document(
    tmp_path: Path, options: list[str], version: list[str], store_exists: bool, code: int
) -> None:
    if store_exists:
        (tmp_path / "store").mkdir()
    ended = agent("pull", *options, *version, "-o", "json")
    assert ended.code == code, ended.err
    assert set(ended.document["error"]) == {"code", "message", "hint"}


def test_a_version_that_cannot_be_one_is_2(here: Callable[..., Ended], options: list[str]) -> None:
    assert here("pull", *options, "--version=../etc").code == 2


def test_status_loads_no_server(options: list[str]) -> None:
    ended = agent("status", *options, first=MODULES)
    assert ended.code == 0
    loaded = {name.partition(".")[0] for name in ended.err.split()}
    assert "dagferry_agent" in loaded
    assert not loaded & {"asyncio", "hypercorn", "starlette", "anyio", "ssl", "http", "prometheus_client", "structlog"}


def test_without_the_server_packages_serve_says_what_to_install_and_the_rest_works(options: list[str]) -> None:
    ended = agent("serve", *options, "-o", "json", first=NO_SERVER)
    assert ended.code == 2
    assert ended.document["error"]["hint"] == "pip install 'dagferry[agent]'"
    assert agent("status", *options, first=NO_SERVER).code == 0
