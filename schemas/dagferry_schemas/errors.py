"""Every failure that dagferry foresees, and the exit code of each.

Two roots, seen from the caller: the *data* is bad (`BadData`: what was asked for, found or proposed cannot be used,
and trying again changes nothing), or the *delivery* failed (`DeliveryFailed`: the data may be fine, the way to it is
not, and trying again may help). There is one class where callers act differently. An error says what and where in its
message and what to do next in its hint; `code` is its stable machine name (see ``docs/exit-codes.md``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


class DagferryError(Exception):
    """The base of all foreseen failures: ``message`` (what, where), ``hint`` (what to do next) and ``code``.

    ``result`` is what a command had found out all the same, for its JSON document.
    """

    code = "error"
    exit_code = 1
    advice = ""
    """The hint where an error brings none of its own."""

    def __init__(
        self, message: str, hint: str = "", *, code: str | None = None, result: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint or self.advice
        self.result = dict(result or {})
        if code is not None:
            self.code = code

    def to_dict(self) -> dict[str, Any]:
        """The body of the JSON error document: ``{code, message, hint}``."""
        return {"code": self.code, "message": self.message, "hint": self.hint}


class BadData(DagferryError):
    """The data cannot be used: refused by a check, malformed, or not what its name promises."""

    code = "refused"
    exit_code = 1


class Malformed(BadData):
    """Bytes that do not follow the format they claim; the message names the field or the line."""

    code = "malformed"
    advice = "look at who wrote it, and with which release of dagferry"


class Untrusted(BadData):
    """A trust rule refused what a store offered; the live release stays."""

    code = "untrusted"
    advice = "find out who writes to the store"


class Corrupt(BadData):
    """Stored bytes differ from what a record or a file list says of them."""

    code = "corrupt"
    advice = "find out who writes to the store (`dagferry verify` tells what else is wrong)"


class Usage(BadData):
    """Wrong usage or configuration: the command, an option or a config file has to change."""

    code = "usage"
    exit_code = 2
    advice = "--help says what is expected"


class Unknown(Usage):
    """A version, channel, revision or bundle that does not exist; the hint lists near matches."""

    code = "unknown"


class Conflict(BadData):
    """Someone else was first, or holds the channel, or the same name stands for something else."""

    code = "conflict"
    exit_code = 3


class Held(Conflict):
    """The channel is held; the message says by whom, since when and why."""

    code = "held"


class DeliveryFailed(DagferryError):
    """A store or an agent could not be reached, refused access or was too slow."""

    code = "unreachable"
    exit_code = 4


class Forbidden(DeliveryFailed):
    """The store or the agent answered, and does not let this identity do it."""

    code = "forbidden"


class NotConverged(DeliveryFailed):
    """Not every agent serves the generation in time; ``result`` holds what each said last."""

    code = "not_converged"


class MachineFault(DeliveryFailed):
    """This machine cannot: disk full, read-only, wrong file system, missing program."""

    code = "machine"
    exit_code = 5


EXIT_DONE = 0
EXIT_BUG = 70
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143
