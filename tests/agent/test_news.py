"""What an agent asks of Airflow's API, and what it tells of the answer; over real sockets."""

from __future__ import annotations

import json
import logging
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from dagferry_agent.api_client import MAX_REPLY, AirflowAway, AirflowClient, DagFile, read_credentials
from dagferry_agent.clock import utc
from dagferry_agent.news import AirflowNews
from tests.e2e.harness import wait_for

from .airflow_api import PASSWORD, USER, FakeAirflow, serving
from .test_delivery import ONE, TWO, Pod

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from dagferry_agent.news import Report

LONG_AGO = "2026-01-01T00:00:00Z"


@pytest.fixture
def airflow() -> Iterator[FakeAirflow]:
    with serving(FakeAirflow()) as found:
        yield found


@pytest.fixture
def credentials(tmp_path: Path) -> Path:
    file = tmp_path / "airflow.json"
    file.write_text(json.dumps({"username": USER, "password": PASSWORD}))
    return file


def client_of(airflow: FakeAirflow, file: Path | None, bundle: str = "dags-folder") -> AirflowClient:
    return AirflowClient(airflow.url + "/", file, bundle, threading.Event())


def test_files_and_errors_are_read_page_by_page_with_one_token(airflow: FakeAirflow, credentials: Path) -> None:
    airflow.dags = {f"team/dag_{number:03}.py": LONG_AGO for number in range(205)}
    airflow.errors = {f"bad_{number}.py": (LONG_AGO, "Traceback\n  File\nKeyError: 'x'\n") for number in range(101)}
    client = client_of(airflow, credentials)
    files, name = client.dag_files(), "team/dag_000.py"
    assert (len(files), files[0]) == (205, DagFile(name, f"token/of {name}", LONG_AGO, None, f"/versions/None/{name}"))
    errors = client.import_errors()
    assert (len(errors), errors["bad_7.py"].reason) == (101, "KeyError: 'x'")
    client.parse(files[0])
    assert airflow.parsed == ["token/of team/dag_000.py"]
    assert (airflow.tokens, airflow.asked["GET /api/v2/dags"], airflow.asked["GET /api/v2/version"]) == (1, 3, 1)


def test_what_belongs_to_other_bundles_is_left_out(airflow: FakeAirflow, credentials: Path) -> None:
    airflow.dags, airflow.errors = {"a.py": LONG_AGO}, {"b.py": (LONG_AGO, "x")}
    client = client_of(airflow, credentials, "another")
    assert (client.dag_files(), client.import_errors()) == ([], {})


def test_token_that_is_over_is_replaced(airflow: FakeAirflow, credentials: Path) -> None:
    client = client_of(airflow, credentials)
    client.dag_files()
    airflow.tokens += 1  # what was given out before counts no more
    assert client.dag_files() == []
    assert airflow.tokens == 3


def test_token_may_be_given_and_everybody_may_be_let_in(airflow: FakeAirflow, tmp_path: Path) -> None:
    file = tmp_path / "token.json"
    file.write_text('{"token": "given"}')
    assert client_of(airflow, file).dag_files() == []
    assert airflow.tokens == 0
    assert client_of(airflow, None).dag_files() == []
    assert airflow.asked["GET /auth/token"] == 1


def test_airflow_2_is_asked_for_its_errors_alone(credentials: Path) -> None:
    with serving(FakeAirflow(major=2, errors={"/dags/a.py": (LONG_AGO, "Traceback\nValueError: no\n")})) as airflow:
        client = client_of(airflow, credentials)
        assert client.version() == 2
        assert client.import_errors()["/dags/a.py"].reason == "ValueError: no"
        assert set(airflow.asked) == {"GET /api/v2/version", "GET /api/v1/version", "GET /api/v1/importErrors"}


ANSWERS: dict[str, tuple[int, bytes, dict[str, str]]] = {
    "forbidden": (403, b"{}", {}),
    "a fault": (500, b"<html>", {}),
    "a page": (200, b"<html>hello</html>", {}),
    "a list": (200, b"[]", {}),
    "nothing": (200, b"", {}),
    "no entries": (200, b'{"dags": {}}', {}),
    "entries that are none": (200, b'{"dags": [1]}', {}),
    "a way to somebody else": (302, b"", {"Location": "http://127.0.0.1:9/"}),
    "too much": (200, b" " * (MAX_REPLY + 1), {}),
}


@pytest.mark.parametrize("kind", ANSWERS)
def test_answer_of_another_kind_is_an_error_that_tells_no_secret(
    kind: str, airflow: FakeAirflow, credentials: Path
) -> None:
    client = client_of(airflow, credentials)
    client.dag_files()
    airflow.answer = ANSWERS[kind]
    with pytest.raises(AirflowAway) as refused:
        client.dag_files()
    assert refused.value.code == "airflow_away"
    assert refused.value.hint
    assert not any(secret in refused.value.message + refused.value.hint for secret in (PASSWORD, "token-1"))


def test_wrong_password_is_said(airflow: FakeAirflow, credentials: Path) -> None:
    credentials.write_text(json.dumps({"username": USER, "password": "wrong"}))
    with pytest.raises(AirflowAway, match="/auth/token: HTTP 401") as refused:
        client_of(airflow, credentials).dag_files()
    assert "--airflow-credentials-file" in refused.value.hint
    credentials.write_text(json.dumps({"username": USER, "password": PASSWORD}))
    assert client_of(airflow, credentials).dag_files() == [], "the file is read when it is needed"


def test_nobody_at_the_url_is_said(airflow: FakeAirflow) -> None:
    client = AirflowClient("http://127.0.0.1:9", None, "dags-folder", threading.Event())
    with pytest.raises(AirflowAway, match="no connection"):
        client.import_errors()
    stopped = threading.Event()
    stopped.set()
    with pytest.raises(AirflowAway, match="ending"):
        AirflowClient(airflow.url, None, "dags-folder", stopped).import_errors()


@pytest.mark.parametrize(
    "content",
    [None, b"", b"[]", b"{}", b'{"username": "a"}', b'{"token": 1}', b'{"token": "a", "more": 1}', b"x" * 70_000],
)
def test_credentials_of_another_kind_are_refused(content: bytes | None, tmp_path: Path) -> None:
    file = tmp_path / "credentials"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(AirflowAway) as refused:
        read_credentials(file)
    assert refused.value.hint


# What is told


class Desk:
    """An agent's releases, and the news of them."""

    def __init__(self, folder: Path, airflow: FakeAirflow, credentials: Path, *, patience: float = 30.0) -> None:
        self.pod = Pod(folder / "pod")
        self.airflow = airflow
        self.stopped = threading.Event()
        client = AirflowClient(airflow.url, credentials, airflow.bundle, self.stopped)
        root = self.pod.delivery.root
        self.news = AirflowNews(client, root, time.time, self.stopped, patience=patience, look_seconds=0.05)

    def ship(self, version: str, files: dict[str, bytes]) -> None:
        """A switch, of which the news are told."""
        self.pod.shelf.ship(version, files)
        self.news.pulled(self.pod.delivery.pull())

    def report(self, version: str) -> Report:
        """What came of the switch to that version."""

        def found() -> Report | None:
            return self.news.report if self.news.report and self.news.report.version == version else None

        return wait_for(found, f"a report of {version}")


@pytest.fixture
def desk(tmp_path: Path, airflow: FakeAirflow, credentials: Path) -> Iterator[Desk]:
    airflow.dags = {"dag_a.py": LONG_AGO, "dag_b.py": LONG_AGO}
    found = Desk(tmp_path, airflow, credentials)
    found.pod.shelf.ship("v1", ONE)
    found.news.pulled(replace(found.pod.delivery.pull(), changed=False))
    found.news.start()
    yield found
    found.news.stop()


def now() -> str:
    return utc(time.time() + 2)


def when_asked(airflow: FakeAirflow, count: int, do: Callable[[], None]) -> None:
    """Do something once Airflow was asked to parse so many files."""
    wait_for(lambda: len(airflow.parsed) >= count or None, "a file to be parsed")
    do()


def test_airflow_parses_what_changed_and_new_errors_are_told(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    airflow = desk.airflow
    airflow.errors = {"old.py": (LONG_AGO, "old trouble")}
    wait_for(lambda: airflow.asked["GET /api/v2/importErrors"] or None, "what there was before")
    desk.ship("v2", TWO)

    def parse() -> None:
        airflow.errors = {"old.py": (LONG_AGO, "old trouble"), "dag_a.py": (now(), "Traceback\nKeyError: 'new'")}

    when_asked(airflow, 1, parse)
    report = desk.report("v2")
    assert airflow.parsed == ["token/of dag_a.py"], "and nothing that did not change"
    assert report.to_dict()["import_errors"] == {
        "before": 1, "after": 2, "new": [{"file": "dag_a.py", "reason": "KeyError: 'new'"}],
    }  # fmt: skip
    assert report.parsed
    assert "Airflow cannot import dag_a.py since v2: KeyError: 'new'" in caplog.text
    assert "2 import errors, before 1; 1 are new, 0 are gone" in caplog.text


def test_parse_that_began_before_the_switch_is_not_taken_for_one_of_it(desk: Desk) -> None:
    airflow = desk.airflow
    airflow.version = airflow.folder = "v1"
    desk.ship("v2", TWO)
    when_asked(airflow, 1, lambda: airflow.dags.update({"dag_a.py": now()}))
    for version in ("v1", "v2"):  # at last it counts as v2, while the file was still in the folder of v1
        airflow.version = version
        looks = airflow.asked["GET /api/v2/dags"]
        wait_for(lambda looks=looks: airflow.asked["GET /api/v2/dags"] > looks + 3 or None, "looks")  # type: ignore[misc]
        assert desk.news.report is None
    airflow.folder = "v2"
    assert desk.report("v2").parsed


def test_what_failed_in_the_folder_before_is_not_taken_for_a_fault_of_the_switch(desk: Desk) -> None:
    airflow = desk.airflow
    airflow.version, airflow.folder = "v2", "v1"
    desk.ship("v2", TWO)

    def fail_in(version: str) -> None:
        trace = f'Traceback\n  File "/versions/{version}/dag_a.py", line 1\nKeyError: 1\n'
        airflow.errors = {"dag_a.py": (now(), trace)}

    when_asked(airflow, 1, lambda: fail_in("v1"))
    looks = airflow.asked["GET /api/v2/importErrors"]
    wait_for(lambda: airflow.asked["GET /api/v2/importErrors"] > looks + 3 or None, "looks")
    assert desk.news.report is None
    fail_in("v2")
    assert desk.report("v2").parsed


def test_traceback_that_names_no_folder_of_a_version_counts(desk: Desk) -> None:
    airflow = desk.airflow
    airflow.version, airflow.folder = "v2", "v1"
    desk.ship("v2", TWO)
    when_asked(airflow, 1, lambda: airflow.errors.update({"dag_a.py": (now(), "Traceback\nKeyError: 1\n")}))
    assert [one.file for one in desk.report("v2").new] == ["dag_a.py"]


def test_what_is_mended_is_told_too(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    airflow = desk.airflow
    airflow.errors = {"dag_a.py": (LONG_AGO, "trouble")}
    wait_for(lambda: airflow.asked["GET /api/v2/importErrors"] or None, "what there was before")
    desk.ship("v2", TWO)

    def parse() -> None:
        airflow.errors = {}
        airflow.dags["dag_a.py"] = now()

    when_asked(airflow, 1, parse)
    assert (desk.report("v2").before, desk.report("v2").after, desk.report("v2").new) == (1, 0, ())
    assert "0 are new, 1 are gone" in caplog.text


def test_one_file_is_parsed_where_none_of_those_that_changed_is_known(
    tmp_path: Path, airflow: FakeAirflow, credentials: Path
) -> None:
    airflow.dags = {"dag_b.py": LONG_AGO}
    desk = Desk(tmp_path, airflow, credentials, patience=0.3)
    desk.pod.shelf.ship("v1", ONE)
    desk.news.pulled(replace(desk.pod.delivery.pull(), changed=False))
    desk.news.start()
    desk.ship("v2", {**ONE, "dag_new.py": b"n = 1\n"})
    report = desk.report("v2")
    desk.news.stop()
    assert airflow.parsed == ["token/of dag_b.py"]
    assert not report.parsed


def test_airflow_that_is_away_is_told_once_and_stops_no_pull(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    airflow = desk.airflow
    wait_for(lambda: airflow.asked["GET /api/v2/importErrors"] or None, "what there was before")
    airflow.answer = (500, b"", {})
    for number in range(3):
        asked = airflow.asked.total()
        desk.ship(f"v{number + 2}", {**ONE, "dag_a.py": f"a = {number + 2}\n".encode()})
        wait_for(lambda asked=asked: airflow.asked.total() > asked or None, "a question")  # type: ignore[misc]
    airflow.answer = None
    airflow.dags["dag_a.py"] = now()
    desk.ship("v9", {**ONE, "dag_a.py": b"a = 9\n"})
    assert desk.report("v9").parsed
    assert caplog.text.count("Airflow was not told") == 1


def test_newest_switch_counts(desk: Desk) -> None:
    airflow = desk.airflow
    desk.ship("v2", TWO)
    when_asked(airflow, 1, lambda: None)
    desk.ship("v3", {**TWO, "dag_b.py": b"b = 3\n"})
    when_asked(airflow, 2, lambda: airflow.dags.update({"dag_b.py": now()}))
    assert desk.report("v3").parsed
    assert airflow.parsed == ["token/of dag_a.py", "token/of dag_b.py"]


def test_airflow_2_is_not_told_and_its_errors_are_read(
    tmp_path: Path, credentials: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(FakeAirflow(major=2)) as airflow:
        desk = Desk(tmp_path, airflow, credentials, patience=0.3)
        desk.news.start()
        wait_for(lambda: airflow.asked["GET /api/v1/importErrors"] or None, "what there was before")
        airflow.errors = {"/dags/dag_a.py": (now(), "Traceback\nKeyError: 'new'")}
        desk.ship("v1", ONE)
        report = desk.report("v1")
        desk.news.stop()
    assert [one.file for one in report.new] == ["/dags/dag_a.py"]
    assert "Airflow cannot import /dags/dag_a.py since v1" in caplog.text
    assert airflow.parsed == []
