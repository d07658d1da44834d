"""`ci/demo` as one runs it: on every kind of store, beside a machine's own settings, interrupted, and on bad input.

The script itself runs, with the virtual environment that it makes; where the tests run on an installed distribution,
that is theirs. What a demo starts has the demo's folder in its environment: so whatever it leaves behind is found.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from ci.demonstration.processes import undisturbed

from tests.storage import servers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

pytestmark = pytest.mark.demo
TOP = Path(__file__).resolve().parents[2]
DEMO = str(TOP / "ci/demo")
PATIENCE = 60.0  # seconds for whatever should take much less
ABSENT = "http://127.0.0.1:1"  # nobody listens there
IN_THE_WAY = {
    "AWS_PROFILE": "absent",
    "AWS_ENDPOINT_URL": ABSENT,
    "AWS_ACCESS_KEY_ID": "of-this-machine",
    "GOOGLE_APPLICATION_CREDENTIALS": "/absent.json",
    "STORAGE_EMULATOR_HOST": ABSENT,
    "HTTP_PROXY": ABSENT,
    "http_proxy": ABSENT,
    "DAGFERRY_STORE": "/absent",
    "DAGFERRY_BUNDLE": "absent",
    "PYTHONPATH": "/absent",
}
"""What a machine may have set for itself, and what a demo must neither use nor need."""


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DAGFERRY_TEST", "PYTEST"))}
    kept.pop("STORAGE_EMULATOR_HOST", None)
    installed = {"DAGFERRY_VENV": sys.prefix} if "DAGFERRY_TEST_INSTALLED" in os.environ else {}
    return {**kept, **installed, **more}


@pytest.fixture(scope="module", autouse=True)
def made() -> None:
    """The virtual environment, with what each kind of store needs: later runs install nothing."""
    for kind in ("file", "s3", "gs"):
        subprocess.run([DEMO, "--store", kind, "--help"], env=environment(), stdout=subprocess.DEVNULL, check=True)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Where demos make their folders. What one leaves running is ended."""
    place = tmp_path / "temporary"
    place.mkdir()
    yield place
    for process in running(place):
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def running(folder: Path) -> list[int]:
    """The processes that have ``folder`` in their environment."""
    found = []
    for place in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if os.fsencode(folder) in place.read_bytes():
                found.append(int(place.parent.name))
    return found


def nothing_is_left(folder: Path) -> bool:
    """Waits for processes that were told to end."""
    deadline = time.monotonic() + PATIENCE
    while running(folder) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not running(folder) and list(folder.iterdir()) == []


def demo(folder: Path, *arguments: str, expect: int = 0, env: Mapping[str, str] | None = None) -> str:
    """Run a demo to its end; what it printed."""
    output = folder.with_name("output")
    with output.open("wb") as file:  # a pipe would be held open by what --keep leaves
        done = subprocess.run(
            [DEMO, *arguments],
            cwd=folder.parent,
            env=environment(TMPDIR=str(folder), **(env or {})),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            check=False,
        )
    assert done.returncode == expect, output.read_text()
    return output.read_text()


def shell(script: str, folder: Path) -> str:
    """What a shell says to what the demo told one to type."""
    env = {**os.environ, **IN_THE_WAY, "TMPDIR": str(folder)}
    return subprocess.run(["bash", "-ec", script], env=env, stdout=subprocess.PIPE, text=True, check=True).stdout


def test_kept_s3_server_is_used_and_ended_as_the_demo_says(folder: Path) -> None:
    home = folder.with_name("home")
    (home / ".aws").mkdir(parents=True)
    (home / ".aws/config").write_text(f"[default]\nendpoint_url = {ABSENT}\ncredential_process = false\n")
    said = demo(folder, "--store", "s3", "--keep", env={**IN_THE_WAY, "HOME": str(home)})
    assert re.search(r"All \d+ facts are as promised", said)
    look, end = said.split("To look around:\n")[1].split("All ")[0].split("To end it:\n")
    assert len(running(folder)) == 2, "agent and server stay"
    assert "(generation 5)" in shell(look, folder)
    shell(end, folder)
    assert nothing_is_left(folder)


def test_google_server_is_gone_after_the_demo(folder: Path) -> None:
    said = demo(folder, "--store=gs", env=IN_THE_WAY)
    assert "$ export DAGFERRY_STORE=gs://" in said
    assert re.search(r"All \d+ facts are as promised", said)
    assert nothing_is_left(folder)


def test_bucket_of_the_user_is_used_with_the_users_environment_below_a_fresh_prefix(folder: Path) -> None:
    with servers.gcs() as address:
        said = demo(folder, "--store", f"gs://{servers.BUCKET}/mine/", env={servers.EMULATOR: address})
        with urllib.request.urlopen(f"{address}/storage/v1/b/{servers.BUCKET}/o?prefix=mine/", timeout=10) as reply:
            names = [item["name"] for item in json.load(reply)["items"]]
    left = re.search(r"below gs://artifacts/(mine/dagferry-demo-[0-9a-f]{12}) and was not deleted", said)
    assert left
    assert f"{left[1]}/shop/channels/prod/head.json" in names
    assert {name.partition("/shop/")[0] for name in names} == {left[1]}
    assert nothing_is_left(folder)


def test_folder_of_the_user_is_found_from_where_the_user_is(folder: Path) -> None:
    said = demo(folder, "--store", "./my stores/a", env={"DAGFERRY_BUNDLE": "absent"})
    (prefix,) = (folder.parent / "my stores/a").iterdir()
    assert f"what was put there lies below {prefix} and was not deleted" in said
    assert (prefix / "shop/channels/prod/head.json").is_file()
    assert nothing_is_left(folder)


def test_same_prefix_is_never_used_twice() -> None:
    from ci.demonstration.store import choice

    url = "s3://bucket/a/?endpoint=http://127.0.0.1:1&region=x"
    first, second = choice(url), choice(url)
    assert first != second
    assert re.fullmatch(r"s3://bucket/a/dagferry-demo-\w+\?endpoint=http://127\.0\.0\.1:1&region=x", first)


@contextmanager
def started(folder: Path, *arguments: str, until: str) -> Iterator[subprocess.Popen[str]]:
    """A demo that has printed ``until``, in a process group of its own as in a terminal."""
    process = subprocess.Popen(
        [DEMO, *arguments],
        env=environment(TMPDIR=str(folder)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    with process:
        assert process.stdout is not None
        said = ""
        for line in process.stdout:
            said += line
            if until in line:
                break
        else:
            raise AssertionError(f"{until!r} did not come: {said}")
        yield process


def test_ctrl_c_leaves_nothing_once_the_server_runs(folder: Path) -> None:
    with started(folder, "--store", "s3", until="SERVER=") as process:
        assert set(running(folder)) > {process.pid}, "there is something to leave behind"
        os.killpg(process.pid, signal.SIGINT)
        said, _ = process.communicate(timeout=PATIENCE)
    assert (process.returncode, "Traceback" in said) == (130, False), said
    assert nothing_is_left(folder)


def test_sigterm_leaves_nothing_once_agent_and_server_run(folder: Path) -> None:
    with started(folder, "--store", "gs", "--keep", until="AGENT=") as process:
        assert len({*running(folder)} - {process.pid}) >= 2
        process.terminate()
        said, _ = process.communicate(timeout=PATIENCE)
    assert (process.returncode, "Traceback" in said) == (143, False), said
    assert nothing_is_left(folder)


def test_failure_leaves_nothing_even_with_keep(folder: Path) -> None:
    repository = folder.with_name("repository")
    (repository / "dags").mkdir(parents=True)
    (repository / "dags/gone.py").symlink_to("/etc/passwd")
    (repository / "dagferry.toml").write_text('[bundles.bad]\nroot = "dags"\n')
    who = ("-c", "user.name=Ada", "-c", "user.email=ada@example.com")
    for words in (("init", "--quiet"), ("add", "."), (*who, "commit", "--quiet", "--message=bad")):
        subprocess.run(["git", *words], cwd=repository, check=True)
    said = demo(folder, str(repository), "--store", "gs", "--keep", expect=1)
    assert "ended with exit code 1, not 0" in said
    assert "gone.py" in said
    assert nothing_is_left(folder)


def test_server_that_does_not_start_is_told_with_its_own_words(folder: Path) -> None:
    copy = folder.with_name("checkout")
    shutil.copytree(TOP / "ci", copy / "ci")
    shutil.copytree(TOP / "tests/storage", copy / "tests/storage")
    (copy / "tests/__init__.py").touch()
    (copy / "tests/storage/gcs_server.py").write_text("raise SystemExit('no port is free')\n")
    python = Path(environment().get("DAGFERRY_VENV", TOP / ".venv")) / "bin/python"
    done = subprocess.run(
        [python, "-I", "-B", copy / "ci/demo.py", "--store", "gs"],
        env=environment(TMPDIR=str(folder)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "did not start" in done.stderr
    assert "no port is free" in done.stderr
    assert nothing_is_left(folder)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--store", "azure"), "there is no kind of store 'azure': choose from file, s3, gs, or give a URL"),
        (("--store", "S3"), "there is no kind of store 'S3'"),
        (("--store", ""), "empty"),
        (("--store", "s3://"), "the s3 URL names no bucket; write s3://BUCKET/PREFIX"),
        (("--store=gs://bucket/x?region=y",), "an option that is not known"),
        (("--store", "ftp://host/x"), "no store is known by the scheme 'ftp'"),
        (("--store",), "expected one argument"),
        (("--stor=s3",), "unrecognized arguments: --stor=s3"),
        (("/absent",), "/absent is not a git repository"),
    ],
)
def test_wrong_usage_is_told_and_starts_nothing(folder: Path, arguments: tuple[str, ...], words: str) -> None:
    said = demo(folder, *arguments, expect=2)
    assert words in said
    assert "DEMO=" not in said
    assert nothing_is_left(folder)


def test_signal_waits_until_what_was_started_is_known() -> None:
    steps = []
    with pytest.raises(KeyboardInterrupt), undisturbed():
        signal.raise_signal(signal.SIGINT)
        steps.append("known")
    assert steps == ["known"]
