"""What Prometheus is shown: read with Prometheus' own parser, after pulls over the real application and service."""

from __future__ import annotations

import asyncio
import random
import re
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from prometheus_client import REGISTRY
from prometheus_client.openmetrics import parser as openmetrics_parser
from prometheus_client.parser import text_string_to_metric_families

from dagferry_agent.app import create_app
from dagferry_agent.metrics import MAX_CODES, PREFIX, Meters
from dagferry_agent.probes import Look
from dagferry_agent.service import PullService
from dagferry_agent.tokens import TokensFile
from dagferry_schemas.errors import BadData, DagferryError, DeliveryFailed, Forbidden

from .asgi import Answer, ask
from .fake import BUNDLE, CHANNEL, TREE, FakeDelivery, wait_for_pulls

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from prometheus_client.core import Metric
    from starlette.types import ASGIApp

PAGE = Path(__file__).resolve().parents[2] / "docs/metrics.md"
PROMETHEUS_3 = (
    b"application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    b"application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
)
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@dataclass
class Agent:
    """An agent but for its server: the application, the service, and what both count."""

    delivery: FakeDelivery = field(default_factory=FakeDelivery)
    meters: Meters = field(default_factory=lambda: Meters(clock=lambda: 1_800_000_000.5))
    service: PullService = field(init=False)

    def __post_init__(self) -> None:
        self.service = PullService(
            self.delivery, clock=time.monotonic, rng=random.Random(7), observe=self.meters.observe
        )

    @property
    def app(self) -> ASGIApp:
        return create_app(
            service=self.service,
            delivery=self.delivery,
            meters=self.meters,
            tokens=TokensFile(None),
            now=lambda: "2026-11-05T12:00:00Z",
            clock=time.monotonic,
        )

    def scrape(self, accept: bytes = b"") -> Answer:
        answer = asyncio.run(ask(self.app, "GET", "/metrics", [(b"accept", accept)] if accept else []))
        assert answer.status == 200
        return answer

    def families(self) -> list[Metric]:
        return list(text_string_to_metric_families(self.scrape().body.decode()))

    def samples(self) -> Samples:
        return samples(self.families())


def samples(families: Iterable[Metric]) -> Samples:
    return {
        (one.name.removeprefix(f"{PREFIX}_"), tuple(sorted(one.labels.items()))): one.value
        for family in families
        for one in family.samples
    }


@pytest.fixture
def agent() -> Iterator[Agent]:
    agent = Agent()
    yield agent
    assert agent.service.stop(10)


def fail(agent: Agent, failure: Exception) -> None:
    agent.delivery.failure = failure
    wait_for_pulls(agent.service)
    agent.delivery.failure = None


# What is shown


def test_before_the_first_pull_there_is_nothing_live_and_nothing_counted(agent: Agent) -> None:
    found = agent.samples()
    for name in ("ready", "generation", "pinned", "releases", "drifted_files", "failed_pulls_in_a_row"):
        assert found[name, ()] == 0, name
    for name in ("last_check", "last_success", "activation"):
        assert found[f"{name}_timestamp_seconds", ()] == 0, name
    for changed in ("true", "false"):
        assert found["pull_duration_seconds_count", (("changed", changed),)] == 0
    assert info(found) == {"agent_id": "pod-1", "bundle": BUNDLE, "channel": CHANNEL, "version": "", "tree": ""}
    assert not any(name == "pull_failures_total" for name, _ in found)


def info(found: Samples) -> dict[str, str]:
    (labels,) = (labels for name, labels in found if name == "info")
    return dict(labels)


def test_pulls_are_counted_with_what_their_replies_say(agent: Agent) -> None:
    agent.service.start()
    wait_for_pulls(agent.service)  # the first one, which switches, and one that finds nothing new
    agent.delivery.head = 2
    wait_for_pulls(agent.service)
    pulls = agent.delivery.pulls
    found = agent.samples()
    assert found["switches_total", ()] == 2
    assert found["pull_duration_seconds_count", (("changed", "true"),)] == 2
    assert found["pull_duration_seconds_sum", (("changed", "true"),)] == 1.0
    assert found["pull_duration_seconds_count", (("changed", "false"),)] == pulls - 2
    amounts = [found[f"{name}_total", ()] for name in ("files_written", "files_linked", "fetched_bytes")]
    assert [*amounts, found["store_requests_total", ()]] == [pulls, 2 * pulls, 3 * pulls, 4 * pulls]
    assert found["last_success_timestamp_seconds", ()] == 1_800_000_000.5


def test_what_is_live_is_read_from_the_status(agent: Agent) -> None:
    agent.delivery.head = 7
    agent.service.start()
    wait_for_pulls(agent.service)
    found = agent.samples()
    assert (found["ready", ()], found["generation", ()], found["drifted_files", ()]) == (1, 7, 1)
    assert found["activation_timestamp_seconds", ()] == 1_793_491_200  # 2026-11-01T00:00:00Z
    assert found["last_check_timestamp_seconds", ()] == 1_793_577_600  # a day later
    assert info(found)["version"] == "v7"
    assert info(found)["tree"] == TREE


def test_a_pin_and_the_releases_on_disk_are_shown() -> None:
    status = replace(FakeDelivery().status(), pinned="v1", releases=({"tree": "a"}, {"tree": "b"}))
    body, _ = Meters().exposition(Look(0.0, True, status), "")
    found = samples(text_string_to_metric_families(body.decode()))
    assert (found["pinned", ()], found["releases", ()]) == (1, 2)


def test_failures_are_counted_by_their_code_and_in_a_row_until_one_succeeds(agent: Agent) -> None:
    agent.service.start()
    wait_for_pulls(agent.service)
    for failure in (DeliveryFailed("away"), DeliveryFailed("away"), Forbidden("no"), ZeroDivisionError("a bug")):
        fail(agent, failure)
    found = agent.samples()
    counted = {dict(labels)["code"]: value for (name, labels), value in found.items() if name == "pull_failures_total"}
    assert counted == {"unreachable": 2, "forbidden": 1, "bug": 1}
    assert found["failed_pulls_in_a_row", ()] == 4
    assert found["generation", ()] == 1, "what was live stays"
    wait_for_pulls(agent.service)
    found = agent.samples()
    assert found["failed_pulls_in_a_row", ()] == 0
    assert found["pull_failures_total", (("code", "unreachable"),)] == 2


def test_who_waited_for_a_pull_finds_it_counted(agent: Agent) -> None:
    agent.service.start()
    job = agent.service.request()
    job.done.result(timeout=10)
    assert agent.samples()["switches_total", ()] == 1


# Bounds


def test_a_thousand_odd_errors_are_few_series(agent: Agent) -> None:
    agent.service.start()
    for number in range(1000):
        letters = "".join(chr(ord("a") + int(digit)) for digit in f"{number:04}")
        agent.meters.failed(letters)
        agent.meters.failed(f'odd "{number}"\n# HELP forged /etc/passwd s3.internal.example')
        agent.meters.failed("x" * number)
    fail(agent, DagferryError("odd", code="/srv/store"))
    found = agent.samples()
    codes = {dict(labels)["code"]: value for (name, labels), value in found.items() if name == "pull_failures_total"}
    assert len(codes) == MAX_CODES + 1
    assert sum(codes.values()) == 3001
    assert codes["other"] >= 3001 - MAX_CODES * 2
    assert len(agent.scrape().body) < 64 * 1024


def test_neither_messages_nor_paths_nor_hosts_are_shown(agent: Agent) -> None:
    agent.service.start()
    fail(agent, DeliveryFailed("cannot reach s3.internal.example as AKIA123 for /srv/dags"))
    fail(agent, BadData("dags/secret.py is not what it was"))
    wait_for_pulls(agent.service)
    text = agent.scrape().body
    for secret in (b"internal", b"AKIA", b"srv", b"secret", b"odd-", b"nowhere"):
        assert secret not in text


def test_scrapes_cost_one_look_at_the_disk_a_second_at_the_most(agent: Agent) -> None:
    app = agent.app  # nothing is live, so that every look of /readyz would be a new one

    async def scenario() -> list[Answer]:
        return await asyncio.gather(*(ask(app, "GET", "/metrics") for _ in range(50)))

    began = time.monotonic()
    answers = asyncio.run(scenario())
    assert {answer.status for answer in answers} == {200}
    assert agent.delivery.looks <= 1 + (time.monotonic() - began)


def test_nothing_of_the_librarys_own_registry_is_shown_or_added_to(agent: Agent) -> None:
    assert not any(family.name.startswith(PREFIX) for family in REGISTRY.collect())
    names = {family.name for family in agent.families()}
    assert not any(name.startswith("python_") for name in names)


def test_two_agents_of_one_process_count_apart() -> None:
    first, second = Agent(), Agent()
    first.meters.failed("unreachable")
    assert second.samples()["failed_pulls_in_a_row", ()] == 0


# The form


@pytest.mark.parametrize("accept", [b"", b"*/*", b"text/plain; version=0.0.4", b"text/plain;version=1.0.0", b"\xff;;="])
def test_it_is_the_text_format_unless_openmetrics_is_asked_for(agent: Agent, accept: bytes) -> None:
    assert agent.scrape(accept).headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"


@pytest.mark.parametrize(
    "accept",
    [PROMETHEUS_3, b"application/openmetrics-text", b'application/openmetrics-text; version=x"\xff; escaping=evil'],
)
def test_openmetrics_is_given_to_who_asks_for_it(agent: Agent, accept: bytes) -> None:
    agent.service.start()
    wait_for_pulls(agent.service)
    fail(agent, DeliveryFailed("away"))
    answer = agent.scrape(accept)
    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0; charset=utf-8")
    assert "evil" not in answer.headers["content-type"]
    strict = list(openmetrics_parser.text_string_to_metric_families(answer.body.decode()))  # type: ignore[no-untyped-call]
    assert samples(strict)["pull_failures_total", (("code", "unreachable"),)] == 1
    assert answer.body.endswith(b"# EOF\n")


def test_every_metric_is_documented_and_keeps_to_the_rules_of_names(agent: Agent) -> None:
    agent.meters.failed("unreachable")
    families = agent.families()
    assert len({family.name for family in families}) == len(families)
    for family in families:
        assert family.documentation.endswith("."), family.name
        assert re.fullmatch(r"(dagferry_agent|process)_[a-z][a-z_]*", family.name), family.name
        assert not re.search(r"_(milliseconds|ms|minutes|kilobytes|kb|mb|count|sum)$", family.name), family.name
        assert not (family.type == "gauge" and family.name.endswith("_total")), family.name


def test_the_page_lists_every_metric_with_its_type_and_labels(agent: Agent) -> None:
    agent.meters.failed("unreachable")
    shown = {}
    for family in agent.families():
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = {label for one in family.samples for label in one.labels} - {"le"}
        shown[name] = (family.type, frozenset(labels))
    assert documented() == shown


def documented() -> dict[str, tuple[str, frozenset[str]]]:
    """Every metric in the page's table: its type and labels."""
    found = {}
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `") and len(cells) == 4:
            for name in re.findall(r"`([a-z_]+)`", cells[0]):
                found[name] = (cells[1], frozenset(re.findall(r"`([a-z_]+)`", cells[2])))
    return found


def test_the_alerts_to_paste_are_rules_about_metrics_that_exist() -> None:
    blocks = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)]
    (groups,) = (block["groups"] for block in blocks if "groups" in block)
    rules = [rule for group in groups for rule in group["rules"]]
    assert [rule["alert"] for rule in rules] == ["DagferryStale", "DagferryFailing", "DagferryDrift"]
    for rule in rules:
        named = re.findall(r"dagferry_agent_[a-z_]+", rule["expr"])
        assert named, rule
        assert set(named) <= set(documented()), rule
