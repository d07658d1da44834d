"""The two programs as their click commands say: which commands there are, their options and their variables."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

import click

from dagferry_agent.cli import commands as agent
from dagferry_builder.cli import dagferry as builder

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PROGRAMS: dict[str, click.Group] = {"dagferry": builder, "dagferry-agent": agent}
_ENDS = {"|", "||", "&&", ";", "&", ">", ">>", "2>", "<"}
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*=")


def every(group: click.Group, name: str) -> Iterator[tuple[str, click.Command]]:
    """All commands of a program, by what one types."""
    yield name, group
    context = click.Context(group)
    for one in group.list_commands(context):
        command = group.get_command(context, one)
        assert command is not None, one
        if isinstance(command, click.Group):
            yield from every(command, f"{name} {one}")
        else:
            yield f"{name} {one}", command


def options_of(command: click.Command) -> set[str]:
    """The options of one command, ``--help`` among them."""
    context = click.Context(command, help_option_names=["-h", "--help"])  # as both groups say
    return {
        name
        for parameter in command.get_params(context)
        for name in (*parameter.opts, *parameter.secondary_opts)
        if name.startswith("-")
    }


def variables_of(program: str) -> set[str]:
    """The environment variables that a program's options read."""
    return {
        str(parameter.envvar)
        for _, command in every(PROGRAMS[program], program)
        for parameter in command.params
        if parameter.envvar
    }


def calls_in(line: str) -> Iterator[list[str]]:
    """The calls of our programs in one line of shell, each as its words."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="();<>|&")
    lexer.whitespace_split = True
    call: list[str] = []
    for word in [*lexer, ";"]:
        if word in _ENDS or set(word) <= set("();<>|&"):
            if call and call[0] in PROGRAMS:
                yield call
            call = []
        elif call or not _VARIABLE.match(word):
            call.append(word)


def objection(words: Sequence[str]) -> str | None:
    """What is wrong with a call of one of our programs, or None."""
    command: click.Command = PROGRAMS[words[0]]
    rest = list(words[1:])
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        found = command.get_command(click.Context(command), rest[0])
        if found is None:
            return f"{shlex.join(words)}: there is no command {rest[0]!r}"
        command = found
        rest.pop(0)
    known = options_of(command)
    unknown = [word for word in rest if word.startswith("-") and word.partition("=")[0] not in known]
    return f"{shlex.join(words)}: no option {', '.join(unknown)}" if unknown else None
