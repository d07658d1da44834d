"""What to paste into an Airflow 3, so that its DAGs come by the agent's versioned bundle (``airflow_bundle``)."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any, Final

import click

from dagferry_schemas.commandline import emit
from dagferry_schemas.errors import Usage

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
    bundle, url = site.bundle_name, site.store.url
    name = name or bundle
    if "/" in name:
        raise Usage(f"a bundle of Airflow cannot be called {name!r}", "Airflow makes a file of that name: without '/'")
    if view_url is not None and not view_url.startswith(("https://", "http://")):
        raise Usage(f"{view_url!r} is no address that Airflow would show", "begin with https://")
    kwargs: dict[str, Any] = {"store": url, "channel": channel_name, "refresh_interval": refresh_seconds}
    more = {
        "bundle": bundle if bundle != name else None,
        "keyring": str(site.keyring) if site.keyring is not None else None,
        "agent_root": agent_root,
        "view_url_template": view_url,
    }
    kwargs |= {key: value for key, value in more.items() if value is not None}
    bundles = [{"name": name, "classpath": CLASSPATH, "kwargs": kwargs}]
    value = json.dumps(bundles)
    extras = ["airflow", *_EXTRAS.get(url[:3], ("airflow",))[1:]]
    lines = [
        f"# for every component of Airflow 3, each with: pip install 'dagferry[{','.join(extras)}]'",
        f"{VARIABLE}={shlex.quote(value)}",
    ]
    emit({"variable": VARIABLE, "value": value, "bundles": bundles, "extras": extras}, output, "\n".join(lines))
