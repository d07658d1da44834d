"""One corpus at our side: its repository, what was published of it, and an agent that runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from tests.bench.corpora import appended
from tests.bench.costs import LATER_SECONDS, Figures, Resident
from tests.e2e.harness import NO_LINT, Agent, Operator, Pod, Repository, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from contextlib import ExitStack
    from pathlib import Path

    from tests.bench.corpora import Corpus

SERVE: Final = ("--pulls-per-minute=1000000", f"--airflow-settle-seconds={LATER_SECONDS}")
START_SECONDS: Final = 240.0


@dataclass
class Site:
    """A corpus, published to ``store``, with an agent that reads it from ``counted``, which leads to the same."""

    corpus: Corpus
    folder: Path
    store: str
    counted: str
    at_the_end: ExitStack
    release: int = 0
    expected: dict[str, bytes] = field(default_factory=dict)
    """What the last release changed."""

    def __post_init__(self) -> None:
        self.repository = Repository(self.folder / "clone")
        self.repository.git("config", "gc.auto", "0")
        self.operator = Operator(self.repository.path, self.store, {"XDG_CACHE_HOME": str(self.folder / "cache")})
        self.operator = self.operator.on(self.corpus.name.lower())
        self.ship({path: self.corpus.content(number) for number, path in enumerate(self.corpus.paths)})
        self.agent = self.begin("root")
        self.resident = Resident(self.agent.process.pid)

    def pod(self, name: str) -> Pod:
        """A disk of this corpus' channel."""
        return Pod(self.folder / name, self.counted, self.corpus.name.lower())

    def begin(self, name: str) -> Agent:
        """A running agent with a disk of that name, once its release is live."""
        agent = Agent(self.pod(name), *SERVE)
        self.at_the_end.callback(agent.stop)
        wait_for(lambda: agent.ready()[0] or None, "a live release", seconds=START_SECONDS)
        return agent

    def change(self, numbers: Collection[int], how: Callable[[bytes, int], bytes] = appended) -> None:
        """Ship a release in which these files differ."""
        self.ship({self.corpus.paths[one]: how(self.corpus.content(one), self.release + 1) for one in numbers})

    def ship(self, files: dict[str, bytes]) -> None:
        """Commit and promote."""
        self.release += 1
        self.expected = files
        self.repository.change({f"dags/{path}": content for path, content in files.items()}, f"release {self.release}")
        self.operator.run("ship", "--rev", "HEAD", env={NO_LINT: "1"})

    def check(self, folder: Path) -> None:
        """What is in ``folder`` is what was committed, as far as the last release changed it."""
        for path, content in self.expected.items():
            assert (folder / path).read_bytes() == content, folder / path

    def check_all(self, folder: Path) -> None:
        """As `check`, and it has as many files."""
        self.check(folder)
        files = sum(1 for path in folder.rglob("*.py") if path.is_file())
        assert files == len(self.corpus.paths), (folder, files)

    def pull(self, agent: Agent | None = None) -> Figures:
        """A running agent takes over what is new; bytes of the bodies that it read."""
        reply = (agent or self.agent).pull()
        assert reply["changed"]
        self.check((agent or self.agent).pod.current)
        return {"payload": reply["bytes_fetched"]}
