"""What a bundle's store holds: its versions, its channels, and the store's own document."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dagferry_schemas import fields, layout, trust
from dagferry_schemas.errors import BadData, Malformed
from dagferry_schemas.version import FORMAT, check_format
from dagferry_storage import fetch, published
from dagferry_storage.published import Published, side_by_side
from dagferry_storage.store import Missing

if TYPE_CHECKING:
    from dagferry_storage.store import Store


@dataclass(frozen=True)
class Listed:
    """All versions of a bundle, newest commit first, and what is wrong with those that cannot be read."""

    versions: tuple[Published, ...]
    damaged: dict[str, str]


def versions(store: Store, bundle: str) -> Listed:
    """All published versions. One damaged document does not hide the others. Raises `DeliveryFailed`."""
    names = published.names(store, bundle)
    found = dict(zip(names, side_by_side(lambda name: _read_or_say(store, bundle, name), names), strict=True))
    good = [one for one in found.values() if isinstance(one, Published)]
    good.sort(key=lambda one: (one.version.commit_time, one.version.first_parents or 0), reverse=True)
    return Listed(tuple(good), {name: one for name, one in found.items() if isinstance(one, str)})


def _read_or_say(store: Store, bundle: str, name: str) -> Published | str:
    try:
        return published.read(store, bundle, name)
    except BadData as error:
        return error.message


def channel_names(store: Store, bundle: str) -> list[str]:
    """The names of all channels that have a record, sorted."""
    return sorted(name for key in store.names(layout.channels(bundle)) if (name := layout.channel_of(key)))


def report(store: Store, bundle: str, name: str) -> dict[str, Any] | None:
    """The version's report, or None if there is none that can be read."""
    try:
        stored = store.read(layout.report(bundle, name), limit=layout.MAX_REPORT)
        return fields.load(stored.body, f"report of version {name!r}", limit=layout.MAX_REPORT).rest()
    except (Missing, Malformed):
        return None


def content_of(store: Store, bundle: str, text: str, policy: trust.Policy) -> tuple[str, trust.VerifiedTree]:
    """The version name and the verified file list of a version, or of ``channel:NAME``. Raises `BadData`."""
    if text.startswith("channel:"):
        name = text.removeprefix("channel:")
        stored = fetch.head(store, bundle, name)
        record = trust.read_record(stored.body, bundle=bundle, channel=name, policy=policy)
        return record.live.version, fetch.files(store, bundle, record.live.content)
    found = published.resolve(store, bundle, text)
    fetch.statement(store, found, policy)
    one = found.version
    return one.version, fetch.files(store, bundle, one.content)


@dataclass(frozen=True)
class Verdict:
    """What ``store.json`` says of a store: when it was probed, and which of its promises it broke."""

    checked: str
    ok: bool
    broken: tuple[str, ...]


def verdict(store: Store, bundle: str) -> Verdict | None:
    """The stored verdict; None if the store never was probed. Raises `Malformed` (also of a newer format)."""
    try:
        stored = store.read(layout.store_json(bundle), limit=layout.MAX_DOCUMENT)
    except Missing:
        return None
    document = fields.load(stored.body, f"{layout.store_json(bundle)} in {store.url}", limit=layout.MAX_DOCUMENT)
    check_format(document, FORMAT)
    broken = tuple(check.text("name") for check in document.children("checks") if not check.flag("ok"))
    return Verdict(document.text("checked"), document.flag("ok"), broken)


def check_store(store: Store, bundle: str) -> bool:
    """Whether the store was probed and passed; False if it never was. Raises `BadData` if it failed or is newer."""
    found = verdict(store, bundle)
    if found is not None and not found.ok:
        raise BadData(
            f"{store.url} does not keep its promises: {', '.join(found.broken)}",
            "use another store; `dagferry init-store` probes it again",
            code="unfit_store",
        )
    return found is not None
