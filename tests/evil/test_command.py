"""A handful of evil archives through `dagferry-agent pull` itself, in bounded memory and time."""

from __future__ import annotations

import json
import resource
import subprocess
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.e2e.harness import COMMANDS, environment

from .attack import BUNDLE, CHANNEL, Case, changes
from .parts import NEXT, release
from .vector import TAMPERED, Setting
from .vectors import VECTORS

if TYPE_CHECKING:
    from pathlib import Path

MEMORY: Final = 512 * 1024 * 1024
"""Bytes of address space, which is what a limit can be set on: a few times what is resident."""
SECONDS: Final = 60
CHOSEN: Final[tuple[tuple[str, Setting], ...]] = (
    ("path_that_climbs", "pinned"),
    ("path_that_climbs", "listed"),
    ("symbolic_link_and_a_file_through_it", "pinned"),
    ("setuid", "tampered"),
    ("pax_size_of_8_EiB", "pinned"),
    ("a_bomb_from_the_first_byte", "pinned"),
    ("a_bomb_in_the_last_body", "tampered"),
    ("a_bomb_after_the_end", "pinned"),
    ("one_segment_of_16_EiB", "pinned"),
    ("a_window_of_2_GiB", "pinned"),
    ("list_that_is_a_bomb_for_a_million_files", "pinned"),
    ("list_of_evil_paths_alone", "pinned"),
    ("tarball_size_that_no_disk_has", "pinned"),
    ("a_named_pipe_as_tarball", "tampered"),
    ("an_endless_device_as_list", "tampered"),
)


def limit() -> None:
    """In the child, before the agent begins."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def pull(case: Case) -> tuple[int, dict[str, Any]]:
    """The exit code and the document of one pull."""
    done = subprocess.run(
        [
            *COMMANDS["dagferry-agent"],
            "pull",
            f"--store={case.store}",
            f"--bundle={BUNDLE}",
            f"--channel={CHANNEL}",
            f"--root={case.root}",
            "--agent-id=pod-1",
            "-o",
            "json",
        ],
        cwd=case.folder,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        preexec_fn=limit,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, json.loads(done.stdout)


@pytest.mark.parametrize(("name", "setting"), CHOSEN)
def test_command_refuses_evil_and_delivers_what_is_good(tmp_path: Path, name: str, setting: Setting) -> None:
    case = Case(tmp_path / "case")
    case.prepare("live")
    tampered = case.publish_evil(VECTORS[name], setting)
    around, memory, live = case.around(), case.memory(), case.live()
    code, document = pull(case)
    kind, wanted = VECTORS[name].verdicts[setting]
    assert document["error"]["code"] == (tampered if (kind, wanted) == TAMPERED else wanted)
    assert code == {"MachineFault": 5, "DeliveryFailed": 4}.get(kind, 1)
    assert document["error"]["hint"]
    assert changes(around, case.around()) == []
    assert (case.memory(), case.live()) == (memory, live)
    assert list((case.root / "staging").iterdir()) == []
    case.promote(release(NEXT), 3)
    assert pull(case)[0] == 0
    assert case.live() == NEXT
