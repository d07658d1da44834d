"""What a bundle's store holds: versions by name or commit, channels, and the store's own document."""

from __future__ import annotations

import difflib
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dagferry_schemas import fields, layout, trust
from dagferry_schemas.errors import BadData, Conflict, Malformed, Unknown
from dagferry_schemas.names import check_version, digest_of
from dagferry_schemas.pins import Pin
from dagferry_schemas.record import Live
from dagferry_schemas.version import FORMAT, Version, check_format
from dagferry_storage import fetch
from dagferry_storage.store import Missing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import TypeVar

    from dagferry_storage.store import Store

    One = TypeVar("One")
    Other = TypeVar("Other")

READERS = 16
"""Objects that are read from a store side by side."""
_COMMIT = re.compile(r"[0-9a-f]{7,64}")
_SHA_IN_VERSION = re.compile(r"-g([0-9a-f]{7,64})(?:\+local)?$")


@dataclass(frozen=True)
class Published:
    """A version together with the pin of its stored document."""

    version: Version
    pin: Pin

    @property
    def live(self) -> Live:
        """What a record says when this version is live."""
        return Live(self.version.version, self.pin, self.version.content)


def side_by_side(work: Callable[[One], Other], items: Iterable[One]) -> list[Other]:
    """``work`` done for each item, many at a time, in the order of the items. The first error is raised."""
    with ThreadPoolExecutor(READERS) as pool:
        return list(pool.map(work, items))


def published(store: Store, bundle: str, name: str) -> Published:
    """The version of exactly that name. Raises `Missing` and what `trust.accept_version` raises."""
    stored = store.read(layout.version(bundle, name), limit=layout.MAX_DOCUMENT)
    version = trust.accept_version(stored.body, bundle=bundle, version=name)
    return Published(version, Pin(digest_of(stored.body), len(stored.body)))


def resolve(store: Store, bundle: str, text: str) -> Published:
    """The version that ``text`` names: a version, or a full or abbreviated commit id. Raises `Unknown`, `Conflict`."""
    check_version(text)
    try:
        return published(store, bundle, text)
    except Missing:
        names = version_names(store, bundle)
    if _COMMIT.fullmatch(text):
        matches = [one for one in map_published(store, bundle, _with_commit(names, text)) if _is_commit(one, text)]
        if len(matches) > 1:
            found = ", ".join(one.version.version for one in matches)
            raise Conflict(f"{text!r} names several versions: {found}", "give the whole version", code="ambiguous")
        if matches:
            return matches[0]
    near = difflib.get_close_matches(text, names, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(near)}?" if near else "publish it first; `dagferry versions` lists what there is"
    raise Unknown(f"bundle {bundle!r} has no version {text!r} in {store.url}", hint, code="unknown_version")


def _with_commit(names: list[str], text: str) -> list[str]:
    shas = {name: match.group(1) for name in names if (match := _SHA_IN_VERSION.search(name))}
    return [name for name, sha in shas.items() if sha.startswith(text) or text.startswith(sha)]


def _is_commit(one: Published, text: str) -> bool:
    return one.version.commit.startswith(text)


def version_names(store: Store, bundle: str) -> list[str]:
    """The names of all published versions, sorted."""
    return sorted(name for key in store.names(layout.versions(bundle)) if (name := layout.version_of(key)))


def map_published(store: Store, bundle: str, names: Iterable[str]) -> list[Published]:
    """The versions of ``names``, read side by side. Raises as `published`."""
    return side_by_side(lambda name: published(store, bundle, name), names)


def versions(store: Store, bundle: str) -> list[Published]:
    """All published versions, newest commit first."""
    found = map_published(store, bundle, version_names(store, bundle))
    return sorted(found, key=lambda one: (one.version.commit_time, one.version.first_parents), reverse=True)


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


def content_of(store: Store, bundle: str, text: str) -> tuple[str, trust.VerifiedTree]:
    """The version name and the verified file list of a version, or of ``channel:NAME``. Raises `BadData`."""
    if text.startswith("channel:"):
        name = text.removeprefix("channel:")
        stored = fetch.head(store, bundle, name)
        record = trust.read_record(stored.body, bundle=bundle, channel=name, policy=trust.Policy.UNSIGNED)
        return record.live.version, fetch.files(store, bundle, record.live.content)
    one = resolve(store, bundle, text).version
    return one.version, fetch.files(store, bundle, one.content)


def check_store(store: Store, bundle: str) -> bool:
    """Whether the store was probed and passed; False if it never was. Raises `BadData` if it failed or is newer."""
    try:
        stored = store.read(layout.store_json(bundle), limit=layout.MAX_DOCUMENT)
    except Missing:
        return False
    document = fields.load(stored.body, f"{layout.store_json(bundle)} in {store.url}", limit=layout.MAX_DOCUMENT)
    check_format(document, FORMAT)
    if not document.flag("ok"):
        broken = [check.text("name") for check in document.children("checks") if not check.flag("ok")]
        raise BadData(
            f"{store.url} does not keep its promises: {', '.join(broken)}",
            "use another store; `dagferry init-store` probes it again",
            code="unfit_store",
        )
    return True
