"""The endpoint, over ASGI: who is answered what, and how little it takes to be refused."""

from __future__ import annotations

import asyncio
import json
import random
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest

from dagferry_agent.app import create_app
from dagferry_agent.metrics import Meters
from dagferry_agent.service import PullService
from dagferry_agent.tokens import Entry, NoTokens, TokensFile
from dagferry_schemas.endpoint import AgentStatus, PullReply
from dagferry_schemas.errors import (
    Conflict,
    Corrupt,
    DagferryError,
    DeliveryFailed,
    Forbidden,
    MachineFault,
    Untrusted,
    Usage,
)
from dagferry_schemas.names import digest_of

from .asgi import Answer, Header, ask
from .fake import BUNDLE, CHANNEL, FakeDelivery, wait_for_pulls, write_tokens

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator, Sequence
    from pathlib import Path

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from dagferry_agent.admission import Tokens

NOW = "2026-11-05T12:00:00Z"
JSON: Header = (b"content-type", b"application/json")


def bearer(token: str) -> Header:
    return b"authorization", b"Bearer " + token.encode()


@dataclass
class Agent:
    """An agent that was started, but for its server; `ask` calls it in a loop of its own."""

    delivery: FakeDelivery
    service: PullService
    tokens_file: Path
    token: str
    draining: asyncio.Event = field(default_factory=asyncio.Event)
    body_seconds: float = 5.0
    tokens: Tokens | None = None
    meters: Meters = field(default_factory=Meters)

    @property
    def app(self) -> ASGIApp:
        # One for each application: an event belongs to one loop, and most tests run several.
        self.draining = asyncio.Event()
        return create_app(
            service=self.service,
            delivery=self.delivery,
            meters=self.meters,
            tokens=self.tokens or TokensFile(self.tokens_file),
            now=lambda: NOW,
            clock=time.monotonic,
            draining=self.draining,
            body_seconds=self.body_seconds,
        )

    def ask(self, method: str, target: str, *headers: Header, **details: Any) -> Answer:  # noqa: ANN401 (as `asgi.ask`)
        return run(ask(self.app, method, target, headers, **details))

    def post(self, body: bytes | dict[str, object], *headers: Header, **details: Any) -> Answer:  # noqa: ANN401
        """A pull that is in order but for what the test says."""
        pieces = [body if isinstance(body, bytes) else json.dumps(body).encode()]
        return self.ask("POST", "/v1/pull", bearer(self.token), JSON, *headers, pieces=pieces, **details)


def run(scenario: Coroutine[Any, Any, Answer]) -> Answer:
    return asyncio.run(asyncio.wait_for(scenario, 15))


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    path = tmp_path / "tokens.json"
    (token,) = write_tokens(path, ["pull", "status"])
    delivery = FakeDelivery()
    service = PullService(delivery, clock=time.monotonic, rng=random.Random(7))
    yield Agent(delivery, service, path, token)
    delivery.may_end.set()
    assert service.stop(10)


@pytest.fixture
def live(agent: Agent) -> Agent:
    """An agent whose first pull is over."""
    agent.service.start()
    wait_for_pulls(agent.service)
    return agent


# Who is let in

PROTECTED = [
    ("POST", "/v1/pull"),
    ("GET", "/v1/status"),
    ("GET", "/v1/nothing"),
    ("PUT", "/v1/pull"),
    ("GET", "/v1"),
    ("GET", "/v1/"),
]


@pytest.mark.parametrize(("method", "target"), PROTECTED)
@pytest.mark.parametrize(
    "values",
    [
        [],
        [b""],
        [b"Bearer"],
        [b"Bearer "],
        [b"Basic dXNlcjpwYXNz"],
        [b"Bearer dft_wrong"],
        [b"Bearer \xff\xfe"],
        [b"Bearer TOKEN", b"Bearer TOKEN"],
        [b"Bearer dft_wrong", b"Bearer TOKEN"],
        [b"Bearer TOKEN, Bearer TOKEN"],
        [b"Bearer TOKEN TOKEN"],
        [b"TOKEN"],
        [b"Bearer " + b"a" * 10_000],
    ],
)
def test_without_exactly_one_good_token_it_is_401_and_the_body_stays_unread(
    live: Agent, method: str, target: str, values: list[bytes]
) -> None:
    pulls = live.delivery.pulls
    headers = [(b"authorization", value.replace(b"TOKEN", live.token.encode())) for value in values]
    answer = live.ask(method, target, *headers, pieces=[b"x" * 65536], unfinished=True)
    assert (answer.status, answer.code, answer.pieces_read) == (401, "unauthorized", 0)
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.headers["connection"] == "close"
    assert live.delivery.pulls == pulls


def test_a_token_elsewhere_than_in_its_header_is_no_token(live: Agent) -> None:
    body = json.dumps({"token": live.token}).encode()
    answer = live.ask("POST", f"/v1/pull?access_token={live.token}", JSON, pieces=[body])
    assert answer.status == 401


@pytest.mark.parametrize("times", [{"not_after": "2026-11-05T11:00:00Z"}, {"not_before": "2026-11-05T13:00:00Z"}])
def test_a_token_outside_its_time_is_401(live: Agent, times: dict[str, str]) -> None:
    write_tokens(live.tokens_file, ["pull", "status"], **times)
    assert live.post(b"").status == 401


def test_all_causes_of_401_read_the_same(live: Agent) -> None:
    write_tokens(live.tokens_file, ["pull"], not_after="2026-11-05T11:00:00Z")
    expired = live.post(b"")
    assert expired.body == live.ask("POST", "/v1/pull", bearer("dft_x")).body == live.ask("POST", "/v1/pull").body


def test_the_scheme_is_read_in_any_case(live: Agent) -> None:
    assert live.ask("GET", "/v1/status", (b"authorization", b"bEARER  " + live.token.encode())).status == 200


@pytest.mark.parametrize("content", [None, b"", b"[]", b"{}", b"[{}]"])
@pytest.mark.parametrize(("method", "target"), PROTECTED)
def test_without_a_usable_tokens_file_nobody_is_let_in(
    live: Agent, method: str, target: str, content: bytes | None
) -> None:
    live.tokens_file.unlink()
    if content is not None:
        live.tokens_file.write_bytes(content)
    for headers in ([], [bearer(live.token)], [bearer("")]):
        answer = live.ask(method, target, *headers, pieces=[b"x"], unfinished=True)
        assert (answer.status, answer.code, answer.pieces_read) == (503, "no_tokens", 0)
        assert str(live.tokens_file) not in answer.body.decode()


def test_without_a_configured_tokens_file_nobody_is_let_in(live: Agent) -> None:
    live.tokens = TokensFile(None)
    assert live.post(b"").code == "no_tokens"


def test_probes_need_no_tokens_file(live: Agent) -> None:
    live.tokens_file.unlink()
    assert live.ask("GET", "/healthz").status == live.ask("GET", "/readyz").status == 200


def test_a_token_is_exchanged_without_a_restart(live: Agent) -> None:
    app = live.app
    assert run(ask(app, "GET", "/v1/status", [bearer(live.token)])).status == 200
    live.tokens_file.unlink()
    _, new = write_tokens(live.tokens_file, ["pull"], ["status"])
    live.tokens_file.write_text(json.dumps(json.loads(live.tokens_file.read_text())[1:]))
    assert run(ask(app, "GET", "/v1/status", [bearer(live.token)])).status == 401
    assert run(ask(app, "GET", "/v1/status", [bearer(new)])).status == 200


@pytest.mark.parametrize(
    ("scope", "pull", "status"),
    [
        ("pull", 200, 403),
        ("status", 403, 200),
        (f"pull:{BUNDLE}/{CHANNEL}", 200, 403),
        (f"pull:{BUNDLE}/*", 200, 403),
        (f"pull:{BUNDLE}/staging", 403, 403),
        (f"pull:other/{CHANNEL}", 403, 403),
    ],
)
def test_a_token_may_do_what_its_scope_says(live: Agent, scope: str, pull: int, status: int) -> None:
    (live.token,) = write_tokens(live.tokens_file, [scope])
    pulls = live.delivery.pulls
    asked = live.post(b"")
    assert asked.status == pull
    assert live.ask("GET", "/v1/status", bearer(live.token)).status == status
    if pull == 403:
        assert asked.code == "scope"
        assert asked.pieces_read == 0
        assert live.delivery.pulls == pulls


# What is there


@pytest.mark.parametrize("target", ["/v1", "/v1/", "/v1/nothing", "/v1/pull/", "/v1/pull/x", "/v1//pull", "/v1/Pull"])
def test_an_unknown_path_is_404_for_those_who_are_let_in(live: Agent, target: str) -> None:
    answer = live.ask("POST", target, bearer(live.token))
    assert (answer.status, answer.code) == (404, "not_found")


@pytest.mark.parametrize("target", ["/", "/metrics/", "/v2/pull", "/healthz/", "//v1/pull", "*", "http://a/v1/pull"])
def test_any_other_unknown_path_is_404(live: Agent, target: str) -> None:
    assert live.ask("GET", target).code == "not_found"


@pytest.mark.parametrize(
    ("target", "allowed"),
    [
        ("/v1/pull", "POST"),
        ("/v1/status", "GET"),
        ("/healthz", "GET"),
        ("/readyz", "GET"),
        ("/metrics", "GET"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"])
def test_a_wrong_method_is_405_and_the_right_one_is_named(live: Agent, target: str, allowed: str, method: str) -> None:
    answer = live.ask(method, target, bearer(live.token))
    if method == allowed:
        assert answer.status == 200
    else:
        assert (answer.status, answer.code, answer.headers["allow"]) == (405, "wrong_method", allowed)


def test_every_answer_but_the_metrics_is_json_and_all_close_and_are_not_to_be_stored(live: Agent) -> None:
    for method, target in [*PROTECTED, ("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/nothing")]:
        for headers in ([], [bearer(live.token)]):
            answer = live.ask(method, target, *headers)
            assert answer.headers["content-type"] == "application/json"
            assert answer.headers["connection"] == "close"
            assert answer.headers["cache-control"] == "no-store"
            assert isinstance(answer.json, dict)
    metrics = live.ask("GET", "/metrics")
    assert metrics.headers["content-type"].startswith("text/plain")
    assert (metrics.headers["connection"], metrics.headers["cache-control"]) == ("close", "no-store")


# What a request may look like


@pytest.mark.parametrize("token", [True, False])
@pytest.mark.parametrize("value", [b"chunked", b"identity", b"gzip, chunked", b""])
def test_a_transfer_encoding_is_400(live: Agent, value: bytes, token: bool) -> None:
    headers = [bearer(live.token)] if token else []
    answer = live.ask("POST", "/v1/pull", *headers, (b"transfer-encoding", value), pieces=[b"{}"])
    assert (answer.status, answer.code, answer.pieces_read) == (400, "transfer_encoding", 0)


def test_a_long_target_is_414_and_too_many_or_too_long_headers_are_431(live: Agent) -> None:
    assert live.ask("GET", "/healthz?" + "x" * 2000).code == "target_too_long"
    assert live.ask("GET", "/healthz", *[(b"x", b"y")] * 51).code == "headers_too_large"
    assert live.ask("GET", "/healthz", (b"x", b"y" * 17_000)).status == 431


@pytest.mark.parametrize("version", ["2", "3"])
def test_only_http_1_is_answered(live: Agent, version: str) -> None:
    assert live.ask("GET", "/v1/status", bearer(live.token), http_version=version).status == 505


def test_a_websocket_is_closed(live: Agent) -> None:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def scenario() -> None:
        await live.app({"type": "websocket", "path": "/v1/pull", "headers": []}, receive, send)

    asyncio.run(scenario())
    assert [message["type"] for message in sent] == ["websocket.close"]


def test_a_long_body_is_413_by_its_length_without_a_look_at_it(live: Agent) -> None:
    answer = live.post(b"x" * 4097, (b"content-length", b"4097"))
    assert (answer.status, answer.code, answer.pieces_read) == (413, "too_large", 0)


def test_a_body_that_is_longer_than_announced_is_413_once_it_is_too_long(live: Agent) -> None:
    pieces = [b" " * 1000] * 50
    answer = live.ask("POST", "/v1/pull", bearer(live.token), JSON, (b"content-length", b"9"), pieces=pieces)
    assert (answer.status, answer.code, answer.pieces_read) == (413, "too_large", 5)


@pytest.mark.parametrize("value", [b"", b"-1", b"1e3", b"0x10", "٣".encode(), b"1, 1"])
def test_a_content_length_that_is_no_number_is_400(live: Agent, value: bytes) -> None:
    assert live.post(b"{}", (b"content-length", value)).status == 400


def test_the_largest_body_is_read(live: Agent) -> None:
    assert live.post(b"{}".ljust(4096), (b"content-length", b"4096")).status == 200


def test_a_body_that_does_not_come_is_408(live: Agent) -> None:
    live.body_seconds = 0.05
    answer = live.post(b"{", unfinished=True)
    assert (answer.status, answer.code) == (408, "too_slow")


def test_a_client_that_hangs_up_within_its_body_leaves_no_trace(live: Agent) -> None:
    assert live.post(b"{", unfinished=True, leave_after=0.01).status == 400


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"content-type", b"")],
        [(b"content-type", b"text/plain")],
        [(b"content-type", b"application/x-www-form-urlencoded")],
        [(b"content-type", b"application/json-seq")],
        [JSON, JSON],
    ],
)
def test_a_body_of_another_type_is_415(live: Agent, headers: Sequence[Header]) -> None:
    answer = live.ask("POST", "/v1/pull", bearer(live.token), *headers, pieces=[b"{}"])
    assert (answer.status, answer.code) == (415, "content_type")


@pytest.mark.parametrize("value", [b"application/json", b"Application/JSON; charset=utf-8"])
def test_json_is_recognised_with_parameters(live: Agent, value: bytes) -> None:
    answer = live.ask("POST", "/v1/pull", bearer(live.token), (b"content-type", value), pieces=[b"{}"])
    assert answer.status == 200


def test_an_empty_body_needs_no_type_and_asks_for_the_defaults(live: Agent) -> None:
    answer = live.ask("POST", "/v1/pull", bearer(live.token))
    assert (answer.status, answer.json["generation"]) == (200, 1)


@pytest.mark.parametrize("value", [b"gzip", b"br", b"deflate, gzip"])
def test_a_content_encoding_is_415(live: Agent, value: bytes) -> None:
    answer = live.post(b"{}", (b"content-encoding", value))
    assert (answer.status, answer.code) == (415, "content_encoding")


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b"null",
        b"\xff",
        b"1",
        b'{"wait_seconds": NaN}',
        b'{"a": 1, "a": 2}',
        b"[" * 2000,
        b'{"a":' * 9 + b"1" + b"}" * 9,
    ],
)
def test_a_body_that_is_no_plain_json_object_is_400(live: Agent, body: bytes) -> None:
    pulls = live.delivery.pulls
    answer = live.post(body)
    assert (answer.status, answer.code) == (400, "malformed")
    assert live.delivery.pulls == pulls


@pytest.mark.parametrize(
    "body",
    [
        {"url": "https://evil.example/"},
        {"bucket": "b"},
        {"path": "/etc"},
        {"version": "v1"},
        {"expect_generation": "1"},
        {"expect_generation": 0},
        {"expect_generation": True},
        {"expect_generation": 1.0},
        {"wait_seconds": -1},
        {"wait_seconds": "9"},
        {"wait_seconds": True},
    ],
)
def test_an_unknown_field_or_a_wrong_type_is_422(live: Agent, body: dict[str, object]) -> None:
    pulls = live.delivery.pulls
    answer = live.post(body)
    assert (answer.status, answer.code) == (422, "invalid_field")
    assert live.delivery.pulls == pulls


# Pulling


def test_a_pull_answers_with_its_reply(live: Agent) -> None:
    live.delivery.head = 2
    answer = live.post({"expect_generation": 2})
    assert answer.status == 200
    reply = PullReply.from_bytes(answer.body)
    assert (reply.generation, reply.version, reply.previous, reply.changed) == (2, "v2", "v1", True)


def test_a_newer_generation_than_expected_is_success(live: Agent) -> None:
    live.delivery.head = 7
    answer = live.post({"expect_generation": 3})
    assert (answer.status, answer.json["generation"]) == (200, 7)


def test_it_pulls_even_when_the_expected_generation_is_served_already(live: Agent) -> None:
    pulls = live.delivery.pulls
    assert live.post({"expect_generation": 1}).status == 200
    assert live.delivery.pulls == pulls + 1


def test_it_pulls_again_until_the_expected_generation_can_be_seen(live: Agent) -> None:
    async def scenario() -> Answer:
        asked = asyncio.ensure_future(post(live.app, live.token, {"expect_generation": 2, "wait_seconds": 10}))
        await asyncio.to_thread(live.delivery.wait_until_begun, 3)
        live.delivery.head = 2
        return await asked

    answer = run(scenario())
    assert (answer.status, answer.json["generation"]) == (200, 2)


async def post(app: ASGIApp, token: str, body: dict[str, object], **details: Any) -> Answer:  # noqa: ANN401
    return await ask(app, "POST", "/v1/pull", [bearer(token), JSON], [json.dumps(body).encode()], **details)


def test_when_the_wait_is_over_and_an_older_generation_is_served_it_is_202(live: Agent) -> None:
    before = time.monotonic()
    answer = live.post({"expect_generation": 9, "wait_seconds": 0.5})
    assert 0.4 < time.monotonic() - before < 3
    assert answer.status == 202
    assert answer.json == {"state": "under_way", "job": answer.json["job"], "generation": 1}


def test_when_the_wait_is_over_during_a_pull_it_is_202_and_the_job_goes_on(agent: Agent) -> None:
    agent.delivery.may_end.clear()
    agent.service.start()
    answer = agent.post({"wait_seconds": 0.1})
    assert (answer.status, answer.json["state"], answer.json["generation"]) == (202, "under_way", None)
    job = agent.service.request()
    assert job.id == agent.post({"wait_seconds": 0}).json["job"], "requests share the job"
    agent.delivery.may_end.set()
    assert job.done.result(timeout=10).generation == 1


def test_requests_at_the_same_time_share_one_pull(agent: Agent) -> None:
    agent.delivery.may_end.clear()
    agent.service.start()
    agent.delivery.wait_until_begun()
    agent.delivery.head = 2

    async def scenario() -> list[Answer]:
        app = agent.app
        asked = [asyncio.ensure_future(post(app, agent.token, {"expect_generation": 2})) for _ in range(20)]
        await asyncio.sleep(0.1)
        agent.delivery.may_end.set()
        return await asyncio.gather(*asked)

    answers = asyncio.run(asyncio.wait_for(scenario(), 15))
    assert {(answer.status, answer.json["generation"]) for answer in answers} == {(200, 2)}
    assert agent.delivery.pulls == 2


def test_a_client_that_hangs_up_stops_nobody_elses_pull(agent: Agent) -> None:
    agent.delivery.may_end.clear()
    agent.service.start()

    async def scenario() -> Answer:
        app = agent.app
        staying = asyncio.ensure_future(post(app, agent.token, {}))
        await post(app, agent.token, {"wait_seconds": 60}, leave_after=0.05)
        agent.delivery.may_end.set()
        return await staying

    assert run(scenario()).status == 200


@pytest.mark.parametrize(
    ("failure", "status"),
    [
        (Untrusted("the channel went back", code="went_back"), 422),
        (Corrupt("a digest differs", code="wrong_digest"), 422),
        (DeliveryFailed("no route to the store"), 503),
        (Forbidden("not allowed"), 503),
        (MachineFault("the disk is full"), 503),
        (Usage("no such bundle"), 404),
        (Conflict("somebody else was first"), 409),
        (DagferryError("unheard of"), 500),
    ],
)
def test_a_failed_pull_says_how_it_failed(live: Agent, failure: DagferryError, status: int) -> None:
    live.delivery.failure = failure
    answer = live.post({"wait_seconds": 5})
    assert (answer.status, answer.json) == (status, {"error": failure.to_dict()})
    assert ("retry-after" in answer.headers) is (status == 503)


def test_a_channel_without_a_record_is_404(live: Agent) -> None:
    live.delivery.head = None
    answer = live.post({})
    assert (answer.status, answer.code) == (404, "unknown")


def test_a_bug_is_500_and_says_nothing_about_itself(live: Agent) -> None:
    live.delivery.failure = ZeroDivisionError("at this very place")
    answers: list[Answer] = []

    async def reraised(scope: Scope, receive: Receive, send: Send) -> None:
        # Starlette raises it again for the server's log; hypercorn is where it ends.
        with pytest.raises(ZeroDivisionError):
            await live.app(scope, receive, send)

    answers.append(run(post(reraised, live.token, {})))
    assert (answers[0].status, answers[0].code) == (500, "bug")
    assert b"very place" not in answers[0].body


def test_control_characters_in_a_message_are_shown_escaped(live: Agent) -> None:
    live.delivery.failure = Untrusted("signed by \x1b[31mme\r\nX-Forged: \ud800")
    assert live.post({}).json["error"]["message"] == r"signed by \x1b[31mme\r\nX-Forged: \ud800"


@pytest.mark.parametrize("body", [{}, {"expect_generation": 99, "wait_seconds": 60}])
def test_a_waiting_request_ends_with_503_when_the_agent_drains(agent: Agent, body: dict[str, object]) -> None:
    agent.delivery.may_end.clear()
    agent.service.start()
    app = agent.app

    async def scenario() -> Answer:
        asked = asyncio.ensure_future(post(app, agent.token, body))
        await asyncio.sleep(0.1)
        agent.draining.set()
        return await asyncio.wait_for(asked, 2)

    answer = run(scenario())
    assert (answer.status, answer.code) == (503, "draining")
    assert answer.headers["retry-after"]


# Status and probes


def test_status_is_what_the_delivery_says(live: Agent) -> None:
    answer = live.ask("GET", "/v1/status", bearer(live.token))
    found, said = AgentStatus.from_bytes(answer.body), live.delivery.status()
    assert said.drift == ("dags/odd-\udcff.py",), "a name that is no UTF-8"
    assert found == replace(said, drift=("dags/odd-?.py",), tells_airflow=False)


def test_health_needs_nothing(agent: Agent) -> None:
    answer = agent.ask("GET", "/healthz")
    assert (answer.status, answer.json) == (200, {"ok": True})


def test_ready_is_503_before_and_200_after_the_first_release_is_live(agent: Agent) -> None:
    app = agent.app
    before = run(ask(app, "GET", "/readyz"))
    agent.service.start()
    wait_for_pulls(agent.service)
    after = run(ask(app, "GET", "/readyz"))
    assert before.status == 503
    assert 0 <= before.json["unheard_seconds"] < 10
    assert before.json == {
        "ready": False,
        "unheard_seconds": before.json["unheard_seconds"],
        "verified": None,
        "version": None,
        "generation": None,
        "last_check": None,
        "last_error": None,
        "stale_seconds": None,
    }
    assert after.status == 200
    assert (after.json["ready"], after.json["version"], after.json["generation"]) == (True, "v1", 1)
    assert after.json["verified"] is False, "the fake has drift: it is ready, and not what it must be"
    assert 0 <= after.json["stale_seconds"] <= after.json["unheard_seconds"] < 10


def test_ready_stays_with_a_failing_store_and_names_the_error_by_its_code_only(live: Agent) -> None:
    live.delivery.failure = DeliveryFailed("cannot reach s3.internal.example as AKIA123")
    assert live.post({}).status == 503
    answer = live.ask("GET", "/readyz")
    assert (answer.status, answer.json["last_error"]) == (200, {"code": "unreachable"})
    assert b"internal" not in answer.body


def test_probes_cost_one_look_at_the_disk_a_second_at_the_most(live: Agent) -> None:
    app, before = live.app, live.delivery.looks

    async def scenario() -> list[Answer]:
        return await asyncio.gather(*(ask(app, "GET", "/readyz") for _ in range(50)))

    answers = asyncio.run(scenario())
    assert {answer.status for answer in answers} == {200}
    assert live.delivery.looks - before <= 3


# The checks above bite: each finds the bug that is planted here


def check_auth_comes_before_the_body(app: ASGIApp) -> None:
    answer = run(ask(app, "POST", "/v1/pull", [], [b"x" * 1000] * 10, unfinished=True, leave_after=0.01))
    assert (answer.status, answer.pieces_read) == (401, 0)


def check_fails_closed(app: ASGIApp, token: str) -> None:
    answer = run(ask(app, "GET", "/v1/status", [bearer(token)]))
    assert (answer.status, answer.code) == (503, "no_tokens")


def check_compares_the_token(app: ASGIApp) -> None:
    assert run(ask(app, "GET", "/v1/status", [bearer("dft_wrong")])).status == 401


@dataclass
class BodyFirst:
    """PLANTED: the body is read before anybody asks who sent it."""

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        while (message := await receive())["type"] == "http.request" and message["more_body"]:
            pass
        await self.app(scope, receive, send)


@dataclass
class FailOpen:
    """PLANTED: a tokens file that cannot be used lets everybody in who has any token."""

    file: TokensFile
    presented: str

    def entries(self) -> tuple[Entry, ...]:
        try:
            return self.file.entries()
        except NoTokens:
            return (Entry("anybody", digest_of(self.presented.encode()), ("pull", "status")),)


@pytest.mark.planted
def test_planted_bug_body_before_authentication_is_found(live: Agent) -> None:
    check_auth_comes_before_the_body(live.app)
    with pytest.raises(AssertionError):
        check_auth_comes_before_the_body(BodyFirst(live.app))


@pytest.mark.planted
def test_planted_bug_tokens_that_fail_open_are_found(live: Agent) -> None:
    live.tokens_file.unlink()
    check_fails_closed(live.app, live.token)
    live.tokens = FailOpen(TokensFile(live.tokens_file), live.token)
    with pytest.raises(AssertionError):
        check_fails_closed(live.app, live.token)


@pytest.mark.planted
def test_planted_bug_any_token_is_good_is_found(live: Agent) -> None:
    check_compares_the_token(live.app)
    live.tokens = FailOpen(TokensFile(None), "dft_wrong")
    with pytest.raises(AssertionError):
        check_compares_the_token(live.app)
