"""What to paste into an Airflow 3, so that its DAGs come by the agent's versioned bundle (``airflow_bundle``)."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from dagferry_schemas.commandline import emit
from dagferry_schemas.errors import Usage
from dagferry_schemas.names import check_name

from . import options

if TYPE_CHECKING:
    from .site import Site

CLASSPATH: Final = "dagferry_agent.airflow_bundle.DagferryBundle"
VARIABLE: Final = "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST"
REFRESH_SECONDS: Final = 5
"""A look at the channel is one conditional request; Airflow itself looks at its bundles at most every 5 seconds."""
_EXTRAS: Final = {"s3:": ("airflow", "s3"), "gs:": ("airflow", "gcs")}


@click.command("airflow-config")
@options.placed
@options.channel
@click.option("--name", metavar="NAME", help="What Airflow calls the bundle. [default: as --bundle]")
@options.option("--agent-root", metavar="DIR", help="The root of an agent beside Airflow, whose releases are used.")
@options.option(
    "--refresh-seconds",
    type=click.IntRange(1, 86400),
    default=REFRESH_SECONDS,
    show_default=True,
    help="How often the dag-processor asks what the channel says.",
)
@options.option("--view-url", metavar="URL", help="Where people see a version; {version} stands for it.")
def airflow_config(
    site: Site,
    channel_name: str,
    name: str | None,
    agent_root: str | None,
    refresh_seconds: int,
    view_url: str | None,
    output: str,
) -> None:
    """Print the setting by which an Airflow 3 gets its DAGs from the channel, each run at its own version."""
    bundle = site.bundle_name
    check_name("channel", channel_name)
    # With an agent beside Airflow the default store, a folder of this clone, is not what anybody means.
    url = site.store.url if agent_root is None or site.store_url is not None else None
    name = name or bundle
    if "/" in name:
        raise Usage(f"a bundle of Airflow cannot be called {name!r}", "Airflow makes a file of that name: without '/'")
    if view_url is not None and not view_url.startswith(("https://", "http://")):
        raise Usage(f"{view_url!r} is no address that Airflow would show", "begin with https://")
    if view_url is not None:
        _check_template(view_url)
    kwargs: dict[str, Any] = {"channel": channel_name, "refresh_interval": refresh_seconds}
    more = {
        "store": url,
        "bundle": bundle if bundle != name else None,
        "keyring": str(site.keyring.absolute()) if site.keyring is not None else None,
        "agent_root": str(Path(agent_root).absolute()) if agent_root is not None else None,
        "view_url_template": view_url,
    }
    kwargs |= {key: value for key, value in more.items() if value is not None}
    bundles = [{"name": name, "classpath": CLASSPATH, "kwargs": kwargs}]
    value = json.dumps(bundles)
    extras = ["airflow", *_EXTRAS.get((url or "")[:3], ("airflow",))[1:]]
    lines = [
        f"# for every component of Airflow 3, each with dagferry and its extras {', '.join(extras)}",
        f"{VARIABLE}={shlex.quote(value)}",
    ]
    if url is not None and url == site.store.url and site.store_url is None:
        click.echo("warning: no --store is named, so this is the folder of this clone; Airflow has to see it", err=True)
    emit({"variable": VARIABLE, "value": value, "bundles": bundles, "extras": extras}, output, "\n".join(lines))


def _check_template(template: str) -> None:
    try:
        template.format(version="v1", name="name", bundle="bundle", channel="channel")
    except (LookupError, ValueError, AttributeError) as error:
        raise Usage(
            f"{template!r} cannot be filled in: {type(error).__name__} {error}",
            "it may have {version}, {name}, {bundle} and {channel}; a brace that means itself is written twice",
        ) from None
