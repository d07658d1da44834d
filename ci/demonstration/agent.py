"""The agent of the demo: a process of its own, asked over HTTP."""

from __future__ import annotations

import json
import re
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any, Final

from . import processes
from .commands import PROGRAMS
from .processes import PATIENCE
from .story import Broken

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import ExitStack
    from pathlib import Path

    from .commands import Commands
    from .story import Story

_LISTENING: Final = re.compile(r"listening on (http://\S+)")


class Agent:
    """An agent that serves; ``ends`` stops it."""

    def __init__(
        self, story: Story, commands: Commands, options: Sequence[str], *, folder: Path, ends: ExitStack
    ) -> None:
        self.log = folder / "agent.log"
        self.url = ""
        words = ["serve", *options, "--log-format", "text"]
        story.command("dagferry-agent", *map(commands.as_typed, words), f"2> {commands.as_typed(str(self.log))} &")
        # Its options say all, as they do in a pod; the variables are the operator's.
        environment = {name: value for name, value in commands.environment.items() if not name.startswith("DAGFERRY")}
        program = str(PROGRAMS / "dagferry-agent")
        self.process = processes.start([program, *words], cwd=folder, env=environment, log=self.log, ends=ends)
        self._wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while not (found := _LISTENING.search(self.log.read_text())) or self.ask("GET", "/readyz")[0] != 200:
            if found:
                self.url = found[1]
            if self.process.poll() is not None or time.monotonic() > deadline:
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

    def stop(self) -> int:
        """End it; its exit code."""
        return processes.stop(self.process)
