"""The program ``dagferry``: its commands, and where their defaults come from."""

from __future__ import annotations

import gc
import logging
import os
import sys
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, cast

import click

from dagferry_schemas import commandline

from . import config, installed_version

_COMMANDS: Final = {
    "cli_build": ("init", "version", "build"),
    "cli_publish": ("publish", "ship"),
    "cli_lint": ("lint",),
    "cli_store": ("init-store", "doctor"),
    "cli_channel": ("promote", "rollback", "hold", "resume", "refresh", "recover", "log", "channels"),
    "cli_airflow": ("airflow-config",),
    "cli_keys": ("keys",),
    "cli_inspect": ("versions", "show", "verify", "export", "copy", "notify", "status"),
    "cli_diff": ("diff",),
    "cli_events": ("events", "audit"),
    "cli_rollout": ("rollout",),
    "cli_watch": ("watch",),
}
"""The modules of the commands. One is imported when a command of its own is asked for: all together cost more
than many a command takes."""
_MODULES: Final = {name: module for module, names in _COMMANDS.items() for name in names}


class _Commands(click.Group):
    """Finds commands where they are, and suggests the nearest one for a mistyped one."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all commands."""
        return sorted(_MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, or None."""
        if cmd_name not in _MODULES:
            return None
        module = import_module(f".{_MODULES[cmd_name]}", __package__)
        return cast("click.Command", getattr(module, cmd_name.replace("-", "_")))

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:  # noqa: ANN401 (as click has it)
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from difflib import get_close_matches

            near = get_close_matches(args[0], self.list_commands(ctx), n=1)
            if near and "Did you mean" not in error.message:
                raise click.UsageError(f"{error.message} Did you mean {near[0]!r}?", ctx) from None
            raise


def _say_version(context: click.Context, _: click.Parameter, asked: bool) -> None:
    if asked and not context.resilient_parsing:
        click.echo(f"dagferry {installed_version()}")
        context.exit()


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("-V", "--version", is_flag=True, expose_value=False, is_eager=True, callback=_say_version,
              help="Show the version and exit.")  # fmt: skip
@click.pass_context
def dagferry(context: click.Context) -> None:
    """Bring Airflow DAGs from a merged commit to every pod, and back."""
    options = config.find(Path.cwd()).resolved_options()
    renamed = {"store": "store_url", "channel": "channel_name", "agents": "agents_text", "signer": "signers",
               "webhook": "webhook_urls"}  # fmt: skip
    defaults = {renamed.get(name, name): value for name, value in options.items()}
    context.default_map = dict.fromkeys(dagferry.list_commands(context), defaults)


def _wants_json(args: list[str]) -> bool:
    """Whether lint is asked for JSON by ``--format``: then an error is one document too, as with ``-o json``."""
    if args[:1] != ["lint"]:
        return False
    given = [after for one, after in pairwise([*args, ""]) if one == "--format"]
    given += [one.removeprefix("--format=") for one in args if one.startswith("--format=")]
    return "json" in (given or [os.environ.get("DAGFERRY_FORMAT", "")])


def main() -> None:
    """The entry point: run the command and exit with its code."""
    gc.set_threshold(200_000)  # a build makes tens of thousands of records, none of them in a cycle
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING, stream=sys.stderr)
    default = "json" if _wants_json(sys.argv[1:]) else os.environ.get("DAGFERRY_OUTPUT", "text")
    code = commandline.run(
        lambda args: dagferry.main(args, "dagferry", standalone_mode=False), sys.argv[1:], default_output=default
    )
    gc.freeze()  # what is left goes with the process: there is no need to look through all of it for cycles
    sys.exit(code)
