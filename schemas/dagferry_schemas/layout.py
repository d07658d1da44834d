"""Where each object of a bundle lies below the store (see ``schemas/FORMAT.md``, "The store")."""

from __future__ import annotations

import re
from typing import Final

from .names import NAME, VERSION, hex_of

TARBALL_SUFFIX: Final = ".tar.zst"
MAX_DOCUMENT: Final = 256 * 1024
"""Bytes of the largest head, record, version or store document that is accepted."""
MAX_REPORT: Final = 64 * 1024 * 1024
"""Bytes of the largest report that is accepted."""


def store_json(bundle: str) -> str:
    """The store's format version and the verdict of its probe."""
    return f"{bundle}/store.json"


def tarball(bundle: str, tree: str) -> str:
    """The compressed canonical tar of a tree."""
    return f"{bundle}/trees/{hex_of(tree)}/dags{TARBALL_SUFFIX}"


def files(bundle: str, tree: str) -> str:
    """The compressed file list of a tree."""
    return f"{bundle}/trees/{hex_of(tree)}/files.zst"


def version(bundle: str, version: str) -> str:
    """The version's document."""
    return f"{bundle}/versions/{version}.json"


def report(bundle: str, version: str) -> str:
    """The version's report: what was observed when it was built."""
    return f"{bundle}/versions/{version}.report.json"


def statement(bundle: str, version: str) -> str:
    """The version's statement: who vouches for it."""
    return f"{bundle}/versions/{version}.statement.json"


def delta(bundle: str, sha256: str) -> str:
    """The delta of that digest."""
    return f"{bundle}/deltas/{hex_of(sha256)}.zst"


def versions(bundle: str) -> str:
    """The prefix of all version documents and reports."""
    return f"{bundle}/versions/"


def channels(bundle: str) -> str:
    """The prefix of all channels."""
    return f"{bundle}/channels/"


def head(bundle: str, channel: str) -> str:
    """The channel's newest record; the only object that a promotion replaces."""
    return f"{bundle}/channels/{channel}/head.json"


def log(bundle: str, channel: str, generation: int) -> str:
    """The bytes of the head of that generation, written before it is replaced."""
    return f"{bundle}/channels/{channel}/log/{generation}.json"


def logs(bundle: str, channel: str) -> str:
    """The prefix of all heads that were replaced."""
    return f"{bundle}/channels/{channel}/log/"


def acknowledgement(bundle: str, channel: str, agent: str) -> str:
    """What an agent says of itself: the agent's own object, which it replaces."""
    return f"{acknowledgements(bundle, channel)}{agent}.json"


def acknowledgements(bundle: str, channel: str) -> str:
    """The prefix of what the agents of a channel say of themselves."""
    return f"{bundle}/channels/{channel}/agents/"


def generation_of(key: str) -> int | None:
    """The generation whose head ``key`` in `logs` holds, or None for any other object."""
    name = key.rpartition("/")[2].removesuffix(".json")
    return int(name) if key.endswith(".json") and re.fullmatch("[1-9][0-9]{0,15}", name) else None


def version_of(key: str) -> str | None:
    """The version whose document ``key`` is, or None for any other object below `versions`."""
    name = key.rpartition("/")[2].removesuffix(".json")
    return name if key.endswith(".json") and VERSION.fullmatch(name) else None


def channel_of(key: str) -> str | None:
    """The channel whose head ``key`` is, or None for any other object below `channels`."""
    parts = key.split("/")  # exactly: an agent called "head" has a head.json too, one folder further down
    return parts[2] if len(parts) == 4 and parts[1] == "channels" and parts[3] == "head.json" else None


def agent_of(key: str) -> str | None:
    """The agent whose acknowledgement ``key`` is, or None for any other object."""
    parts = key.split("/")
    if len(parts) != 5 or parts[1] != "channels" or parts[3] != "agents" or not parts[4].endswith(".json"):
        return None
    name = parts[4].removesuffix(".json")
    return name if NAME.fullmatch(name) else None
