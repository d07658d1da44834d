"""The DAG repository of the demo: the sample or a clone, its commits, and what git says that a commit holds."""

from __future__ import annotations

import shlex
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dagferry_builder import config

from .story import Broken

if TYPE_CHECKING:
    from .commands import Commands
    from .story import Story

SAMPLE: Final = Path(__file__).resolve().parents[1] / "sample-dags"
FIRST_COMMIT: Final = 1790841600  # 2026-10-01T08:00:00Z; every commit of the demo is a day later
EXTRA_FILE: Final = "dagferry_demo.py"


class Repository:
    """A working tree below ``folder``, in which the commands run from then on."""

    def __init__(self, story: Story, commands: Commands, folder: Path, original: Path | None) -> None:
        self._story = story
        self._commands = commands
        self._commits = 0
        self.is_sample = original is None
        if original is None:
            self.clone = folder / "shop-dags"
            self._make_sample()
        else:
            self.clone = folder / (original.name.removesuffix(".git") or "dags")
            self._clone_from(original)
        bundles = config.find(self.clone).config.bundles
        if not bundles:
            raise Broken("the repository's dagferry.toml names no bundle")
        self.bundle, bundle = next(iter(bundles.items()))
        self.root = bundle.selection.folders[0]
        self.bundles = len(bundles)

    def git(self, *words: str, show: bool = False) -> str:
        """Run git at a fixed time and as a fixed person."""
        date = f"{FIRST_COMMIT + 86400 * self._commits} +0000"
        who = {f"GIT_{role}_{what}": value for role in ("AUTHOR", "COMMITTER")
               for what, value in (("NAME", "Ada"), ("EMAIL", "ada@example.com"), ("DATE", date))}  # fmt: skip
        return self._commands.run("git", *words, show=show, env=who)

    def commit(self, message: str) -> None:
        self._commits += 1
        self.git("add", "--all", "--force")
        self._story.command("git", "commit", "-a", "-m", shlex.quote(message))
        self.git("commit", "--quiet", "--no-verify", "-m", message)

    def revert(self) -> None:
        """Take the last commit back, by another one."""
        self._commits += 1
        self._story.command("git", "revert", "--no-edit", "HEAD")
        self.git("revert", "--no-edit", "HEAD")

    def change(self, sample: tuple[str, str, str], extra: str, message: str) -> None:
        """Commit a change: in the sample a line of a DAG, elsewhere a small file of ours."""
        path, old, new = sample
        file = self.clone / path
        if file.is_file() and old in file.read_text():
            file.write_text(file.read_text().replace(old, new))
        else:
            (self.clone / self.root / EXTRA_FILE).write_text(extra)
        self.commit(message)

    def _make_sample(self) -> None:
        """The sample as a repository with three commits, the last one tagged."""
        self.clone.mkdir(parents=True)
        self._commands.cwd = self.clone
        self.git("init", "--quiet", "--initial-branch=main")
        parts = (("dagferry.toml", "README.md", "dags/.airflowignore", "dags/shop", "dags/sql", "dags/daily_sales.py"),
                 ("dags/hourly_stock.py",), ("dags/weekly_cleanup.py",))  # fmt: skip
        said = ("Daily sales, and what the DAGs share", "Order what runs out", "Remove old files")
        for paths, message in zip(parts, said, strict=True):
            for path in paths:
                _copy_plain(SAMPLE / path, self.clone / path)
            self._commits += 1
            self.git("add", "--all", "--force")
            self.git("commit", "--quiet", "--no-verify", "-m", message)
        self.git("tag", "v1.0.0")

    def _clone_from(self, original: Path) -> None:
        """A clone of somebody's repository; with a dagferry.toml, which is made if there is none."""
        self._story.command("git", "clone", shlex.quote(str(original)), self._commands.as_typed(str(self.clone)))
        self.git("clone", "--quiet", str(original), str(self.clone))
        self._commands.cwd = self.clone
        if not self.git("for-each-ref", "--count=1").strip():
            raise Broken(f"{original} has no commits")
        if config.find(self.clone).path is None:
            self._commands.run("dagferry", "init")
            self.commit("Add dagferry.toml")

    def compare(self, commit: str, live: Path) -> tuple[int, int]:
        """Compare a folder with the commit; links and submodules are the builder's business, not git's blobs.

        The number of its files, and of their bytes. Raises `Broken`.
        """
        found = {path.relative_to(live).as_posix(): path for path in live.rglob("*") if path.is_file()}
        entries = self._entries(commit)
        special = any(mode in ("120000", "160000") for mode, _ in entries.values())
        wanted = {path: entry for path, entry in entries.items() if entry[0] in ("100644", "100755")}
        if wanted.keys() - found.keys() or (found.keys() - wanted.keys() and not special):
            raise Broken(f"the live files are not those of git: {sorted(wanted.keys() ^ found.keys())[:10]}")
        listed = "".join(f"{found[path]}\n" for path in wanted)
        words = ("git", "hash-object", "--no-filters", "--stdin-paths")
        digests = self._commands.run(*words, show=False, stdin=listed).split()
        for (path, (mode, blob)), digest in zip(wanted.items(), digests, strict=True):
            executable = bool(found[path].stat().st_mode & stat.S_IXUSR)
            if digest != blob or executable != (mode == "100755"):
                raise Broken(f"{path} is not what git has")
        return len(found), sum(path.stat().st_size for path in found.values())

    def _entries(self, commit: str) -> dict[str, tuple[str, str]]:
        place = f"{commit}:{self.root}" if self.root else commit
        entries = {}
        for line in self.git("ls-tree", "-r", "-z", "--full-tree", place).split("\0"):
            if line:
                facts, _, path = line.partition("\t")
                mode, _, blob = facts.split()
                entries[path] = (mode, blob)
        return entries


def _copy_plain(source: Path, target: Path) -> None:
    """Copy a file or folder of the sample without caches, and with plain modes whatever the umask."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        for path in sorted(source.iterdir()):
            if path.name != "__pycache__":
                _copy_plain(path, target / path.name)
    else:
        target.write_bytes(source.read_bytes())
