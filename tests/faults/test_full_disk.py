"""A disk without room, in bytes or in inodes: the pull says so, what is live stays, with room the next completes."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from .sweep import left_behind, recovered
from .volumes import need, remount, tmpfs
from .world import files_of, torn

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .world import Program, Scenario

pytestmark = pytest.mark.faults


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """Where a tmpfs can be mounted."""
    need("mount", root=True)
    return tmp_path / "disk"


def fill(disk: Path, kind: str) -> None:
    """Use up the disk but for three pages or inodes."""
    (disk / "ballast").mkdir()
    written = []
    with suppress(OSError):
        for number in range(10_000):
            written.append(disk / "ballast" / str(number))
            written[-1].write_bytes(b"x" * 4096 if kind == "bytes" else b"")
    for place in written[-3:]:
        place.unlink(missing_ok=True)


def refused(agent: Program, scenario: Scenario, root: Path) -> dict[str, str]:
    """The error of a pull for which there is no room."""
    [(code, document)] = agent.each(scenario.arguments("pull", root))
    assert code == 5, document
    error: dict[str, str] = document["error"]
    assert "has no room" in error["message"], error
    assert "inodes are free" in error["message"], error
    return error


@pytest.mark.parametrize("limits", ["size=32k,nr_inodes=4096", "size=1m,nr_inodes=12"])
def test_a_first_pull_onto_a_full_disk(agent: Program, pulls: dict[str, Scenario], disk: Path, limits: str) -> None:
    scenario = pulls["first"]
    with tmpfs(disk, limits):
        root = disk / "pod"
        refused(agent, scenario, root)
        assert not torn(scenario, root)
        assert_it_completes_with_room(agent, scenario, disk)


def assert_it_completes_with_room(agent: Program, scenario: Scenario, disk: Path) -> None:
    """Give the disk room; the next pull brings B and leaves nothing in staging."""
    remount(disk, "size=16m,nr_inodes=4096")
    root = disk / "pod"
    assert not [word for word in recovered(agent, scenario, root, ()) if not word.startswith("left")]
    assert not list((root / "staging").iterdir())


@contextmanager
def full_pod(agent: Program, scenario: Scenario, disk: Path, kind: str) -> Iterator[Path]:
    """The root of a pod that serves A, on a disk that has no room left."""
    assert scenario.template is not None
    [(_, seen)] = agent.each(scenario.arguments("status", scenario.template))
    with tmpfs(disk, "size=1m,nr_inodes=128"):
        pull = scenario.arguments("pull", disk / "pod")
        [(code, document)] = agent.each([*pull, f"--version={seen['version']}"])
        assert code == 0, document
        fill(disk, kind)
        yield disk / "pod"


@pytest.mark.parametrize("kind", ["bytes", "inodes"])
def test_an_update_on_a_full_disk(agent: Program, pulls: dict[str, Scenario], disk: Path, kind: str) -> None:
    scenario = pulls["update"]
    with full_pod(agent, scenario, disk, kind) as root:
        refused(agent, scenario, root)
        assert not left_behind(scenario, root)
        assert files_of(root / "current") == scenario.before
        [(_, status)] = agent.each(scenario.arguments("status", root))
        assert status["drift"] == []
        assert_it_completes_with_room(agent, scenario, disk)


@pytest.mark.parametrize("kind", ["bytes", "inodes"])
def test_the_message_names_the_folder_that_is_full(
    agent: Program, pulls: dict[str, Scenario], disk: Path, kind: str
) -> None:
    with full_pod(agent, pulls["update"], disk, kind) as root:
        assert str(root) in refused(agent, pulls["update"], root)["message"]
