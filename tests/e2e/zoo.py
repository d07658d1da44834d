"""A zoo of git repositories: for each state that one can be in, a function that makes it and says what is expected.

* `ZOO` has the functions by name. Each is handed an empty folder and the `origin`, a repository that all may clone and
  nobody changes; a state that needs another history makes one, with a bundle of its own.
* What is expected is git's word, given in a plain and whole repository: the commit, the version by ``git describe``,
  the content by ``git ls-tree`` and ``git cat-file``.
* A state that is refused says how to mend it: by a command that the hint names. After it the same is expected as of
  any other.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tests.e2e.harness import Content, Repository, environment

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    Maker = Callable[["Origin", Path], "State"]

BUNDLE = "zoo"
PATTERN = "v[0-9]*"
OTHERS = 12345
"""A user id that is not ours, and that need not exist."""


@dataclass(frozen=True)
class Refusal:
    """How commands end: exit code, error code, and what the message has to name."""

    exit_code: int
    code: str
    names: tuple[str, ...]
    mend: str | None = None
    """A command of the hint."""
    before_mending: Callable[[], object] = lambda: None


@dataclass(frozen=True)
class State:
    """A repository, how dagferry is run in it, and what is expected (after it was mended, if it is refused)."""

    folder: Path
    commit: str = ""
    version: str = ""
    content: Content = field(default_factory=dict)
    rev: str = "HEAD"
    env: Mapping[str, str | None] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    refused: Refusal | None = None
    untouched: tuple[Path, ...] = ()
    """Files that come to be if a program of the repository's configuration was run."""


class Origin(Repository):
    """A history with merges, tags of all sorts and a subfolder that is not delivered."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, config=config_of(BUNDLE))
        self.first = self.change({"dags/a.py": "A = 1\n", "docs/x.md": "x\n"}, "first")
        self.git("tag", "--annotate", "--message=one", "v1.0")
        self.git("checkout", "--quiet", "-b", "aside")
        self.change({"dags/aside.py": "ASIDE = 1\n"}, "aside, once")
        self.aside = self.change({"dags/aside.py": "ASIDE = 2\n"}, "aside, twice")
        self.git("tag", "v1.5")
        self.git("checkout", "--quiet", "main")
        self.second = self.change({"dags/sub/b.py": "B = 1\n"}, "fix: the second")
        self.git("merge", "--quiet", "--no-ff", "--message=merge aside", "aside")
        self.merge = self.git("rev-parse", "HEAD")
        self.write("dags/run.sh", "#!/bin/sh\n", executable=True)
        self.head = self.commit("head")
        self.git("config", "uploadpack.allowFilter", "true")
        self.git("config", "uploadpack.allowAnySHA1InWant", "true")

    @cached_property
    def helps_partial_clones(self) -> bool:
        """Whether this git fetches what a partial clone lacks without being asked, and cannot be told not to."""
        clone = self.clone(self.path.with_name("probe"), "--filter=blob:none", "--no-checkout")
        look = ["git", "cat-file", "-e", "HEAD:dagferry.toml"]
        env = environment(GIT_NO_LAZY_FETCH="1")
        return not subprocess.run(look, cwd=clone, env=env, capture_output=True, check=False).returncode

    def clone(self, folder: Path, *options: str) -> Path:
        """A clone of it, by the protocol that a server speaks."""
        self.git("clone", "--quiet", *options, self.path.as_uri(), str(folder))
        return folder


def config_of(bundle: str, rest: str = 'root = "dags"\n') -> str:
    """A config file with one bundle."""
    return f"[bundles.{bundle}]\n{rest}"


def described(repository: Repository, rev: str = "HEAD", pattern: str = PATTERN) -> str:
    """The version of a commit by git's own word."""
    commit = repository.git("rev-parse", rev + "^{commit}")
    if not repository.git("tag", "--merged", commit, "--list", pattern):
        return f"0.0.0-{repository.git('rev-list', '--count', commit)}-g{commit[:12]}"
    said = repository.git("describe", "--tags", "--long", "--abbrev=12", "--match", pattern, commit)
    return re.sub("[^A-Za-z0-9._+-]", "-", said)


def of(
    repository: Repository,
    folder: Path,
    rev: str = "HEAD",
    *,
    content: Content | None = None,
    env: Mapping[str, str | None] | None = None,
    refused: Refusal | None = None,
    **more: Any,  # noqa: ANN401
) -> State:
    """``folder``, of which the same is expected as git says of ``rev`` in ``repository``."""
    commit = repository.git("rev-parse", rev + "^{commit}")
    expected = repository.content(commit) if content is None else content
    return State(folder, commit, described(repository, commit), expected, env=env or {}, refused=refused, **more)


def own(folder: Path, name: str, rest: str = 'root = "dags"\n') -> Repository:
    """A repository with a history and a bundle of its own."""
    return Repository(folder, config=config_of(name, rest))


def git(folder: Path, *arguments: str, **env: str) -> str:
    """What git says in ``folder``; for what is no `Repository`."""
    command = ["git", "-c", "protocol.file.allow=always", "-c", "user.name=Ada", "-c", "user.email=a@example.com"]
    done = subprocess.run(
        [*command, *arguments], cwd=folder, env=environment(**env), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"git {arguments}: {done.stderr}"
    return done.stdout.rstrip("\n")


ZOO: dict[str, Maker] = {}
NAMED = {"DAGFERRY_BUNDLE": BUNDLE}
"""For repositories without a checkout, where no config file says which bundle is meant."""


def state(maker: Maker) -> Maker:
    """Put a state into the zoo."""
    ZOO[maker.__name__] = maker
    return maker


# --- where from


@state
def plain_clone(origin: Origin, folder: Path) -> State:
    return of(origin, origin.clone(folder / "clone"))


@state
def bare_repository(origin: Origin, folder: Path) -> State:
    return of(origin, origin.clone(folder / "bare.git", "--bare"), env=NAMED)


@state
def bare_repository_and_no_bundle_named(origin: Origin, folder: Path) -> State:
    return of(origin, origin.clone(folder / "bare.git", "--bare"))


@state
def linked_worktree(origin: Origin, folder: Path) -> State:
    clone = origin.clone(folder / "clone")
    git(clone, "worktree", "add", "--quiet", "--detach", "../tree", origin.second)
    return of(origin, folder / "tree", origin.second)


@state
def worktree_of_a_bare_repository(origin: Origin, folder: Path) -> State:
    bare = origin.clone(folder / "bare.git", "--bare")
    git(bare, "worktree", "add", "--quiet", "../tree", "aside")
    return of(origin, folder / "tree", "aside")


@state
def git_folder_that_is_elsewhere(origin: Origin, folder: Path) -> State:
    return of(origin, origin.clone(folder / "clone", "--separate-git-dir", str(folder / "elsewhere.git")))


@state
def checkout_of_a_submodule(origin: Origin, folder: Path) -> State:
    above = own(folder / "above", "above")
    above.change({"dags/above.py": ""})
    above.git("submodule", "--quiet", "add", origin.path.as_uri(), "vendored/zoo")
    assert (above.path / "vendored/zoo/.git").is_file()
    return of(origin, above.path / "vendored/zoo")


@state
def repository_with_a_submodule(origin: Origin, folder: Path) -> State:
    above = own(folder / "clone", "above")
    above.change({"dags/above.py": "ABOVE = 1\n"})
    content = above.content()
    above.git("submodule", "--quiet", "add", origin.path.as_uri(), "dags/vendored")
    above.commit()
    return of(above, above.path, content=content, left_out={"vendored": "submodule"})


@state
def detached_head(origin: Origin, folder: Path) -> State:
    clone = origin.clone(folder / "clone")
    git(clone, "checkout", "--quiet", "--detach", origin.merge)
    return of(origin, clone, origin.merge)


@state
def subfolder_of_a_clone(origin: Origin, folder: Path) -> State:
    return of(origin, origin.clone(folder / "clone") / "dags/sub")


@state
def clone_behind_a_link(origin: Origin, folder: Path) -> State:
    origin.clone(folder / "clone")
    (folder / "link").symlink_to("clone/docs")
    return of(origin, folder / "link")


@state
def folder_with_a_line_end_in_its_name(origin: Origin, folder: Path) -> State:
    return of(origin, origin.clone(folder / "two\nlines\n"))


@state
def folder_with_spaces_quotes_and_umlauts_in_its_name(origin: Origin, folder: Path) -> State:
    return of(origin, origin.clone(folder / " große 'DAGs' \"$HOME\" `日本` "))


@state
def folder_with_an_nfd_name(origin: Origin, folder: Path) -> State:
    return of(origin, origin.clone(folder / "u\u0308ber"))


@state
def folder_whose_name_is_not_utf8(origin: Origin, folder: Path) -> State:
    clone = origin.clone(folder / "clone")
    other = folder / os.fsdecode(b"latin-\xfc")
    clone.rename(other)
    return of(origin, other)


@state
def unborn_branch(origin: Origin, folder: Path) -> State:
    clone = origin.clone(folder / "clone")
    git(clone, "checkout", "--quiet", "--orphan", "new")
    return State(clone, refused=Refusal(2, "unknown_revision", ("'HEAD'", str(clone))))


@state
def repository_of_another_user(origin: Origin, folder: Path) -> State:
    clone = origin.clone(folder / "the clone's folder")
    for path in (clone, *clone.rglob("*")):
        os.lchown(path, OTHERS, OTHERS)
    (folder / "home").mkdir()
    env = {"HOME": str(folder / "home"), "GIT_CONFIG_GLOBAL": None}
    mend = f"git config --global --add safe.directory {shlex.quote(str(clone))}"
    return of(origin, clone, env=env, refused=Refusal(2, "unsafe_repository", (str(clone),), mend))


# --- what was not fetched


REFETCH = "git fetch --refetch --no-filter"


def _partial(origin: Origin, folder: Path, what: str) -> Path:
    return origin.clone(folder / "clone", f"--filter={what}", "--no-checkout")


def _lacking(origin: Origin, clone: Path, code: str, *names: str) -> State:
    """A partial clone whose origin is there: git helps itself, or the hint says how to."""
    refused = None if origin.helps_partial_clones else Refusal(1, code, names, REFETCH)
    return of(origin, clone, env=NAMED, refused=refused)


def _alone(origin: Origin, clone: Path, code: str, *names: str) -> State:
    """A partial clone whose origin is gone, until it comes back for the mending."""
    gone = clone.with_name("gone")
    git(clone, "remote", "set-url", "origin", gone.as_uri())
    refused = Refusal(1, code, names, REFETCH, before_mending=lambda: gone.symlink_to(origin.path))
    return of(origin, clone, env=NAMED, refused=refused)


@state
def clone_without_blobs(origin: Origin, folder: Path) -> State:
    return _lacking(origin, _partial(origin, folder, "blob:none"), "missing_blob", "dagferry.toml")


@state
def clone_without_blobs_whose_origin_is_gone(origin: Origin, folder: Path) -> State:
    return _alone(origin, _partial(origin, folder, "blob:none"), "missing_blob", "dagferry.toml")


def _with_config_only(origin: Origin, folder: Path) -> Path:
    clone = _partial(origin, folder, "blob:none")
    git(clone, "cat-file", "blob", "HEAD:dagferry.toml")
    return clone


@state
def clone_without_blobs_but_its_config_whose_origin_is_gone(origin: Origin, folder: Path) -> State:
    return _alone(origin, _with_config_only(origin, folder), "cannot_pack", "4 problem", "a.py", "sub/b.py", "run.sh")


@state
def clone_that_lacks_what_links_lead_to(origin: Origin, folder: Path) -> State:
    repository = own(folder / "origin", "lacking-links")
    repository.git("config", "uploadpack.allowFilter", "true")
    repository.git("config", "uploadpack.allowAnySHA1InWant", "true")
    repository.link("dags/lib", "../lib")
    repository.link("dags/sql", "../sql")
    files = {"a.py": b"A = 1\n", "lib/x.py": b"X = 1\n", "lib/y.py": b"Y = 1\n", "sql/q.sql": b"SELECT 1\n"}
    repository.change({("dags/" if "/" not in path else "") + path: text for path, text in files.items()})
    clone = folder / "clone"
    git(folder, "clone", "--quiet", "--no-checkout", "--filter=blob:none", repository.path.as_uri(), str(clone))
    for path in ("dagferry.toml", "dags/a.py", "dags/lib", "dags/sql", "lib/y.py"):
        git(clone, "cat-file", "blob", f"HEAD:{path}")
    gone = repository.path.rename(folder / "gone")
    names = ("2 problem", "lib/x.py", "sql/q.sql")
    refused = Refusal(1, "cannot_pack", names, REFETCH, lambda: gone.rename(repository.path))
    commit = git(clone, "rev-parse", "HEAD")
    content = {path: (False, text) for path, text in files.items()}
    env = {"DAGFERRY_BUNDLE": "lacking-links"}
    return State(clone, commit, f"0.0.0-1-g{commit[:12]}", content, env=env, refused=refused)


@state
def checkout_of_a_clone_without_blobs_whose_origin_is_gone(origin: Origin, folder: Path) -> State:
    clone = origin.clone(folder / "clone", "--filter=blob:none")
    git(clone, "remote", "set-url", "origin", (folder / "gone").as_uri())
    return of(origin, clone)


@state
def clone_without_trees(origin: Origin, folder: Path) -> State:
    return _lacking(origin, _partial(origin, folder, "tree:0"), "missing_tree", "dagferry.toml")


@state
def clone_without_trees_whose_origin_is_gone(origin: Origin, folder: Path) -> State:
    return _alone(origin, _partial(origin, folder, "tree:0"), "missing_tree", origin.head[:12])


def _without(origin: Origin, folder: Path, path: str) -> Path:
    """A whole clone that has lost one blob."""
    clone = origin.clone(folder / "clone")
    pack = next(clone.glob(".git/objects/pack/*.pack"))
    packed = pack.read_bytes()
    for part in pack.parent.iterdir():
        part.unlink()
    subprocess.run(["git", "unpack-objects", "-q"], cwd=clone, input=packed, env=environment(), check=True)
    blob = git(clone, "rev-parse", f"HEAD:{path}")
    (clone / ".git/objects" / blob[:2] / blob[2:]).unlink()
    return clone


@state
def damaged_clone_that_lacks_a_file(origin: Origin, folder: Path) -> State:
    return of(origin, _without(origin, folder, "dags/a.py"), refused=Refusal(1, "cannot_pack", ("a.py",), REFETCH))


@state
def damaged_clone_that_lacks_the_config_file(origin: Origin, folder: Path) -> State:
    clone = _without(origin, folder, "dagferry.toml")
    return of(origin, clone, env=NAMED, refused=Refusal(1, "missing_blob", ("dagferry.toml",), REFETCH))


@state
def shallow_clone(origin: Origin, folder: Path) -> State:
    clone = origin.clone(folder / "clone", "--depth=1")
    return of(origin, clone, refused=Refusal(2, "shallow_clone", (str(clone),), "git fetch --unshallow --tags"))


@state
def shallow_clone_with_a_tag_on_its_head(origin: Origin, folder: Path) -> State:
    return of(origin, origin.clone(folder / "clone", "--depth=1", "--branch=v1.5"), "v1.5")


@state
def shallow_clone_with_a_tag_further_down(origin: Origin, folder: Path) -> State:
    clone = origin.clone(folder / "clone", "--depth=3")
    git(clone, "fetch", "--quiet", "--depth=3", "--tags")
    return of(origin, clone, refused=Refusal(2, "shallow_clone", (str(clone),), "git fetch --unshallow --tags"))


@state
def clone_that_a_fetch_made_shallow(origin: Origin, folder: Path) -> State:
    clone = origin.clone(folder / "clone")
    git(clone, "fetch", "--quiet", "--depth=1", "origin", "main")
    return of(origin, clone, refused=Refusal(2, "shallow_clone", (str(clone),), "git fetch --unshallow --tags"))


@state
def clone_of_one_branch_without_tags(origin: Origin, folder: Path) -> State:
    clone = origin.clone(folder / "clone", "--single-branch", "--no-tags")
    count = origin.git("rev-list", "--count", "HEAD")
    bare = of(origin, clone)
    return State(clone, bare.commit, f"0.0.0-{count}-g{bare.commit[:12]}", bare.content)


# --- how objects are found


@state
def sha256_repository(origin: Origin, folder: Path) -> State:
    repository = own(folder / "clone", "sha256")
    shutil.rmtree(repository.path / ".git")
    repository.git("init", "--quiet", "--initial-branch=main", "--object-format=sha256")
    repository.link("dags/lib", "../lib")
    repository.change({"dags/a.py": "A = 1\n", "lib/x.py": "X = 1\n"})
    content = {"a.py": (False, b"A = 1\n"), "lib/x.py": (False, b"X = 1\n")}
    repository.git("tag", "v1.0")
    assert len(repository.git("rev-parse", "HEAD")) == 64
    return of(repository, repository.path, content=content)


@state
def replaced_blob(origin: Origin, folder: Path) -> State:
    clone = origin.clone(folder / "clone")
    git(clone, "replace", "HEAD:dags/a.py", "HEAD:dags/sub/b.py")
    return of(origin, clone)


@state
def replaced_commit(origin: Origin, folder: Path) -> State:
    clone = origin.clone(folder / "clone")
    git(clone, "replace", "HEAD", origin.aside)
    return of(origin, clone)


@state
def grafted_history(origin: Origin, folder: Path) -> State:
    clone = origin.clone(folder / "clone")
    (clone / ".git/info/grafts").write_text(f"{origin.head}\n")  # a commit without parents
    return of(origin, clone)


@state
def clone_that_borrows_objects(origin: Origin, folder: Path) -> State:
    origin.git("clone", "--quiet", "--shared", str(origin.path), str(folder / "clone"))
    return of(origin, folder / "clone")


@state
def clone_whose_lender_is_gone(origin: Origin, folder: Path) -> State:
    origin.git("clone", "--quiet", "--bare", str(origin.path), str(folder / "lender"))
    origin.git("clone", "--quiet", "--shared", str(folder / "lender"), str(folder / "clone"))
    (folder / "lender").rename(folder / "gone")
    return State(
        folder / "clone", refused=Refusal(2, "unknown_revision", (str(folder / "clone"), origin.head, "lacks"))
    )


@state
def packed_refs_and_objects(origin: Origin, folder: Path) -> State:
    clone = origin.clone(folder / "clone")
    git(clone, "pack-refs", "--all")
    git(clone, "gc", "--quiet")
    git(clone, "commit-graph", "write", "--reachable")
    return of(origin, clone)


# --- configuration and environment


def _hook(folder: Path, name: str) -> tuple[Path, Path]:
    """A program, and the file that it leaves when it is run."""
    program, marker = folder / name, folder / f"{name}-was-run"
    program.write_text(f"#!/bin/sh\necho run >> '{marker}'\n")
    program.chmod(0o755)
    return program, marker


@state
def configuration_that_changes_what_git_prints(origin: Origin, folder: Path) -> State:
    clone = origin.clone(folder / "clone")
    (folder / "attributes").write_text("*.py export-ignore\n*.sh filter=lfs\n")
    for setting in (
        f"core.attributesFile={folder / 'attributes'}",
        "core.abbrev=4",
        "core.autocrlf=true",
        "core.ignoreCase=true",
        "core.precomposeUnicode=true",
        "core.quotePath=true",
        "color.ui=always",
        "i18n.logOutputEncoding=UTF-16",
        "log.showSignature=true",
        "log.date=relative",
        "rev-list.abbrev=4",
        "status.showUntrackedFiles=no",
        "versionsort.suffix=-rc",
        "alias.rev-parse=version",
    ):
        git(clone, "config", *setting.split("=", 1))
    return of(origin, clone)


@state
def configuration_that_runs_programs(origin: Origin, folder: Path) -> State:
    clone = origin.clone(folder / "clone")
    hooks = folder / "hooks"
    hooks.mkdir()
    _, changed = _hook(hooks, "post-index-change")
    watcher, watched = _hook(folder, "watcher")
    differ, differed = _hook(folder, "differ")
    pager, paged = _hook(folder, "pager")
    for name, value in {
        "core.fsmonitor": watcher,
        "core.hooksPath": hooks,
        "diff.external": differ,
        "core.pager": pager,
        "gpg.program": differ,
        "core.sshCommand": differ,
        "credential.helper": differ,
    }.items():
        git(clone, "config", name, str(value))
    (clone / "dags/a.py").write_text("an uncommitted change\n")
    for marker in (watched, changed, differed, paged):
        marker.unlink(missing_ok=True)
    return of(origin, clone, untouched=(watched, changed, differed, paged))


@state
def configuration_in_odd_shapes(origin: Origin, folder: Path) -> State:
    clone = origin.clone(folder / "clone")
    config = clone / ".git/config"
    more = '[core]\n\tlogAllRefUpdates\n[odd "sub\\"section"] key = "a;b" ; comment\n[Core] ABBREV = \\\n7\n'
    more += '[include]\n\tpath = nowhere\n[includeIf "onbranch:main"]\n\tpath = more\n'
    config.write_text(config.read_text() + more)
    (clone / ".git/more").write_text("[core]\n\tquotePath = false\n")
    return of(origin, clone)


@state
def configuration_that_git_cannot_read(origin: Origin, folder: Path) -> State:
    clone = origin.clone(folder / "clone")
    git(clone, "config", "core.abbrev", "seven")
    return of(origin, clone, refused=Refusal(5, "machine", ("core.abbrev", "seven")))


@state
def variables_of_a_hook(origin: Origin, folder: Path) -> State:
    clone = origin.clone(folder / "clone")
    decoy = own(folder / "decoy", "decoy")
    decoy.change({"dags/decoy.py": ""})
    env = {
        "GIT_DIR": str(decoy.path / ".git"),
        "GIT_INDEX_FILE": str(decoy.path / ".git/index"),
        "GIT_WORK_TREE": str(decoy.path),
        "GIT_COMMON_DIR": str(decoy.path / ".git"),
        "GIT_OBJECT_DIRECTORY": str(decoy.path / ".git/objects"),
        "GIT_CEILING_DIRECTORIES": str(folder),
        "GIT_NAMESPACE": "decoy",
        "GIT_DEFAULT_HASH": "sha256",
        "GIT_TRACE": "1",
        "GIT_PREFIX": "dags/",
        "GIT_LITERAL_PATHSPECS": "1",
        "GIT_GRAFT_FILE": str(folder / "grafts"),
    }
    (folder / "grafts").write_text(f"{origin.head}\n")
    return of(origin, clone / "dags", env=env)


# --- tags


def _tagged(folder: Path, name: str, *tags: tuple[str, ...]) -> State:
    """A history of one commit with these tags, an hour one after the other, and of one commit after it."""
    repository = own(folder / "clone", name)
    repository.change({"dags/a.py": "A = 1\n"})
    for hour, tag in enumerate(tags):
        git(repository.path, "tag", *tag, GIT_COMMITTER_DATE=f"2026-02-01 {hour:02}:00:00 +0000")
    repository.change({"dags/b.py": "B = 1\n"})
    return of(repository, repository.path)


@state
def no_tag(origin: Origin, folder: Path) -> State:
    return _tagged(folder, "no-tag")


@state
def only_light_tags(origin: Origin, folder: Path) -> State:
    return _tagged(folder, "light-tags", ("v1.0",), ("v1.1",))


@state
def annotated_tag_beside_a_light_one(origin: Origin, folder: Path) -> State:
    made = _tagged(folder, "annotated-and-light", ("v9.0",), ("-a", "-m", "one", "v1.0"))
    assert made.version.startswith("v1.0-1-g")
    return made


@state
def two_annotated_tags_on_one_commit(origin: Origin, folder: Path) -> State:
    made = _tagged(folder, "two-annotated", ("-a", "-m", "older", "v9.0"), ("-a", "-m", "newer", "v1.0"))
    assert made.version.startswith("v1.0-1-g")
    return made


@state
def tag_that_the_pattern_does_not_match(origin: Origin, folder: Path) -> State:
    return _tagged(folder, "no-match", ("nightly-7",), ("-a", "-m", "x", "release/1"))


@state
def tag_with_slashes(origin: Origin, folder: Path) -> State:
    repository = own(folder / "clone", "slashes", 'root = "dags"\nversion_pattern = "team/etl/*"\n')
    repository.change({"dags/a.py": "A = 1\n"})
    repository.git("tag", "team/etl/1.0+é")
    commit = repository.git("rev-parse", "HEAD")
    version = described(repository, pattern="team/etl/*")
    assert version == f"team-etl-1.0+--0-g{commit[:12]}"
    return State(repository.path, commit, version, repository.content())


@state
def tag_of_a_branch_that_was_not_merged(origin: Origin, folder: Path) -> State:
    clone = origin.clone(folder / "clone")
    git(clone, "checkout", "--quiet", "--detach", origin.second)
    made = of(origin, clone, origin.second)
    assert made.version.startswith("v1.0-1-g")
    return made


@state
def branch_of_the_name_of_a_tag(origin: Origin, folder: Path) -> State:
    clone = origin.clone(folder / "clone")
    git(clone, "branch", "v1.0", origin.second)
    return of(origin, clone)


@state
def tag_of_a_tag(origin: Origin, folder: Path) -> State:
    return _tagged(folder, "nested-tag", ("-a", "-m", "inner", "v1.0"), ("-a", "-m", "outer", "v2.0", "v1.0"))


# --- what of it


@state
def roots_as_a_list(origin: Origin, folder: Path) -> State:
    repository = own(folder / "clone", "roots-list", 'roots = ["dags", "sql/etl"]\n')
    repository.change({"dags/a.py": "A = 1\n", "sql/etl/q.sql": "SELECT 1\n", "other/o.py": ""})
    content = {"dags/a.py": (False, b"A = 1\n"), "sql/etl/q.sql": (False, b"SELECT 1\n")}
    return of(repository, repository.path, content=content)


@state
def roots_as_a_table(origin: Origin, folder: Path) -> State:
    rest = '[bundles.roots-table.roots]\n"." = "team/dags"\n"include/sql" = "shared/sql"\n'
    repository = own(folder / "clone", "roots-table", rest)
    repository.change({"team/dags/a.py": "A = 1\n", "shared/sql/q.sql": "SELECT 1\n", "other/o.py": ""})
    content = {"a.py": (False, b"A = 1\n"), "include/sql/q.sql": (False, b"SELECT 1\n")}
    return of(repository, repository.path, content=content)


@state
def config_file_in_a_subfolder(origin: Origin, folder: Path) -> State:
    repository = Repository(folder / "clone", config="")
    files = {"team_a/dags/a.py": "A = 1\n", "team_b/dags/b.py": "", "dags/not_this.py": ""}
    repository.change({**files, "team_a/dagferry.toml": config_of("team-a")})
    content = repository.content(root="team_a/dags")
    return of(repository, repository.path / "team_a", content=content)


@state
def bundle_that_is_chosen_of_several(origin: Origin, folder: Path) -> State:
    config = config_of("one", 'root = "one"\n') + config_of("two", 'root = "two"\n')
    repository = Repository(folder / "clone", config=config)
    repository.change({"one/a.py": "A = 1\n", "two/b.py": "B = 1\n"})
    env = {"DAGFERRY_BUNDLE": "two"}
    return of(repository, repository.path, env=env, content=repository.content(root="two"))


@state
def several_bundles_and_none_chosen(origin: Origin, folder: Path) -> State:
    config = config_of("one", 'root = "one"\n') + config_of("two", 'root = "two"\n')
    repository = Repository(folder / "clone", config=config)
    repository.change({"one/a.py": "A = 1\n", "two/b.py": "B = 1\n"})
    return State(repository.path, refused=Refusal(2, "no_bundle", ("one", "two")))


@state
def config_in_pyproject(origin: Origin, folder: Path) -> State:
    repository = Repository(folder / "clone", config="")
    repository.change({"dags/a.py": "A = 1\n", "pyproject.toml": '[tool.dagferry.bundles.pyproject]\nroot = "dags"\n'})
    return of(repository, repository.path)


@state
def rules_of_every_kind(origin: Origin, folder: Path) -> State:
    rest = 'root = "dags"\nexclude = ["/drafts/", "*.md"]\ninclude = ["*.py", "*.sql"]\n'
    repository = own(folder / "clone", "rules", rest)
    names = ("a.py", "q.sql", "notes.md", "drafts/d.py", "tests/t.py", "old/o.py", "data.csv")
    files: dict[str, str | bytes] = {f"dags/{name}": f"# {name}\n" for name in names}
    files |= {".gitattributes": "tests export-ignore\n", "dags/.dagferryignore": "old/\n"}
    repository.change(files)
    (repository.path / ".git/info/attributes").write_text("*.py export-ignore\n")
    repository.write("dags/.gitattributes", "*.sql export-ignore\n")  # not committed
    left_out = {
        ".dagferryignore": ".dagferryignore",
        "data.csv": "include: no pattern takes it",
        "drafts/d.py": "exclude: /drafts/",
        "notes.md": "exclude: *.md",
        "old/o.py": "dags/.dagferryignore: old/",
        "tests/t.py": "export-ignore",
    }
    content = {name: (False, f"# {name}\n".encode()) for name in ("a.py", "q.sql")}
    return of(repository, repository.path, content=content, left_out=left_out)


# --- how


@state
def links_of_all_kinds(origin: Origin, folder: Path) -> State:
    repository = own(folder / "clone", "links")
    repository.link("dags/file.py", "real.py")
    repository.link("dags/folder", "../shared")
    repository.link("dags/deep/up.py", "../../shared/x.py")
    repository.link("dags/chain.py", "file.py")
    repository.write("shared/run.sh", "#!/bin/sh\n", executable=True)
    repository.change({"dags/real.py": "REAL = 1\n", "shared/x.py": "X = 1\n"})
    real, x, run = (False, b"REAL = 1\n"), (False, b"X = 1\n"), (True, b"#!/bin/sh\n")
    content = dict.fromkeys(("real.py", "file.py", "chain.py"), real) | dict.fromkeys(("folder/x.py", "deep/up.py"), x)
    return of(repository, repository.path, content={**content, "folder/run.sh": run})


@state
def attributes_that_ask_for_conversions(origin: Origin, folder: Path) -> State:
    repository = own(folder / "clone", "attributes")
    repository.change({"dags/crlf.py": b"A = 1\r\n", "dags/id.py": "# $Id$\n", "dags/x.py": "# $Format:%H$\n"})
    repository.change({"dags/.gitattributes": "crlf.py text eol=lf\nid.py ident\nx.py export-subst filter=nowhere\n"})
    return of(repository, repository.path)


@state
def everything_that_is_refused_at_once(origin: Origin, folder: Path) -> State:
    repository = own(folder / "clone", "refused")
    pointer = "version https://lfs.example/spec/v1\noid sha256:" + "0" * 64 + "\nsize 12345\n"
    repository.write("dags/fine.py", "")
    repository.write("dags/model.bin", pointer)
    repository.git("add", "--all")
    blob = repository.git("hash-object", "-w", "--stdin", content=b"")
    target = repository.git("hash-object", "-w", "--stdin", content=b"gone.py")
    names = [b"Case.py", b"case.py", b"nfd-a\xcc\x88.py", b"control-\x07.py", b"not-utf8-\xff.py", b"back\\slash.py"]
    names += [b"long-" + b"n" * 260, b"/".join([b"deep"] * 33), b"STRASSE.py", "straße.py".encode()]
    index = b"".join(f"100644 {blob}\tdags/".encode() + name + b"\0" for name in names)
    index += f"120000 {target}\tdags/dangling.py\0".encode()
    repository.git("update-index", "-z", "--index-info", content=index)
    repository.git("commit", "--quiet", "--message=bad")
    shown = ("Case.py", "case.py", "nfd-a", "control-", "not-utf8-", "slash.py", "long-n", "deep/deep", "straße.py")
    return State(repository.path, refused=Refusal(1, "cannot_pack", (*shown, "dangling.py", "model.bin", "STRASSE.py")))
