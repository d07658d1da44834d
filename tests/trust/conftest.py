from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

# The asserts of the harness are outside test modules; without this a failing one would not say what it saw.
pytest.register_assert_rewrite("tests.e2e.harness", "tests.trust.firm")

from tests.e2e.harness import Agent, Repository, run  # noqa: E402  after the registration
from tests.trust.firm import Firm  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.e2e.harness import Pod


@pytest.fixture(scope="session")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """Four commits, tagged v1 to v4. Tests do not change it."""
    made = Repository(tmp_path_factory.mktemp("firm") / "clone")
    for number in range(1, 5):
        made.change({"dags/daily.py": f"VERSION = {number}\n"})
        made.git("tag", f"v{number}")
    return made


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of keys as `dagferry keys generate` makes them. Tests do not change it."""
    folder = tmp_path_factory.mktemp("keys")
    for name in ("ci", "ops", "next", "thief"):
        run("dagferry", "keys", "generate", "--name", name, f"--out={folder}", cwd=folder)
    return folder


@pytest.fixture
def firm(clone: Repository, keys: Path, tmp_path: Path) -> Firm:
    """A store, a keyring and a pod of this test's own."""
    return Firm(tmp_path, clone, keys)


@pytest.fixture
def start(firm: Firm) -> Iterator[Callable[..., Agent]]:
    """Starts agents, by default on the firm's pod and with its keyring; ends those that still run."""
    agents: list[Agent] = []

    def start_agent(*, on: Pod | None = None, keyring: bool = True) -> Agent:
        arguments = [f"--keyring={firm.keyring}"] if keyring else []
        agents.append(Agent(on or firm.pod, *arguments))
        return agents[-1]

    yield start_agent
    for agent in agents:
        agent.stop()
