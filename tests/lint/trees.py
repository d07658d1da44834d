"""A tree on disk for the sources of lint, from a table of files."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from dagferry_builder.lint.checkout import Checkout, CheckoutFile

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def tree(tmp_path: Path, files: Mapping[str, bytes]) -> Checkout:
    """``files`` in a folder below ``tmp_path``; each comes from the same path in the repository."""
    folder = (tmp_path / "dags").resolve()
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    folder.mkdir(exist_ok=True)
    return Checkout(
        folder,
        {
            path: CheckoutFile(path, path, hashlib.sha1(content, usedforsecurity=False).hexdigest(), len(content))
            for path, content in sorted(files.items())
        },
    )
