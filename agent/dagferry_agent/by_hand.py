"""What somebody may activate here by hand: a release that is on this disk, named as it was when it was live."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Final

from dagferry_schemas.errors import Conflict, Unknown

if TYPE_CHECKING:
    from collections.abc import Collection

    from .state import Served, State

_COMMIT: Final = re.compile(r"[0-9a-f]{7,64}")
_SHA_IN_VERSION: Final = re.compile(r"-g([0-9a-f]{12,64})(?:\+local)?$")


def find_here(state: State, names: Collection[str], text: str) -> Served:
    """The activation of a release that ``text`` names: its version, or a full or abbreviated commit id.

    ``names`` are the release folders on the disk. Raises `Unknown`, `Conflict`.
    """
    here = [one for one in state.history if any(one.tree.startswith(f"sha256:{name}") for name in names)]
    by_version = {one.version: one for one in here}  # the newest of each
    if text in by_version:
        return by_version[text]
    matches = [version for version in by_version if _is_of_commit(version, text)]
    if len(matches) > 1:
        raise Conflict(
            f"{text!r} names several versions: {', '.join(matches)}", "give the whole version", code="ambiguous"
        )
    if matches:
        return by_version[matches[0]]
    near = difflib.get_close_matches(text, list(by_version), n=3, cutoff=0.4) or list(by_version)[-3:]
    hint = f"on this disk: {', '.join(near)}" if near else "nothing was ever activated here"
    raise Unknown(
        f"no release of version {text!r} is on this disk", f"{hint}; `status` lists all", code="unknown_version"
    )


def _is_of_commit(version: str, text: str) -> bool:
    found = _SHA_IN_VERSION.search(version)
    return bool(found and _COMMIT.fullmatch(text) and (found[1].startswith(text) or text.startswith(found[1])))
