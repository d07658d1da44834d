"""Commands that make versions: init, version, build, publish, ship."""

from __future__ import annotations

import re
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from dagferry_schemas.commandline import emit, plain
from dagferry_schemas.errors import Conflict, DagferryError, Held, Usage
from dagferry_schemas.names import NAME, check_name
from dagferry_storage import disk
from dagferry_storage.cli_progress import shown

from . import options
from .access import parse_urls
from .cli_lint import gated
from .site import Site, now

if TYPE_CHECKING:
    from .access import Access
    from .build import Artifact
    from .channel import Channel
    from .gate import Gate
    from .lint.result import Result
    from .publish import Publication

SHOWN_WARNINGS = 20
TEMPLATE = """\
# dagferry: brings the DAGs of this repository to every Airflow pod. See docs/configuration.md.

# Where and how. These read the working tree; flags and DAGFERRY_* variables override them.
# store = "s3://my-bucket/dagferry"      # default: the folder .dagferry/store beside this file
# channel = "prod"
# agents = ["http://airflow-scheduler:8470", "http://airflow-dag-processor:8470"]
# token_file = "/run/secrets/dagferry/token"

# What is delivered. This is read from the commit that is built: commit this file.
[bundles.{name}]
root = "{root}"                           # the folder that Airflow will see as its DAG folder
# roots = ["dags", "plugins"]             # or several folders, in place of root
# exclude = ["tests/"]                    # patterns as in .gitignore; see docs/git.md
# version_pattern = "v[0-9]*"             # which tags name versions, as in `git describe --match`

# What is checked before. This is read from the commit as well. See docs/lint.md.
# [lint]
# python = "/opt/airflow/bin/python"     # production's Airflow; or: docker run --rm -i IMAGE python
# require_airflow = true                 # without one, refuse
# baseline = "lint-baseline.json"        # what is known: `dagferry lint --write-baseline lint-baseline.json`
"""


@click.command()
@options.bundle
@options.option("--root", metavar="FOLDER", default=None, help="The folder that holds the DAGs. [default: dags, or .]")
@options.output
def init(bundle_name: str | None, root: str | None, output: str) -> None:
    """Write a commented dagferry.toml."""
    site = Site(Path.cwd())
    path = Path.cwd() / "dagferry.toml"
    if site.found.folder == Path.cwd():
        raise Conflict(f"{site.found.path} exists already", "edit it, or remove it first", code="exists")
    name = check_name("bundle", bundle_name or _bundle_name(site.repository.top.name))
    root = root or ("dags" if (Path.cwd() / "dags").is_dir() else ".")
    if not (Path.cwd() / root).is_dir():
        raise Usage(
            f"there is no folder {root!r} here", "--root names the folder that holds the DAGs", code="empty_tree"
        )
    with disk.doing(f"writing {path}"):
        disk.write_whole(path, TEMPLATE.format(name=name, root=root).encode())
    result = {"path": str(path), "bundle": name, "root": root}
    emit(result, output, f"{path}: bundle {name!r}, root {root!r}\nnext: git add dagferry.toml && git commit")


def _bundle_name(text: str) -> str:
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._")[:63]
    return name if NAME.fullmatch(name) else "dags"


@click.command()
@options.rev
@options.root
@options.caching
@options.placed
def version(rev: str, root: str | None, cache: Path | None, site: Site, output: str) -> None:
    """Say the version of a commit, and the digest of its tree."""
    site = replace(site, root_option=root)
    with tempfile.TemporaryFile() as spool:
        artifact = _build(site, rev, spool, cache)
    named = artifact.named
    result = {
        "version": named.version,
        "commit": named.commit.id,
        "tag": named.tag,
        "distance": named.distance,
        "tree": artifact.version.content.tree,
    }
    emit(result, output, named.version)


def _build(site: Site, rev: str, spool: BinaryIO, cache: Path | None) -> Artifact:
    """Build ``rev``; the tarball goes to ``spool``. Says so if the working tree has more than the commit."""
    from .build import build as build_artifact
    from .frame_cache import FrameCache

    bundle = site.bundle(rev)
    frames = FrameCache(cache / "frames" if cache else None)
    with options.noting_uncommitted(site, rev, "built"), disk.doing("building"):
        artifact = build_artifact(site.repository, bundle, rev, spool, frames)
    _warn_of_conversions(artifact)
    return artifact


def _warn_of_conversions(artifact: Artifact) -> None:
    for one in artifact.unconverted[:SHOWN_WARNINGS]:
        asked = ", ".join(one.attributes)
        click.echo(
            plain(f"warning: {one.path}: packed as it is in git, without what .gitattributes asks: {asked}"), err=True
        )
    if len(artifact.unconverted) > SHOWN_WARNINGS:
        more = len(artifact.unconverted) - SHOWN_WARNINGS
        click.echo(f"warning: and {more} more paths; `dagferry show` has them all in the report", err=True)


@click.command()
@options.rev
@options.root
@options.option("--out", type=click.Path(path_type=Path, file_okay=False), default=Path("dist"), show_default=True,
                help="The folder for the artifact.")  # fmt: skip
@options.caching
@options.placed
def build(rev: str, root: str | None, out: Path, cache: Path | None, site: Site, output: str) -> None:
    """Write a commit's artifact to a folder."""
    from .build import write

    with tempfile.TemporaryFile() as spool:
        artifact = _build(replace(site, root_option=root), rev, spool, cache)
        tarball = write(artifact, spool, out)
    result = artifact.facts()
    result["tarball"] = {"path": str(tarball), **result["tarball"]}
    emit(result, output, f"{tarball}\n{_summary(artifact)}")


def _summary(artifact: Artifact) -> str:
    content = artifact.version.content
    left_out = "".join(f"\n  left out: {one}" for one in artifact.left_out[:SHOWN_WARNINGS])
    if len(artifact.left_out) > SHOWN_WARNINGS:
        left_out += f"\n  left out: and {len(artifact.left_out) - SHOWN_WARNINGS} more; `-o json` has them all"
    return (
        f"{artifact.version.version}: {content.files.count} files, {content.tarball.size} bytes, "
        f"tree {content.tree}, {artifact.seconds:.2f} s{left_out}"
    )


@click.command()
@options.rev
@options.root
@options.no_lint
@options.linting
@options.dry_run
@options.placed
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
    artifact, publication = _publish(site, rev, checked, gate.cache, dry_run=dry_run)
    done = ("would be " if dry_run else "") + "published" if publication.created else "is in the store already"
    result = {**_published_facts(artifact, publication), "dry_run": dry_run}
    emit(result, output, f"{_summary(artifact)}\n{done}")


def _publish(
    site: Site, rev: str, checked: Result | None, cache: Path | None, *, dry_run: bool
) -> tuple[Artifact, Publication]:
    from .publish import publish as publish_artifact

    with tempfile.TemporaryFile() as spool:
        artifact = _build(site, rev, spool, cache)
        store = site.store if dry_run else site.writable_store(artifact.version.bundle)
        store = shown(store, f"{artifact.version.bundle} {artifact.version.version}")
        publication = publish_artifact(store, artifact.offer(now(), checked), spool, dry_run=dry_run)
    if publication.also:
        click.echo(f"note: this commit is in the store as {' and '.join(publication.also)} too", err=True)
    return artifact, publication


def _published_facts(artifact: Artifact, publication: Publication) -> dict[str, Any]:
    """What was published: the digests are those of the stored bytes."""
    content = publication.published.version.content
    return {
        **artifact.facts(),
        "tarball": {"path": None, "sha256": content.tarball.sha256, "size": content.tarball.size},
        "created": publication.created,
        "also": list(publication.also),
    }


@click.command()
@options.rev
@options.agents(required=False)
@options.reaching
@options.no_lint
@options.linting
@options.allow_removal
@options.option("--on-hold", type=click.Choice(["fail", "skip"]), default="fail", show_default=True,
                help="On a held channel: fail, or publish only and succeed.")  # fmt: skip
@options.option("--allow-older", is_flag=True, help="Promote even an older or diverged commit.")
@options.moving
def ship(
    rev: str,
    channel: Channel,
    agents_text: tuple[str, ...],
    access: Access,
    timeout: float,
    no_lint: bool,
    gate: Gate,
    allow_removal: bool,
    on_hold: str,
    allow_older: bool,
    reason: str,
    dry_run: bool,
    site: Site,
    output: str,
) -> None:
    """The post-merge job: lint, publish, promote, notify, and wait until every agent serves it."""
    urls = parse_urls(",".join(agents_text)) if agents_text else ()
    against = f"channel:{channel.name}"
    checked = None if no_lint else gated(gate, site, rev, against=against, allow_removal=allow_removal)
    artifact, publication = _publish(site, rev, checked, gate.cache, dry_run=dry_run)
    done = "published" if publication.created else "in the store already:"
    click.echo(("would be " if dry_run else "") + f"{done} {_summary(artifact)}", err=True)
    common: dict[str, Any] = {"created": publication.created, "agents": [], "dry_run": dry_run}
    try:
        change = channel.promote(publication.published, reason=reason, allow_older=allow_older, repository=site.clone)
    except DagferryError as refused:
        if not isinstance(refused, Held) or on_hold == "fail":
            refused.result = {**_in_the_store(artifact, publication, dry_run=dry_run), **refused.result}
            raise
        left = {**channel.unchanged().to_dict(), **common, "skipped": refused.message}
        emit(left, output, f"not promoted: {refused.message}")
        return
    result = {**change.to_dict(), **common}
    would = "would be" if dry_run else "is"
    click.echo(
        f"channel {change.record.channel}: generation {change.record.generation} {would} {result['version']}", err=True
    )
    if urls and not dry_run:
        from . import agents

        answers = agents.pull(
            urls, access, (change.record.bundle, change.record.channel), change.record.generation, timeout
        )
        result["agents"] = [answer.to_dict() for answer in answers]
        agents.require(answers, result)
    emit(result, output, _shipped(result))


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


COMMANDS = (init, version, build, publish, ship)
