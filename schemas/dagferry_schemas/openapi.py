"""The agent's HTTP endpoint as an OpenAPI 3.1 document: each request, and each status it can be answered with.

The bodies are the JSON Schemas of ``schemas/json``, which the caller hands in. The agent serves what was made of them,
under ``GET /openapi.json``; the same bytes are in ``schemas/openapi.json``.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from .endpoint import DEFAULT_WAIT, MAX_REQUEST, MAX_WAIT

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEMAS: Final = ("error", "pull-reply", "pull-request", "status")
"""The schemas that bodies refer to."""

_ANY: Final = {
    400: "It is no HTTP/1 request of known length, or is meant for another host.",
    403: "It comes from a web page (it has an `Origin`).",
    405: "The path is there for another method, which `Allow` names.",
    414: "The request target is longer than 1 KiB.",
    431: "The headers are more than 50, or longer than 16 KiB in all.",
    505: "It is not HTTP/1.",
}
_BEARER: Final = {
    401: "There is no bearer token, or none that is valid now.",
    403: "The token may not do this here, or the request comes from a web page.",
    429: "Too many requests without a valid token came from this source, or this token asked for too many pulls.",
    500: "A bug; the agent's log says more.",
    503: "It may pass: no usable tokens file, the store or the disk fails, or the agent is ending.",
}
_PULL: Final = {
    400: "It is no HTTP/1 request of known length with a JSON object as its body, or is meant for another host.",
    404: "The channel has no record yet.",
    408: "The body did not come within ten seconds.",
    409: "The pod keeps what somebody activated in it by hand.",
    413: f"The body is longer than {MAX_REQUEST} bytes.",
    415: "The body is not said to be plain JSON.",
    422: "A field is unknown or wrong, or what the channel says was refused.",
}
_WAITS: Final = (429, 503)
_PULL_TEXT: Final = (
    "Pulls, and pulls again while an older generation than `expect_generation` is served. "
    f"Without `wait_seconds` it waits {DEFAULT_WAIT:g} seconds, {MAX_WAIT:g} at the most. "
    "Requests that come meanwhile share one pull."
)


def document(schemas: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The document; ``schemas`` are those of `SCHEMAS` by name."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "dagferry-agent",
            "version": "1",
            "summary": "Asks one pod to follow its channel now, and says what it serves.",
            "description": "Every answer closes its connection. Errors have a stable `code`, a message and a hint.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "servers": [{"url": "/", "description": "the agent that this document is from"}],
        "paths": _paths(),
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "A token of this agent."}
            },
            "schemas": {_name(name): _embedded(schemas[name]) for name in SCHEMAS} | _OWN,
        },
    }


def to_bytes(made: Mapping[str, Any]) -> bytes:
    """The bytes of a document."""
    return json.dumps(made, indent=2, ensure_ascii=False).encode() + b"\n"


def _paths() -> dict[str, Any]:
    pull = {
        "operationId": "pull",
        "summary": "Pull now",
        "description": _PULL_TEXT,
        "security": [{"bearer": []}],
        "requestBody": {"required": False, "content": _json("PullRequest")},
        "responses": {
            "200": _answer("The expected generation is served, or a newer one.", _json("PullReply")),
            "202": _answer("It is under way; ask again.", _json("UnderWay")),
            **_errors(_ANY | _BEARER | _PULL),
        },
    }
    status = {
        "operationId": "status",
        "summary": "What is served here",
        "security": [{"bearer": []}],
        "responses": {
            "200": _answer("What the disk and the last pull say.", _json("Status")),
            **_errors(_ANY | _BEARER),
        },
    }
    readiness = _open("readyz", "Whether a verified release is live", _json("Readiness"))
    readiness["responses"]["503"] = _answer("None is live.", _json("Readiness"))
    text = {
        "text/plain": {"schema": {"type": "string"}},
        "application/openmetrics-text": {"schema": {"type": "string"}},
    }
    return {
        "/v1/pull": {"post": pull},
        "/v1/status": {"get": status},
        "/healthz": {"get": _open("healthz", "Whether the process can work", _json("Health"))},
        "/readyz": {"get": readiness},
        "/metrics": {"get": _open("metrics", "The metrics, for Prometheus", text)},
        "/openapi.json": {
            "get": _open("openapi", "This document", {"application/json": {"schema": {"type": "object"}}})
        },
    }


def _open(name: str, summary: str, content: dict[str, Any]) -> dict[str, Any]:
    """A request that needs no token."""
    responses = {"200": _answer("Yes." if "Whether" in summary else "Here.", content), **_errors(_ANY)}
    return {"operationId": name, "summary": summary, "security": [], "responses": responses}


def _errors(said: Mapping[int, str]) -> dict[str, Any]:
    return {str(status): _error(status, said[status]) for status in sorted(said)}


def _error(status: int, description: str) -> dict[str, Any]:
    found = _answer(description, _json("Error"))
    if status in _WAITS:
        found["headers"] = {"Retry-After": _header("Seconds after which to ask again.", "integer")}
    if status == 401:
        found["headers"] = {"WWW-Authenticate": _header("Bearer.", "string")}
    if status == 405:
        found["headers"] = {"Allow": _header("The method.", "string")}
    return found


def _header(description: str, kind: str) -> dict[str, Any]:
    return {"description": description, "required": True, "schema": {"type": kind}}


def _answer(description: str, content: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": content}


def _json(name: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}


def _name(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("-"))


def _embedded(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A schema without its address: what it refers to would be looked for there, and not in this document."""
    return {name: value for name, value in schema.items() if name not in ("$schema", "$id")}


def _object(description: str, **properties: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "type": "object", "properties": properties, "required": list(properties)}


_TEXT: Final = {"type": ["string", "null"]}
_SECONDS: Final = {"type": ["number", "null"], "minimum": 0}
_GENERATION: Final = {"type": ["integer", "null"], "minimum": 0}
_OWN: Final[dict[str, Any]] = {
    "UnderWay": _object(
        "A pull that is not over, and the generation that is served meanwhile.",
        state={"const": "under_way"},
        job={"type": "string"},
        generation=_GENERATION,
    ),
    "Health": _object("The process can work.", ok={"const": True}),
    "Readiness": _object(
        "Whether a verified release is live, and how stale it is.",
        ready={"type": "boolean"},
        verified={"type": ["boolean", "null"]},
        version=_TEXT,
        generation=_GENERATION,
        last_check=_TEXT,
        last_error={"type": ["object", "null"], "properties": {"code": {"type": "string"}}, "required": ["code"]},
        stale_seconds=_SECONDS,
        unheard_seconds={"type": "number", "minimum": 0},
    ),
}
