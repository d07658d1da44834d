"""Memory stays flat: 5 GiB and 50,000 files need hardly more of it than a small repository, on every kind of store.

Peaks are what the kernel says of each process, and of git below it, after it ended. The small repository has 16 MiB in
one file: that fills the buffers of a build and of a transfer as 5 GiB do. Lint is left out: it keeps a list of the
files that it looks into.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.harness import COMMANDS, Pod, Repository, environment
from tests.storage import servers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.large

GIGABYTES = 5
FILES = 50_000
WITHIN = 1.3
PER_FILE = 200 / 1e6
"""Megabytes of each file more, beyond what the small repository takes `WITHIN` times."""


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    repository = Repository(tmp_path_factory.mktemp("small") / "repository")
    write_dags(repository, 10)
    repository.write("dags/model.bin", secrets.token_bytes(16 * 1024**2))
    repository.commit()
    return repository


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    repository = Repository(tmp_path_factory.mktemp("large") / "repository")
    write_dags(repository, FILES)
    for number in range(GIGABYTES):
        repository.write(f"dags/models/{number}.bin", f"model {number}")
        os.truncate(repository.path / f"dags/models/{number}.bin", 1024**3)
    repository.commit()
    return repository


def write_dags(repository: Repository, count: int) -> None:
    for number in range(count):
        folder = f"dags/team_{number % 50}/area_{number % 1000 // 50}"
        repository.write(f"{folder}/dag_{number:05}.py", f"from airflow import DAG\n\nDAG('dag_{number}')\n")


@pytest.fixture(scope="module", params=["file", "s3", "gs"])
def store_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if request.param == "file":
        yield str(tmp_path_factory.mktemp("stores") / "store")
    elif request.param == "s3":
        with servers.s3() as endpoint:
            yield f"s3://{servers.BUCKET}/large?endpoint={endpoint}"
    else:
        with servers.gcs():
            yield f"gs://{servers.BUCKET}/large"


# A process counts the memory of the one that started it until its own program runs, so a small one starts it.
START = """
import os, sys
process = os.posix_spawnp(sys.argv[2], sys.argv[2:], os.environ)
_, state, used = os.wait4(process, 0)
with open(sys.argv[1], "w") as peak:
    peak.write(str(used.ru_maxrss))
sys.exit(os.waitstatus_to_exitcode(state))
"""


def megabytes(program: str, *arguments: str, cwd: Path) -> tuple[float, dict[str, Any]]:
    """The peak of resident memory of a command that succeeded, and the document that it printed."""
    with tempfile.NamedTemporaryFile() as peak:
        started = [sys.executable, "-I", "-S", "-c", START, peak.name]
        command = [*started, *COMMANDS[program], *arguments, "-o", "json"]
        done = subprocess.run(command, cwd=cwd, env=environment(), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done
        return int(peak.read()) / 1024, json.loads(done.stdout)


def story(repository: Repository, store_url: str, pod: Pod) -> dict[str, float]:
    """The peak of each step from a commit to a live folder, in megabytes."""
    store = f"{store_url.partition('?')[0]}/{pod.channel}{''.join(store_url.partition('?')[1:])}"
    clone, at = repository.path, f"--store={store}"
    agent = Pod(pod.root, store, pod.channel)
    peaks = {}
    peaks["publish"], made = megabytes("dagferry", "publish", "--no-lint", at, cwd=clone)
    peaks["promote"], _ = megabytes("dagferry", "promote", made["version"], at, "--channel", pod.channel, cwd=clone)
    peaks["first pull"], reply = megabytes("dagferry-agent", "pull", *agent.options, cwd=pod.root.parent)
    assert reply["files_written"] == made["files"]
    repository.change({"dags/one_more.py": f"NEW = {secrets.token_hex()!r}\n"})
    _, made = megabytes("dagferry", "publish", "--no-lint", at, cwd=clone)
    megabytes("dagferry", "promote", made["version"], at, "--channel", pod.channel, cwd=clone)
    peaks["second pull"], reply = megabytes("dagferry-agent", "pull", *agent.options, cwd=pod.root.parent)
    assert (reply["files_written"], reply["files_linked"]) == (1, made["files"] - 1)
    peaks["verify"], _ = megabytes("dagferry", "verify", made["version"], at, cwd=clone)
    return peaks


def test_five_gigabytes_and_fifty_thousand_files_need_hardly_more_memory_than_a_small_repository(
    small: Repository,
    large: Repository,
    store_url: str,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    little = story(small, store_url, Pod(tmp_path / "small", store_url, "small"))
    much = story(large, store_url, Pod(tmp_path / "large", store_url, "large"))
    ratios = {step: round(much[step] / little[step], 2) for step in little}
    with capsys.disabled():
        kind = store_url.partition(":")[0] if "://" in store_url else "file"
        for step, ratio in ratios.items():
            record_property(f"{kind} {step}", ratio)
            print(f"\n{kind:5}{step:12} {little[step]:6.1f} MB {much[step]:6.1f} MB {ratio:5.2f}", end="")  # noqa: T201
    allowed = {step: WITHIN * little[step] + PER_FILE * FILES for step in little}
    assert {step: much[step] for step in much if much[step] > allowed[step]} == {}, ratios
