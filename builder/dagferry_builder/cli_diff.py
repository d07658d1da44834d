"""The command ``diff``: what leads from one version to another, in DAGs and in files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dagferry_schemas.commandline import emit, plain

from . import catalog, options

if TYPE_CHECKING:
    from .comparison import Comparison, Side
    from .site import Site

FORMATS = ("text", "markdown", "mermaid")


@click.command()
@click.argument("a")
@click.argument("b")
@options.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    default="text",
    show_default=True,
    help="For a terminal, a pull request's comment, or a picture of the graphs.",
)
@options.placed
def diff(a: str, b: str, form: str, site: Site, output: str) -> None:
    """What leads from A to B (versions, or channel:NAME): DAGs first, then files."""
    from .comparison import compare

    found = compare(_side(site, a), _side(site, b))
    emit(found.to_dict(), output, "" if output == "json" else _printed(found, form))


def _side(site: Site, text: str) -> Side:
    from .comparison import side

    name, verified = catalog.content_of(site.store, site.bundle_name, text, site.signing.policy)
    return side(name, verified.tree, catalog.report(site.store, site.bundle_name, name))


def _printed(found: Comparison, form: str) -> str:
    from . import diff_markdown, diff_mermaid, diff_text

    if form == "markdown":
        return diff_markdown.page(found)
    if form == "mermaid":
        return diff_mermaid.diagram(found)
    return "\n".join(map(plain, diff_text.lines(found)))
