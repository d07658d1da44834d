"""The commands of ``dagferry-agent``: each parses, calls one function and prints.

* Every option can also be given as ``DAGFERRY_AGENT_<OPTION>``; the command line wins.
* Only ``serve`` needs the server's packages, and only ``serve`` imports them: ``pull`` and ``status`` run in init
  containers and probes, where half a second counts.
* Results, errors and exit codes are `dagferry_schemas.commandline`'s business.
"""

from __future__ import annotations

import json
import logging
import os
import re
import secrets
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from dagferry_schemas import commandline
from dagferry_schemas.errors import Usage
from dagferry_schemas.names import NAME, check_name, check_version
from dagferry_storage.cli_naming import Naming

from . import tokens
from .settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeVar

    from dagferry_schemas.endpoint import AgentStatus, PullReply

    Command = TypeVar("Command", bound=Callable[..., Any])

PROGRAM: Final = "dagferry-agent"
ENVIRONMENT: Final = "DAGFERRY_AGENT_"
_LABEL: Final = re.compile(rf"({NAME.pattern})=({NAME.pattern})")
_LISTEN: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]+):([0-9]{1,5})")


def main() -> None:
    """The entry point; ends the process."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command; the exit code."""
    return commandline.run(
        lambda args: commands.main(args, prog_name=PROGRAM, standalone_mode=False),
        arguments,
        default_output=os.environ.get(f"{ENVIRONMENT}OUTPUT") or "text",
    )


def _option(name: str, *names: str, **attributes: Any) -> Callable[[Command], Command]:  # noqa: ANN401 (click's own)
    """One option with its environment variable; the default is shown in the help."""
    variable = ENVIRONMENT + name.removeprefix("--").replace("-", "_").upper()
    return click.option(name, *names, envvar=variable, show_envvar=True, **attributes)


def _options(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


_OUTPUT = _option(
    "--output",
    "-o",
    type=click.Choice(commandline.OUTPUTS),
    default="text",
    show_default=True,
    help="What stdout gets: text for people, or one JSON document.",
)


def _following(*, required: bool) -> Callable[[Command], Command]:
    return _options(
        _option(
            "--store",
            cls=Naming,
            required=required,
            metavar="URL",
            help="The object store: file:///dir, a path, s3://…",
        ),
        _option("--bundle", cls=Naming, required=required, metavar="NAME", help="The bundle to deliver."),
        _option("--channel", cls=Naming, required=required, metavar="NAME", help="The channel to follow."),
    )


_SETTINGS = _options(
    _option(
        "--root", required=True, type=click.Path(path_type=Path), help="The folder of releases; Airflow reads current."
    ),
    _option("--listen", default="127.0.0.1:8470", show_default=True, metavar="HOST:PORT", help="Where serve answers."),
    _option("--tokens-file", type=click.Path(path_type=Path), help="Who may ask: a JSON array of entries."),
    _option(
        "--poll-seconds", type=float, default=15.0, show_default=True, help="Between looks at the store; 0: never."
    ),
    _option("--keep-releases", type=click.IntRange(min=1), default=5, show_default=True, help="How many stay on disk."),
    _option("--grace-hours", type=float, default=6.0, show_default=True, help="How long a replaced release stays."),
    _option(
        "--durability",
        type=click.Choice(["auto", "fsync", "syncfs", "none"]),
        default="auto",
        show_default=True,
        help="How files are flushed to disk; none is for tmpfs.",
    ),
    _option("--agent-id", default=None, metavar="NAME", help="This agent's name.  [default: the host name]"),
    _option("--label", multiple=True, metavar="K=V", help="A label that rollouts may name; repeatable."),
    _OUTPUT,
)


def _settings(options: dict[str, Any]) -> Settings:
    """The settings that ``options`` describe. Raises `Usage`."""
    host, port = _address(options["listen"])
    tokens_file: Path | None = options["tokens_file"]
    return Settings(
        store=options["store"],
        bundle=check_name("bundle", options["bundle"]),
        channel=check_name("channel", options["channel"]),
        root=options["root"].absolute(),
        agent_id=_agent_id(options),
        host=host,
        port=port,
        tokens_file=tokens_file.absolute() if tokens_file is not None else None,
        poll_seconds=_amount("--poll-seconds", options["poll_seconds"]),
        keep_releases=options["keep_releases"],
        grace_hours=_amount("--grace-hours", options["grace_hours"]),
        durability=options["durability"],
        labels=_labels(options["label"]),
    )


def _address(listen: str) -> tuple[str, int]:
    match = _LISTEN.fullmatch(listen)
    if match is None or int(match[2]) > 65535:
        raise Usage(f"--listen {listen!r} is not HOST:PORT", "for example 127.0.0.1:8470, 0.0.0.0:8470 or [::1]:8470")
    return match[1].strip("[]"), int(match[2])


def _amount(option: str, number: float) -> float:
    if not 0 <= number < 1e9:  # NaN and infinity are neither
        raise Usage(f"{option} {number} is not a number from 0 on")
    return number


def _labels(labels: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for label in labels:
        match = _LABEL.fullmatch(label)
        if match is None:
            raise Usage(f"--label {label!r} is not K=V", "both are letters, digits, '.', '_' or '-', 63 at the most")
        if match[1] in found:
            raise Usage(f"--label {match[1]!r} is given twice")
        found[match[1]] = match[2]
    return found


def _print_version(context: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        from importlib import metadata  # 25 ms that only this needs

        try:
            click.echo(f"{PROGRAM} {metadata.version('dagferry')}")
        except metadata.PackageNotFoundError:  # run from a checkout that is not installed
            click.echo(f"{PROGRAM} 0+unknown")
        context.exit()


# Without a command it says so, like any wrong usage: help in place of an error would break ``-o json``.
@click.group(PROGRAM, no_args_is_help=False, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="The version."
)
def commands() -> None:
    """Bring the DAG folder of one channel onto this pod, and keep it there."""


@commands.command()
@_following(required=True)
@_SETTINGS
def serve(**options: Any) -> int:  # noqa: ANN401 (click's values; `_settings` checks them)
    """Follow the channel and answer requests until a signal ends it (the sidecar)."""
    settings = _settings(options)
    _log_to_stderr(logging.INFO)
    try:
        from . import server
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("dagferry"):
            raise
        raise Usage(f"serve needs the package {error.name!r}", "pip install 'dagferry[agent]'") from None
    from .delivery import open_delivery

    return server.serve(open_delivery(settings))


@commands.command()
@_option("--version", metavar="VERSION", help="Bring this version, whatever the channel says.")
@_following(required=True)
@_SETTINGS
def pull(version: str | None, **options: Any) -> None:  # noqa: ANN401
    """Pull once, then exit (the init container)."""
    settings = _settings(options)
    wanted = check_version(version) if version else None
    _log_to_stderr(logging.WARNING)
    from dagferry_storage.cli_progress import shown

    from .delivery import open_delivery

    delivery = open_delivery(settings, shown=shown)
    delivery.prepare()
    reply = delivery.pull() if wanted is None else delivery.pull_version(wanted)
    commandline.emit(reply.to_dict(), options["output"], _pull_text(reply))


@commands.command()
@_following(required=False)
@_SETTINGS
def status(**options: Any) -> None:  # noqa: ANN401
    """Say what is live here, from the disk alone; only --root is needed."""
    _log_to_stderr(logging.WARNING)
    found = _look(options["root"].absolute(), options)
    commandline.emit(found.to_dict(), options["output"], _status_text(found))


def _look(folder: Path, options: dict[str, Any]) -> AgentStatus:
    from dagferry_storage import disk

    from . import sight, state
    from .releases import Root, find_drift

    root = Root(folder)
    with disk.doing(f"reading {folder}"):
        memory = state.find(folder)
        if memory is None:
            if not (options["bundle"] and options["channel"]):
                raise Usage(
                    f"no agent has worked in {folder} yet", "look at --root, or run `dagferry-agent pull` first"
                )
            memory = state.State(check_name("bundle", options["bundle"]), check_name("channel", options["channel"]))
        seen = sight.look(root, memory)
        release = root.find(seen.live) if seen.live else None
        drift = find_drift(release) if release else ()
    return seen.status(_agent_id(options), drift=drift)


def _agent_id(options: dict[str, Any]) -> str:
    return check_name("agent", options["agent_id"] or socket.gethostname())


@commands.group("tokens", no_args_is_help=False)
def tokens_commands() -> None:
    """Make tokens for those who may ask this agent."""


@tokens_commands.command("generate")
@_option("--id", "name", default=None, metavar="NAME", help="The entry's name.  [default: a random one]")
@_option("--scope", "scopes", multiple=True, metavar="SCOPE", help="pull, status or pull:BUNDLE/CHANNEL; repeatable.")
@_OUTPUT
def generate(name: str | None, scopes: tuple[str, ...], output: str) -> None:
    """Make a token, and the entry for the tokens file, which does not hold the token."""
    token, entry = tokens.new_token(name or f"token-{secrets.token_hex(4)}", scopes, secrets.token_bytes(32))
    commandline.emit({"token": token, "entry": entry}, output, _token_text(token, entry))


def _pull_text(reply: PullReply) -> str:
    done = f"{reply.files_written} files written, {reply.files_linked} linked, {reply.bytes_fetched} bytes fetched"
    if not reply.changed:
        return f"{_release(reply.version, reply.generation)} is live already"
    before = f" (was {reply.previous})" if reply.previous else ""
    return f"{_release(reply.version, reply.generation)} is live{before}: {done} in {reply.seconds:.2f} s"


def _status_text(found: AgentStatus) -> str:
    lines = [f"{found.agent_id}: bundle {found.bundle}, channel {found.channel}"]
    if found.version is None:
        lines.append("live: nothing yet")
    else:
        lines.append(f"live: {_release(found.version, found.generation)} since {found.since}")
    if found.previous:
        lines.append(f"before: {found.previous}")
    if found.pinned:
        lines.append(f"pinned here to {found.pinned} until the channel moves")
    if found.last_check:
        lines.append(f"last look at the store: {found.last_check}")
    if found.last_error:
        lines.append(f"last error: {found.last_error.get('code')}: {found.last_error.get('message')}")
    if found.drift:
        lines.append(f"drift: {len(found.drift)} files are not what was delivered, for example {found.drift[0]}")
    return "\n".join(map(commandline.plain, lines))


def _release(version: str, generation: int | None) -> str:
    return version if generation is None else f"{version} (generation {generation})"


def _token_text(token: str, entry: dict[str, Any]) -> str:
    return (
        f"token, for those who ask (shown only now):\n{token}\n"
        f"entry, for the array in the tokens file:\n{json.dumps(entry)}"
    )


class _Lines(logging.Formatter):
    """One line per record; what a message quotes cannot forge another line or reach a terminal."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The line without the traceback, which follows on lines of its own."""
        return commandline.plain(super().formatMessage(record))


def _log_to_stderr(level: int) -> None:
    stream = logging.StreamHandler()
    lines = _Lines("%(asctime)sZ %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S")
    lines.converter = time.gmtime
    stream.setFormatter(lines)
    logging.basicConfig(level=level, handlers=[stream])
