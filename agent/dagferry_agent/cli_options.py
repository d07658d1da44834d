"""The options of ``dagferry-agent``, each with its variable ``DAGFERRY_AGENT_<OPTION>``, and their checks."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import click

from dagferry_schemas import commandline
from dagferry_schemas.errors import Usage
from dagferry_schemas.names import NAME, check_name
from dagferry_storage.cli_naming import Naming

from . import logs
from .settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from dagferry_storage.webhook import Webhook

    Command = TypeVar("Command", bound=Callable[..., Any])

ENVIRONMENT: Final = "DAGFERRY_AGENT_"
_LABEL: Final = re.compile(rf"({NAME.pattern})=({NAME.pattern})")
_HOST: Final = re.compile(r"\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]{1,253}")
_LISTEN: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]+):([0-9]{1,5})")


def option(name: str, *names: str, **attributes: Any) -> Callable[[Command], Command]:  # noqa: ANN401 (click's own)
    """One option with its environment variable; the default is shown in the help."""
    variable = ENVIRONMENT + name.removeprefix("--").replace("-", "_").upper()
    return click.option(name, *names, envvar=variable, show_envvar=True, **attributes)


def stack(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Several options as one decorator."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


OUTPUT = option(
    "--output",
    "-o",
    type=click.Choice(commandline.OUTPUTS),
    default="text",
    show_default=True,
    help="What stdout gets: text for people, or one JSON document.",
)


def following(*, required: bool) -> Callable[[Command], Command]:
    """The options that say what to deliver."""
    return stack(
        option(
            "--store",
            cls=Naming,
            required=required,
            metavar="URL",
            help="The object store: file:///dir, a path, s3://…",
        ),
        option("--bundle", cls=Naming, required=required, metavar="NAME", help="The bundle to deliver."),
        option("--channel", cls=Naming, required=required, metavar="NAME", help="The channel to follow."),
    )


SETTINGS = stack(
    option(
        "--root",
        cls=Naming,
        required=True,
        type=click.Path(path_type=Path),
        help="The folder of releases; Airflow reads current.",
    ),
    option("--listen", default="127.0.0.1:8470", show_default=True, metavar="HOST:PORT", help="Where serve answers."),
    option("--tokens-file", type=click.Path(path_type=Path), help="Who may ask: a JSON array of entries."),
    option(
        "--keyring",
        cls=Naming,
        type=click.Path(path_type=Path),
        help="A folder of public keys: nothing is delivered that they did not sign.",
    ),
    option("--tls-cert", type=click.Path(path_type=Path), help="Answer https with this certificate (PEM, its chain)."),
    option("--tls-key", type=click.Path(path_type=Path), help="The certificate's key (PEM, not encrypted)."),
    option(
        "--allowed-host", multiple=True, metavar="NAME", help="Answer to this host only; repeatable. [default: any]"
    ),
    option(
        "--pulls-per-minute",
        type=click.IntRange(min=1),
        default=120,
        show_default=True,
        help="How often one token may ask for a pull.",
    ),
    option("--poll-seconds", type=float, default=15.0, show_default=True, help="Between looks at the store; 0: never."),
    option("--keep-releases", type=click.IntRange(min=1), default=5, show_default=True, help="How many stay on disk."),
    option("--grace-hours", type=float, default=6.0, show_default=True, help="How long a replaced release stays."),
    option(
        "--durability",
        type=click.Choice(["auto", "fsync", "syncfs", "none"]),
        default="auto",
        show_default=True,
        help="How files are flushed to disk; none is for tmpfs.",
    ),
    option(
        "--airflow-settle-seconds",
        type=float,
        default=31.0,
        show_default=True,
        help="After a switch, changed DAG files get a new time once more; 0: never.",
    ),
    option("--airflow-url", default=None, metavar="URL", help="Airflow's API: it is told of each switch."),
    option(
        "--airflow-credentials-file",
        type=click.Path(path_type=Path),
        help="Who asks there: a JSON file with username and password, or with a token.",
    ),
    option(
        "--airflow-bundle",
        default="dags-folder",
        show_default=True,
        metavar="NAME",
        help="What Airflow 3 calls the bundle of these DAGs.",
    ),
    option("--heal", is_flag=True, help="Put back files that were edited in the live release, and not only say so."),
    option("--acknowledge", is_flag=True, help="Say in the store what is served here; takes a right to write there."),
    option(
        "--acknowledge-seconds",
        type=float,
        default=60.0,
        show_default=True,
        help="Between acknowledgements at the most; 0: only when something changes.",
    ),
    option("--agent-id", default=None, metavar="NAME", help="This agent's name.  [default: the host name]"),
    option(
        "--webhook",
        cls=Naming,
        multiple=True,
        metavar="URL",
        help="serve tells this webhook what happens here, in signed CloudEvents; repeatable.",
    ),
    option(
        "--webhook-secret-file", type=click.Path(path_type=Path), help="What events are signed with: whsec_ and base64."
    ),
    option(
        "--webhook-ca-file",
        type=click.Path(path_type=Path),
        help="Certificates that the webhook's https is checked with.",
    ),
    option("--label", multiple=True, metavar="K=V", help="A label that rollouts may name; repeatable."),
    option(
        "--log-format",
        type=click.Choice(logs.FORMATS),
        default=None,
        help="The log on stderr.  [default: text; of serve: json, but text on a terminal]",
    ),
    OUTPUT,
)


def settings_of(options: dict[str, Any]) -> Settings:
    """The settings that ``options`` describe. Raises `Usage`."""
    host, port = _address(options["listen"])
    return Settings(
        store=options["store"],
        bundle=check_name("bundle", options["bundle"]),
        channel=check_name("channel", options["channel"]),
        root=options["root"].absolute(),
        agent_id=agent_id(options),
        host=host,
        port=port,
        tokens_file=_absolute(options["tokens_file"]),
        keyring=_absolute(options["keyring"]),
        **_tls(options),
        allowed_hosts=frozenset(map(_host, options["allowed_host"])),
        pulls_per_minute=options["pulls_per_minute"],
        poll_seconds=_amount("--poll-seconds", options["poll_seconds"]),
        keep_releases=options["keep_releases"],
        grace_hours=_amount("--grace-hours", options["grace_hours"]),
        durability=options["durability"],
        heal=options["heal"],
        airflow_url=_airflow(options["airflow_url"]),
        airflow_credentials_file=_absolute(options["airflow_credentials_file"]),
        airflow_bundle=check_name("bundle", options["airflow_bundle"]),
        airflow_settle_seconds=_amount("--airflow-settle-seconds", options["airflow_settle_seconds"]),
        acknowledge=options["acknowledge"],
        acknowledge_seconds=_amount("--acknowledge-seconds", options["acknowledge_seconds"]),
        labels=_labels(options["label"]),
        webhooks=_webhooks(options),
    )


def _address(listen: str) -> tuple[str, int]:
    match = _LISTEN.fullmatch(listen)
    if match is None or int(match[2]) > 65535:
        raise Usage(f"--listen {listen!r} is not HOST:PORT", "for example 127.0.0.1:8470, 0.0.0.0:8470 or [::1]:8470")
    return match[1].strip("[]"), int(match[2])


def _tls(options: dict[str, Any]) -> dict[str, Path]:
    """Both files of TLS, or none of them."""
    given = {name: options[name].absolute() for name in ("tls_cert", "tls_key") if options[name] is not None}
    if len(given) == 1:
        present, absent = ("--tls-cert", "--tls-key") if "tls_cert" in given else ("--tls-key", "--tls-cert")
        raise Usage(f"{present} is given without {absent}", "https needs both files; http needs none")
    return given


def _absolute(path: Path | None) -> Path | None:
    return None if path is None else path.absolute()


def _airflow(url: str | None) -> str | None:
    """Airflow's URL, as far as one can tell. Raises `Usage`."""
    if url is None:
        return None
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        raise Usage(
            f"--airflow-url {url!r} is no URL of Airflow's API",
            "for example http://airflow-api-server:8080; who asks is said in --airflow-credentials-file",
        )
    return url


def _webhooks(options: dict[str, Any]) -> tuple[Webhook, ...]:
    """Who is told what happens. Raises `Usage`."""
    if not options["webhook"]:
        return ()
    from dagferry_storage.webhook import open_webhooks

    return open_webhooks(
        options["webhook"], _absolute(options["webhook_secret_file"]), _absolute(options["webhook_ca_file"])
    )


def _host(name: str) -> str:
    if not _HOST.fullmatch(name):
        raise Usage(
            f"--allowed-host {name!r} is no host name", "for example dags.internal, 10.0.0.7 or [fd00::7]: no port"
        )
    return name.lower()


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


def agent_id(options: dict[str, Any]) -> str:
    """This agent's name. Raises `Usage`."""
    return check_name("agent", options["agent_id"] or os.uname().nodename)
