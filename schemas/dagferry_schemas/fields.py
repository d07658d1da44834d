"""Reading JSON documents strictly: nothing is coerced, and every complaint names the field by its path.

A document is UTF-8 JSON with an object at the top; duplicate keys, numbers that are not finite, halves of surrogate
pairs (no UTF-8 can store them) and nesting deeper than `MAX_DEPTH` are refused. A reader takes from `Fields` what it
knows; what is left over is `Fields.rest`, and the document's own rule says whether that is kept (stored documents) or
refused (requests).
"""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any, Final, NoReturn

from . import names
from .errors import Malformed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MAX_DEPTH: Final = 8
MAX_TEXT: Final = 4096
"""Characters of a text that has no other limit."""
MAX_INTEGER: Final = 2**53 - 1
"""The largest integer that every JSON reader keeps exactly (RFC 8259, section 6)."""

_SURROGATE = re.compile("[\ud800-\udfff]")


class Fields:
    """One JSON object under reading, together with its path from the top of the document."""

    def __init__(self, values: Mapping[str, Any], path: str) -> None:
        self._values = values
        self.path = path
        self._taken: set[str] = set()

    def refuse(self, name: str, problem: str) -> NoReturn:
        """Raise `Malformed` for the field ``name`` below this object."""
        raise Malformed(f"{self.path}.{name}: {problem}")

    def _take(self, name: str, kind: type | tuple[type, ...], expected: str) -> Any:  # noqa: ANN401 (JSON is dynamic)
        self._taken.add(name)
        if name not in self._values:
            self.refuse(name, "missing")
        value = self._values[name]
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            self.refuse(name, f"expected {expected}, found {_kind_of(value)}")
        return value

    def has(self, name: str) -> bool:
        """Whether the field is there and not null."""
        self._taken.add(name)
        return self._values.get(name) is not None

    def text(self, name: str, pattern: re.Pattern[str] | None = None, *, most: int = MAX_TEXT) -> str:
        """A string of at most ``most`` characters that matches ``pattern`` as a whole."""
        value: str = self._take(name, str, "a string")
        if len(value) > most:
            self.refuse(name, f"longer than {most} characters")
        if pattern is not None and not pattern.fullmatch(value):
            self.refuse(name, f"{value[:80]!r} does not match {pattern.pattern}")
        return value

    def integer(self, name: str, least: int = 0, most: int = MAX_INTEGER) -> int:
        """An integer from ``least`` to ``most``."""
        value: int = self._take(name, int, "an integer")
        if not least <= value <= most:
            self.refuse(name, f"{value} is not between {least} and {most}")
        return value

    def number(self, name: str, least: float = 0.0) -> float:
        """A number from ``least`` to 2**53 - 1."""
        value: float = self._take(name, (int, float), "a number")
        if not least <= value <= MAX_INTEGER:
            self.refuse(name, f"{value} is not between {least} and {MAX_INTEGER}")
        return float(value)

    def flag(self, name: str) -> bool:
        """A boolean."""
        value: bool = self._take(name, bool, "true or false")
        return value

    def digest(self, name: str) -> str:
        """A digest, ``sha256:<hex>``."""
        return self.text(name, names.DIGEST)

    def time(self, name: str) -> str:
        """A time, RFC 3339 in UTC."""
        return self.text(name, names.TIME)

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of strings."""
        values = self._take(name, list, "a list")
        for index, value in enumerate(values):
            if not isinstance(value, str):
                self.refuse(f"{name}[{index}]", f"expected a string, found {_kind_of(value)}")
        return tuple(values)

    def mapping(self, name: str) -> dict[str, Any]:
        """An object of any shape, as a copy."""
        return dict(self._take(name, dict, "an object"))

    def child(self, name: str) -> Fields:
        """The object in the field ``name``."""
        return Fields(self._take(name, dict, "an object"), f"{self.path}.{name}")

    def children(self, name: str) -> list[Fields]:
        """The objects in the list ``name``."""
        found = []
        for index, value in enumerate(self._take(name, list, "a list")):
            if not isinstance(value, dict):
                self.refuse(f"{name}[{index}]", f"expected an object, found {_kind_of(value)}")
            found.append(Fields(value, f"{self.path}.{name}[{index}]"))
        return found

    def rest(self) -> dict[str, Any]:
        """The fields that nobody asked for, as a copy."""
        return {name: value for name, value in self._values.items() if name not in self._taken}

    def refuse_rest(self) -> None:
        """Raise `Malformed` if there is a field that nobody asked for."""
        for name in sorted(self.rest()):
            self.refuse(name, "unknown field")


def optional(fields: Fields, name: str, read: Callable[[str], Any]) -> Any:  # noqa: ANN401 (as typed by `read`)
    """``read(name)``, or None where the field is missing or null."""
    return read(name) if fields.has(name) else None


def load(raw: bytes, what: str, *, limit: int) -> Fields:
    """The object in ``raw``, of at most ``limit`` bytes; ``what`` names it in messages. Raises `Malformed`."""
    if len(raw) > limit:
        raise Malformed(f"{what}: {len(raw)} bytes, at most {limit} are accepted")
    try:
        value = json.loads(
            raw.decode("utf-8"), object_pairs_hook=_unique, parse_float=_finite, parse_constant=_no_constant
        )
        _check(value)
    except UnicodeDecodeError as error:
        raise Malformed(f"{what}: not UTF-8 at byte {error.start}") from None
    except json.JSONDecodeError as error:
        raise Malformed(f"{what}: not JSON: {error.msg} at line {error.lineno}, column {error.colno}") from None
    except (ValueError, RecursionError) as error:
        raise Malformed(f"{what}: {str(error)[:200] or 'nested too deeply'}") from None
    if not isinstance(value, dict):
        raise Malformed(f"{what}: expected an object, found {_kind_of(value)}")
    return Fields(value, what)


def dump(document: Mapping[str, Any]) -> bytes:
    """The stored form of a document: UTF-8, keys sorted, no spaces, one line. Raises `Malformed` if a text has none."""
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))
    try:
        return text.encode("utf-8") + b"\n"
    except UnicodeEncodeError as error:
        around = text[max(error.start - 20, 0) : error.end + 20]
        raise Malformed(f"a text that is not Unicode cannot be stored: {around!r}") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"the key {name[:80]!r} appears twice")
        found[name] = value
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not allowed")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:80]} is too large")
    return value


def _check(value: object, depth: int = 1) -> None:
    """Refuse, going no deeper than is allowed, what the JSON grammar lets pass and no document may hold."""
    if isinstance(value, str):
        if _SURROGATE.search(value):
            raise ValueError(f"{value[:80]!r} holds half of a surrogate pair")
    elif isinstance(value, (dict, list)):
        if depth > MAX_DEPTH:
            raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
        for inner in (*value, *value.values()) if isinstance(value, dict) else value:
            _check(inner, depth + 1)


def _kind_of(value: object) -> str:
    kinds = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return kinds.get(type(value), "a number")
