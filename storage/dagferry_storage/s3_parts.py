"""Uploading a large file to S3 in parts: Amazon takes no more than 5 GiB in one request.

* A part may be sent again after any failure that passes, so a long upload outlives a short outage. The object comes
  into being when all parts are put together, and the condition is that request's.
* Several servers know conditions on a plain PUT and ignore them there. So it is looked once more right before whether
  somebody else made the object: on such a server a second writer has the time between two requests to spoil it.
* An upload that fails is aborted. What a killed writer leaves is invisible, and costs until the bucket's lifecycle
  rule AbortIncompleteMultipartUpload removes it.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from dagferry_schemas.errors import DagferryError

from .retrying import NotDone, Passing, attempt

if TYPE_CHECKING:
    from collections.abc import Callable

    from .section import Section

MOST_PARTS: Final = 10_000


@dataclass(frozen=True)
class Parts:
    """Files of more than ``beyond`` bytes are sent in parts of ``size`` bytes, or larger ones if they were too many."""

    beyond: int = 1024**3
    size: int = 64 * 1024**2


def upload(
    ask: Callable[..., dict[str, Any]], content: Section, parts: Parts, exists: Callable[[], bool]
) -> str | None:
    """Make an object of ``content``; its ETag, or None if somebody else made it.

    ``ask`` sends one request for that object, by the name of boto3's method; it raises the errors of a `Store`.
    """
    if exists():
        return None
    identity = {
        "UploadId": attempt(lambda: ask("create_multipart_upload", CacheControl="no-store"), again_after=Passing)[
            "UploadId"
        ]
    }
    size = max(parts.size, -(-content.size // MOST_PARTS))
    done = None
    try:
        sent = [
            {"PartNumber": number, "ETag": _send(partial(ask, "upload_part", **identity, PartNumber=number), section)}
            for number, section in enumerate(content.cut(size), 1)
        ]
        if not exists():
            whole = partial(ask, "complete_multipart_upload", **identity, MultipartUpload={"Parts": sent})
            done = str(attempt(lambda: whole(IfNoneMatch="*"), again_after=NotDone)["ETag"])
    finally:
        if done is None:
            with suppress(DagferryError):
                ask("abort_multipart_upload", **identity)
    return done


def _send(part: Callable[..., dict[str, Any]], section: Section) -> str:
    def once() -> str:
        section.seek(0)
        return str(part(Body=section)["ETag"])

    return attempt(once, again_after=Passing)
