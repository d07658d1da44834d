"""Planted bugs: safeguards are taken out of a copy of the source, one at a time, and the vectors find each of them."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pytest

from tests.e2e.harness import CHECKOUT

from .judgement import objections, run

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.planted
COMPONENTS: Final = ("schemas", "storage", "agent")
SCHEMAS, STORAGE, AGENT = "schemas/dagferry_schemas", "storage/dagferry_storage", "agent/dagferry_agent"
EXPECT: Final = '''        if b"".join(self.pieces(len(wanted))) != wanted:
'''
REFUSE: Final = '''    if not tree._count_is_right:
'''


@dataclass(frozen=True)
class Planted:
    """A bug: an edit of a file, and vectors of which at least one must find it."""

    file: str
    old: str
    new: str
    vectors: tuple[str, ...]


BUGS: Final = {
    "headers are not compared": Planted(
        f"{STORAGE}/unpack.py",
        "        plain.expect(plaintar.header(file), f\"the header of {file.path!r}\")\n",
        "        b\"\".join(plain.pieces(len(plaintar.header(file))))\n",
        ("setuid", "symbolic_link_in_the_place_of_a_file", "time", "wrong_checksum"),
    ),
    "padding is not looked at": Planted(
        f"{STORAGE}/unpack.py",
        "        plain.expect(plaintar.padding(file.size), f\"the padding of {file.path!r}\")\n",
        "        b\"\".join(plain.pieces(len(plaintar.padding(file.size))))\n",
        ("padding_that_is_not_zero",),
    ),
    "bodies are not hashed": Planted(
        f"{STORAGE}/unpack.py",
        "    if hashed.hexdigest() != file.sha256:\n",
        "    if False:\n",
        ("other_bytes_of_the_same_size", "other_last_byte_of_a_body"),
    ),
    "what comes after the end is not looked at": Planted(
        f"{STORAGE}/unpack.py",
        "    plain.end()\n",
        "",
        ("a_byte_after_the_end", "a_second_archive_after_the_end", "a_bomb_after_the_end"),
    ),
    "an end that is missing is not missed": Planted(
        f"{STORAGE}/unpack.py",
        '    plain.expect(plaintar.END, "the end")\n    plain.end()\n',
        "",
        ("no_end", "half_an_end"),
    ),
    "a file that is there is written to": Planted(
        f"{STORAGE}/unpack.py",
        "os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC",
        "os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC",
        (),
    ),
    "the digest of the tarball is not compared": Planted(
        f"{SCHEMAS}/trust.py",
        '        if "sha256:" + self._hash.hexdigest() != self._pin.sha256:\n',
        "        if False:\n",
        ("other_bytes_of_the_same_size", "a_wrong_checksum", "tarball_digest_of_other_bytes"),
    ),
    "more bytes than announced are taken": Planted(
        f"{SCHEMAS}/trust.py",
        "        if self._size > self._pin.size:\n",
        "        if False:\n",
        ("an_endless_device_as_tarball", "tarball_size_one_smaller", "a_byte_after_the_end"),
    ),
}
