"""Inputs that reach other branches: ``python -m tests.fuzz.coverage_guided READER --seconds N [--found FOLDER]``.

Atheris (libFuzzer) changes the kept inputs and the seeds, and keeps what takes another way through our code. An input
that ends with anything but a refusal of ours is written to ``--found`` (here by default) as ``crash-*``, and the exit
code is not 0: mend the reader, and keep the input in ``tests/fuzz/corpus`` under a name that says what it is.

Of a record and a tarball the plain bytes are changed, without envelope and compression: no coverage leads a fuzzer
through base64 and zstd.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from pathlib import Path
from typing import Final

import atheris

with atheris.instrument_imports(include=["dagferry_schemas", "dagferry_storage", "dagferry_agent"]):
    from dagferry_schemas.errors import DagferryError

    from .readers import READERS
    from .seeds import PLAIN, SEEDS, packed

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


def try_once(reader: str, raw: bytes) -> None:
    """Give the bytes to the reader, as they are and packed. Anything but a refusal of ours is an end."""
    for given in {raw, packed(reader, raw)}:
        with contextlib.suppress(DagferryError):
            READERS[reader](given)


def fill(folder: Path, reader: str) -> None:
    """The inputs to begin with."""
    (folder / "seed").write_bytes(SEEDS[reader])
    (folder / "plain").write_bytes(PLAIN[reader])
    for path in sorted((CORPUS / reader).iterdir()):
        (folder / path.name).write_bytes(path.read_bytes())


def main() -> None:
    """Fuzz one reader until the time is over."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.coverage_guided", description=__doc__)
    parser.add_argument("reader", choices=READERS)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--found", type=Path, default=Path(), help="the folder for inputs that found something")
    asked = parser.parse_args()
    asked.found.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="dagferry-fuzz-") as top:
        words = Path(top) / "words"
        words.write_text("".join(f'"{_escaped(word)}"\n' for word in WORDS[asked.reader]))
        corpus = Path(top) / "corpus"
        corpus.mkdir()
        fill(corpus, asked.reader)
        options = [
            f"-max_total_time={asked.seconds}",
            f"-max_len={MOST_BYTES}",
            f"-dict={words}",
            f"-artifact_prefix={asked.found}/",
            "-print_final_stats=1",
            "-timeout=20",
            "-rss_limit_mb=2048",
        ]
        atheris.Setup([sys.argv[0], *options, str(corpus)], lambda raw: try_once(asked.reader, raw))
        atheris.Fuzz()


def _escaped(word: str) -> str:
    return "".join(chr(one) if 32 <= one < 127 and one not in b'"\\' else f"\\x{one:02x}" for one in word.encode())


if __name__ == "__main__":
    main()
