"""A firm that signs: people with a clone and keys, a keyring folder as it is mounted into pods, a store, a pod."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

from tests.e2e.harness import BUNDLE, Operator, Pod

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.e2e.harness import Agent, Repository

CHANNEL = "prod"


class Firm:
    """Commands sign with CI's key and have the keyring, unless they are told otherwise."""

    def __init__(self, folder: Path, clone: Repository, keys: Path) -> None:
        self.folder, self.clone, self.keys = folder, clone, keys
        self.store, self.keyring = folder / "store", folder / "keyring"
        self.keyring.mkdir()
        options = {"DAGFERRY_CHANNEL": CHANNEL, "DAGFERRY_NO_LINT": "1"}
        self.person = Operator(clone.path, self.store.as_uri(), options)
        self.pod = self.pod_of("pod")

    def pod_of(self, name: str) -> Pod:
        """A pod with an empty disk."""
        (self.folder / name).mkdir()
        return Pod(self.folder / name / "root", self.store.as_uri(), CHANNEL)

    def trust(self, *names: str) -> None:
        """These keys' files appear in the keyring."""
        for name in names:
            shutil.copyfile(self.keys / f"{name}.json", self.keyring / f"{name}.json")

    def distrust(self, name: str) -> None:
        """A key's file is taken away."""
        (self.keyring / f"{name}.json").unlink()

    def signed(self, *signers: str, keyring: bool = True) -> list[str]:
        """The options of somebody who signs with these keys."""
        options = [f"--signer={self.keys / name}.pem" for name in signers]
        return [*options, f"--keyring={self.keyring}"] if keyring else options

    def run(self, *arguments: str, by: tuple[str, ...] = ("ci",), keyring: bool = True) -> dict[str, Any]:
        """What the command printed."""
        return self.person.run(*arguments, *self.signed(*by, keyring=keyring))

    def fail(self, code: int, *arguments: str, by: tuple[str, ...] = ("ci",), keyring: bool = True) -> str:
        """The error code of a command that ends with the exit code ``code``, and leaves the channels as they were."""
        before = self.stored("channels/")
        error = self.person.fail(code, *arguments, *self.signed(*by, keyring=keyring))
        assert self.stored("channels/") == before, error
        return error["code"]

    def ship(self, rev: str, *arguments: str, by: tuple[str, ...] = ("ci",), keyring: bool = True) -> dict[str, Any]:
        """What the post-merge job does."""
        return self.run("ship", "--rev", rev, *arguments, by=by, keyring=keyring)

    @property
    def head(self) -> Path:
        """The object that says what is live."""
        return self.store / BUNDLE / "channels" / CHANNEL / "head.json"

    def stored(self, below: str = "") -> dict[str, bytes]:
        """The objects of the bundle, or those below a folder of it."""
        found = (path for path in (self.store / BUNDLE / below).rglob("*") if path.is_file())
        return {path.relative_to(self.store).as_posix(): path.read_bytes() for path in found}

    def backup(self, name: str) -> Path:
        """A copy of the store."""
        return shutil.copytree(self.store, self.folder / name)

    def restore(self, backup: Path) -> None:
        """The store as it was then."""
        shutil.rmtree(self.store)
        shutil.copytree(backup, self.store)


def tag(said: Mapping[str, Any]) -> str:
    """The tag of the version that a command or an agent speaks of."""
    return str(said["version"]).partition("-")[0]


def refusal(agent: Agent) -> str:
    """The error code of a pull that the agent refuses, which is its last error then; it stays ready."""
    before = agent.pod.live()
    reply = agent.post()
    assert reply.status_code >= 400, reply.text
    code = str(reply.json()["error"]["code"])
    assert (agent.status()["last_error"] or {}).get("code") == code
    assert agent.ready()[0], agent.ready()
    assert agent.pod.live() == before
    return code
