"""Whether S3 policies permit a request: the part of Amazon's rules that the files in ``ci/policies`` make use of.

1. A Deny statement that fits wins over everything; else one Allow that fits is enough; else it is refused.
2. In actions and resources ``*`` stands for any characters, slashes included, and ``?`` for one.
3. All conditions of a statement have to hold. A key that the request does not have fulfils ``Null: true`` alone.
4. An element or operator that is not known here is an error, never a silent yes.

This is our reading of the vendor's documentation; nothing here has been compared with Amazon's own service.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.policies.files import listed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tests.policies.files import Policy

ELEMENTS = frozenset({"Sid", "Effect", "Principal", "Action", "Resource", "Condition"})


@dataclass(frozen=True)
class Request:
    """One request: the action that it needs, on what, and the condition keys that it comes with."""

    action: str
    resource: str
    keys: Mapping[str, str] = field(default_factory=dict)


def permitted(policies: Iterable[Policy], request: Request) -> bool:
    """Whether the policies together permit the request."""
    effects = {one["Effect"] for policy in policies for one in policy["Statement"] if fits(one, request)}
    return "Allow" in effects and "Deny" not in effects


def denied(policies: Iterable[Policy], request: Request) -> bool:
    """Whether a Deny of the policies fits the request."""
    return any(fits(one, request) for policy in policies for one in policy["Statement"] if one["Effect"] == "Deny")


def fits(statement: dict[str, Any], request: Request) -> bool:
    """Whether the statement is about the request."""
    if not statement.keys() <= ELEMENTS:
        raise ValueError(f"elements that are not known here: {sorted(statement.keys() - ELEMENTS)}")
    return (
        any(_like(pattern, request.action) for pattern in listed(statement["Action"]))
        and any(_like(pattern, request.resource) for pattern in listed(statement["Resource"]))
        and all(
            _holds(operator, wanted, request.keys.get(key))
            for operator, block in statement.get("Condition", {}).items()
            for key, wanted in block.items()
        )
    )


def _like(pattern: str, text: str) -> bool:
    translated = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(translated, text, re.DOTALL) is not None


def _holds(operator: str, wanted: str | list[str], found: str | None) -> bool:
    if operator == "Null":
        return wanted == ("true" if found is None else "false")
    if operator == "Bool":
        return found == wanted
    if operator == "StringLike":
        return found is not None and any(_like(pattern, found) for pattern in listed(wanted))
    raise ValueError(f"the operator {operator} is not known here")
