"""From ``--store`` to a `Store`: which forms there are, and what each opens.

* ``file:///abs/dir`` (percent-encoded where needed) or a plain path, with ``~`` and relative to the working directory.
* What looks like a URL is one: a mistyped scheme is refused and never becomes a folder named ``s3:``.
* Opening touches neither disk nor network, and a cloud client is imported by its own opener only, because it costs
  half a second and tens of megabytes.
* No message repeats more of a URL than its scheme: the rest may hold a password.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from dagferry_schemas.errors import Usage

from .local import LocalStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from .store import Store

_FORMS = "write file:///absolute/dir or a plain path (./dir where its name has a colon)"
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def open_store(url: str) -> Store:
    """The store that ``url`` names; whether it is there shows on first use. Raises `Usage` on any other form."""
    if not url or url != url.strip():
        raise Usage("the store URL is empty or has spaces around it", _FORMS)
    scheme = _SCHEME.match(url)
    if scheme is None:
        return _open_path(url)
    opener = _OPENERS.get(scheme[1].lower())
    if opener is None:
        raise Usage(f"no store is known by the scheme {scheme[1]!r}", _FORMS)
    return opener(url)


def _open_path(path: str) -> Store:
    if _CONTROL.search(path):
        raise Usage("the store URL contains control characters", _FORMS)
    try:
        root = Path(path).expanduser().absolute()
    except RuntimeError as exc:
        raise Usage(f"the store path {path!r} names a home directory that is not known", _FORMS) from exc
    # `file:///$UNSET` is the way to get here; nobody keeps a store in the root of a file system.
    if root == Path(root.anchor):
        raise Usage("the store cannot be the root directory of the file system", _FORMS)
    return LocalStore(root)


def _open_file(url: str) -> Store:
    rest = url[len("file:") :]
    if not rest.startswith("///"):
        raise Usage("a file URL has three slashes and an absolute path, this one names a host or is relative", _FORMS)
    if "?" in rest or "#" in rest:
        raise Usage("the file URL has a query or a fragment, which a directory has no use for", _FORMS)
    return _open_path(unquote(rest[len("//") :], errors="surrogateescape"))


def _open_later(url: str) -> Store:
    scheme = url.partition(":")[0].lower()
    raise Usage(f"{scheme}:// stores come with the next release; this one has the local directory only", _FORMS)


_OPENERS: dict[str, Callable[[str], Store]] = {
    "file": _open_file,
    "s3": _open_later,
    "gs": _open_later,
}
