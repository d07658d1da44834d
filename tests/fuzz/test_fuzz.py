"""Any bytes are accepted or refused with an error of ours: random ones, and valid ones that were changed in places."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dagferry_schemas.errors import DagferryError

from .mutations import changed_bytes, changed_documents, places
from .readers import READERS, Read
from .seeds import DOCUMENTS, PLAIN, SEEDS, encoded, packed

CORPUS: Final = Path(__file__).parent / "corpus"
modest = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def accepts(reader: str | Read, raw: bytes) -> bool:
    """Whether the reader takes the bytes. Anything but a refusal of ours passes through, and fails the test."""
    try:
        (READERS[reader] if isinstance(reader, str) else reader)(raw)
    except DagferryError as refused:
        assert refused.message
        assert refused.hint or refused.code
        return False
    return True


@pytest.mark.parametrize("reader", READERS)
def test_valid_bytes_are_accepted(reader: str) -> None:
    assert accepts(reader, SEEDS[reader])
    assert accepts(reader, packed(reader, PLAIN[reader]))


KEPT: Final = sorted(path.relative_to(CORPUS).as_posix() for path in CORPUS.glob("*/*") if path.name != "README.md")


@pytest.mark.parametrize("name", KEPT)
def test_kept_input_is_accepted_or_refused(name: str) -> None:
    reader, _, title = name.partition("/")
    assert accepts(reader, (CORPUS / name).read_bytes()) == title.startswith("accepted")


def test_every_reader_has_kept_inputs() -> None:
    assert {name.partition("/")[0] for name in KEPT} == set(READERS)


@pytest.mark.parametrize("reader", READERS)
@modest
@given(raw=st.binary(max_size=300))
def test_random_bytes_are_no_more_than_a_refusal(reader: str, raw: bytes) -> None:
    accepts(reader, raw)
    accepts(reader, packed(reader, raw))


@pytest.mark.parametrize("reader", READERS)
@modest
@given(data=st.data())
def test_changed_bytes_are_no_more_than_a_refusal(reader: str, data: st.DataObject) -> None:
    accepts(reader, data.draw(changed_bytes(SEEDS[reader])))
    accepts(reader, packed(reader, data.draw(changed_bytes(PLAIN[reader]))))


@pytest.mark.parametrize("reader", DOCUMENTS)
@settings(modest, max_examples=300)
@given(data=st.data())
def test_changed_documents_are_no_more_than_a_refusal(reader: str, data: st.DataObject) -> None:
    accepts(reader, encoded(reader, data.draw(changed_documents(DOCUMENTS[reader]))))


_FIELDS: Final = st.sampled_from(
    ["0644", "0755", "4755", "0", "1", "00", "-1", "8589934591", "8589934592", 30 * "9", 64 * "0", 64 * "F", "", " "]
)
_NAMES: Final = st.text(st.sampled_from("aA./\\\u00e9e\u0301\u00dfs\u2028\x00\x7f ~\n\u0130i\u0307"), max_size=8)


@modest
@given(lines=st.lists(st.tuples(_FIELDS, _FIELDS, _FIELDS, _NAMES | st.sampled_from(["a.py", 300 * "n"])), max_size=6))
def test_lines_of_a_file_list_are_no_more_than_a_refusal(lines: list[tuple[str, ...]]) -> None:
    accepts("list", "".join(" ".join(line) + "\n" for line in lines).encode())


@modest
@given(names=st.lists(_NAMES, min_size=1, max_size=6, unique=True))
def test_paths_of_a_file_list_are_no_more_than_a_refusal(names: list[str]) -> None:
    lines = [f"0644 1 {64 * '0'} {name}\n" for name in sorted(names)]
    accepts("list", "".join(lines).encode())


def test_documents_of_the_seeds_are_their_own() -> None:
    """A guard of the tests above: what is changed is a document that is accepted."""
    for reader, document in DOCUMENTS.items():
        assert accepts(reader, encoded(reader, document)), reader
        assert len(places(document)) >= 2
        assert json.loads(json.dumps(document)) == document


def trusting(raw: bytes) -> object:
    """A reader that believes its JSON to be JSON, and its fields to be there."""
    return json.loads(raw)["format"] + 1


@pytest.mark.planted
def test_planted_reader_that_lets_other_errors_out_is_caught() -> None:
    kinds = set()
    for name in KEPT:
        try:
            accepts(trusting, (CORPUS / name).read_bytes())
        except (ValueError, LookupError, TypeError, RecursionError) as error:
            kinds.add(type(error))
    assert {json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, RecursionError} <= kinds
