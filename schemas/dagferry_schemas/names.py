"""The grammar of names, digests and times, in one place.

Bundles, channels and agents: ``[A-Za-z0-9][A-Za-z0-9._-]{0,62}``. Versions: ``[A-Za-z0-9._+-]{1,200}`` (Airflow stores
at most 200 characters, and a slash breaks its clean-up of old bundle versions), not ``.`` or ``..``, and not ending in
``.report`` or ``.statement``, because those are the names of a version's other objects. Digests: ``sha256:<64 hex>``.
Times: RFC 3339 in UTC with a ``Z``.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

from .errors import Usage

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
VERSION: Final = re.compile(r"(?!\.{1,2}$)(?!.*\.(?:report|statement)$)[A-Za-z0-9._+-]{1,200}")
COMMIT: Final = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
HEX_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
TIME: Final = re.compile(
    r"[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"
    r"T(?:[01][0-9]|2[0-3]):[0-5][0-9]:(?:[0-5][0-9]|60)(?:\.[0-9]{1,9})?Z"
)

SHORT_TREE: Final = 16
"""Hex digits of a tree digest that name a release folder on a pod."""


def digest_of(content: bytes) -> str:
    """The digest of ``content`` as documents carry it: ``sha256:<hex>``."""
    return "sha256:" + hashlib.sha256(content).hexdigest()


def hex_of(digest: str) -> str:
    """The 64 hex digits of a digest, as object names and file lists carry them."""
    return digest.removeprefix("sha256:")


def short_tree(tree: str) -> str:
    """The folder name of a tree's release on a pod: the first 16 hex digits of its digest."""
    return hex_of(tree)[:SHORT_TREE]


def moment(time: str) -> tuple[str, str]:
    """A key that orders times, also those with a fraction of a second ('.' sorts before 'Z')."""
    seconds, _, fraction = time.removesuffix("Z").partition(".")
    return seconds, fraction.rstrip("0")


def check_name(kind: str, name: str) -> str:
    """``name`` if it can name a bundle, channel or agent. Raises `Usage`."""
    if not NAME.fullmatch(name):
        raise Usage(
            f"{kind} name {name!r} is not allowed",
            "use 1 to 63 letters, digits, '.', '_' or '-', beginning with a letter or digit",
        )
    return name


def check_version(version: str) -> str:
    """``version`` if it can name a version. Raises `Usage`."""
    if not VERSION.fullmatch(version):
        raise Usage(f"version {version!r} is not allowed", "use 1 to 200 letters, digits, '.', '_', '+' or '-'")
    return version
