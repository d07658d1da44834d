"""Whatever state a git repository is in, the commands say the same of it: the whole truth, or what is amiss and how to
mend it. `zoo` has the states."""

from __future__ import annotations

import os
import shlex
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e import zoo
from tests.e2e.harness import NO_LINT, Operator, Outcome, Repository, content_of, environment, run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.zoo import Origin, Refusal, State

pytestmark = pytest.mark.zoo


@pytest.fixture(autouse=True)
def without_lint(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is packed, not what is in it."""
    monkeypatch.setenv(NO_LINT, "1")


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Origin:
    """The repository that states are cloned from."""
    return zoo.Origin(tmp_path_factory.mktemp("origin") / "origin")


@pytest.fixture(scope="module")
def zoo_store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One store for all: a commit that gave another tree in one state than in another would be a conflict there."""
    return (tmp_path_factory.mktemp("zoo") / "store").as_uri()


class Keeper:
    """Runs the commands in one state."""

    def __init__(self, state: State, store_url: str, channel: str, out: Path) -> None:
        self._state = state
        self._env = {"DAGFERRY_STORE": store_url, "DAGFERRY_CHANNEL": channel, **state.env}
        self._out = out

    def run(self, *arguments: str, expect: int | None = 0) -> Outcome:
        """How one command ended."""
        return run("dagferry", *arguments, cwd=self._state.folder, env=self._env, expect=expect)

    def run_all(self, *commands: tuple[str, ...]) -> list[Outcome]:
        """How commands ended that have nothing to do with each other."""
        with ThreadPoolExecutor(2) as pool:
            return list(pool.map(lambda command: self.run(*command, expect=None), commands))

    def check_refused(self, refused: Refusal) -> dict[str, str]:
        """Every command ends in the same way; the error."""
        rev = f"--rev={self._state.rev}"
        build = ("build", rev, f"--out={self._out}")
        ended = self.run_all(("version", rev), build, ("publish", rev), ("ship", rev))
        assert [one.code for one in ended] == [refused.exit_code] * 4, ended
        error = ended[0].error
        assert [one.error for one in ended] == [error] * 4
        assert error["code"] == refused.code, error
        for name in refused.names:
            assert name in error["message"], (name, error)
        assert not self._out.exists()
        assert not [one for one in ended if set(one.stdout + one.stderr) & {"\x07", "\x1b"}]
        return error

    def mend(self, refused: Refusal, error: dict[str, str]) -> None:
        """Run the command that the hint names."""
        assert refused.mend
        words = shlex.split(refused.mend)
        offered = [shlex.split(one) for one in _commands(error)]
        assert words in offered, (words, offered)
        refused.before_mending()
        env = environment(**self._state.env)
        done = subprocess.run(words, cwd=self._state.folder, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    def check_delivered(self) -> None:
        """Every command says what is expected, and the tarball has it."""
        state, rev = self._state, f"--rev={self._state.rev}"
        chains = (
            (("version", rev), ("build", rev, f"--out={self._out}")),
            (("publish", rev), ("promote", state.version)),
        )
        with ThreadPoolExecutor(2) as pool:
            ended = [one for chain in pool.map(self._run_in_turn, chains) for one in chain]
        named, built, published, promoted = (one.document for one in ended)
        for said in (named, built, published):
            assert (said.get("version"), said.get("commit")) == (state.version, state.commit), said
        assert promoted.get("version") == state.version, promoted
        assert {one["tree"] for one in (named, built, published, promoted)} == {named["tree"]}
        assert {one["path"]: one["rule"] for one in built["left_out"]} == state.left_out
        assert built["left_out"] == published["left_out"]
        self._check_content(built)
        assert not [marker for marker in state.untouched if marker.exists()]

    def _run_in_turn(self, commands: tuple[tuple[str, ...], ...]) -> list[Outcome]:
        return [self.run(*command, expect=None) for command in commands]

    def _check_content(self, built: dict[str, Any]) -> None:
        folder = self._out.with_name("tree")
        folder.mkdir()
        subprocess.run(["tar", "--zstd", "-xf", built["tarball"]["path"], "-C", str(folder)], check=True)
        assert content_of(folder) == self._state.content


def _commands(error: dict[str, str]) -> list[str]:
    """The commands that an error names: each between back quotes, or after "run:"."""
    if "run: " in error["hint"]:
        return [error["hint"].partition("run: ")[2]]
    return f"{error['message']}\n{error['hint']}".split("`")[1::2]


@pytest.mark.parametrize("name", zoo.ZOO)
def test_every_command_says_the_same(name: str, origin: Origin, zoo_store: str, tmp_path: Path) -> None:
    if name == "repository_of_another_user" and os.getuid() != 0:
        pytest.skip("only root can give a folder away")
    folder = tmp_path / "state"
    folder.mkdir()
    state = zoo.ZOO[name](origin, folder)
    keeper = Keeper(state, zoo_store, name.replace("_", "-")[:60], tmp_path / "out")
    if state.refused:
        error = keeper.check_refused(state.refused)
        if state.refused.mend is None:
            return
        keeper.mend(state.refused, error)
    keeper.check_delivered()


# --- any name of a commit

NAMES = {
    "HEAD": "HEAD",
    "@": "HEAD",
    "HEAD~1": "HEAD~1",
    "HEAD~1^2": "aside",
    "v1.0": "v1.0^{commit}",
    "v1.0^{}": "v1.0^{commit}",
    "tags/v1.5": "aside",
    "refs/tags/v1.0": "v1.0^{commit}",
    "refs/heads/main": "HEAD",
    "origin/aside": "aside",
    "@{u}": "HEAD",
    "main@{upstream}": "HEAD",
    "HEAD@{1}": "aside",
    "@{-1}": "aside",
    ":/fix: the second": "HEAD~2",
    "HEAD^{/aside, once}": "aside~1",
    "v1.0-1-g{second:.12}": "HEAD~2",
    "{second:.7}": "HEAD~2",
    "{second}": "HEAD~2",
    "HEAD~1^{commit}": "HEAD~1",
}
"""By what ``--rev`` is given, what it means in the origin; ``{second}`` is a commit's id."""


@pytest.fixture(scope="module")
def clone(origin: Origin, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone whose HEAD has been at `aside` before it came to main."""
    made = origin.clone(tmp_path_factory.mktemp("names") / "clone", "--branch=aside")
    zoo.git(made, "checkout", "--quiet", "main")
    return made


def versions(folder: Path, revs: list[str]) -> list[Outcome]:
    """What the command says of each."""
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda rev: run("dagferry", "version", f"--rev={rev}", cwd=folder, expect=None), revs))


def test_commit_may_be_named_in_any_way_that_git_understands(origin: Origin, clone: Path) -> None:
    revs = [given.format(second=origin.second) if "{second" in given else given for given in NAMES]
    for rev, meaning, ended in zip(revs, NAMES.values(), versions(clone, revs), strict=True):
        meant = origin.git("rev-parse", meaning)
        assert ended.document.get("commit") == meant, (rev, ended)
        assert ended.document["version"] == zoo.described(origin, meant), rev


NO_COMMITS = {
    "nonsense": "nonsense",
    "nothing": "",
    "an option": "--all",
    "a dash": "-",
    "a range": "main~1..main",
    "a symmetric range": "main...aside",
    "all but a commit": "^main",
    "all parents": "HEAD^@",
    "a parent that is not there": "HEAD^3",
    "a folder": "HEAD:dags",
    "a tree": "HEAD^{tree}",
    "a blob": "HEAD:dags/a.py",
    "a file of the index": ":0:dags/a.py",
    "text that is nowhere": ":/nowhere",
    "an id that is not there": "1" * 40,
    "a past that is not there": "main@{5}",
    "two lines": "HEAD\nHEAD",
    "an escape sequence": "\x1b[31mred",
}


def test_what_is_no_commit_is_refused_by_its_name(clone: Path) -> None:
    for rev, ended in zip(NO_COMMITS.values(), versions(clone, list(NO_COMMITS.values())), strict=True):
        assert ended.code == 2, ended
        assert ended.error["code"] == "unknown_revision", ended
        assert repr(rev) in ended.error["message"], ended
        assert "\x1b" not in ended.stdout + ended.stderr, ended


def test_every_command_refuses_in_the_same_way_what_is_no_commit(clone: Path, zoo_store: str, tmp_path: Path) -> None:
    for rev in ("nonsense", "HEAD^{tree}", "main~1..main"):
        keeper = Keeper(zoo.State(clone, rev=rev), zoo_store, "no-commits", tmp_path / "out")
        keeper.check_refused(zoo.Refusal(2, "unknown_revision", (rev,)))


# --- stories of several commands


@pytest.fixture
def story(request: pytest.FixtureRequest, zoo_store: str, tmp_path: Path) -> tuple[Repository, Operator]:
    """A repository with a commit and a bundle of its own, and someone who works there."""
    name = request.node.name.removeprefix("test_").replace("_", "-")[:60]
    repository = zoo.own(tmp_path / "clone", name)
    repository.change({"dags/a.py": "A = 1\n"})
    return repository, Operator(repository.path, zoo_store, {"DAGFERRY_CHANNEL": "prod", "DAGFERRY_BUNDLE": name})


Story = tuple[Repository, Operator]


def test_what_was_published_is_what_is_shown_promoted_and_live(story: Story) -> None:
    repository, operator = story
    repository.git("tag", "v1.0")
    published = operator.run("publish")
    shown = operator.run("show", published["version"])
    operator.run("promote", published["commit"][:8])
    live = operator.run("status")
    for said in (published, shown, live):
        assert (said["version"], said["tree"]) == (zoo.described(repository), published["tree"]), said
    assert shown["commit"] == published["commit"] == repository.git("rev-parse", "HEAD")


def test_another_tag_on_the_same_commit_is_another_name_that_is_shown_and_no_error(story: Story) -> None:
    repository, operator = story
    repository.git("tag", "v1.0")
    first = operator.run("publish")
    operator.run("promote", first["version"])
    repository.git("tag", "--delete", "v1.0")
    repository.git("tag", "v1.1")
    ended = operator.outcome("publish")
    again = ended.document
    assert (again["created"], again["also"], again["tree"]) == (True, [first["version"]], first["tree"])
    assert first["version"] in ended.stderr
    assert again["version"] == zoo.described(repository) != first["version"]
    assert operator.run("promote", again["version"])["changed"]


def test_tag_that_moved_to_another_commit_is_a_conflict_and_what_is_published_stays(story: Story) -> None:
    repository, operator = story
    repository.git("tag", "v1.0")
    before = operator.ship()["version"]
    moved = repository.change({"dags/a.py": "A = 2\n"})
    repository.git("tag", "--force", "v1.0")
    assert operator.run("version")["version"] == f"v1.0-0-g{moved[:12]}"
    for command in ("publish", "ship"):
        refused = operator.fail(3, command)
        assert refused["code"] == "tag_moved"
        assert "v1.0" in refused["message"]
        assert moved[:12] in refused["message"]
    assert [one["version"] for one in operator.run("versions")["versions"]] == [before]
    assert operator.run("status")["version"] == before
    repository.git("tag", "v1.1")  # what the hint says, and
    repository.git("tag", "--delete", "v1.0")
    assert operator.ship()["version"] == f"v1.1-0-g{moved[:12]}"


def test_rewritten_history_has_diverged_and_goes_live_only_if_asked_to(story: Story, tmp_path: Path) -> None:
    repository, operator = story
    base = repository.git("rev-parse", "HEAD")
    before = operator.ship()["version"]
    repository.git("commit", "--quiet", "--amend", "--message=written anew")
    after = operator.run("publish")["version"]
    assert after != before
    refused = operator.fail(3, "promote", after)
    assert refused["code"] == "older_commit"
    assert "diverged" in refused["message"]
    assert "--allow-older" in refused["hint"]
    fresh = tmp_path / "fresh"
    zoo.git(tmp_path, "clone", "--quiet", repository.path.as_uri(), str(fresh))
    assert subprocess.run(["git", "cat-file", "-e", base], cwd=fresh, env=environment(), check=False).returncode
    elsewhere = Operator(fresh, operator.store_url, operator.options)
    assert elsewhere.fail(3, "promote", after)["code"] == "older_commit"
    assert operator.run("status")["version"] == before
    assert elsewhere.run("promote", after, "--allow-older")["previous"] == before
    assert operator.run("status")["version"] == after


def test_merge_builds_upon_its_second_parent_whatever_the_count_of_first_parents(
    origin: Origin, clone: Path, zoo_store: str
) -> None:
    operator = Operator(clone, zoo_store, {"DAGFERRY_CHANNEL": "merged"})
    aside, merge, second = (operator.run("publish", "--rev", rev) for rev in ("v1.5", "HEAD~1", "HEAD~2"))
    assert origin.git("rev-list", "--first-parent", "--count", "v1.5") == "3"
    assert origin.git("rev-list", "--first-parent", "--count", "HEAD~1") == "3"
    operator.run("promote", aside["version"])
    assert "diverged" in operator.fail(3, "promote", second["version"])["message"]
    assert operator.run("promote", merge["version"])["previous"] == aside["version"]
    assert "older" in operator.fail(3, "promote", aside["version"])["message"]
