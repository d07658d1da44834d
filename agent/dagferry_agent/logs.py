"""The log on stderr: lines of text for people, or one JSON object per line for what collects logs.

1. Everybody logs with the standard library's `logging`; this module only renders. A record's attribute ``facts`` (given
   with ``extra``) holds what a machine wants as fields.
2. What a message, a fact or a traceback quotes can neither forge a line nor reach a terminal: control characters are
   shown escaped. A traceback's lines are indented in text, and one field in JSON.
3. No field is taken from the process's environment or options but the ones in `Origin`: a log holds no secrets.
4. structlog is imported for JSON only: `status` and `pull` run in probes and init containers, where a start counts.
"""

from __future__ import annotations

import logging
import sys
import time
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Final

from dagferry_schemas.commandline import plain
from dagferry_schemas.errors import Usage

if TYPE_CHECKING:
    from structlog.typing import EventDict

FORMATS: Final = ("text", "json")


@dataclass(frozen=True)
class Origin:
    """Which agent a line is from; these fields win over facts of the same name."""

    agent_id: str | None
    bundle: str | None
    channel: str | None


def to_stderr(level: int, log_format: str, origin: Origin) -> None:
    """Log from ``level`` on to stderr in one of `FORMATS`. Raises `Usage` if JSON is asked for without its package."""
    stream = logging.StreamHandler()
    stream.setFormatter(json_lines(origin) if log_format == "json" else TextLines())
    logging.basicConfig(level=level, handlers=[stream])


def default_format() -> str:
    """What suits the reader of stderr: text on a terminal, JSON anywhere else."""
    return "text" if sys.stderr is not None and sys.stderr.isatty() else "json"


class TextLines(logging.Formatter):
    """One line per record, and below it the lines of a traceback."""

    def __init__(self) -> None:
        super().__init__("%(asctime)sZ %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S")
        self.converter = time.gmtime

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The line without the traceback."""
        return plain(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: ANN401 (its type has no public name)
        """The traceback, indented: no line of it can pass for a record."""
        return "\n".join(f"  {plain(line)}" for line in super().formatException(ei).splitlines())


def json_lines(origin: Origin) -> logging.Formatter:
    """What makes one JSON object of each record. Raises `Usage` if structlog is not installed."""
    try:
        import structlog
    except ModuleNotFoundError as error:
        raise Usage(
            f"--log-format json needs the package {error.name!r}",
            "pip install 'dagferry[agent]', or ask for --log-format text",
        ) from None
    stdlib, processors = structlog.stdlib, structlog.processors
    return stdlib.ProcessorFormatter(
        foreign_pre_chain=[processors.format_exc_info, _Fields(origin)],
        processors=[processors.JSONRenderer(allow_nan=False)],
    )


class _Fields:
    """The last step before a record is rendered: its fields in their order, every text of them plain."""

    def __init__(self, origin: Origin) -> None:
        self._origin = asdict(origin)

    def __call__(self, _logger: object, _method: str, event: EventDict) -> EventDict:
        record: logging.LogRecord = event["_record"]
        fields = {
            "time": _time(record.created),
            "level": record.levelname.lower(),
            "message": event["event"],
            "logger": record.name,
            **self._origin,
        }
        facts = {name: value for name, value in getattr(record, "facts", {}).items() if name not in fields}
        whole = {name: _plain(value) for name, value in {**fields, **facts}.items()}
        if "exception" in event:
            whole["exception"] = "\n".join(map(plain, event["exception"].splitlines()))
        return whole


def _plain(value: object) -> object:
    return plain(value) if isinstance(value, str) else value


def _time(created: float) -> str:
    moment = datetime.fromtimestamp(created, timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
