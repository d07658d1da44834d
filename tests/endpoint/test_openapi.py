"""The OpenAPI document: one text, in three places, that names all that there is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from .rows import HOST, ROWS, bearer, post, request
from .world import Source, World, running
from .write_openapi import PLACES, made

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DOCUMENT: dict[str, Any] = json.loads(made())
PATHS: dict[str, dict[str, Any]] = DOCUMENT["paths"]


@pytest.fixture(scope="module")
def world(source: Source) -> Iterator[World]:
    with running(source, "openapi") as world:
        yield world


@pytest.mark.parametrize("place", PLACES, ids=[place.parent.name for place in PLACES])
def test_what_is_committed_is_what_is_made(place: Path) -> None:
    assert place.read_bytes() == made(), "python -m tests.endpoint.write_openapi"


def test_an_agent_serves_it_to_everybody(world: World) -> None:
    reply = world.ask(request("GET", "/openapi.json"))
    assert (reply.status, reply.headers["content-type"]) == (200, "application/json")
    assert reply.body == made()


def test_every_path_of_the_application_is_in_it() -> None:
    from dagferry_agent import app

    source = json.dumps(app.__loader__.get_source(app.__name__))  # type: ignore[union-attr]
    assert {path for path in PATHS if f'_route(\\"{path}\\"' in source} == set(PATHS)
    assert source.count("_route(") - 1 == len(PATHS)


def test_all_references_lead_somewhere_and_all_schemas_are_schemas() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    for schema in schemas.values():
        Draft202012Validator.check_schema(schema)
    named = set(references(DOCUMENT))
    assert named == {f"#/components/schemas/{name}" for name in schemas}


def references(found: object) -> Iterator[str]:
    if isinstance(found, dict):
        for name, value in found.items():
            if name == "$ref":
                yield value
            else:
                yield from references(value)
    elif isinstance(found, list):
        for value in found:
            yield from references(value)


def test_every_answer_that_a_row_expects_is_in_it() -> None:
    for row in ROWS:
        method, target, _ = row.request.split(b" ", 2)
        path = PATHS.get(target.decode(), {})
        if method.lower().decode() in path:
            responses = path[method.lower().decode()]["responses"]
            assert str(row.status) in responses, row.id
            assert row.status != 429 or "Retry-After" in responses["429"]["headers"]


def schema_of(path: str, method: str, status: int) -> dict[str, Any]:
    content = PATHS[path][method]["responses"][str(status)]["content"]["application/json"]["schema"]
    return {**content, "components": DOCUMENT["components"]}


@pytest.mark.parametrize(
    ("path", "sent", "status"),
    [
        ("/v1/pull", post(b"{}"), 200),
        ("/v1/pull", post(b'{"expect_generation": 99, "wait_seconds": 0}'), 202),
        ("/v1/pull", post(b"{"), 400),
        ("/v1/pull", post(b"{}", token="wrong"), 401),
        ("/v1/pull", post(b'{"url": ""}'), 422),
        ("/v1/status", request("GET", "/v1/status", bearer()), 200),
        ("/v1/status", request("GET", "/v1/status", bearer("pull")), 403),
        ("/healthz", request("GET", "/healthz"), 200),
        ("/readyz", request("GET", "/readyz"), 200),
    ],
)
def test_answers_are_as_it_says(world: World, path: str, sent: bytes, status: int) -> None:
    reply = world.ask(sent)
    assert reply.status == status
    method = sent.split(b" ", 1)[0].decode().lower()
    Draft202012Validator(schema_of(path, method, status)).validate(reply.json)
    assert HOST.decode() not in json.dumps(reply.json)
