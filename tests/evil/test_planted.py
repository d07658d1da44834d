"""Planted bugs: safeguards are taken out of a copy of the source, one at a time, and the vectors find each of them.

A process of its own imports the copy in place of what is installed.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pytest

from tests.e2e.harness import CHECKOUT

from .judgement import objections, run
from .sweep import DEADLINE

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.planted
COMPONENTS: Final = ("schemas", "storage", "agent")
PATHS, TREE = "schemas/dagferry_schemas/paths.py", "schemas/dagferry_schemas/tree.py"
TRUST, ZSTD = "schemas/dagferry_schemas/trust.py", "schemas/dagferry_schemas/compression.py"
UNPACK, LOCAL = "storage/dagferry_storage/unpack.py", "storage/dagferry_storage/local.py"
STAGING, ACTIVATION = "agent/dagferry_agent/staging.py", "agent/dagferry_agent/activation.py"

Edit = tuple[str, str, str]
"""A file, what is in it once, and what comes in its place."""


@dataclass(frozen=True)
class Planted:
    """A bug, the vectors that have to find it, and a part of what they say."""

    says: str
    vectors: tuple[str, ...]
    edits: tuple[Edit, ...]


def bug(says: str, vectors: str, *edits: Edit) -> Planted:
    """A bug; the vectors are separated by spaces."""
    return Planted(says, tuple(vectors.split()), edits)


DOTS: Final = (PATHS, 'if any(part in ("", ".", "..") for part in parts):', 'if "" in parts:')
EXPECT: Final = '        plain.expect(plaintar.{0}, "the {1}", file)\n'
HEADER: Final = EXPECT.format("header(file)", "header")
PADDING: Final = EXPECT.format("padding(file.size)", "padding")
END: Final = '    plain.expect(plaintar.END, "the end")\n    plain.end()\n'
AS_TEXT: Final = (
    "    folder, name = folders._open[0], file.path\n"
    "    from pathlib import Path\n"
    "    Path(f'/proc/self/fd/{folder}', name).parent.mkdir(parents=True, exist_ok=True)\n"
)

BUGS: Final = {
    "headers are not compared": bug(
        "the pull ends with",
        "setuid symbolic_link_in_the_place_of_a_file time wrong_checksum",
        (UNPACK, HEADER, '        b"".join(plain.pieces(len(plaintar.header(file))))\n'),
    ),
    "padding is not looked at": bug(
        "the pull ends with",
        "padding_that_is_not_zero",
        (UNPACK, PADDING, '        b"".join(plain.pieces(len(plaintar.padding(file.size))))\n'),
    ),
    "bodies are not hashed": bug(
        "other files are live",
        "other_bytes_of_the_same_size other_last_byte_of_a_body",
        (UNPACK, "    if hashed.hexdigest() != file.sha256:\n", "    if False:\n"),
    ),
    "what comes after the end is not looked at": bug(
        "the pull ends with", "a_byte_after_the_end a_second_archive_after_the_end", (UNPACK, "    plain.end()\n", "")
    ),
    "an end that is missing is not missed": bug("the pull ends with", "no_end half_an_end", (UNPACK, END, "")),
    "paths are joined as text": bug(
        "outside the root changed",
        "path_that_climbs",
        DOTS,
        (UNPACK, "    folder, name = folders.of(file.path)\n", AS_TEXT),
    ),
    "paths may climb": bug("the pull ends with", "path_that_climbs path_of_two_dots", DOTS),
    "control characters are allowed": bug(
        "the pull ends with",
        "path_with_an_escape_sequence path_with_a_backslash",
        (PATHS, "    if _FORBIDDEN.search(path):\n", "    if False:\n"),
    ),
    "paths may differ in case alone": bug(
        "the pull ends with",
        "paths_that_differ_in_case folders_that_differ_in_case",
        (PATHS, "return name.lower() if name.isascii() else", "return name if name.isascii() else"),
    ),
    "paths may have any Unicode form": bug(
        "the pull ends with",
        "path_in_another_Unicode_form",
        (PATHS, '    if unicodedata.normalize("NFC", path) != path:\n', "    if False:\n"),
    ),
    "paths may be of any length": bug(
        "the pull ends with",
        "path_of_513_bytes",
        (PATHS, "    if len(path.encode()) > MAX_PATH_BYTES:\n", "    if False:\n"),
    ),
    "a file list may be in any order": bug(
        "no answer", "list_in_reverse", (TREE, "        if file.path < last:\n", "        if False:\n")
    ),
    "a file list may have any mode": bug(
        "the pull ends with", "list_with_a_setuid_mode", (TREE, 'r"(0644|0755) ', 'r"([0-7]{4}) ')
    ),
    "a file list may have more lines than were announced": bug(
        "KiB", "list_of_too_many_short_lines", (TREE, "        if number > most:", "        if False:")
    ),
    "every evil path is told of": bug(
        "the message has",
        "list_of_evil_paths_alone",
        (TREE, "MOST_PROBLEMS: Final = 10\n", "MOST_PROBLEMS: Final = 10**9\n"),
    ),
    "a file list may be of another tree": bug(
        "the pull ends with",
        "tree_of_another_release",
        (TRUST, "    if tree.digest != digest:\n", "    if False:\n"),
    ),
    "the plain size that was announced is not compared": bug(
        "the pull ends with",
        "plain_size_zero",
        (TRUST, "        if pin.plain_size != predicted:\n", "        if False:\n"),
    ),
    "the digest of the tarball is not compared": bug(
        "the pull ends with",
        "tarball_digest_of_other_bytes skippable_frames",
        (TRUST, '        if "sha256:" + self._hash.hexdigest() != self._pin.sha256:\n', "        if False:\n"),
    ),
    "more bytes than announced are taken": bug(
        "the pull ends with",
        "a_link_out_of_the_store_as_tarball an_endless_device_as_tarball",
        (TRUST, "        if self._size > self._pin.size:\n", "        if False:\n"),
        (LOCAL, "    if not stat.S_ISREG(mode):\n", "    if False:\n"),
    ),
    "any window is granted": bug(
        "the pull ends with",
        "a_window_of_16_MiB a_window_of_128_MiB",
        (ZSTD, "ZstdDecompressor(max_window_size=MAX_WINDOW)", "ZstdDecompressor(max_window_size=2**31)"),
    ),
    "staging is left as it is": bug(
        "staging is not empty",
        "no_end setuid",
        (STAGING, "        except BaseException:\n            erase(folder)\n", "        except BaseException:\n"),
    ),
    "modes are left as they are": bug(
        "in the root is what does not belong there",
        "skippable_frames",
        (
            STAGING,
            "    os.fchmod(descriptor, 0o555 if file.executable else 0o444)\n    os.utime(",
            "    os.utime(",
        ),
    ),
    "the memory is written before the release is there": bug(
        "the memory has changed",
        "no_end",
        (
            ACTIVATION,
            "        return self._stamped\n",
            "        self.save(replace(state, stamp=self._stamped))\n        return self._stamped\n",
        ),
    ),
    "a named pipe is waited for": bug(
        "no answer",
        "a_named_pipe_as_list",
        (LOCAL, "os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC", "os.O_RDONLY | os.O_CLOEXEC"),
    ),
}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the components that a pod has."""
    top = tmp_path_factory.mktemp("planted") / "source"
    for one in COMPONENTS:
        ignored = shutil.ignore_patterns("__pycache__", "build", "*.egg-info")
        shutil.copytree(CHECKOUT / one, top / one, ignore=ignored)
    return top


def found_in(source: Path, vectors: tuple[str, ...], deadline: float = DEADLINE) -> list[str]:
    """What the vectors object to in the dagferry whose components are in ``source``."""
    cases = run(f"--deadline={deadline}", "--only", *vectors, path=[source / one for one in COMPONENTS])
    assert cases
    return [objection for facts in cases for objection in objections(facts)]


def test_copy_without_a_bug_is_found_to_be_sound(source: Path) -> None:
    assert found_in(source, tuple({vector for bug in BUGS.values() for vector in bug.vectors})) == []


@pytest.mark.parametrize("planted", BUGS.values(), ids=BUGS)
def test_vectors_find_a_planted_bug(planted: Planted, source: Path) -> None:
    before = {file: (source / file).read_text() for file, _, _ in planted.edits}
    try:
        for file, old, new in planted.edits:
            text = (source / file).read_text()
            assert text.count(old) == 1, f"{file} has no longer {old!r}"
            (source / file).write_text(text.replace(old, new))
        said = found_in(source, planted.vectors, deadline=15)
        assert any(planted.says in objection for objection in said), said
    finally:
        for file, text in before.items():
            (source / file).write_text(text)
