"""What ``schemas/FORMAT.md`` says in numbers, computed again from the document itself."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path

import pytest

from dagferry_schemas import plaintar, tree
from dagferry_schemas.names import digest_of

from . import golden

SCHEMAS = Path(__file__).resolve().parents[2] / "schemas"
TEXT = (SCHEMAS / "FORMAT.md").read_text(encoding="utf-8")


def example(name: str) -> str:
    """The block of the document that is marked as this part of the example."""
    found = re.findall(rf"<!-- example: {name} -->\n```\n(.*?)```\n", TEXT, re.DOTALL)
    assert len(found) == 1, name
    return str(found[0])


def table(title: str) -> list[list[str]]:
    """The rows below the heading of the table whose first columns are ``title``."""
    rows = TEXT[TEXT.index(title) :].partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def bodies() -> dict[str, tuple[bytes, bool]]:
    found = {}
    for line in example("contents").splitlines():
        bit, path, text = line.split(" ", 2)
        found[path] = (json.loads(text).encode(), bit == "x")
    return found


def made() -> tree.Tree:
    return tree.make_tree(golden.tree_file(path, body, executable=x) for path, (body, x) in bodies().items())


def test_example_is_the_tree_that_dagferry_makes() -> None:
    assert tree.encode_files(made()).decode() == example("file list")
    assert made().digest == example("tree digest").strip()


def test_example_can_be_followed_by_hand() -> None:
    folder, top = example("folder"), example("top")
    lines = example("file list").splitlines()
    inside = sum(int(line.split()[1]) for line in lines if line.split()[3].startswith("dags/"))
    folder_digest = digest_of(folder.encode()).removeprefix("sha256:")
    assert f"d - {inside} {folder_digest} dags\n" in top
    assert digest_of(top.encode()) == example("tree digest").strip()


def test_example_header_is_the_one_that_dagferry_makes() -> None:
    header = bytearray(512)
    for line in example("header").splitlines():
        offset, text = line.split(maxsplit=1)
        piece = json.loads(text).encode()
        header[int(offset) : int(offset) + len(piece)] = piece
    assert bytes(header) == plaintar.header(list(made().files)[-1])


def test_example_plain_tar_is_the_one_that_dagferry_makes() -> None:
    size, digest = example("plain tar").split()
    plain = golden.plain_tar(made(), {path: body for path, (body, _) in bodies().items()})
    assert int(size) == len(plain) == plaintar.plain_size(made())
    assert digest_of(plain) == "sha256:" + digest


def test_header_fields_fill_the_block_without_a_gap() -> None:
    at = 0
    for offset, size, *_ in table("| offset | bytes"):
        assert int(offset) == at
        at += int(size)
    assert at == plaintar.BLOCK


@pytest.mark.parametrize("row", [row for row in table("| what | limit") if row[3]], ids=lambda row: str(row[3]))
def test_limit_is_that_of_the_code(row: list[str]) -> None:
    module, _, constant = row[3].strip("`").partition(".")
    assert int(row[1]) == getattr(importlib.import_module(f"dagferry_schemas.{module}"), constant)


def test_sentences_are_numbered_without_a_gap() -> None:
    numbers = re.findall(r"^\* \*\*([PMRUF])([0-9]+)\.\*\*", TEXT, re.MULTILINE)
    for letter in "PMRUF":
        found = [int(number) for one, number in numbers if one == letter]
        assert found == list(range(1, len(found) + 1))
        assert found
    named = set(re.findall(r"\b[PMRUF][0-9]+\b", TEXT))
    assert named <= {letter + number for letter, number in numbers}


def test_every_link_leads_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", TEXT):
        assert (SCHEMAS / target).exists(), target


def test_every_schema_is_named() -> None:
    for path in (SCHEMAS / "json").iterdir():
        assert f"(json/{path.name})" in TEXT, path.name
