"""The form of every answer: it closes its connection, is not to be stored, and is JSON, but for the metrics."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from dagferry_schemas import endpoint
from dagferry_schemas.commandline import plain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .admission import Refused


def reply_json(status: int, document: Mapping[str, Any]) -> Response:
    """An answer that is a JSON object."""
    # A drifted file's name may hold bytes that are no UTF-8; the reply has to be JSON that everybody can read.
    text = json.dumps(document, ensure_ascii=False, allow_nan=False)
    return reply_bytes(status, text.encode("utf-8", "replace") + b"\n")


def reply_refused(refused: Refused) -> Response:
    """An answer that is an error."""
    body = endpoint.error_body(refused.code, plain(refused.message), plain(refused.hint))
    return reply_bytes(refused.status, body, headers=refused.headers)


def reply_bytes(
    status: int, body: bytes, media_type: str = "application/json", headers: Mapping[str, str] | None = None
) -> Response:
    """An answer of these bytes."""
    common = {"Connection": "close", "Cache-Control": "no-store", "Content-Type": media_type}
    return Response(body, status, {**(headers or {}), **common})
