"""How far apart the pods of a fleet switch: a promotion that all fetch, beside one that they have ready.

    python -m tests.bench.skew [--agents 20] [--rounds 7] [--markdown FILE]

Real agents, each a process of its own with its HTTP server, over moto's S3 server, on loopback and one disk. In each
round a file of a thousand is changed and goes live twice, in turns: by ``ship``, and by ``ship --canary 1``,
after which all others have it ready. Taken is the time from the first link that leads to it to the last; of the steps,
without the canary's, which was switched before.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from tests.e2e.harness import NO_LINT, Agent, Operator, Pod, Repository, new_token
from tests.storage import servers

FILES: Final = 1000
AT_ONCE, STEPS = "ship", "ship --canary 1"


class Bench:
    """So many agents of one channel, and who ships to them."""

    def __init__(self, folder: Path, agents: int, stack: ExitStack) -> None:
        store = f"s3://{servers.BUCKET}/skew?endpoint={stack.enter_context(servers.s3())}"
        self.repository = Repository(folder / "clone")
        self.repository.change({f"dags/team_{n // 50}/dag_{n}.py": f"N = {n}\n" * 20 for n in range(FILES)}, "first")
        self.operator = Operator(self.repository.path, store, {NO_LINT: "1"}).on("prod")
        self.operator.ship()
        token, entry = new_token()
        tokens, token_file = folder / "tokens.json", folder / "token"
        tokens.write_text(json.dumps([entry]))
        token_file.write_text(token)
        self.agents = []
        for number in range(agents):
            home = folder / f"pod-{number:02}"
            home.mkdir()
            agent = Agent(Pod(home / "root", store, "prod"), f"--agent-id=pod-{number:02}", tokens_file=tokens)
            stack.callback(agent.stop)
            self.agents.append(agent)
        for agent in self.agents:
            agent.token = token
            agent.wait_until_ready()
        self.reach = (f"--agents={','.join(agent.url for agent in self.agents)}", f"--token-file={token_file}")

    def take(self, way: str, number: int) -> float:
        """Milliseconds between the first and the last switch to a change."""
        self.repository.change({"dags/team_0/dag_1.py": f"N = '{way} {number}'\n"})
        time.sleep(2)  # what is done in idle time is done
        options = ("--canary=1",) if way == STEPS else ()
        said = self.operator.run("ship", *self.reach, *options)
        assert all(agent.serves(said["version"]) for agent in self.agents)
        links = [agent.pod.current.lstat().st_mtime_ns for agent in self.agents[len(options) :]]
        return (max(links) - min(links)) / 1e6


def main() -> None:
    """Measure, and write what was asked for."""
    parser = argparse.ArgumentParser(description="How far apart pods switch.")
    parser.add_argument("--agents", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--markdown", type=Path)
    asked = parser.parse_args()
    os.environ.update(servers.CREDENTIALS)
    taken: dict[str, list[float]] = {AT_ONCE: [], STEPS: []}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dagferry-bench-")))
        bench = Bench(folder, asked.agents, stack)
        for number in range(asked.rounds):
            for way in (AT_ONCE, STEPS) if number % 2 else (STEPS, AT_ONCE):
                taken[way].append(bench.take(way, number))
    said = table(taken, asked.agents)
    sys.stdout.write(said)
    if asked.markdown:
        asked.markdown.write_text(said)


def table(taken: dict[str, list[float]], agents: int) -> str:
    """The milliseconds as Markdown."""
    lines = [
        f"| {agents} agents | first link to last, median | least | most | rounds |",
        "| --- | --- | --- | --- | --- |",
    ]
    for way, skews in taken.items():
        median, least, most = statistics.median(skews), min(skews), max(skews)
        lines.append(f"| `{way}` | {median:.0f} ms | {least:.0f} ms | {most:.0f} ms | {len(skews)} |")
    ratio = statistics.median(one / other for one, other in zip(taken[AT_ONCE], taken[STEPS], strict=True))
    return "\n".join([*lines, "", f"The first is {ratio:.1f} times the second (median of the rounds)."]) + "\n"


if __name__ == "__main__":
    main()
