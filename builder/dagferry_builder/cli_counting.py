"""How far a count of things is, on one line of a terminal's stderr, as tqdm draws it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from dagferry_storage.cli_progress import somebody_looks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextmanager
def counted(what: str) -> Iterator[Callable[[int, int], None]]:
    """Give a function that is told (done, in all); only where somebody looks at stderr is anything drawn."""
    if not somebody_looks():
        yield lambda _done, _total: None
        return
    from tqdm import tqdm

    with tqdm(desc=what, unit="file", leave=False, delay=0.5, dynamic_ncols=True) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield progress
