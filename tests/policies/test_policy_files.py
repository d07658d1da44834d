"""The files in ``ci/policies`` and the page about them, without a server: their form, and every key of the layout."""

from __future__ import annotations

import inspect
import json
import os
import re
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from moto.s3.responses import ACTION_MAP

from dagferry_schemas import layout
from tests.policies.files import EVERY_PART, FOLDER, PAGE, PARTS, PLACEHOLDERS, Place, listed
from tests.policies.rights import DELETE, GET, PUT, RIGHTS, TREE
from tests.policies.s3_rules import ELEMENTS, Request, denied, fits, permitted

if TYPE_CHECKING:
    from pathlib import Path

PLACE = Place("bucket", "team/dags", "etl", "prod")
S3_FILES = sorted(FOLDER.glob("s3-*.json"))
GCS_FILES = sorted(FOLDER.glob("gcs-*.yaml"))


def arn(key: str) -> str:
    return f"arn:aws:s3:::bucket/team/dags/{key}"


def test_every_key_of_the_layout_is_in_the_table() -> None:
    """A new kind of object has to be somebody's."""
    prefixes = {"versions", "channels", "logs", "acknowledgements"}
    makers = {name: one for name, one in inspect.getmembers(layout, inspect.isfunction)
              if one.__module__ == layout.__name__ and not name.endswith("_of") and name not in prefixes}  # fmt: skip
    values = {"bundle": "etl", "tree": TREE, "version": "v1.0", "channel": "prod", "generation": 7, "agent": "pod-1"}
    values["sha256"] = "sha256:" + "b" * 64
    made = {one(**{name: values[name] for name in inspect.signature(one).parameters}) for one in makers.values()}
    assert made <= {key for key, _ in RIGHTS}
    assert len(made) == len(makers) == 10


@pytest.mark.parametrize(("key", "rights"), RIGHTS, ids=[key[:40] for key, _ in RIGHTS])
def test_each_part_may_do_with_a_key_what_the_table_says(key: str, rights: dict[str, set[str]]) -> None:
    for part in EVERY_PART:
        policies = [PLACE.s3(part)]
        may = {action for action in (GET, PUT, DELETE) if permitted(policies, Request(action, arn(key)))}
        assert may == rights.get(part, set()), part


@pytest.mark.parametrize("part", PARTS)
def test_nobody_may_list_beyond_the_bundle(part: str) -> None:
    listing = {prefix: permitted([PLACE.s3(part)], Request("s3:ListBucket", "arn:aws:s3:::bucket", keys))
               for prefix, keys in {"none": {}, "": {"s3:prefix": ""}, "team/dags/": {"s3:prefix": "team/dags/"},
                                    "other": {"s3:prefix": "team/dags/etl2/"},
                                    "own": {"s3:prefix": "team/dags/etl/versions/"}}.items()}  # fmt: skip
    assert [prefix for prefix, may in listing.items() if may] == ([] if part == "agent" else ["own"])


def test_a_linter_sees_what_is_live_on_its_channel_in_all_bundles_and_nothing_else() -> None:
    policies = [PLACE.s3("linter")]
    keys = [key for key, _ in RIGHTS] + [layout.report("other", "v1.0"), layout.head("other", "staging")]
    may = {key for key in keys if permitted(policies, Request(GET, arn(key)))}
    reports = {layout.report(bundle, "v1.0") for bundle in ("etl", "other")}
    assert may == {layout.head(bundle, "prod") for bundle in ("etl", "other")} | reports
    assert not any(permitted(policies, Request(action, arn(key))) for key in keys for action in (PUT, DELETE))
    for prefix, seen in {"team/dags/": True, "team/dags/other/": True, "team/": False, "": False}.items():
        listing = Request("s3:ListBucket", "arn:aws:s3:::bucket", {"s3:prefix": prefix})
        assert permitted(policies, listing) is seen, prefix


def written(key: str, *, parts: str = "", https: str = "true", **headers: str) -> bool:
    """Whether the bucket's policy lets a write pass, by someone who may do everything."""
    keys = {"s3:ObjectCreationOperation": "false" if parts else "true", "aws:SecureTransport": https}
    keys |= {f"s3:{name.replace('_', '-')}": value for name, value in headers.items()}
    return not denied([PLACE.s3("bucket")], Request(PUT, arn(key), keys))


@pytest.mark.parametrize("key", [key for key, rights in RIGHTS if key.startswith("etl/")])
def test_the_bucket_takes_no_write_without_a_condition_and_replaces_only_what_changes(key: str) -> None:
    replaced = (
        key.endswith("/head.json")
        or layout.agent_of(key) is not None
        or key == layout.store_json("etl")
        or key.startswith("etl/probe/")
    )
    assert not written(key)
    assert written(key, if_none_match="*")
    assert written(key, if_match='"tag"') is replaced
    assert written(key, parts="one of them")
    assert not written(key, https="false", if_none_match="*")
    deleted = Request(DELETE, arn(key), {"aws:SecureTransport": "true"})
    assert denied([PLACE.s3("bucket")], deleted) is not key.startswith("etl/probe/")


@pytest.mark.parametrize("file", S3_FILES, ids=lambda file: file.name)
def test_s3_policies_are_well_formed(file: Path) -> None:
    known = {f"s3:{name}" for kind in ACTION_MAP.values() for methods in kind.values() for name in methods.values()}
    policy = json.loads(file.read_text(encoding="utf-8"))
    statements = policy["Statement"]
    assert (policy.keys(), policy["Version"]) == ({"Version", "Statement"}, "2012-10-17")
    assert len({one["Sid"] for one in statements}) == len(statements)
    for one in statements:
        assert {"Sid", "Effect", "Action", "Resource"} <= one.keys() <= ELEMENTS, one
        assert (one["Effect"], one.get("Principal")) in (("Allow", None), ("Deny", "*")), one
        assert (one["Effect"] == "Deny") is (file.name == "s3-bucket.json")
        assert set(listed(one["Action"])) <= known | {"s3:*"}, one
        assert one["Sid"].isalnum()
        for resource in listed(one["Resource"]):
            assert resource.startswith("arn:aws:s3:::BUCKET"), resource
            # ListBucket is about the bucket, all other actions here are about objects.
            assert ("/" in resource) is (one["Action"] != "s3:ListBucket") or one["Action"] == "s3:*", one


def test_placeholders_are_all_replaced() -> None:
    for file in [*S3_FILES, *GCS_FILES]:
        text = file.read_text(encoding="utf-8")
        filled = PLACE.fill(text)
        assert not any(name in filled for name in PLACEHOLDERS), file.name
        yaml.safe_load(filled)


def test_rules_do_not_guess() -> None:
    """A guard of the tests above: what the evaluation does not know must not pass for a yes."""
    statement = {"Effect": "Allow", "Action": GET, "Resource": "*"}
    with pytest.raises(ValueError, match="NotAction"):
        fits({**statement, "NotAction": PUT}, Request(GET, "x"))
    with pytest.raises(ValueError, match="IpAddress"):
        fits({**statement, "Condition": {"IpAddress": {"aws:SourceIp": "x"}}}, Request(GET, "x"))
    both: dict[str, Any] = {"Statement": [{**statement}, {**statement, "Effect": "Deny"}]}
    assert not permitted([both], Request(GET, "x"))
    assert not permitted([], Request(GET, "x"))


def blocks(word: str) -> list[str]:
    """The shell of the page in which the word occurs."""
    found = re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [block for block in found if word in block]


def run_block(block: str, folder: Path, **environment: str) -> None:
    """Run a block of the page from the folder that holds ``ci``."""
    env = {"PATH": f"{folder}:{os.environ['PATH']}", **environment}
    subprocess.run(["bash", "-euo", "pipefail", "-c", block], cwd=folder, env=env, check=True)


@pytest.mark.parametrize("prefix", ["team/dags/", ""])
def test_files_are_filled_in_by_the_page_as_by_these_tests(prefix: str, tmp_path: Path) -> None:
    (tmp_path / "ci").symlink_to(FOLDER.parent)
    with_prefix, without = blocks("sed")
    run_block(with_prefix if prefix else without, tmp_path)
    place = Place("my-bucket", "team/dags", "shop", "prod")
    for file in [*S3_FILES, *GCS_FILES]:
        filled = (tmp_path / "policies" / file.name).read_text(encoding="utf-8")
        assert filled == place.fill(file.read_text(encoding="utf-8").replace("PREFIX/", prefix))


def test_every_file_is_in_a_command_of_the_page_that_can_be_run(tmp_path: Path) -> None:
    """With programs that only write down what they were told; the clouds' own were not at hand."""
    for program in ("aws", "gcloud"):
        (tmp_path / program).write_text('#!/bin/sh\nprintf "%s\\n" "$*" >> told\n')
        (tmp_path / program).chmod(0o755)
    for block in [*blocks("aws "), *blocks("gcloud iam"), *blocks("grant ")]:
        run_block(block, tmp_path, BUILDER="b@x", PROMOTER="p@x", AGENT="a@x", LINTER="l@x", ACKNOWLEDGER="a@x")
    told = (tmp_path / "told").read_text(encoding="utf-8")
    named = re.findall(r"(?:file://|=)policies/(\S+)", told)
    assert sorted(named) == [file.name for file in [*GCS_FILES, *S3_FILES]]
    granted = [line for line in told.splitlines() if "add-iam-policy-binding" in line]
    assert len(granted) == 14
    assert all(("--condition=None" in line) is ("dagferryList" in line) for line in granted)
    assert all(line.count("--condition") == 1 for line in granted)
