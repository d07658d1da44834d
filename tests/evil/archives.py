"""Vectors: archives of which every member may be right, and the whole is not; endings, order and bodies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .parts import EXECUTABLE, FILES, PLAIN, plain_of, tree_file
from .ustar import BLOCK, END, member
from .vector import TRUNCATED, Vector, in_front, plain

if TYPE_CHECKING:
    from collections.abc import Mapping

TAR: Final = PLAIN + END


def of(*paths: str, **bodies: bytes) -> bytes:
    """The members of these paths in this order, with their bodies or others in their place."""
    files = [(tree_file(path, FILES[path], executable=path in EXECUTABLE), FILES[path]) for path in paths]
    return plain_of((file, bodies.get(file.path.partition(".")[0], body)) for file, body in files)


A, B, C, U, RUN = sorted(FILES)

ENDINGS: Final[Mapping[str, Vector]] = {
    "no_end": plain(PLAIN, TRUNCATED),
    "half_an_end": plain(PLAIN + END[:BLOCK], TRUNCATED),
    "end_that_is_not_zero": plain(PLAIN + END[:-1] + b"!"),
    "a_third_block_of_zeros": plain(TAR + END[:BLOCK]),
    "a_record_of_zeros_as_tar_writes_it": plain(TAR + bytes(-len(TAR) % 10240)),
    "zeros_without_number_after_the_end": plain(lambda _: TAR + bytes(2**24)),
    "a_byte_after_the_end": plain(TAR + b"!"),
    "a_member_after_the_end": plain(TAR + member(b"evil.py", b"evil\n") + END),
    "a_second_archive_after_the_end": plain(TAR + TAR),
    "an_end_in_the_middle": plain(of(A, B) + END + of(C, U, RUN) + END),
    "padding_that_is_not_zero": plain(TAR[: 2 * BLOCK - 1] + b"!" + TAR[2 * BLOCK :]),
    "cut_in_a_header": plain(TAR[:100], TRUNCATED),
    "cut_in_a_body": plain(TAR[: BLOCK + 3], TRUNCATED),
    "cut_in_the_padding": plain(TAR[: BLOCK + 100], TRUNCATED),
    "no_bytes_at_all": plain(b"", TRUNCATED),
    "zeros_alone": plain(bytes(len(TAR))),
    "an_end_alone": plain(END),
    "not_a_tar": plain(len(TAR) * b"A"),
}

CONTENT: Final[Mapping[str, Vector]] = {
    "extra_member_in_front": plain(in_front(member(b"0.py", b"evil\n"))),
    "extra_member_in_the_middle": plain(of(A, B) + member(b"evil.py", b"evil\n") + of(C, U, RUN) + END),
    "extra_member_at_the_end": plain(PLAIN + member(b"z.py", b"evil\n") + END),
    "first_member_missing": plain(of(B, C, U, RUN) + END),
    "last_member_missing": plain(of(A, B, C, U) + END),
    "members_in_another_order": plain(of(A, C, B, U, RUN) + END),
    "first_member_twice": plain(of(A, A, B, C, U, RUN) + END),
    "bodies_swapped_between_files": plain(of(A, B, C, U, RUN).replace(b"a = 1", b"c = 1", 1) + END),
    "other_bytes_of_the_same_size": plain(of(A, B, C, U, RUN, a=b"a = 2\n") + END),
    "other_last_byte_of_a_body": plain(PLAIN.replace(700 * b"b", 699 * b"b" + b"!") + END),
    "body_that_is_zeros": plain(PLAIN.replace(700 * b"b", bytes(700)) + END),
    "x_bit_of_the_script_taken_away": plain(
        plain_of((tree_file(path, FILES[path]), FILES[path]) for path in sorted(FILES)) + END
    ),
}

VECTORS: Final[Mapping[str, Vector]] = {**ENDINGS, **CONTENT}
