"""Vectors: records whose pins lie, or are no pins, beside objects that are good."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from dagferry_schemas.tree import MAX_FILES, MAX_LINE

from .parts import FILES, GOOD, Parts, release
from .vector import DELIVERED, MALFORMED, Vector, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

CORRUPT: Final = ("Corrupt", "corrupt")
WRONG_SIZE: Final = ("Corrupt", "wrong_size")
WRONG_DIGEST: Final = ("Corrupt", "wrong_digest")
MISSING: Final = ("Corrupt", "missing_object")
OTHER: Final = release({**FILES, "a.py": b"evil\n"})


def pin(field: str, value: Any, verdict: Verdict) -> Vector:  # noqa: ANN401 (JSON is dynamic)
    """A record that says ``value`` of one field of what is live: ``tree``, or ``tarball.size`` and the like."""

    def edit(payload: dict[str, Any]) -> None:
        *parents, name = field.split(".")
        found = payload["live"]
        for parent in parents:
            found = found[parent]
        if value is None:
            del found[name]
        else:
            found[name] = value

    return Vector({"pinned": lambda _: replace(GOOD, edit=edit)}, {"pinned": verdict})


def remade(parts: Parts, verdict: Verdict) -> Vector:
    """Parts that do not belong together, pinned as they are."""

    def make(_: Path) -> Parts:
        return parts

    return Vector({"pinned": make}, {"pinned": verdict})


SIZE: Final = len(GOOD.tarball)
LISTED: Final = len(GOOD.listed)

VECTORS: Final[Mapping[str, Vector]] = {
    "tarball_size_one_smaller": pin("tarball.size", SIZE - 1, WRONG_SIZE),
    "tarball_size_one_larger": pin("tarball.size", SIZE + 1, WRONG_SIZE),
    "tarball_size_zero": pin("tarball.size", 0, WRONG_SIZE),
    "tarball_size_below_zero": pin("tarball.size", -1, MALFORMED),
    "tarball_size_that_no_disk_has": pin("tarball.size", 2**53 - 1, ("MachineFault", "no_room")),
    "tarball_size_of_2_to_the_63": pin("tarball.size", 2**63, MALFORMED),
    "tarball_size_with_a_fraction": pin("tarball.size", 512.0, MALFORMED),
    "tarball_size_as_text": pin("tarball.size", str(SIZE), MALFORMED),
    "tarball_size_that_is_true": pin("tarball.size", True, MALFORMED),
    "tarball_digest_of_other_bytes": pin("tarball.sha256", "sha256:" + 64 * "0", WRONG_DIGEST),
    "tarball_digest_in_upper_case": pin("tarball.sha256", GOOD.pins.tarball.sha256.upper(), MALFORMED),
    "tarball_digest_of_another_kind": pin("tarball.sha256", "md5:" + 32 * "0", MALFORMED),
    "tarball_digest_that_is_missing": pin("tarball.sha256", None, MALFORMED),
    "plain_size_one_block_smaller": pin("tarball.plain_size", GOOD.plain_size - 512, CORRUPT),
    "plain_size_one_block_larger": pin("tarball.plain_size", GOOD.plain_size + 512, CORRUPT),
    "plain_size_zero": pin("tarball.plain_size", 0, CORRUPT),
    "plain_size_below_zero": pin("tarball.plain_size", -512, MALFORMED),
    "plain_size_of_2_to_the_53_less_one": pin("tarball.plain_size", 2**53 - 1, CORRUPT),
    "list_size_one_smaller": pin("files.size", LISTED - 1, CORRUPT),
    "list_size_one_larger": pin("files.size", LISTED + 1, WRONG_SIZE),
    "list_size_above_what_its_count_needs": pin("files.size", (GOOD.count + 2) * MAX_LINE + 1, MALFORMED),
    "list_size_below_zero": pin("files.size", -1, MALFORMED),
    "list_digest_of_other_bytes": pin("files.sha256", "sha256:" + 64 * "0", WRONG_DIGEST),
    "count_zero": pin("files.count", 0, MALFORMED),
    "count_below_zero": pin("files.count", -5, MALFORMED),
    "count_above_the_limit": pin("files.count", MAX_FILES + 1, MALFORMED),
    "count_one_smaller": pin("files.count", GOOD.count - 1, CORRUPT),
    "count_one_larger": pin("files.count", GOOD.count + 1, CORRUPT),
    "tree_that_is_not_there": pin("tree", "sha256:" + 64 * "0", MISSING),
    "tree_that_climbs": pin("tree", "sha256:../../../outside/" + 44 * "x", MALFORMED),
    "tree_that_is_missing": pin("tree", None, MALFORMED),
    "version_that_climbs": pin("version", "../../../outside/climbed", MALFORMED),
    "version_of_201_characters": pin("version", 201 * "v", MALFORMED),
    "tarball_and_list_swapped": remade(replace(GOOD, tarball=GOOD.listed, listed=GOOD.tarball), CORRUPT),
    "tarball_of_another_release": remade(replace(GOOD, tarball=OTHER.tarball), ("Corrupt", "wrong_plain_bytes")),
    "list_of_another_release": remade(replace(GOOD, listed=OTHER.listed), CORRUPT),
    "tree_of_another_release": remade(replace(GOOD, tree=OTHER.tree), CORRUPT),
    "unknown_fields_in_the_pins": pin("tarball.compression", "gzip", DELIVERED),
}
