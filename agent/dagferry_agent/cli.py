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
import sys
from typing import TYPE_CHECKING, Any, Final

import click

from dagferry_schemas import commandline
from dagferry_schemas.errors import Usage
from dagferry_schemas.names import check_name, check_version
from dagferry_storage import disk

from . import logs
from .cli_doctor import doctor
from .cli_options import ENVIRONMENT, OUTPUT, SETTINGS, agent_id, following, option, settings_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from typing import TypeVar

    from dagferry_schemas.endpoint import AgentStatus, PullReply

    Command = TypeVar("Command", bound=Callable[..., Any])

PROGRAM: Final = "dagferry-agent"
PATIENCE: Final = 300.0
"""Seconds for a running agent to do what it was told: a pull may be under way."""


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
@following(required=True)
@SETTINGS
def serve(**options: Any) -> int:  # noqa: ANN401 (click's values; `_settings` checks them)
    """Follow the channel and answer requests until a signal ends it (the sidecar)."""
    settings = settings_of(options)
    _log_to_stderr(logging.INFO, options, default=logs.default_format())
    try:
        from . import server
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("dagferry"):
            raise
        raise Usage(f"serve needs the package {error.name!r}", "pip install 'dagferry[agent]'") from None
    from .delivery import open_delivery

    return server.serve(open_delivery(settings))


@commands.command()
@option("--version", metavar="VERSION", help="Bring this version, whatever the channel says.")
@following(required=True)
@SETTINGS
def pull(version: str | None, **options: Any) -> None:  # noqa: ANN401
    """Pull once, then exit (the init container)."""
    settings = settings_of(options)
    wanted = check_version(version) if version else None
    _log_to_stderr(logging.WARNING, options)
    from dagferry_storage.cli_progress import shown

    from .delivery import open_delivery

    delivery = open_delivery(settings, shown=shown)
    delivery.prepare(verify=False)
    try:
        reply = delivery.pull() if wanted is None else delivery.pull_version(wanted)
    finally:
        if settings.acknowledge:
            from .acknowledging import acknowledge_once

            acknowledge_once(settings, delivery.status)
    commandline.emit(reply.to_dict(), options["output"], _pull_text(reply))


commands.add_command(doctor)


@commands.command()
@click.argument("version", required=False)
@option("--resume", is_flag=True, help="Follow the channel again.")
@following(required=False)
@SETTINGS
def activate(version: str | None, resume: bool, **options: Any) -> None:  # noqa: ANN401
    """Make a release that is on this disk live, with no store, until the channel moves."""
    if resume == (version is not None):
        raise Usage("name a version, or give --resume", "`dagferry-agent status` lists what is on this disk")
    _log_to_stderr(logging.WARNING, options)
    reply = _activate(options["root"].absolute(), check_version(version) if version else None, options)
    commandline.emit(reply.to_dict(), options["output"], _activated_text(reply))


def _activate(folder: Path, version: str | None, options: dict[str, Any]) -> PullReply:
    """Through the agent that runs in ``folder``; without one, here."""
    from dagferry_schemas.endpoint import PullReply

    from . import control, state
    from .delivery import open_delivery

    with disk.doing(f"reading {folder}"):
        memory = state.find(folder)
        if memory is None:
            raise Usage(f"no agent has worked in {folder} yet", "look at --root, or run `dagferry-agent pull` first")
        question = {"do": "resume"} if version is None else {"do": "activate", "version": version}
        answer = control.ask(folder, question, PATIENCE)
    if answer is not None:
        return PullReply.from_bytes(json.dumps(answer).encode())
    # Opening a store touches nothing, and none is asked here.
    here = {**options, "store": str(folder), "bundle": memory.bundle, "channel": memory.channel}
    delivery = open_delivery(settings_of(here))
    return delivery.resume() if version is None else delivery.activate(version)


@commands.command()
@following(required=False)
@SETTINGS
def status(**options: Any) -> None:  # noqa: ANN401
    """Say what is live here, from the disk alone; only --root is needed."""
    _log_to_stderr(logging.WARNING, options)
    found = _look(options["root"].absolute(), options)
    commandline.emit(found.to_dict(), options["output"], _status_text(found))


def _look(folder: Path, options: dict[str, Any]) -> AgentStatus:
    from dagferry_storage.keyring_folder import KeyringFolder

    from . import sight, state
    from .clock import utc_now
    from .drift import find_drift
    from .live import GONE
    from .root import Root
    from .vouching import vouched

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
        missing = GONE if seen.live else ()
        drift = find_drift(release) if release else missing
    return vouched(seen.status(agent_id(options), drift=drift), KeyringFolder(options["keyring"]), None, utc_now())


@commands.group("tokens", no_args_is_help=False)
def tokens_commands() -> None:
    """Make tokens for those who may ask this agent."""


@tokens_commands.command("generate")
@option("--id", "name", default=None, metavar="NAME", help="The entry's name.  [default: a random one]")
@option("--scope", "scopes", multiple=True, metavar="SCOPE", help="pull, status or pull:BUNDLE/CHANNEL; repeatable.")
@OUTPUT
def generate(name: str | None, scopes: tuple[str, ...], output: str) -> None:
    """Make a token, and the entry for the tokens file, which does not hold the token."""
    import secrets

    from . import tokens

    token, entry = tokens.new_token(name or f"token-{secrets.token_hex(4)}", scopes, secrets.token_bytes(32))
    commandline.emit({"token": token, "entry": entry}, output, _token_text(token, entry))


def _activated_text(reply: PullReply) -> str:
    if reply.pinned:
        return f"{reply.version} is live, and pinned here until the channel moves"
    return f"{_release(reply.version, reply.generation)} is live until the next pull, which follows the channel again"


def _pull_text(reply: PullReply) -> str:
    done = f"{reply.files_written} files written, {reply.files_linked} linked, {reply.bytes_fetched} bytes fetched"
    if not reply.changed:
        return f"{_release(reply.version, reply.generation)} is live already"
    before = f" (was {reply.previous})" if reply.previous else ""
    return f"{_release(reply.version, reply.generation)} is live{before}: {done} in {reply.seconds:.2f} s"


def _status_text(found: AgentStatus) -> str:
    from .live import GONE

    lines = [f"{found.agent_id}: bundle {found.bundle}, channel {found.channel}"]
    if found.version is None:
        lines.append("live: nothing yet")
    else:
        lines.append(f"live: {_release(found.version, found.generation)} since {found.since}")
    if found.previous:
        lines.append(f"before: {found.previous}")
    if found.pinned:
        lines.append(f"pinned here to {found.pinned} until the channel moves")
    if found.signed_by:
        lines.append(f"signed by: {', '.join(found.signed_by)}")
    if not found.verifying:
        asked = "does not say whether these keys still count" if found.signed_by else "believes what nobody signed"
        lines.append(f"without --keyring this command {asked}")
    if found.last_check:
        lines.append(f"last look at the store: {found.last_check}")
    if found.last_error:
        lines.append(f"last error: {found.last_error.get('code')}: {found.last_error.get('message')}")
    if found.drift == GONE:
        lines.append("drift: the live release, or its file list, is GONE from this disk; the next pull brings it back")
    elif found.drift:
        lines.append(f"drift: {len(found.drift)} files are not what was delivered, for example {found.drift[0]}")
    others = [", ".join(map(str, one["versions"])) or str(one["tree"]) for one in found.releases if not one["live"]]
    if others:
        lines.append("also on this disk: " + "; ".join(others))
    return "\n".join(map(commandline.plain, lines))


def _release(version: str, generation: int | None) -> str:
    return version if generation is None else f"{version} (generation {generation})"


def _token_text(token: str, entry: dict[str, Any]) -> str:
    return (
        f"token, for those who ask (shown only now):\n{token}\n"
        f"entry, for the array in the tokens file:\n{json.dumps(entry)}"
    )


def _log_to_stderr(level: int, options: dict[str, Any], *, default: str = "text") -> None:
    origin = logs.Origin(agent_id(options), options["bundle"], options["channel"])
    logs.to_stderr(level, options["log_format"] or default, origin)
