"""A delta: what comes of it is the tree that was wanted, always; and what lies is refused."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from dagferry_schemas import compression, delta, record, trust
from dagferry_schemas.errors import BadData, Corrupt, Malformed
from dagferry_schemas.names import digest_of
from dagferry_schemas.pins import Pin
from dagferry_schemas.tree import TreeFile, make_tree
from dagferry_schemas.tree_index import TreeIndex

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Files = Mapping[str, bytes]

ONE: Files = {"dag_a.py": b"a = 1\n" * 100, "team/dag_b.py": b"b = 1\n", "team/helper.py": b"h = 1\n"}
TWO: Files = {"dag_a.py": b"a = 1\n" * 99 + b"a = 2\n", "team/dag_b.py": b"b = 1\n", "team/new.py": b"n = 1\n"}


def file(path: str, content: bytes) -> TreeFile:
    return TreeFile(path, path.endswith(".sh"), len(content), hashlib.sha256(content).hexdigest())


def index_of(files: Files) -> TreeIndex:
    return TreeIndex.of(make_tree(file(path, content) for path, content in files.items()).files)


def reader(files: Files) -> Callable[[TreeFile], bytes]:
    return lambda one: files[one.path]


def made(old: Files, new: Files) -> bytes:
    return delta.encode(index_of(old), index_of(new), reader(old), reader(new))


def entry_of(stored: bytes, old: Files, new: Files) -> record.Delta:
    return record.Delta(index_of(old).digest, index_of(new).digest, Pin(digest_of(stored), len(stored)))


def applied(stored: bytes, old: Files, new: Files) -> dict[str, bytes]:
    """What comes of a delta that a record names, beside what was there."""
    verified = trust.accept_delta(stored, entry_of(stored, old, new), index_of(old))
    found = dict(old)
    for path, one in verified.delta.changes.items():
        if one is None:
            del found[path]
    for one, content in verified.delta.contents(verified.before, reader(old)):
        found[one.path] = content
    assert verified.after.digest == index_of(new).digest
    return found


COMPONENT = st.sampled_from(["a", "b", "c.py", "run.sh", "ä b"])
PATHS = st.lists(COMPONENT, min_size=1, max_size=3).map("/".join)
TREES = st.dictionaries(PATHS, st.binary(max_size=60), min_size=1, max_size=8)


def as_files(drawn: Files) -> dict[str, bytes]:
    return {path: one for path, one in drawn.items() if not any(other.startswith(path + "/") for other in drawn)}


@settings(max_examples=300)
@given(TREES, TREES)
def test_what_comes_of_a_delta_is_the_tree_that_was_wanted(old: dict[str, bytes], new: dict[str, bytes]) -> None:
    old, new = as_files(old), as_files(new)
    if index_of(old).digest != index_of(new).digest:
        assert applied(made(old, new), old, new) == new


def test_a_delta_forward_and_backward() -> None:
    assert applied(made(ONE, TWO), ONE, TWO) == TWO
    assert applied(made(TWO, ONE), TWO, ONE) == ONE


def test_it_costs_what_changed() -> None:
    old = {f"team_{number % 20}/dag_{number}.py": b"%d\n" % number * 500 for number in range(1000)}
    new = {**old, "team_7/dag_7.py": old["team_7/dag_7.py"] + b"x = 1\n"}
    assert len(made(old, new)) < 300


def test_files_are_compressed_in_groups_and_large_ones_by_themselves() -> None:
    size = delta.GROUP // 4
    old = {f"{number}.bin": b"%d" % number * size for number in range(6)}
    new = {name: content + b"!" for name, content in old.items()}
    changes = delta.compare(index_of(old), index_of(new))
    assert [len(group.files) for group in delta.groups(changes, index_of(old))] == [1] * 6
    large = b"\0" * (compression.MAX_WINDOW // 2 + 1)
    (alone,) = delta.groups({"a": file("a", large)}, index_of({"a": large + b"!"}))
    assert alone.before == (), "old and new do not fit into a window"
    assert applied(made({"a": large}, {"a": large + b"!"}), {"a": large}, {"a": large + b"!"}) == {"a": large + b"!"}


def test_too_much_is_no_delta() -> None:
    assert delta.is_small({"a": file("a", b"a")})
    assert not delta.is_small({"a": TreeFile("a", False, delta.MAX_PLAIN + 1, "0" * 64)})
    assert not delta.is_small({str(number): None for number in range(delta.MAX_CHANGES + 1)})


def respelt(change: Callable[[bytes], bytes], stored: bytes | None = None) -> bytes:
    """A delta with another text."""
    stored = stored or made(ONE, TWO)
    length = int.from_bytes(stored[:4], "big")
    text = change(compression.decompress(stored[4 : 4 + length], "test", limit=10**6))
    first = zstandard.compress(text)
    return len(first).to_bytes(4, "big") + first + stored[4 + length :]


def with_frame(frame: bytes) -> bytes:
    """A delta with one other frame, whose length it says."""
    stored = made(ONE, TWO)
    length = int.from_bytes(stored[:4], "big")
    return respelt(lambda text: re.sub(rb"frames \d+", b"frames %d" % len(frame), text), stored[: 4 + length] + frame)


def swapped(text: bytes) -> bytes:
    """The digests of two files change places."""
    first, second = re.findall(rb"[0-9a-f]{64}", text)[2:4]
    return text.replace(first, b"!").replace(second, first).replace(b"!", second)


OTHER = hashlib.sha256(b"other").hexdigest().encode()
LIES: dict[str, Callable[[], bytes]] = {
    "nothing": lambda: b"",
    "half of it": lambda: made(ONE, TWO)[:60],
    "its last byte is gone": lambda: made(ONE, TWO)[:-1],
    "one byte more": lambda: made(ONE, TWO) + b"!",
    "another base": lambda: made({**ONE, "more.py": b""}, TWO),
    "another target": lambda: made(ONE, {**TWO, "more.py": b""}),
    "a wrong name of the base": lambda: respelt(lambda text: re.sub(rb"from \w+", b"from " + OTHER, text)),
    "a wrong name of the target": lambda: respelt(lambda text: re.sub(rb"to \w+", b"to " + OTHER, text)),
    "an extra file": lambda: respelt(lambda text: text + b"0644 0 " + OTHER + b" zzz.py\n"),
    "a file less": lambda: respelt(lambda text: text[: text.rindex(b"0644")]),
    "a removal less": lambda: respelt(lambda text: text.replace(b"- team/helper.py\n", b"")),
    "a removal of what is not there": lambda: respelt(lambda text: text + b"- zzz.py\n"),
    "swapped digests": lambda: respelt(swapped),
    "another mode": lambda: respelt(lambda text: text.replace(b"0644", b"0755", 1)),
    "a mode that is none": lambda: respelt(lambda text: text.replace(b"0644", b"4755", 1)),
    "a path that leads out": lambda: respelt(lambda text: text.replace(b" team/new.py", b" ../../etc/new.py")),
    "an absolute path": lambda: respelt(lambda text: text.replace(b" dag_a.py", b" /etc/dag_a.py")),
    "another order": lambda: respelt(lambda text: text + text[text.index(b"0644") : text.index(b"dag_a.py\n") + 9]),
    "a last line without an end": lambda: respelt(lambda text: text[:-1]),
    "not UTF-8": lambda: respelt(lambda text: text.replace(b"helper", b"h\xfflper")),
    "another format": lambda: respelt(lambda text: text.replace(b"delta 1", b"delta 2")),
    "no frames": lambda: respelt(lambda text: re.sub(rb"frames.*", b"frames", text)),
    "frames of no length": lambda: respelt(lambda text: re.sub(rb"frames (\d+)", rb"frames -\1", text)),
    "two frames": lambda: respelt(lambda text: re.sub(rb"frames (\d+)", rb"frames \1 0", text)),
    "no changes": lambda: respelt(lambda text: b"".join(text.splitlines(keepends=True)[:4])),
    "another frame": lambda: with_frame(zstandard.compress(b"n = 1\n" * 101)),
    "a frame that is none": lambda: with_frame(b"\0" * 40),
    "a frame of another size": lambda: with_frame(zstandard.compress(b"n")),
    "a frame that says no size": lambda: with_frame(
        zstandard.ZstdCompressor(write_content_size=False).compress(b"n = 1\n" * 101)
    ),
    "a bomb": lambda: with_frame(zstandard.compress(b"\0" * 10**8)),
    "a text that is a bomb": lambda: respelt(lambda text: text + b"\0" * 10**7),
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
def test_what_lies_is_refused(lie: str) -> None:
    with pytest.raises((Corrupt, Malformed)):
        applied(LIES[lie](), ONE, TWO)


def test_bytes_that_the_record_does_not_name_are_refused_before_they_are_read() -> None:
    stored = made(ONE, TWO)
    altered = stored[:-1] + bytes([stored[-1] ^ 1])
    for other in (altered, stored + b"!", b""):
        with pytest.raises(Corrupt, match=r"digest is not|bytes instead of"):
            trust.accept_delta(other, entry_of(stored, ONE, TWO), index_of(ONE))


def test_what_is_there_has_to_be_what_the_record_says() -> None:
    stored = made(ONE, TWO)
    with pytest.raises(Corrupt, match="is there"):
        trust.accept_delta(stored, entry_of(stored, ONE, TWO), index_of(TWO))


def test_an_edited_base_never_becomes_a_file() -> None:
    stored = made(ONE, TWO)
    verified = trust.accept_delta(stored, entry_of(stored, ONE, TWO), index_of(ONE))
    edited = {**ONE, "dag_a.py": b"a = 7\n" * 100}
    with pytest.raises(BadData):
        list(verified.delta.contents(verified.before, reader(edited)))


def test_only_the_trust_rules_make_a_verified_delta() -> None:
    stored, before, after = made(ONE, TWO), index_of(ONE), index_of(TWO)
    forged: Any = trust.VerifiedDelta
    with pytest.raises(Malformed, match="trust rules"):
        forged(before, delta.decode(stored, "test"), after, object())
