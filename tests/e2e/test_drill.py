"""The drill of ``docs/operations.md``: every command of it, as it stands there, by a shell, with a real agent."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

from .harness import COMMANDS, environment

if TYPE_CHECKING:
    from collections.abc import Callable

    from .conftest import Team
    from .harness import Agent, Operator

PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "operations.md"
BEFORE, MENDED = "v1.3.0-0-gba9876543210", "v1.4.0-5-gfedcba987654"


def blocks() -> list[list[str]]:
    """The commands of the drill, block by block."""
    section = PAGE.read_text().split("\n## The drill\n")[1].split("\n## ")[0]
    return [block.strip().splitlines() for block in re.findall(r"^```sh\n(.*?)^```", section, re.DOTALL | re.MULTILINE)]


def test_every_command_of_the_drill_does_what_the_page_says(
    team: Team, operator: Operator, start: Callable[..., Agent], tmp_path: Path
) -> None:
    for version in (team.first, team.second):
        operator.run("promote", version)
    agent = start()
    agent.wait_until_ready()
    programs = tmp_path / "bin"
    programs.mkdir()
    program = programs / "dagferry"
    program.write_text(f'#!/bin/sh\nexec {shlex.join(COMMANDS["dagferry"])} "$@"\n')
    program.chmod(0o755)
    names = {BEFORE: team.first, MENDED: team.third, "channel:prod": f"channel:{operator.options['DAGFERRY_CHANNEL']}"}

    def perform(commands: list[str]) -> list[str]:
        said = []
        for line in commands:
            for name, actual in names.items():
                line = line.replace(name, actual)
            variables = environment(
                DAGFERRY_STORE=operator.store_url,
                DAGFERRY_AGENTS=agent.url,
                DAGFERRY_TOKEN_FILE=str(agent.token_file),
                **operator.options,
            )
            variables["PATH"] = f"{programs}:{variables['PATH']}"
            done = subprocess.run(
                ["/bin/sh", "-c", line], cwd=operator.folder, env=variables, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, (line, done.stdout, done.stderr)
            said.append(done.stdout)
        return said

    looking, back, morning = blocks()
    status, log, diff, would = perform(looking)
    assert team.second in status
    assert agent.url in status
    assert log.index(team.second) < log.index(team.first), "the newest first"
    assert "hourly.py" in diff
    assert f"{team.second} -> {team.first}" in would
    assert operator.run("status")["version"] == team.second, "nothing was done until now"
    *_, status = perform(back)
    assert agent.serves(team.first)
    assert "daily_sales fails since the last release" in status
    assert "held" in status
    *_, status = perform(morning)
    assert agent.serves(team.third)
    assert "held" not in status
