"""Commands about the store itself: init-store, doctor."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING

import click

from dagferry_schemas.commandline import emit, plain

from . import fitness, options
from .site import ignore_default_store, now

if TYPE_CHECKING:
    from dagferry_storage.probe import Check

    from .site import Site


@click.command("init-store")
@options.placed
@options.dry_run
def init_store(site: Site, output: str, dry_run: bool) -> None:
    """Probe the store and leave the verdict in its store.json."""
    if dry_run:
        emit({"store": site.store.url, "checks": []}, output, f"would probe {site.store.url}")
        return
    ignore_default_store(site)
    _tell(site, output, fitness.init_store(site.store, site.bundle_name, now(), secrets.token_hex(8), time.time))


@click.command()
@options.option("--read-only", is_flag=True, help="Look as an agent does, that may not write.")
@options.placed
def doctor(read_only: bool, site: Site, output: str) -> None:
    """Say what is wrong with the store, the credentials or the clock; nothing that is written stays."""
    if read_only:
        checks = fitness.diagnose_reading(site.store, site.bundle_name, time.time)
    else:
        checks = fitness.diagnose(site.store, site.bundle_name, secrets.token_hex(8), time.time)
    _tell(site, output, checks)


def _tell(site: Site, output: str, checks: tuple[Check, ...]) -> None:
    """Print what was found, also where it ends in an error."""
    result = {
        "store": site.store.url,
        "bundle": site.bundle_name,
        "ok": all(check.ok for check in checks),
        "checks": [check.to_dict() for check in checks],
    }
    text = "\n".join([site.store.url, *map(_line, checks)])
    if output == "text" and not result["ok"]:
        emit(result, output, text)
    fitness.require_fit(site.store, checks, result)
    emit(result, output, text)


def _line(check: Check) -> str:
    word = "ok" if check.ok else "NOT OK" if check.tried else "-"
    return plain(f"{word:6} {check.name}: {check.detail}")
