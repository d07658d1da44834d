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

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote

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
_ADDRESS = re.compile(r"https?://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:(?P<port>[0-9]{1,5}))?/?")
_REGION = re.compile(r"[A-Za-z0-9-]{1,63}")
_EMULATOR = "STORAGE_EMULATOR_HOST"
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
    if endpoint is not None and not _is_address(endpoint):
        raise Usage(
            "the endpoint of the s3 URL is not an address",
            "write ?endpoint=https://HOST:PORT, with a port of at most 65535 or none",
        )
    region = options.get("region")
    if region is not None and not _REGION.fullmatch(region):
        raise Usage("the region of the s3 URL is empty, or no name of a region", "for example ?region=eu-west-3")
    quotes = options.get("etag_quotes", "keep")
    if quotes not in ("keep", "strip"):
        raise Usage(f"etag_quotes={quotes!r} is neither keep nor strip", "strip is for servers such as Ceph's")
    try:
        return _s3_store(bucket, prefix, endpoint, region, strip_quotes=quotes == "strip")
    except ModuleNotFoundError as error:
        raise _not_installed("s3", error) from None


def _s3_store(bucket: str, prefix: str, endpoint: str | None, region: str | None, *, strip_quotes: bool) -> Store:
    from .s3_address import S3Address

    address = S3Address(bucket, prefix, endpoint, region, strip_quotes)
    from .s3_quick import QuickS3Store, is_plain

    if is_plain(os.environ, endpoint):
        return QuickS3Store(address)
    from .s3 import S3Store

    return S3Store(address)


def _is_address(text: str) -> bool:
    found = _ADDRESS.fullmatch(text)
    return found is not None and int(found["port"] or 1) in range(1, 65536)


def _open_gs(url: str) -> Store:
    bucket, prefix, _ = _bucket_url(url, ())
    emulator = os.environ.get(_EMULATOR)
    if emulator and not _is_address(emulator):  # Google's client would find no way to ask it, and says so in riddles
        raise Usage(f"the variable {_EMULATOR} is not an address with its scheme", f"set {_EMULATOR}=http://HOST:PORT")
    try:
        from .gcs import GcsAddress, GcsStore
    except ModuleNotFoundError as error:
        raise _not_installed("gcs", error) from None
    return GcsStore(GcsAddress(bucket, prefix))


def _bucket_url(url: str, known: tuple[str, ...]) -> tuple[str, str, dict[str, str]]:
    """Bucket, prefix (empty, or ending in a slash) and options of ``scheme://bucket/prefix?option=value``."""
    scheme = url.partition(":")[0].lower()
    form = f"write {scheme}://BUCKET/PREFIX" + "".join(f", ?{name}=…" for name in known)
    rest, _, query = url[len(scheme) + 1 :].partition("?")
    bucket, _, path = rest.removeprefix("//").partition("/")
    fault = _fault(url, rest, bucket)
    if fault:
        raise Usage(f"the {scheme} URL {fault}", form)
    prefix = unquote(path).strip("/")
    if prefix and not is_key(prefix):
        raise Usage(f"the prefix of the {scheme} URL has an empty component, or one that begins with a dot", form)
    return bucket, f"{prefix}/" if prefix else "", _options(scheme, query, known, form)


def _fault(url: str, rest: str, bucket: str) -> str:
    """What is wrong with the form of a bucket's URL, or nothing; ``rest`` is what is between scheme and options."""
    if _CONTROL.search(url):
        return "contains control characters"
    if not rest.startswith("//"):
        return "has not two slashes after its colon"
    if "@" in bucket:
        return "has something before an @: credentials come from the environment, and never stand in the URL"
    if "#" in url:
        return "has a fragment, which a bucket has no use for (in a prefix, # is written %23)"
    if not bucket:
        return "names no bucket"
    return "" if _BUCKET.fullmatch(bucket) else "names no bucket that could exist"


def _options(scheme: str, query: str, known: tuple[str, ...], form: str) -> dict[str, str]:
    pairs = parse_qsl(query, keep_blank_values=True)
    names = [name for name, _ in pairs]
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise Usage(f"the {scheme} URL has an option that is not known: {', '.join(unknown)}", form)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise Usage(f"the {scheme} URL has an option twice: {', '.join(twice)}", form)
    return dict(pairs)


def _not_installed(extra: str, error: ModuleNotFoundError) -> Usage:
    if (error.name or "").startswith("dagferry"):
        raise error
    return Usage(f"{extra} stores need the package {error.name!r}", f"install the extra {extra} (docs/stores.md)")


_OPENERS: dict[str, Callable[[str], Store]] = {
    "file": _open_file,
    "s3": _open_s3,
    "gs": _open_gs,
}
