"""Repositories that nobody thought of: plans of them for hypothesis, and one process of git that makes one of a plan.

A plan says what is in the last commit and which commits and tags come before it. Names, links and attributes are drawn
from those that have to be told apart: what sorts otherwise by bytes than by components, what needs a pax header, what a
file system confuses. Nothing here knows what the builder does with them; that is the oracle's business.
"""

from __future__ import annotations

import posixpath
import re
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hypothesis import strategies as st

from . import oracle

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

FILE, EXECUTABLE, LINK, SUBMODULE = "100644", "100755", "120000", "160000"
ATTRIBUTES: Final = ".gitattributes"
POINTER: Final = b"version https://git-lfs.example/spec/v1\noid sha256:" + b"a1" * 32 + b"\nsize 7\n"
VENDORED: Final = b"1234567890" * 4


@dataclass(frozen=True)
class Entry:
    """One path of the last commit: git's mode, and the bytes (a link's target, a submodule's commit)."""

    mode: str
    body: bytes


@dataclass(frozen=True)
class Tag:
    """A tag of one commit."""

    name: str
    annotated: bool


@dataclass(frozen=True)
class Step:
    """A commit, by the numbers of its parents, and its tags."""

    parents: tuple[int, ...]
    tags: tuple[Tag, ...] = ()


@dataclass(frozen=True)
class Plan:
    """A repository. The last step of the history is what is built, and has ``entries``; the others are empty."""

    entries: Mapping[str, Entry]
    root: str = ""
    history: tuple[Step, ...] = (Step(()),)


# --- strategies

COMPONENTS: Final = [
    *(
        "a",
        "a.b",
        "a-b",
        "a b",
        "b",
        "c.py",
        "é",
        "日本",
        "+",
        "-rf",
        "a,b",
        "a ",
        "a.",
        ".h",
        "*",
        "[a]",
        "#",
        '"q"',
        "~",
    ),
    *("n" * 104, "ü" * 55, "x" * 47, "ǆ", "😀", "ａ"),
]
TROUBLE: Final = ["A", "B", "É", "ss", "ß", "ſs", "a\\b", "t\tt", "l\nl", "e\u0301", "\udcff", "\u2028", "Ǆ"]
"""Names that no tree may hold, or not beside another."""
FEW: Final = ["a", "b", "a.b", "c.py"]

_bodies = st.one_of(
    st.sampled_from([b"", b"print(1)\n", b"a\r\nb\r\n", b"$Id$ $Format:%H$\n", b"#" * 511, b"#" * 512, b"#" * 513]),
    st.binary(max_size=30),
)
_modes = st.sampled_from([FILE, EXECUTABLE])


def _paths(names: Sequence[str]) -> st.SearchStrategy[str]:
    component = st.one_of(st.sampled_from(FEW), st.sampled_from(names))
    return st.lists(component, min_size=1, max_size=4).map("/".join)


@st.composite
def trees(draw: st.DrawFn, *, trouble: bool) -> Plan:
    """One commit with files, links and submodules; with ``trouble`` there may be what cannot be packed."""
    paths = _paths([*COMPONENTS, *TROUBLE] if trouble else COMPONENTS)
    bodies = st.one_of(_bodies, st.just(POINTER), st.just(POINTER + b"\n")) if trouble else _bodies
    entries: dict[str, Entry] = {}
    for path in draw(st.lists(paths, min_size=1, max_size=7, unique=True)):
        if fits(path, entries):
            entries[path] = Entry(draw(_modes), draw(bodies))
    for path in draw(st.lists(paths, max_size=1)):
        if fits(path, entries):
            entries[path] = Entry(SUBMODULE, VENDORED)
    for path in draw(st.lists(_paths(FEW), max_size=3, unique=True)):
        if fits(path, entries):
            entries[path] = Entry(
                LINK, draw(_targets(path, entries, trouble=trouble)).encode("utf-8", "surrogateescape")
            )
    roots = ["", *(path for path in folders(entries) if path.isprintable())]
    roots += [path for path, entry in entries.items() if entry.mode == LINK]
    return Plan(entries, draw(st.sampled_from(roots)))


def _targets(link: str, entries: Mapping[str, Entry], *, trouble: bool) -> st.SearchStrategy[str]:
    """Where a link may point: at what there is, through what there is, and with ``trouble`` anywhere."""
    known = st.sampled_from([*entries, *folders(entries), *([link] if trouble else [])])
    steps = st.lists(st.sampled_from([*FEW, ".."]), max_size=2)
    whole = st.builds(lambda path, more: "/".join([path, *more]), known, steps if trouble else st.just([]))
    relative = whole.map(lambda path: _relative(path, posixpath.dirname(link)))
    spelled = st.builds(lambda target, spell: spell.replace("T", target), relative, st.sampled_from(["T", "./T"]))
    if not trouble:
        return relative
    odd = st.sampled_from(
        ["..", ".", "../..", "../../../../../a", "/a", "/", "/etc/passwd", "nowhere", "b/../a", "a//b"]
    )
    beyond = known.map(lambda path: "../" * (link.count("/") + 1) + path)
    place = posixpath.dirname(link)
    beside = [posixpath.basename(path) for path in entries if posixpath.dirname(path) == place] or FEW
    back = st.builds(lambda target, name: f"{target}/../{name}", relative, st.sampled_from(beside))
    return st.one_of(relative, spelled, odd, beyond, back, relative.map(lambda target: "/" + target))


def _relative(path: str, place: str) -> str:
    """``path`` as seen from ``place``; what comes after the first component that they do not share stays as it is."""
    here, there = place.split("/") if place else [], path.split("/")
    while here and there and here[0] == there[0]:
        del here[0], there[0]
    return "/".join([".."] * len(here) + there) or "."


def fits(path: str, entries: Mapping[str, Entry]) -> bool:
    """Whether ``path`` can be in one commit with ``entries``."""
    above = {path[:at] for at, letter in enumerate(path) if letter == "/"}
    return path not in entries and not above & entries.keys() and path not in folders(entries)


def folders(entries: Mapping[str, Entry]) -> list[str]:
    """All folders, below the top."""
    return sorted({path[:at] for path in entries for at, letter in enumerate(path) if letter == "/"})


_PATTERNS: Final = ["*", "*.py", "a*", "/a", "a/b", "**/c.py", "a/*", "b/**", '"a b"', "é", "[a-b]", "#", "c.py"]
_ASKED: Final = [
    *("text", "-text", "text=auto", "!text", "eol=lf", "eol=crlf", "-eol", "!eol", "eol", "ident", "-ident", "!ident"),
    *("filter=lfs", "filter=x", "-filter", "!filter", "export-subst", "-export-subst", "diff", "binary", "mine"),
    *("working-tree-encoding=UTF-16", "working-tree-encoding", "-mine", "!mine", "crlf", "eol=", "filter=unset"),
]
_MACROS: Final = ["[attr]mine ident eol=lf", "[attr]mine -ident filter=m", "[attr]binary ident", "[attr]other mine"]
_lines = st.builds(
    lambda pattern, asked: " ".join([pattern, *asked]),
    st.sampled_from(_PATTERNS),
    st.lists(st.sampled_from(_ASKED), min_size=1, max_size=3),
)
_attributes = st.lists(st.one_of(_lines, _lines, _lines, st.sampled_from(_MACROS)), min_size=1, max_size=4).map(
    lambda lines: ("\n".join(lines) + "\n").encode()
)


@st.composite
def attributed(draw: st.DrawFn) -> Plan:
    """One commit that can be packed, mostly, with attributes in several folders."""
    plan = draw(trees(trouble=False))
    entries = dict(plan.entries)
    for folder in draw(st.lists(st.sampled_from(["", *folders(entries)]), min_size=1, max_size=3, unique=True)):
        entries[posixpath.join(folder, ATTRIBUTES)] = Entry(FILE, draw(_attributes))
    return Plan(entries, plan.root)


_TAGS: Final = [
    *("v1", "v1.0.0", "v2.0-rc.1", "v10/é", "v3+x", "v4/team/a", "v6_7", "v", "1.0", "nightly", "release/v9", "V8"),
    *("v0", "v00", "v1-2-gabcdefabcdef", "v7/" + "l" * 150),
]


@st.composite
def histories(draw: st.DrawFn) -> Plan:
    """Commits with merges and roots of their own, and tags of both kinds; the content is nothing special."""
    names = draw(st.lists(st.sampled_from(_TAGS), max_size=6, unique=True))
    steps = []
    for number in range(draw(st.integers(1, 8))):
        before = st.integers(max(0, number - 3), number - 1)
        parents = (
            draw(st.lists(before, min_size=draw(st.integers(0, 4)) > 0, max_size=3, unique=True)) if number else []
        )
        steps.append(Step(tuple(parents), ()))
    for name in names:
        at = draw(st.integers(0, len(steps) - 1))
        tag = Tag(name, draw(st.booleans()))
        steps[at] = Step(steps[at].parents, (*steps[at].tags, tag))
    return Plan({"a.py": Entry(FILE, b"a = 1\n")}, "", tuple(steps))


# --- git

_PLAIN = re.compile(rb"[A-Za-z0-9._+-][A-Za-z0-9._+/-]*")


def make(plan: Plan, folder: Path) -> str:
    """A repository of ``plan`` in ``folder``, whose working tree is empty; the id of its last commit."""
    oracle.git("init", "--quiet", "--template=", "--initial-branch=main", str(folder), at=folder.parent)
    command = ["git", "fast-import", "--quiet", "--date-format=raw"]
    subprocess.run(command, cwd=folder, env=oracle.environment(folder), input=_stream(plan), check=True)
    return oracle.git("rev-parse", "refs/heads/main", at=folder).decode().strip()


def _stream(plan: Plan) -> bytes:
    last = len(plan.history) - 1
    lines = []
    for number, step in enumerate(plan.history):
        who = f"Ada <ada@example.com> {1_760_000_000 + 60 * number} +0000".encode()
        lines += [b"reset refs/heads/main", b"commit refs/heads/main", b"mark :%d" % (number + 1), b"committer " + who]
        lines += [b"data 0"]
        lines += [b"%s :%d" % (b"merge" if at else b"from", parent + 1) for at, parent in enumerate(step.parents)]
        if number == last:
            lines += [line for path, entry in plan.entries.items() for line in _modified(path, entry)]
        lines += [b""]
        for tag in step.tags:
            lines += _tagged(tag, number, who)
    return b"\n".join([*lines, b"done", b""])


def _modified(path: str, entry: Entry) -> list[bytes]:
    quoted = quote(path.encode("utf-8", "surrogateescape"))
    if entry.mode == SUBMODULE:
        return [b"M 160000 %s %s" % (entry.body, quoted)]
    return [b"M %s inline %s" % (entry.mode.encode(), quoted), b"data %d" % len(entry.body), entry.body]


def _tagged(tag: Tag, number: int, who: bytes) -> list[bytes]:
    name = tag.name.encode()
    if tag.annotated:
        return [b"tag " + name, b"from :%d" % (number + 1), b"tagger " + who, b"data 0"]
    return [b"reset refs/tags/" + name, b"from :%d" % (number + 1), b""]


def quote(path: bytes) -> bytes:
    """``path`` as fast-import reads it."""
    if _PLAIN.fullmatch(path):
        return path
    return b'"' + re.sub(rb'[\x00-\x1f\x7f"\\]', lambda match: b"\\%03o" % match[0][0], path) + b'"'
