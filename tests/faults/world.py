"""What every fault falls on: a store with the releases A and B, roots that serve A, and a judge of what is left.

* The agent is driven by its command line and judged by its disk; nothing of it is imported here.
* A root is copied with hard links below ``releases``: the agent links a file only if it has the inode that it wrote.
* The judge reads every byte and mode by itself, and only then asks the agent whether it sees the same.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dagferry_builder.site import now
from dagferry_builder.staged import StagedChannel
from dagferry_storage import published
from dagferry_storage.stores import open_store
from tests.e2e.harness import BUNDLE, COMMANDS, COMPONENTS, NO_LINT, Operator, Repository, environment

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.e2e.harness import Content

Files = dict[str, tuple[int, bytes]]
"""Mode and bytes by path."""
IMPORTED: Final = "from dagferry_agent.cli import main; main()"
_EACH: Final = """
import json, sys
from dagferry_agent.cli import run
for arguments in json.loads(sys.argv[1]):
    code = run(arguments)
    print("\\n" + str(code), flush=True)
"""
"""Several commands in one process: each prints its document, then its exit code."""


@dataclass(frozen=True)
class Program:
    """The agent that is under test: what is installed, or a copy of the source with an edit."""

    command: tuple[str, ...]
    environment: Mapping[str, str]

    @classmethod
    def installed(cls) -> Program:
        """The one that users get."""
        return cls(tuple(COMMANDS["dagferry-agent"]), environment(PYTHONHASHSEED="0"))

    @classmethod
    def of_source(cls, source: Path, compiled: Path) -> Program:
        """The one in the folder ``source``, which is imported in place of what is installed."""
        path = os.pathsep.join(str(source / one) for one in COMPONENTS)
        changed = environment(PYTHONHASHSEED="0", PYTHONPATH=path, PYTHONPYCACHEPREFIX=str(compiled))
        return cls((sys.executable, "-c", IMPORTED), changed)

    def each(self, *commands: list[str]) -> list[tuple[int, dict[str, Any]]]:
        """Exit code and document of each command."""
        done = subprocess.run(
            [sys.executable, "-c", _EACH, json.dumps(commands)],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        lines = done.stdout.split("\n")
        lines = [line for line in lines if line]
        assert len(lines) == 2 * len(commands), (commands, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr, done.stderr
        return [(int(code), json.loads(document)) for document, code in zip(lines[::2], lines[1::2], strict=True)]


@dataclass(frozen=True)
class World:
    """A store with two releases, and the roots of pods that serve the first one."""

    store_url: str
    before: Files
    after: Files
    moved: Path
    """The root of a pod that serves A; its channel says B by now."""
    still: Path
    """The root of a pod that serves A, as its channel says."""
    ready: Path
    """The root of a pod that serves A and has B ready; its channel says B by now."""


@dataclass(frozen=True)
class Scenario:
    """One pull: where it begins, and where it has to end."""

    name: str
    store_url: str
    channel: str
    template: Path | None
    before: Files | None
    after: Files
    options: tuple[str, ...] = ()
    damage: Files | None = None
    """Files of the live release that are other ones when the pull begins."""

    def begin(self, root: Path) -> None:
        """Make ``root`` what the pull finds."""
        if self.template is None:
            root.mkdir()
            return
        shutil.copytree(self.template, root, symlinks=True, copy_function=_link_releases)
        for path, (mode, content) in (self.damage or {}).items():
            place = root / "current" / path
            place.unlink(missing_ok=True)  # a new inode: the template has the old one
            place.write_bytes(content)
            place.chmod(mode)

    def arguments(self, command: str, root: Path) -> list[str]:
        """The command line without the program."""
        place = [f"--store={self.store_url}", f"--bundle={BUNDLE}", f"--channel={self.channel}", f"--root={root}"]
        return [command, *place, "--agent-id=pod-1", *self.options, "-o", "json"]


def make_world(folder: Path, store_url: str | None = None) -> World:
    """Publish A and B, in a local store unless another is named, and let two pods pull A; then one channel says B."""
    repository = Repository(folder / "clone")
    same = {
        "dags/__init__.py": "",
        "dags/large.sql": noise("large") * 2,
        "dags/team/__init__.py": "",
        "dags/weekly.py": "WEEKLY = 1\n",
        "dags/monthly.py": "MONTHLY = 1\n",
        **{f"dags/team/part_{number}.py": f"PART = {number}\n" for number in range(4)},
    }
    repository.write("dags/tool.sh", "#!/bin/sh\nexit 0\n", executable=True)
    first = repository.change({**same, "dags/daily.py": "VERSION = 1\n", "dags/old.py": "OLD = True\n"}, "A")
    (repository.path / "dags/old.py").unlink()
    second = repository.change(
        {"dags/daily.py": "VERSION = 2\n", "dags/new.py": "NEW = True\n", "dags/team/part_0.py": "PART = 'zero'\n"}, "B"
    )
    store = store_url or (folder / "store").as_uri()
    operator = Operator(repository.path, store, {NO_LINT: "1"})
    before, after = (as_delivered(repository.content(commit)) for commit in (first, second))
    world = World(store, before, after, folder / "moved", folder / "still", folder / "ready")
    for channel, template in (("moved", world.moved), ("still", world.still), ("finished", world.ready)):
        operator.on(channel).ship(first)
        scenario = Scenario("template", store, channel, None, None, before)
        template.mkdir()
        [(code, document)] = Program.installed().each(scenario.arguments("pull", template))
        assert code == 0, document
    operator.on("moved").ship(second)
    version = operator.publish(second)
    operator.on("staged").ship(first)
    for channel in ("staged", "finished"):
        stage(store, channel, version)
    scenario = Scenario("template", store, "finished", world.ready, before, after)
    [(code, document)] = Program.installed().each(scenario.arguments("pull", world.ready))
    assert (code, document.get("version") == version) == (0, False), document
    StagedChannel(open_store(store), BUNDLE, "finished", actor="ci", clock=now).finish(version)
    # No delta leads from A to what has nothing of it, and none from there to B.
    other = repository.change({path: noise(path) for path in same}, "another")
    operator.on("far").ship(other)
    operator.on("far").run("promote", second, "--allow-older")
    return world


def stage(store: str, channel: str, version: str) -> None:
    """Make a version the candidate of a channel, for an agent that there is not."""
    opened = open_store(store)
    chosen = published.read(opened, BUNDLE, version)
    StagedChannel(opened, BUNDLE, channel, actor="ci", clock=now).stage(chosen, ["pod-2"], until="2999-01-01T00:00:00Z")


def noise(word: str) -> str:
    """Text that is like nothing else, and cannot be compressed to much less."""
    return "".join(f"# {hashlib.sha256(f'{word} {number}'.encode()).hexdigest()}\n" for number in range(40))


def scenarios(world: World) -> dict[str, Scenario]:
    """The pulls on which faults fall, by name."""
    update = Scenario("update", world.store_url, "moved", world.moved, world.before, world.after)
    damage = {
        "daily.py": (0o644, b"VERSION = 'edited'\n"),
        "team/part_1.py": (0o644, b""),
        "stray.py": (0o644, b"STRAY = True\n"),
    }
    mend = Scenario("mend", world.store_url, "still", world.still, world.before, world.before, damage=damage)
    return {
        "update": update,
        "whole": replace(update, name="whole", channel="far"),
        "fsync": replace(update, name="fsync", options=("--durability=fsync",)),
        "syncfs": replace(update, name="syncfs", options=("--durability=syncfs",)),
        "first": replace(update, name="first", template=None, before=None),
        "mend": mend,
        "ready": replace(update, name="ready", channel="staged", template=world.still, after=world.before),
        "finish": replace(update, name="finish", channel="finished", template=world.ready),
    }


def as_delivered(content: Content) -> Files:
    """The files of a commit with the modes that they have in a release."""
    return {path: (0o555 if executable else 0o444, body) for path, (executable, body) in content.items()}


def files_of(folder: Path) -> Files:
    """All files below ``folder`` but Python's caches; a link or anything odd has no bytes, and so equals nothing."""
    found: Files = {}
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name != "__pycache__"]
        for name in names:
            path = Path(parent) / name
            status = path.lstat()
            body = path.read_bytes() if stat.S_ISREG(status.st_mode) else b"<no file>"
            found[path.relative_to(folder).as_posix()] = (stat.S_IMODE(status.st_mode), body)
    return found


def torn(scenario: Scenario, root: Path) -> str:
    """What is wrong with what Airflow reads, or an empty word."""
    link = root / "current"
    if not link.is_symlink():
        return "" if scenario.before is None and not link.exists() else "lost: there is no link"
    if not link.is_dir():
        return f"lost: the link leads nowhere: {link.readlink()}"
    found = files_of(link)
    if scenario.damage is not None:
        return _worse(found, scenario, scenario.damage)
    if found in (scenario.before, scenario.after):
        return ""
    nearest = scenario.after if set(found) == set(scenario.after) else scenario.before or scenario.after
    wrong = sorted(path for path in {*found, *nearest} if found.get(path) != nearest.get(path))
    return f"torn: neither A nor B: {', '.join(wrong)}"


def _worse(found: Files, scenario: Scenario, damage: Files) -> str:
    """A damaged release may be mended file by file; none may get worse."""
    wrong = [
        path
        for path in sorted({*found, *scenario.after})
        if found.get(path) not in (scenario.after.get(path), damage.get(path, scenario.after.get(path)))
    ]
    return f"torn: neither mended nor as before: {', '.join(wrong)}" if wrong else ""


def names(root: Path) -> list[str]:
    """All names in ``root`` down to the releases' folders, which are not looked into."""
    top = list(root.iterdir())
    inner = (path for folder in top if folder.is_dir() and not folder.is_symlink() for path in folder.iterdir())
    return sorted(path.relative_to(root).as_posix() for path in [*top, *inner])


def _link_releases(source: str, target: str) -> None:
    if f"{os.sep}releases{os.sep}" in source:
        os.link(source, target)
    else:
        shutil.copy2(source, target)
