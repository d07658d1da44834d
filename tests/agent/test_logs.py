"""The agent's log, in both formats: what collectors find in it, and what nobody can smuggle into it."""

from __future__ import annotations

import io
import json
import logging
import os
import pty
import random
import re
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from dagferry_agent import logs
from dagferry_agent.service import PullService
from dagferry_schemas.errors import DeliveryFailed

from .fake import FakeDelivery, wait_for_pulls
from .test_cli import START, agent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Lines = Callable[[], list[str]]

ORIGIN = logs.Origin("pod-1", "etl", "prod")
EVIL = 'v1\r\n2026-11-05T12:00:00Z INFO forged\n{"level": "info", "message": "forged"}\x1b[2J\x9b1m\x7f\u2028\udcff"'
CONTROLS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
NO_STRUCTLOG = "import sys; sys.modules['structlog'] = None\n"


def written(formatter: logging.Formatter) -> Iterator[Lines]:
    """Gives what loggers of the agent wrote so far, as lines."""
    stream = io.StringIO()
    out = logging.StreamHandler(stream)
    out.setFormatter(formatter)
    logger = logging.getLogger("dagferry_agent")
    before = logger.level
    logger.addHandler(out)
    logger.setLevel(logging.INFO)
    yield lambda: stream.getvalue().split("\n")[:-1]
    logger.removeHandler(out)
    logger.setLevel(before)


@pytest.fixture
def in_json() -> Iterator[Lines]:
    yield from written(logs.json_lines(ORIGIN))


@pytest.fixture
def in_text() -> Iterator[Lines]:
    yield from written(logs.TextLines())


def pulled(failure: Exception | None = None) -> None:
    """One pull of a real service; the first succeeds and switches, or fails."""
    delivery = FakeDelivery()
    delivery.failure = failure
    service = PullService(delivery, clock=time.monotonic, rng=random.Random(7))
    service.start()
    delivery.wait_until_begun()
    wait_for_pulls(service)
    assert service.stop(10)


def first(lines: Lines) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(lines()[0])
    return found


# JSON


def test_a_line_says_when_how_bad_what_and_which_agent(in_json: Lines) -> None:
    logging.getLogger("dagferry_agent.tokens").warning("the file %s", "is gone")
    record = first(in_json)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", record.pop("time"))
    assert record == {
        "level": "warning",
        "message": "the file is gone",
        "logger": "dagferry_agent.tokens",
        "agent_id": "pod-1",
        "bundle": "etl",
        "channel": "prod",
    }


def test_the_facts_of_a_pull_are_fields(in_json: Lines) -> None:
    pulled()
    record = first(in_json)
    assert record["message"].startswith("pull: now serving v1, generation 1 (was nothing)")
    facts = ("version", "generation", "previous", "changed", "seconds", "files_written", "files_linked")
    assert [record[name] for name in facts] == ["v1", 1, None, True, 0.5, 1, 2]
    assert (record["bytes_fetched"], record["requests"]) == (3, 4)


def test_a_failure_has_its_code(in_json: Lines) -> None:
    pulled(DeliveryFailed("no route to the store"))
    record = first(in_json)
    assert (record["level"], record["code"]) == ("warning", "unreachable")
    assert record["message"] == "pull failed: unreachable: no route to the store"


def test_a_bug_has_its_traceback_in_one_field(in_json: Lines) -> None:
    pulled(ZeroDivisionError(EVIL))
    record = first(in_json)
    assert (record["level"], record["code"]) == ("error", "bug")
    assert record["exception"].startswith("Traceback (most recent call last):\n")
    assert "ZeroDivisionError: v1" in record["exception"]
    assert not CONTROLS.search(record["exception"])


def test_facts_cannot_take_the_place_of_the_fields_of_every_line(in_json: Lines) -> None:
    facts = {"level": "info", "agent_id": "pod-2", "channel": "staging", "message": "forged", "version": "v1"}
    logging.getLogger("dagferry_agent.x").error("said", extra={"facts": facts})
    record = first(in_json)
    assert [record[name] for name in facts] == ["error", "pod-1", "prod", "said", "v1"]


@pytest.mark.parametrize("place", ["message", "argument", "fact", "traceback"])
def test_what_is_quoted_stays_in_its_json_line(in_json: Lines, place: str) -> None:
    quote(place)
    (line,) = in_json()
    assert line.isascii()
    assert not CONTROLS.search(line)
    record = json.loads(line)
    assert record["level"] == "error"
    assert not any(CONTROLS.search(value) for value in record.values() if isinstance(value, str))


def quote(place: str) -> None:
    """Log one error that quotes `EVIL` in this place."""
    log = logging.getLogger("dagferry_agent.x")
    if place == "message":
        log.error(EVIL)
    elif place == "argument":
        log.error("found %s", EVIL)
    elif place == "fact":
        log.error("found", extra={"facts": {"version": EVIL}})
    else:
        try:
            raise ValueError(EVIL)
        except ValueError:
            log.exception("a bug")


# Text


@pytest.mark.parametrize("place", ["message", "argument", "fact", "traceback"])
def test_what_is_quoted_forges_no_line_of_text(in_text: Lines, place: str) -> None:
    quote(place)
    head, *below = in_text()
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ ERROR ", head)
    assert all(line.startswith("  ") for line in below), "a traceback's lines are indented"
    assert bool(below) is (place == "traceback")
    assert not any(CONTROLS.search(line) for line in (head, *below))


# The commands


@pytest.fixture
def options(tmp_path: Path) -> list[str]:
    """Those of an agent without a keyring: it logs a warning about that, in one line."""
    root = tmp_path / "root"
    return [f"--store={tmp_path / 'store'}", "--bundle=etl", "--channel=prod", f"--root={root}", "--agent-id=pod-1"]


def served(*options: str, terminal: bool = False) -> str:
    """All that a real serve wrote to stderr until it listened."""
    reader, writer = pty.openpty() if terminal else os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-c", START, "serve", *options, "--listen=127.0.0.1:0", "--poll-seconds=0"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stderr=writer,
    )
    os.close(writer)
    too_long = threading.Timer(30, process.kill)
    too_long.start()
    text = b""
    try:
        while b"listening on" not in text:
            piece = os.read(reader, 65536)
            assert piece, text
            text += piece
    finally:
        too_long.cancel()
        process.terminate()
        process.wait(15)
        os.close(reader)
    return text.decode()


def line_of(err: str) -> str:
    (line,) = (line for line in err.splitlines() if "no --keyring" in line)
    return line


def check_text(line: str) -> None:
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ WARNING no --keyring", line)


def check_json(line: str) -> None:
    record = json.loads(line)
    assert (record["level"], record["logger"]) == ("warning", "dagferry_agent.delivery")
    assert (record["agent_id"], record["bundle"], record["channel"]) == ("pod-1", "etl", "prod")


def test_serve_logs_json_where_no_terminal_is(options: list[str]) -> None:
    check_json(line_of(served(*options)))


def test_serve_logs_text_on_a_terminal(options: list[str]) -> None:
    check_text(line_of(served(*options, terminal=True)))


def test_serve_logs_what_it_is_told_to(options: list[str]) -> None:
    check_text(line_of(served(*options, "--log-format=text")))
    check_json(line_of(served(*options, "--log-format=json", terminal=True)))


def test_a_pull_logs_text_unless_it_is_told_otherwise(options: list[str]) -> None:
    check_text(line_of(agent("pull", *options).err))
    check_json(line_of(agent("pull", *options, "--log-format=json").err))
    check_json(line_of(agent("pull", *options, log_format="json").err))


@pytest.mark.parametrize("command", ["pull", "serve", "status"])
def test_json_without_its_package_is_2_and_says_what_to_install(options: list[str], command: str) -> None:
    ended = agent(command, *options, "--log-format=json", "-o", "json", first=NO_STRUCTLOG)
    assert ended.code == 2
    assert "structlog" in ended.document["error"]["message"]
    assert "dagferry[agent]" in ended.document["error"]["hint"]


def test_an_unknown_format_is_2(options: list[str]) -> None:
    ended = agent("status", *options, "--log-format=yaml", "-o", "json")
    assert (ended.code, ended.document["error"]["code"]) == (2, "usage")
