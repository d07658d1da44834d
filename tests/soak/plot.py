"""A few curves over time, one above the other, as SVG: one colour per life of the agent, each scale from zero."""

from __future__ import annotations

from html import escape
from itertools import groupby
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    Points = Sequence[tuple[float, int, Sequence[float]]]

WIDTH, HEIGHT, LEFT, GAP = 720, 90, 110, 24
COLOURS: Final = ("#1b6ca8", "#c0562b")


def plot(points: Points, names: Sequence[str]) -> str:
    """An SVG document. ``points``: seconds, life, and one value for each name."""
    end = max((at for at, _, _ in points), default=1.0) or 1.0
    panels = "".join(
        _panel([(at, life, values[place]) for at, life, values in points], name, end, place * (HEIGHT + GAP))
        for place, name in enumerate(names)
    )
    width, height = LEFT + WIDTH + 10, len(names) * (HEIGHT + GAP) + GAP
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="white"/>'
        f'{panels}<text x="{LEFT}" y="{height - 8}">0 to {end:.0f} s; colours change with each restart</text></svg>\n'
    )


def _panel(points: Sequence[tuple[float, int, float]], name: str, end: float, top: int) -> str:
    most = max((value for _, _, value in points), default=1.0) or 1.0
    curves = "".join(
        f'<polyline fill="none" stroke="{COLOURS[life % 2]}" stroke-width="1.5" points="'
        + " ".join(
            f"{LEFT + at / end * WIDTH:.1f},{top + GAP + HEIGHT - value / most * HEIGHT:.1f}" for at, _, value in some
        )
        + '"/>'
        for life, some in groupby(points, key=lambda point: point[1])
    )
    return (
        f'<text x="4" y="{top + GAP + 12}">{escape(name)}</text><text x="4" y="{top + GAP + 28}">{most:.0f}</text>'
        f'<path d="M{LEFT} {top + GAP}v{HEIGHT}h{WIDTH}" fill="none" stroke="#999"/>{curves}'
    )
