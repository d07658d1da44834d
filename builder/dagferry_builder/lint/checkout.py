"""The tree that is linted, on disk: what a pod would get, written to a folder of its own."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from dagferry_storage import disk

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from dagferry_builder.git import Repository
    from dagferry_builder.sources import Source


@dataclass(frozen=True)
class CheckoutFile:
    """One file of the tree. ``content`` is git's id of its bytes: equal ids, equal bytes. ``size`` in bytes."""

    path: str
    origin: str
    content: str
    size: int


@dataclass(frozen=True)
class Checkout:
    """A tree in ``folder``; ``files`` by their path in the tree, in its order.

    ``origin`` of a file is its path in the repository, which is where a person mends it: below the root, or elsewhere
    where a link led.
    """

    folder: Path
    files: Mapping[str, CheckoutFile]

    def read(self, path: str) -> bytes:
        """The bytes of one file of the tree."""
        return (self.folder / path).read_bytes()

    def python_files(self) -> list[str]:
        """The paths of the tree's Python sources, in order."""
        return [path for path in self.files if path.endswith(".py")]


@contextmanager
def checked_out(repository: Repository, sources: Iterable[Source]) -> Iterator[Checkout]:
    """The sources on disk, as long as the context lasts. Raises `MachineFault`, `Malformed` for a blob that is absent.

    ``sources`` are gone through twice. Nothing but regular files is written, below a fresh folder, and the paths have
    passed the checks of packing.
    """
    with disk.doing("writing the tree that is checked"), TemporaryDirectory(prefix="dagferry-lint-") as scratch:
        folder = Path(scratch).resolve() / "dags"
        folder.mkdir()
        files = {}
        with repository.blobs(source.entry.object_id for source in sources) as blobs:
            for source in sources:
                target = folder / source.path
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("xb") as file:
                    for chunk in blobs.read(source.entry):
                        file.write(chunk)
                if source.executable:
                    target.chmod(0o755)
                entry = source.entry
                files[source.path] = CheckoutFile(source.path, entry.path, entry.object_id, entry.size)
        yield Checkout(folder, files)
