"""Planted bugs in the agent: the rows find each of them. Each is an edit in a copy of the source that an agent runs."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pytest

from tests.e2e.harness import CHECKOUT

from . import parsed, rows
from .floods import FLOODS, survives
from .rows import bearer, post, request
from .wire import new_source
from .world import Source, World, named, running

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.planted
COMPONENTS: Final = ("schemas", "storage", "agent")
ADMISSION, APP, GATE = (f"agent/dagferry_agent/{name}.py" for name in ("admission", "app", "gate"))
TOKENS, REPLIES, DOOR = (f"agent/dagferry_agent/{name}.py" for name in ("tokens", "replies", "door"))
PULL_SCOPE: Final = 'self._check_scope(request, "pull")'


@dataclass(frozen=True)
class Planted:
    """A bug: an edit, and the row that has to find it."""

    row: str
    file: str
    old: str
    new: str


BUGS: Final = {
    "the scope is not checked": Planted("pull-by-status", APP, PULL_SCOPE, "pass"),
    "a scope counts for every channel": Planted(
        "other-channel",
        TOKENS,
        'f"{action}:{bundle}/{channel}"}',
        'f"{action}:{bundle}/{channel}", *(one for one in entry.scopes if one.startswith(action))}',
    ),
    "a token is compared by its beginning": Planted(
        "token-and-more", ADMISSION, "entries, bearer[1], now)", "entries, bearer[1][:47], now)"
    ),
    "the first of two Authorization headers is taken": Planted(
        "two-authorizations", ADMISSION, "if len(presented) == 1 else None", "if presented else None"
    ),
    "a token does not expire": Planted(
        "expired", TOKENS, "    return started and not ended", "    return started and not (ended and False)"
    ),
    "the body is read before the token": Planted(
        "large-body",
        GATE,
        "            try:\n                self._check(scope)",
        (
            "            try:\n                while (await receive()).get('more_body'):\n                    pass\n"
            "                self._check(scope)"
        ),
    ),
    "only pulls need a token": Planted(
        "unknown-path", ADMISSION, 'return path == "/v1" or path.startswith("/v1/")', 'return path == "/v1/pull"'
    ),
    "failures have no rate": Planted(
        "failures", ADMISSION, "    wait = failures.take(source)\n", "    wait = 0.0\n"
    ),
    "pulls have no rate": Planted("pulls", ADMISSION, "    wait = pulls.take(entry.id)\n", "    wait = 0.0\n"),
    "a source that failed is not heard with a valid token either": Planted(
        "heard",
        GATE,
        "            try:\n                entry = ",
        "            self._count_failure(scope)\n            try:\n                entry = ",
    ),
    "an announced length has no limit": Planted(
        "over-4-kib", ADMISSION, "        if int(length) > MAX_REQUEST:", "        if int(length) > 10**30:"
    ),
    "chunks are taken": Planted(
        "length-and-chunked", ADMISSION, '    if _values(headers, b"transfer-encoding"):', "    if not headers:"
    ),
    "a Host is looked for anywhere in the header": Planted(
        "longer-host",
        ADMISSION,
        "host_name(hosts[0]) not in allowed_hosts",
        "not any(one in host_name(hosts[0]) for one in allowed_hosts)",
    ),
    "web pages are answered": Planted("origin", ADMISSION, 'if _values(headers, b"origin"):', "if not headers:"),
    "the connection stays open": Planted("wrong-token", REPLIES, '"Connection": "close", ', ""),
    "unknown fields are ignored": Planted(
        "url", "schemas/dagferry_schemas/endpoint.py", "            fields.refuse_rest()\n", ""
    ),
    "a refused request pulls all the same": Planted("url", APP, PULL_SCOPE, PULL_SCOPE + "; self._service.request()"),
    "every connection is let in": Planted("half-open", DOOR, "MOST: Final = 128", "MOST: Final = 10**6"),
    "the newest connection is shut": Planted("half-open", DOOR, "in self._inside if", "in reversed(self._inside) if"),
}  # fmt: skip
WRONG: Final = request("GET", "/v1/status", bearer("wrong"))


def failures(world: World) -> None:
    source = new_source()
    assert [world.ask(WRONG, source).status for _ in range(31)][-1] == 429


def heard(world: World) -> None:
    source = new_source()
    for _ in range(31):
        world.ask(WRONG, source)
    assert world.ask(request("GET", "/v1/status", bearer()), source).status == 200


def pulls(world: World) -> None:
    sent = post(b'{"wait_seconds": 0}', token="hasty")
    assert 429 in {world.ask(sent).status for _ in range(130)}


def flooded(world: World, number: int) -> None:
    with survives(world):
        FLOODS[number].run(world)


CHECKS: Final[dict[str, Callable[[World], None]]] = {
    **{row.id: lambda world, row=row: rows.check(row, world) for row in rows.ROWS},  # type: ignore[misc]
    **{row.id: lambda world, row=row: parsed.check(row, world) for row in parsed.PARSED},  # type: ignore[misc]
    **{one.id: lambda world, number=number: flooded(world, number) for number, one in enumerate(FLOODS)},  # type: ignore[misc]
    "failures": failures,
    "heard": heard,
    "pulls": pulls,
}


def command(folder: Path) -> list[str]:
    """How to run the agent of a copy of the source, which comes before what is installed."""
    roots = [str(folder / one) for one in COMPONENTS]
    return [sys.executable, "-c", f"import sys; sys.path[:0] = {roots}; from dagferry_agent.cli import main; main()"]


def plant(bug: Planted, folder: Path) -> None:
    for one in COMPONENTS:
        shutil.copytree(
            CHECKOUT / one, folder / one, ignore=shutil.ignore_patterns("__pycache__", "build", "*.egg-info")
        )
    text = (folder / bug.file).read_text()
    assert text.count(bug.old) == 1, f"{bug.file} has no longer {bug.old!r}"
    (folder / bug.file).write_text(text.replace(bug.old, bug.new))


@pytest.mark.parametrize("bug", BUGS.values(), ids=BUGS)
def test_a_row_finds_a_planted_bug(bug: Planted, source: Source, tmp_path: Path) -> None:
    plant(bug, tmp_path / "source")
    polling = 0.5 if bug.row in {one.id for one in FLOODS} else 0
    with (
        running(source, tmp_path.name, named(), poll_seconds=polling, command=command(tmp_path / "source")) as world,
        pytest.raises((AssertionError, TimeoutError)),
    ):
        CHECKS[bug.row](world)


def test_without_a_bug_the_same_rows_find_nothing(source: Source, tmp_path: Path) -> None:
    with running(source, tmp_path.name, named(), poll_seconds=0) as world:
        for row in sorted({bug.row for bug in BUGS.values()} - {one.id for one in FLOODS}):
            CHECKS[row](world)
