"""The main job of dagferry, step by step.

Each step shows the command as one would type it and what it printed, then what the demo looked up by itself: files
against git, the link, HTTP codes, objects in the store. The steps are the same on every kind of store.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dagferry_schemas import layout

from .agent import Agent
from .processes import PATIENCE
from .repository import Repository
from .story import Broken

if TYPE_CHECKING:
    from contextlib import ExitStack
    from pathlib import Path

    from .commands import Commands
    from .store import DemoStore
    from .story import Story

CHANNEL: Final = "prod"
_NAMES: Final = (
    "import sys; from dagferry_storage.stores import open_store; "
    "print(*sorted(open_store(sys.argv[1]).names(sys.argv[2])), sep='\\n')"
)
"""Lists a store through its own interface, in the environment of the commands."""


@dataclass
class Stage:
    """What the steps act on: all of it below one folder, but for a store of the user's."""

    folder: Path
    story: Story
    commands: Commands
    store: DemoStore
    repository: Repository
    agent: Agent | None = None
    linted: bool = True
    """Whether lint takes part: a repository that has errors is delivered without."""

    @property
    def pod(self) -> Path:
        return self.folder / "pod"

    @property
    def token(self) -> Path:
        return self.folder / "token"


def tell(story: Story, commands: Commands, store: DemoStore, original: Path | None, ends: ExitStack) -> Stage:
    """The whole story, on the folder in which the commands run. Raises `Broken`."""
    story.step("A DAG repository")
    folder = commands.cwd
    stage = Stage(folder, story, commands, store, Repository(story, commands, folder / "git", original))
    _look_at_repository(stage)
    first = _publish(stage)
    agent = stage.agent = _start_agent(stage, ends)
    _pull(stage, agent)
    first_target = _check_live(stage, first)

    story.step("A second commit goes live")
    sample = ("dags/hourly_stock.py", "LEAST = 5", "LEAST = 8")
    message = "Order earlier" if stage.repository.is_sample else "Add a file"
    stage.repository.change(sample, '"""Added by the demo."""\n', message)
    second = _ship(stage, agent)

    _refuse_a_fault(stage, agent)

    story.step("It was a mistake: back, with one command")
    began = time.time_ns()
    commands.run("dagferry", "rollback", "--reason", "too many orders")
    commands.run("dagferry", "notify")
    _say_time(stage, agent, began, "dagferry rollback", ", both commands included")
    story.check(_check_live(stage, first) == first_target, "it is the very release that was live before")

    story.step("The next merge does not undo the rollback: the channel is held")
    sample = ("dags/weekly_cleanup.py", "timedelta(days=31)", "timedelta(days=60)")
    message = "Keep files longer" if stage.repository.is_sample else "Change the file"
    stage.repository.change(sample, '"""Added by the demo, and changed by it."""\n', message)
    commands.run("dagferry", "ship", expect=3)
    story.check(str((stage.pod / "current").readlink()) == first_target, f"{first} is still live")

    story.step("Resume, and the merge goes live")
    commands.run("dagferry", "resume", "--reason", "orders are right again")
    third = _ship(stage, agent)

    story.step("What happened, and what is live")
    commands.run("dagferry", "log")
    commands.run("dagferry", "status")
    story.check(commands.facts("dagferry", "status")["converged"] is True, "channel and agent agree")
    _look_into_store(stage, (first, second, third))
    return stage


def _refuse_a_fault(stage: Stage, agent: Agent) -> None:
    """A commit that lint refuses, and its revert. A repository that is refused anyway has no such step."""
    if not stage.linted:
        return
    story, commands = stage.story, stage.commands
    story.step("A commit with a fault does not get through")
    sample = ("dags/hourly_stock.py", "LEAST = 8", "LEAST = LOWEST")
    message = "Order when it is lowest" if stage.repository.is_sample else "Add a fault"
    before = (stage.pod / "current").readlink()
    generation = commands.facts("dagferry", "log")["records"][0]["generation"]
    stage.repository.change(sample, '"""Added by the demo, with a fault."""\n\nprint(UNDEFINED)\n', message)
    commands.run("dagferry", "ship", expect=1)
    versions = commands.facts("dagferry", "versions")["versions"]
    commit = stage.repository.git("rev-parse", "HEAD").strip()
    same = (stage.pod / "current").readlink() == before
    same = same and commands.facts("dagferry", "log")["records"][0]["generation"] == generation
    story.check(
        same and all(one["commit"] != commit for one in versions),
        f"nothing was published, and nothing moved: generation {generation} is live",
    )
    stage.repository.revert()


def _look_at_repository(stage: Stage) -> None:
    if stage.repository.bundles > 1:
        stage.commands.export({"DAGFERRY_BUNDLE": stage.repository.bundle})
    stage.repository.git("log", "--oneline", "--decorate", "--max-count=5", show=True)
    stage.commands.run("dagferry", "version")

    stage.story.step("Would it break in production? (With an Airflow, lint imports the DAGs as well)")
    said = stage.commands.run("dagferry", "lint", expect=0 if stage.repository.is_sample else (0, 1))
    stage.linted = "error: lint refuses" not in said
    if not stage.linted:
        stage.commands.export({"DAGFERRY_NO_LINT": "1"})


def _publish(stage: Stage) -> str:
    story, commands = stage.story, stage.commands
    story.step("Does the store keep its promises?")
    commands.export({"DAGFERRY_STORE": stage.store.url, **stage.store.variables})
    commands.run("dagferry", "init-store")

    story.step("Build, publish, promote")
    commands.export({"DAGFERRY_CHANNEL": CHANNEL, "DAGFERRY_ACTOR": "ada"})
    out = stage.folder / "dist"
    commands.run("dagferry", "build", "--out", str(out))
    tarball = next(out.glob("*.tar.zst"))
    unpacked = stage.folder / "unpacked"
    unpacked.mkdir()
    commands.run("tar", "--zstd", "-xf", str(tarball), "-C", str(unpacked))
    files = [path for path in unpacked.rglob("*") if path.is_file()]
    built = commands.facts("dagferry", "build", "--out", str(out))
    story.check(len(files) == built["files"], f"{len(files)} files in the tarball, by plain tar")
    commands.run("dagferry", "publish")
    version = str(built["version"])
    commands.run("dagferry", "promote", version)
    shutil.rmtree(unpacked)
    return version


def _start_agent(stage: Stage, ends: ExitStack) -> Agent:
    story, commands = stage.story, stage.commands
    story.step("An agent, as it runs beside Airflow")
    made = commands.facts("dagferry-agent", "tokens", "generate", "--id", "ci")
    story.command("dagferry-agent", "tokens", "generate", "--id", "ci")
    story.said("(the token goes into $DEMO/token, its entry into $DEMO/tokens.json, which does not hold the token)")
    tokens = stage.folder / "tokens.json"
    for file, text in ((stage.token, made["token"]), (tokens, json.dumps([made["entry"]]))):
        file.touch(mode=0o600)
        file.write_text(text + "\n")
    story.check(made["token"] not in tokens.read_text(), "the tokens file does not hold the token")
    options = ["--bundle", stage.repository.bundle, "--channel", CHANNEL, "--store", stage.store.url,
               "--root", str(stage.pod), "--listen", "127.0.0.1:0", "--tokens-file", str(tokens),
               "--poll-seconds", "0"]  # fmt: skip
    agent = Agent(story, commands, options, folder=stage.folder, ends=ends)
    story.said(f"AGENT={agent.url}")
    commands.places["AGENT"] = agent.url
    return agent


def _pull(stage: Stage, agent: Agent) -> None:
    story, commands = stage.story, stage.commands
    story.step("Pull over HTTP: nobody without the token, everybody with it")
    wrong = stage.folder / "wrong-token"
    wrong.touch(mode=0o600)
    wrong.write_text("dft_wrong\n")
    commands.run("dagferry", "notify", "--agents", agent.url, "--token-file", str(wrong), expect=4)
    codes = [agent.ask("POST", "/v1/pull", one)[0] for one in (None, "dft_wrong")]
    story.check(codes == [401, 401], "POST /v1/pull: HTTP 401 without a token, 401 with a wrong one")
    commands.export({"DAGFERRY_AGENTS": agent.url, "DAGFERRY_TOKEN_FILE": str(stage.token)})
    commands.run("dagferry", "notify")
    code, reply = agent.ask("POST", "/v1/pull", stage.token.read_text().strip())
    story.check(code == 200, f"POST /v1/pull with the token: HTTP 200, generation {reply.get('generation')}")

    story.step("What Airflow reads")
    commands.run("ls", "-o", "--time-style=+", f"{stage.pod}/current")
    commands.run("ls", "-A", f"{stage.pod}/current/")


def _ship(stage: Stage, agent: Agent) -> str:
    """Ship what is committed; its version, after a look at whether it became the live one."""
    began = time.time_ns()
    stage.commands.run("dagferry", "ship")
    version = str(stage.commands.facts("dagferry", "version")["version"])
    code, status = agent.ask("GET", "/v1/status", stage.token.read_text().strip())
    if code != 200 or status["version"] != version:
        raise Broken(f"the agent serves {status.get('version')} (HTTP {code}), not {version}")
    _say_time(stage, agent, began, "dagferry ship")
    _check_live(stage, version)
    return version


def _say_time(stage: Stage, agent: Agent, began: int, command: str, how: str = "") -> None:
    """What the pull cost, by the agent's own log, and how long the change took to get here.

    In a folder the kernel says when the new head came; a server's times are whole seconds, so there it is from the
    start of the command.
    """
    stage.commands.run("tail", "-n", "1", str(agent.log))
    since = f"the start of `{command}`"
    if stage.store.folder is not None:
        since = "the new head in the store"
        began = (stage.store.folder / layout.head(stage.repository.bundle, CHANNEL)).stat().st_ctime_ns
    spent = max(0.0, ((stage.pod / "current").lstat().st_ctime_ns - began) / 1e6)
    stage.story.check(spent < PATIENCE * 1000, f"{spent:.0f} ms from {since} to the live link on the pod{how}")


def _check_live(stage: Stage, version: str) -> str:
    """The live folder holds the version's tree, bit for bit what git has. The link's target."""
    target = str((stage.pod / "current").readlink())
    shown = stage.commands.facts("dagferry", "show", version)
    tree = shown["tree"].removeprefix("sha256:")
    stage.story.check(target == f"releases/{tree[:16]}", f"current -> {target}, the tree of {version}")
    count, size = stage.repository.compare(shown["commit"], stage.pod / "current")
    stage.story.check(True, f"{count} files, {size:,} bytes: each has the bytes and the x bit that git has")
    return target


def _look_into_store(stage: Stage, versions: tuple[str, ...]) -> None:
    """Which objects there are, whatever kind of store it is, and that all are there which a reader needs."""
    story, commands, bundle = stage.story, stage.commands, stage.repository.bundle
    story.step("What lies in the store")
    found = commands.run(sys.executable, "-I", "-c", _NAMES, stage.store.url, f"{bundle}/", show=False).splitlines()
    story.said("(its objects, by the interface that every store has)\n" + "\n".join(found))
    generation = commands.facts("dagferry", "log")["records"][0]["generation"]
    needed = {layout.store_json(bundle), layout.head(bundle, CHANNEL)}
    needed |= {layout.log(bundle, CHANNEL, earlier) for earlier in range(1, generation)}
    for version in versions:
        tree = commands.facts("dagferry", "show", version)["tree"]
        needed |= {layout.version(bundle, version), layout.tarball(bundle, tree), layout.files(bundle, tree)}
    story.check(
        needed <= set(found),
        f"{len(found)} objects: head, log 1 to {generation - 1}, and {len(versions)} versions with all they name",
    )
    commands.run("dagferry", "verify", "--channel", CHANNEL)
