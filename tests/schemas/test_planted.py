"""Planted mistakes: each check has to fail on an implementation that makes one, and on no other check's mistake."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from dagferry_schemas import compression, paths, plaintar, tree, trust
from dagferry_schemas.dsse import RECORD_TYPE
from dagferry_schemas.errors import BadData, Corrupt, Malformed, Untrusted
from dagferry_schemas.fields import Fields
from dagferry_schemas.layout import MAX_DOCUMENT
from dagferry_schemas.names import digest_of
from dagferry_schemas.pins import Content, TarballPin
from dagferry_schemas.record import HONOURED, Record
from dagferry_schemas.trust import Floor, Policy, TrustedRecord, VerifiedTarball, VerifiedTree
from dagferry_schemas.version import check_format

from . import checks, golden

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

FAILS = (AssertionError, pytest.fail.Exception)

pytestmark = pytest.mark.planted


@dataclass(frozen=True)
class Rules:
    """Rules 1 to 6 once more, short and loose, each with a switch that plants the mistake of leaving it out."""

    size: bool = True
    format: bool = True
    payload_type: bool = True
    identity: bool = True
    critical: bool = True
    went_back: bool = True
    equivocation: bool = True
    fork: bool = True
    chain: bool = True
    again: bool = True

    def __call__(
        self, stored: bytes, *, bundle: str, channel: str, policy: Policy, floor: Floor | None
    ) -> TrustedRecord:
        assert policy is Policy.UNSIGNED
        self._refuse(self.size and len(stored) > MAX_DOCUMENT, Malformed, f"at most {MAX_DOCUMENT}", "malformed")
        envelope = _json(stored)
        wrong_type = self.payload_type and envelope["payloadType"] != RECORD_TYPE
        self._refuse(wrong_type, Untrusted, "payload type", "untrusted")
        payload = base64.b64decode(envelope["payload"])
        document = _json(payload)
        if self.format:
            check_format(Fields(document, "record"), 1)
        record = replace(Record.from_payload(_as_format_1(document)), critical=tuple(document.get("critical", ())))
        trusted = TrustedRecord(record, stored, (), (), expired=False)
        self._check(trusted, bundle, channel, floor)
        return trusted

    def _check(self, trusted: TrustedRecord, bundle: str, channel: str, floor: Floor | None) -> None:
        record = trusted.record
        wrong = (record.bundle, record.channel) != (bundle, channel)
        self._refuse(self.identity and wrong, Untrusted, "", "wrong_identity")
        unknown = [name for name in record.critical if name not in HONOURED]
        self._refuse(self.critical and bool(unknown), Untrusted, f"{unknown}", "unknown_critical")
        before = record.previous.generation if record.previous else 0
        self._refuse(self.chain and before != record.generation - 1, Malformed, "record.previous", "malformed")
        if floor is not None:
            found, known = (record.epoch, record.generation), (floor.epoch, floor.generation)
            self._refuse(self.went_back and found < known, Untrusted, "", "went_back")
            same = trusted.floor == floor
            self._refuse(self.equivocation and found == known and not same, Untrusted, "", "equivocation")
            follows = found == (known[0], known[1] + 1) and record.previous is not None
            other = follows and record.previous is not None and record.previous.sha256 != floor.sha256
            self._refuse(self.fork and other, Untrusted, "", "equivocation")
            self._refuse(not self.again and same, Untrusted, "", "went_back")

    @staticmethod
    def _refuse(broken: bool, kind: type[BadData], message: str, code: str) -> None:
        if broken:
            raise kind(message, code=code)


def _json(raw: bytes) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(raw)
    except ValueError as error:
        raise Malformed(str(error)) from None
    return found


def _as_format_1(document: dict[str, Any]) -> bytes:
    """The payload, so that a reader who does not look at the format reads on: it has to be a record otherwise."""
    known = _json(golden.payload()) | document
    return json.dumps({**known, "format": 1 if document["format"] else 0}).encode()


def failing(rules: checks.AcceptRecord) -> set[str]:
    """The checks that ``rules`` does not pass."""
    found = set()
    for check in checks.RECORD_CHECKS:
        try:
            check(rules)
        except (*FAILS, BadData):
            found.add(check.__name__)
    return found


def test_rules_without_a_mistake_pass_every_check() -> None:
    assert failing(Rules()) == set()
    assert failing(trust.accept_record) == set()


@pytest.mark.parametrize(
    ("rules", "check"),
    [
        (Rules(size=False), "check_rule_1_size"),
        (Rules(format=False), "check_rule_1_format"),
        (Rules(payload_type=False), "check_rule_2_payload_type"),
        (Rules(identity=False), "check_rule_4_identity"),
        (Rules(critical=False), "check_rule_5_critical"),
        (Rules(went_back=False), "check_rule_6_went_back"),
        (Rules(equivocation=False), "check_rule_6_equivocation"),
        (Rules(fork=False), "check_rule_6_fork"),
        (Rules(chain=False), "check_rule_6_chain"),
        (Rules(again=False), "check_rule_6_forward"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_rules_with_one_mistake_fail_one_check(rules: Rules, check: str) -> None:
    assert failing(rules) == {check}


# Trees.


def folder_digest(files: Sequence[tree.TreeFile], line: Callable[[str, bool, int, str, str], str]) -> str:
    """The tree digest with lines as ``line`` makes them of kind, x bit, size, digest and name."""
    entries: dict[str, list[tree.TreeFile]] = {}
    for file in files:
        name, _, below = file.path.partition("/")
        entries.setdefault(name, []).append(file._replace(path=below))
    lines = []
    for name in sorted(entries, key=str.encode):
        inside = entries[name]
        if inside[0].path:
            digest = folder_digest(inside, line).removeprefix("sha256:")
            lines.append(line("d", False, sum(file.size for file in inside), digest, name))
        else:
            lines.append(line("f", inside[0].executable, inside[0].size, inside[0].sha256, name))
    return digest_of(b"dagferry tree 1\n" + "".join(lines).encode())


def right_line(kind: str, executable: bool, size: int, digest: str, name: str) -> str:
    return f"{kind} {'x' if executable else '-'} {size} {digest} {name}\n"


def test_digest_without_a_mistake_passes() -> None:
    checks.check_digests(lambda files: folder_digest(files, right_line))


@pytest.mark.parametrize(
    "line",
    [
        lambda kind, executable, size, digest, name: right_line(kind, False, size, digest, name),
        lambda kind, executable, size, digest, name: right_line(kind, executable, 0, digest, name),
        lambda kind, executable, size, digest, name: right_line("f", executable, size, digest, name),
        lambda kind, executable, size, digest, name: right_line(kind, executable, size, digest, ""),
        lambda kind, executable, size, digest, name: right_line(kind, executable, size, digest, name).rstrip("\n"),
    ],
    ids=["no x bit", "no size", "no kind", "no name", "no line ends"],
)
def test_digest_that_leaves_something_out_is_caught(line: Callable[[str, bool, int, str, str], str]) -> None:
    with pytest.raises(FAILS):
        checks.check_digests(lambda files: folder_digest(files, line))


def test_digest_of_a_flat_list_is_caught() -> None:
    with pytest.raises(FAILS):
        checks.check_digests(lambda files: digest_of(tree.encode_files(tree.make_tree(files))))


def test_digest_that_depends_on_the_order_of_its_input_is_caught() -> None:
    def in_given_order(files: Sequence[tree.TreeFile]) -> str:
        return tree.tree_digest(files) if list(files) == sorted(files, key=lambda one: one.path.encode()) else ""

    with pytest.raises(FAILS):
        checks.check_digests(in_given_order)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda file: plaintar.header(file._replace(executable=False)),
        lambda file: plaintar.header(file)[:-512] + _with_mtime(plaintar.header(file)[-512:]),
        lambda file: plaintar.header(file._replace(size=file.size & 0o7777777777)),
        lambda file: plaintar.header(file)[-512:],
        lambda file: plaintar.header(file).replace(b"ustar\x0000", b"ustar  \0"),
    ],
    ids=["no x bit", "a time", "ten octal digits", "no pax header", "GNU magic"],
)
def test_header_with_a_mistake_is_caught(spoil: checks.HeaderOf) -> None:
    checks.check_plain_tars(plaintar.header)
    with pytest.raises(FAILS):
        checks.check_plain_tars(spoil)


def _with_mtime(block: bytes) -> bytes:
    return block[:136] + b"15113410347\0" + block[148:]


def decode_without_order(raw: bytes) -> tree.Tree:
    """A reader that puts the lines in order itself, and so takes two lists for one tree."""
    lines = sorted(raw.splitlines(keepends=True), key=lambda line: line.split(b" ", 3)[-1].rstrip(b"\n"))
    return tree.decode_files(b"".join(lines))


def decode_with_any_line_end(raw: bytes) -> tree.Tree:
    return tree.decode_files(raw.replace(b"\r\n", b"\n"))


def decode_with_any_case(raw: bytes) -> tree.Tree:
    lines = [line.split(b" ", 3) for line in raw.split(b"\n")]
    return tree.decode_files(
        b"\n".join(b" ".join([*line[:2], *map(bytes.lower, line[2:3]), *line[3:]]) for line in lines)
    )


@pytest.mark.parametrize("decode", [decode_without_order, decode_with_any_line_end, decode_with_any_case])
def test_file_list_reader_that_is_too_kind_is_caught(decode: checks.Decode) -> None:
    checks.check_file_lists(tree.decode_files)
    with pytest.raises(FAILS):
        checks.check_file_lists(decode)


def test_paths_judged_one_by_one_are_caught() -> None:
    with pytest.raises(FAILS):
        checks.check_paths(lambda some: [f"{path!r} {problem}" for path in some if (problem := paths.problem_of(path))])


# Content.


def files_without(
    *, pin: bool = False, bound: bool = False, digest: bool = False, count: bool = False
) -> checks.AcceptFiles:
    """`trust.accept_files` with one of its steps left out."""

    def accept(stored: bytes, content: Content) -> VerifiedTree:
        if not pin:
            trust.check_stored(stored, content.files, "file list")
        limit = 2**40 if bound else content.files.count * tree.MAX_LINE
        try:
            made = tree.decode_files(compression.decompress(stored, "file list", limit=limit))
        except Corrupt as error:
            if not pin:
                raise
            raise Corrupt(error.message, code="wrong_digest") from None
        if not count and len(made.files) != content.files.count:
            raise Corrupt(f"{len(made.files)} files instead of {content.files.count}")
        return trust.check_tree(made, made.digest if digest else content.tree)

    return accept


def test_files_without_a_mistake_pass() -> None:
    for check in checks.FILES_CHECKS:
        check(files_without())


@pytest.mark.parametrize(
    ("accept", "check"),
    [
        (files_without(pin=True), checks.check_rule_7_pin),
        (files_without(digest=True), checks.check_rule_8_digest),
        (files_without(count=True), checks.check_rule_8_count),
    ],
    ids=["rule 7", "rule 8, digest", "rule 8, count"],
)
def test_files_with_one_mistake_are_caught(
    accept: checks.AcceptFiles, check: Callable[[checks.AcceptFiles], None]
) -> None:
    with pytest.raises((*FAILS, BadData)):
        check(accept)


def test_files_without_a_bound_are_caught() -> None:
    with pytest.raises((*FAILS, Malformed)):
        checks.check_rule_7_bomb(files_without(bound=True))


def tarball_without(*, size: bool = False, digest: bool = False, plain: bool = False) -> checks.AcceptTarball:
    """Rule 9 with one of its steps left out: the pin is bent until `trust.TarballCheck` lets it pass."""

    def accept(verified: VerifiedTree, pin: TarballPin, chunks: Sequence[bytes]) -> VerifiedTarball:
        whole = b"".join(chunks)
        bent = TarballPin(
            digest_of(whole) if digest or (size and len(whole) != pin.size) else pin.sha256,
            len(whole) if size else pin.size,
            plaintar.plain_size(verified.tree) if plain else pin.plain_size,
        )
        check = trust.TarballCheck(verified, bent)
        for chunk in chunks:
            check.update(chunk)
        return replace(check.finish(), pin=pin, seal=trust._SEAL)

    return accept


def test_tarball_with_one_mistake_is_caught() -> None:
    files, _, content = golden.packed()
    verified = trust.accept_files(files, content)
    checks.check_rule_9_pin(verified, tarball_without())
    checks.check_rule_9_plain_size(verified, tarball_without())
    for mistake in (tarball_without(size=True), tarball_without(digest=True)):
        with pytest.raises(FAILS):
            checks.check_rule_9_pin(verified, mistake)
    with pytest.raises(FAILS):
        checks.check_rule_9_plain_size(verified, tarball_without(plain=True))


def test_value_that_anybody_can_make_is_caught() -> None:
    @dataclass(frozen=True)
    class Unsealed:
        seal: object

    with pytest.raises(FAILS):
        checks.check_sealed(Unsealed)
