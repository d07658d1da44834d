"""Requests that Schemathesis draws from the document that an agent serves: what comes back is in the document, too.

The seed is fixed and the number of requests bounded. Bodies that would wait for a generation that does not come get no
time for it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import ignored_auth

from dagferry_schemas.endpoint import DEFAULT_WAIT
from dagferry_schemas.fields import MAX_INTEGER

from .world import Source, World, running
from .write_openapi import made

if TYPE_CHECKING:
    from collections.abc import Iterator

    from schemathesis import Case

pytestmark = pytest.mark.fuzz
EXAMPLES = 150


@pytest.fixture(scope="module")
def world(source: Source) -> Iterator[World]:
    with running(source, "fuzz", "--pulls-per-minute=100000") as world:
        yield world
        assert "Traceback" not in world.agent.log
        assert world.tokens["all"] not in world.agent.log
        world.answers()


PATHS = json.loads(made())["paths"]
CASES = [(method, path, GenerationMode.POSITIVE) for path, found in PATHS.items() for method in found]
CASES.append(("post", "/v1/pull", GenerationMode.NEGATIVE))  # of the others nothing can be wrong but what they are


@pytest.mark.parametrize(("method", "path", "mode"), CASES)
def test_answers_are_in_the_document(world: World, method: str, path: str, mode: GenerationMode) -> None:
    document = schemathesis.openapi.from_url(f"{world.agent.url}/openapi.json")
    operation = document[path][method.upper()]
    found: set[int] = set()

    @seed(20261123)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def judge(case: Case[Any]) -> None:
        impatient(case)
        response = case.call(headers={"Authorization": f"Bearer {world.tokens['all']}"})
        found.add(response.status_code)
        case.validate_response(response, excluded_checks=unless_503(response.status_code))

    judge()
    wrong = mode is GenerationMode.NEGATIVE and path == "/v1/pull"
    assert ({400, 422} if wrong else {200}) & found, found


def unless_503(status: int) -> list[Any]:
    """503 is the one failure of a server that is in the document; without a token it may be 429 as well as 401."""
    return [ignored_auth, *([not_a_server_error] if status == 503 else [])]


def impatient(case: Case[Any]) -> None:
    """Take the time out of a pull that would wait, and the fraction out of an integer, which no schema can forbid."""
    body: Any = case.body
    if isinstance(body, dict) and "expect_generation" in body:
        if isinstance(body["expect_generation"], float) and body["expect_generation"].is_integer():
            body["expect_generation"] = int(body["expect_generation"])
        wanted = body.get("wait_seconds", DEFAULT_WAIT)
        if type(wanted) in (int, float) and 0 < wanted <= MAX_INTEGER:
            body["wait_seconds"] = 0
