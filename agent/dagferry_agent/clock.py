"""The time, as documents write it: RFC 3339 in UTC, in whole seconds."""

from __future__ import annotations

import time


def utc(seconds: float) -> str:
    """The moment so many seconds after 1970 began."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def utc_now() -> str:
    """The present."""
    return utc(time.time())
