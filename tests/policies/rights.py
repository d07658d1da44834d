"""Who may do what with which object: what all policies have to come to, whatever cloud they are for.

The actions are called as on S3. Some names are there to mislead a pattern: a version called ``store``, channels called
``probe``, ``log`` and ``agents``, agents called ``head`` and ``log``, a bundle whose name begins as ours does.
"""

from __future__ import annotations

from typing import Final

from dagferry_schemas import layout

TREE = "sha256:" + "a" * 64
GET, PUT, DELETE = "s3:GetObject", "s3:PutObject", "s3:DeleteObject"
BUILDS = {"builder": {GET, PUT}, "promoter": {GET}}
LOOKS: dict[str, set[str]] = {"promoter": {GET}}
ACKNOWLEDGES = {"promoter": {GET}, "acknowledger": {GET, PUT}}
RIGHTS: list[tuple[str, dict[str, set[str]]]] = [
    (layout.store_json("etl"), {**BUILDS, "agent": {GET}}),
    (layout.tarball("etl", TREE), {**BUILDS, "agent": {GET}}),
    (layout.files("etl", TREE), {**BUILDS, "agent": {GET}}),
    (layout.version("etl", "v1.0"), {**BUILDS, "agent": {GET}}),
    (layout.version("etl", "store"), {**BUILDS, "agent": {GET}}),
    (layout.statement("etl", "v1.0"), {**BUILDS, "agent": {GET}}),
    (layout.report("etl", "v1.0"), {**BUILDS, "agent": {GET}}),
    (layout.head("etl", "prod"), {"promoter": {GET, PUT}, "agent": {GET}}),
    (layout.log("etl", "prod", 7), {"promoter": {GET, PUT}}),
    (layout.acknowledgement("etl", "prod", "pod-1"), ACKNOWLEDGES),
    (layout.acknowledgement("etl", "prod", "head"), ACKNOWLEDGES),
    (layout.acknowledgement("etl", "prod", "log"), ACKNOWLEDGES),
    (layout.acknowledgement("etl", "staging", "pod-1"), LOOKS),
    (layout.head("etl", "agents"), LOOKS),
    (layout.log("etl", "agents", 7), LOOKS),
    (layout.head("etl", "staging"), LOOKS),
    (layout.log("etl", "staging", 7), LOOKS),
    (layout.head("etl", "probe"), LOOKS),
    (layout.head("etl", "log"), LOOKS),
    ("etl/probe/0a1b", {"builder": {GET, PUT, DELETE}, "promoter": {GET}}),
    (layout.delta("etl", "sha256:" + "b" * 64), {"promoter": {GET, PUT}, "agent": {GET}}),
    (layout.store_json("other"), {}),
    (layout.head("other", "prod"), {}),
    (layout.acknowledgement("other", "prod", "pod-1"), {}),
    (layout.version("etl2", "v1.0"), {}),
]
REPLACED: Final = {
    "builder": {layout.store_json("etl"), "etl/probe/0a1b"},
    "promoter": {layout.head("etl", "prod")},
    "agent": set[str](),
    "acknowledger": {layout.acknowledgement("etl", "prod", agent) for agent in ("pod-1", "head", "log")},
}
"""What each part may replace; on Google Cloud Storage that is a right of its own, and the right to delete."""
