"""The options that several commands share: flag, environment variable and config key of each in one place.

An option ``--token-file`` also reads ``DAGFERRY_TOKEN_FILE`` and the top-level key ``token_file`` of the config file,
in that order. `placed`, `moving` and `reaching` turn what every command needs into one value: a `Site`, a `Channel`,
the `Access` to agents.
"""

from __future__ import annotations

import functools
import math
import os
import re
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

import click

from dagferry_schemas.commandline import OUTPUTS, plain
from dagferry_schemas.errors import Usage
from dagferry_schemas.fields import MAX_TEXT
from dagferry_storage.cli_naming import Naming

from .access import Access, check_ca_file, read_token
from .cli_telling import record_written, telling
from .site import Site

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from .agents import Answer

Command = TypeVar("Command", bound="Callable[..., Any]")
PREFIX = "DAGFERRY_"


def option(name: str, *short: str, **settings: Any) -> Callable[[Command], Command]:  # noqa: ANN401 (click's)
    """A click option that also reads ``DAGFERRY_<NAME>``."""
    variable = PREFIX + name.split("/")[0].removeprefix("--").replace("-", "_").upper()
    return click.option(name, *short, envvar=variable, show_envvar=True, **settings)


def _stack(*options: Callable[[Any], Any]) -> Callable[[Command], Command]:
    def decorate(command: Command) -> Command:
        for one in reversed(options):
            command = one(command)
        return command

    return decorate


output = option(
    "--output", "-o", type=click.Choice(OUTPUTS), default="text", show_default=True, help="How results are printed."
)
store = option("--store", "store_url", cls=Naming, metavar="URL", help="The object store. [default: .dagferry/store]")
bundle = option(
    "--bundle", "bundle_name", cls=Naming, metavar="NAME", help="The bundle; may be left out where there is one."
)
rev = option("--rev", default="HEAD", show_default=True, help="The commit, in any way git understands.")
root = option(
    "--root", metavar="FOLDER", default=None, help="Pack this folder instead of the configured one (version +local)."
)
MOST_DAYS = 36525
"""A hundred years: the longest that a record can be valid."""


def _a_number(_: click.Context, option: click.Parameter, value: float | None) -> float | None:
    """``value``; nan is within every range."""
    if value is not None and math.isnan(value):
        raise click.BadParameter("nan is no number of days", param=option)
    return value


channel = option("--channel", "channel_name", cls=Naming, metavar="C", required=True, help="The channel.")
actor = option("--actor", metavar="NAME", default=None, help="Who does this. [default: what CI says, or user@host]")
reason = option("--reason", metavar="TEXT", default="", help="Why; it stays in the channel's log.")
dry_run = option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
token_file = option(
    "--token-file", type=click.Path(path_type=Path), default=None, help="A file with the agents' bearer token."
)
ca_file = option(
    "--ca-file", type=click.Path(path_type=Path), default=None, help="Certificates that agents' https is checked with."
)
signer = option(
    "--signer",
    "signers",
    cls=Naming,
    metavar="KEY",
    multiple=True,
    help="Sign with this key: a PEM file, awskms:ID, gcpkms:ID or hv:NAME; repeatable.",
)
keyring = option(
    "--keyring",
    cls=Naming,
    type=click.Path(path_type=Path),
    default=None,
    help="A folder of public keys: nothing is believed that they did not sign.",
)
expires_days = option(
    "--expires-days",
    type=click.FloatRange(min=0, min_open=True, max=MOST_DAYS),
    default=None,
    callback=_a_number,
    help="The record expires after so many days, unless it is refreshed. [default: never]",
)
PATH = click.Path(path_type=Path, dir_okay=False)
webhook = option(
    "--webhook",
    "webhook_urls",
    cls=Naming,
    metavar="URL",
    multiple=True,
    help="Tell this webhook what happens, in signed CloudEvents; repeatable.",
)
webhook_secret_file = option(
    "--webhook-secret-file",
    type=PATH,
    default=None,
    help="What events are signed with: whsec_ and base64.",
)
webhook_ca_file = option(
    "--webhook-ca-file", type=PATH, default=None, help="Certificates that the webhook's https is checked with."
)
interval = option(
    "--interval",
    type=click.FloatRange(min=0.1),
    default=2.0,
    show_default=True,
    help="Seconds between two looks at the channel.",
)
WAIT = 120.0
LOOK = 10.0
"""Seconds that agents get by default: to serve a release, and to say what they serve."""


def timeout(seconds: float) -> Callable[[Command], Command]:
    """The option ``--timeout``."""
    number = click.FloatRange(min=0.1)
    return option("--timeout", type=number, default=seconds, show_default=True, help="Seconds to wait for the agents.")


def seconds_of(_: click.Context, option: click.Parameter, value: str) -> float:
    """The seconds of a time span that a user writes: a number with ``s``, ``m`` or ``h``, or without one."""
    found = re.fullmatch(r"([0-9]{1,6}(?:\.[0-9]{1,3})?)([smh]?)", value)
    if found is None:
        raise click.BadParameter(f"{value!r} is no time span: write 60s, 5m or 1h", param=option)
    return float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[found[2]]


no_lint = option("--no-lint", is_flag=True, help="Publish without lint.")
allow_bad = option("--allow-bad", is_flag=True, help="Promote even a version that was called bad.")
allow_removal = option("--allow-removal", is_flag=True, help="Let DAGs vanish from what is live.")


def caching(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give the command the ``cache``: a folder for what a later run can use, None if nothing is to be kept."""

    @functools.wraps(command)
    def call(cache_dir: Path | None, no_cache: bool, **rest: Any) -> Any:  # noqa: ANN401 (click's)
        return command(cache=None if no_cache else cache_dir or _default_cache(), **rest)

    return _stack(
        option(
            "--cache-dir",
            type=click.Path(path_type=Path, file_okay=False),
            default=None,
            help="Where results of lint and compressed files are kept. [default: ~/.cache/dagferry]",
        ),
        option("--no-cache", is_flag=True, help="Import and compress every file anew, and keep nothing."),
    )(call)


def _default_cache() -> Path | None:
    """``$XDG_CACHE_HOME/dagferry``, or ``~/.cache/dagferry``; None without a home."""
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(base) if base else Path.home() / ".cache") / "dagferry"
    except RuntimeError:  # a container's user without a name
        return None


def linting(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give the command the ``gate``: lint, with what --policy and --python name and with the cache of `caching`."""

    @functools.wraps(command)
    def call(policy: Path | None, python: str | None, cache: Path | None, **rest: Any) -> Any:  # noqa: ANN401
        from .gate import Gate

        return command(gate=Gate(policy, python, cache), **rest)

    return _stack(
        option(
            "--policy",
            type=click.Path(path_type=Path, dir_okay=False),
            default=None,
            help="A file whose table [lint] replaces the repository's own.",
        ),
        option(
            "--python", cls=Naming, metavar="COMMAND", default=None, help="The Python that has production's Airflow."
        ),
    )(caching(call))


def coloured(stream: IO[str]) -> bool:
    """Whether what is written to ``stream`` may be in colour: a terminal, and no ``NO_COLOR``."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def note_uncommitted(site: Site, rev: str, done: str) -> None:
    """Say so if the working tree has more than the commit that is built or checked."""
    with noting_uncommitted(site, rev, done):
        pass


@contextmanager
def noting_uncommitted(site: Site, rev: str, done: str) -> Iterator[None]:
    """As `note_uncommitted`, beside what is done inside: git looks at every file of the working tree for it."""
    if rev != "HEAD":
        yield
        return
    with site.repository.uncommitted(site.bundle(rev).selection.folders) as found:
        yield
        uncommitted = found.wait().output
    if uncommitted:
        click.echo(f"note: what is not committed is not {done} (see `git status`)", err=True)


def note(answer: Answer) -> None:
    """Tell people what came of one agent."""
    said = f"serves generation {answer.generation}" if answer.ok else f"is not waited for: {answer.error}"
    click.echo(plain(f"{answer.url} {said}"), err=True)


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint at the word that was probably meant, or nothing."""
    from difflib import get_close_matches

    near = get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else ""


def agents(*, required: bool) -> Callable[[Command], Command]:
    """The option ``--agents``: base URLs, comma-separated."""
    return option(
        "--agents", "agents_text", metavar="URL[,URL…]", required=required, multiple=True, help="The agents' URLs."
    )


wait = option("--wait", is_flag=True, help="Wait for the agents that acknowledge in the store, too.")


def placed(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give the command ``site`` (from --store, --bundle and --keyring) and ``output``."""

    @functools.wraps(command)
    def call(store_url: str | None, bundle_name: str | None, keyring: Path | None, **rest: Any) -> Any:  # noqa: ANN401
        return command(site=Site(Path.cwd(), store_url, bundle_name, keyring=keyring), **rest)

    return _stack(store, bundle, keyring, output)(call)


def signing(command: Callable[..., Any]) -> Callable[..., Any]:
    """As `placed`; the site has the keys of --signer, too."""

    @functools.wraps(command)
    def call(site: Site, signers: tuple[str, ...], **rest: Any) -> Any:  # noqa: ANN401 (click's)
        return command(site=replace(site, signer_uris=signers), **rest)

    return signer(placed(call))


def webhooks(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give the command ``webhook_urls``, ``webhook_secret_file`` and ``webhook_ca_file``."""
    return _stack(webhook, webhook_secret_file, webhook_ca_file)(command)


def announcing(command: Callable[..., Any]) -> Callable[..., Any]:
    """Let the command tell the webhooks of --webhook what it does (`cli_telling`)."""

    @functools.wraps(command)
    def call(
        webhook_urls: tuple[str, ...],
        webhook_secret_file: Path | None,
        webhook_ca_file: Path | None,
        **rest: Any,  # noqa: ANN401 (click's)
    ) -> Any:  # noqa: ANN401
        with telling(webhook_urls, webhook_secret_file, webhook_ca_file):
            return command(**rest)

    return webhooks(call)


def moving(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give the command ``site``, the ``channel`` that it moves, ``reason``, ``dry_run`` and ``output``.

    What it writes to the channel is told to the webhooks of --webhook.
    """

    @functools.wraps(command)
    def call(
        site: Site,
        channel_name: str,
        actor: str | None,
        dry_run: bool,
        expires_days: float | None,
        **rest: Any,  # noqa: ANN401 (click's)
    ) -> Any:  # noqa: ANN401
        if len(rest["reason"]) > MAX_TEXT or len(actor or "") > MAX_TEXT:
            raise Usage(f"--reason and --actor have at most {MAX_TEXT} characters", "say it in fewer words")
        adopt = rest.pop("adopt_unsigned", False)
        moved = site.channel(
            channel_name,
            actor=actor,
            dry_run=dry_run,
            expires_days=expires_days,
            adopt_unsigned=adopt,
            observe=record_written,
        )
        return command(site=site, channel=moved, dry_run=dry_run, **rest)

    return _stack(channel, reason, actor, dry_run, expires_days)(announcing(signing(call)))


def reaching(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give the command ``access`` to agents (from --token-file and --ca-file) and a ``timeout`` for a release."""
    return timeout(WAIT)(_with_access(command))


def looking(command: Callable[..., Any]) -> Callable[..., Any]:
    """As `reaching`, with a shorter ``timeout``: one pod that hangs must not hide the others for minutes."""
    return timeout(LOOK)(_with_access(command))


def _with_access(command: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(command)
    def call(token_file: Path | None, ca_file: Path | None, **rest: Any) -> Any:  # noqa: ANN401 (click's)
        return command(access=Access(read_token(token_file), check_ca_file(ca_file)), **rest)

    return _stack(token_file, ca_file)(call)
