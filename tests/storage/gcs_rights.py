"""Who may do what on our server of Google Cloud Storage: the part of Google's rules that ``ci/policies`` makes use of.

A binding gives permissions, everywhere or where its condition holds. A condition is any number of tests of
``resource.name`` (``==``, ``startsWith``, ``endsWith``) joined by ``&&``, which binds tighter, and ``||``; anything
else is an error, never a silent yes. An object is called ``projects/_/buckets/BUCKET/objects/NAME``, a bucket
``projects/_/buckets/BUCKET``.

What a method needs is Google's table "IAM permissions for JSON methods". Where Google leaves something open, this is
the stricter reading: rights are looked at before conditions of the request, so that to create what is there already
is refused for want of the right to replace it; and what is missing is 404 only for those who may list.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

_TERM = re.compile(r'resource\.name(?: == "([^"]+)"|\.(startsWith|endsWith)\("([^"]+)"\))')


class Denied(Exception):
    """The words are Google's."""


@dataclass(frozen=True)
class Binding:
    """Permissions, and where they hold; an empty condition holds everywhere."""

    permissions: tuple[str, ...]
    condition: str = ""

    def gives(self, permission: str, resource: str) -> bool:
        """Whether the binding gives the permission on the resource."""
        return permission in self.permissions and (not self.condition or _holds(self.condition, resource))


def _holds(condition: str, resource: str) -> bool:
    ways = [[_passes(term, resource) for term in way.split(" && ")] for way in condition.strip().split(" || ")]
    return any(all(way) for way in ways)


def _passes(term: str, resource: str) -> bool:
    test = _TERM.fullmatch(term)
    if test is None:
        raise ValueError(f"the condition {term!r} is not known here")
    equal, kind, part = test.groups()
    if equal:
        return resource == str(equal)
    return resource.startswith(part) if kind == "startsWith" else resource.endswith(part)


@dataclass(frozen=True)
class Rights:
    """All bindings of one identity."""

    bindings: tuple[Binding, ...]

    @classmethod
    def from_json(cls, bindings: list[dict[str, Any]]) -> Rights:
        """From a list of ``{permissions, condition}``."""
        return cls(tuple(Binding(tuple(one["permissions"]), one["condition"]) for one in bindings))

    def may(self, permission: str, bucket: str, name: str = "") -> bool:
        """Whether one of the bindings gives the permission on the object, or on the bucket where there is no name."""
        resource = f"projects/_/buckets/{bucket}" + (f"/objects/{name}" if name else "")
        return any(one.gives(permission, resource) for one in self.bindings)

    def require(self, permission: str, bucket: str, name: str = "") -> None:
        """Raise `Denied` where `may` says no."""
        if not self.may(permission, bucket, name):
            raise _denied(permission, name)

    def to_read(self, bucket: str, name: str, *, there: bool) -> None:
        """What objects.get needs."""
        self.require("storage.objects.get", bucket, name)
        if not there and not self.may("storage.objects.list", bucket):
            raise _denied("storage.objects.get", name)

    def to_write(self, bucket: str, name: str, *, there: bool) -> None:
        """What objects.insert needs."""
        self.require("storage.objects.create", bucket, name)
        if there:
            self.require("storage.objects.delete", bucket, name)


def _denied(permission: str, name: str) -> Denied:
    what = "object" if name else "bucket"
    return Denied(
        f"Caller does not have {permission} access to the Google Cloud Storage {what}. Permission '{permission}' "
        "denied on resource (or it may not exist)."
    )
