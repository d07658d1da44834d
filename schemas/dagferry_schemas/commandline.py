"""The one place where a command ends: results, errors, signals and exit codes, the same for every program here.

1. Results go to stdout, all else to stderr. With ``-o json`` stdout gets exactly one JSON document, for errors
   ``{"error": {"code", "message", "hint"}}``, for wrong usage and bugs too.
2. A foreseen failure (`DagferryError`) ends with the exit code of its class and no traceback; wrong usage with 2;
   anything else is a bug of ours: 70, a traceback on stderr, and the request to report it.
3. ^C ends with 130. SIGTERM raises `Terminated` in the main thread and ends with 143, so that context managers run;
   without this a process that is number 1 in a container would ignore it. A second SIGTERM does the same again.
4. What a message quotes may come from anywhere: control characters are shown escaped, never sent to a terminal.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import traceback
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, NoReturn

from .errors import EXIT_BUG, EXIT_DONE, EXIT_INTERRUPTED, EXIT_TERMINATED, DagferryError, MachineFault, Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

OUTPUTS: Final = ("text", "json")
_OPTIONAL: Final = {
    **dict.fromkeys(("kingfisher-secret-scanner", "pathspec", "requests", "ruff", "tomli", "tqdm"), "builder"),
    **dict.fromkeys(("cryptography", "securesystemslib", "watchdog"), "builder"),
    **dict.fromkeys(("boto3", "botocore"), "s3"),
    "google": "gcs",
}
"""Packages that come with an extra, and its name; an agent's own are asked for where they are needed."""
_BUG: Final = "this is a bug in dagferry, please report it with the traceback"


class Terminated(BaseException):
    """SIGTERM arrived. Not an `Exception`, so that nothing on the way takes it for a failure to deal with."""


def run(main: Callable[[list[str]], object], args: Sequence[str], *, default_output: str = "text") -> int:
    """Call ``main(args)`` and return the exit code; every exception becomes a report and a code (rules 1 to 3).

    ``main`` is a click command called with ``standalone_mode=False``, or anything else that takes arguments; an
    integer that it returns is the exit code. ``default_output`` is what the environment says where no ``-o`` is given:
    the output has to be known before the arguments could be parsed.
    """
    as_json = wanted_output(args, default_output) == "json"
    try:
        with _sigterm_raises():
            code = main(list(args))
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else EXIT_DONE if error.code is None else 1
    except BaseException as error:  # noqa: BLE001 (this is the boundary; nothing is lost, all of it is reported)
        document, exit_code = _judge(error)
        _report(document, as_json=as_json)
        return exit_code
    return code if isinstance(code, int) else EXIT_DONE


def emit(result: Mapping[str, Any], output: str, text: str) -> None:
    """Print a command's result on stdout: ``result`` as one JSON document if ``output`` is json, else ``text``.

    Raises `MachineFault` if stdout takes no more (a full disk); a reader that went away stays a `BrokenPipeError`.
    """
    import click

    try:
        click.echo(_json(result) if output == "json" else text.encode("utf-8", "replace"))
    except OSError as error:
        # What is left in the buffer would fail once more at exit, and Python would make that exit code 120.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        if isinstance(error, BrokenPipeError):
            raise
        raise MachineFault(f"the result cannot be written to stdout: {error.strerror}") from error


def plain(text: str) -> str:
    """``text`` on one line without control characters or lone surrogates: each is shown as a backslash escape."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


def styled(text: str, **style: Any) -> str:  # noqa: ANN401 (whatever `click.style` takes)
    """``text`` in the colours and weights of `click.style`; what it quotes has to be `plain` already."""
    import click

    return click.style(text, **style)


def wanted_output(args: Sequence[str], default: str) -> str:
    """What ``-o``/``--output`` among ``args`` asks for, the last one winning; ``default`` without any."""
    wanted = default
    for index, argument in enumerate(args):
        if argument == "--":
            break
        if argument in {"-o", "--output"}:
            wanted = args[index + 1] if index + 1 < len(args) else wanted
        elif argument.startswith("--output="):
            wanted = argument.removeprefix("--output=")
        elif argument.startswith("-o"):
            wanted = argument.removeprefix("-o")
    return wanted


def _judge(error: BaseException) -> tuple[dict[str, Any], int]:
    """The error document of ``error``, and the exit code."""
    import click

    if isinstance(error, DagferryError):
        return {**error.result, "error": error.to_dict()}, error.exit_code
    if isinstance(error, click.ClickException):
        return _error(Usage.code, error.format_message(), _usage_hint(error)), Usage.exit_code
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        return _error("interrupted", "interrupted"), EXIT_INTERRUPTED
    if isinstance(error, Terminated):
        return _error("terminated", "ended by SIGTERM"), EXIT_TERMINATED
    if isinstance(error, BrokenPipeError):
        # Whoever read the result has enough of it, as in `… | head`.
        return _error("closed_pipe", "the reader of stdout went away"), 1
    if isinstance(error, ModuleNotFoundError) and error.name in _OPTIONAL:
        hint = f"this command needs another part of dagferry: install it with the extra {_OPTIONAL[error.name]!r}"
        return _error(Usage.code, f"the package {error.name!r} is not installed", hint), Usage.exit_code
    traceback.print_exception(type(error), error, error.__traceback__, file=sys.stderr)
    return _error("bug", f"{type(error).__name__}: {error}", _BUG), EXIT_BUG


def _error(code: str, message: str, hint: str = "") -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "hint": hint}}


def _usage_hint(error: Any) -> str:  # noqa: ANN401 (click is imported where it is needed only)
    context = getattr(error, "ctx", None)
    return f"try '{context.command_path} --help'" if context is not None else ""


def _report(document: Mapping[str, Any], *, as_json: bool) -> None:
    """The error for a reader on stderr, and as the one document on stdout if JSON was asked for."""
    import click

    error = document["error"]
    click.echo(f"error: {_lines(error['message'])}", err=True)
    if error["hint"]:
        click.echo(f"hint: {_lines(error['hint'])}", err=True)
    if as_json:
        click.echo(_json(document))


def _json(document: Mapping[str, Any]) -> bytes:
    # File names may hold bytes that are no UTF-8; a document has to be JSON that everybody reads all the same.
    return json.dumps(document, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")


def _lines(text: str) -> str:
    return "\n".join(map(plain, text.splitlines()))


@contextmanager
def _sigterm_raises() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _terminate(_number: int, _frame: object) -> NoReturn:
    raise Terminated
