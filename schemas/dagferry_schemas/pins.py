"""Pins: what a document says of a stored object, so that a reader can tell the right bytes from all others."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from .tree import MAX_FILES, MAX_LINE

if TYPE_CHECKING:
    from .fields import Fields


@dataclass(frozen=True)
class Pin:
    """The digest (``sha256:<hex>``) and the size in bytes of an object, as stored."""

    sha256: str
    size: int

    @classmethod
    def read(cls, fields: Fields) -> Pin:
        """The pin in ``fields``. Raises `Malformed`."""
        return cls(fields.digest("sha256"), fields.integer("size"))

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return asdict(self)


@dataclass(frozen=True)
class TarballPin(Pin):
    """A tarball: besides, the size of its plain bytes."""

    plain_size: int

    @classmethod
    def read(cls, fields: Fields) -> TarballPin:
        """The pin in ``fields``. Raises `Malformed`."""
        return cls(fields.digest("sha256"), fields.integer("size"), fields.integer("plain_size"))


@dataclass(frozen=True)
class FilesPin(Pin):
    """A file list: besides, the number of its files, which bounds what a reader is willing to keep in memory."""

    count: int

    @classmethod
    def read(cls, fields: Fields) -> FilesPin:
        """The pin in ``fields``. Raises `Malformed`."""
        count = fields.integer("count", least=1, most=MAX_FILES)
        # Not even a list that cannot be compressed is larger than its lines and zstd's few bytes a block.
        return cls(fields.digest("sha256"), fields.integer("size", most=(count + 2) * MAX_LINE), count)


@dataclass(frozen=True)
class Content:
    """A tree with the two stored objects that hold it: all that a reader needs in order to fetch and check it."""

    tree: str
    tarball: TarballPin
    files: FilesPin

    @classmethod
    def read(cls, fields: Fields) -> Content:
        """The content in ``fields``. Raises `Malformed`."""
        return cls(
            fields.digest("tree"),
            TarballPin.read(fields.child("tarball")),
            FilesPin.read(fields.child("files")),
        )
