"""Each call of a pull that changes the disk or flushes it fails once, on a copy of the root; what is left is judged.

What is wrong is said in one line each, which begins with its kind:

* ``unproved``: strace's log does not show the fault where it had to fall
* ``lost``: the link is gone or leads nowhere; ``torn``: it leads to what is neither the old release nor the new one
* ``drift``: the agent itself finds the live release other than it must be, or cannot say
* ``state``: ``state.json`` cannot be read
* ``told``: success was told though a flush had failed, or though the old release is live
* ``exit``: it did not end as the contract says
* ``stuck``: the next pull, undisturbed, did not bring the release
* ``left``: after that pull a name stays that would not be there without the fault
"""

from __future__ import annotations

import json
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from .tracing import FLUSHES, KILL, Point, Traced, fell, points, trace
from .world import Program, Scenario, files_of, names, torn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

WORKERS: Final = 2
MACHINE: Final = 5


@dataclass(frozen=True)
class Recorded:
    """A pull that nothing disturbed: its points, and the names that it leaves."""

    points: tuple[Point, ...]
    names: tuple[str, ...]


@dataclass(frozen=True)
class Struck:
    """One fault at one point, and all that was wrong after it."""

    point: Point
    fault: str
    wrong: tuple[str, ...]
    code: int
    link_was_new: bool
    """Whether the link led to the new release before the next pull."""


def record(program: Program, scenario: Scenario, folder: Path) -> Recorded:
    """The points of the scenario's pull. The second pull counts: in the first one Python may write what it compiled."""
    root = folder / "recorded"
    for _ in range(2):
        shutil.rmtree(root, ignore_errors=True)
        scenario.begin(root)
        done = _pull(program, scenario, root, None)
    assert done.code == 0, done
    assert files_of(root / "current") == scenario.after
    found = Recorded(tuple(points(done.log, root)), tuple(names(root)))
    shutil.rmtree(root)
    return found


def sweep(
    program: Program,
    scenario: Scenario,
    fault: str,
    folder: Path,
    *,
    chosen: Callable[[Recorded], Iterable[Point]] = lambda recorded: recorded.points,
) -> list[Struck]:
    """Let ``fault`` fall on every chosen point, each time on a root of its own."""
    recorded = record(program, scenario, folder)
    with ThreadPoolExecutor(WORKERS) as workers:
        strike_one = partial(strike, program, scenario, fault, folder, recorded)
        return list(workers.map(strike_one, chosen(recorded)))


def strike(program: Program, scenario: Scenario, fault: str, folder: Path, recorded: Recorded, point: Point) -> Struck:
    """Let ``fault`` fall on ``point``, and judge what it left and whether the next pull mends it."""
    root = folder / f"{scenario.name}-{fault}-{point.call}-{point.ordinal}"
    scenario.begin(root)
    done = _pull(program, scenario, root, (point, fault))
    wrong = [] if fell(done.log, root, point, fault) else [f"unproved: {done.stderr[-300:]}"]
    wrong += left_behind(scenario, root)
    is_new = (root / "current").is_symlink() and files_of(root / "current") == scenario.after
    if fault != KILL:
        wrong += _told(point, done, is_new=is_new)
    wrong += recovered(program, scenario, root, recorded.names)
    shutil.rmtree(root)
    return Struck(point, fault, tuple(wrong), done.code, is_new)


def left_behind(scenario: Scenario, root: Path) -> list[str]:
    """What is wrong with a root whose pull was disturbed."""
    wrong = [word] if (word := torn(scenario, root)) else []
    try:
        json.loads((root / "state.json").read_bytes())
    except FileNotFoundError:
        wrong += ["state: it is gone"] if scenario.before is not None else []
    except ValueError as error:
        wrong.append(f"state: {error}")
    return wrong


def recovered(program: Program, scenario: Scenario, root: Path, expected: Iterable[str]) -> list[str]:
    """Ask the agent what it sees, let it pull undisturbed, and judge what that did."""
    asked = [scenario.arguments(command, root) for command in ("status", "pull", "status")]
    (status, seen), (pull, reply), (_, then) = program.each(*asked)
    wrong = []
    if status != 0 or (seen["drift"] and scenario.damage is None):
        wrong.append(f"drift: status ended with {status}: {seen.get('error') or seen['drift']}")
    if pull != 0 or then.get("drift") or files_of(root / "current") != scenario.after:
        wrong.append(f"stuck: the next pull ended with {pull}: {reply.get('error')}; drift {then.get('drift')}")
    extra = sorted(_without_kinds(names(root)) - _without_kinds(expected))
    return [*wrong, *(f"left: {name}" for name in extra)]


def _without_kinds(found: Iterable[str]) -> set[str]:
    """The names, where one release's lists are one: which there are depends on how it came."""
    return {name.rpartition(".")[0] if re.fullmatch(r"lists/[0-9a-f]{64}\.[a-z]+", name) else name for name in found}


def _told(point: Point, done: Traced, *, is_new: bool) -> list[str]:
    """Whether what the command said of itself is right."""
    if done.code == 0:
        failed = [f"told: success after a failed {point.call}"] if point.call in FLUSHES else []
        return failed if is_new else [*failed, "told: success, and the old release is live"]
    error = json.loads(done.stdout).get("error", {}) if done.stdout else {}
    if done.code != MACHINE or "Traceback" in done.stderr or not (error.get("message") and error.get("hint")):
        return [f"exit: {done.code}: {done.stdout} {done.stderr[-300:]}"]
    return []


def _pull(program: Program, scenario: Scenario, root: Path, fault: tuple[Point, str] | None) -> Traced:
    log = root.with_name(f"{root.name}.strace")
    try:
        return trace([*program.command, *scenario.arguments("pull", root)], program.environment, log, fault=fault)
    finally:
        log.unlink(missing_ok=True)
