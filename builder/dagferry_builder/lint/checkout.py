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


def listed(sources: Iterable[Source]) -> dict[str, CheckoutFile]:
    """The files of a tree, by their path in it."""
    found = ((source.path, source.entry) for source in sources)
    return {path: CheckoutFile(path, entry.path, entry.object_id, entry.size) for path, entry in found}


@contextmanager
def checked_out(repository: Repository, sources: Iterable[Source], *, largest: int | None = None) -> Iterator[Checkout]:
    """The sources on disk, as long as the context lasts. Raises `MachineFault`, `Malformed` for a blob that is absent.

    ``sources`` are gone through more than once. Nothing but regular files is written, below a fresh folder, and the
    paths have passed the checks of packing. Files of more than ``largest`` bytes are listed, and not written.
    """

    def fits(source: Source) -> bool:
        return largest is None or source.entry.size <= largest

    with TemporaryDirectory(prefix="dagferry-lint-", ignore_cleanup_errors=True) as scratch:
        folder = Path(scratch).resolve() / "dags"
        with (
            disk.doing("writing the tree that is checked"),
            repository.blobs(source.entry.object_id for source in sources if fits(source)) as blobs,
        ):
            folder.mkdir()
            for source in sources:
                entry = source.entry
                if fits(source):
                    _write(folder / source.path, blobs.read(entry), executable=source.executable)
        yield Checkout(folder, listed(sources))


def _write(target: Path, body: Iterable[bytes], *, executable: bool) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("xb") as file:
        file.writelines(body)
    if executable:
        target.chmod(0o755)
