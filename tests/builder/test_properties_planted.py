"""Planted bugs in the builder: each is found by the property that is about it, on the plans that it tries every time.

Each is one edit in a copy of the source, which a process of its own imports in place of what is installed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from .properties import PROPERTIES

pytestmark = pytest.mark.planted

CHECKOUT: Final = Path(__file__).parents[2]
COMPONENTS: Final = ("schemas", "storage", "builder")
BUILDER, SCHEMAS = "builder/dagferry_builder/", "schemas/dagferry_schemas/"


@dataclass(frozen=True)
class Planted:
    """A bug: an edit of one file, and the property that has to fail."""

    property: str
    file: str
    old: str
    new: str


BUGS: Final = {
    "the x bit of a file is lost": Planted(
        "content",
        BUILDER + "selecting.py",
        "listing.add(Source(path[start:], mode == EXECUTABLE, entry))",
        "listing.add(Source(path[start:], False, entry))",
    ),
    "the x bit of what a link leads to is lost": Planted(
        "content",
        BUILDER + "selecting.py",
        "self._take(_placed(path, self._tree.entry(place)), stands, inside)",
        "self._take(Source(path, False, self._tree.entry(place)), stands, inside)",
    ),
    "an absolute link is one from the top of the commit": Planted(
        "content", BUILDER + "links.py", 'if target.startswith("/"):', 'if target.startswith("//"):'
    ),
    "a link out of the commit stays at its top": Planted(
        "content",
        BUILDER + "links.py",
        "                if not place:\n                    raise",
        "                if not place:\n                    continue\n                    raise",
    ),
    "a submodule is dropped in silence": Planted(
        "content", BUILDER + "selecting.py", "self.left_out.append(leaving.LeftOut(path, leaving.SUBMODULE))", "pass"
    ),
    "a pointer beside other faults is not named": Planted(
        "content", BUILDER + "selecting.py", "problems + lfs.find(repository, walk.sources)", "problems"
    ),
    "names that fold to the same are let through": Planted(
        "content", SCHEMAS + "paths.py", 'else unicodedata.normalize("NFC", name.casefold())', "else name"
    ),
    "names of one case are let through at a glance": Planted(
        "content", SCHEMAS + "paths.py", "[folder.lower() for folder in folders]", "folders"
    ),
    "what links led to comes last": Planted(
        "content",
        BUILDER + "sources.py",
        "self._linked.sort(key=_in_bytes)",
        "self._linked.sort(key=_in_bytes, reverse=True)",
    ),
    "a pax header comes a byte too early": Planted(
        "bytes", SCHEMAS + "plaintar.py", "_NAME_BYTES: Final = 100", "_NAME_BYTES: Final = 99"
    ),
    "a pax header does not count its line end": Planted(
        "bytes", SCHEMAS + "plaintar.py", "return str(length).encode() + tail", "return str(length - 1).encode() + tail"
    ),
    "a folder's entries are hashed in the order in which they ended": Planted(
        "bytes", SCHEMAS + "tree.py", "        self.entries.sort()\n", ""
    ),
    "one conversion is not asked for": Planted("attributes", BUILDER + "attributes.py", '"filter", "ident"', '"ident"'),
    "the attributes of a link are those of its own path": Planted(
        "attributes", BUILDER + "selecting.py", "said.get(source.entry.path, ())", "said.get(source.path, ())"
    ),
    "light tags do not count": Planted(
        "versions", BUILDER + "git.py", '"describe", "--tags", "--long"', '"describe", "--long"'
    ),
    "a slash in a tag is kept": Planted("versions", BUILDER + "versioning.py", "[^A-Za-z0-9._+-]", "[^A-Za-z0-9._+/-]"),
    "distance is counted along the first parents": Planted(
        "versions",
        BUILDER + "versioning.py",
        "repository.counting(commit.id))",
        'repository.counting(commit.id, "--first-parent"))',
    ),
    "a repository is where its working tree is": Planted(
        "clones", BUILDER + "git.py", 'top or asker.line("rev-parse", "--absolute-git-dir")', 'top or "/"'
    ),
}


def run(name: str, source: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Try one property with the dagferry whose components are in ``source``."""
    path = os.pathsep.join([*(str(source / one) for one in COMPONENTS), str(CHECKOUT)])
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.builder.properties", name],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def copy(tmp_path: Path) -> Path:
    for one in COMPONENTS:
        ignored = shutil.ignore_patterns("__pycache__", "build", "*.egg-info")
        shutil.copytree(CHECKOUT / one, tmp_path / "source" / one, ignore=ignored)
    return tmp_path / "source"


@pytest.mark.parametrize("name", PROPERTIES)
def test_property_holds_without_a_planted_bug(name: str, tmp_path: Path) -> None:
    done = run(name, copy(tmp_path), tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("bug", BUGS.values(), ids=BUGS)
def test_planted_bug_breaks_its_property(bug: Planted, tmp_path: Path) -> None:
    source = copy(tmp_path)
    file = source / bug.file
    text = file.read_text()
    assert text.count(bug.old) >= 1, f"{bug.file} has no longer {bug.old!r}"
    file.write_text(text.replace(bug.old, bug.new))
    done = run(bug.property, source, tmp_path)
    assert done.returncode == 1, done.stderr
    assert "Failing test case" in done.stderr or "Failing explicit" in done.stderr, done.stderr
