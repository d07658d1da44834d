"""Inputs that reach other branches: ``python -m tests.fuzz.coverage_guided TARGET --seconds N [--found FOLDER]``.

Atheris (libFuzzer) changes the kept inputs and the seeds, and keeps what takes another way through our code. An input
that ends with anything but a refusal of ours is written to ``--found`` (here by default) as ``crash-*``, and the exit
code is not 0: mend the reader, and keep the input in ``tests/fuzz/corpus`` under a name that says what it is.

A target is a reader, whose bytes are changed, or a reader of documents and ``-documents``: then a valid document is
changed by its structure (`mutations`), and the input is what Hypothesis draws its choices from. Of a record and a
tarball the plain bytes are changed, too, without envelope and compression: no coverage leads through base64 and zstd.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final, NoReturn, cast

import atheris
from hypothesis import given, settings

with atheris.instrument_imports(include=["dagferry_schemas", "dagferry_storage", "dagferry_agent"]):
    from dagferry_schemas.errors import DagferryError

    from .mutations import changed_documents
    from .readers import READERS
    from .seeds import DOCUMENTS, PLAIN, SEEDS, encoded, packed

Try = Callable[[bytes], object]
CORPUS: Final = Path(__file__).parent / "corpus"
WORDS: Final = {
    "record": (
        "payload",
        "payloadType",
        "signatures",
        "generation",
        "previous",
        "critical",
        "live",
        "epoch",
    ),
    "version": ("format", "commit", "first_parents", "selection", "tree", "tarball", "files", "plain_size", "count"),
    "list": ("0644 ", "0755 ", 64 * "0", "/", "\n", "..", "\u00e9", "e\u0301"),
    "tarball": ("ustar\x0000", "PaxHeaders/", "path="),
    "request": ("expect_generation", "wait_seconds", "null", "1e308"),
    "tokens": ("id", "sha256", "scopes", "not_before", "not_after", "pull:", "sha256:" + 64 * "0", "/*"),
    "state": ("floor", "history", "stamp", "pin", "channel_tree", "retired", "activated", "sha256:" + 64 * "0"),
}
"""What a reader looks for, so that no chance has to find it."""
MOST_BYTES: Final = 16_384


def try_bytes(reader: str, raw: bytes) -> None:
    """Give the bytes to the reader, as they are and packed. Anything but a refusal of ours is an end."""
    for given_bytes in {raw, packed(reader, raw)}:
        with suppress(DagferryError):
            READERS[reader](given_bytes)


def of_documents(reader: str) -> Try:
    """What gives the reader a document, changed as the input says."""

    @settings(deadline=None, database=None)
    @given(changed_documents(DOCUMENTS[reader]))
    def try_document(document: object) -> None:
        with suppress(DagferryError):
            READERS[reader](encoded(reader, document))

    return cast("Try", try_document.hypothesis.fuzz_one_input)  # type: ignore[attr-defined]


TARGETS: Final[Mapping[str, Callable[[], Try]]] = {
    **{reader: partial(partial, try_bytes, reader) for reader in READERS},
    **{f"{reader}-documents": partial(of_documents, reader) for reader in DOCUMENTS},
}
"""What can be fuzzed, by name: each makes what takes an input."""


def fill(folder: Path, target: str) -> None:
    """The inputs to begin with: kept ones, or bytes of chance, long enough for all choices of a changed document."""
    chance = random.Random(0)
    if target not in READERS:
        for number in range(16):
            (folder / f"chance-{number}").write_bytes(chance.randbytes(64 * (number + 1)))
    if target in READERS:
        (folder / "seed").write_bytes(SEEDS[target])
        (folder / "plain").write_bytes(PLAIN[target])
        for path in sorted((CORPUS / target).iterdir()):
            (folder / path.name).write_bytes(path.read_bytes())


def main() -> None:
    """Fuzz one target until the time is over."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.coverage_guided", description=__doc__)
    parser.add_argument("target", choices=TARGETS, metavar="TARGET")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--found", type=Path, default=Path(), help="the folder for inputs that found something")
    asked = parser.parse_args()
    asked.found.mkdir(parents=True, exist_ok=True)
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="dagferry-fuzz-", dir=memory) as top:
        child = os.fork()  # the fuzzer ends its process, and tidies nothing up
        if child == 0:
            tempfile.tempdir = top
            fuzz(asked.target, asked.seconds, asked.found, Path(top))
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    sys.exit(1 if code else 0)


def fuzz(target: str, seconds: int, found: Path, scratch: Path) -> NoReturn:
    """Fuzz, and end the process: with 0 if nothing was found."""
    words = scratch / "words"
    words.write_text("".join(f'"{_escaped(word)}"\n' for word in WORDS.get(target, ())))
    corpus = scratch / "corpus"
    corpus.mkdir()
    fill(corpus, target)
    options = [
        f"-max_total_time={seconds}",
        f"-max_len={MOST_BYTES}",
        *([f"-dict={words}"] if target in WORDS else []),
        f"-artifact_prefix={found}/",
        "-len_control=0",
        "-print_final_stats=1",
        "-timeout=20",
        "-rss_limit_mb=2048",
    ]
    atheris.Setup([sys.argv[0], *options, str(corpus)], TARGETS[target]())
    atheris.Fuzz()
    os._exit(0)


def _escaped(word: str) -> str:
    return "".join(chr(one) if 32 <= one < 127 and one not in b'"\\' else f"\\x{one:02x}" for one in word.encode())


if __name__ == "__main__":
    main()
