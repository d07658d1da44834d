"""Every evil archive, in every setting, on a fresh pod and on one with a live release: refused, and nothing else."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from .attack import Start
from .judgement import objections, run
from .sweep import cases
from .vector import DELIVERED, MALFORMED, PLAIN_BYTES, STREAM, TAMPERED, TRUNCATED, Setting
from .vectors import SECTIONS, VECTORS

PAGE = Path(__file__).parents[2] / "docs/security-tests.md"
Found = dict[tuple[str, Setting, Start], dict[str, Any]]


@pytest.fixture(scope="module")
def found() -> Found:
    """The facts of all cases, from two sweeps side by side."""
    with ThreadPoolExecutor() as pool:
        halves = pool.map(lambda share: run(f"--share={share}"), ["1/2", "2/2"])
        return {(facts["name"], facts["setting"], facts["start"]): facts for half in halves for facts in half}


@pytest.mark.parametrize(("name", "setting", "start"), cases())
def test_evil_is_refused_and_leaves_no_trace(found: Found, name: str, setting: Setting, start: Start) -> None:
    assert objections(found[name, setting, start]) == []


def test_there_are_vectors_of_every_verdict() -> None:
    """A guard of the tests above: refusals at every stage, and some that are none."""
    verdicts = {verdict for vector in VECTORS.values() for verdict in vector.verdicts.values()}
    assert {DELIVERED, PLAIN_BYTES, TRUNCATED, STREAM, MALFORMED, TAMPERED} <= verdicts
    assert sum(vector.verdicts.get("pinned") == DELIVERED for vector in VECTORS.values()) < len(VECTORS) // 20


def test_page_lists_every_vector() -> None:
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \|", PAGE.read_text(), re.MULTILINE)
    listed = {title: set(re.findall(r"`([^`]+)`", names)) for title, names in rows if title in SECTIONS}
    assert listed == {title: set(section) for title, section in SECTIONS.items()}
