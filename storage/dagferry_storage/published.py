"""Published versions of a bundle: one by its name, or found by what a user calls it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dagferry_schemas import layout, trust
from dagferry_schemas.errors import Conflict, Unknown
from dagferry_schemas.names import check_version, digest_of
from dagferry_schemas.pins import Pin
from dagferry_schemas.record import Live

from .store import Missing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import TypeVar

    from dagferry_schemas.version import Version

    from .store import Store

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
    from concurrent.futures import ThreadPoolExecutor  # most commands never list

    with ThreadPoolExecutor(READERS) as pool:
        return list(pool.map(work, items))


def read(store: Store, bundle: str, name: str) -> Published:
    """The version of exactly that name. Raises `Missing` and what `trust.accept_version` raises."""
    stored = store.read(layout.version(bundle, name), limit=layout.MAX_DOCUMENT)
    version = trust.accept_version(stored.body, bundle=bundle, version=name)
    return Published(version, Pin(digest_of(stored.body), len(stored.body)))


def names(store: Store, bundle: str) -> list[str]:
    """The names of all published versions, sorted."""
    return sorted(name for key in store.names(layout.versions(bundle)) if (name := layout.version_of(key)))


def resolve(store: Store, bundle: str, text: str) -> Published:
    """The version that ``text`` names: a version, or a full or abbreviated commit id. Raises `Unknown`, `Conflict`."""
    check_version(text)
    try:
        return read(store, bundle, text)
    except Missing:
        known = names(store, bundle)
    if _COMMIT.fullmatch(text):
        found = side_by_side(lambda name: read(store, bundle, name), _with_commit(known, text))
        matches = [one for one in found if one.version.commit.startswith(text)]
        if len(matches) > 1:
            several = ", ".join(one.version.version for one in matches)
            raise Conflict(f"{text!r} names several versions: {several}", "give the whole version", code="ambiguous")
        if matches:
            return matches[0]
    import difflib

    near = difflib.get_close_matches(text, known, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(near)}?" if near else "publish it first; `dagferry versions` lists what there is"
    raise Unknown(f"bundle {bundle!r} has no version {text!r} in {store.url}", hint, code="unknown_version")


def _with_commit(known: list[str], text: str) -> list[str]:
    shas = {name: match.group(1) for name in known if (match := _SHA_IN_VERSION.search(name))}
    return [name for name, sha in shas.items() if sha.startswith(text) or text.startswith(sha)]
