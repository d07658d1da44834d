"""Bundles with a live version and a report, in a real store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dagferry_builder.channel import Channel
from dagferry_schemas import fields, layout
from dagferry_schemas.inventory import DagFacts
from dagferry_schemas.names import digest_of
from dagferry_schemas.pins import Content, FilesPin, TarballPin
from dagferry_schemas.version import Version
from dagferry_storage import published

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dagferry_storage.store import Store

NOW = "2026-11-01T00:00:00Z"


def publish(store: Store, bundle: str, name: str, dags: Sequence[DagFacts] | None) -> published.Published:
    """A version with a report of ``dags``, as the writer of a real one leaves it; its content is in no store."""
    report = {"format": 1, "bundle": bundle, "version": name, "dags": None if dags is None else [*map(vars_of, dags)]}
    return publish_report(store, bundle, name, fields.dump(report))


def publish_report(store: Store, bundle: str, name: str, report: bytes | None) -> published.Published:
    """A version with the bytes ``report`` as its report."""
    digest = digest_of(name.encode())
    version = Version(
        bundle=bundle,
        version=name,
        commit=digest_of(name.encode())[-40:],
        first_parents=1,
        commit_time="2026-01-01T00:00:00Z",
        tag=None,
        selection={"root": ""},
        content=Content(digest, TarballPin(digest, 1, 2048), FilesPin(digest, 1, 1)),
    )
    store.create(layout.version(bundle, name), version.to_bytes())
    if report is not None:
        store.create(layout.report(bundle, name), report)
    return published.read(store, bundle, name)


def promote(store: Store, chosen: published.Published, channel: str) -> None:
    """Make the version live."""
    moved = Channel(store, chosen.version.bundle, channel, actor="ada", clock=lambda: NOW)
    moved.promote(chosen, allow_older=True)


def release(store: Store, bundle: str, channel: str, ids: Sequence[str], name: str = "v1") -> None:
    """A live version whose DAGs have the given ids, each in the file of its name."""
    promote(store, publish(store, bundle, name, [DagFacts(one, f"{one}.py") for one in ids]), channel)


def vars_of(dag: DagFacts) -> dict[str, Any]:
    """A DAG as it stands in a report."""
    return dag.to_dict()
