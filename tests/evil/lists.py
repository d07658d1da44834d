"""Vectors: file lists that are not what the strict reader takes, all of them validly pinned.

The tarball is the good one, or what the list predicts where there is one: it would be the next to be looked at.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from dagferry_schemas.compression import compress
from dagferry_schemas.names import digest_of
from dagferry_schemas.tree import MAX_FILE_SIZE, MAX_FILES, MAX_LINE, TreeFile

from .parts import EXECUTABLE, FILES, GOOD, LIST, Parts, consistent, line, tree_file
from .streams import block, bomb, frame, skippable
from .vector import DELIVERED, MALFORMED, PLAIN_BYTES, STREAM, Vector, Verdict, stored

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

LINES: Final = LIST.splitlines(keepends=True)
GOOD_FILES: Final = [
    (tree_file(path, FILES[path], executable=path in EXECUTABLE), FILES[path]) for path in sorted(FILES)
]


def listing(plain: bytes | Callable[[], bytes], verdict: Verdict = MALFORMED, *, count: int | None = None) -> Vector:
    """A vector whose file list has other plain bytes, beside a good tarball."""

    def make(_: Path) -> Parts:
        made = plain if isinstance(plain, bytes) else plain()
        lines = made.count(b"\n") if count is None else count
        return replace(GOOD, listed=compress(made), count=min(max(lines, 1), MAX_FILES))

    return stored(make, verdict)


def encoded(listed: bytes | Callable[[], bytes], verdict: Verdict = STREAM, *, count: int = GOOD.count) -> Vector:
    """A vector whose file list is another stored stream."""

    def make(_: Path) -> Parts:
        return replace(GOOD, listed=listed if isinstance(listed, bytes) else listed(), count=count)

    return stored(make, verdict)


def first_line(
    mode: str = "0644",
    size: str = "6",
    digest: str | None = None,
    path: str = "a.py",
    verdict: Verdict = MALFORMED,
) -> Vector:
    """The good list, where the first line says something else."""
    known = GOOD_FILES[0][0].sha256
    text = f"{mode} {size} {known if digest is None else digest} {path}\n".encode("utf-8", "surrogateescape")
    return listing(text + b"".join(LINES[1:]), verdict)


def lying(change: Callable[[TreeFile], TreeFile], verdict: Verdict, *, moves: bool = False) -> Vector:
    """A list that is well-formed and says something untrue of one file; the tree digest is that of the list.

    The tarball is that of the true bodies under the headers that the list predicts. ``moves``: its plain size is
    announced as the list predicts it.
    """

    def make(_: Path) -> Parts:
        files = [(change(file), body) if file.path == "a.py" else (file, body) for file, body in GOOD_FILES]
        made = consistent(files)
        shift = sum(file.size + -file.size % 512 - len(body) - -len(body) % 512 for file, body in files)
        return replace(made, plain_size=made.plain_size + shift) if moves else made

    return stored(make, verdict)


def twice(*paths: str) -> Vector:
    """A list in which the good files and these are, in the order of their paths, and the tarball that it predicts."""

    def make(_: Path) -> Parts:
        more = [(tree_file(path, b"evil\n"), b"evil\n") for path in paths]
        return consistent(sorted([*GOOD_FILES, *more], key=lambda pair: pair[0].path))

    return stored(make, MALFORMED)


def many(count: int, name: Callable[[int], str]) -> bytes:
    """The lines of so many empty files."""
    digest = digest_of(b"").removeprefix("sha256:")
    return b"".join(f"0644 0 {digest} {name(number)}\n".encode() for number in range(count))


LINES_OF_A_LIST: Final[Mapping[str, Vector]] = {
    "list_with_a_setuid_mode": first_line(mode="4755"),
    "list_with_a_mode_that_anybody_may_write": first_line(mode="0666"),
    "list_with_a_symbolic_link": first_line(mode="120000"),
    "list_with_a_submodule": first_line(mode="160000"),
    "list_with_a_short_mode": first_line(mode="644"),
    "list_with_a_size_below_zero": first_line(size="-6"),
    "list_with_a_size_with_a_sign": first_line(size="+6"),
    "list_with_a_size_with_a_leading_zero": first_line(size="06"),
    "list_with_a_size_in_hexadecimal": first_line(size="0x6"),
    "list_with_a_size_in_other_digits": first_line(size="\u0666"),
    "list_with_a_size_with_an_underscore": first_line(size="1_0"),
    "list_with_a_size_of_8_GiB": first_line(size=str(MAX_FILE_SIZE + 1)),
    "list_with_a_size_of_5000_digits": first_line(size=5000 * "9", verdict=STREAM),
    "list_with_a_digest_in_upper_case": first_line(digest=GOOD_FILES[0][0].sha256.upper()),
    "list_with_a_short_digest": first_line(digest=63 * "0"),
    "list_with_a_long_digest": first_line(digest=65 * "0"),
    "list_with_a_digest_that_is_none": first_line(digest=64 * "g"),
    "list_with_two_spaces": first_line(size=" 6"),
    "list_with_tabs": listing(LIST.replace(b" ", b"\t")),
    "list_with_a_comment": listing(b"# files\n" + LIST),
    "list_with_an_empty_line": listing(LINES[0] + b"\n" + b"".join(LINES[1:])),
    "list_with_an_empty_line_at_the_end": listing(LIST + b"\n"),
    "list_with_carriage_returns": listing(LIST.replace(b"\n", b"\r\n")),
    "list_with_a_byte_order_mark": listing(b"\xef\xbb\xbf" + LIST),
    "list_in_UTF_16": listing(LIST.decode().encode("utf-16"), count=GOOD.count),
    "list_in_JSON": listing(b'[{"path": "a.py"}]\n'),
    "list_without_its_last_line_end": listing(LIST[:-1], count=GOOD.count),
    "list_with_a_NUL_after_it": listing(LIST + b"\0", count=GOOD.count),
    "list_that_is_empty": listing(b""),
    "list_with_a_path_that_has_a_line_end": first_line(path="a.py\n0644 0 evil"),
}

ORDER: Final[Mapping[str, Vector]] = {
    "list_in_another_order": listing(LINES[1] + LINES[0] + b"".join(LINES[2:])),
    "list_in_reverse": listing(b"".join(reversed(LINES))),
    "list_with_a_line_twice": twice("a.py"),
    "list_with_a_path_twice_at_a_distance": listing(LIST + LINES[0]),
    "list_with_a_file_that_is_a_folder": twice("dags"),
    "list_with_a_case_of_the_same_name": twice("A.py"),
    "list_with_a_line_more": listing(LIST + line(tree_file("z.py", b"")), ("Corrupt", "corrupt")),
    "list_with_a_line_less": listing(b"".join(LINES[:-1]), ("Corrupt", "corrupt")),
    "list_with_more_lines_than_were_announced": listing(
        LIST + line(tree_file("z.py", b"")), ("Corrupt", "corrupt"), count=GOOD.count
    ),
    "list_with_fewer_lines_than_were_announced": listing(
        b"".join(LINES[:-1]), ("Corrupt", "corrupt"), count=GOOD.count
    ),
    "list_of_another_tree": listing(line(tree_file("evil.py", b"evil\n")), ("Corrupt", "corrupt")),
}

LIES: Final[Mapping[str, Vector]] = {
    "list_with_the_digest_of_other_bytes": lying(lambda file: file._replace(sha256=64 * "0"), PLAIN_BYTES),
    "list_with_a_larger_size": lying(lambda file: file._replace(size=file.size + 1), PLAIN_BYTES),
    "list_with_a_smaller_size": lying(lambda file: file._replace(size=file.size - 1), PLAIN_BYTES),
    "list_with_a_size_of_a_block_more": lying(lambda file: file._replace(size=600), PLAIN_BYTES, moves=True),
    "list_with_a_size_that_no_disk_has": lying(lambda file: file._replace(size=MAX_FILE_SIZE), ("Corrupt", "corrupt")),
    "list_with_the_other_x_bit": lying(lambda file: file._replace(executable=True), DELIVERED),
}

ENCODED: Final[Mapping[str, Vector]] = {
    "list_that_is_not_compressed": encoded(LIST),
    "list_with_bytes_after_its_frame": encoded(compress(LIST) + b"rubbish"),
    "list_that_breaks_off": encoded(compress(LIST)[:-10], ("Malformed", "malformed")),
    "list_that_breaks_off_between_frames": encoded(compress(b"".join(LINES[:2])), ("Corrupt", "corrupt")),
    "list_with_a_window_of_128_MiB": encoded(frame(block(LIST), window=bytes([(27 - 10) << 3]))),
    "list_in_skippable_frames": encoded(skippable(LIST), MALFORMED),
    "list_in_many_frames": encoded(b"".join(map(compress, LINES)) + skippable(b"evil"), DELIVERED),
    "list_that_is_the_tarball": encoded(GOOD.tarball),
}

BOMBS: Final[Mapping[str, Vector]] = {
    "list_that_is_a_bomb_of_zeros": encoded(lambda: bomb(2**30), MALFORMED, count=100),
    "list_that_is_a_bomb_for_a_million_files": encoded(lambda: bomb(2**30), MALFORMED, count=MAX_FILES),
    "list_that_is_a_bomb_after_the_list": encoded(lambda: bomb(2**30, first=LIST), MALFORMED, count=100),
    "list_that_is_a_bomb_of_line_ends": encoded(lambda: bomb(2**30, of=b"\n"), MALFORMED, count=MAX_FILES),
    "list_with_a_line_that_is_too_long": first_line(path=(MAX_LINE + 1) * "n"),
    "list_of_too_many_short_lines": listing(
        lambda: many(300_000, lambda number: f"{number:06}"), ("Corrupt", "corrupt"), count=40_000
    ),
    "list_of_evil_paths_alone": listing(lambda: many(100_000, lambda number: f"../{number:06}")),
    "list_of_evil_paths_of_500_bytes": listing(lambda: many(1000, lambda number: 495 * "\x7f" + f"{number:05}")),
    "list_of_lines_of_30000_bytes": listing(lambda: many(1000, lambda number: 30_000 * "\x7f" + f"{number:05}")),
    "list_of_one_path_many_times": listing(lambda: many(100_000, lambda _: "a")),
}

VECTORS: Final[Mapping[str, Vector]] = {**LINES_OF_A_LIST, **ORDER, **LIES, **ENCODED, **BOMBS}
