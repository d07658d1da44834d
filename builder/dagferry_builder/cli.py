"""The program ``dagferry``: its commands, and where their defaults come from."""

from __future__ import annotations

import difflib
import logging
import os
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import click

from dagferry_schemas import commandline

from . import cli_build, cli_channel, cli_diff, cli_inspect, cli_lint, cli_store, config, installed_version


class _Commands(click.Group):
    """A group that suggests the nearest command for a mistyped one."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:  # noqa: ANN401 (as click has it)
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            near = difflib.get_close_matches(args[0], self.list_commands(ctx), n=1)
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
    renamed = {"store": "store_url", "channel": "channel_name", "agents": "agents_text"}
    defaults = {renamed.get(name, name): value for name, value in options.items()}
    context.default_map = dict.fromkeys(dagferry.list_commands(context), defaults)


for _commands in (cli_build, cli_lint, cli_store, cli_channel, cli_inspect, cli_diff):
    for _command in _commands.COMMANDS:
        dagferry.add_command(_command)


def _wants_json(args: list[str]) -> bool:
    """Whether lint is asked for JSON by ``--format``: then an error is one document too, as with ``-o json``."""
    if args[:1] != ["lint"]:
        return False
    given = [after for one, after in pairwise([*args, ""]) if one == "--format"]
    given += [one.removeprefix("--format=") for one in args if one.startswith("--format=")]
    return "json" in (given or [os.environ.get("DAGFERRY_FORMAT", "")])


def main() -> None:
    """The entry point: run the command and exit with its code."""
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING, stream=sys.stderr)
    default = "json" if _wants_json(sys.argv[1:]) else os.environ.get("DAGFERRY_OUTPUT", "text")
    sys.exit(
        commandline.run(
            lambda args: dagferry.main(args, "dagferry", standalone_mode=False), sys.argv[1:], default_output=default
        )
    )
