"""The power goes during a pull and right after it: the journal is replayed, and Airflow finds A or B, whole.

* The pull is killed at a call, so that no later one runs, and the image is copied while it is mounted: that is the disk
  of a machine that stops there. A second copy is made after somebody else's fsync has committed the journal, which
  brings names to the disk but not the bytes of files that nobody flushed.
* A pull that ended with success has to be found as B in both.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

import pytest

from .conftest import SEED
from .cuts import Site, prepare, struck_points, without_power
from .test_sweep import FULL
from .volumes import IMAGES, need

if TYPE_CHECKING:
    from pathlib import Path

    from .world import Program, Scenario

pytestmark = pytest.mark.faults

CHOSEN: Final = 4
LAST: Final = 4
TRIES: Final = 5


@pytest.fixture(scope="module", params=IMAGES)
def site(request: pytest.FixtureRequest, pulls: dict[str, Scenario], tmp_path_factory: pytest.TempPathFactory) -> Site:
    """An image of one kind of file system in which A is live, and nothing waits to be written."""
    need("strace", f"mkfs.{request.param}", root=True, loop=True)
    return prepare(request.param, pulls["update"], tmp_path_factory.mktemp(request.param))


def test_power_goes_during_a_pull(site: Site, agent: Program) -> None:
    points = struck_points(site, agent)
    if not FULL:
        points = [*random.Random(SEED).sample(points[:-LAST], CHOSEN), *points[-LAST:]]
    wrong = [word for point in points for word in without_power(site, agent, point)]
    print(f"{site.kind}: {2 * len(points)} cuts, {len(wrong)} wrong")  # noqa: T201
    assert not wrong


@pytest.mark.parametrize("durability", ["auto", "fsync", "syncfs"])
def test_power_goes_after_success_was_told(site: Site, agent: Program, durability: str) -> None:
    assert not without_power(site, agent, None, f"--durability={durability}")


def test_power_goes_on_a_pod_without_durability_and_this_is_noticed(site: Site, agent: Program) -> None:
    wrong: list[str] = []
    for _ in range(TRIES):  # a kernel that is busy may write a file by itself before the journal is copied
        wrong += without_power(site, agent, None, "--durability=none")
        if any(word.startswith(("journal: torn", "journal: lost", "journal: not B")) for word in wrong):
            break
    else:
        pytest.fail(f"the journal never came without the bytes: {wrong}")
    assert any(word.startswith("at once: not B") for word in wrong), wrong


def test_a_cut_sees_no_more_than_what_was_flushed(site: Site, tmp_path: Path) -> None:
    assert site.sees("flushed")
    assert not site.sees("only written")
