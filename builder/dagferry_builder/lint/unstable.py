"""What two imports of the same bytes disagree about."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SHOWN: Final = 60
"""Characters of a value that are shown."""


def difference(one: Mapping[str, Any], two: Mapping[str, Any]) -> tuple[str, str]:
    """The rule and the message for two ``whole`` reports of the probe that differ."""
    ids = set(one["digests"]), set(two["digests"])
    if ids[0] != ids[1]:
        some = ", ".join(sorted(ids[0] ^ ids[1])[:4]) or "none"
        return "unstable-structure", f"two imports gave different DAGs: {some} in one of them only"
    for name in sorted(ids[0]):
        tasks = [set(_plain_part(report["definitions"][name])["tasks"]) for report in (one, two)]
        if tasks[0] != tasks[1]:
            some = ", ".join(sorted(tasks[0] ^ tasks[1])[:4])
            return "unstable-structure", f"DAG {name!r}: two imports gave different tasks: {some}"
    changed = [name for name in sorted(ids[0]) if one["digests"][name][0] != two["digests"][name][0]]
    if changed:
        return "unstable-structure", f"DAG {changed[0]!r}: two imports gave different dependencies between its tasks"
    for name in sorted(ids[0]):
        for place, old, new in _differing(one["definitions"][name], two["definitions"][name]):
            return "unstable-definition", f"DAG {name!r}: two imports differ in {place}: {_shown(old)}, {_shown(new)}"
    return "unstable-definition", "two imports gave different definitions"


def _plain_part(definition: dict[str, Any]) -> dict[str, Any]:
    """The definition without what only Airflow's serialization knows a form of (see the probe)."""
    part: dict[str, Any] = definition.get("first", definition)
    return part


def _differing(one: Any, two: Any, place: str = "") -> Iterator[tuple[str, Any, Any]]:  # noqa: ANN401 (JSON is dynamic)
    if isinstance(one, dict) and isinstance(two, dict):
        for key in sorted({*one, *two}):
            if one.get(key) != two.get(key):
                yield from _differing(one.get(key), two.get(key), f"{place}.{key}" if place else key)
    elif isinstance(one, list) and isinstance(two, list) and len(one) == len(two):
        for index, pair in enumerate(zip(one, two, strict=True)):
            if pair[0] != pair[1]:
                yield from _differing(*pair, f"{place}[{index}]")
    else:
        yield place, one, two


def _shown(value: Any) -> str:  # noqa: ANN401 (JSON is dynamic)
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."
