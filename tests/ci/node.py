"""What a cluster's node does with a pod, as far as a manifest's own words need it: volumes are folders, a container's
command runs as written, in its environment, with the mounts of its volumes in place.

A process cannot be given a root of its own here without rights, so each mount path is replaced by its volume's folder
wherever it is the beginning of a word or of a variable. The address of the pod becomes a free port of loopback.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.e2e.harness import COMMANDS, environment, wait_for

if TYPE_CHECKING:
    from tests.ci.manifests import Pod

_LISTENING = re.compile(r"listening on (https?://127\.0\.0\.1:[0-9]+)")
Container = dict[str, Any]


class Node:
    """One pod, with the store in place of the one that its manifest names."""

    def __init__(self, pod: Pod, folder: Path, store_url: str) -> None:
        self._pod = pod
        self._store_url = store_url
        self._log = folder / "serve.log"
        self._volumes = {volume["name"]: folder / "volumes" / volume["name"] for volume in pod.spec["volumes"]}
        self._process: subprocess.Popen[bytes] | None = None
        for place in self._volumes.values():
            place.mkdir(parents=True)

    def inside(self, container: Container, path: str) -> str:
        """Where a path of the container is on this machine."""
        for mount in sorted(container["volumeMounts"], key=lambda one: -len(one["mountPath"])):
            where = mount["mountPath"]
            if path == where or path.startswith(where + "/"):
                return str(self._volumes[mount["name"]]) + path.removeprefix(where)
        return path

    def write(self, container: Container, path: str, content: str) -> None:
        """Put a file where the container finds it, as a secret's volume has it."""
        Path(self.inside(container, path)).write_text(content)

    @property
    def dags(self) -> Path:
        """What Airflow's containers are told to read: the same in each."""
        found = set()
        for one in self._pod.airflow.values():
            folder = self._pod.dags_folder or self._pod.told(one)["AIRFLOW__CORE__DAGS_FOLDER"]
            found.add(self.inside(one, folder))
        (path,) = found
        return Path(path)

    def _command(self, container: Container) -> list[str]:
        words: list[str] = []
        for word in container["command"]:
            words += COMMANDS.get(word, [self.inside(container, word)])
        return ["127.0.0.1:0" if word.startswith("0.0.0.0:") else word for word in words]

    def _environment(self, container: Container) -> dict[str, str]:
        told = {name: self.inside(container, value) for name, value in self._pod.told(container).items()}
        return environment(**{**told, "DAGFERRY_AGENT_STORE": self._store_url})

    def run(self, container: Container) -> subprocess.CompletedProcess[str]:
        """An init container, to its end."""
        return subprocess.run(
            self._command(container),
            env=self._environment(container),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def start(self, container: Container) -> str:
        """A sidecar; its address."""
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command(container), env=self._environment(container), stdin=subprocess.DEVNULL, stderr=log
            )

        def address() -> str | None:
            found = _LISTENING.search(self._log.read_text())
            assert found or (self._process and self._process.poll() is None), self._log.read_text()
            return found[1] if found else None

        return wait_for(address, "the agent's address in its log")

    def stop(self) -> None:
        """End what still runs."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
