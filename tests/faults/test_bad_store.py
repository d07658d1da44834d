"""A store that stalls, cuts, lies, vanishes or serves other bytes during a pull: the pull ends, and A stays live.

The store is a real S3 server behind a proxy, which does so to the tarball alone. That nothing hangs is said by the time
after which the process is given up.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import pytest

from tests.storage import servers
from tests.storage.faults import ALWAYS, Fault, Proxy

from .sweep import left_behind, recovered
from .world import files_of, make_world, scenarios

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .world import Program, Scenario

pytestmark = pytest.mark.faults

TARBALL: Final = "dags.tar.zst"
FAULTS: Final = {
    "it stalls within the body": (4, Fault(pause=40.0, piece=1000)),
    "it cuts the body and had announced all of it": (4, Fault(cut=100)),
    "it vanishes before the first byte": (4, Fault(lose=True)),
    "it is forbidden": (4, Fault(status=403)),
    "it has other bytes": (1, Fault(garble=True)),
    "it has fewer bytes": (1, Fault(status=200, body=b"short")),
    "it has more bytes": (1, Fault(status=200, body=b"x" * 3_000_000)),
    "it has none": (1, Fault(status=404, body=b"<Error><Code>NoSuchKey</Code></Error>")),
}
"""What befalls the tarball, and the exit code that the contract has for it."""


@pytest.fixture(scope="module")
def bad(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Proxy, dict[str, Scenario]]]:
    """A proxy to a store, and the pulls of B through it: by a delta, and whole."""
    with ExitStack() as stack:
        endpoint = stack.enter_context(servers.s3())
        port = urlsplit(endpoint).port
        assert port is not None
        proxy = stack.enter_context(Proxy(port))
        store = f"s3://{servers.BUCKET}/faults?endpoint="
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        for key, value in servers.CREDENTIALS.items():
            patch.setenv(key, value)
        pulls = scenarios(make_world(tmp_path_factory.mktemp("bad"), store + endpoint))
        yield proxy, {name: replace(pulls[name], store_url=store + proxy.url) for name in ("update", "whole")}


@pytest.mark.parametrize("name", FAULTS)
def test_a_bad_store_costs_nothing_but_the_pull(
    name: str, agent: Program, bad: tuple[Proxy, dict[str, Scenario]], tmp_path: Path
) -> None:
    proxy, pull = bad[0], bad[1]["whole"]
    expected, fault = FAULTS[name]
    root = tmp_path / "pod"
    pull.begin(root)
    proxy.fault = replace(fault, path=TARBALL, times=ALWAYS)
    try:
        [(code, document)] = agent.each(pull.arguments("pull", root))
    finally:
        proxy.fault = None
    assert code == expected, document
    assert document["error"]["message"], document
    assert document["error"]["hint"], document
    assert not left_behind(pull, root)
    assert files_of(root / "current") == pull.before
    assert not list((root / "staging").iterdir())
    assert not [word for word in recovered(agent, pull, root, ()) if not word.startswith("left")]


@pytest.mark.parametrize("name", [name for name in FAULTS if name != "it stalls within the body"])
def test_a_delta_that_a_bad_store_spoils_is_not_needed(
    name: str, agent: Program, bad: tuple[Proxy, dict[str, Scenario]], tmp_path: Path
) -> None:
    proxy, pull = bad[0], bad[1]["update"]
    root = tmp_path / "pod"
    pull.begin(root)
    proxy.fault = replace(FAULTS[name][1], path="/deltas/", times=ALWAYS)
    try:
        [(code, document)] = agent.each(pull.arguments("pull", root))
    finally:
        proxy.fault = None
    assert (code, document.get("changed")) == (0, True), document
    assert document["requests"] >= 4, "head, delta, list and tarball"
    assert files_of(root / "current") == pull.after
    assert not list((root / "staging").iterdir())
