from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

pytest.register_assert_rewrite("tests.faults.volumes")

from .world import Program, World, make_world, scenarios  # noqa: E402  after the registration

if TYPE_CHECKING:
    from .world import Scenario

SEED = 6


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """The store and the roots that serve A. Tests do not change them."""
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="session")
def pulls(world: World) -> dict[str, Scenario]:
    """The pulls on which faults fall, by name."""
    return scenarios(world)


@pytest.fixture(scope="session")
def agent() -> Program:
    """The agent that is installed."""
    return Program.installed()


@pytest.fixture
def chance() -> random.Random:
    """The same choice in every run."""
    return random.Random(SEED)
