"""Two plots as SVG: time against the size of the repository, and against the share that changed; both axes logarithmic.

Lines are labelled where they end. Colours come from the page: text and axes take its text colour where it has one, and
follow light and dark mode where the file is shown alone.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from xml.sax.saxutils import escape

from tests.bench import works
from tests.bench.changes import OURS
from tests.bench.corpora import SIZES
from tests.bench.peers import OSTREE, PULL, SYNC

if TYPE_CHECKING:
    from pathlib import Path

    from tests.bench.rows import Rows

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 730, 400, 80, 150, 40, 50
COLOURS: Final = {OURS: "#2f81f7", PULL: "#d1732a", SYNC: "#8957e5", OSTREE: "#2da44e"}
OTHERS: Final = ("#2f81f7", "#d1732a")
"""Of lines that are no peer."""
STYLE: Final = (
    "text{font:13px sans-serif;fill:#1f2328}.axis{stroke:#1f2328;fill:none}.grid{stroke:#888;stroke-opacity:.25}"
    "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.axis{stroke:#e6edf3}}"
)
LABEL_PIXELS: Final = 15
Points = list[tuple[float, float]]


@dataclass(frozen=True)
class Axis:
    """A logarithmic axis between two values, drawn between two pixels; ``marks`` are labelled."""

    low: float
    high: float
    begin: float
    end: float
    marks: dict[float, str]

    def at(self, value: float) -> float:
        """The pixel of a value."""
        return self.begin + (self.end - self.begin) * math.log(value / self.low) / math.log(self.high / self.low)


def _milliseconds(lines: dict[str, Points]) -> Axis:
    values = [y for points in lines.values() for _, y in points]
    low, high = (math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)) + 1e-9))
    marks = {10.0**power: f"{10.0**power:,g} ms" for power in range(low, max(high, low + 1) + 1)}
    return Axis(10.0**low, 10.0 ** max(high, low + 1), HEIGHT - BOTTOM, TOP, marks)


def drawn(title: str, below: str, lines: dict[str, Points], marks: dict[float, str]) -> str:
    """The SVG of lines by name; points are value and milliseconds, ``marks`` the values of the lower axis."""
    across, up = Axis(min(marks), max(marks), LEFT, WIDTH - RIGHT, marks), _milliseconds(lines)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        f"<title>{escape(title)}</title><style>{STYLE}</style>",
        f'<text x="{LEFT}" y="20">{escape(title)}</text>',
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 10}" text-anchor="middle">{escape(below)}</text>',
        f'<path class="axis" d="M{LEFT} {TOP}V{HEIGHT - BOTTOM}H{WIDTH - RIGHT}"/>',
        *_marks(across, up),
    ]
    free = math.inf
    for name, points in sorted(lines.items(), key=lambda item: -up.at(item[1][-1][1])):
        places = [(across.at(x), up.at(y)) for x, y in points]
        free = min(places[-1][1], free - LABEL_PIXELS)
        parts += _line(name, places, free)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _marks(across: Axis, up: Axis) -> list[str]:
    parts = []
    for value, label in across.marks.items():
        x = across.at(value)
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{escape(label)}</text>')
    for value, label in up.marks.items():
        y = up.at(value)
        parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{escape(label)}</text>')
    return parts


def _line(name: str, places: Points, label_y: float) -> list[str]:
    colour, path = COLOURS.get(name, OTHERS[len(name) % len(OTHERS)]), "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
    dots = [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in places]
    return [
        f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"/>',
        *dots,
        f'<text x="{places[-1][0] + 8:.1f}" y="{label_y + 4:.1f}" style="fill:{colour}">{escape(name)}</text>',
    ]


def _lines(rows: Rows, by_value: dict[float, str]) -> dict[str, Points]:
    found = {}
    for peer in COLOURS:
        seconds = {value: rows.of((work, peer), "seconds") for value, work in sorted(by_value.items())}
        points = [(value, 1e3 * statistics.median(taken)) for value, taken in seconds.items() if taken]
        if len(points) > 1:
            found[peer] = points
    return found


def write(rows: Rows, folder: Path) -> None:
    """Both plots, as far as there are points for them."""
    sizes = {float(count): works.one_file(name) for name, count in SIZES.items()}
    marks = {value: f"{value:,.0f}" for value in sizes}
    if lines := _lines(rows, sizes):
        svg = drawn("One changed file: time until it is live", "files in the repository", lines, marks)
        (folder / "performance-size.svg").write_text(svg)
    shares = {1 / SIZES["L"]: works.ONE, 0.01: works.EDITED, 0.1: works.TENTH}
    marks = {1 / SIZES["L"]: "one file", 0.01: "1 %", 0.1: "10 %"}
    if lines := _lines(rows, shares):
        svg = drawn("10,000 files: time until a change is live", "share of the files that changed", lines, marks)
        (folder / "performance-share.svg").write_text(svg)
