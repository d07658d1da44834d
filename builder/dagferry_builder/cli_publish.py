"""Commands that put versions into a store: publish, ship."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from dagferry_schemas.commandline import emit
from dagferry_schemas.errors import DagferryError, Held
from dagferry_storage.cli_progress import shown

from . import options
from .access import parse_urls
from .cli_build import build_rev, summary
from .cli_lint import gated
from .cli_rollout import reached, stepping, told
from .cli_telling import agents_answered, report
from .deltas import Built
from .publish import publish as publish_artifact
from .rollout import Rollout
from .site import now

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from dagferry_storage.published import Published

    from .access import Access
    from .build import Artifact
    from .channel import Change
    from .cli_rollout import Reached
    from .gate import Gate
    from .lint.result import Result
    from .publish import Publication
    from .rollout import Steps
    from .site import Site
    from .staged import StagedChannel


@click.command()
@options.rev
@options.root
@options.no_lint
@options.linting
@options.dry_run
@options.signing
def publish(
    rev: str,
    root: str | None,
    no_lint: bool,
    gate: Gate,
    dry_run: bool,
    site: Site,
    output: str,
) -> None:
    """Lint and build a commit, and put it into the store once; the same again is a no-op."""
    site = replace(site, root_option=root)
    checked = None if no_lint else gated(gate, site, rev)
    artifact, publication, _ = _publish(site, rev, checked, gate.cache, dry_run=dry_run)
    done = ("would be " if dry_run else "") + "published" if publication.created else "is in the store already"
    if publication.vouched and not publication.created:
        done += "; its statement " + ("would be added" if dry_run else "was added")
    result = {**_published_facts(artifact, publication), "dry_run": dry_run}
    emit(result, output, f"{summary(artifact)}\n{done}")


def _publish(
    site: Site, rev: str, checked: Result | None, cache: Path | None, *, dry_run: bool
) -> tuple[Artifact, Publication, Built]:
    """Build and publish; the file of what was built is there until the command ends."""
    started = now()
    spool = click.get_current_context().with_resource(tempfile.TemporaryFile())  # noqa: SIM115 (the context closes it)
    artifact = build_rev(site, rev, spool, cache)
    store = site.store if dry_run else site.writable_store(artifact.version.bundle)
    store = shown(store, f"{artifact.version.bundle} {artifact.version.version}")
    offer = artifact.offer(now(), checked)
    publication = publish_artifact(store, offer, spool, voucher=site.voucher(started), dry_run=dry_run)
    if publication.also:
        click.echo(f"note: this commit is in the store as {' and '.join(publication.also)} too", err=True)
    return artifact, publication, Built(offer.version.content, offer.files, spool)


def _published_facts(artifact: Artifact, publication: Publication) -> dict[str, Any]:
    """What was published: the digests are those of the stored bytes."""
    content = publication.published.version.content
    return {
        **artifact.facts(),
        "tarball": {"path": None, "sha256": content.tarball.sha256, "size": content.tarball.size},
        "created": publication.created,
        "vouched": publication.vouched,
        "also": list(publication.also),
    }


@click.command()
@options.rev
@options.agents(required=False)
@options.reaching
@options.wait
@options.no_lint
@options.linting
@options.allow_removal
@options.option("--on-hold", type=click.Choice(["fail", "skip"]), default="fail", show_default=True,
                help="On a held channel: fail, or publish only and succeed.")  # fmt: skip
@options.option("--allow-older", is_flag=True, help="Promote even an older or diverged commit.")
@options.allow_bad
@stepping(needed=False)
@options.moving
def ship(
    rev: str,
    channel: StagedChannel,
    agents_text: tuple[str, ...],
    access: Access,
    timeout: float,
    wait: bool,
    no_lint: bool,
    gate: Gate,
    allow_removal: bool,
    on_hold: str,
    allow_older: bool,
    allow_bad: bool,
    steps: Steps | None,
    reason: str,
    dry_run: bool,
    site: Site,
    output: str,
) -> None:
    """The post-merge job: lint, publish, promote, notify, and wait until every agent serves it."""
    urls = parse_urls(",".join(agents_text)) if agents_text else ()
    if steps is not None:
        reached(agents_text, access, site, channel)
    against = f"channel:{channel.name}"
    checked = None if no_lint else gated(gate, site, rev, against=against, allow_removal=allow_removal)
    artifact, publication, built = _publish(site, rev, checked, gate.cache, dry_run=dry_run)
    done = "published" if publication.created else "in the store already:"
    click.echo(("would be " if dry_run else "") + f"{done} {summary(artifact)}", err=True)
    common: dict[str, Any] = {"created": publication.created, "agents": [], "dry_run": dry_run}
    allowed: dict[str, Any] = {
        "allow_older": allow_older,
        "allow_bad": allow_bad,
        "repository": site.clone,
        "built": built,
    }
    try:
        if steps is not None and not dry_run and channel.head() is not None:
            fleet = reached(agents_text, access, site, channel)
            change, story = _in_steps(channel, fleet, steps, publication.published, reason, allowed)
            common["rollout"] = story
        else:
            change = channel.promote(publication.published, reason=reason, stored=not dry_run, **allowed)
    except DagferryError as refused:
        if not isinstance(refused, Held) or on_hold == "fail" or channel.existing_head().record.candidate is not None:
            refused.result = {**_in_the_store(artifact, publication, dry_run=dry_run), **refused.result}
            raise
        left = {**channel.unchanged().to_dict(), **common, "skipped": refused.message}
        report(left, output, f"not promoted: {refused.message}")
        return
    result = {**change.to_dict(), **common}
    would = "would be" if dry_run else "is"
    click.echo(
        f"channel {change.record.channel}: generation {change.record.generation} {would} {result['version']}", err=True
    )
    if (urls or wait) and not dry_run:
        from . import acknowledged, agents

        heard = acknowledged.Acknowledgements(site.store, change.record.bundle, channel.name) if wait else None
        followed = (change.record.bundle, channel.name)
        answers = acknowledged.reach(result, urls, access, heard, followed, timeout, options.note)
        agents_answered(change.record, answers)
        agents.require(answers, result)
    report(result, output, _shipped(result))


def _in_steps(
    channel: StagedChannel, fleet: Reached, steps: Steps, chosen: Published, reason: str, allowed: Mapping[str, Any]
) -> tuple[Change, dict[str, Any]]:
    """Make ``chosen`` live in steps; what was done."""
    version = chosen.version

    def stage(targets: Sequence[str], until: str) -> Change:
        return channel.stage(chosen, targets, until=until, reason=reason, **allowed)

    change, story = Rollout(channel, fleet, steps, told).begin(version.version, version.bundle, stage, reason=reason)
    return change, story.to_dict()


def _in_the_store(artifact: Artifact, publication: Publication, *, dry_run: bool) -> dict[str, Any]:
    """What stays done although the promotion was refused."""
    return {"published": artifact.version.version, "created": publication.created, "dry_run": dry_run}


def _shipped(result: dict[str, Any]) -> str:
    verb = "would be" if result["dry_run"] else "is"
    lines = [f"{result['version']} {verb} live on {result['channel']} (generation {result['generation']})"]
    lines += [
        f"  {one['url']} serves generation {one['generation']} after {one['seconds']} s" for one in result["agents"]
    ]
    return "\n".join(lines)
