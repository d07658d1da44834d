"""Commands for a release that goes live in steps: rollout resume, rollout abort; and the steps of ship."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import click

from dagferry_schemas.commandline import plain
from dagferry_schemas.errors import Usage

from . import options
from .access import parse_urls
from .cli_telling import agents_answered, report
from .rollout import Rollout, Steps
from .waves import Share

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dagferry_schemas.endpoint import AgentStatus

    from .access import Access
    from .agents import Answer
    from .channel import Change
    from .site import Site
    from .staged import StagedChannel


class Reached:
    """The agents at some URLs, for a rollout."""

    def __init__(self, urls: Sequence[str], access: Access, followed: tuple[str, str]) -> None:
        self._urls = urls
        self._access = access
        self._followed = followed

    def pull(self, generation: int, timeout: float) -> Sequence[Answer]:
        """Have all of them serve ``generation``, or a newer one."""
        from . import agents

        return agents.pull(self._urls, self._access, self._followed, generation, timeout)

    def statuses(self, timeout: float) -> Sequence[tuple[Answer, AgentStatus | None]]:
        """What each says of itself."""
        from . import agents

        return agents.statuses(self._urls, self._access, timeout)


def stepping(*, needed: bool) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give the command ``steps``: how a release goes live; None without --canary, unless that is ``needed``."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def call(
            canary: str | None,
            batch: str | None,
            pause: float,
            step_timeout: float,
            min_dags: str | None,
            gate_command: str | None,
            **rest: Any,  # noqa: ANN401 (click's)
        ) -> Any:  # noqa: ANN401
            if canary is None and (batch or pause or min_dags or gate_command):
                raise Usage("--batch, --pause, --min-dags and --gate-command are about steps", "give --canary, too")
            steps = canary and Steps(
                Share.parse(canary, "--canary", labels=True),
                Share.parse(batch, "--batch") if batch else None,
                pause,
                step_timeout,
                Share.parse(min_dags, "--min-dags") if min_dags else None,
                gate_command,
            )
            return command(steps=steps or None, **rest)

        return _options(needed)(call)

    return decorate


def _options(needed: bool) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    number = click.FloatRange(min=0)
    declared = (
        options.option(
            "--canary",
            metavar="SHARE",
            default="1" if needed else None,
            show_default=needed,
            help="Go live in steps, at first for so many agents: 1, 10%, or a label, KEY=VALUE.",
        ),
        options.option("--batch", metavar="SHARE", default=None, help="Then for so many more, again and again."),
        options.option(
            "--pause",
            callback=options.seconds_of,
            default="0s",
            show_default=True,
            help="How long each step has to hold before the next.",
        ),
        options.option(
            "--step-timeout", type=number, default=300.0, show_default=True, help="Seconds for a step's gate to hold."
        ),
        options.option(
            "--min-dags",
            metavar="SHARE",
            default=None,
            help="How many DAGs Airflow must have at least: a number, or 90%.",
        ),
        options.option(
            "--gate-command", metavar="COMMAND", default=None, help="Run at the end of each step; it has to end with 0."
        ),
    )

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for one in reversed(declared):
            command = one(command)
        return command

    return decorate


def reached(agents_text: Sequence[str], access: Access, site: Site, channel: StagedChannel) -> Reached:
    """The agents of --agents. Raises `Usage` if none is named."""
    if not agents_text:
        raise Usage("a release goes live in steps where agents can be asked", "give --agents", code="no_agents")
    return Reached(parse_urls(",".join(agents_text)), access, (site.bundle_name, channel.name))


def told(line: str) -> None:
    """What happens, on stderr."""
    click.echo(plain(line), err=True)


@click.group()
def rollout() -> None:
    """A release that is going live in steps: go on with it, or take it back."""


@rollout.command("resume")
@options.agents(required=True)
@options.reaching
@stepping(needed=True)
@options.moving
def resume_rollout(
    steps: Steps,
    agents_text: tuple[str, ...],
    access: Access,
    timeout: float,
    site: Site,
    channel: StagedChannel,
    reason: str,
    dry_run: bool,
    output: str,
) -> None:
    """Go on with the release that is going live in steps, from the step at which it was left."""
    fleet = reached(agents_text, access, site, channel)
    if dry_run:
        candidate = channel.candidate()
        would = {**channel.unchanged().to_dict(), "agents": [], "dry_run": True}
        report(would, output, f"would go on with {candidate.live.version}, served by {', '.join(candidate.targets)}")
        return
    change, story = Rollout(channel, fleet, steps, told).resume(site.bundle_name, reason=reason)
    answers = fleet.pull(change.record.generation, timeout)
    from . import agents

    result = {**change.to_dict(), "rollout": story.to_dict(), "agents": [one.to_dict() for one in answers]}
    agents_answered(change.record, answers)
    agents.require(answers, result)
    report({**result, "dry_run": False}, output, _line(change))


@rollout.command("abort")
@options.option("--no-hold", is_flag=True, help="Let the next promotion through.")
@options.option("--not-bad", is_flag=True, help="Do not call the version bad: it may be shipped again.")
@options.moving
def abort_rollout(
    no_hold: bool,
    not_bad: bool,
    site: Site,
    channel: StagedChannel,
    reason: str,
    dry_run: bool,
    output: str,
) -> None:
    """Take back the release that is going live in steps; what was live before stays."""
    version = channel.candidate().live.version
    change = channel.withdraw(version, reason or f"aborted {version}", bad=not not_bad, hold=not no_hold)
    would = "would be " if dry_run else ""
    report({**change.to_dict(), "dry_run": dry_run}, output, plain(f"{version} {would}withdrawn. {_line(change)}"))


def _line(change: Change) -> str:
    record = change.record
    held = ", held" if record.hold else ""
    return f"{record.channel}: generation {record.generation} is {record.live.version}{held}"
