"""Reading what is live from a store: the channel that a tree is compared with, and the other bundles beside it.

* Which DAGs a version has is in its report, if an Airflow imported them when it was published.
* Other bundles: one list of the folders at the store's top, then a head and a report for each. Only channels of the
  *same name* count: `prod` of one bundle and `prod` of another feed one Airflow, `staging` is usually another one.
* Most identities may see their own bundle only. What they may not see, or what is damaged there, is no failure of
  theirs: it is told by name. A store that cannot be reached is a failure like anywhere.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from dagferry_builder import catalog
from dagferry_builder.head import Heads
from dagferry_schemas.errors import BadData, Forbidden, Malformed
from dagferry_schemas.inventory import read_inventory
from dagferry_schemas.names import NAME
from dagferry_storage import published
from dagferry_storage.published import side_by_side
from dagferry_storage.store import Absent

from .live import Live, NothingLive, Others, Owned

if TYPE_CHECKING:
    from dagferry_schemas.inventory import DagFacts
    from dagferry_storage.store import Store

_CHANNEL = "channel:"


def read_live(store: Store, bundle: str, against: str) -> Live | NothingLive:
    """The DAGs of ``channel:NAME``, or of a version. Raises `BadData` (`Unknown` for a version), `DeliveryFailed`.

    A channel without a record, and a store that nobody has made yet, are what a first release finds.
    """
    channel = against.removeprefix(_CHANNEL) if against.startswith(_CHANNEL) else ""
    if channel:
        version = _live_version(store, bundle, channel)
        if version is None:
            return NothingLive(
                f"channel {channel!r} of bundle {bundle!r} has no record in {store.url}: a first release", first=True
            )
    else:
        version = published.resolve(store, bundle, against).version.version
    dags = _inventory(store, bundle, version)
    if isinstance(dags, str):
        where = f"live on channel {channel!r}, " if channel else ""
        return NothingLive(f"version {version}, {where}{dags}", first=False)
    return Live(channel, version, dags)


def read_others(store: Store, bundle: str, channel: str) -> Others:
    """What every other bundle in the store has live on its channel of the name ``channel``. Raises `DeliveryFailed`."""
    try:
        names = sorted(name for name in store.folders("") if name != bundle and NAME.fullmatch(name))
    except Absent:
        return Others()
    except Forbidden as error:
        return Others(unseen=(f"the bundles cannot be listed ({error.message})",))
    seen = side_by_side(partial(_look, store, channel), names)
    return Others(
        tuple(one for one in seen if isinstance(one, Owned)), tuple(one for one in seen if isinstance(one, str))
    )


def _look(store: Store, channel: str, bundle: str) -> Owned | str | None:
    """What is live there; None if nothing is; a text that says why it cannot be known."""
    try:
        version = _live_version(store, bundle, channel)
        if version is None:
            return None
        dags = _inventory(store, bundle, version)
    except (BadData, Forbidden) as error:
        return f"bundle {bundle!r} ({error.message})"
    if isinstance(dags, str):
        return f"bundle {bundle!r} ({version} {dags})"
    return Owned(bundle, channel, version, frozenset(dag.id for dag in dags))


def _live_version(store: Store, bundle: str, channel: str) -> str | None:
    try:
        head = Heads(store, bundle, channel).read()
    except Absent:
        return None
    return head.record.live.version if head else None


def _inventory(store: Store, bundle: str, version: str) -> tuple[DagFacts, ...] | str:
    """The version's DAGs, or why they are not known."""
    report = catalog.report(store, bundle, version)
    if report is None:
        return "has no report that can be read"
    try:
        dags = read_inventory(report)
    except Malformed as error:
        return f"has a report whose DAGs cannot be read ({error.message})"
    return "has no list of its DAGs: no Airflow imported them when it was published" if dags is None else dags
