"""Vectors: tar members that are not what a header of dagferry is. Each is a class of its own in some tar reader."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from dagferry_schemas.compression import compress

from . import ustar
from .parts import FILES, GOOD, LIST, Parts, line, release, tree_file
from .ustar import header, member, octal, pad, pax, record
from .vector import MALFORMED, STREAM, Make, Vector, Verdict, in_front, instead, plain

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

BODY: Final = FILES["a.py"]
SIZE: Final = octal(len(BODY), 12)
REST: Final = pad(BODY)


def with_path(path: str) -> Make:
    """The good release and one more file of this path, in the tarball and in the file list."""

    def make(outside: Path) -> Parts:
        return release({**FILES, path.replace("OUTSIDE", str(outside)): b"evil\n"})

    return make


def with_line(path: str) -> Make:
    """The good release, whose file list has a line that no tarball can be predicted from."""

    def make(_: Path) -> Parts:
        return replace(GOOD, listed=compress(line(tree_file(path, b"evil\n")) + LIST), count=GOOD.count + 1)

    return make


def named(path: str, verdict: Verdict = MALFORMED) -> Vector:
    """A member of this path in front of the good ones; the file list may say so, too."""

    def tar(outside: Path) -> bytes:
        name = path.replace("OUTSIDE", str(outside)).encode("utf-8", "surrogateescape")
        return in_front(member(name, b"evil\n"))

    is_text = path.encode(errors="replace").decode() == path
    return plain(tar, listed=(with_path if is_text else with_line)(path), listed_verdict=verdict)


def colliding(*paths: str) -> Vector:
    """Members whose paths cannot all be in one tree."""
    members = [member(path.encode(), b"%d\n" % number) for number, path in enumerate(paths)]
    files = {path: b"%d\n" % number for number, path in enumerate(paths)}
    return plain(in_front(*members), listed=lambda _: release({**FILES, **files}))


def first(**fields: bytes) -> Vector:
    """The good tarball, where one field of the first header is another."""
    return plain(instead(header(**{"size": SIZE, **fields}), REST))


def extra(*members: bytes) -> Vector:
    """The good tarball after these members."""
    return plain(in_front(*members))


PATHS: Final[Mapping[str, Vector]] = {
    "path_that_climbs": named("../../../outside/climbed"),
    "path_that_climbs_in_the_middle": named("dags/../../../../outside/climbed"),
    "path_that_is_absolute": named("OUTSIDE/absolute"),
    "path_with_two_slashes_in_front": named("//OUTSIDE/absolute"),
    "path_of_two_dots": named(".."),
    "path_with_a_dot": named("dags/./dot.py"),
    "path_that_begins_with_a_dot_component": named("./dot.py"),
    "path_with_an_empty_component": named("dags//empty.py"),
    "path_that_ends_in_a_slash": named("dags/folder/"),
    "path_that_is_empty": named(""),
    "path_with_an_escape_sequence": named("dags/\x1b[2J.py"),
    "path_with_a_delete": named("dags/\x7f.py"),
    "path_with_a_line_separator": named("dags/\u2028.py"),
    "path_with_a_NUL": named("dags/a.py\0.txt"),
    "path_with_a_backslash": named("..\\..\\outside\\climbed"),
    "path_that_is_not_UTF_8": named("dags/\udcff\udcfe.py"),
    "path_that_is_overlong_UTF_8": named("dags/\udcc0\udcaf.py"),
    "path_in_another_Unicode_form": named("dags/cafe\u0301.py"),
    "path_with_a_component_of_256_bytes": named("dags/" + 256 * "n"),
    "path_of_513_bytes": named("/".join([126 * "n"] * 4) + "/nnnnn"),
    "path_of_33_components": named("/".join(33 * "d")),
    "path_of_thousands_of_components": named("d/" * 2000 + "d", STREAM),
    "paths_that_are_the_same": extra(member(b"z.py", b"0\n"), member(b"z.py", b"1\n")),
    "paths_that_differ_in_case": colliding("z.py", "Z.py"),
    "folders_that_differ_in_case": colliding("Dags/x.py", "dags/x.py"),
    "paths_that_differ_in_case_folding": colliding("stra\u00dfe.py", "strasse.py"),
    "paths_that_differ_in_Unicode_form": colliding("dags/nai\u0308ve.py"),
    "paths_that_are_file_and_folder": colliding("z", "z/z.py"),
}

LINKS: Final[Mapping[str, Vector]] = {
    "symbolic_link_out": plain(lambda out: in_front(member(b"link", kind=b"2", link=str(out).encode()))),
    "symbolic_link_and_a_file_through_it": plain(
        lambda out: in_front(member(b"link", kind=b"2", link=str(out).encode()), member(b"link/through.py", b"evil\n"))
    ),
    "symbolic_link_without_a_target": extra(member(b"link", kind=b"2")),
    "symbolic_link_in_the_place_of_a_file": first(kind=b"2", link=b"../../../outside/victim"),
    "hard_link_out": plain(lambda out: in_front(member(b"link", kind=b"1", link=f"{out}/victim".encode()))),
    "hard_link_to_a_member": plain(instead(header(size=SIZE), REST, member(b"b.py", kind=b"1", link=b"a.py"))),
    "hard_link_with_a_body": extra(member(b"link", b"evil\n", kind=b"1", link=b"../../../outside/victim")),
    "link_name_on_a_regular_file": first(link=b"../../../outside/victim"),
}

KINDS: Final[Mapping[str, Vector]] = {
    "character_device": extra(member(b"null", kind=b"3", major=octal(1, 8), minor=octal(3, 8))),
    "block_device": extra(member(b"disk", kind=b"4", major=octal(8, 8), minor=octal(0, 8))),
    "named_pipe": extra(member(b"pipe", kind=b"6")),
    "named_pipe_in_the_place_of_a_file": first(kind=b"6"),
    "folder": extra(member(b"folder/", kind=b"5", mode=b"0000755\0")),
    "folder_that_anybody_may_write": extra(member(b"dags/", kind=b"5", mode=b"0001777\0")),
    "folder_with_a_body": extra(member(b"folder/", b"evil\n", kind=b"5")),
    "contiguous_file": first(kind=b"7"),
    "file_of_the_old_kind": first(kind=b"\0"),
    "folder_of_the_old_kind": extra(member(b"folder/", kind=b"\0")),
    "kind_that_nobody_knows": extra(member(b"what", b"evil\n", kind=b"Z")),
    "GNU_long_name": extra(member(b"././@LongLink", b"../../../outside/climbed\0", kind=b"L"), member(b"x", b"evil\n")),
    "GNU_long_link_name": extra(member(b"././@LongLink", b"/etc/passwd\0", kind=b"K"), member(b"x", kind=b"2")),
    "GNU_sparse_file": extra(member(b"sparse", b"evil\n", kind=b"S", magic=b"ustar  \0")),
    "GNU_volume_name": extra(member(b"volume", kind=b"V", magic=b"ustar  \0")),
    "GNU_continued_file": extra(member(b"a.py", b"evil\n", kind=b"M", magic=b"ustar  \0")),
    "GNU_folder_listing": extra(member(b"dags/", b"Ya.py\0\0", kind=b"D", magic=b"ustar  \0")),
    "Solaris_extended_header": extra(member(b"x", record(b"path", b"evil.py"), kind=b"X"), member(b"x", b"evil\n")),
}

FIELDS: Final[Mapping[str, Vector]] = {
    "setuid": first(mode=b"0004755\0"),
    "setgid": first(mode=b"0002755\0"),
    "sticky": first(mode=b"0001644\0"),
    "writable_by_anybody": first(mode=b"0000666\0"),
    "unreadable": first(mode=b"0000000\0"),
    "mode_with_a_file_type": first(mode=b"0100644\0"),
    "x_bit_set": first(mode=b"0000755\0"),
    "owner_by_number": first(uid=octal(1000, 8)),
    "group_by_number": first(gid=octal(1000, 8)),
    "owner_by_name": first(owner=b"root"),
    "group_by_name": first(group=b"wheel"),
    "time": first(mtime=octal(1_700_000_000, 12)),
    "time_before_1970": first(mtime=ustar.base256(-1, 12)),
    "device_numbers_of_a_file": first(major=octal(1, 8), minor=octal(3, 8)),
    "empty_device_fields": first(major=bytes(8), minor=bytes(8)),
    "prefix": first(name=b"climbed", prefix=b"../../../outside"),
    "bytes_after_the_end_of_the_name": first(name=b"a.py\0/../evil"),
    "name_without_an_end": first(name=b"a.py" + 96 * b"/"),
    "GNU_magic": first(magic=b"ustar  \0"),
    "no_magic": first(magic=bytes(8)),
    "other_version": first(magic=b"ustar\x0001"),
    "wrong_checksum": first(checksum=b"000000\0 "),
    "checksum_of_spaces": first(checksum=8 * b" "),
    "checksum_with_the_sign_of_old_tars": first(checksum=b"0" + b"%06o\0" % (sum(header(size=SIZE)))),
    "size_in_base_256": first(size=ustar.base256(len(BODY), 12)),
    "size_below_zero": first(size=ustar.base256(-512, 12)),
    "size_with_a_sign": first(size=b"-0000000512\0"),
    "size_of_8_GiB_less_one": first(size=b"77777777777\0"),
    "size_of_2_to_the_95": first(size=b"\x80\x7f" + 10 * b"\xff"),
    "size_that_is_no_number": first(size=b"0x000000006\0"),
    "size_with_spaces": first(size=b"          6 "),
    "size_without_an_end": first(size=b"000000000006"),
    "size_that_is_empty": first(size=bytes(12)),
    "size_one_larger": first(size=octal(len(BODY) + 1, 12)),
    "size_one_smaller": first(size=octal(len(BODY) - 1, 12)),
}

PAX: Final[Mapping[str, Vector]] = {
    "pax_path_out": extra(pax(record(b"path", b"../../../outside/climbed")), member(b"x", b"evil\n")),
    "pax_path_where_none_is_needed": plain(instead(pax(record(b"path", b"a.py")), header(size=SIZE), REST)),
    "pax_path_twice": extra(pax(record(b"path", b"good.py"), record(b"path", b"evil.py")), member(b"x", b"evil\n")),
    "pax_path_with_a_NUL": extra(pax(record(b"path", b"good.py\0evil")), member(b"x", b"evil\n")),
    "pax_size": plain(instead(pax(record(b"size", b"1")), header(size=SIZE), REST)),
    "pax_size_of_8_EiB": plain(instead(pax(record(b"size", b"9223372036854775807")), header(size=SIZE), REST)),
    "pax_size_below_zero": plain(instead(pax(record(b"size", b"-512")), header(size=SIZE), REST)),
    "pax_link_path": extra(pax(record(b"linkpath", b"/etc/passwd")), member(b"x", kind=b"2", link=b"a.py")),
    "pax_owner_and_times": extra(pax(record(b"uid", b"0"), record(b"mtime", b"1e308")), member(b"x", b"evil\n")),
    "pax_file_flags": extra(pax(record(b"SCHILY.xattr.security.capability", b"\x01")), member(b"x", b"evil\n")),
    "pax_sparse_file": extra(
        pax(record(b"GNU.sparse.major", b"1"), record(b"GNU.sparse.realsize", b"99999999999")), member(b"x", b"1\n0\n")
    ),
    "pax_character_set": extra(pax(record(b"hdrcharset", b"BINARY"), record(b"path", b"\xff")), member(b"x", b"e\n")),
    "pax_global_header": extra(pax(record(b"path", b"../evil"), kind=b"g"), member(b"x", b"evil\n")),
    "pax_comment_as_git_archive_has_it": extra(pax(record(b"comment", 40 * b"0"), kind=b"g")),
    "pax_header_of_8_GiB": extra(header(b"PaxHeaders/0", kind=b"x", size=b"77777777777\0")),
    "pax_header_that_says_its_length_wrong": extra(pax(b"99 path=evil\n"), member(b"x", b"evil\n")),
    "pax_header_of_length_zero": extra(pax(b"0 path=evil\n"), member(b"x", b"evil\n")),
    "pax_header_of_a_length_that_has_no_end": extra(pax(4000 * b"9" + b" path=evil\n"), member(b"x", b"evil\n")),
    "pax_header_without_records": extra(pax(b"\n\n\n"), member(b"x", b"evil\n")),
    "pax_header_after_a_pax_header": extra(
        pax(record(b"path", b"a")), pax(record(b"path", b"b")), member(b"x", b"e\n")
    ),
    "pax_header_alone": plain(in_front()[: -len(ustar.END)] + pax(record(b"path", b"evil")) + ustar.END),
    "pax_header_of_another_name": plain(in_front().replace(b"PaxHeaders/", b"PaxHeader0/", 1)),
}

VECTORS: Final[Mapping[str, Vector]] = {**PATHS, **LINKS, **KINDS, **FIELDS, **PAX}
