"""Commands that make versions: init, version, build."""

from __future__ import annotations

import re
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from dagferry_schemas.commandline import emit, plain
from dagferry_schemas.errors import Conflict, Usage
from dagferry_schemas.names import NAME, check_name
from dagferry_storage import disk

from . import options
from .site import Site

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .build import Artifact

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
        artifact = build_rev(site, rev, spool, cache)
    named = artifact.named
    result = {
        "version": named.version,
        "commit": named.commit.id,
        "tag": named.tag,
        "distance": named.distance,
        "tree": artifact.version.content.tree,
    }
    emit(result, output, named.version)


def build_rev(site: Site, rev: str, spool: BinaryIO, cache: Path | None) -> Artifact:
    """Build ``rev``; the tarball goes to ``spool``. Says so if the working tree has more than the commit."""
    from .build import build as build_artifact
    from .frame_cache import FrameCache

    bundle = site.bundle(rev)
    frames = FrameCache(cache / "frames" if cache else None)
    noting = options.noting_uncommitted(site, rev, "built")
    with disk.doing("building"):
        artifact = build_artifact(site.repository, bundle, rev, spool, frames, noting)
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
    from .build import place

    with disk.doing(f"writing to {out}"), _made(out), disk.new_file(out, "tarball") as new:
        artifact = build_rev(replace(site, root_option=root), rev, new.file, cache)
        tarball = place(artifact, new)
    result = artifact.facts()
    result["tarball"] = {"path": str(tarball), **result["tarball"]}
    emit(result, output, f"{tarball}\n{summary(artifact)}")


@contextmanager
def _made(folder: Path) -> Iterator[None]:
    """``folder`` is made if it is not there, and goes again after an exception."""
    before = folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        if not before:
            with suppress(OSError):  # somebody else uses it by now
                folder.rmdir()
        raise


def summary(artifact: Artifact) -> str:
    """What was built, for people."""
    content = artifact.version.content
    left_out = "".join(f"\n  left out: {one}" for one in artifact.left_out[:SHOWN_WARNINGS])
    if len(artifact.left_out) > SHOWN_WARNINGS:
        left_out += f"\n  left out: and {len(artifact.left_out) - SHOWN_WARNINGS} more; `-o json` has them all"
    return (
        f"{artifact.version.version}: {content.files.count} files, {content.tarball.size} bytes, "
        f"tree {content.tree}, {artifact.seconds:.2f} s{left_out}"
    )
