"""What must hold of the build of any commit, as functions of a plan; also a program, to try planted bugs on.

Each makes the repository of the plan, asks the oracle and the builder, and compares. `PROPERTIES` says of which plans
it must hold. ``python -m tests.builder.properties NAME`` ends with 0 if the property held, and with 1 and what was
found if it did not.

These are asserts outside test modules: ``conftest`` registers this module, so that a failing one says what it saw.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tarfile
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import zstandard
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis.errors import UnsatisfiedAssumption

from dagferry_builder import build
from dagferry_builder.config import Bundle
from dagferry_builder.git import Repository
from dagferry_builder.problems import CannotPack
from dagferry_builder.selection import Selection
from dagferry_schemas.errors import Usage

from . import oracle, plans

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from hypothesis.strategies import SearchStrategy

    from .plans import Plan


@dataclass(frozen=True)
class Scene:
    """The repository of a plan."""

    plan: Plan
    folder: Path
    commit: str

    @property
    def clone(self) -> Path:
        """Where it was made."""
        return self.folder / "clone"

    def checkout(self) -> oracle.Checkout:
        """The commit on a disk, beside the repository and not inside it."""
        return oracle.Checkout(self.clone, self.commit, self.folder)


@contextmanager
def made(plan: Plan) -> Iterator[Scene]:
    """A repository of ``plan``, for a while."""
    with tempfile.TemporaryDirectory(prefix="dagferry-plan-") as folder:
        yield Scene(plan, Path(folder), plans.make(plan, Path(folder) / "clone"))


@dataclass(frozen=True)
class Built:
    """What the builder made of a commit."""

    artifact: build.Artifact
    plain: bytes

    @property
    def document(self) -> bytes:
        """The version document."""
        return self.artifact.version.to_bytes()


def built(folder: Path, commit: str, root: str) -> Built:
    """What the builder makes of ``commit`` in the clone in ``folder``. Raises what it raises."""
    tarball = io.BytesIO()
    artifact = build.build(Repository(folder), Bundle("etl", Selection.below(root)), commit, tarball)
    tarball.seek(0)
    with zstandard.ZstdDecompressor().stream_reader(tarball, read_across_frames=True) as reader:
        return Built(artifact, reader.read())


# --- what holds of a commit


def delivers_what_a_checkout_holds(plan: Plan) -> None:
    """Every path, x bit and byte is delivered as a checkout has it, links followed; or all that is wrong is named."""
    with made(plan) as scene:
        expected = oracle.look(scene.checkout(), plan.root)
        try:
            found = built(scene.clone, scene.commit, plan.root)
        except CannotPack as refused:
            check_refusal(expected, refused, plan.root)
        except Usage as refused:
            assert refused.code == "empty_tree"
            wrong = expected.faults | expected.endless
            assert not (expected.files or wrong) or plan.root in wrong | expected.left_out
        else:
            assert not expected.faults | expected.endless
            check_content(expected, found)
            stored = oracle.blobs(scene.clone, scene.commit)
            assert all(stored[file.origin] == file.body for file in expected.files)


def check_content(expected: oracle.Expected, found: Built) -> None:
    """The files are the expected ones to the tree's list and to a tar reader, and so is what was left out."""
    wanted = [(file.path, file.executable, file.body) for file in expected.files]
    assert unpacked(found.plain) == wanted
    listed = [(file.path, file.executable, file.size) for file in found.artifact.packed.tree.files]
    assert listed == [(path, executable, len(body)) for path, executable, body in wanted]
    assert sorted(one.path for one in found.artifact.left_out) == sorted(expected.left_out)
    assert {one.rule for one in found.artifact.left_out} <= {"submodule"}


def unpacked(plain: bytes) -> list[tuple[str, bool, bytes]]:
    """What a tar reader finds."""
    with tarfile.open(fileobj=io.BytesIO(plain), mode="r:", encoding="utf-8") as archive:
        members = [(member, archive.extractfile(member)) for member in archive]
        assert {member.mode for member, _ in members} <= {0o644, 0o755}
        return [(member.name, member.mode == 0o755, body.read()) for member, body in members if body is not None]


def check_refusal(expected: oracle.Expected, refused: CannotPack, root: str) -> None:
    """All that is wrong is named, and nothing that is not. Along a circle of links, any path of it will do.

    Where the root is itself a link that leads nowhere, or into a circle, nothing else is looked at.
    """
    quoted = [[ast.literal_eval(one) for one in re.findall(_QUOTED, problem)] for problem in refused.problems]
    named, mentioned = {one[0] for one in quoted}, {path for one in quoted for path in one}
    if root and named == {root}:
        assert expected.endless or root in expected.faults | expected.left_out
        return
    assert {path for path in expected.endless if not any(_related(path, one) for one in named)} == set()
    assert {fault for fault in expected.faults - mentioned if not _is_below(fault, named)} == set(), refused.problems
    without_reason = {one for one in named - expected.faults if not any(_related(one, end) for end in expected.endless)}
    assert without_reason == set(), refused.problems


def packable(scene: Scene, checkout: oracle.Checkout) -> list[oracle.File]:
    """The files to deliver. Plans without one, or with a fault, are passed by: another property is about them."""
    expected = oracle.look(checkout, scene.plan.root)
    if not expected.files or expected.faults | expected.endless:
        raise UnsatisfiedAssumption
    return expected.files


_QUOTED: Final = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""


def _is_below(path: str, others: set[str]) -> bool:
    return any(path.startswith(other + "/") for other in others)


def _related(one: str, other: str) -> bool:
    return one == other or _is_below(one, {other}) or _is_below(other, {one})


def encodes_as_described(plan: Plan) -> None:
    """The plain tar, the file list and the tree's digest are those of their descriptions, to the byte."""
    with made(plan) as scene:
        files = packable(scene, scene.checkout())
        found = built(scene.clone, scene.commit, plan.root)
        assert found.plain == oracle.plain_tar(files)
        assert b"".join(found.artifact.packed.tree.files.plain()) == oracle.file_list(files)
        content = found.artifact.version.content
        assert content.tree == oracle.tree_digest(files)
        assert (content.files.count, content.tarball.plain_size) == (len(files), len(found.plain))


def reports_what_attributes_ask_for(plan: Plan) -> None:
    """The paths that are reported as not converted are those of which ``git check-attr`` says so, with its words."""
    with made(plan) as scene:
        checkout = scene.checkout()
        files = packable(scene, checkout)
        asked = checkout.attributes(file.origin for file in files)
        expected = [(file.path, asked[file.origin]) for file in files if file.origin in asked]
        found = built(scene.clone, scene.commit, plan.root)
        assert [(one.path, one.attributes) for one in found.artifact.unconverted] == expected


def is_named_as_git_describes(plan: Plan) -> None:
    """Version, tag and distance are what ``git describe`` says of every commit of the history."""
    with made(plan) as scene:
        lines = oracle.git("rev-list", "--parents", "HEAD", at=scene.clone).decode().splitlines()
        repository = Repository(scene.clone)
        first = oracle.git("rev-list", "--first-parent", scene.commit, at=scene.clone).split()
        for commit in (line.split()[0] for line in lines):
            named = build.name_version(repository, Bundle("etl"), commit)
            assert (named.version, named.tag, named.distance) == oracle.describe(scene.clone, commit)
            assert named.commit.id == commit
            if commit == scene.commit:
                assert named.first_parents == len(first)


def builds_alike_in_every_clone(plan: Plan) -> None:
    """A bare clone, and one whose working tree, index and branch are at another commit, give the same bytes."""
    with made(plan) as scene:
        packable(scene, scene.checkout())
        here = built(scene.clone, scene.commit, plan.root)
        bare, other = scene.folder / "bare.git", scene.folder / "other"
        oracle.git("clone", "--quiet", "--bare", str(scene.clone), str(bare), at=scene.folder)
        oracle.git("clone", "--quiet", "--no-checkout", str(scene.clone), str(other), at=scene.folder)
        (other / plans.ATTRIBUTES).write_bytes(b"* ident filter=other eol=crlf\n")
        oracle.git("add", "--force", plans.ATTRIBUTES, at=other)
        for folder in (bare, other):
            there = built(folder, scene.commit, plan.root)
            assert (there.plain, there.document) == (here.plain, here.document)
            assert there.artifact.left_out == here.artifact.left_out
            assert there.artifact.unconverted == here.artifact.unconverted


# --- of which commits

PROPERTIES: Final[Mapping[str, tuple[Callable[[Plan], None], SearchStrategy[Plan], int]]] = {
    "content": (delivers_what_a_checkout_holds, plans.trees(trouble=True), 60),
    "bytes": (encodes_as_described, plans.trees(trouble=False), 30),
    "attributes": (reports_what_attributes_ask_for, plans.attributed(), 30),
    "versions": (is_named_as_git_describes, plans.histories(), 12),
    "clones": (builds_alike_in_every_clone, plans.attributed(), 10),
}
"""Each property, the plans it must hold of, and how many of them are tried."""


PATIENCE: Final = 4
"""How many times as many plans are tried where a bug may be planted."""


LINKED_SCRIPT: Final = plans.Plan(
    {"run.sh": plans.Entry(plans.EXECUTABLE, b""), "linked.sh": plans.Entry(plans.LINK, b"run.sh")}
)
ALIKE: Final = [
    plans.Plan(dict.fromkeys(names, plans.Entry(plans.FILE, b""))) for names in (("É", "é"), ("A/b", "a/c"))
]
ALWAYS: Final = {"content": [LINKED_SCRIPT, *ALIKE]}
"""Plans that are tried before any other, because chance makes them too seldom."""


def main(name: str) -> None:
    """Try one property, on the same plans each time; what it found is not made small."""
    holds, some, count = PROPERTIES[name]
    tried = given(some)(holds)
    for plan in ALWAYS.get(name, ()):
        tried = example(plan)(tried)
    settings(
        max_examples=PATIENCE * count,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )(tried)()


if __name__ == "__main__":
    main(sys.argv[1])
