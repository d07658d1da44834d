"""Every attack on the application has its one right answer, and nothing else happens; sent to a real agent."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.e2e.harness import run

from . import rows
from .rows import ROWS, Row, bearer, check, post, request
from .wire import new_source
from .world import Source, World, named, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

STATUS = request("GET", "/v1/status", bearer())
WRONG = request("GET", "/v1/status", bearer("wrong"))


@pytest.fixture(scope="module")
def world(source: Source) -> Iterator[World]:
    with running(source, "application", named()) as world:
        yield world
        log = world.agent.log
        assert "Traceback" not in log
        assert not [name for name, token in world.tokens.items() if token in log and name != "digest"]
        assert "Authorization" not in log
        assert "\x1b" not in log
        for line in log.splitlines():
            assert set(json.loads(line)) >= {"time", "level", "message"}, line


@pytest.mark.parametrize("row", ROWS, ids=[row.id for row in ROWS])
def test_row(world: World, row: Row) -> None:
    check(row, world)


def test_every_row_has_a_name_of_its_own() -> None:
    assert len({row.id for row in ROWS}) == len({row.attack for row in ROWS}) == len(ROWS)


def test_an_error_in_a_message_is_shown_escaped(world: World) -> None:
    (row,) = (row for row in ROWS if row.id == "control-characters")
    message = world.ask(row.request).json["error"]["message"]
    assert r"\x1b[31m\r\nERROR" in message


def test_a_source_that_fails_too_often_is_told_to_wait_and_a_valid_token_from_there_is_heard(world: World) -> None:
    source = new_source()
    statuses = [world.ask(WRONG, source).status for _ in range(40)]
    assert statuses == [401] * 30 + [429] * 10
    refused = world.ask(WRONG, source)
    assert (refused.code, refused.closed) == ("too_many", True)
    assert 1 <= int(refused.headers["retry-after"]) <= 2
    assert "www-authenticate" not in refused.headers
    assert world.ask(STATUS, source).status == 200
    assert world.ask(WRONG).status == 401, "somebody else is told what is wrong"
    assert world.agent.log.count("many requests without a valid token from") == 1


def test_a_token_that_asks_for_too_many_pulls_is_told_to_wait_and_others_are_heard(world: World) -> None:
    hasty = post(b'{"wait_seconds": 0}', token="hasty")
    statuses = [world.ask(hasty).status for _ in range(121)]
    assert set(statuses[:120]) <= {200, 202}
    refused = world.ask(hasty)
    assert (statuses[-1], refused.status, refused.code) in {(429, 429, "too_many"), (202, 429, "too_many")}
    assert int(refused.headers["retry-after"]) >= 1
    assert world.ask(post(b"{}")).status == 200


def test_a_token_that_was_removed_is_refused_and_the_others_are_not(world: World) -> None:
    entries = json.loads(world.tokens_file.read_text())
    assert world.ask(request("GET", "/v1/status", bearer("status"))).status == 200
    replace(world, [entry for entry in entries if entry["id"] != "status"])
    assert world.ask(request("GET", "/v1/status", bearer("status"))).status == 401
    assert world.ask(STATUS).status == 200
    replace(world, entries)


@pytest.mark.parametrize("content", [None, b"", b"[]", b"[{]", "short", "twins"], ids=str)
def test_without_a_usable_tokens_file_nobody_is_let_in(world: World, content: bytes | str | None) -> None:
    good = world.tokens_file.read_bytes()
    before = world.pulls()
    entries = json.loads(good)
    if content is None:
        world.tokens_file.unlink()
    elif content == "short":
        replace(world, [{**entries[0], "sha256": "sha256:00"}])
    elif content == "twins":
        replace(world, [entries[0], entries[0]])
    else:
        assert isinstance(content, bytes)
        world.tokens_file.write_bytes(content)
    try:
        for data in (STATUS, WRONG, post(b"{}"), request("GET", "/v1/nothing"), rows.announced(b"9", bearer())):
            reply = world.ask(data)
            assert (reply.status, reply.code, reply.closed) == (503, "no_tokens", True)
            assert reply.headers["retry-after"]
        assert world.ask(request("GET", "/readyz")).status == 200
        assert world.pulls() == before
    finally:
        world.tokens_file.write_bytes(good)
    assert world.ask(STATUS).status == 200


def replace(world: World, entries: object) -> None:
    new = world.tokens_file.with_suffix(".new")
    new.write_text(json.dumps(entries))
    new.replace(world.tokens_file)


def test_a_store_that_is_away_is_503_and_says_when_to_ask_again(world: World) -> None:
    away = world.source.store.with_name("away")
    world.source.store.rename(away)
    try:
        reply = world.ask(post(b"{}"))
    finally:
        away.rename(world.source.store)
    assert (reply.status, reply.headers["retry-after"]) == (503, "5")
    assert world.ask(post(b"{}")).status == 200


@pytest.mark.parametrize("spoiled", [b"", b"{}", b'{"payload": "AA=="', b"\x00" * 5000])
def test_a_record_that_is_no_record_is_422_and_the_release_stays(world: World, spoiled: bytes) -> None:
    (head,) = world.source.store.glob("**/head.json")
    good = head.read_bytes()
    live = world.agent.pod.current.readlink()
    head.write_bytes(spoiled)
    try:
        reply = world.ask(post(b"{}"))
        assert (reply.status, reply.closed) == (422, True)
        assert reply.code
    finally:
        head.write_bytes(good)
    assert world.agent.pod.current.readlink() == live
    assert world.ask(post(b"{}")).status == 200


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--allowed-host=http://a",), "is no host name"),
        (("--allowed-host=a:8470",), "is no host name"),
        (("--allowed-host=",), "is no host name"),
        (("--pulls-per-minute=0",), "pulls-per-minute"),
        (("--tls-cert=a.pem",), "--tls-cert is given without --tls-key"),
        (("--tls-key=a.pem",), "--tls-key is given without --tls-cert"),
        (("--tls-cert=a.pem", "--tls-key=b.pem"), "cannot be read: No such file"),
    ],
)
def test_options_that_make_no_sense_end_it_with_2(
    source: Source, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    pod = source.pod("never")
    done = run("dagferry-agent", "serve", *pod.options, *arguments, cwd=tmp_path, expect=2)
    assert message in done.error["message"]
    assert not pod.root.exists()
