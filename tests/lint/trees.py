"""Trees to lint, from a dict."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from dagferry_builder.lint.checkout import Checkout, CheckoutFile

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def tree(tmp_path: Path, files: Mapping[str, bytes]) -> Checkout:
    """A checkout of ``files``, which are below ``dags/`` in the repository."""
    folder = tmp_path / "dags"
    for path, body in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(body)
    found = {
        path: CheckoutFile(path, f"dags/{path}", hashlib.sha1(body).hexdigest(), len(body))
        for path, body in sorted(files.items())
    }
    return Checkout(folder, found)
