"""Names, and where objects lie: the keys of `layout` are those that ``schemas/FORMAT.md`` draws."""

from __future__ import annotations

from pathlib import Path

import pytest

from dagferry_schemas import layout, names
from dagferry_schemas.errors import Usage

TREE = "sha256:" + "a" * 64
DRAWN = (Path(__file__).resolve().parents[2] / "schemas" / "FORMAT.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("key", "drawn"),
    [
        (layout.store_json("<bundle>"), "store.json"),
        (layout.tarball("<bundle>", "sha256:<tree>"), "trees/<tree>/dags.tar.zst"),
        (layout.files("<bundle>", "sha256:<tree>"), "trees/<tree>/files.zst"),
        (layout.version("<bundle>", "<version>"), "versions/<version>.json"),
        (layout.report("<bundle>", "<version>"), "versions/<version>.report.json"),
        (layout.head("<bundle>", "<channel>"), "channels/<channel>/head.json"),
        (layout.log("<bundle>", "<channel>", 1).replace("1", "<n>"), "channels/<channel>/log/<n>.json"),
    ],
)
def test_key_is_the_one_that_is_drawn(key: str, drawn: str) -> None:
    assert key == f"<bundle>/{drawn}"
    assert f"\n  {drawn} " in DRAWN


def test_versions_are_told_from_their_reports_and_statements() -> None:
    keys = [
        layout.versions("b") + name for name in ("v1.json", "v1.report.json", "v1.statement.json", "v1.txt", ".json")
    ]
    assert list(map(layout.version_of, keys)) == ["v1", None, None, None, None]
    assert layout.version_of(layout.version("b", "v1.report.json")) == "v1.report.json"


@pytest.mark.parametrize(
    ("key", "channel"),
    [
        (layout.head("b", "prod"), "prod"),
        (layout.head("b", "channels"), "channels"),
        (layout.log("b", "prod", 7), None),
        (layout.channels("b") + "prod/agents/head.json", None),
        (layout.channels("b") + "prod/log/head.json", None),
        ("b/head.json", None),
        ("head.json", None),
    ],
)
def test_channel_is_told_from_an_agent_called_head(key: str, channel: str | None) -> None:
    assert layout.channel_of(key) == channel


@pytest.mark.parametrize(
    ("key", "agent"),
    [
        (layout.acknowledgement("b", "prod", "pod-1"), "pod-1"),
        (layout.acknowledgement("b", "agents", "head"), "head"),
        (layout.acknowledgement("b", "prod", "a.json"), "a.json"),
        (layout.log("b", "agents", 7), None),
        (layout.head("b", "agents"), None),
        (layout.acknowledgements("b", "prod") + "deep/pod-1.json", None),
        (layout.acknowledgements("b", "prod") + ".json", None),
        (layout.acknowledgements("b", "prod") + "pod-1.txt", None),
        ("b/other/prod/agents/pod-1.json", None),
    ],
)
def test_agent_is_told_by_its_object(key: str, agent: str | None) -> None:
    assert layout.agent_of(key) == agent


def test_short_tree_is_the_name_of_a_release() -> None:
    assert names.short_tree(TREE) == "a" * 16


@pytest.mark.parametrize("name", ["a", "A.b_c-d", "0", "a" * 63])
def test_name_is_allowed(name: str) -> None:
    assert names.check_name("bundle", name) == name


@pytest.mark.parametrize("name", ["", ".a", "-a", "a/b", "a b", "a\n", "\u00e9", "a" * 64, ".."])
def test_name_is_refused(name: str) -> None:
    with pytest.raises(Usage, match="bundle name"):
        names.check_name("bundle", name)


@pytest.mark.parametrize("version", ["v1", "1.0+local", "...", ".hidden", "v1.report.x", "a" * 200])
def test_version_is_allowed(version: str) -> None:
    assert names.check_version(version) == version


@pytest.mark.parametrize("version", ["", ".", "..", "a/b", "v1.report", "v1.statement", "v1\n", "v 1", "a" * 201])
def test_version_is_refused(version: str) -> None:
    with pytest.raises(Usage, match="version"):
        names.check_version(version)


@pytest.mark.parametrize("time", ["2026-11-20T10:15:00Z", "2026-12-31T23:59:60Z", "2026-11-20T10:15:00.123456789Z"])
def test_time_is_allowed(time: str) -> None:
    assert names.TIME.fullmatch(time)


@pytest.mark.parametrize(
    "time",
    [
        "2026-11-20T10:15:00",
        "2026-11-20T10:15:00+00:00",
        "2026-11-20 10:15:00Z",
        "2026-11-20t10:15:00z",
        "2026-13-20T10:15:00Z",
        "2026-11-32T10:15:00Z",
        "2026-11-20T24:00:00Z",
        "2026-11-20T10:15:00.Z",
        "\u0662\u0660\u0662\u0666-11-20T10:15:00Z",
    ],
)
def test_time_is_refused(time: str) -> None:
    assert not names.TIME.fullmatch(time)
