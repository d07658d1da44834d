"""What `dagferry-agent doctor` says of volumes that most machines have not: strace answers in their place.

A call that is answered by strace was not made. So the volume seems to refuse hard links, or to say yes and do nothing.
"""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.agent.shelf import BUNDLE, CHANNEL
from tests.agent.test_delivery import ONE
from tests.agent.test_delivery import Pod as Shelved
from tests.e2e.harness import COMMANDS, environment

from .volumes import need, remount, tmpfs

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.faults


@pytest.fixture
def pod(tmp_path: Path) -> Shelved:
    """A pod that is fit."""
    made = Shelved(tmp_path, signer=None)
    made.shelf.ship("v1", ONE)
    made.delivery.pull()
    return made


def doctor(pod: Shelved, root: Path, *before: str) -> subprocess.CompletedProcess[str]:
    """How a doctor ended that ``before`` runs."""
    options = [f"--store={pod.store_folder}", f"--bundle={BUNDLE}", f"--channel={CHANNEL}", f"--root={root}"]
    command = [*before, *COMMANDS["dagferry-agent"], "doctor", *options, "--listen=127.0.0.1:0", "--output=json"]
    return subprocess.run(
        command,
        env=environment(PYTHONPYCACHEPREFIX=None),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def examined(pod: Shelved, root: Path, *before: str) -> dict[str, dict[str, Any]]:
    """The checks of a doctor that ``before`` runs, by name."""
    done = doctor(pod, root, *before)
    document = json.loads(done.stdout)
    failed = [one for one in document["checks"] if not one["ok"] and one.get("tried", True) and "warning" not in one]
    assert (done.returncode, document["ok"]) == ((1, False) if failed else (0, True)), (done.stdout, done.stderr)
    return {one["name"]: one for one in document["checks"]}


@pytest.mark.parametrize(
    ("calls", "answer", "name", "words", "warning"),
    [
        ("link,linkat", "error=EPERM", "hard_links", "has no hard links", True),
        ("rename,renameat,renameat2", "retval=0", "rename", "did not take place", False),
        ("chmod,fchmodat", "retval=0", "modes", "keeps no modes", False),
        ("flock", "retval=0", "locks", "no locks that keep others off", False),
        ("flock", "error=ENOLCK", "locks", "no locks that keep others off", False),
    ],
    ids=["no hard links", "renames that do nothing", "modes that do not stay", "locks of nobody", "no locks"],
)
def test_volume_that_lacks_something_is_named(
    calls: str, answer: str, name: str, words: str, warning: bool, pod: Shelved, tmp_path: Path
) -> None:
    need("strace")
    log = tmp_path / "calls"
    found = examined(
        pod, pod.root, "strace", "-f", "-o", str(log), "-e", f"trace={calls}", "-e", f"inject={calls}:{answer}"
    )
    assert "(INJECTED)" in log.read_text()
    amiss = {one["name"]: one for one in found.values() if not one["ok"] and one.get("tried", True)}
    assert list(amiss) == [name], amiss
    assert words in amiss[name]["detail"]
    assert amiss[name].get("warning", False) is warning
    assert not list(pod.root.glob(".current.*")), "nothing stays"


@pytest.mark.parametrize(("number", "code"), [("SIGTERM", 143), ("SIGINT", 130)])
def test_signal_in_the_middle_of_a_trial_leaves_nothing_behind(
    number: str, code: int, pod: Shelved, tmp_path: Path
) -> None:
    need("strace")
    log = str(tmp_path / "calls")
    tracing = ["strace", "-f", "-o", log, "-e", "trace=link,linkat", "-e", f"inject=link,linkat:signal={number}"]
    done = doctor(pod, pod.root, *tracing)
    assert done.returncode == code, (done.stdout, done.stderr)
    assert not list(pod.root.glob(".current.*"))


def test_volume_that_is_read_only_is_named(pod: Shelved, tmp_path: Path) -> None:
    need("mount", root=True)
    (tmp_path / "volume").mkdir()
    with tmpfs(tmp_path / "volume", "size=4m") as volume:
        (volume / "root").mkdir()
        remount(volume, "ro")
        found = examined(pod, volume / "root")
    assert "Read-only file system" in found["root"]["detail"]
    assert "mount it writable" in found["root"]["detail"]


def test_volume_without_room_is_named(pod: Shelved, tmp_path: Path) -> None:
    need("mount", root=True)
    (tmp_path / "volume").mkdir()
    with tmpfs(tmp_path / "volume", "size=16k,nr_inodes=200") as volume:
        found = examined(pod, volume / "root")
    assert "has no room for what the channel says" in found["room"]["detail"]
    assert found["room"]["ok"] is False
