"""How a pull ended, and what the log says of that."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dagferry_schemas.commandline import plain
from dagferry_schemas.errors import BadData, DagferryError

if TYPE_CHECKING:
    from dagferry_schemas.endpoint import PullReply

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """How a pull ended: ``at`` on the service's clock, with a reply or an error."""

    at: float
    reply: PullReply | None = None
    error: Exception | None = None


def log_success(reply: PullReply) -> None:
    """Say what was done; nothing at the usual level where nothing was."""
    facts = {"facts": reply.to_dict()}
    if not reply.changed:
        _log.debug("pull: %s stays, generation %s", reply.version, reply.generation, extra=facts)
        return
    _log.info(
        "pull: now serving %s, %s (was %s): %d files written, %d linked, %d bytes fetched, %.2f s",
        reply.version,
        f"generation {reply.generation}" if reply.generation is not None else "as was asked for here",
        reply.previous or "nothing",
        reply.files_written,
        reply.files_linked,
        reply.bytes_fetched,
        reply.seconds,
        extra=facts,
    )


def log_failure(error: DagferryError) -> None:
    """Say what went wrong: a failure that may pass is a warning, refused content an error."""
    level = logging.ERROR if isinstance(error, BadData) else logging.WARNING
    hint = f" ({error.hint})" if error.hint else ""
    facts = {"facts": {"code": error.code}}
    _log.log(level, "pull failed: %s: %s", error.code, plain(error.message + hint), extra=facts)
