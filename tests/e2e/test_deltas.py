"""What changed goes live by what changed: deltas from the merge to the pod, by the commands and a running agent."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.harness import Agent, Operator, Pod, Repository, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FILES = 400


def text(number: int, word: str = "") -> str:
    lines = (hashlib.sha256(f"{number} {line}".encode()).hexdigest() for line in range(8))
    return "".join(f"# {line}\n" for line in lines) + word


class Desk:
    """A repository, a store, and an agent that serves its first version."""

    def __init__(self, folder: Path) -> None:
        self.repository = Repository(folder / "clone")
        self.store = (folder / "store").as_uri()
        self.operator = Operator(self.repository.path, self.store).on("prod")
        self.folder = folder
        self.pod = Pod(folder / "root", self.store, "prod")
        self.first = self.ship({f"team_{number % 20}/dag_{number}.py": text(number) for number in range(FILES)})
        self.agent = Agent(self.pod)
        self.agent.wait_until_ready()

    def ship(self, files: dict[str, str]) -> dict[str, Any]:
        self.commit = self.repository.change({f"dags/{path}": content for path, content in files.items()})
        return self.operator.ship("HEAD", "--no-lint")

    def prepared(self) -> None:
        """Wait until the next release is prepared."""

        def ready() -> bool | None:
            found = [path for path in (self.pod.root / "staging").iterdir() if path.name.startswith("next-")]
            return (len(found) == 1 and len(list(found[0].rglob("*.py"))) == FILES) or None

        wait_for(ready, "the next release to be prepared")

    def check(self) -> None:
        assert self.pod.live() == self.repository.content(self.commit)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.agent.stop()


def test_a_changed_file_takes_two_requests_and_few_bytes(desk: Desk) -> None:
    desk.check()
    desk.prepared()
    inodes = {path: path.stat().st_ino for path in desk.pod.current.resolve().rglob("*.py")}
    desk.ship({"team_7/dag_7.py": text(7, "x = 1\n")})
    reply = desk.agent.pull()
    assert (reply["changed"], reply["requests"]) == (True, 2)
    assert (reply["files_written"], reply["files_linked"]) == (1, FILES - 1)
    assert reply["bytes_fetched"] < 4096
    desk.check()
    after = {path: path.stat().st_ino for path in desk.pod.current.resolve().rglob("*.py")}
    assert len({*inodes.values()} & {*after.values()}) == FILES - 1
    assert (desk.folder / "root" / "staging").is_dir()


def test_a_second_change_at_once_and_a_third_later_come_the_same_way(desk: Desk) -> None:
    for number in range(3):
        desk.ship({f"team_{number}/dag_{number}.py": text(number, f"x = {number}\n")})
        assert desk.agent.pull()["requests"] == 2
        desk.check()
    assert desk.agent.status()["drift"] == []
    assert desk.agent.stop() == 0
    assert list((desk.pod.root / "staging").iterdir()) == []
    again = Agent(desk.pod)
    again.wait_until_ready()
    assert again.status()["drift"] == []
    again.stop()


def test_a_missed_promotion_is_caught_up_with_by_two_deltas(desk: Desk) -> None:
    desk.ship({"team_1/dag_1.py": text(1, "x = 1\n")})
    desk.ship({"team_2/dag_2.py": text(2, "x = 2\n")})
    reply = desk.agent.pull()
    assert (reply["requests"], reply["files_written"]) == (3, 2)
    desk.check()


def test_a_rollback_is_quick_and_verify_vouches_for_the_deltas(desk: Desk) -> None:
    desk.ship({"team_1/dag_1.py": text(1, "x = 1\n")})
    assert desk.agent.pull()["requests"] == 2
    checks = desk.operator.run("verify", "--channel", "prod")["checks"]
    assert [one["ok"] for one in checks if one["name"] == "delta"] == [True, True]
    desk.operator.run("rollback", "--reason", "bad")
    fresh = Pod(desk.folder / "other", desk.store, "prod")
    fresh.pull()
    reply = desk.agent.pull()
    assert (reply["version"], reply["changed"], reply["requests"]) == (desk.first["version"], True, 1), "it was kept"
    assert fresh.live() == desk.pod.live()


def test_what_an_agent_of_a_bundle_reads_is_whole_while_a_delta_is_all_that_is_told(desk: Desk) -> None:
    """Commands look at a release that came by a delta as at any other."""
    desk.ship({"team_1/dag_1.py": text(1, "x = 1\n"), "new/dag.py": "n = 1\n"})
    pod = Pod(desk.folder / "alone", desk.store, "prod")
    desk.operator.run("rollback")
    pod.pull()
    desk.operator.run("resume")
    desk.operator.run("promote", desk.commit)
    reply = pod.pull()
    assert reply["requests"] == 2
    assert any(path.suffix == ".change" for path in (pod.root / "lists").iterdir())
    assert pod.run("status")["drift"] == []
    assert pod.live() == desk.repository.content(desk.commit)
