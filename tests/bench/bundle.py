"""What a bundle costs Airflow 3: ours beside `S3DagBundle` and `GitDagBundle`, on the same 1,200 files.

    python -m tests.bench.bundle --python PYTHON [--rounds 7] [--json FILE]

``PYTHON`` is that of an environment with Airflow 3, ``apache-airflow-providers-amazon`` and
``apache-airflow-providers-git``. Each case is one process as Airflow's components are, which has imported everything
before it is asked; the peers take turns in each round, and the medians are told. One S3 server (moto) has the files as
objects, and our store, once unsigned and once signed; a ``git daemon`` has the repository. All is on loopback, where a
request costs a millisecond: over a network, what counts is their number.

* first: ``initialize`` on an empty disk, as a dag-processor does it. unchanged: ``refresh`` when there is nothing new.
  changed: ``refresh`` after one file changed.
* warm task: ``initialize`` of a new process with the version of its run, on a disk that has it. cold task: the same on
  an empty disk. `S3DagBundle` has no versions: its tasks take what is in the bucket.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import boto3

from tests.airflow.standing import free_port, install
from tests.bench.counted import Traffic, relay
from tests.e2e.harness import BUNDLE, Operator, Repository, run
from tests.storage import servers
from tests.storage.processes import listens, running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.bench.counted import Relay

FILES: Final = 1_200
DAG_FILES: Final = 300
CASES: Final = ("first", "unchanged", "changed", "warm task", "cold task")
OURS: Final = "dagferry_agent.airflow_bundle.DagferryBundle"

CHILD: Final = """
import importlib, json, os, sys, time
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # Airflow logs to stdout
asked = json.loads(sys.stdin.readline())
module, _, name = asked["class"].rpartition(".")
kind = getattr(importlib.import_module(module), name)
import boto3, botocore.session  # what a task's process has imported anyway is not counted
bundle = None
print("ready", file=answers, flush=True)
for line in sys.stdin:
    began = time.perf_counter()
    if line.strip() == "initialize":
        bundle = kind(name=asked["name"], version=asked["version"], **asked["kwargs"])
        bundle.initialize()
    else:
        bundle.refresh()
    seconds = time.perf_counter() - began
    found = bundle.get_current_version()
    version = getattr(found, "version", found)
    files = sum(1 for path in bundle.path.rglob("*.py"))
    print(json.dumps({"seconds": seconds, "version": version, "files": files}), file=answers, flush=True)
"""


def corpus() -> Iterator[tuple[str, str]]:
    """The paths and texts of a team's repository: DAGs, their helpers and queries."""
    for number in range(DAG_FILES):
        tasks = "\n".join(f'    step_{one} = EmptyOperator(task_id="step_{one}")' for one in range(number % 7 + 3))
        yield (
            f"dags/area_{number % 20:02}/dag_{number:03}.py",
            (
                "from airflow.providers.standard.operators.empty import EmptyOperator\nfrom airflow.sdk import DAG\n\n"
                f'with DAG("shop_{number:03}", schedule=None, tags=["area-{number % 20}"]):\n{tasks}\n'
            ),
        )
    for number in range(FILES - DAG_FILES):
        lines = "\n".join(f"    total += rows[{one}] * {(number + one) % 97}" for one in range(number % 40 + 10))
        yield (
            f"dags/shared/part_{number % 50:02}/helper_{number:03}.py",
            (f"def compute_{number}(rows):\n    total = 0\n{lines}\n    return total\n"),
        )


@dataclass
class Peer:
    """One way to have the DAGs: the bundle's class, what it is given, and the relay that its traffic goes through."""

    name: str
    kind: str
    kwargs: dict[str, Any]
    relay: Relay
    pinned: bool = True


@dataclass
class Child:
    """A process of Airflow with one bundle, which does what it is told."""

    process: subprocess.Popen[str]
    relay: Relay

    def do(self, what: str) -> tuple[float, Traffic, dict[str, Any]]:
        """Seconds, traffic, and what there is afterwards."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        before = self.relay.traffic
        self.process.stdin.write(f"{what}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, "the process ended"
        time.sleep(0.05)  # what is on its way through the relay
        found = json.loads(line)
        return found["seconds"], self.relay.traffic.since(before), found

    def close(self) -> None:
        self.process.communicate()


@dataclass
class Bench:
    """The servers, the peers, and the repository that changes."""

    folder: Path
    python: Path
    site: Path
    s3: Any
    repository: Repository
    operators: dict[str, Operator]
    peers: list[Peer]
    measured: dict[tuple[str, str], list[tuple[float, Traffic]]] = field(default_factory=lambda: defaultdict(list))

    def change(self, files: dict[str, str], word: str) -> dict[str, str]:
        """One state of the repository, in all stores; the version of it, by peer."""
        commit = self.repository.change(files, word)
        with ThreadPoolExecutor(8) as pool:
            put = lambda item: self.s3.put_object(Bucket=servers.BUCKET, Key=f"plain/{item[0]}", Body=item[1].encode())  # noqa: E731
            list(pool.map(put, files.items()))
        self.repository.git("push", "--quiet", "origin", "main")
        versions = {name: operator.ship("HEAD", "--no-lint")["version"] for name, operator in self.operators.items()}
        return {**versions, "GitDagBundle": commit}

    def start(self, peer: Peer, disk: Path, version: str | None) -> Child:
        """A process with the peer's bundle, whose disk is that folder."""
        home = self.folder / "home"
        endpoint = f"http://127.0.0.1:{peer.relay.port}"
        connection = {"conn_type": "aws", "extra": {"endpoint_url": endpoint, "region_name": "us-east-1"}}
        environment = {
            "PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8", "AIRFLOW_HOME": str(home),
            "PYTHONPATH": str(self.site), "GIT_CONFIG_NOSYSTEM": "1",
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False", "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
            "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH": str(disk),
            "AIRFLOW_CONN_AWS_DEFAULT": json.dumps(connection), "AWS_DEFAULT_REGION": "us-east-1",
            **servers.CREDENTIALS,
        }  # fmt: skip
        process = subprocess.Popen(
            [self.python, "-W", "ignore", "-c", CHILD], env=environment, text=True, cwd=self.folder,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=(self.folder / "said").open("a"),
        )  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        asked = {"class": peer.kind, "name": BUNDLE, "version": version, "kwargs": peer.kwargs}
        process.stdin.write(json.dumps(asked) + "\n")
        process.stdin.flush()
        while (line := process.stdout.readline().strip()) != "ready":
            assert line or process.poll() is None, (self.folder / "said").read_text()[-3000:]
        return Child(process, peer.relay)

    def take(self, case: str, peer: Peer, child: Child, what: str, version: str | None) -> None:
        """Measure one case; what is there afterwards has to be right."""
        seconds, traffic, found = child.do(what)
        assert found["files"] == FILES, (case, peer.name, found)
        assert version is None or found["version"] == version, (case, peer.name, found, version)
        self.measured[case, peer.name].append((seconds, traffic))

    def round(self, number: int, versions: dict[str, str]) -> dict[str, str]:
        """All cases, the peers taking turns; the versions afterwards."""
        disks = {peer.name: self.folder / f"disk-{number}-{peer.name.replace(' ', '-')}" for peer in self.peers}
        children = {}
        for peer in self.peers:
            children[peer.name] = self.start(peer, disks[peer.name], None)
            self.take("first", peer, children[peer.name], "initialize", versions.get(peer.name))
            for _ in range(2):  # what follows a switch is over by the second
                children[peer.name].do("refresh")
            self.take("unchanged", peer, children[peer.name], "refresh", versions.get(peer.name))
        changed = dict(corpus())
        path = sorted(changed)[number % DAG_FILES]
        time.sleep(1.1)  # S3DagBundle compares whole seconds
        versions = self.change({path: f"{changed[path]}# round {number}\n"}, f"round {number}")
        for peer in self.peers:
            self.take("changed", peer, children[peer.name], "refresh", versions.get(peer.name))
            children[peer.name].close()
        for case, cold in (("warm task", False), ("cold task", True)):
            for peer in self.peers:
                disk = disks[peer.name].with_suffix(".cold") if cold else disks[peer.name]
                child = self.start(peer, disk, versions[peer.name] if peer.pinned else None)
                self.take(case, peer, child, "initialize", versions.get(peer.name))
                child.close()
        return versions

    def table(self) -> str:
        """The medians, as Markdown."""
        lines = ["| case | bundle | ms | requests | bytes out | bytes in |", "| --- | --- | --- | --- | --- | --- |"]
        for case in CASES:
            for peer in self.peers:
                found = self.measured[case, peer.name]
                seconds = statistics.median(one for one, _ in found)
                middle = [statistics.median(values) for values in zip(*(traffic for _, traffic in found), strict=True)]
                requests, connections, sent, received = (round(one) for one in middle)
                asked = f"{requests}" if requests or not connections else f"({connections} connections)"
                lines.append(f"| {case} | {peer.name} | {1000 * seconds:.1f} | {asked} | {sent:,} | {received:,} |")
        return "\n".join(lines)


def _bench(at_the_end: ExitStack, folder: Path, python: Path) -> Bench:
    endpoint = at_the_end.enter_context(servers.s3())
    s3 = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", **_credentials())
    upstream = urlsplit(endpoint).port
    assert upstream is not None
    repository = Repository(folder / "clone")
    subprocess.run(["git", "init", "--quiet", "--bare", "-b", "main", str(folder / "git" / "dags.git")], check=True)
    (folder / "git" / "dags.git" / "git-daemon-export-ok").touch()
    repository.git("remote", "add", "origin", str(folder / "git" / "dags.git"))
    port = free_port()
    daemon = ["git", "daemon", "--reuseaddr", f"--base-path={folder / 'git'}", "--listen=127.0.0.1", f"--port={port}"]
    at_the_end.enter_context(running(daemon, folder / "git", lambda: listens(port)))
    relays = [at_the_end.enter_context(relay(one)) for one in (upstream, upstream, upstream, port)]
    run("dagferry", "keys", "generate", "--name=ci", f"--out={folder / 'keys'}", cwd=folder)
    operators, peers = {}, []
    for name, prefix, signed, one in (("ours", "ours", False, relays[0]), ("ours, signed", "signed", True, relays[1])):
        direct, counted = (
            f"s3://{servers.BUCKET}/{prefix}?endpoint=http://127.0.0.1:{at}&region=us-east-1"
            for at in (upstream, one.port)
        )
        options = {**servers.CREDENTIALS, "DAGFERRY_CHANNEL": "prod"}
        kwargs = {"store": counted, "bundle": BUNDLE, "channel": "prod", "refresh_interval": 600}
        if signed:
            ring = folder / "keys"
            options |= {"DAGFERRY_SIGNER": str(ring / "ci.pem"), "DAGFERRY_KEYRING": str(ring)}
            kwargs["keyring"] = str(ring)
        operators[name] = Operator(repository.path, direct, options)
        peers.append(Peer(name, OURS, kwargs, one))
    objects = {"bucket_name": servers.BUCKET, "prefix": "plain/dags"}
    kind = "airflow.providers.amazon.aws.bundles.s3.S3DagBundle"
    peers.append(Peer("S3DagBundle", kind, objects, relays[2], pinned=False))
    tracked = {"tracking_ref": "main", "subdir": "dags", "repo_url": f"git://127.0.0.1:{relays[3].port}/dags.git"}
    peers.append(Peer("GitDagBundle", "airflow.providers.git.bundles.git.GitDagBundle", tracked, relays[3]))
    return Bench(folder, python, install(python, folder / "installed"), s3, repository, operators, peers)


def _credentials() -> dict[str, str]:
    found = servers.CREDENTIALS
    return {
        "aws_access_key_id": found["AWS_ACCESS_KEY_ID"],
        "aws_secret_access_key": found["AWS_SECRET_ACCESS_KEY"],
    }


def main() -> None:
    """Run the bench, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path, default=None)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dagferry-bench-") as top, ExitStack() as at_the_end:
        bench = _bench(at_the_end, Path(top), asked.python.absolute())
        home = bench.folder / "home"
        home.mkdir()
        migrate = [str(bench.python), "-W", "ignore", "-m", "airflow", "db", "migrate"]
        environment = {"PATH": os.environ["PATH"], "HOME": str(home), "AIRFLOW_HOME": str(home)}
        subprocess.run(migrate, env=environment, check=True, capture_output=True)
        versions = bench.change(dict(corpus()), "all of it")
        for number in range(asked.rounds):
            versions = bench.round(number, versions)
            sys.stderr.write(f"round {number + 1} of {asked.rounds}\n")
        sys.stdout.write(f"{bench.table()}\n")
        if asked.json is not None:
            figures = [
                {"case": case, "bundle": name, "seconds": seconds, **traffic._asdict()}
                for (case, name), found in bench.measured.items()
                for seconds, traffic in found
            ]
            asked.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
