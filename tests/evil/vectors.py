"""All vectors by name, each in the section of its module."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from . import archives, lists, members, objects, pins, streams

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .vector import Vector

SECTIONS: Final[Mapping[str, Mapping[str, Vector]]] = {
    "Paths of members": members.PATHS,
    "Links": members.LINKS,
    "Kinds of members": members.KINDS,
    "Fields of a header": members.FIELDS,
    "Pax headers": members.PAX,
    "Endings of an archive": archives.ENDINGS,
    "What is in an archive": archives.CONTENT,
    "Encodings that are delivered": streams.ENCODINGS,
    "Streams": streams.STREAMS,
    "Frames": streams.FRAMES,
    "Bombs": streams.BOMBS,
    "Lines of a file list": lists.LINES_OF_A_LIST,
    "Order of a file list": lists.ORDER,
    "File lists that lie": lists.LIES,
    "Streams of a file list": lists.ENCODED,
    "Bombs in a file list": lists.BOMBS,
    "Pins": pins.VECTORS,
    "Objects of a store": objects.VECTORS,
}
"""The table in ``docs/security-tests.md`` has these sections, and all their vectors."""

VECTORS: Final[Mapping[str, Vector]] = {
    name: vector for section in SECTIONS.values() for name, vector in section.items()
}
assert len(VECTORS) == sum(map(len, SECTIONS.values())), "two vectors of one name"
