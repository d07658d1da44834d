"""Every command that builds has the cache of compressed frames, and none needs it."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.e2e.harness import COMMANDS, NO_LINT, Operator, Repository, environment, run

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def without_lint(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is packed, not what is in it."""
    monkeypatch.setenv(NO_LINT, "1")


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    made = Repository(tmp_path_factory.mktemp("cached") / "clone")
    for number in range(2000):
        rates = "".join(f"rate_{number * step % 9973} = {step}\n" for step in range(200))
        made.write(f"dags/team_{number % 9}/dag_{number:04}.py", rates)
    made.commit()
    return made


def build(repository: Repository, out: Path, *arguments: str, **env: str) -> bytes:
    """The stored bytes of HEAD."""
    said = run("dagferry", "build", "--out", str(out), *arguments, cwd=repository.path, env=env).document
    tarball = repository.path / str(said["tarball"]["path"])
    return tarball.read_bytes()


def kept(cache: Path) -> list[str]:
    return sorted(path.name for path in (cache / "frames").iterdir()) if cache.exists() else []


def test_build_keeps_in_the_folder_that_is_named_or_the_users_own_and_nothing_without_a_cache(
    repository: Repository, tmp_path: Path
) -> None:
    expected = build(repository, tmp_path / "out", "--no-cache", XDG_CACHE_HOME=str(tmp_path / "none"))
    assert kept(tmp_path / "none") == []
    for _ in range(2):
        assert build(repository, tmp_path / "out", "--cache-dir", str(tmp_path / "named")) == expected
        assert build(repository, tmp_path / "out", XDG_CACHE_HOME=str(tmp_path / "home")) == expected
    assert kept(tmp_path / "named") == kept(tmp_path / "home" / "dagferry") != []


@pytest.mark.parametrize("command", [("version",), ("publish",), ("ship", "--channel", "cached")], ids=lambda it: it[0])
def test_every_command_that_builds_uses_the_cache(
    repository: Repository, tmp_path: Path, command: tuple[str, ...]
) -> None:
    operator = Operator(repository.path, str(tmp_path / "store"))
    cache = tmp_path / "cache"
    operator.run(*command, env={"DAGFERRY_CACHE_DIR": str(cache)})
    names = kept(cache)
    assert len(names) > 3
    assert build(repository, tmp_path / "out", "--cache-dir", str(cache)) == build(
        repository, tmp_path / "out", "--no-cache"
    )
    assert kept(cache) == names


def test_what_was_published_from_a_warm_cache_verifies(repository: Repository, tmp_path: Path) -> None:
    operator = Operator(repository.path, str(tmp_path / "store"))
    env = {"DAGFERRY_CACHE_DIR": str(tmp_path / "cache")}
    operator.run("version", env=env)
    published = operator.run("publish", env=env)
    assert published["created"]
    assert operator.run("verify", published["version"])["ok"]


def test_builds_at_once_share_one_cache(repository: Repository, tmp_path: Path) -> None:
    expected = build(repository, tmp_path / "out", "--no-cache")
    cache = tmp_path / "cache"
    for _ in range(2):  # all cold, then all warm
        started = [
            subprocess.Popen(
                [*COMMANDS["dagferry"], "build", "--out", str(tmp_path / f"out-{number}"), "--cache-dir", str(cache)],
                cwd=repository.path,
                env=environment(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
            for number in range(4)
        ]
        said = [one.communicate()[1] for one in started]
        assert [one.returncode for one in started] == [0] * 4, said
        assert said == [b""] * 4
    for number in range(4):
        assert next((tmp_path / f"out-{number}").glob("*.tar.zst")).read_bytes() == expected
    assert not [name for name in kept(cache) if len(name) != 64], "a temporary file was left"


def test_cache_that_cannot_be_written_costs_a_warning(repository: Repository, tmp_path: Path) -> None:
    outcome = run(
        "dagferry", "build", "--out", str(tmp_path / "out"), "--cache-dir", "/proc/nowhere", cwd=repository.path
    )
    assert outcome.document["files"] == 2000
    assert outcome.stderr.count("writing the cache of compressed frames") == 1
    assert outcome.stderr.count("\n") == 1


def test_a_cache_folder_that_is_a_file_is_wrong_usage(repository: Repository, tmp_path: Path) -> None:
    refused = Operator(repository.path, str(tmp_path / "store")).fail(2, "build", "--cache-dir", "dagferry.toml")
    assert "--cache-dir" in refused["message"]
