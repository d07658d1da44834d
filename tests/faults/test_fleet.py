"""Twenty real agents, some behind networks of their own: killed, stalled, full, cut off and healed.

`ship` says of each what is so, the rest converge, and whoever comes back catches up by itself.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.e2e.harness import COMMANDS, Operator, Repository, environment, new_token, wait_for
from tests.storage import servers

from .networks import HERE, Behind, bridge, forwarded, need_networks
from .volumes import tmpfs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.faults

COUNT: Final = 20
BEHIND: Final = 4
KILLED, STALLED, FULL, CUT = 5, 7, 9, 0
"""Who is what; those below `BEHIND` are behind a network of their own."""


@dataclass
class Pods:
    """The agents' processes by number, where they are, and who ships to them."""

    operator: Operator
    repository: Repository
    reach: tuple[str, ...]
    urls: list[str]
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    places: list[Behind] = field(default_factory=list)

    def ship(self, *arguments: str, expect: int = 0) -> dict[str, Any]:
        done = self.operator.outcome("ship", "--no-lint", *self.reach, *arguments, expect=expect)
        return dict(done.document)

    def rows(self) -> dict[int, dict[str, Any]]:
        """What `status` says of each."""
        document = self.operator.run("status", "--timeout=3", *self.reach)
        return {self.urls.index(row["url"]): row for row in document["agents"]}

    def behind(self) -> set[int]:
        """Who does not agree with the channel."""
        return {number for number, row in self.rows().items() if not row["agree"]}


@pytest.fixture
def pods(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pods]:
    need_networks()
    for name, value in servers.CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    with ExitStack() as stack:
        name = stack.enter_context(bridge())
        endpoint = stack.enter_context(servers.s3())
        port = stack.enter_context(forwarded(int(endpoint.rpartition(":")[2])))
        here = f"s3://{servers.BUCKET}/fleet?endpoint={endpoint}"
        there = f"s3://{servers.BUCKET}/fleet?endpoint=http://{HERE}:{port}"
        repository = Repository(tmp_path / "clone")
        repository.change({f"dags/dag_{number}.py": f"N = {number}\n" for number in range(50)}, "first")
        operator = Operator(repository.path, here).on("prod")
        operator.run("ship", "--no-lint")
        token, entry = new_token()
        (tmp_path / "token").write_text(token)
        (tmp_path / "tokens.json").write_text(json.dumps([entry]))
        found = Pods(operator, repository, (), [])
        logs = []
        for number in range(COUNT):
            place = Behind(name, number) if number < BEHIND else None
            if place is not None:
                stack.callback(place.remove)
                found.places.append(place)
            root = tmp_path / f"pod-{number}"
            root.mkdir()
            if number == FULL:
                stack.enter_context(tmpfs(root, "size=3m"))
            logs.append(tmp_path / f"pod-{number}.log")
            found.processes.append(_start(stack, number, place, root, there if place else here, logs[-1]))
        found.urls = [wait_for(lambda log=log: _url(log), "an address") for log in logs]  # type: ignore[misc]
        found.reach = (f"--agents={','.join(found.urls)}", f"--token-file={tmp_path / 'token'}")
        wait_for(lambda: not found.behind() or None, "all to serve the first release", seconds=60)
        yield found


def _start(
    stack: ExitStack, number: int, place: Behind | None, root: Path, store: str, log: Path
) -> subprocess.Popen[bytes]:
    command = [
        *(place.command if place is not None else ()),
        *COMMANDS["dagferry-agent"],
        "serve",
        f"--store={store}",
        "--bundle=etl",
        "--channel=prod",
        f"--root={root / 'root'}",
        f"--agent-id=pod-{number:02}",
        f"--listen={place.address if place is not None else '127.0.0.1'}:0",
        "--poll-seconds=1",
        "--grace-hours=0",
        f"--tokens-file={root.parent / 'tokens.json'}",
    ]
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            command,
            cwd=root.parent,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
        )
    stack.callback(_end, process)
    return process


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGCONT)
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _url(log: Path) -> str | None:
    found = re.search(r"listening on (http://[0-9.]+:[0-9]+)", log.read_text())
    return found[1] if found else None


def test_ship_says_rightly_of_each_agent_how_it_is_and_the_rest_converge(pods: Pods) -> None:
    pods.processes[KILLED].kill()
    pods.processes[KILLED].wait()
    pods.processes[STALLED].send_signal(signal.SIGSTOP)
    pods.places[CUT].cut()
    pods.repository.write("dags/dag_1.py", "N = 'changed'\n")
    pods.repository.write("dags/weights.bin", os.urandom(4 * 1024 * 1024).hex())
    pods.repository.commit("second")
    document = pods.ship("--timeout=12", expect=4)
    answers = {pods.urls.index(one["url"]): one for one in document["agents"]}
    late = {number for number, one in answers.items() if not one["ok"]}
    assert late == {KILLED, STALLED, FULL, CUT}
    said = {number: answers[number]["error"] for number in late}
    assert said[KILLED] == "cannot be reached: no connection"
    assert said[STALLED] == "did not answer in time"
    assert "no_room" in said[FULL]
    assert said[CUT].startswith("cannot be reached: "), said
    assert {one["version"] for number, one in answers.items() if number not in late} == {document["version"]}
    for number in late:
        assert pods.urls[number] in document["error"]["message"]
    print("seconds:", sorted(one["seconds"] for number, one in answers.items() if number not in late))  # noqa: T201
    pods.places[CUT].heal()
    pods.processes[STALLED].send_signal(signal.SIGCONT)
    wait_for(lambda: pods.behind() == {KILLED, FULL} or None, "the healed ones to catch up", seconds=90)
    rows = pods.rows()
    assert rows[FULL]["version"] != document["version"], "what was live before still is"
    assert "no_room" in rows[FULL]["problem"]
    pods.repository.git("rm", "-q", "dags/weights.bin")
    pods.repository.commit("third, which is small again")
    pods.processes.pop(KILLED)
    document = pods.ship("--timeout=30", expect=4)
    answers = {pods.urls.index(one["url"]): one for one in document["agents"]}
    assert {number for number, one in answers.items() if not one["ok"]} == {KILLED}


def test_steps_pass_over_who_is_cut_off_and_it_catches_up(pods: Pods) -> None:
    pods.places[CUT].cut()
    pods.repository.change({"dags/dag_1.py": "N = 'changed'\n"}, "second")
    document = pods.ship("--canary=1", "--batch=50%", "--timeout=12", expect=4)
    steps = [step["targets"] for step in document["rollout"]["steps"]]
    assert [len(one) for one in steps] == [1, 11]
    assert not any(f"pod-{CUT:02}" in one for one in steps)
    late = [pods.urls.index(one["url"]) for one in document["agents"] if not one["ok"]]
    assert late == [CUT]
    pods.places[CUT].heal()
    wait_for(lambda: not pods.behind() or None, "the healed one to catch up", seconds=90)
