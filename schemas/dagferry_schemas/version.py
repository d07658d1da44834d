"""The version document: a readable name for one commit of a bundle, and the tree that it points to.

Its identity is (commit, selection, tree). Which of two versions is newer is said by a channel's log, never by the
names. What was merely observed when it was built (times, machine, findings) is in the report instead, so that building
the same commit twice gives the same document.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from . import fields as reading
from .errors import Malformed
from .layout import MAX_DOCUMENT
from .names import COMMIT, NAME, VERSION
from .pins import Content

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMAT: Final = 1


@dataclass(frozen=True)
class Version:
    """One published version of a bundle.

    ``first_parents`` counts the commits on the first-parent line; None if it was built in a shallow clone.
    """

    bundle: str
    version: str
    commit: str
    first_parents: int | None
    commit_time: str
    tag: str | None
    selection: Mapping[str, Any]
    content: Content
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def identity(self) -> tuple[str, Mapping[str, Any], str]:
        """What two publications of one version must share."""
        return self.commit, self.selection, self.content.tree

    @classmethod
    def from_bytes(cls, raw: bytes, what: str = "version") -> Version:
        """The version in a stored document. Raises `Malformed`; a newer format is refused."""
        fields = reading.load(raw, what, limit=MAX_DOCUMENT)
        check_format(fields, FORMAT)
        return cls(
            bundle=fields.text("bundle", NAME),
            version=fields.text("version", VERSION),
            commit=fields.text("commit", COMMIT),
            first_parents=reading.optional(fields, "first_parents", partial(fields.integer, least=1)),
            commit_time=fields.time("commit_time"),
            tag=reading.optional(fields, "tag", fields.text),
            selection=fields.mapping("selection"),
            content=Content.read(fields),
            extra=fields.rest(),  # last: what nobody asked for until here
        )

    def to_bytes(self) -> bytes:
        """The stored document."""
        return reading.dump(
            {
                **self.extra,
                "format": FORMAT,
                "bundle": self.bundle,
                "version": self.version,
                "commit": self.commit,
                "first_parents": self.first_parents,
                "commit_time": self.commit_time,
                "tag": self.tag,
                "selection": dict(self.selection),
                "tree": self.content.tree,
                "tarball": self.content.tarball.to_dict(),
                "files": self.content.files.to_dict(),
            }
        )


def check_format(fields: reading.Fields, known: int) -> None:
    """Refuse a document of a newer major format. Raises `Malformed`."""
    found = fields.integer("format", least=1)
    if found > known:
        raise Malformed(
            f"this document has format {found}, this dagferry reads up to {known}",
            "upgrade dagferry here before the side that writes",
            code="newer_format",
        )
