"""Vector documents: records, envelopes, versions and requests, written from ``schemas/FORMAT.md`` without dagferry."""

from __future__ import annotations

import base64
import json
from typing import Any

from .vector_trees import sha256

RECORD_TYPE = "application/vnd.dagferry.record.v1+json"


def one_line(document: dict[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode() + b"\n"


def _hex(letter: str) -> str:
    return "sha256:" + letter * 64


def _content(letter: str) -> dict[str, Any]:
    return {
        "tree": _hex(letter),
        "tarball": {"sha256": _hex("1"), "size": 1234, "plain_size": 10240},
        "files": {"sha256": _hex("2"), "size": 321, "count": 3},
    }


def _release(letter: str, version: str) -> dict[str, Any]:
    return {"version": version, "version_record": {"sha256": _hex("3"), "size": 700}, **_content(letter)}


def record(**changes: Any) -> dict[str, Any]:  # noqa: ANN401 (JSON is dynamic)
    return {
        "format": 1,
        "critical": [],
        "bundle": "analytics",
        "channel": "prod",
        "epoch": 0,
        "generation": 7,
        "previous": {"generation": 6, "sha256": _hex("6")},
        "nonce": "6f1d8a52c0b94e17",
        "issued": "2026-11-20T10:15:00Z",
        "expires": None,
        "action": "promote",
        "actor": "ci@example.com",
        "reason": "",
        "hold": None,
        "live": _release("a", "v1.4.0"),
        "candidate": None,
        "bad": [],
        "deltas": [],
        **changes,
    }


def without(document: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name not in names}


def envelope(payload: bytes, kind: str = RECORD_TYPE) -> dict[str, Any]:
    return {"payload": base64.b64encode(payload).decode(), "payloadType": kind, "signatures": []}


ACCEPTED_RECORDS: dict[str, dict[str, Any]] = {
    "plain": record(),
    "first": record(generation=1, previous=None),
    "hold": record(
        action="rollback",
        reason="v1.4.0 doubles the load",
        hold={"by": "dana", "reason": "until it is fixed", "since": "2026-11-20T10:15:00.25Z"},
        live=_release("b", "v1.3.2"),
        bad=["v1.4.0"],
    ),
    "candidate_with_targets": record(
        candidate={**_release("c", "v1.5.0"), "targets": ["canary-0", "zone=a"], "until": "2026-11-21T00:00:00Z"}
    ),
    "candidate_that_is_critical": record(
        critical=["candidate"], candidate={**_release("c", "v1.5.0"), "targets": ["canary-0"], "until": None}
    ),
    "candidate_without_end": record(candidate={**_release("c", "v1.5.0"), "targets": [], "until": None}),
    "deltas": record(deltas=[{"from": _hex("b"), "to": _hex("a"), "sha256": _hex("d"), "size": 99}]),
    "expires": record(expires="2026-12-04T10:15:00Z"),
    "critical_fields_that_are_known": record(critical=["hold", "live"]),
    "unknown_field_that_is_not_critical": record(mood={"weather": ["fair", None, 1.5]}, note="kept"),
    "unknown_action": record(action="quarantine"),
    "largest_integer": record(epoch=2**53 - 1),
    "text_that_is_not_ascii": record(actor="Zo\u00eb", reason="\U0001f6a2 \u65e5\u672c"),
}

REFUSED_RECORDS: dict[str, tuple[dict[str, Any], str]] = {
    "unknown_critical_field": (record(critical=["quorum"], quorum=2), "unknown_critical"),
    "unknown_critical_field_that_is_absent": (record(critical=["quorum"]), "unknown_critical"),
    "known_field_that_is_not_honoured_made_critical": (record(critical=["reason"]), "unknown_critical"),
    "live_version_is_called_bad": (record(bad=["v1.3.9", "v1.4.0"]), "bad_release"),
    "newer_format": (record(format=2), "newer_format"),
    "newer_format_of_another_shape": ({"format": 2, "release": "other"}, "newer_format"),
    "format_zero": (record(format=0), "malformed"),
    "format_true": (record(format=True), "malformed"),
    "format_as_text": (record(format="1"), "malformed"),
    "wrong_bundle": (record(bundle="other"), "wrong_identity"),
    "wrong_channel": (record(channel="staging"), "wrong_identity"),
    "bundle_in_other_case": (record(bundle="Analytics"), "wrong_identity"),
    "generation_zero": (record(generation=0, previous=None), "malformed"),
    "generation_negative": (record(generation=-7), "malformed"),
    "generation_with_a_fraction": (record(generation=7.0), "malformed"),
    "generation_of_2_to_the_53": (record(generation=2**53, previous=None), "malformed"),
    "generation_skipped": (record(generation=8), "malformed"),
    "first_generation_with_a_previous": (record(generation=1), "malformed"),
    "later_generation_without_a_previous": (record(previous=None), "malformed"),
    "digest_in_upper_case": (record(previous={"generation": 6, "sha256": "sha256:" + "A" * 64}), "malformed"),
    "digest_without_its_kind": (record(live={**_release("a", "v1"), "tree": "a" * 64}), "malformed"),
    "time_without_zone": (record(issued="2026-11-20T10:15:00"), "malformed"),
    "time_with_an_offset": (record(issued="2026-11-20T10:15:00+00:00"), "malformed"),
    "time_in_other_digits": (record(issued="\u0662\u0660\u0662\u0666-11-20T10:15:00Z"), "malformed"),
    "hold_as_a_flag": (record(hold=True), "malformed"),
    "hold_without_a_reason": (record(hold={"by": "dana", "since": "2026-11-20T10:15:00Z"}), "malformed"),
    "critical_missing": (without(record(), "critical"), "malformed"),
    "critical_null": (record(critical=None), "malformed"),
    "critical_as_text": (record(critical="hold"), "malformed"),
    "critical_with_a_number": (record(critical=[1]), "malformed"),
    "targets_with_a_number": (record(candidate={**_release("c", "v1"), "targets": [1]}), "malformed"),
    "deltas_with_a_text": (record(deltas=["x"]), "malformed"),
    "live_missing": (without(record(), "live"), "malformed"),
    "version_that_names_a_report": (record(live=_release("a", "v1.report")), "malformed"),
    "version_with_a_slash": (record(live=_release("a", "../v1")), "malformed"),
    "file_count_zero": (
        record(live={**_release("a", "v1"), "files": {"sha256": _hex("2"), "size": 1, "count": 0}}),
        "malformed",
    ),
    "reason_of_4097_characters": (record(reason="r" * 4097), "malformed"),
    "nonce_of_129_characters": (record(nonce="n" * 129), "malformed"),
}

_PLAIN = one_line(record())
_OLD = one_line(envelope(one_line(record(reason="the same generation, told differently"))))
_PLAIN_STORED = one_line(envelope(_PLAIN))


def _floor(epoch: int, generation: int, stored: bytes) -> dict[str, Any]:
    return {"epoch": epoch, "generation": generation, "sha256": "sha256:" + sha256(stored)}


# Each meets the record "plain": epoch 0, generation 7.
FLOORS: dict[str, tuple[dict[str, Any], str | None]] = {
    "same_generation_same_bytes": (_floor(0, 7, _PLAIN_STORED), None),
    "newer_than_the_floor": ({"epoch": 0, "generation": 6, "sha256": _hex("6")}, None),
    "several_newer_than_the_floor": (_floor(0, 5, _OLD), None),
    "follows_another_record": (_floor(0, 6, _OLD), "equivocation"),
    "equivocation": (_floor(0, 7, _OLD), "equivocation"),
    "went_back": (_floor(0, 8, _OLD), "went_back"),
    "went_back_to_an_older_epoch": (_floor(1, 1, _OLD), "went_back"),
}

_TEXT = base64.b64encode(_PLAIN).decode()

ACCEPTED_ENVELOPES: dict[str, bytes] = {
    "url_safe_base64": one_line({**envelope(_PLAIN), "payload": base64.urlsafe_b64encode(
        one_line(record(reason="\u00fc\u00ff?>~\U0001f6a2\u03ff\u07ff"))).decode()}),
    "unknown_members": one_line({**envelope(_PLAIN), "later": {"x": [1]}}),
    "signature_without_a_keyid": one_line({**envelope(_PLAIN), "signatures": [{"sig": "QUJD"}]}),
    "signature_with_keyid_null": one_line({**envelope(_PLAIN), "signatures": [{"keyid": None, "sig": "QUJD"}]}),
    "spaces_and_lines_between": json.dumps(envelope(_PLAIN), indent=4).encode(),
}  # fmt: skip

REFUSED_ENVELOPES: dict[str, tuple[bytes, str, str]] = {
    "empty": (b"", "malformed", "not JSON"),
    "list_at_the_top": (b"[]\n", "malformed", "expected an object"),
    "not_utf8": (_PLAIN_STORED.replace(b"dagferry", b"dagf\xe9rry"), "malformed", "not UTF-8"),
    "utf16": (_PLAIN_STORED.decode().encode("utf-16"), "malformed", "not UTF-8"),
    "byte_order_mark": (b"\xef\xbb\xbf" + _PLAIN_STORED, "malformed", "not JSON"),
    "cut_off": (_PLAIN_STORED[:-40], "malformed", "not JSON"),
    "two_documents": (_PLAIN_STORED * 2, "malformed", "not JSON"),
    "duplicate_key": (b'{"payloadType":"x",' + _PLAIN_STORED[1:], "malformed", "'payloadType' appears twice"),
    "duplicate_key_in_a_signature": (
        b'{"payload":"","payloadType":"x","signatures":[{"sig":"","sig":""}]}', "malformed", "'sig' appears twice",
    ),
    "nan": (_PLAIN_STORED.replace(b'"signatures":[]', b'"signatures":[],"x":NaN'), "malformed", "NaN"),
    "infinity": (_PLAIN_STORED.replace(b'"signatures":[]', b'"signatures":[],"x":-Infinity'), "malformed", "Infinity"),
    "number_beyond_every_float": (
        _PLAIN_STORED.replace(b'"signatures":[]', b'"signatures":[],"x":1e999'), "malformed", "too large",
    ),
    "half_a_surrogate_pair": (
        _PLAIN_STORED.replace(b'"signatures":[]', b'"signatures":[],"x":"\\ud83d"'), "malformed", "surrogate",
    ),
    "nested_nine_levels": (
        _PLAIN_STORED.replace(b'"signatures":[]', b'"signatures":[],"x":' + b"[" * 8 + b"]" * 8), "malformed", "deeper",
    ),
    "nested_600_levels": (
        _PLAIN_STORED.replace(b'"signatures":[]', b'"signatures":[],"x":' + b"[" * 600 + b"]" * 600),
        "malformed", "deeper",
    ),
    "wrong_payload_type": (
        one_line(envelope(_PLAIN, "application/vnd.in-toto+json")), "untrusted", "payload type",
    ),
    "payload_type_in_upper_case": (one_line(envelope(_PLAIN, RECORD_TYPE.upper())), "untrusted", "payload type"),
    "payload_type_with_a_space": (one_line(envelope(_PLAIN, RECORD_TYPE + " ")), "untrusted", "payload type"),
    "payload_type_missing": (one_line(without(envelope(_PLAIN), "payloadType")), "malformed", ".payloadType: missing"),
    "payload_missing": (one_line(without(envelope(_PLAIN), "payload")), "malformed", ".payload: missing"),
    "payload_as_an_object": (one_line({**envelope(_PLAIN), "payload": record()}), "malformed", ".payload: expected"),
    "signatures_missing": (one_line(without(envelope(_PLAIN), "signatures")), "malformed", ".signatures: missing"),
    "signatures_null": (one_line({**envelope(_PLAIN), "signatures": None}), "malformed", ".signatures: expected"),
    "signature_as_text": (one_line({**envelope(_PLAIN), "signatures": ["x"]}), "malformed", ".signatures[0]"),
    "signature_without_sig": (one_line({**envelope(_PLAIN), "signatures": [{}]}), "malformed", "[0].sig: missing"),
    "junk_in_base64": (one_line({**envelope(_PLAIN), "payload": "!" + _TEXT}), "malformed", "not base64"),
    "line_feed_in_base64": (
        one_line({**envelope(_PLAIN), "payload": _TEXT[:76] + "\n" + _TEXT[76:]}), "malformed", "not base64",
    ),
    "base64_not_ascii": (one_line({**envelope(_PLAIN), "payload": "\u00e9" + _TEXT}), "malformed", "not base64"),
    "base64_without_padding": (one_line({**envelope(_PLAIN), "payload": "QQ"}), "malformed", "not base64"),
    "payload_empty": (one_line(envelope(b"")), "malformed", "not JSON"),
    "payload_not_json": (one_line(envelope(b"live: v1\n")), "malformed", "not JSON"),
    "payload_with_a_duplicate_key": (
        one_line(envelope(b'{"format":1,' + _PLAIN[1:])), "malformed", "'format' appears twice",
    ),
    "payload_with_nan": (one_line(envelope(b'{"x":NaN,' + _PLAIN[1:])), "malformed", "NaN"),
    "payload_nested_nine_levels": (
        one_line(envelope(b'{"x":' + b"[" * 8 + b"]" * 8 + b"," + _PLAIN[1:])), "malformed", "deeper",
    ),
    "payload_not_utf8": (one_line(envelope(b'{"x":"\xff",' + _PLAIN[1:])), "malformed", "not UTF-8"),
}  # fmt: skip


def version(**changes: Any) -> dict[str, Any]:  # noqa: ANN401 (JSON is dynamic)
    return {
        "format": 1,
        "bundle": "analytics",
        "version": "v1.4.0",
        "commit": "c0ffee" + "0" * 34,
        "first_parents": 214,
        "commit_time": "2026-11-20T09:58:31Z",
        "tag": "v1.4.0",
        "selection": {"root": "dags", "exclude": ["**/tests/**"]},
        **_content("a"),
        **changes,
    }


_VERSION = one_line(version())

ACCEPTED_VERSIONS: dict[str, bytes] = {
    "plain": _VERSION,
    "first_parents_null": one_line(version(first_parents=None)),
    "tag_null": one_line(version(tag=None)),
    "tag_missing": one_line(without(version(), "tag")),
    "commit_of_sha256": one_line(version(commit="c0ffee" + "0" * 58)),
    "selection_empty": one_line(version(selection={})),
    "unknown_field": one_line(version(licence="none")),
    "version_with_every_character": one_line(version(version="v1.4.0-12-gc0ffee+local_A")),
    "keys_in_another_order": json.dumps(dict(reversed(version().items())), indent=2).encode(),
}

REFUSED_VERSIONS: dict[str, tuple[bytes, str, str]] = {
    "newer_format": (one_line(version(format=2)), "newer_format", "format 2"),
    "format_missing": (one_line(without(version(), "format")), "malformed", ".format: missing"),
    "format_zero": (one_line(version(format=0)), "malformed", ".format"),
    "wrong_bundle": (one_line(version(bundle="other")), "untrusted", "'other'"),
    "wrong_version": (one_line(version(version="v1.4.1")), "untrusted", "'v1.4.1'"),
    "commit_abbreviated": (one_line(version(commit="c0ffee0")), "malformed", ".commit"),
    "commit_in_upper_case": (one_line(version(commit="C0FFEE" + "0" * 34)), "malformed", ".commit"),
    "commit_of_41_digits": (one_line(version(commit="c0ffee" + "0" * 35)), "malformed", ".commit"),
    "first_parents_zero": (one_line(version(first_parents=0)), "malformed", ".first_parents"),
    "first_parents_true": (one_line(version(first_parents=True)), "malformed", ".first_parents"),
    "first_parents_as_text": (one_line(version(first_parents="214")), "malformed", ".first_parents"),
    "commit_time_as_a_number": (one_line(version(commit_time=1763632711)), "malformed", ".commit_time"),
    "commit_time_of_a_13th_month": (one_line(version(commit_time="2026-13-01T00:00:00Z")), "malformed", ".commit_time"),
    "tag_as_a_number": (one_line(version(tag=1)), "malformed", ".tag"),
    "selection_as_a_list": (one_line(version(selection=[])), "malformed", ".selection"),
    "version_is_dot_dot": (one_line(version(version="..")), "malformed", ".version"),
    "version_of_201_characters": (one_line(version(version="v" * 201)), "malformed", ".version"),
    "version_with_a_line_feed": (one_line(version(version="v1.4.0\n")), "malformed", ".version"),
    "bundle_of_64_characters": (one_line(version(bundle="b" * 64)), "malformed", ".bundle"),
    "tree_missing": (one_line(without(version(), "tree")), "malformed", ".tree: missing"),
    "plain_size_missing": (
        one_line(version(tarball={"sha256": _hex("1"), "size": 1})), "malformed", ".tarball.plain_size: missing",
    ),
    "size_negative": (
        one_line(version(tarball={"sha256": _hex("1"), "size": -1, "plain_size": 1})), "malformed", ".tarball.size",
    ),
    "size_of_2_to_the_53": (
        one_line(version(tarball={"sha256": _hex("1"), "size": 2**53, "plain_size": 1})), "malformed", ".tarball.size",
    ),
    "files_null": (one_line(version(files=None)), "malformed", ".files: expected an object"),
    "duplicate_key": (b'{"commit":"x",' + _VERSION[1:], "malformed", "'commit' appears twice"),
    "nan": (_VERSION.replace(b"214", b"NaN"), "malformed", "NaN"),
    "not_utf8": (_VERSION.replace(b"dags", b"d\xe4gs"), "malformed", "not UTF-8"),
    "nested_nine_levels": (
        one_line(version(selection={"a": {"b": {"c": {"d": {"e": {"f": {"g": {}}}}}}}})), "malformed", "deeper",
    ),
}  # fmt: skip

ACCEPTED_REQUESTS: dict[str, tuple[bytes, int | None, float]] = {
    "empty_body": (b"", None, 30.0),
    "empty_object": (b"{}", None, 30.0),
    "both": (b'{"expect_generation": 7, "wait_seconds": 2.5}', 7, 2.5),
    "wait_zero": (b'{"wait_seconds": 0}', None, 0.0),
    "wait_longer_than_the_most": (b'{"wait_seconds": 86400}', None, 300.0),
    "largest_generation": (b'{"expect_generation": 9007199254740991}', 2**53 - 1, 30.0),
    "nulls": (b'{"expect_generation": null, "wait_seconds": null}', None, 30.0),
}

REFUSED_REQUESTS: dict[str, tuple[bytes, str, str]] = {
    "unknown_field": (b'{"force": true}', "invalid_field", ".force: unknown field"),
    "url": (b'{"url": "https://example.com/dags.tar"}', "invalid_field", ".url: unknown field"),
    "path": (b'{"path": "/etc"}', "invalid_field", ".path: unknown field"),
    "version": (b'{"version": "v1"}', "invalid_field", ".version: unknown field"),
    "generation_true": (b'{"expect_generation": true}', "invalid_field", ".expect_generation: expected an integer"),
    "generation_as_text": (b'{"expect_generation": "7"}', "invalid_field", ".expect_generation"),
    "generation_with_a_fraction": (b'{"expect_generation": 7.0}', "invalid_field", ".expect_generation"),
    "generation_zero": (b'{"expect_generation": 0}', "invalid_field", ".expect_generation"),
    "generation_negative": (b'{"expect_generation": -1}', "invalid_field", ".expect_generation"),
    "generation_of_2_to_the_53": (b'{"expect_generation": 9007199254740992}', "invalid_field", ".expect_generation"),
    "wait_true": (b'{"wait_seconds": true}', "invalid_field", ".wait_seconds"),
    "wait_negative": (b'{"wait_seconds": -0.5}', "invalid_field", ".wait_seconds"),
    "wait_of_400_digits": (b'{"wait_seconds": ' + b"9" * 400 + b"}", "invalid_field", ".wait_seconds"),
    "wait_beyond_every_float": (b'{"wait_seconds": 1e999}', "malformed", "too large"),
    "wait_nan": (b'{"wait_seconds": NaN}', "malformed", "NaN"),
    "list_at_the_top": (b"[]", "malformed", "expected an object"),
    "null_at_the_top": (b"null", "malformed", "expected an object"),
    "form": (b"expect_generation=7", "malformed", "not JSON"),
    "not_utf8": (b'{"\xff": 1}', "malformed", "not UTF-8"),
    "duplicate_key": (b'{"wait_seconds": 1, "wait_seconds": 2}', "malformed", "appears twice"),
    "nested_nine_levels": (b'{"x": ' + b"[" * 8 + b"]" * 8 + b"}", "malformed", "deeper"),
    "larger_than_4096_bytes": (b"{}" + b" " * 4095, "malformed", "at most 4096"),
}
