"""What the stores in a cloud's bucket have in common, whatever the cloud: how long they wait, and their words.

A cloud's refusals module raises `Unchanged` and `Unmet` for its store, which knows what either means for its request;
neither leaves a store.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dagferry_schemas.errors import Forbidden

from .keys import is_key
from .retrying import NotDone
from .store import Exists, Superseded

if TYPE_CHECKING:
    from collections.abc import Iterable

CONNECT_SECONDS: Final = 5
READ_SECONDS: Final = 30
CONNECTIONS: Final = 32


class Unchanged(Exception):
    """304: the object is still in the state of the token."""


class Unmet(Exception):
    """412: the condition does not hold."""


def exists(url: str, key: str) -> Exists:
    """Of a create whose condition did not hold."""
    return Exists(f"store {url}: {key} is there already", "it was not touched")


def superseded(url: str, key: str) -> Superseded:
    """Of a replace whose condition did not hold."""
    return Superseded(f"store {url}: {key} was changed by somebody else", "read it again")


def may_not(what: str, who: str, said: str) -> Forbidden:
    """The server knows who asks, and refuses."""
    return Forbidden(f"{what}: {who} may not ({said})", "give it the rights that docs/policies.md lists for its part")


def busy(what: str, said: str) -> NotDone:
    """The server has not done it, and would later."""
    return NotDone(f"{what}: the server is busy with it ({said})", "try again in a moment")


def without_folders(names: Iterable[str]) -> list[str]:
    """``names`` without what a cloud's console calls a folder: an empty object whose name ends in a slash."""
    return [name for name in names if not name.endswith("/")]


def last_parts(prefixes: Iterable[str]) -> list[str]:
    """The folder's own name in each of ``prefixes``, which end in a slash; without what is no component of a key."""
    names = (prefix[:-1].rpartition("/")[2] for prefix in prefixes)
    return [name for name in names if is_key(name)]
