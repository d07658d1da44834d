"""How far a long transfer is: on a terminal that somebody looks at, and nowhere else."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import termios
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.e2e.harness import BUNDLE, COMMANDS, Operator, Repository, environment
from tests.storage import servers
from tests.storage.faults import ALWAYS, Fault, Proxy

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

SIZE = 12_000_000
CONTENT = "dags.tar.zst"
SLOWLY = Fault("GET", times=ALWAYS, path=CONTENT, pause=0.15, piece=SIZE // 12)
HESITANT = Fault("PUT POST", times=ALWAYS, path=CONTENT, hesitate=0.25, piece=SIZE // 12)
NO_FAULT = Fault(times=0)
WIDE = 120
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass(frozen=True)
class Scene:
    """A repository with much in it, and two stores behind a proxy: one with its version, one without."""

    repository: Repository
    proxy: Proxy
    url: str
    empty_url: str
    version: str


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    repository = Repository(tmp_path_factory.mktemp("large") / "clone")
    repository.change({f"dags/{number}.bin": os.urandom(SIZE // 3) for number in range(3)})
    with servers.s3() as endpoint, Proxy(int(endpoint.rpartition(":")[2])) as proxy:
        urls = [f"s3://{servers.BUCKET}/{name}?endpoint={proxy.url}" for name in ("full", "empty")]
        operator = Operator(repository.path, urls[0])
        version = operator.publish()
        operator.run("promote", version, "--channel", "prod")
        yield Scene(repository, proxy, urls[0], urls[1], version)


@dataclass(frozen=True)
class Shown:
    """What a command printed, stderr being a terminal."""

    document: dict[str, object]
    terminal: str


def on_a_terminal(
    program: str, *arguments: str, cwd: Path, columns: int = WIDE, env: Mapping[str, str] | None = None
) -> Shown:
    """Run a command to its end, which has to be a good one, with a terminal for its stderr."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    seen = bytearray()

    def look() -> None:
        try:
            while piece := os.read(ours, 65536):
                seen.extend(piece)
        except OSError:  # Linux says so when the last process has left the terminal
            pass

    looking = threading.Thread(target=look)
    looking.start()
    try:
        with subprocess.Popen(
            [*COMMANDS[program], *arguments, "-o", "json"],
            cwd=cwd,
            env=environment(**{"TERM": "xterm", **(env or {})}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=theirs,
        ) as process:
            stdout, _ = process.communicate(timeout=60)
    finally:
        os.close(theirs)
        looking.join()
        os.close(ours)
    assert process.returncode == 0, (stdout, bytes(seen))
    return Shown(json.loads(stdout), seen.decode())


def is_shown(shown: Shown, action: str, what: str) -> None:
    """One line of the transfer, with size, percentage, time and bytes, that came to its end."""
    label = rf"{action} {re.escape(what)} \(12\.\d MB\)"
    assert re.search(label + r".* +\d+%  \d\d:\d\d:\d\d  \d+\.\d MB", shown.terminal), shown
    assert re.search(label + r".* 100%  12\.\d MB", shown.terminal), shown
    assert "Traceback" not in shown.terminal


def lines_of(shown: Shown) -> list[str]:
    """What stood on the line, one after the other."""
    return [ESCAPE.sub("", line) for line in re.split(r"[\r\n]+", shown.terminal)]


def is_not_shown(text: str) -> None:
    assert "loading" not in text
    assert "\x1b" not in text
    assert "\r" not in text.replace("\r\n", "\n")


def commands(scene: Scene, folder: Path) -> dict[str, tuple[str, ...]]:
    store = f"--store={scene.url}"
    pod = ("--bundle", BUNDLE, "--channel=prod", f"--root={folder / 'pod'}", "--agent-id=pod-1")
    return {
        "verify": ("dagferry", "verify", scene.version, store),
        "verify_channel": ("dagferry", "verify", "--channel=prod", store),
        "export": ("dagferry", "export", scene.version, f"--to={folder / 'out'}", store),
        "copy": ("dagferry", "copy", scene.version, f"--to-store={folder / 'copy'}", store),
        "pull": ("dagferry-agent", "pull", store, *pod),
    }


@pytest.mark.parametrize("command", ["verify", "verify_channel", "export", "copy", "pull"])
def test_slow_download_is_shown(command: str, scene: Scene, tmp_path: Path) -> None:
    scene.proxy.fault = SLOWLY
    shown = on_a_terminal(*commands(scene, tmp_path)[command], cwd=scene.repository.path)
    is_shown(shown, "downloading", BUNDLE if command == "pull" else f"{BUNDLE} {scene.version}")


@pytest.mark.parametrize("columns", [80, 60, 40])
def test_line_is_shorter_than_the_terminal_is_wide(columns: int, scene: Scene, tmp_path: Path) -> None:
    scene.proxy.fault = SLOWLY
    shown = on_a_terminal(*commands(scene, tmp_path)["verify"], cwd=scene.repository.path, columns=columns)
    lines = lines_of(shown)
    assert max(map(len, lines)) < columns, lines
    assert any(re.fullmatch(r"downloading.* \d+%  \d\d:\d\d:\d\d  \d+\.\d MB", line) for line in lines), lines
    assert shown.terminal.count("\n") == 1
    if columns > 40:
        named = rf"downloading {BUNDLE} ({re.escape(scene.version)}|\S*\.\.\.\S*{scene.version[-6:]}) "
        assert all(re.match(named, line) for line in lines if line), lines


def test_narrow_terminal_has_room_for_the_percentage(scene: Scene, tmp_path: Path) -> None:
    scene.proxy.fault = SLOWLY
    shown = on_a_terminal(*commands(scene, tmp_path)["verify"], cwd=scene.repository.path, columns=12)
    assert {line for line in lines_of(shown) if not re.fullmatch(r" *\d+%", line)} == {""}
    assert "100%" in shown.terminal


def test_terminal_that_does_not_tell_its_width_is_taken_for_80_columns(scene: Scene, tmp_path: Path) -> None:
    scene.proxy.fault = SLOWLY
    shown = on_a_terminal(*commands(scene, tmp_path)["verify"], cwd=scene.repository.path, columns=0)
    assert 40 < max(map(len, lines_of(shown))) < 80


@pytest.mark.parametrize("command", ["publish", "ship"])
def test_slow_upload_is_shown(command: str, scene: Scene) -> None:
    scene.proxy.fault = HESITANT
    url = scene.empty_url.replace("/empty", f"/{command}")
    env = {"DAGFERRY_STORE": url, "DAGFERRY_CHANNEL": "prod"}
    shown = on_a_terminal("dagferry", command, cwd=scene.repository.path, env=env)
    assert shown.document["created"] is True
    is_shown(shown, "uploading", f"{BUNDLE} {scene.version}")


@pytest.mark.parametrize("setting", [{"CI": "true"}, {"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_where_it_is_not_wanted_nothing_is_shown(setting: dict[str, str], scene: Scene, tmp_path: Path) -> None:
    scene.proxy.fault = SLOWLY
    is_not_shown(on_a_terminal(*commands(scene, tmp_path)["verify"], cwd=scene.repository.path, env=setting).terminal)


def test_what_is_over_at_once_is_not_shown(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "clone")
    repository.change({"dags/a.bin": os.urandom(1_500_000)})
    store = f"--store={tmp_path / 'store'}"
    published = on_a_terminal("dagferry", "publish", store, cwd=repository.path)
    verified = on_a_terminal("dagferry", "verify", str(published.document["version"]), store, cwd=repository.path)
    is_not_shown(published.terminal + verified.terminal)


def test_what_is_small_is_not_shown_however_long_it_takes(scene: Scene, tmp_path: Path) -> None:
    repository = Repository(tmp_path / "clone")
    repository.change({"dags/a.bin": os.urandom(900_000)})
    operator = Operator(repository.path, scene.url)
    scene.proxy.fault = NO_FAULT
    version = operator.publish()
    scene.proxy.fault = Fault("GET", times=ALWAYS, path=CONTENT, pause=0.3, piece=300_000)
    shown = on_a_terminal("dagferry", "verify", version, f"--store={scene.url}", cwd=repository.path)
    is_not_shown(shown.terminal)


def test_without_a_terminal_nothing_is_shown_and_the_result_is_the_same(scene: Scene, tmp_path: Path) -> None:
    scene.proxy.fault = SLOWLY
    program, *arguments = commands(scene, tmp_path)["verify"]
    done = subprocess.run(
        [*COMMANDS[program], *arguments, "-o", "json"],
        cwd=scene.repository.path,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    is_not_shown(done.stderr)
    shown = on_a_terminal(program, *arguments, cwd=scene.repository.path)
    assert json.loads(done.stdout) == shown.document
