"""Commands for those who want to know what happened: events (to a webhook), audit (to a file or a collector)."""

from __future__ import annotations

import json
import logging
import random
import time
from typing import TYPE_CHECKING, Any, Final

import click

from dagferry_schemas import events as happened
from dagferry_schemas.commandline import emit, plain
from dagferry_schemas.errors import DeliveryFailed, Usage
from dagferry_storage.cli_naming import Naming
from dagferry_storage.keyring_folder import KeyringFolder
from dagferry_storage.webhook import open_webhooks, pause_after

from . import audit as auditing
from . import catalog, options
from .following import Follower, StateFile
from .retelling import retell
from .site import now

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dagferry_schemas.trust import Policy

    from .following import News
    from .site import Site

ONCE_SECONDS: Final = 10.0
"""How long ``--once`` tries to tell one event."""
log = logging.getLogger(__name__)


def following(site: Site, channel: str) -> Follower:
    """The follower of a channel, whose keyring may change while it follows."""
    keyring = KeyringFolder(site.keyring)

    def policy() -> Policy:
        return keyring.policy(now())

    site.channel(channel)  # says what is wrong with its name, or the store
    return Follower(site.store, site.bundle_name, channel, policy)


def looking(follower: Follower, interval: float) -> Iterator[News]:
    """What is new on a channel, as it comes, until a signal. Whoever takes a record has told it when it asks again.

    A store that cannot be asked is asked again, later and later; that is said once.
    """
    failures = 0
    while True:
        try:
            news = follower.look()
        except DeliveryFailed as error:
            if not failures:
                log.warning("%s; trying again", plain(error.message))
            failures += 1
            time.sleep(max(interval, min(60.0, pause_after(failures))))
            continue
        if failures:
            log.warning("the store answers again")
            failures = 0
        for one in news:
            yield one
            follower.position = one.position
        time.sleep(interval * random.uniform(0.8, 1.2))


@click.command()
@options.channel
@options.webhooks
@options.option("--state", cls=Naming, type=options.PATH, required=True, metavar="FILE",
                help="Where it is remembered what was told.")  # fmt: skip
@options.option("--from-start", is_flag=True, help="Without a state yet: tell the whole log, and not only what comes.")
@options.option("--once", is_flag=True, help="Tell what is new, and end.")
@options.interval
@options.placed
def events(
    channel_name: str,
    webhook_urls: tuple[str, ...],
    webhook_secret_file: Path | None,
    webhook_ca_file: Path | None,
    state: Path,
    from_start: bool,
    once: bool,
    interval: float,
    site: Site,
    output: str,
) -> None:
    """Follow a channel, and tell a webhook what happens: every record, at least once, in order."""
    found = open_webhooks(webhook_urls, webhook_secret_file, webhook_ca_file)
    if len(found) != 1:
        raise Usage(
            f"{len(found)} webhooks are named, and it tells one",
            "give --webhook once; run one for each",
        )
    (webhook,) = found
    webhook.secrets()
    follower = following(site, channel_name)
    memory = StateFile(state, site.bundle_name, channel_name, happened.id_of(webhook.url))
    _begin(follower, memory, from_start=from_start)
    if once:
        told = [one for news in follower.look() for one in retell(webhook, news, memory, ONCE_SECONDS)]
        lines = [_line(one) for one in told]
        emit({"channel": channel_name, "events": told}, output, "\n".join(lines) or "nothing is new")
        return
    for news in looking(follower, interval):
        for one in retell(webhook, news, memory, None):
            emit(one, output, _line(one))


def _begin(follower: Follower, memory: StateFile, *, from_start: bool) -> None:
    """Go to what was told last, or for the first time to the newest record, and remember that before anything else."""
    if memory.exists():
        follower.position = memory.read()
        return
    if not from_start:
        follower.skip()
    memory.write(follower.position)


def _line(told: dict[str, Any]) -> str:
    return plain(f"{told['generation']:5} {told['time']} {told['type']} {told['version']}")


@click.command()
@options.option("--channel", "channel_name", cls=Naming, metavar="C", default=None, help="The channel. [default: all]")
@options.placed
def audit(channel_name: str | None, site: Site, output: str) -> None:
    """Every record, oldest first, as JSON lines: with its digest, and with the keys that have signed it."""
    names = catalog.channel_names(site.store, site.bundle_name) if channel_name is None else [channel_name]
    keyring = site.signing.policy.keyring
    rows = (
        auditing.entry(record, stored, keyring)
        for name in sorted(names)
        for record, stored in site.channel(name).kept()
    )
    if output == "json":
        emit({"records": list(rows)}, output, "")
        return
    for row in rows:
        emit(row, "text", json.dumps(row, ensure_ascii=False, allow_nan=False))
