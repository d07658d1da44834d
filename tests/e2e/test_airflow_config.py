"""`dagferry airflow-config`: the line is whole, a shell takes it as it is, and what Airflow would refuse is refused."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest

from .harness import BUNDLE, COMMANDS, Operator, Repository, environment, run

if TYPE_CHECKING:
    from pathlib import Path

VARIABLE = "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST"
CLASSPATH = "dagferry_agent.airflow_bundle.DagferryBundle"


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    repository = Repository(tmp_path / "clone")
    return Operator(repository.path, "s3://bucket/it's here").on("prod")


def test_the_line_is_a_list_of_one_bundle(operator: Operator) -> None:
    found = operator.run("airflow-config", "--keyring", "/etc/dagferry/keys", "--refresh-seconds", "30")
    (bundle,) = json.loads(found["value"])
    assert found["variable"] == VARIABLE
    assert found["bundles"] == [bundle]
    assert found["extras"] == ["airflow", "s3"]
    assert (bundle["name"], bundle["classpath"]) == (BUNDLE, CLASSPATH)
    assert bundle["kwargs"] == {
        "store": "s3://bucket/it's here",
        "channel": "prod",
        "refresh_interval": 30,
        "keyring": "/etc/dagferry/keys",
    }


def test_another_name_an_agent_and_an_address_are_handed_on(operator: Operator) -> None:
    address = "https://git.example/shop/tree/{version}"
    options = ("--name", "shop", "--agent-root", "/dags", "--view-url", address)
    (bundle,) = operator.run("airflow-config", *options)["bundles"]
    assert bundle["name"] == "shop"
    assert bundle["kwargs"]["bundle"] == BUNDLE
    assert bundle["kwargs"]["agent_root"] == "/dags"
    assert bundle["kwargs"]["view_url_template"] == address


def test_a_shell_takes_the_line_as_it_is(operator: Operator, tmp_path: Path) -> None:
    value = operator.run("airflow-config")["value"]
    command = [*COMMANDS["dagferry"], "airflow-config", "--channel=prod", f"--store={operator.store_url}"]
    text = subprocess.run(command, cwd=operator.folder, env=environment(), capture_output=True, text=True, check=True)
    script = tmp_path / "env.sh"
    script.write_text(text.stdout)
    shown = subprocess.run(
        ["sh", "-c", f'. "$1"; printf %s "${VARIABLE}"', "sh", script], capture_output=True, text=True, check=True
    )
    assert shown.stdout == value


@pytest.mark.parametrize(
    "options",
    [
        ("--name", "a/b"),
        ("--view-url", "ftp://x"),
        ("--refresh-seconds", "0"),
        ("--view-url", "https://x/{version"),
        ("--view-url", "https://x/{nope}"),
        ("--channel", "no pe"),
    ],
)
def test_what_airflow_would_refuse_is_refused(operator: Operator, options: tuple[str, ...]) -> None:
    assert operator.fail(2, "airflow-config", *options)["code"] == "usage"


def test_the_store_of_a_first_try_is_named_by_its_whole_path(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "clone")
    found = run("dagferry", "airflow-config", "--channel", "prod", cwd=repository.path).document
    assert found["bundles"][0]["kwargs"]["store"] == (repository.path / ".dagferry" / "store").as_uri()
    assert found["extras"] == ["airflow"]


def test_paths_are_whole_and_an_agent_beside_needs_no_store(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "clone")
    options = ("--channel", "prod", "--agent-root", "../dags", "--keyring", "../keys")
    found = run("dagferry", "airflow-config", *options, cwd=repository.path).document
    assert found["bundles"][0]["kwargs"] == {
        "channel": "prod",
        "refresh_interval": 5,
        "keyring": str(repository.path / "../keys"),
        "agent_root": str(repository.path / "../dags"),
    }
