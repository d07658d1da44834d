"""Vector trees: their plain tar, file list and digest, written from ``schemas/FORMAT.md`` without dagferry."""

from __future__ import annotations

import hashlib
import struct
from typing import NamedTuple


class File(NamedTuple):
    """One file of a vector tree."""

    path: str
    content: bytes = b""
    executable: bool = False


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


# Plain tar, field by field.

_HEADER = struct.Struct("100s8s8s8s12s12s8s1s100s6s2s32s32s8s8s155s12s")


def _ustar(name: bytes, executable: bool, size: int, kind: bytes) -> bytes:
    mode = b"0000755\0" if executable else b"0000644\0"
    octal_size = oct(size)[2:].rjust(11, "0").encode() + b"\0"
    nobody, no_device, no_time = b"0000000\0", b"0000000\0", b"00000000000\0"

    def with_checksum(checksum: bytes) -> bytes:
        owner_and_size = (mode, nobody, nobody, octal_size, no_time)
        magic_and_names = (b"", b"ustar\0", b"00", b"", b"")
        return _HEADER.pack(name, *owner_and_size, checksum, kind, *magic_and_names, no_device, no_device, b"", b"")

    total = sum(with_checksum(b" " * 8))
    return with_checksum(oct(total)[2:].rjust(6, "0").encode() + b"\0 ")


def _block(content: bytes) -> bytes:
    while len(content) % 512:
        content += b"\0"
    return content


def header(path: str, executable: bool, size: int) -> bytes:
    name = path.encode()
    if len(name) <= 100 and all(byte < 128 for byte in name):
        return _ustar(name, executable, size, b"0")
    short = sha256(name)[:12].encode()
    # A pax record begins with its own length in decimal: the only number that says the truth about the line it is in.
    line = next(line for digits in range(1, 10_000) if len(line := b"%d path=%s\n" % (digits, name)) == digits)
    return _ustar(b"PaxHeaders/" + short, False, len(line), b"x") + _block(line) + _ustar(short, executable, size, b"0")


def _in_order(files: list[File]) -> list[File]:
    return sorted(files, key=lambda file: file.path.encode())


def plain_tar(files: list[File]) -> bytes:
    members = [
        header(file.path, file.executable, len(file.content)) + _block(file.content) for file in _in_order(files)
    ]
    return b"".join(members) + b"\0" * 1024


# File list and tree digest.


def file_list(files: list[File]) -> bytes:
    lines = [
        b"%s %d %s %s\n"
        % (
            b"0755" if file.executable else b"0644",
            len(file.content),
            sha256(file.content).encode(),
            file.path.encode(),
        )
        for file in _in_order(files)
    ]
    return b"".join(lines)


def folder_line_by_line(files: list[File], folder: str = "") -> bytes:
    """What the digest of ``folder`` is the SHA-256 of."""
    entries: dict[bytes, bytes] = {}
    for file in files:
        if not file.path.startswith(folder):
            continue
        name, slash, _ = file.path[len(folder) :].partition("/")
        if slash:
            inside = folder + name + "/"
            size = sum(len(other.content) for other in files if other.path.startswith(inside))
            entries[name.encode()] = b"d - %d %s" % (size, sha256(folder_line_by_line(files, inside)).encode())
        else:
            bit = b"x" if file.executable else b"-"
            entries[name.encode()] = b"f %s %d %s" % (bit, len(file.content), sha256(file.content).encode())
    return b"dagferry tree 1\n" + b"".join(entries[name] + b" " + name + b"\n" for name in sorted(entries))


def tree_digest(files: list[File]) -> str:
    return "sha256:" + sha256(folder_line_by_line(files))


_HUNDRED = "a" * 47 + "/" + "b" * 49 + ".py"
_LONGEST = "/".join(("c" * 255, "d" * 253, "e"))

TREES: dict[str, list[File]] = {
    "single_file": [File("hello.py", b"print('hello')\n")],
    "empty_file": [File("__init__.py")],
    "x_bit": [File("run.sh", b"#!/bin/sh\n", executable=True)],
    "x_bit_taken_away": [File("run.sh", b"#!/bin/sh\n")],
    "file_of_511_bytes_needs_one_zero": [File("a.py", b"#" * 511)],
    "file_of_exactly_512_bytes_needs_no_padding": [File("a.py", b"#" * 512)],
    "file_of_513_bytes_needs_511_zeros": [File("a.py", b"#" * 513)],
    "name_of_100_bytes_fills_the_field": [File(_HUNDRED, b"1\n")],
    "name_of_101_bytes_needs_pax": [File(_HUNDRED + "x", b"1\n")],
    "name_not_ascii_needs_pax": [File("gr\u00fc\u00dfe/\u65e5\u672c.py", b"1\n")],
    "name_with_spaces": [File("my dags/first one.py", b"1\n"), File(" leading", b"2\n")],
    "pax_record_of_99_bytes": [File("\u00fc" + "p" * 88, b"1\n")],
    "pax_record_whose_length_needs_a_third_digit": [File("\u00fc" + "p" * 89, b"1\n")],
    "path_of_512_bytes": [File(_LONGEST + "f", b"1\n")],
    "x_bit_stays_out_of_the_pax_member": [File("\u00fc.sh", b"#!/bin/sh\n", executable=True)],
    "dot_and_dash_sort_before_slash": [
        File("a-b", b"2"), File("a.py", b"3"), File("a/b.py", b"1"), File("a0", b"4"),
    ],
    "order_of_bytes_not_of_code_units": [File("\uffee", b"1"), File("\U00010000", b"2")],
    "upper_case_before_lower_case": [File("B.py", b"1"), File("a.py", b"2")],
    "same_content_under_two_names": [File("a.py", b"same\n"), File("b.py", b"same\n")],
    "folders_in_folders": [
        File("a/b/c/d.py", b"1\n"), File("a/b/e.py", b"22\n"), File("f/g.py", b"333\n", executable=True),
    ],
}  # fmt: skip

REFUSED_TREES: dict[str, tuple[list[str], str]] = {
    "empty_tree": ([], "there are no files"),
    "path_empty": ([""], "empty, '.' or '..' component"),
    "path_absolute": (["/etc/passwd"], "empty, '.' or '..' component"),
    "path_with_an_empty_component": (["a//b"], "empty, '.' or '..' component"),
    "path_ends_in_a_slash": (["a/"], "empty, '.' or '..' component"),
    "path_with_a_dot_component": (["a/./b"], "empty, '.' or '..' component"),
    "path_leaves_the_tree": (["a/../../b"], "empty, '.' or '..' component"),
    "path_is_dot_dot": ([".."], "empty, '.' or '..' component"),
    "path_with_a_backslash": (["a\\b"], "backslash"),
    "path_with_nul": (["a\0b"], "control character"),
    "path_with_a_line_feed": (["a\nb"], "control character"),
    "path_with_an_escape": (["a\x1b[2Jb"], "control character"),
    "path_with_delete": (["a\x7f"], "control character"),
    "path_with_a_c1_control": (["a\x85b"], "control character"),
    "path_with_a_line_separator": (["a\u2028b"], "control character"),
    "path_was_not_utf8": (["a\udcff"], "not UTF-8"),
    "path_not_nfc": (["u\u0308.py"], "normal form"),
    "component_of_256_bytes": (["a" * 256], "component of more than 255 bytes"),
    "component_of_256_bytes_in_fewer_letters": (["\u00fc" * 128], "component of more than 255 bytes"),
    "path_of_513_bytes": ([_LONGEST + "ff"], "513 bytes"),
    "path_of_33_components": (["/".join("a" * 33)], "33 components"),
    "path_twice": (["a.py", "a.py"], "appears twice"),
    "case_collision": (["dags/Etl.py", "dags/etl.py"], "letter case"),
    "case_collision_of_folders": (["Dags/a.py", "dags/b.py"], "letter case"),
    "case_collision_of_a_file_and_a_folder": (["ETL", "etl/a.py"], "letter case"),
    "case_collision_not_ascii": (["\u00c9.py", "\u00e9.py"], "letter case"),
    "case_collision_that_only_case_folding_sees": (["stra\u00dfe.py", "strasse.py"], "letter case"),
    "file_is_also_a_folder": (["a", "a/b.py"], "both a file and a folder"),
}

_A, _B = sha256(b"a\n"), sha256(b"b\n")

REFUSED_FILE_LISTS: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "there are no files"),
    "wrong_order": (f"0644 2 {_B} b.py\n0644 2 {_A} a.py\n".encode(), "order"),
    "order_by_folder_instead_of_bytes": (f"0644 2 {_A} a/b.py\n0644 2 {_B} a.py\n".encode(), "order"),
    "carriage_returns": (f"0644 2 {_A} a.py\r\n".encode(), "control character"),
    "last_line_has_no_end": (f"0644 2 {_A} a.py".encode(), "the last line has no end"),
    "empty_line_at_the_end": (f"0644 2 {_A} a.py\n\n".encode(), "line 2"),
    "byte_order_mark": (f"\ufeff0644 2 {_A} a.py\n".encode(), "line 1"),
    "size_with_a_leading_zero": (f"0644 02 {_A} a.py\n".encode(), "line 1"),
    "size_with_a_sign": (f"0644 +2 {_A} a.py\n".encode(), "line 1"),
    "size_negative": (f"0644 -2 {_A} a.py\n".encode(), "line 1"),
    "size_in_other_digits": (f"0644 \u0662 {_A} a.py\n".encode(), "line 1"),
    "size_of_8_gib": (f"0644 8589934592 {_A} a.py\n".encode(), "8 GiB"),
    "size_missing": (f"0644 {_A} a.py\n".encode(), "line 1"),
    "digest_in_upper_case": (f"0644 2 {_A.upper()} a.py\n".encode(), "line 1"),
    "digest_too_short": (f"0644 2 {_A[1:]} a.py\n".encode(), "line 1"),
    "digest_with_its_kind": (f"0644 2 sha256:{_A} a.py\n".encode(), "line 1"),
    "path_twice": (f"0644 2 {_A} a.py\n0644 2 {_A} a.py\n".encode(), "appears twice"),
    "path_missing": (f"0644 2 {_A} \n".encode(), "line 1"),
    "path_leaves_the_tree": (f"0644 2 {_A} ../a.py\n".encode(), "component"),
    "path_not_utf8": (f"0644 2 {_A} a".encode() + b"\xff\n", "not UTF-8"),
    "mode_0664": (f"0664 2 {_A} a.py\n".encode(), "line 1"),
    "mode_4755_would_be_setuid": (f"4755 2 {_A} a.py\n".encode(), "line 1"),
    "mode_in_three_digits": (f"644 2 {_A} a.py\n".encode(), "line 1"),
    "two_spaces_before_the_size": (f"0644  2 {_A} a.py\n".encode(), "line 1"),
    "tab_instead_of_space": (f"0644\t2 {_A} a.py\n".encode(), "line 1"),
    "case_collision": (f"0644 2 {_A} A.py\n0644 2 {_B} a.py\n".encode(), "letter case"),
}

HEADERS: dict[str, tuple[str, bool, int]] = {
    "size_of_8_gib_less_one": ("big.bin", False, 8 * 1024**3 - 1),
    "size_of_8_gib_less_one_with_pax": ("\u00fc/big.bin", True, 8 * 1024**3 - 1),
    "checksum_of_a_name_full_of_tildes": ("~" * 100, True, 0o77777777777),
}
