"""Everything an outside tester needs: git repositories, the two commands as processes, an agent that runs, waiting.

* Nothing of `dagferry` is imported: the commands are the scripts beside this Python where the distribution is
  installed, and the checkout's entry points where it is not. The same tests run on both.
* Processes get an environment of their own: no git configuration, no ``DAGFERRY_*``, no CI variables of the machine.
* A command that fails has to do it as the contract says, whatever the test is about: exactly one JSON document on
  stdout, with a code, a message and a hint, and no traceback. `Outcome.document` and `Outcome.error` see to that.
* The store is a URL. Only tests that are marked as local look into it.
* With ``DAGFERRY_TEST_SIGNED`` set, every command signs and has a keyring, and so has every agent.
"""

from __future__ import annotations

import functools
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import requests

from tests.storage import servers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    T = TypeVar("T")

CHECKOUT = Path(__file__).parents[2]
COMPONENTS = ("schemas", "storage", "builder", "agent")
ENTRY_POINTS = {"dagferry": "dagferry_builder.cli", "dagferry-agent": "dagferry_agent.cli"}
BUNDLE = "etl"
PATIENCE = 20.0  # seconds for whatever should take much less
FIRST_COMMIT = 1767225600  # 2026-01-01T00:00:00Z; every commit of a repository is a minute later
_LISTENING = re.compile(r"listening on (https?://127\.0\.0\.1:[0-9]+)")

Content = dict[str, tuple[bool, bytes]]
"""Files by path: x bit and bytes."""


def _command(program: str) -> list[str]:
    script = Path(sys.executable).with_name(program)
    if _installed() and script.is_file():
        return [str(script)]
    return [sys.executable, "-c", f"from {ENTRY_POINTS[program]} import main; main()"]


def _installed() -> bool:
    try:
        metadata.distribution("dagferry")
    except metadata.PackageNotFoundError:
        return False
    return True


COMMANDS = {program: _command(program) for program in ENTRY_POINTS}
SIGNED = "DAGFERRY_TEST_SIGNED"
"""Set for the runs in which everything is signed."""
NO_LINT = "DAGFERRY_NO_LINT"
"""A test sets it for itself whose subject is what lint would refuse."""
_COMPILED = tempfile.TemporaryDirectory(prefix="dagferry-e2e-")


def environment(**changes: str | None) -> dict[str, str]:
    """The environment of every process that a test starts; None takes a variable out."""
    found = _unsigned_environment() | (_signing() if os.environ.get(SIGNED) else {})
    for name, value in changes.items():
        found.pop(name, None)
        if value is not None:
            found[name] = value
    return found


@functools.cache
def _signing() -> dict[str, str]:
    """The variables that make every process sign, and believe only what was signed; with one key for a run."""
    folder = Path(_COMPILED.name) / "keys"
    command = [*COMMANDS["dagferry"], "keys", "generate", "--name=ci", f"--out={folder}"]
    subprocess.run(command, cwd=_COMPILED.name, env=_unsigned_environment(), stdout=subprocess.DEVNULL, check=True)
    ring = str(folder)  # with the private key beside the entry: of a keyring, only what ends in .json is read
    return {"DAGFERRY_SIGNER": f"{folder}/ci.pem", "DAGFERRY_KEYRING": ring, "DAGFERRY_AGENT_KEYRING": ring}


def _unsigned_environment() -> dict[str, str]:
    found = {
        "PATH": os.environ["PATH"],
        "HOME": _COMPILED.name,
        "LANG": "C.UTF-8",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        **servers.CREDENTIALS,
        **{name: os.environ[name] for name in (servers.EMULATOR, NO_LINT) if name in os.environ},
        "PYTHONPYCACHEPREFIX": _COMPILED.name,  # a start costs half with it, and the checkout stays clean
    }
    if not _installed():
        found["PYTHONPATH"] = os.pathsep.join(str(CHECKOUT / name) for name in COMPONENTS)
    return found


def away(store_url: str) -> str:
    """A store of the same kind that nobody reaches: a folder that is not there, a port where nobody listens."""
    address, endpoint, _ = store_url.partition("?endpoint=")
    if store_url.startswith("gs://"):
        return "gs://a-bucket-that-is-not-there/e2e"
    return f"{address}?endpoint=http://127.0.0.1:1" if endpoint else f"{address}-that-is-away"


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    arguments: tuple[str, ...]
    code: int
    stdout: str
    stderr: str

    @property
    def document(self) -> dict[str, Any]:
        """The one JSON document on stdout."""
        try:
            found = json.loads(self.stdout)
        except ValueError:
            raise AssertionError(f"stdout is not one JSON document: {self}") from None
        assert isinstance(found, dict), self
        return found

    @property
    def error(self) -> dict[str, str]:
        """The error, after a look at whether it is one that a user can work with."""
        error = self.document.get("error")
        assert isinstance(error, dict), self
        assert set(error) == {"code", "message", "hint"}, self
        assert error["code"], self
        assert error["message"], self
        assert error["hint"], f"no word on what to do next: {self}"
        assert "Traceback" not in self.stderr, self
        return cast("dict[str, str]", error)


def run(
    program: str,
    *arguments: str,
    cwd: Path,
    expect: int | None = 0,
    env: Mapping[str, str | None] | None = None,
    umask: int = -1,
    timeout: float = 60,
) -> Outcome:
    """Run ``program`` with ``-o json`` to its end, and insist on the exit code (None: any) and on one document."""
    every = (*arguments, "-o", "json")
    done = subprocess.run(
        [*COMMANDS[program], *every],
        cwd=cwd,
        env=environment(**(env or {})),
        umask=umask,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=timeout,
        check=False,
    )
    outcome = Outcome((program, *every), done.returncode, done.stdout, done.stderr)
    assert expect in (None, outcome.code), f"exit code {outcome.code} instead of {expect}: {outcome}"
    assert ("error" in outcome.document) == (outcome.code != 0), outcome
    if outcome.code:
        assert outcome.error
    return outcome


class Repository:
    """A git repository of DAGs. Authors and dates are fixed, so the same content has the same commit ids."""

    def __init__(self, path: Path, *, config: str = f'[bundles.{BUNDLE}]\nroot = "dags"\n') -> None:
        self.path = path
        self._commits = 0
        path.mkdir(parents=True)
        self.git("init", "--quiet", "--initial-branch=main")
        if config:
            self.write("dagferry.toml", config)

    def git(self, *arguments: str, content: bytes | None = None) -> str:
        """What git says, without the last line end."""
        return self.git_bytes(*arguments, content=content).decode("utf-8", "surrogateescape").rstrip("\n")

    def git_bytes(self, *arguments: str, content: bytes | None = None) -> bytes:
        """What git says."""
        date = f"{FIRST_COMMIT + 60 * self._commits} +0000"
        who = {"NAME": "Ada", "EMAIL": "ada@example.com", "DATE": date}
        identity = {f"GIT_{role}_{name}": value for role in ("AUTHOR", "COMMITTER") for name, value in who.items()}
        done = subprocess.run(
            ["git", "-c", "core.autocrlf=false", "-c", "protocol.file.allow=always", *arguments],
            cwd=self.path,
            env=environment(**identity),
            input=content,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, f"git {arguments}: {done.stderr.decode(errors='replace')}"
        return done.stdout

    def write(self, path: str, content: str | bytes, *, executable: bool = False) -> None:
        """Write one file of the working tree."""
        place = self.path / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content.encode() if isinstance(content, str) else content)
        place.chmod(0o755 if executable else 0o644)

    def link(self, path: str, target: str) -> None:
        """Make one symbolic link in the working tree."""
        place = self.path / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(target)

    def commit(self, message: str = "change") -> str:
        """Commit all that is in the working tree; the commit's id."""
        self._commits += 1
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", f"--message={message}")
        return self.git("rev-parse", "HEAD")

    def change(self, content: Mapping[str, str | bytes], message: str = "change") -> str:
        """Write files and commit them; the commit's id."""
        for path, text in content.items():
            self.write(path, text)
        return self.commit(message)

    def entries(self, rev: str = "HEAD", root: str = "dags") -> dict[str, tuple[str, str]]:
        """What ``git ls-tree -r`` says of ``root``: mode and object id by path below it."""
        found = {}
        for line in self.git_bytes("ls-tree", "-r", "-z", "--full-tree", rev, root + "/").split(b"\0"):
            facts, _, path = line.partition(b"\t")
            if path:
                mode, _, name = facts.decode().split()
                found[path.decode().removeprefix(root + "/")] = (mode, name)
        return found

    def content(self, rev: str = "HEAD", root: str = "dags") -> Content:
        """The files of ``root`` as git has them; for commits without links and submodules."""
        found = {}
        for path, (mode, name) in self.entries(rev, root).items():
            assert mode in ("100644", "100755"), path
            found[path] = (mode == "100755", self.git_bytes("cat-file", "blob", name))
        return found


@dataclass(frozen=True)
class Operator:
    """Someone with a clone and a store; runs `dagferry` there. Options go by environment variables."""

    folder: Path
    store_url: str | None
    options: Mapping[str, str] = field(default_factory=dict)

    def run(self, *arguments: str, expect: int = 0, env: Mapping[str, str | None] | None = None) -> dict[str, Any]:
        """The document that the command printed."""
        return self.outcome(*arguments, expect=expect, env=env).document

    def fail(self, code: int, *arguments: str, env: Mapping[str, str | None] | None = None) -> dict[str, str]:
        """The error that the command ended with."""
        return self.outcome(*arguments, expect=code, env=env).error

    def outcome(self, *arguments: str, expect: int = 0, env: Mapping[str, str | None] | None = None) -> Outcome:
        """How the command ended, after it ended as expected."""
        every = {"DAGFERRY_STORE": self.store_url, **self.options, **(env or {})}
        return run("dagferry", *arguments, cwd=self.folder, expect=expect, env=every)

    def text(self, *arguments: str) -> str:
        """What the command printed for people on stdout."""
        every = {"DAGFERRY_STORE": self.store_url, **self.options}
        command = [*COMMANDS["dagferry"], *arguments]
        return subprocess.run(
            command, cwd=self.folder, env=environment(**every), capture_output=True, text=True, timeout=60, check=True
        ).stdout

    def publish(self, rev: str = "HEAD", *arguments: str) -> str:
        """The version of ``rev``, which is in the store from then on."""
        return str(self.run("publish", "--rev", rev, *arguments)["version"])

    def on(self, channel: str) -> Operator:
        """The same person, who has one channel in mind."""
        return Operator(self.folder, self.store_url, {**self.options, "DAGFERRY_CHANNEL": channel})

    def ship(self, rev: str = "HEAD", *arguments: str) -> dict[str, Any]:
        """What the post-merge job says."""
        return self.run("ship", "--rev", rev, *arguments)


@dataclass(frozen=True)
class Pod:
    """An agent's settings and its disk; each call is one run of `dagferry-agent`."""

    root: Path
    store_url: str
    channel: str
    bundle: str = BUNDLE

    @property
    def options(self) -> tuple[str, ...]:
        """What every command of the agent is told."""
        return (
            f"--store={self.store_url}",
            f"--bundle={self.bundle}",
            f"--channel={self.channel}",
            f"--root={self.root}",
            "--agent-id=pod-1",
        )

    def run(self, command: str, *arguments: str, expect: int = 0) -> dict[str, Any]:
        """The document that the command printed."""
        return run("dagferry-agent", command, *self.options, *arguments, cwd=self.root.parent, expect=expect).document

    def pull(self, *arguments: str) -> dict[str, Any]:
        """One pull, as an init container does it."""
        return self.run("pull", *arguments)

    def fail_to_pull(self, code: int, *arguments: str) -> dict[str, str]:
        """The error of a pull that ends with the exit code ``code``."""
        every = (*self.options, *arguments)
        return run("dagferry-agent", "pull", *every, cwd=self.root.parent, expect=code).error

    @property
    def current(self) -> Path:
        """What Airflow reads."""
        return self.root / "current"

    def live(self) -> Content:
        """The files that Airflow reads now."""
        return content_of(self.current)


class Agent:
    """A running `dagferry-agent serve` on a free port, whom `token` may ask everything."""

    def __init__(
        self,
        pod: Pod,
        *arguments: str,
        poll_seconds: float = 0,
        tokens_file: Path | None = None,
        command: Sequence[str] = COMMANDS["dagferry-agent"],
    ) -> None:
        self.pod = pod
        self.token, entry = new_token()
        self._log = pod.root.parent / f"agent-{time.monotonic_ns()}.log"
        self.token_file = self._log.with_suffix(".token")
        self.token_file.write_text(self.token + "\n")
        tokens = tokens_file or self._log.with_suffix(".tokens")
        if tokens_file is None:
            tokens.write_text(json.dumps([entry]))
        with self._log.open("wb") as stderr:
            self.process = subprocess.Popen(
                [
                    *command,
                    "serve",
                    *pod.options,
                    "--listen=127.0.0.1:0",
                    f"--poll-seconds={poll_seconds}",
                    f"--tokens-file={tokens}",
                    *arguments,
                ],
                cwd=pod.root.parent,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
            )
        self.url = wait_for(self._find_url, "the agent's address in its log")

    @property
    def log(self) -> str:
        """All that the agent wrote on stderr so far."""
        return self._log.read_text()

    def _find_url(self) -> str | None:
        found = _LISTENING.search(self.log)
        assert found or self.process.poll() is None, f"the agent ended: {self.log}"
        return found[1] if found else None

    def post(self, body: Mapping[str, Any] | None = None, *, token: str | None = None) -> requests.Response:
        """What ``POST /v1/pull`` answers."""
        headers = {"Authorization": f"Bearer {token or self.token}"}
        return requests.post(f"{self.url}/v1/pull", json=dict(body or {}), headers=headers, timeout=PATIENCE)

    def pull(self, **body: Any) -> dict[str, Any]:  # noqa: ANN401
        """The reply of a pull that has to succeed."""
        reply = self.post(body)
        assert reply.status_code == 200, (reply.status_code, reply.text)
        return cast("dict[str, Any]", reply.json())

    def status(self) -> dict[str, Any]:
        """What ``GET /v1/status`` says."""
        headers = {"Authorization": f"Bearer {self.token}"}
        reply = requests.get(f"{self.url}/v1/status", headers=headers, timeout=PATIENCE)
        assert reply.status_code == 200, (reply.status_code, reply.text)
        return cast("dict[str, Any]", reply.json())

    def ready(self) -> tuple[bool, dict[str, Any]]:
        """Whether ``GET /readyz`` is content, and what it says."""
        reply = requests.get(f"{self.url}/readyz", timeout=PATIENCE)
        assert reply.status_code in (200, 503), (reply.status_code, reply.text)
        return reply.status_code == 200, reply.json()

    def wait_until_ready(self) -> None:
        """Until a verified release is live."""
        wait_for(lambda: self.ready()[0] or None, "a live release")

    def serves(self, version: str) -> bool:
        """Whether the agent says that ``version`` is live."""
        return bool(self.status()["version"] == version)

    def stop(self) -> int:
        """End it by SIGTERM; the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"SIGTERM did not end the agent: {self.log}") from None
        assert "Traceback" not in self.log, self.log
        return code


@functools.cache
def new_token() -> tuple[str, dict[str, Any]]:
    """A token, and its entry for a tokens file; one is enough for a run."""
    made = run("dagferry-agent", "tokens", "generate", cwd=Path(_COMPILED.name)).document
    return made["token"], made["entry"]


def content_of(folder: Path) -> Content:
    """All files below ``folder``; anything that is neither file nor folder fails."""
    found: Content = {}
    for parent, folders, names in os.walk(folder):
        for name in folders:
            assert not (Path(parent) / name).is_symlink(), name
        for name in names:
            path = Path(parent) / name
            assert path.is_file(), path
            assert not path.is_symlink(), path
            found[path.relative_to(folder).as_posix()] = (bool(path.stat().st_mode & 0o111), path.read_bytes())
    return found


def object_ids(folder: Path, paths: Sequence[str]) -> list[str]:
    """What ``git hash-object --no-filters`` says of each file."""
    named = "".join(f"{folder / path}\n" for path in paths).encode()
    done = subprocess.run(
        ["git", "hash-object", "--no-filters", "--stdin-paths"],
        cwd=folder,
        env=environment(),
        input=named,
        capture_output=True,
        check=True,
    )
    return done.stdout.decode().split()


def wait_for(look: Callable[[], T | None], what: str, *, seconds: float = PATIENCE) -> T:
    """What ``look`` finds, once it is not None."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found is not None:
            return found
        assert time.monotonic() < deadline, f"waited {seconds} s in vain for {what}"
        time.sleep(0.02)
