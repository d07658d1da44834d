"""The JSON Schemas beside the readers: both ask for the same fields, and both allow the same unknown ones."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from dagferry_schemas import acknowledgement, dsse, endpoint, inventory, keyring, names, pins, record
from dagferry_schemas.errors import Held, Malformed
from dagferry_schemas.fields import MAX_INTEGER, Fields, dump, load
from dagferry_schemas.layout import MAX_DOCUMENT
from dagferry_schemas.version import Version

from . import golden, vector_documents

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

JSON = Path(__file__).resolve().parents[2] / "schemas" / "json"
SCHEMAS: dict[str, dict[str, Any]] = {
    path.name.removesuffix(".schema.json"): json.loads(path.read_bytes()) for path in sorted(JSON.glob("*.schema.json"))
}
DIGEST = "sha256:" + "a" * 64

FULL_RECORD = vector_documents.record(
    critical=["hold"],
    expires="2026-12-04T10:15:00Z",
    hold=vector_documents.ACCEPTED_RECORDS["hold"]["hold"],
    candidate=vector_documents.ACCEPTED_RECORDS["candidate_with_targets"]["candidate"],
    bad=["v1.3.9"],
    deltas=vector_documents.ACCEPTED_RECORDS["deltas"]["deltas"],
)
FULL_ENVELOPE = {"payload": "QUJD", "payloadType": "x", "signatures": [{"keyid": "k", "sig": "QUJD"}]}
REPLY = endpoint.PullReply(
    bundle="analytics",
    channel="prod",
    generation=7,
    version="v1.4.0",
    tree=DIGEST,
    previous="v1.3.2",
    changed=True,
    files_written=2,
    files_linked=40,
    bytes_fetched=1234,
    requests=3,
    seconds=0.25,
    files_copied=1,
    pinned=None,
)
STATUS = endpoint.AgentStatus(
    agent_id="scheduler-0",
    bundle="analytics",
    channel="prod",
    generation=7,
    version="v1.4.0",
    tree=DIGEST,
    since="2026-11-20T10:15:04Z",
    previous="v1.3.2",
    pinned=None,
    verifying=False,
    last_check="2026-11-20T10:20:00Z",
    last_error={"code": "unreachable", "message": "the store does not answer"},
    drift=("dags/etl.py",),
    releases=({"tree": DIGEST, "versions": ["v1.4.0"], "live": True},),
    role="active",
    watching="inotify",
    disk={"used_bytes": 8192, "used_inodes": 3, "free_bytes": 10**9, "free_inodes": None},
    airflow={
        "version": "v1.4.0",
        "told": "2026-11-20T10:16:00Z",
        "parsed": True,
        "import_errors": {"before": 0, "after": 1, "new": [{"file": "dags/etl.py", "reason": "KeyError: 'x'"}]},
        "dags": {"before": 12, "after": None},
    },
    tells_airflow=True,
    labels=("zone=a",),
    candidate={"version": "v1.5.0", "tree": DIGEST, "state": "failed", "error": "the disk is full"},
)
ACKNOWLEDGEMENT = acknowledgement.Acknowledgement(
    STATUS, "2026-11-20T10:20:01Z", 60.0, "6f1d8a52c0b94e17", gone=False, disputed=True
)
STORE = {
    "format": 1,
    "bundle": "analytics",
    "checked": "2026-11-20T10:15:00Z",
    "checks": [{"name": "create", "ok": True, "detail": "an object was created and read back"}],
    "ok": True,
}
REPORT: dict[str, Any] = {
    "format": 1,
    "bundle": "analytics",
    "version": "v1.4.0",
    "lint": {
        "bundle": "analytics",
        "commit": "a" * 40,
        "findings": [
            {
                "rule": "F821", "severity": "error", "path": "dags/etl.py", "line": 3, "column": 7, "end_line": None,
                "end_column": None, "message": "undefined name", "hint": "import it",
            }
        ],
        "checked": {
            "files": 2, "dag_files": 1, "dags": 1, "cached": 0,
            "environment": {"airflow": "3.3.2", "python": "3.12.8", "command": "python3"},
        },
        "suppressed": 0,
        "baselined": 0,
        "seconds": 1.5,
    },
    "dags": [
        {
            **inventory.DagFacts("etl", "dags/etl.py").to_dict(),
            "tasks": [vars(inventory.TaskFacts("extract", "PythonOperator"))],
        }
    ],
    "left_out": [{"path": "dags/tmp/", "rule": "exclude: tmp/", "files": 2}],
    "unconverted": [{"path": "dags/x.sql", "attributes": ["eol"]}],
    "built": {"at": "2026-11-20T10:15:00Z", "seconds": 0.5},
    "environment": {"dagferry": "0.1.0"},
}  # fmt: skip
TOKENS: list[dict[str, Any]] = [
    {"id": "ci", "sha256": DIGEST, "scopes": ["pull:analytics/*", "status"], "not_after": "2027-01-01T00:00:00Z"},
    {"id": "ops", "sha256": DIGEST, "scopes": ["pull"], "not_before": None, "not_after": None},
]
KEY = {
    "format": 1,
    "key": "-----BEGIN PUBLIC KEY-----\n"
    "MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n"
    "-----END PUBLIC KEY-----\n",
    "roles": ["publisher", "promoter"],
    "bundles": ["analytics"],
    "channels": ["*"],
    "not_before": "2026-01-01T00:00:00Z",
    "not_after": "2027-01-01T00:00:00Z",
}
REQUIREMENTS = {
    "format": 1,
    "requirements": [{"bundle": "analytics", "channel": "prod", "publishers": 1, "promoters": 2, "epoch": 3}],
}
REQUEST = {"expect_generation": 7, "wait_seconds": 2.5}

At: TypeAlias = "tuple[str | int, ...]"
"""Where a field is in a document."""

DOCUMENTS: dict[str, Any] = {
    "acknowledgement": json.loads(ACKNOWLEDGEMENT.to_bytes()),
    "envelope": FULL_ENVELOPE,
    "key": KEY,
    "requirements": REQUIREMENTS,
    "error": {"error": {"code": "held", "message": "the channel is held", "hint": ""}},
    "pull-reply": REPLY.to_dict(),
    "pull-request": REQUEST,
    "record": FULL_RECORD,
    "report": REPORT,
    "status": STATUS.to_dict(),
    "store": STORE,
    "tokens": TOKENS,
    "version": vector_documents.version(),
}
READERS: dict[str, tuple[str, Callable[[bytes], object]]] = {
    "acknowledgement": ("acknowledgement", acknowledgement.Acknowledgement.from_bytes),
    "envelope": ("envelope", lambda raw: dsse.Envelope.from_bytes(raw, "envelope", limit=MAX_DOCUMENT)),
    "key": ("keyring, k.json", lambda raw: keyring.read_keyring({"k.json": raw})),
    "requirements": (
        "keyring, requirements.json",
        lambda raw: keyring.read_keyring({"requirements.json": raw, "k.json": dump(KEY)}),
    ),
    "pull-reply": ("pull reply", endpoint.PullReply.from_bytes),
    "pull-request": ("request", endpoint.PullRequest.from_bytes),
    "record": ("record", record.Record.from_payload),
    "report": ("report", lambda raw: inventory.read_inventory(load(raw, "report", limit=MAX_DOCUMENT).rest())),
    "status": ("status", endpoint.AgentStatus.from_bytes),
    "version": ("version", Version.from_bytes),
}


def is_valid(kind: str, document: object) -> bool:
    # Through JSON, because a tuple is no list to a validator.
    return bool(Draft202012Validator(SCHEMAS[kind]).is_valid(json.loads(json.dumps(document))))


def reads(kind: str, document: object) -> bool:
    try:
        READERS[kind][1](dump(document))  # type: ignore[arg-type]
    except Malformed:
        return False
    return True


def places(schema: dict[str, Any], top: dict[str, Any], at: At = ()) -> Iterator[tuple[At, dict[str, Any], bool]]:
    """Every field that a schema names, as (path, its schema, whether it is required); lists by their first element."""
    schema = schema | top["$defs"][schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    for name, inner in schema.get("properties", {}).items():
        yield (*at, name), inner, name in schema.get("required", ())
        yield from places(inner, top, (*at, name))
    if "items" in schema:
        yield from places(schema["items"], top, (*at, 0))


def changed(document: object, path: At, change: Callable[[Any, Any], None]) -> Any:  # noqa: ANN401 (JSON is dynamic)
    """A copy of ``document`` after ``change`` of the object or list that holds ``path``, and its last step."""
    made = holder = json.loads(json.dumps(document))
    for step in path[:-1]:
        holder = holder[step]
    change(holder, path[-1])
    return made


def put(document: object, path: At, value: object) -> Any:  # noqa: ANN401
    return changed(document, path, lambda holder, name: holder.__setitem__(name, value))


def without(document: object, path: At) -> Any:  # noqa: ANN401
    return changed(document, path, lambda holder, name: holder.pop(name))


def spelled(path: At) -> str:
    """A path as messages write it."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)


FIELDS = [
    pytest.param(kind, path, required, id=kind + spelled(path))
    for kind, schema in SCHEMAS.items()
    if kind in READERS
    for path, _, required in places(schema, schema)
    if kind != "report" or path[0] == "dags"  # the rest of a report is for people and has no reader of its own
]


def test_there_is_a_schema_for_every_document() -> None:
    assert set(SCHEMAS) == set(DOCUMENTS)


@pytest.mark.parametrize("kind", SCHEMAS)
def test_schema_is_one_and_says_which(kind: str) -> None:
    Draft202012Validator.check_schema(SCHEMAS[kind])
    assert SCHEMAS[kind]["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert SCHEMAS[kind]["$id"] == f"urn:dagferry:schema:1:{kind}"


@pytest.mark.parametrize("kind", SCHEMAS)
def test_every_field_is_described(kind: str) -> None:
    schema = SCHEMAS[kind]
    assert schema["title"]
    assert schema["description"]
    for path, inner, _ in places(schema, schema):
        assert inner.get("description", "").endswith("."), path


@pytest.mark.parametrize("kind", SCHEMAS)
def test_full_document_is_valid_and_misses_no_field(kind: str) -> None:
    assert is_valid(kind, DOCUMENTS[kind])
    for path, _, _ in places(SCHEMAS[kind], SCHEMAS[kind]):
        if path not in ((0, "not_before"),):  # the other entry has it
            changed(DOCUMENTS[kind], path, lambda holder, name: holder[name])


@pytest.mark.parametrize(("kind", "path", "required"), FIELDS)
def test_schema_and_reader_ask_for_the_same_fields(kind: str, path: At, required: bool) -> None:
    document = without(DOCUMENTS[kind], path)
    assert is_valid(kind, document) is not required
    what, reader = READERS[kind]
    if not required:
        reader(dump(document))
        return
    with pytest.raises(Malformed, match=re.escape(f"{what}{spelled(path)}: missing")):
        reader(dump(document))


@pytest.mark.parametrize(("kind", "path", "required"), FIELDS)
def test_schema_and_reader_judge_a_strange_value_alike(kind: str, path: At, required: bool) -> None:
    strange: tuple[object, ...] = (None, True, -1, 1.5, "", "x", [], [1], {})
    for value in strange:
        document = put(DOCUMENTS[kind], path, value)
        if is_valid(kind, document):
            assert reads(kind, document), value
        elif reads(kind, document):
            # Readers are milder where null stands for a field that may be missing, and do not look into these two.
            assert (value is None and not required) or path[0] in ("last_error", "releases"), value


@pytest.mark.parametrize("kind", ["acknowledgement", "envelope", "pull-reply", "record", "report", "status", "version"])
def test_unknown_fields_of_stored_documents_and_replies_are_allowed(kind: str) -> None:
    document = {**DOCUMENTS[kind], "later": {"any": ["thing"]}}
    assert is_valid(kind, document)
    READERS[kind][1](dump(document))


def test_unknown_fields_of_requests_and_tokens_are_refused() -> None:
    assert not is_valid("pull-request", {**REQUEST, "url": "https://example.com"})
    assert not reads("pull-request", {**REQUEST, "url": "https://example.com"})
    assert not is_valid("tokens", [{**TOKENS[0], "not_afer": "2027-01-01T00:00:00Z"}])
    for kind, document in (("key", KEY), ("requirements", REQUIREMENTS)):
        assert not is_valid(kind, {**document, "not_afer": "2027-01-01T00:00:00Z"})
        assert not reads(kind, {**document, "not_afer": "2027-01-01T00:00:00Z"})
    assert is_valid("store", {**STORE, "later": 1})


# What only a reader can see: relations between fields, and how a number is written.
_BEYOND_SCHEMAS = {
    "generation_skipped",
    "first_generation_with_a_previous",
    "later_generation_without_a_previous",
    "generation_with_a_fraction",
}


@pytest.mark.parametrize("name", golden.names("records"))
def test_record_vector_by_schema(name: str) -> None:
    code = golden.INDEX["records"][name]
    bad = code in ("malformed", "newer_format") and name not in _BEYOND_SCHEMAS
    assert is_valid("record", json.loads(golden.payload(name))) is not bad
    assert is_valid("envelope", json.loads(golden.stored(name)))


@pytest.mark.parametrize("name", golden.names("accepted_versions"))
def test_version_vector_by_schema(name: str) -> None:
    assert is_valid("version", json.loads(golden.raw(f"accepted_versions/{name}.json")))


def test_every_document_that_is_written_is_valid() -> None:
    read = record.Record.from_payload(dump(FULL_RECORD))
    assert read.to_dict() == FULL_RECORD
    assert is_valid("record", read.to_dict())
    assert is_valid("record", json.loads(read.succeed(head=b"", nonce="n", candidate=None, hold=None).to_payload()))
    assert is_valid("envelope", json.loads(record.seal(read)))
    assert is_valid("version", json.loads(Version.from_bytes(dump(vector_documents.version(tag=None))).to_bytes()))
    assert is_valid("pull-request", json.loads(endpoint.PullRequest().to_bytes()))
    assert is_valid("pull-request", json.loads(endpoint.PullRequest(7, 0.5).to_bytes()))
    assert is_valid("error", json.loads(endpoint.error_body("busy", "a pull is under way")))
    assert is_valid("error", {"error": Held("held", "resume it").to_dict()})


def test_replies_with_nothing_to_tell_are_valid_and_come_back_whole() -> None:
    nothing = endpoint.AgentStatus(
        "a", "b", "c", None, None, None, None, None, None, verifying=False, last_check=None, last_error=None
    )
    local = endpoint.PullReply("analytics", None, None, "v1", DIGEST, None, False, 0, 0, 0, 0, 0.0)
    for status in (nothing, STATUS):
        assert is_valid("status", status.to_dict())
        assert endpoint.AgentStatus.from_bytes(dump(status.to_dict())) == status
    for reply in (local, REPLY):
        assert is_valid("pull-reply", reply.to_dict())
        assert endpoint.PullReply.from_bytes(dump(reply.to_dict())) == reply


def test_grammars_and_limits_are_those_of_the_code() -> None:
    grammars = {f"^{one.pattern}$" for one in (names.NAME, names.VERSION, names.COMMIT, names.DIGEST, names.TIME)}
    grammars.add(f"^{keyring.NAME_OR_ALL.pattern}$")
    own = {"payload", "sig", 0, "scopes", "key"}
    for schema in SCHEMAS.values():
        for path, inner, _ in places(schema, schema):
            if path[-1] not in own and "pattern" in inner:
                assert inner["pattern"] in grammars, path
            if inner.get("type") in ("integer", "number") and path[-1] not in ("format", "publishers", "promoters"):
                assert inner["maximum"] == MAX_INTEGER, path


def test_reading_never_changes_its_input() -> None:
    live = FULL_RECORD["live"]
    candidate, delta = FULL_RECORD["candidate"], FULL_RECORD["deltas"][0]
    cases: list[tuple[Callable[[Fields], object], dict[str, Any]]] = [
        (pins.Pin.read, live["version_record"]),
        (pins.TarballPin.read, live["tarball"]),
        (pins.FilesPin.read, live["files"]),
        (pins.Content.read, live),
        (record.Live.read, live),
        (record.Candidate.read, candidate),
        (record.Delta.read, delta),
    ]
    for read, values in cases:
        before = copy.deepcopy(values)
        read(Fields(values, "x"))
        assert values == before


def test_an_unreadable_field_is_named_by_its_path() -> None:
    cases: dict[At, str] = {
        ("live", "tarball", "plain_size"): "record.live.tarball.plain_size: expected an integer, found a string",
        ("candidate", "targets", 1): "record.candidate.targets[1]: expected a string",
        ("deltas", 0, "from"): "record.deltas[0].from: ",
        ("hold", "since"): "record.hold.since: ",
        ("previous", "generation"): "record.previous.generation: ",
    }
    for path, expected in cases.items():
        value: object = 5 if path[-1] in (1, "from", "since") else "x"
        with pytest.raises(Malformed) as refused:
            record.Record.from_payload(dump(put(FULL_RECORD, path, value)))
        assert refused.value.message.startswith(expected)
