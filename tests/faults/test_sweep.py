"""A pull that is killed, or whose disk refuses, at any one call: what is live stays whole, and the next pull completes.

``DAGFERRY_FAULTS=full`` lets each fault fall on every point. Otherwise it falls on the last ones, where the switch is,
and on a seeded choice of the others.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from typing import TYPE_CHECKING, Final

import pytest

from .conftest import SEED
from .sweep import Struck, sweep
from .tracing import ERRORS, KILL
from .volumes import need
from .world import files_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from .sweep import Recorded
    from .tracing import Point
    from .world import Program, Scenario, World

pytestmark = pytest.mark.faults

FULL: Final = os.environ.get("DAGFERRY_FAULTS") == "full"
LAST, OTHERS = 8, 8
RENAMES: Final = ("rename", "renameat", "renameat2")
SWEEPS: Final = [
    *(("update", fault) for fault in (KILL, *ERRORS)),
    *((name, KILL) for name in ("whole", "fsync", "syncfs", "first", "mend", "ready", "finish")),
]


def chosen(recorded: Recorded) -> Iterable[Point]:
    """Every point, or the last ones and some of the others."""
    if FULL:
        return recorded.points
    others, last = recorded.points[:-LAST], recorded.points[-LAST:]
    return [*random.Random(SEED).sample(others, OTHERS), *last]


@pytest.fixture(scope="module", params=SWEEPS, ids="-".join)
def struck(
    request: pytest.FixtureRequest,
    agent: Program,
    pulls: dict[str, Scenario],
    tmp_path_factory: pytest.TempPathFactory,
) -> list[Struck]:
    """All faults of one kind on one pull, and what was wrong after each."""
    need("strace")
    name, fault = request.param
    done = sweep(agent, pulls[name], fault, tmp_path_factory.mktemp(name), chosen=chosen)
    counted = Counter(kind.partition(":")[0] for one in done for kind in one.wrong)
    print(f"{name} {fault}: {len(done)} points, torn {counted['torn']}, lost {counted['lost']}")  # noqa: T201
    return done


def found(struck: list[Struck], *kinds: str) -> list[str]:
    """What was wrong of these kinds, each with its point."""
    return [f"{one.fault} at {one.point}: {wrong}" for one in struck for wrong in one.wrong if wrong.startswith(kinds)]


def test_every_fault_fell_where_it_had_to(struck: list[Struck]) -> None:
    assert len(struck) >= LAST
    assert not found(struck, "unproved")


def test_what_is_live_is_whole_after_every_fault(struck: list[Struck]) -> None:
    assert not found(struck, "torn", "lost", "drift", "state")


def test_no_success_is_told_that_was_not_flushed(struck: list[Struck]) -> None:
    assert not found(struck, "told", "exit")


def test_the_next_pull_completes_after_every_fault(struck: list[Struck]) -> None:
    assert not found(struck, "stuck")


def test_nothing_stays_in_staging_after_the_next_pull(struck: list[Struck]) -> None:
    assert not found(struck, "left: staging")


def test_no_temporary_name_stays_after_the_next_pull(struck: list[Struck]) -> None:
    assert not found(struck, "left")


def kill_at(agent: Program, scenario: Scenario, folder: Path, call: str, target: str, *, after: str) -> Struck:
    """Kill the pull at the one call of that name and target that comes after a rename to ``after``."""

    def one(recorded: Recorded) -> list[Point]:
        begins = next(i for i, p in enumerate(recorded.points) if p.call in RENAMES and p.target.endswith(after))
        late = [point for point in recorded.points[begins + 1 :] if point.call in call.split()]
        return [point for point in late if point.target.endswith(target)][:1]

    [struck] = sweep(agent, scenario, KILL, folder, chosen=one)
    return struck


def test_kill_between_floor_and_link_finishes_the_switch(
    agent: Program, pulls: dict[str, Scenario], tmp_path: Path
) -> None:
    need("strace")
    struck = kill_at(agent, pulls["update"], tmp_path, "symlink symlinkat", "", after="/state.json")
    assert not struck.link_was_new, "the floor is written, and the link is still the old one"
    assert not struck.wrong, "the next pull has to finish the switch, though the generation is not newer than the floor"


def test_kill_after_link_before_flush(agent: Program, pulls: dict[str, Scenario], tmp_path: Path) -> None:
    need("strace")
    struck = kill_at(agent, pulls["update"], tmp_path, "fsync fdatasync syncfs", "/", after="/current")
    assert struck.link_was_new
    assert not struck.wrong


def test_the_roots_that_were_copied_are_as_they_were(world: World, struck: list[Struck]) -> None:
    assert struck
    for template in (world.moved, world.still):
        assert files_of(template / "current") == world.before
