"""Commands that move a channel, or tell its story: promote, rollback, hold, resume, refresh, recover, log, channels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from dagferry_schemas import trust
from dagferry_schemas.commandline import emit, plain
from dagferry_storage import fetch, published

from . import catalog, options
from .channel import candidate_facts
from .cli_telling import report
from .following import position_of

if TYPE_CHECKING:
    from dagferry_schemas.record import Record

    from .channel import Change, Channel
    from .site import Site

FOLLOWED: Final = 10
"""Records that ``log --follow`` begins with."""


@click.command()
@click.argument("version")
@options.option("--allow-older", is_flag=True, help="Promote even an older or diverged commit.")
@options.allow_bad
@options.moving
def promote(
    version: str,
    allow_older: bool,
    allow_bad: bool,
    site: Site,
    channel: Channel,
    reason: str,
    dry_run: bool,
    output: str,
) -> None:
    """Point a channel at a published VERSION."""
    chosen = published.resolve(site.store, site.bundle_name, version)
    change = channel.promote(chosen, reason=reason, allow_older=allow_older, allow_bad=allow_bad, repository=site.clone)
    _tell(change, output, dry_run)


@click.command()
@options.option("--to", "to_version", metavar="VERSION", help="Pop down to this version instead of the one before.")
@options.option("--from", "from_version", metavar="VERSION", help="Refuse if another version is live.")
@options.option("--no-hold", is_flag=True, help="Let the next promotion through.")
@options.moving
def rollback(
    to_version: str | None,
    from_version: str | None,
    no_hold: bool,
    site: Site,
    channel: Channel,
    reason: str,
    dry_run: bool,
    output: str,
) -> None:
    """Go back to the version before, and hold the channel there."""
    change = channel.rollback(
        to=_name(site, to_version), from_version=_name(site, from_version), reason=reason, hold=not no_hold
    )
    _tell(change, output, dry_run)


def _name(site: Site, text: str | None) -> str | None:
    return None if text is None else published.resolve(site.store, site.bundle_name, text).version.version


@click.command()
@options.moving
def hold(
    site: Site,
    channel: Channel,
    reason: str,
    dry_run: bool,
    output: str,
) -> None:
    """Refuse promotions on a channel until it is resumed."""
    _tell(channel.hold(reason), output, dry_run)


@click.command()
@options.moving
def resume(
    site: Site,
    channel: Channel,
    reason: str,
    dry_run: bool,
    output: str,
) -> None:
    """Lift the hold of a channel."""
    _tell(channel.resume(reason), output, dry_run)


@click.command()
@options.option(
    "--adopt-unsigned", is_flag=True, help="Sign what is live although nobody has signed it; look at it first."
)
@options.moving
def refresh(
    site: Site,
    channel: Channel,
    reason: str,
    dry_run: bool,
    output: str,
) -> None:
    """Sign anew what is live, so that it does not expire, or with a new key."""
    _tell(channel.refresh(reason), output, dry_run)


@click.command()
@options.option("--epoch", type=click.IntRange(min=2), default=None, help="The new epoch. [default: one more]")
@options.moving
def recover(
    epoch: int | None,
    site: Site,
    channel: Channel,
    reason: str,
    dry_run: bool,
    output: str,
) -> None:
    """Begin a new epoch: agents follow a channel again that came back from a backup."""
    _tell(channel.recover(reason, epoch=epoch), output, dry_run)


def _tell(change: Change, output: str, dry_run: bool) -> None:
    record = change.record
    moved = (
        f"{change.previous or 'nothing'} -> {record.live.version}"
        if change.changed
        else f"{record.live.version} is live"
    )
    lifted = ", the hold is lifted" if record.action == "resume" else ""
    if record.action == "withdraw":
        lifted = f", {record.bad[-1]} was withdrawn" if record.bad else ", the candidate was withdrawn"
    if record.candidate is not None:
        lifted += f", {record.candidate.live.version} is going live in steps"
    if not change.written:
        moved, lifted = f"nothing to do, {record.live.version} is live", ""
    held = f", held by {record.hold.by}: {record.hold.reason or 'no reason given'}" if record.hold else ""
    would = "would be: " if dry_run else ""
    report(
        {**change.to_dict(), "dry_run": dry_run},
        output,
        plain(f"{would}{record.channel}: generation {record.generation}: {moved}{lifted}{held}"),
    )


@click.command()
@options.channel
@options.option("--limit", type=click.IntRange(min=1), default=None, help="Show only so many of the newest records.")
@options.option("--follow", "-f", is_flag=True, help="Show the newest (10), oldest first, then each that comes.")
@options.interval
@options.placed
def log(channel_name: str, limit: int | None, follow: bool, interval: float, site: Site, output: str) -> None:
    """The records of a channel, newest first."""
    if follow:
        _follow(site, channel_name, limit or FOLLOWED, interval, output)
        return
    records = site.channel(channel_name).records(most=limit)[::-1]
    result = {"channel": channel_name, "records": [_record_facts(record) for record in records]}
    emit(result, output, "\n".join(map(_record_line, records)))


def _follow(site: Site, channel: str, limit: int, interval: float, output: str) -> None:
    """Print the newest records, and then each that comes, until a signal; as JSON one object a line."""
    from .cli_events import following, looking

    follower = following(site, channel)
    kept = site.channel(channel).kept(most=limit)
    for record, stored in kept:
        emit(_record_facts(record), output, _record_line(record))
        follower.position = position_of(record, stored)
    for news in looking(follower, interval):
        emit(_record_facts(news.record), output, _record_line(news.record))


def _record_facts(record: Record) -> dict[str, Any]:
    return {
        "generation": record.generation,
        "version": record.live.version,
        "tree": record.live.content.tree,
        "action": record.action,
        "actor": record.actor,
        "issued": record.issued,
        "reason": record.reason,
        "hold": vars(record.hold) if record.hold else None,
        "candidate": candidate_facts(record),
        "bad": list(record.bad),
    }


def _record_line(record: Record) -> str:
    held = " [held]" if record.hold else ""
    if record.candidate is not None:
        held += f" [{record.candidate.live.version} for {', '.join(record.candidate.targets)}]"
    why = f": {record.reason}" if record.reason else ""
    return plain(
        f"{record.generation:5} {record.issued} {record.action:8} {record.live.version}{held} by {record.actor}{why}"
    )


@click.command()
@options.placed
def channels(site: Site, output: str) -> None:
    """The channels of the bundle, and what is live on each."""
    names = catalog.channel_names(site.store, site.bundle_name)
    heads = published.side_by_side(lambda name: _head_record(site, name), names)
    facts = [{"channel": record.channel, **_record_facts(record)} for record in heads]
    lines = [f"{record.channel}: {_record_line(record).strip()}" for record in heads]
    emit({"channels": facts}, output, "\n".join(lines) or "no channel yet: `dagferry promote` makes the first")


def _head_record(site: Site, name: str) -> Record:
    stored = fetch.head(site.store, site.bundle_name, name)
    return trust.read_record(stored.body, bundle=site.bundle_name, channel=name, policy=site.signing.policy)
