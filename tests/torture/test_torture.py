"""Readers of a root while it switches, is killed, and is taken over: what they may rely on, tried a thousand times.

The figures that are not asserted are printed: how often a reader that goes through the link sees two trees in one
round, and for how long.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
import requests

from tests.agent.shelf import BUNDLE, CHANNEL
from tests.e2e.harness import Agent, Pod, environment

from .switches import CHECKOUT, Publisher, reading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.torture
SEED = 20261122
MINIMUM = ("--keep-releases=1", "--grace-hours=0")
NOBODY = "nobody there"
FAULTS = ("missing", "mixed", "torn", "unlocked", "unreadable")


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Callable[[str, object], None]:
    """Prints figures, also where a test passes."""

    def say(what: str, found: object) -> None:
        with capsys.disabled():
            sys.stdout.write(f"\n{what}: {json.dumps(found)}\n")

    return say


@pytest.fixture
def shelf(tmp_path: Path) -> Publisher:
    (tmp_path / "store").mkdir()
    return Publisher(tmp_path / "store")


@pytest.fixture
def pod(tmp_path: Path, shelf: Publisher) -> Pod:
    shelf.promote(shelf.trees[0])
    return Pod(tmp_path / "root", str(tmp_path / "store"), CHANNEL, BUNDLE)


@pytest.fixture
def agents() -> Iterator[list[Agent]]:
    """The agents that a test has started; none of them outlives it."""
    started: list[Agent] = []
    yield started
    for agent in started:
        agent.process.kill()
        agent.process.wait()


def assert_no_fault(found: dict[str, Any]) -> None:
    """No reader missed a file; none that had resolved the link saw two trees, or a release that it could not hold."""
    for kind in ("resolved", "through_the_link"):
        seen = found[kind]
        assert seen["rounds"] > 0, found
        assert {fault: seen[fault] for fault in FAULTS if seen.get(fault)} == {}, seen["faults"]
    assert found["resolved"]["releases read"] > 0


def test_a_thousand_switches_with_kills_and_no_reader_misses_or_mixes_a_file(
    say: Callable[[str, object], None],
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.torture.switches", "--switches=1000", f"--seed={SEED}"],
        cwd=CHECKOUT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    say("a thousand switches", found)
    assert found["switches"] >= 1000
    assert found["kills"] >= 20
    assert found["deltas"] >= 100
    assert found["left"] == 2, "when nobody reads any more, what is live and what was live before are all that is left"
    assert_no_fault(found)


def test_a_real_agent_is_killed_while_others_read(
    pod: Pod, shelf: Publisher, agents: list[Agent], say: Callable[[str, object], None]
) -> None:
    chosen = random.Random(SEED)
    agents.append(Agent(pod, *MINIMUM, poll_seconds=0.1))
    agents[-1].wait_until_ready()
    kills = promotions = 0
    with reading(pod.root, SEED) as found:
        while promotions < 80:
            live = chosen.choice(shelf.trees)
            generation = shelf.promote(live).generation
            promotions += 1
            mortal = promotions % 10 == 0
            killer = threading.Timer(chosen.uniform(0.001, 0.04), agents[-1].process.kill)
            if mortal:
                killer.start()
            try:
                reply = agents[-1].pull(expect_generation=generation, wait_seconds=15)
                assert reply["version"] == live.version
            except requests.RequestException:
                assert mortal, agents[-1].log
            finally:
                killer.cancel() if not mortal else killer.join()
            if mortal:
                agents[-1].process.wait()
                kills += 1
                agents.append(Agent(pod, *MINIMUM, poll_seconds=0.1))
                assert agents[-1].pull(expect_generation=generation, wait_seconds=15)["version"] == live.version
    say("a real agent", {"promotions": promotions, "kills": kills, **found})
    assert_no_fault(found)
    assert [agent.stop() for agent in agents if agent.process.poll() is None] == [0]


class Polled:
    """Asks two agents in turn whether they are ready, all the time; ``gaps`` are the times when neither was."""

    def __init__(self, agents: list[Agent]) -> None:
        self.asked = 0
        self.gaps: list[list[str]] = []
        self._agents = agents
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask_on)

    def __enter__(self) -> Polled:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _ask_on(self) -> None:
        while not self._over.wait(0.002):
            said = []
            for agent in self._agents[-2:]:
                said.append(self._ask(agent))
                self.asked += 1
                if said[-1] == "ready":
                    break
            else:
                self.gaps.append(said)

    def _ask(self, agent: Agent) -> str:
        try:
            ready, said = agent.ready()
        except requests.RequestException:  # killed before or in the middle of its reply
            return NOBODY
        return "ready" if ready else json.dumps(said)


def test_two_agents_are_killed_in_turns_and_one_is_always_ready(
    pod: Pod, shelf: Publisher, agents: list[Agent], say: Callable[[str, object], None]
) -> None:
    chosen = random.Random(SEED)
    pair = [Agent(pod, *MINIMUM, poll_seconds=0.1) for _ in range(2)]
    agents += pair
    for agent in pair:
        agent.wait_until_ready()
    promotions = 0
    with Polled(agents) as polled:
        for _ in range(12):
            for _ in range(chosen.randint(1, 4)):
                live = chosen.choice(shelf.trees)
                generation = shelf.promote(live).generation
                promotions += 1
                survivor = agents[-1]  # whoever is asked: a standby answers from the disk
                reply = survivor.pull(expect_generation=generation, wait_seconds=15)
                assert reply["version"] == live.version
            victim = agents[-2]
            victim.process.kill()
            victim.process.wait()
            fresh = Agent(pod, *MINIMUM, poll_seconds=0.1)
            fresh.wait_until_ready()
            agents.append(fresh)
    say("two agents", {"promotions": promotions, "asked": polled.asked, "gaps": polled.gaps})
    assert polled.asked > 100
    assert polled.gaps == []
