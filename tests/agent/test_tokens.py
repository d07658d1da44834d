"""The tokens file: what it may hold, whom it lets in, and that it lets in nobody when it cannot be relied on."""

from __future__ import annotations

import json
import logging
import os
from typing import TYPE_CHECKING

import pytest

from dagferry_agent.tokens import (
    MAX_FILE,
    Entry,
    NoTokens,
    TokensFile,
    allows,
    authenticate,
    new_token,
    parse_tokens,
)
from dagferry_schemas.errors import Malformed, Usage
from dagferry_schemas.names import digest_of

from .fake import write_tokens

if TYPE_CHECKING:
    from pathlib import Path

NOW = "2026-11-05T12:00:00Z"


def entry(token: str = "dft_a", **changes: object) -> dict[str, object]:
    return {"id": "ci", "sha256": digest_of(token.encode()), "scopes": ["pull"]} | changes


def parsed(*entries: object) -> tuple[Entry, ...]:
    return parse_tokens(json.dumps(entries).encode())


def test_a_new_token_opens_and_its_entry_does_not_hold_it() -> None:
    token, written = new_token("ci", (), bytes(range(32)))
    assert token == "dft_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
    assert token not in json.dumps(written)
    assert written["scopes"] == ["pull", "status"]
    found = authenticate(parsed(written), token.encode(), NOW)
    assert found is not None
    assert found.id == "ci"


def test_a_token_of_too_few_random_bytes_is_not_made() -> None:
    with pytest.raises(ValueError, match="32 random bytes"):
        new_token("ci", (), b"x" * 31)


@pytest.mark.parametrize(("name", "scopes"), [("a b", ()), ("ci", ("push",)), ("ci", ("pull:etl",))])
def test_an_entry_that_the_file_could_not_hold_is_not_made(name: str, scopes: tuple[str, ...]) -> None:
    with pytest.raises(Usage):
        new_token(name, scopes, b"x" * 32)


@pytest.mark.parametrize(
    ("raw", "where"),
    [
        (b"", "not JSON"),
        (b"{}", "tokens file.entries: expected a list"),
        (b"[1]", "tokens file.entries[0]: expected an object"),
        (b'[], "more": 1', "tokens file.more: unknown field"),
        (b'[], "entries": []', "appears twice"),
        (json.dumps([entry(secret="x")]).encode(), "entries[0].secret: unknown field"),
        (json.dumps([entry(id="a b")]).encode(), "entries[0].id"),
        (json.dumps([entry(sha256="SHA256:" + "0" * 64)]).encode(), "entries[0].sha256"),
        (json.dumps([entry(sha256="sha256:" + "0" * 63)]).encode(), "entries[0].sha256"),
        (json.dumps([entry(scopes=[])]).encode(), "entries[0].scopes: empty"),
        (json.dumps([entry(scopes="pull")]).encode(), "entries[0].scopes: expected a list"),
        (json.dumps([entry(scopes=["pull", "Pull"])]).encode(), "entries[0].scopes[1]"),
        (json.dumps([entry(scopes=["pull:*/prod"])]).encode(), "entries[0].scopes[0]"),
        (json.dumps([entry(scopes=["status\n"])]).encode(), "entries[0].scopes[0]"),
        (json.dumps([entry(not_after="tomorrow")]).encode(), "entries[0].not_after"),
        (json.dumps([entry(), entry("dft_b")]).encode(), "entries[1].id: the same as in entries[0]"),
        (json.dumps([entry(), entry(id="other")]).encode(), "entries[1].sha256: the same as in entries[0]"),
        (b" " * (MAX_FILE + 1), "at most"),
    ],
)
def test_a_faulty_file_is_refused_with_the_place_of_the_fault(raw: bytes, where: str) -> None:
    with pytest.raises(Malformed) as caught:
        parse_tokens(raw)
    assert where in caught.value.message


def test_a_token_in_the_place_of_its_digest_is_not_repeated_in_the_message() -> None:
    with pytest.raises(Malformed) as caught:
        parsed(entry(sha256="dft_verysecret"))
    assert "verysecret" not in str(caught.value)


@pytest.mark.parametrize(
    ("times", "opens"),
    [
        ({}, True),
        ({"not_before": NOW}, True),
        ({"not_before": "2026-11-05T12:00:00.5Z"}, False),
        ({"not_before": "2026-11-05T11:59:59.9Z"}, True),
        ({"not_before": "2026-11-05T12:00:01Z"}, False),
        ({"not_after": NOW}, False),
        ({"not_after": "2026-11-05T12:00:00.5Z"}, True),
        ({"not_after": "2026-11-05T12:00:01Z"}, True),
        ({"not_before": "2026-11-05T00:00:00Z", "not_after": "2026-11-06T00:00:00Z"}, True),
    ],
)
def test_an_entry_opens_from_its_first_moment_until_just_before_its_last(times: dict[str, str], opens: bool) -> None:
    assert (authenticate(parsed(entry(**times)), b"dft_a", NOW) is not None) is opens


@pytest.mark.parametrize(
    "presented", [b"", b"dft_", b"dft_b", b"dft_a ", b"DFT_A", b"\xff\xfe", digest_of(b"dft_a").encode()]
)
def test_nothing_but_the_token_opens(presented: bytes) -> None:
    assert authenticate(parsed(entry()), presented, NOW) is None


def test_each_of_several_tokens_opens_with_its_own_entry() -> None:
    entries = parsed(entry(), entry("dft_b", id="next"), entry("dft_c", id="third"))
    found = [authenticate(entries, token, NOW) for token in (b"dft_a", b"dft_b", b"dft_c")]
    assert [one and one.id for one in found] == ["ci", "next", "third"]


@pytest.mark.parametrize(
    ("scope", "action", "bundle", "channel", "allowed"),
    [
        ("pull", "pull", "etl", "prod", True),
        ("pull", "status", "etl", "prod", False),
        ("status", "pull", "etl", "prod", False),
        ("pull:etl/prod", "pull", "etl", "prod", True),
        ("pull:etl/prod", "pull", "etl", "staging", False),
        ("pull:etl/prod", "pull", "ml", "prod", False),
        ("pull:etl/*", "pull", "etl", "staging", True),
        ("pull:etl/*", "pull", "ml", "staging", False),
        ("status:etl/prod", "status", "etl", "prod", True),
        ("status:etl/prod", "pull", "etl", "prod", False),
    ],
)
def test_a_scope_allows_what_it_says(scope: str, action: str, bundle: str, channel: str, allowed: bool) -> None:
    (found,) = parsed(entry(scopes=[scope]))
    assert allows(found, action, bundle, channel) is allowed


def test_a_file_is_read_again_when_it_changed(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    (old,) = write_tokens(path, ["pull"])
    tokens = TokensFile(path)
    assert authenticate(tokens.entries(), old.encode(), NOW)
    successor = tmp_path / "next.json"
    _, new = write_tokens(successor, ["status"], ["pull"])
    successor.write_text(json.dumps(json.loads(successor.read_text())[1:]))
    successor.replace(path)
    assert authenticate(tokens.entries(), old.encode(), NOW) is None
    assert authenticate(tokens.entries(), new.encode(), NOW)


def test_a_secret_that_moves_like_in_kubernetes_is_noticed(tmp_path: Path) -> None:
    for name, fill in (("..1", b"a"), ("..2", b"b")):
        (tmp_path / name).mkdir()
        _, one = new_token("ci", (), fill * 32)
        (tmp_path / name / "tokens.json").write_text(json.dumps([one]))
        os.utime(tmp_path / name / "tokens.json", ns=(0, 0))
    (tmp_path / "..data").symlink_to("..1")
    tokens = TokensFile(tmp_path / "..data" / "tokens.json")
    before = tokens.entries()
    (tmp_path / "..next").symlink_to("..2")
    (tmp_path / "..next").replace(tmp_path / "..data")
    assert tokens.entries() != before


@pytest.mark.parametrize("content", [None, b"", b"[]", b"{", b"[{}]"])
def test_a_file_that_is_missing_empty_or_invalid_lets_nobody_in(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "tokens.json"
    if content is not None:
        path.write_bytes(content)
    tokens = TokensFile(path)
    for _ in range(2):
        with pytest.raises(NoTokens) as caught:
            tokens.entries()
        assert caught.value.code == "no_tokens"
    (token,) = write_tokens(path, ["pull"])
    assert authenticate(tokens.entries(), token.encode(), NOW)


@pytest.mark.parametrize("content", [None, b"", b"[]", b"["])
def test_a_file_that_goes_bad_later_lets_nobody_in_any_more(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "tokens.json"
    write_tokens(path, ["pull"])
    tokens = TokensFile(path)
    assert tokens.entries()
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(NoTokens):
        tokens.entries()


def test_without_a_configured_file_nobody_is_let_in() -> None:
    with pytest.raises(NoTokens):
        TokensFile(None).entries()


def test_a_bad_file_is_logged_once_not_once_per_request(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "tokens.json"
    path.write_text(json.dumps([entry(sha256="dft_verysecret")]))
    tokens = TokensFile(path)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            with pytest.raises(NoTokens):
                tokens.entries()
    assert len(caplog.records) == 1
    assert "entries[0].sha256" in caplog.text
    assert "verysecret" not in caplog.text
