"""What signatures cost an agent: the same pulls with a keyring and without.

    TMPDIR=/dev/shm python -m tests.bench.signed [--rounds 30]

300 DAG files, one of which changes in each version; the store is a folder, whose head is signed. Both agents read the
same store, in turn, so that nothing but the keyring differs: pulls of a running agent (one that switches, one that
finds nothing new), and whole processes of ``dagferry-agent pull`` that find nothing new. A signature in the head is the
rest of the cost: its bytes are told.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dagferry_agent.delivery import open_delivery
from dagferry_agent.settings import Settings
from dagferry_schemas import layout
from dagferry_schemas.dsse import Envelope
from tests.e2e.harness import BUNDLE, Operator, Repository, environment

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagferry_agent.delivery import Delivery
    from dagferry_schemas.endpoint import PullReply

FILES: Final = 300
AGENT: Final = "from dagferry_agent.cli import main; main()"


class Fleet:
    """A signed channel, and one agent with a keyring and one without."""

    def __init__(self, folder: Path) -> None:
        self.repository = Repository(folder / "clone")
        self.repository.change({f"dags/dag_{number:03}.py": f"N = {number}\n" for number in range(FILES)})
        self.operator = Operator(folder / "clone", (folder / "store").as_uri()).on("prod")
        self.operator.run("keys", "generate", "--name", "ci", "--out", str(folder / "ring"))
        key = folder / "ring" / "ci.pem"
        self.operator = replace(self.operator, options={**self.operator.options, "DAGFERRY_SIGNER": str(key)})
        plain = Settings((folder / "store").as_uri(), BUNDLE, "prod", folder / "plain", "plain")
        self.settings = {"unsigned": plain, "signed": replace(plain, root=folder / "kept", keyring=folder / "ring")}
        self.agents: dict[str, Delivery] = {name: open_delivery(one) for name, one in self.settings.items()}

    def ship(self, number: int) -> None:
        """The next version goes live on the channel."""
        self.repository.change({"dags/dag_000.py": f"N = 0  # {number}\n"})
        self.operator.run("promote", self.operator.publish("HEAD", "--no-lint"))


def _process(settings: Settings) -> None:
    ring = [] if settings.keyring is None else [f"--keyring={settings.keyring}"]
    options = [f"--store={settings.store}", f"--bundle={BUNDLE}", "--channel=prod", f"--root={settings.root}", *ring]
    subprocess.run(
        [sys.executable, "-c", AGENT, "pull", *options],
        env=environment(PYTHONDONTWRITEBYTECODE=None),
        check=True,
        capture_output=True,
    )


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - began)


def measure(folder: Path, rounds: int) -> None:
    """Print the table."""
    fleet = Fleet(folder)
    times: dict[tuple[str, str], list[float]] = {}
    replies: dict[tuple[str, str], PullReply] = {}
    fleet.ship(0)
    for agent in fleet.agents.values():
        agent.prepare()
        agent.pull()
    for number in range(1, rounds + 1):
        fleet.ship(number)
        order = list(fleet.agents) if number % 2 else list(fleet.agents)[::-1]
        for name in order:
            for what in ("switch", "nothing new"):
                began = time.perf_counter()
                replies[what, name] = fleet.agents[name].pull()
                times.setdefault((what, name), []).append(1000 * (time.perf_counter() - began))
                assert replies[what, name].changed is (what == "switch")
        for name in order:
            taken = _timed(lambda name=name: _process(fleet.settings[name]))  # type: ignore[misc]
            times.setdefault(("process, nothing new", name), []).append(taken)
    head = (folder / "store" / layout.head(BUNDLE, "prod")).read_bytes()
    bare = replace(Envelope.from_bytes(head, "head", limit=layout.MAX_DOCUMENT), signatures=()).to_bytes()
    sys.stdout.write(f"the head: {len(bare)} bytes unsigned, {len(head)} signed\n")
    for what in ("switch", "nothing new", "process, nothing new"):
        medians = {name: statistics.median(times[what, name]) for name in fleet.agents}
        ratio = medians["signed"] / medians["unsigned"]
        line = f"{what}: {medians['unsigned']:.2f} ms unsigned, {medians['signed']:.2f} ms signed, x {ratio:.2f}"
        if (what, "signed") in replies:
            pair = [replies[what, name] for name in ("unsigned", "signed")]
            line += f"; requests {pair[0].requests} and {pair[1].requests}"
            line += f", bytes {pair[0].bytes_fetched} and {pair[1].bytes_fetched}"
        sys.stdout.write(line + "\n")


def main() -> None:
    """Measure in a folder of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30)
    arguments = parser.parse_args()
    with ExitStack() as at_the_end:
        folder = at_the_end.enter_context(tempfile.TemporaryDirectory(prefix="dagferry-bench-"))
        measure(Path(folder), arguments.rounds)


if __name__ == "__main__":
    main()
