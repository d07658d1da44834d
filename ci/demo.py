"""The main job of dagferry, told step by step; ``ci/demo`` prepares the virtual environment and starts this.

Each step shows the command as one would type it and what it printed, then what the demo looked up by itself: files
against git, the link, HTTP codes. The first thing that is not as promised ends the demo with exit code 1.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn, cast

from dagferry_builder import config

if TYPE_CHECKING:
    from collections.abc import Mapping

SAMPLE: Final = Path(__file__).parent / "sample-dags"
PROGRAMS: Final = Path(sys.executable).parent
CHANNEL: Final = "prod"
FIRST_COMMIT: Final = 1790841600  # 2026-10-01T08:00:00Z; every commit of the demo is a day later
PATIENCE: Final = 30.0
"""Seconds for whatever should take one."""
LISTENING: Final = re.compile(r"listening on (http://\S+)")
EXTRA_FILE: Final = "dagferry_demo.py"


class Broken(Exception):
    """Something is not as promised."""


class Story:
    """What is printed: numbered steps, the commands, what they said, and facts that were looked up."""

    def __init__(self) -> None:
        self._steps = 0
        self.facts = 0

    def step(self, title: str) -> None:
        self._steps += 1
        print(f"\n{self._steps}. {title}", flush=True)

    def command(self, *words: str) -> None:
        print("   $ " + " ".join(words), flush=True)

    def said(self, text: str) -> None:
        for line in text.splitlines():
            print(f"     {line}", flush=True)

    def check(self, holds: bool, fact: str) -> None:
        """Print what was looked up, if it is so. Raises `Broken`."""
        if not holds:
            raise Broken(f"not so: {fact}")
        self.facts += 1
        print(f"   = {fact}", flush=True)


class Demo:
    """One run, in one temporary folder: clone, store, pod and token all lie in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clone = folder / "git" / "shop-dags"
        self.pod = folder / "pod"
        self.log = folder / "agent.log"
        self.story = Story()
        self.agent: subprocess.Popen[bytes] | None = None
        self.url = ""
        self.bundle = ""
        self.root = ""
        self._commits = 0
        self.shown = {
            "DAGFERRY_STORE": str(folder / "store"),
            "DAGFERRY_CHANNEL": CHANNEL,
            "DAGFERRY_ACTOR": "ada",
        }
        self._environment = {
            "PATH": os.pathsep.join([str(PROGRAMS), os.environ.get("PATH", os.defpath)]),
            "HOME": str(folder),
            "TMPDIR": str(folder),
            "LC_ALL": "C.UTF-8",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_LFS_SKIP_SMUDGE": "1",
            **self.shown,
        }

    # Commands and processes

    def run(self, *words: str, expect: int = 0, show: bool = True, env: Mapping[str, str] | None = None) -> str:
        """Run a command in the clone; what it printed. Raises `Broken` if the exit code is another."""
        if show:
            self.story.command(*map(self.as_typed, words))
        cwd = self.clone if self.clone.is_dir() else self.folder
        done = subprocess.run(
            words,
            cwd=cwd,
            env={**self._environment, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
        if show:
            self.story.said(done.stdout.rstrip())
        if done.returncode != expect:
            said = "" if show else f": {done.stdout.strip()}"
            raise Broken(f"{shlex.join(words)} ended with exit code {done.returncode}, not {expect}{said}")
        if show and expect:
            self.story.said(f"[exit code {expect}]")
        return done.stdout

    def facts(self, *words: str) -> dict[str, Any]:
        """The JSON document of a command that only looks, unseen."""
        return cast("dict[str, Any]", json.loads(self.run(*words, "-o", "json", show=False)))

    def git(self, *words: str, show: bool = False) -> str:
        """Run git in the clone, at a fixed time and as a fixed person."""
        date = f"{FIRST_COMMIT + 86400 * self._commits} +0000"
        who = {f"GIT_{role}_{what}": value for role in ("AUTHOR", "COMMITTER")
               for what, value in (("NAME", "Ada"), ("EMAIL", "ada@example.com"), ("DATE", date))}  # fmt: skip
        return self.run("git", *words, show=show, env=who)

    def commit(self, message: str) -> None:
        self._commits += 1
        self.git("add", "--all", "--force")
        self.story.command("git", "commit", "-a", "-m", shlex.quote(message))
        self.git("commit", "--quiet", "--no-verify", "-m", message)

    def as_typed(self, word: str) -> str:
        """The word, with the places that differ from run to run as variables."""
        for name, value in (("AGENT", self.url), ("DEMO", str(self.folder))):
            if value and value in word:
                return word.replace(value, f"${name}")
        return shlex.quote(word)

    # The repository

    def make_sample(self) -> None:
        """The sample as a repository with three commits, the last one tagged."""
        self.clone.mkdir(parents=True)
        self.git("init", "--quiet", "--initial-branch=main")
        parts = (("dagferry.toml", "README.md", "dags/.airflowignore", "dags/shop", "dags/sql", "dags/daily_sales.py"),
                 ("dags/hourly_stock.py",), ("dags/weekly_cleanup.py",))  # fmt: skip
        said = ("Daily sales, and what the DAGs share", "Order what runs out", "Remove old files")
        for paths, message in zip(parts, said, strict=True):
            for path in paths:
                copy_plain(SAMPLE / path, self.clone / path)
            self._commits += 1
            self.git("add", "--all", "--force")
            self.git("commit", "--quiet", "--no-verify", "-m", message)
        self.git("tag", "v1.0.0")

    def clone_from(self, original: Path) -> None:
        """A clone of somebody's repository; with a dagferry.toml, which is made if there is none."""
        self.clone = self.folder / "git" / (original.name.removesuffix(".git") or "dags")
        self.story.command("git", "clone", shlex.quote(str(original)), self.as_typed(str(self.clone)))
        self.git("clone", "--quiet", str(original), str(self.clone))
        if not self.run("git", "for-each-ref", "--count=1", show=False).strip():
            raise Broken(f"{original} has no commits")
        if config.find(self.clone).path is None:
            self.run("dagferry", "init")
            self.commit("Add dagferry.toml")

    def choose_bundle(self) -> None:
        """The first bundle of the config file."""
        bundles = config.find(self.clone).config.bundles
        if not bundles:
            raise Broken("the repository's dagferry.toml names no bundle")
        self.bundle, bundle = next(iter(bundles.items()))
        self.root = bundle.selection.root
        if len(bundles) > 1:
            self.shown["DAGFERRY_BUNDLE"] = self._environment["DAGFERRY_BUNDLE"] = self.bundle

    def change(self, sample: tuple[str, str, str], extra: str, message: str) -> None:
        """Commit a change: in the sample a line of a DAG, elsewhere a small file of ours."""
        path, old, new = sample
        file = self.clone / path
        if file.is_file() and old in file.read_text():
            file.write_text(file.read_text().replace(old, new))
        else:
            (self.clone / self.root / EXTRA_FILE).write_text(extra)
        self.commit(message)

    # The agent

    def start_agent(self, tokens: Path) -> None:
        words = ["serve", "--bundle", self.bundle, "--channel", CHANNEL, "--store", self.shown["DAGFERRY_STORE"],
                 "--root", str(self.pod), "--listen", "127.0.0.1:0", "--tokens-file", str(tokens),
                 "--poll-seconds", "0"]  # fmt: skip
        self.story.command("dagferry-agent", *map(self.as_typed, words), "2> $DEMO/agent.log &")
        with self.log.open("wb") as log:
            self.agent = subprocess.Popen(
                [str(PROGRAMS / "dagferry-agent"), *words],
                cwd=self.folder,
                env={name: value for name, value in self._environment.items() if not name.startswith("DAGFERRY")},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + PATIENCE
        while not (found := LISTENING.search(self.log.read_text())) or self.ask("GET", "/readyz")[0] != 200:
            if found:
                self.url = found[1]
            if self.agent.poll() is not None or time.monotonic() > deadline:
                raise Broken(f"the agent did not start:\n{self.log.read_text()}")
            time.sleep(0.02)
        self.url = found[1]

    def ask(self, method: str, path: str, token: str | None = None) -> tuple[int, dict[str, Any]]:
        """One HTTP request: the code, and the document. 0 where nobody answers yet."""
        if not self.url:
            return 0, {}
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        request = urllib.request.Request(self.url + path, method=method, headers=headers)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=PATIENCE) as reply:
                return reply.status, json.loads(reply.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())
        except OSError:
            return 0, {}

    def stop_agent(self) -> int:
        """End the agent by SIGTERM, if it runs, and by force if that does not help; its exit code."""
        if self.agent is None:
            return 0
        self.agent.terminate()
        try:
            return self.agent.wait(10)
        except subprocess.TimeoutExpired:
            self.agent.kill()
            return self.agent.wait()

    # What the demo looks up by itself

    def check_live(self, version: str) -> str:
        """The live folder holds the version's tree, bit for bit what git has. The link's target."""
        target = str((self.pod / "current").readlink())
        tree = self.facts("dagferry", "show", version)["tree"].removeprefix("sha256:")
        self.story.check(target == f"releases/{tree[:16]}", f"current -> {target}, the tree of {version}")
        count, size = self._compare(self.facts("dagferry", "show", version)["commit"])
        self.story.check(True, f"{count} files, {size:,} bytes: each has the bytes and the x bit that git has")
        return target

    def _compare(self, commit: str) -> tuple[int, int]:
        """Compare the live folder with the commit; links and submodules are the builder's business, not git's blobs."""
        live = self.pod / "current"
        found = {path.relative_to(live).as_posix(): path for path in live.rglob("*") if path.is_file()}
        entries = self._git_entries(commit)
        special = any(mode in ("120000", "160000") for mode, _ in entries.values())
        wanted = {path: entry for path, entry in entries.items() if entry[0] in ("100644", "100755")}
        if wanted.keys() - found.keys() or (found.keys() - wanted.keys() and not special):
            raise Broken(f"the live files are not those of git: {sorted(wanted.keys() ^ found.keys())[:10]}")
        listed = "".join(f"{found[path]}\n" for path in wanted)
        done = subprocess.run(["git", "hash-object", "--no-filters", "--stdin-paths"], input=listed, text=True,
                              cwd=self.clone, env=self._environment, stdout=subprocess.PIPE, check=True)  # fmt: skip
        for (path, (mode, blob)), digest in zip(wanted.items(), done.stdout.split(), strict=True):
            executable = bool(found[path].stat().st_mode & stat.S_IXUSR)
            if digest != blob or executable != (mode == "100755"):
                raise Broken(f"{path} is not what git has")
        return len(found), sum(path.stat().st_size for path in found.values())

    def _git_entries(self, commit: str) -> dict[str, tuple[str, str]]:
        place = f"{commit}:{self.root}" if self.root else commit
        entries = {}
        for line in self.run("git", "ls-tree", "-r", "-z", "--full-tree", place, show=False).split("\0"):
            if line:
                facts, _, path = line.partition("\t")
                mode, _, blob = facts.split()
                entries[path] = (mode, blob)
        return entries

    def milliseconds_to_live(self) -> float:
        """From the new head in the store to the new link on the pod, by the times that the kernel put on both."""
        head = self.folder / "store" / self.bundle / "channels" / CHANNEL / "head.json"
        return ((self.pod / "current").lstat().st_ctime_ns - head.stat().st_ctime_ns) / 1e6

    def say_time(self, how: str = "") -> None:
        """What the pull cost, by the agent's own log, and how long the change took to get here."""
        self.run("tail", "-n", "1", str(self.log))
        spent = max(0.0, self.milliseconds_to_live())
        self.story.check(
            spent < PATIENCE * 1000,
            f"{spent:.0f} ms from the new head in the store to the live link on the pod{how}",
        )


def copy_plain(source: Path, target: Path) -> None:
    """Copy a file or folder of the sample without caches, and with plain modes whatever the umask."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        for path in sorted(source.iterdir()):
            if path.name != "__pycache__":
                copy_plain(path, target / path.name)
    else:
        target.write_bytes(source.read_bytes())


def tell(demo: Demo, original: Path | None) -> None:
    """The whole story."""
    story = demo.story
    print(f"DEMO={demo.folder}")
    _repository(demo, original)
    first = _publish(demo)
    _start(demo)
    first_target = demo.check_live(first)

    story.step("A second commit goes live")
    sample = ("dags/hourly_stock.py", "LEAST = 5", "LEAST = 8")
    demo.change(sample, '"""Added by the demo."""\n', "Order earlier" if original is None else "Add a file")
    second = _ship(demo)
    demo.say_time()
    demo.check_live(second)

    story.step("It was a mistake: back, with one command")
    demo.run("dagferry", "rollback", "--reason", "too many orders")
    demo.run("dagferry", "notify")
    demo.say_time(", both commands included")
    story.check(demo.check_live(first) == first_target, "it is the very release that was live before")

    story.step("The next merge does not undo the rollback: the channel is held")
    sample = ("dags/weekly_cleanup.py", "timedelta(days=31)", "timedelta(days=60)")
    extra = '"""Added by the demo, and changed by it."""\n'
    demo.change(sample, extra, "Keep files longer" if original is None else "Change the file")
    demo.run("dagferry", "ship", expect=3)
    story.check(str((demo.pod / "current").readlink()) == first_target, f"{first} is still live")

    story.step("Resume, and the merge goes live")
    demo.run("dagferry", "resume", "--reason", "orders are right again")
    third = _ship(demo)
    demo.say_time()
    demo.check_live(third)

    story.step("What happened, and what is live")
    demo.run("dagferry", "log")
    demo.run("dagferry", "status")
    converged = demo.facts("dagferry", "status")["converged"]
    story.check(converged is True, "channel and agent agree")


def _repository(demo: Demo, original: Path | None) -> None:
    demo.story.step("A DAG repository")
    if original is None:
        demo.make_sample()
    else:
        demo.clone_from(original)
    demo.choose_bundle()
    demo.git("log", "--oneline", "--decorate", "--max-count=5", show=True)
    demo.run("dagferry", "version")


def _publish(demo: Demo) -> str:
    story = demo.story
    story.step("Build, publish, promote")
    for name, value in demo.shown.items():
        story.command("export", f"{name}={demo.as_typed(value)}")
    out = demo.folder / "dist"
    demo.run("dagferry", "build", "--out", str(out))
    tarball = next(out.glob("*.tar.zst"))
    unpacked = demo.folder / "unpacked"
    unpacked.mkdir()
    demo.run("tar", "--zstd", "-xf", str(tarball), "-C", str(unpacked))
    files = [path for path in unpacked.rglob("*") if path.is_file()]
    built = demo.facts("dagferry", "build", "--out", str(out))
    story.check(len(files) == built["files"], f"{len(files)} files in the tarball, by plain tar")
    demo.run("dagferry", "publish")
    version = str(built["version"])
    demo.run("dagferry", "promote", version)
    shutil.rmtree(unpacked)
    return version


def _start(demo: Demo) -> None:
    story = demo.story
    story.step("An agent, as it runs beside Airflow")
    made = demo.facts("dagferry-agent", "tokens", "generate", "--id", "ci")
    story.command("dagferry-agent", "tokens", "generate", "--id", "ci")
    story.said("(the token goes into $DEMO/token, its entry into $DEMO/tokens.json, which does not hold the token)")
    token, tokens, wrong = (demo.folder / name for name in ("token", "tokens.json", "wrong-token"))
    for file, text in ((token, made["token"]), (tokens, json.dumps([made["entry"]])), (wrong, "dft_wrong")):
        file.touch(mode=0o600)
        file.write_text(text + "\n")
    story.check(made["token"] not in tokens.read_text(), "the tokens file does not hold the token")
    demo.start_agent(tokens)
    story.said(f"AGENT={demo.url}")
    for name, value in (("DAGFERRY_AGENTS", demo.url), ("DAGFERRY_TOKEN_FILE", str(token))):
        demo.shown[name] = demo._environment[name] = value

    story.step("Pull over HTTP: nobody without the token, everybody with it")
    demo.run("dagferry", "notify", "--agents", demo.url, "--token-file", str(wrong), expect=4)
    codes = [demo.ask("POST", "/v1/pull", one)[0] for one in (None, "dft_wrong")]
    story.check(codes == [401, 401], "POST /v1/pull: HTTP 401 without a token, 401 with a wrong one")
    for name in ("DAGFERRY_AGENTS", "DAGFERRY_TOKEN_FILE"):
        story.command("export", f"{name}={demo.as_typed(demo.shown[name])}")
    demo.run("dagferry", "notify")
    code, reply = demo.ask("POST", "/v1/pull", made["token"])
    story.check(code == 200, f"POST /v1/pull with the token: HTTP 200, generation {reply.get('generation')}")

    story.step("What Airflow reads")
    demo.run("ls", "-o", "--time-style=+", f"{demo.pod}/current")
    demo.run("ls", "-A", f"{demo.pod}/current/")


def _ship(demo: Demo) -> str:
    """Ship what is committed; its version, after a look at whether it became the live one."""
    demo.run("dagferry", "ship")
    version = str(demo.facts("dagferry", "version")["version"])
    code, status = demo.ask("GET", "/v1/status", (demo.folder / "token").read_text().strip())
    if code != 200 or status["version"] != version:
        raise Broken(f"the agent serves {status.get('version')} (HTTP {code}), not {version}")
    return version


def main() -> int:
    """Tell the story, clean up; 0 if everything was as promised."""
    parser = argparse.ArgumentParser(prog="ci/demo", description="Run dagferry's main job in a temporary folder.")
    parser.add_argument("repository", nargs="?", type=Path, metavar="DAG-REPOSITORY",
                        help="a git repository whose clone is delivered; without it: ci/sample-dags")  # fmt: skip
    parser.add_argument("--keep", action="store_true", help="leave agent and folder, and say how to end them")
    asked = parser.parse_args()
    original = top_of(asked.repository) if asked.repository else None
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
    demo = Demo(Path(tempfile.mkdtemp(prefix="dagferry-demo-")).resolve())
    kept = False
    try:
        began = time.monotonic()
        tell(demo, original)
        if asked.keep:
            kept = True
            say_how_to_end(demo)
        else:
            demo.story.step("The end")
            demo.story.command("kill", "%1")
            demo.story.check(demo.stop_agent() == 0, "the agent ended with exit code 0")
        print(f"\nAll {demo.story.facts} facts are as promised ({time.monotonic() - began:.1f} s).")
        return 0
    except Broken as broken:
        print(f"\nerror: {broken}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130
    finally:
        if not kept:
            demo.stop_agent()
            shutil.rmtree(demo.folder)


def top_of(repository: Path) -> Path:
    """The top of the working tree, or the bare repository. Ends the program if it is neither."""
    for question in ("--show-toplevel", "--absolute-git-dir"):
        done = subprocess.run(
            ["git", "-C", str(repository), "rev-parse", question], capture_output=True, text=True, check=False
        )
        if done.returncode == 0:
            return Path(done.stdout.rstrip("\n"))
    print(f"error: {repository} is not a git repository: {done.stderr.strip()}", file=sys.stderr)
    sys.exit(2)


def say_how_to_end(demo: Demo) -> None:
    assert demo.agent is not None
    print(f"\nKept: {demo.folder}, and the agent at {demo.url} (process {demo.agent.pid}). To look around:")
    print(f"   export PATH={shlex.quote(str(PROGRAMS))}:$PATH")
    for name, value in demo.shown.items():
        print(f"   export {name}={shlex.quote(value)}")
    print(f"   cd {shlex.quote(str(demo.clone))} && dagferry status")
    print("To end it:")
    print(f"   kill {demo.agent.pid}; rm -rf {shlex.quote(str(demo.folder))}")


def end(number: int, _frame: object) -> NoReturn:
    sys.exit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
