"""What an entry of Airflow's list may say of our bundle: judged at once, and by the key's name."""

from __future__ import annotations

import pytest

from dagferry_agent.bundle_kwargs import check
from dagferry_schemas.errors import Usage

AIRFLOWS = ("self", "name", "version", "refresh_interval")
RIGHT: dict[str, object] = {
    "name": "etl",
    "version": None,
    "store": "s3://bucket/prefix",
    "bundle": None,
    "channel": "prod",
    "keyring": "/keys",
    "agent_root": None,
    "view_url_template": None,
    "refresh_interval": 5,
    "wait_seconds": 60.0,
    "keep_days": 0,
}


def test_what_is_right_passes() -> None:
    check("etl", AIRFLOWS, RIGHT)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("refresh_interval", "5"),
        ("refresh_interval", -3),
        ("refresh_interval", True),
        ("wait_seconds", "60"),
        ("keep_days", "a"),
        ("keep_days", None),
        ("store", 5),
        ("store", ""),
        ("keyring", " "),
        ("agent_root", ["/dags"]),
        ("channel", "no pe"),
        ("bundle", "a/b"),
    ],
)
def test_what_is_of_another_kind_is_named(key: str, value: object) -> None:
    with pytest.raises(Usage, match=f"^{key} .* is not allowed$") as refused:
        check("etl", AIRFLOWS, {**RIGHT, key: value})
    assert f"say `{key}` in the kwargs of etl" in refused.value.hint


def test_a_key_that_nobody_knows_is_named_with_those_that_there_are() -> None:
    with pytest.raises(Usage, match="'chanel'") as refused:
        check("etl", AIRFLOWS, {**RIGHT, "chanel": "prod"})
    assert "channel" in refused.value.hint
    assert "keep_days" in refused.value.hint
