"""Servers that are no stores, and the words in which `probe` says so; docs/stores.md carries the same words."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from dagferry_storage.probe import probe

if TYPE_CHECKING:
    from dagferry_storage.store import Store

RCLONE: Final = "`rclone serve s3` 1.75.2"
GCS_EMULATOR: Final = "gcp-storage-emulator 2026.7.19"
RADOSGW: Final = "radosgw 16.2 without `etag_quotes=strip`"
UNTRIED: Final = "not tried"
SAID: Final = {
    RCLONE: {
        "create_only": "a create of an object that exists was accepted",
        "compare_and_swap": "a replace with a stale token was accepted",
    },
    GCS_EMULATOR: {"create": "store URL: the server tells no generation"},
    RADOSGW: {"compare_and_swap": "store URL: b/probe/n1 was changed by somebody else"},
}


def broken_promises(store: Store) -> dict[str, str]:
    """The checks that the store failed, and what the probe said; its address, which differs each time, is URL."""
    checks = probe(store, "b/", "n1", time.time)
    return {one.name: one.detail.replace(store.url, "URL") for one in checks if not one.ok and one.detail != UNTRIED}
