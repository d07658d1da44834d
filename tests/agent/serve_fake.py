"""A real server process around the fake delivery: ``python -m tests.agent.serve_fake '{"tokens_file": …}'``.

The options are those of the fake, and ``pull_seconds`` (how long a pull lasts), ``status_seconds``,
``prepare_seconds``, ``unusable`` (the root is).
"""

from __future__ import annotations

import json
import logging
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagferry_agent import server
from dagferry_schemas import commandline
from dagferry_schemas.errors import MachineFault

from .fake import FakeDelivery

if TYPE_CHECKING:
    from dagferry_schemas.endpoint import AgentStatus, PullReply


class SlowDelivery(FakeDelivery):
    def __init__(self, options: dict[str, Any]) -> None:
        self._pull_seconds = options.pop("pull_seconds", 0.0)
        self._status_seconds = options.pop("status_seconds", 0.0)
        self._prepare_seconds = options.pop("prepare_seconds", 0.0)
        self._unusable = options.pop("unusable", False)
        tokens_file = options.pop("tokens_file", None)
        super().__init__(tokens_file=Path(tokens_file) if tokens_file else None, **options)

    def prepare(self) -> None:
        logging.info("preparing")
        time.sleep(self._prepare_seconds)
        if self._unusable:
            raise MachineFault("the root is read-only")

    def pull(self) -> PullReply:
        time.sleep(self._pull_seconds)
        return super().pull()

    def status(self) -> AgentStatus:
        time.sleep(self._status_seconds)
        return super().status()


def main(arguments: list[str]) -> int:
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    return server.serve(SlowDelivery(json.loads(arguments[0])))


if __name__ == "__main__":
    sys.exit(commandline.run(main, sys.argv[1:]))
