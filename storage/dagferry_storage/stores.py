"""From ``--store`` to a `Store`: which forms there are, and what each opens.

* ``file:///abs/dir`` (percent-encoded where needed) or a plain path, with ``~`` and relative to the working directory.
* ``s3://bucket/prefix?endpoint=…&region=…&etag_quotes=strip``; what is not said is the AWS environment's.
* ``gs://bucket/prefix``; it has no options, everything else is the Google environment's.
* What looks like a URL is one: a mistyped scheme is refused and never becomes a folder named ``s3:``.
* Opening touches neither disk nor network, and a cloud client is imported by its own opener only, because it costs
  half a second and tens of megabytes.
* No message about a refused URL repeats more of it than its scheme and the names of its options: the rest may hold a
  password.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote, urlsplit

from dagferry_schemas.errors import Usage

from .keys import is_key
from .local import LocalStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from .store import Store

_FORMS = (
    "write file:///absolute/dir, a plain path (./dir where its name has a colon), s3://BUCKET/PREFIX or "
    "gs://BUCKET/PREFIX"
)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_BUCKET = re.compile(r"[a-z0-9A-Z][a-zA-Z0-9._-]{1,61}[a-zA-Z0-9]")
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


def _open_s3(url: str) -> Store:
    bucket, prefix, options = _bucket_url(url, ("endpoint", "region", "etag_quotes"))
    endpoint = options.get("endpoint")
    if endpoint is not None and not re.fullmatch(
        r"https?://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?/?", endpoint
    ):
        raise Usage("the endpoint of the s3 URL is not an address", "write ?endpoint=https://HOST:PORT")
    quotes = options.get("etag_quotes", "keep")
    if quotes not in ("keep", "strip"):
        raise Usage(f"etag_quotes={quotes!r} is neither keep nor strip", "strip is for servers such as Ceph's")
    try:
        from .s3 import S3Address, S3Store
    except ModuleNotFoundError as error:
        raise _not_installed("s3", error) from None
    return S3Store(S3Address(bucket, prefix, endpoint, options.get("region"), quotes == "strip"))


def _open_gs(url: str) -> Store:
    bucket, prefix, _ = _bucket_url(url, ())
    try:
        from .gcs import GcsAddress, GcsStore
    except ModuleNotFoundError as error:
        raise _not_installed("gcs", error) from None
    return GcsStore(GcsAddress(bucket, prefix))


def _bucket_url(url: str, known: tuple[str, ...]) -> tuple[str, str, dict[str, str]]:
    """Bucket, prefix (empty, or ending in a slash) and options of ``scheme://bucket/prefix?option=value``."""
    parts = urlsplit(url)
    form = f"write {parts.scheme}://BUCKET/PREFIX" + "".join(f", ?{name}=…" for name in known)
    if not _BUCKET.fullmatch(parts.netloc) or parts.fragment or _CONTROL.search(url):
        raise Usage(f"the {parts.scheme} URL names no bucket that could exist", form)
    prefix = unquote(parts.path).strip("/")
    if prefix and not is_key(prefix):
        raise Usage(f"the prefix of the {parts.scheme} URL has an empty component, or one that begins with a dot", form)
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    options = dict(pairs)
    unknown = sorted(set(options) - set(known))
    if unknown or len(options) != len(pairs):
        raise Usage(f"the {parts.scheme} URL has an option that is not known, or one twice: {', '.join(unknown)}", form)
    return parts.netloc, f"{prefix}/" if prefix else "", options


def _not_installed(extra: str, error: ModuleNotFoundError) -> Usage:
    if (error.name or "").startswith("dagferry"):
        raise error
    return Usage(
        f"{extra} stores need the package {error.name!r}",
        f"install dagferry with its extra {extra!r}, see docs/stores.md",
    )


_OPENERS: dict[str, Callable[[str], Store]] = {
    "file": _open_file,
    "s3": _open_s3,
    "gs": _open_gs,
}
