"""What the soak says of samples: what grows is found in every figure, and what comes and goes is not growth."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

import pytest

from .plot import plot
from .run import JUDGED, LEAST_SAMPLES, WARM_SECONDS, Sample, judge

STEADY = [
    Sample(2.0 * n, 1, 2.0 * n, 60_000 + 100 * (n % 3), 14 + n % 2, 5, 400 + 100 * (n % 2), 90 + 20 * (n % 2))
    for n in range(60)
]


def test_what_comes_and_goes_is_flat() -> None:
    rows = judge(STEADY)
    assert [row.name for row in rows] == [one.name for one in JUDGED]
    assert all(row.flat for row in rows)


@pytest.mark.parametrize(
    ("name", "each"), [("rss_kib", 100), ("descriptors", 1), ("threads", 1), ("root_kib", 20), ("root_inodes", 5)]
)
def test_a_leak_is_found(name: str, each: int) -> None:
    leaking = [replace(one, **{name: getattr(one, name) + each * place}) for place, one in enumerate(STEADY)]
    assert [row.name for row in judge(leaking) if not row.flat] == [name]


def test_lives_are_judged_one_by_one_and_short_ones_not_at_all() -> None:
    heavier = [replace(one, life=2, rss_kib=2 * one.rss_kib) for one in STEADY]
    short = [replace(one, life=3, age=WARM_SECONDS) for one in STEADY[: LEAST_SAMPLES - 1]]
    rows = judge([*STEADY, *heavier, *short])
    assert {row.life for row in rows} == {1, 2}
    assert all(row.flat for row in rows)


def test_the_plot_is_xml_with_a_curve_for_each_life_and_figure() -> None:
    points = [(0.0, 1, [1.0, 5.0]), (1.0, 1, [2.0, 0.0]), (2.0, 2, [1.0, 3.0])]
    drawn = ElementTree.fromstring(plot(points, ["rss", "a < b"]))
    assert len(drawn.findall("{*}polyline")) == 4
    assert "a < b" in "".join(drawn.itertext())
    ElementTree.fromstring(plot([], ["rss"]))
